"""The diagram of a network with its loops: from the input, below, to the outputs, above."""

from rnn_backends.core.network import Network
from rnn_backends.plot.letters import width_of_text
from rnn_backends.plot.parts import READS, Part, Row, rows_of, width_of
from rnn_backends.plot.scene import LEADING, NOTE, TITLE, Scene

GAP, RISE = 0.44, 0.4
"""Inches between rows, and above and below a line to which both cells of a layer come."""
BESIDE = 0.3
"""Inches between the cells of a layer."""
OUT = 0.42
"""Inches that a loop goes to the side."""
CLEAR = 0.07
"""Inches between a line and its text."""


def folded(network: Network) -> Scene:
    """Return the picture of a network whose cells have loops."""
    scene, rows = Scene(), rows_of(network)
    wide = max(map(_width, (part for row in rows for part in row)))
    first_readout = len(rows) - len(network.readout)
    bottom, below = 0.0, None
    for index, row in enumerate(rows):
        reads = READS[network.reads] if index == first_readout else ""
        if below is not None:
            joined = width_of(network.layers[index - 2 - len(network.encoder)]) if len(below) > 1 else None
            bottom = _connect(scene, below, row, bottom, wide, reads, joined)
        bottom = _boxes(scene, row, bottom, wide)
        below = row
    _end(scene, rows[-1], bottom, wide, network)
    return scene


def _width(part: Part) -> float:
    """Return how wide the box of a part is."""
    texts = [1.05 * width_of_text(part.title, TITLE * 1.08), *(width_of_text(note, NOTE) for note in part.notes)]
    return max(1.4, max(texts) + 0.24)


def _centres(row: Row, wide: float) -> list[float]:
    half = (wide + BESIDE) / 2
    return [0.0] if len(row) == 1 else [-half, half]


def _boxes(scene: Scene, row: Row, bottom: float, wide: float) -> float:
    """Add the boxes of a row, with loops at their outer sides; return where they end above."""
    height = 0.2 + LEADING * max(1 + len(part.notes) for part in row)
    for part, x in zip(row, _centres(row, wide), strict=True):
        y = bottom + height / 2
        scene.box(part.title, part.kind, x, y, (wide, height), [part.title, *part.notes])
        if part.loop:
            side = -1.0 if x < 0 else 1.0
            edge, out = x + side * wide / 2, x + side * (wide / 2 + OUT)
            corners = ((edge, y + 0.15), (out, y + 0.19), (out, y - 0.19), (edge, y - 0.15))
            scene.line(f"loop of {part.title}", *corners, curved=True)
            scene.text(part.loop, x + side * (wide / 2 + 0.75 * OUT + CLEAR), y, "left" if side > 0 else "right")
    return bottom + height


def _connect(scene: Scene, below: Row, above: Row, start: float, wide: float, reads: str, joined: int | None) -> float:
    """Add the arrows from a row to the next, with their weights; return where the next begins."""
    if len(below) == len(above) == 1:
        stop = start + GAP
        scene.line(f"to {above[0].title}", (0.0, start), (0.0, stop))
        _name(scene, above[0].weight, reads, (start + stop) / 2)
        return stop
    line = start + RISE if len(below) > 1 else start + RISE / 2
    stop = line + RISE
    starts = [(x, start) for x in _centres(below, wide)]
    scene.gather(starts, _centres(above, wide), line, f"from {below[0].title}", f"beside {above[0].title}")
    if joined is not None:
        scene.text(f"joined, {joined}", 0.0, line - LEADING / 2 - 0.04, "center")
    if len(above) == 1:
        scene.line(f"to {above[0].title}", (0.0, line), (0.0, stop))
        _name(scene, above[0].weight, reads, (line + stop) / 2)
        return stop
    for part, x in zip(above, _centres(above, wide), strict=True):
        scene.line(f"to {part.title}", (x, line), (x, stop))
        scene.text(part.weight, x + (CLEAR if x > 0 else -CLEAR), (line + stop) / 2, "left" if x > 0 else "right")
    return stop


def _name(scene: Scene, weight: str, reads: str, y: float) -> None:
    """Name an arrow in the middle: its weight to the right, what it reads to the left."""
    scene.text(weight, CLEAR, y, "left")
    scene.text(reads, -CLEAR, y, "right")


def _end(scene: Scene, row: Row, start: float, wide: float, network: Network) -> None:
    """Add the arrow out of the last row, and what comes out."""
    if len(row) > 1:
        joined = width_of(network.layers[-1])
        scene.text("" if joined is None else f"joined, {joined}", 0.0, start + RISE - LEADING / 2 - 0.04, "center")
    x, end = scene.leave([(x, start) for x in _centres(row, wide)], RISE, 0.3)
    symbol = row[0].symbol.replace(r"\overrightarrow", "").format(t="t")
    scene.text(symbol, x, end + LEADING / 2 + 0.03, "center", TITLE, "#1f2328")
