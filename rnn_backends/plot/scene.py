"""A picture of boxes, lines and texts, in inches, before there are axes to draw it in."""

from dataclasses import dataclass, field
from typing import Any

from rnn_backends.plot.arguments import require_pyplot
from rnn_backends.plot.letters import width_of_text

INK, QUIET, LINE = "#1f2328", "#59636e", "#57606a"
FILL = {"input": "#ddf4ff", "encoder": "#eae6f8", "cell": "#fff1cc", "readout": "#dafbe1"}
TITLE, NOTE = 10.0, 8.5
"""Sizes of letters, in points."""
LEADING = 0.16
"""Inches from a line of text to the next."""
MARGIN = 0.12

Point = tuple[float, float]


@dataclass
class Scene:
    """Boxes, lines and texts at places in inches, of which y grows upwards; `draw` puts them into axes."""

    boxes: list[tuple[str, str, float, float, float, float]] = field(default_factory=list)
    """Name, kind, and left, bottom, width and height."""
    lines: list[tuple[str, list[Point], bool, bool]] = field(default_factory=list)
    """Name, corners, whether there is a tip at the end, and whether the corners are those of a curve."""
    texts: list[tuple[str, float, float, str, float, str, str]] = field(default_factory=list)
    """Text, place, horizontal alignment, size of letters, colour and weight."""

    def box(self, name: str, kind: str, x: float, y: float, size: Point, lines: list[str]) -> None:
        """Add a box around a centre, with lines of text in it, the first larger."""
        width, height = size
        self.boxes.append((name, kind, x - width / 2, y - height / 2, width, height))
        top = y + LEADING * (len(lines) - 1) / 2
        for index, line in enumerate(lines):
            first = index == 0
            weight = "bold" if first and len(lines) > 1 else "normal"
            self.text(line, x, top - LEADING * index, "center", TITLE if first else NOTE, INK, weight)

    def line(self, name: str, *corners: Point, tip: bool = True, curved: bool = False) -> None:
        """Add a line through corners, or a curve of four, with a tip at the end."""
        self.lines.append((name, list(corners), tip, curved))

    def gather(self, starts: list[Point], ends: list[float], y: float, source: str, beside: str) -> None:
        """Add lines from points up to one that goes across at a height, from which others go on at some x."""
        for x, begin in starts:
            self.line(source, (x, begin), (x, y), tip=False)
        across = [x for x, _ in starts] + ends
        self.line(beside, (min(across), y), (max(across), y), tip=False)

    def leave(self, starts: list[Point], rise: float, length: float) -> Point:
        """Add the arrow out of the last row, where those of both cells of a layer meet; return where it ends."""
        (x, top), *others = starts
        if others:
            x, top = sum(x for x, _ in starts) / len(starts), max(y for _, y in starts) + rise
            self.gather(starts, [], top, "from the last layer", "beside the output")
        self.line("to the output", (x, top), (x, top + length))
        return x, top + length

    def text(
        self, text: str, x: float, y: float, align: str, size: float = NOTE, colour: str = QUIET, weight: str = "normal"
    ) -> None:
        """Add a line of text at a height, to the right of a place, to its left, or around it."""
        if text:
            self.texts.append((text, x, y, align, size, colour, weight))

    def bounds(self) -> tuple[float, float, float, float]:
        """Return left, bottom, right and top of all that is there, with a margin."""
        xs, ys = [], []
        for _, _, x, y, width, height in self.boxes:
            xs += [x, x + width]
            ys += [y, y + height]
        for _, corners, _, _ in self.lines:
            xs += [x for x, _ in corners]
            ys += [y for _, y in corners]
        for text, x, y, align, size, _, _ in self.texts:
            width = width_of_text(text, size)
            left = x - {"left": 0.0, "center": width / 2, "right": width}[align]
            xs += [left, left + width]
            ys += [y - LEADING / 2, y + LEADING / 2]
        return min(xs) - MARGIN, min(ys) - MARGIN, max(xs) + MARGIN, max(ys) + MARGIN

    def draw(self, ax: Any) -> Any:
        """Draw into axes, or a new figure as large as the picture; letters shrink or grow with the axes."""
        left, bottom, right, top = self.bounds()
        if ax is None:
            figure = require_pyplot().figure(figsize=(right - left, top - bottom), layout="none")
            ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        ax.set_axis_off()
        dpi = ax.figure.dpi
        scale = min(ax.bbox.width / (right - left), ax.bbox.height / (top - bottom)) / dpi
        self._draw_lines(ax, scale)
        self._draw_boxes(ax, scale)
        for text, x, y, align, size, colour, weight in self.texts:
            ax.text(
                x, y, text, ha=align, va="center_baseline", fontsize=size * scale, color=colour, weight=weight, zorder=4
            )
        return ax

    def _draw_boxes(self, ax: Any, scale: float) -> None:
        from matplotlib.patches import FancyBboxPatch

        for name, kind, x, y, width, height in self.boxes:
            patch = FancyBboxPatch(
                (x, y),
                width,
                height,
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=FILL[kind],
                edgecolor=LINE,
                linewidth=scale,
                zorder=3,
            )
            patch.set_gid(name)
            ax.add_patch(patch)

    def _draw_lines(self, ax: Any, scale: float) -> None:
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path

        for name, corners, tip, curved in self.lines:
            codes = [Path.MOVETO] + [Path.CURVE4 if curved else Path.LINETO] * (len(corners) - 1)
            patch = FancyArrowPatch(
                path=Path(corners, codes),
                arrowstyle="-|>" if tip else "-",
                mutation_scale=9 * scale,
                facecolor=LINE if tip else "none",
                edgecolor=LINE,
                linewidth=1.1 * scale,
                joinstyle="miter",
                capstyle="butt",
                zorder=2,
            )
            patch.set_gid(name)
            ax.add_patch(patch)
