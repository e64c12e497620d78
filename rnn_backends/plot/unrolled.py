"""The diagram of a network unrolled in time: a column for each step, rows from the input to the outputs."""

from dataclasses import dataclass
from itertools import pairwise

from rnn_backends.core.network import Network
from rnn_backends.plot.letters import width_of_text
from rnn_backends.plot.parts import READS, Part, Row, rows_of
from rnn_backends.plot.scene import INK, LEADING, NOTE, TITLE, Scene

HEIGHT, GAP, RISE = 0.4, 0.46, 0.36
"""Inches of a box, between rows, and above and below a line between them."""
BETWEEN = 0.16
"""Inches between the rows of the two cells of a layer."""
SPACE = 0.66
"""Inches between columns, where W_aa is written."""
CLEAR = 0.05
GUTTER = 0.25
"""Inches between what is written beside the rows and the first column."""


@dataclass(frozen=True)
class Columns:
    """Where the columns are.

    Parameters
    ----------
    centres : list of float
    wide : float
        The width of a box.
    shift : float
        How far the cells of a layer of both directions stand to the left and right of the centre.
    left : float
        Where what is written beside the rows ends.
    """

    centres: list[float]
    wide: float
    shift: float
    left: float

    def places(self, row: Row) -> list[list[float]]:
        """Return where the boxes of each part of a row are."""
        if len(row) == 1:
            return [self.centres]
        return [[x - self.shift for x in self.centres], [x + self.shift for x in self.centres]]


def unrolled(network: Network, steps: int) -> Scene:
    """Return the picture of a network at so many steps."""
    scene, rows = Scene(), rows_of(network)
    columns = _columns(rows, steps)
    first_readout, bottom = len(rows) - len(network.readout), 0.0
    is_whole = network.reads != "steps"
    sources: list[list[float]] = []
    tops: list[float] = []
    for index, row in enumerate(rows):
        targets = columns.places(row)
        if is_whole and index >= first_readout:
            if index == first_readout:
                sources = _read(network.reads, rows[index - 1], sources)
            targets = [[_middle(sources) if index == first_readout else sources[0][0]]]
        if index:
            bottom = _connect(scene, row, sources, tops, targets, columns)
            reads = READS[network.reads] if index == first_readout else ""
            _beside_arrows(scene, row, reads, columns.left, bottom)
        tops = _row(scene, row, targets, bottom, columns, steps)
        sources = targets
    if not network.readout:
        for xs in zip(*sources, strict=True):
            scene.leave(list(zip(xs, tops, strict=True)), 0.2, 0.28)
    return scene


def _columns(rows: list[Row], steps: int) -> Columns:
    """Return columns as wide as the symbols in their boxes."""
    symbols = {part.symbol.format(t=steps + 1) for row in rows for part in row}
    wide = max(0.56, max(width_of_text(symbol, TITLE) for symbol in symbols) + 0.16)
    has_both = any(len(row) > 1 for row in rows)
    shift = wide / 4 + 0.11 if has_both else 0.0
    pitch = wide + SPACE + (2 * shift if has_both else 0.0)
    left = -wide / 2 - shift - GUTTER - 0.62
    return Columns([pitch * index for index in range(steps)], wide, shift, left)


def _row(scene: Scene, row: Row, places: list[list[float]], bottom: float, columns: Columns, steps: int) -> list[float]:
    """Add the boxes of a row at all steps, and its words beside them; return where each part's boxes end above."""
    tops = []
    for level, (part, xs) in enumerate(zip(row, places, strict=True)):
        y = bottom + HEIGHT / 2 + level * (HEIGHT + BETWEEN)
        for step, x in enumerate(xs, start=1):
            name = f"{part.title}, step {step}" if len(xs) == steps else part.title
            scene.box(name, part.kind, x, y, (columns.wide, HEIGHT), [part.symbol.format(t=step)])
        if part.kind == "cell":
            _through_time(scene, part, xs, y, columns, both=len(row) > 1)
        _beside_row(scene, part, columns.left, y)
        tops.append(y + HEIGHT / 2)
    return tops


def _through_time(scene: Scene, part: Part, xs: list[float], y: float, columns: Columns, *, both: bool) -> None:
    """Add the arrows of a cell from step to step, and from the state that it starts with."""
    half, side = columns.wide / 2, -1.0 if part.reverse else 1.0
    start = xs[-1 if part.reverse else 0] - side * (half + 0.34)
    order = [start + side * 0.04 - side * half, *(reversed(xs) if part.reverse else xs)]
    name = part.loop.partition(" (")[0]
    for number, (x, following) in enumerate(pairwise(order)):
        begin, end = x + side * half, following - side * half
        scene.line(f"in time to {part.title}", (begin, y), (end, y))
        if number:  # beside the line to the other cell, which crosses this one
            middle = (begin + end) / 2 + (side * columns.shift if both else 0.0)
            scene.text(name, middle, y + 0.1, "center")
    initial = len(xs) + 1 if part.reverse else 0
    symbol = part.symbol.format(t=initial)
    scene.text(symbol, start - side * 0.02, y, "left" if part.reverse else "right", NOTE, INK)


def _connect(
    scene: Scene,
    row: Row,
    sources: list[list[float]],
    tops: list[float],
    targets: list[list[float]],
    columns: Columns,
) -> float:
    """Add the arrows from a row to the next at each step; return where the next row begins."""
    top, is_straight = max(tops), sources == targets and len(targets) == 1
    line = top + (0.0 if is_straight else RISE / 2)
    bottom = top + GAP if is_straight else line + RISE
    gather = len(targets[0]) < len(columns.centres)
    groups = [list(range(len(columns.centres)))] if gather and len(sources[0]) != len(targets[0]) else []
    groups = groups or [[index] for index in range(len(targets[0]))]
    for number, group in enumerate(groups):
        starts = [(xs[i], t) for xs, t in zip(sources, tops, strict=True) for i in group if i < len(xs)]
        ends = [xs[number] for xs in targets]
        if not is_straight:
            scene.gather(starts, ends, line, f"from below {row[0].title}", f"beside {row[0].title}")
        for level, (part, x) in enumerate(zip(row, ends, strict=True)):
            end = bottom + level * (HEIGHT + BETWEEN)
            scene.line(f"to {part.title}", (x, line), (x, end))
            scene.text(part.weight.partition(" (")[0], x + CLEAR, (line + bottom) / 2, "left")
    return bottom


def _read(reads: str, row: Row, places: list[list[float]]) -> list[list[float]]:
    """Return the places of a layer that a readout of the whole sequence reads."""
    if reads in {"mean", "max"}:
        return places
    ends = [0 if reads == "final" and part.reverse else -1 for part in row]
    return [[xs[end]] for xs, end in zip(places, ends, strict=True)]


def _middle(places: list[list[float]]) -> float:
    xs = [x for part in places for x in part]
    return (min(xs) + max(xs)) / 2


def _beside_row(scene: Scene, part: Part, x: float, y: float) -> None:
    """Write beside a row what it is."""
    notes = ", ".join(part.notes)
    shape = part.loop if "(" in part.loop else ""
    lines = [text for text in (part.title, notes, shape) if text]
    top = y + LEADING * (len(lines) - 1) / 2
    for index, text in enumerate(lines):
        weight = "bold" if index == 0 else "normal"
        scene.text(text, x, top - LEADING * index, "right", NOTE, INK if index < 2 else "#59636e", weight)


def _beside_arrows(scene: Scene, row: Row, reads: str, x: float, bottom: float) -> None:
    """Write beside the arrows to a row their weights, and what they read."""
    weights = list(dict.fromkeys(part.weight for part in row))
    if len(weights) > 1:  # of cells of unequal size
        weights = [f"{part.weight} {'backward' if part.reverse else 'forward'}" for part in row if part.weight]
    lines = [text for text in (*weights, reads) if text]
    for index, text in enumerate(reversed(lines)):
        scene.text(text, x, bottom - 0.12 - LEADING * index, "right")
