"""Draw picture.svg of this folder: the network unrolled in time, and one model file on several libraries.

python docs/draw_picture.py
"""

from html import escape
from pathlib import Path

PICTURE = Path(__file__).with_name("picture.svg")

LIGHT = {"paper": "#ffffff", "edge": "#d0d7de", "ink": "#1f2328", "quiet": "#59636e",
         "input": "#ddf4ff", "state": "#fff1cc", "output": "#dafbe1", "line": "#57606a"}  # fmt: skip
DARK = {"paper": "#0d1117", "edge": "#3d444d", "ink": "#f0f6fc", "quiet": "#b1bac4",
        "input": "#123a5c", "state": "#5a4408", "output": "#12492a", "line": "#9198a1"}  # fmt: skip
"""Colours by what they are for; the picture has its own background, as a page may be of either kind."""

SHAPES = """\
text { font: 15px 'Segoe UI', Helvetica, Arial, sans-serif; text-anchor: middle }
.equation, .node { font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace }
.equation { font-size: 16px }
.node { font-size: 13px }
.quiet { font-size: 14px }
.small { font-size: 12px }
.strong { font-weight: 600 }
.start { text-anchor: start }
.line { marker-end: url(#tip) }"""

STEPS = {"<1>": 150, "<2>": 270, "<T>": 450}
"""The centres of the steps that are drawn."""
OUTPUT, STATE, INPUT = 62, 136, 210
"""The heights of the rows."""
LIBRARIES = {"NumPy": "CPU", "CuPy": "NVIDIA GPU", "torch": "CPU, NVIDIA GPU", "JAX": "what JAX finds"}


def picture() -> str:
    """Return the text of the SVG file, the same each time."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 330" width="900" height="330" role="img">',
        "<title>A recurrent network unrolled in time, and one model file run by several array libraries</title>",
        f"<style>\n{SHAPES}\n{_style(LIGHT)}\n@media (prefers-color-scheme: dark) {{\n{_style(DARK)}\n}}\n</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">',
        '<path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>',
        '<rect class="paper" x="0.5" y="0.5" width="899" height="329" rx="10"/>',
        *_network(),
        *_equations(),
        *_libraries(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _network() -> list[str]:
    """Return the steps of time, from left to right."""
    parts = [_node("state", 40, STATE, "a<0>")]
    for time, x in STEPS.items():
        parts += [
            _arrow(x, INPUT - 23, x, STATE + 24),
            _arrow(x, STATE - 23, x, OUTPUT + 24),
            _text(x + 8, (INPUT + STATE) // 2 + 5, "W_ax", "quiet start"),
            _text(x + 8, (OUTPUT + STATE) // 2 + 5, "W_ya", "quiet start"),
            _node("output", x, OUTPUT, f"y{time}"),
            _node("state", x, STATE, f"a{time}"),
            _node("input", x, INPUT, f"x{time}"),
        ]
    first, second, last = STEPS.values()
    for start, stop in ((40, first), (first, second), (second, last - 90), (last - 90, last)):
        begin = start + (23 if start != last - 90 else 18)
        end = stop - (24 if stop != last - 90 else 18)
        parts += [_arrow(begin, STATE, end, STATE), _text((begin + end) // 2 - 2, STATE - 9, "W_aa", "quiet")]
    return [*parts, *(_text(last - 90, y + 5, "…", "ink") for y in (OUTPUT, STATE, INPUT))]


def _equations() -> list[str]:
    return [
        _text(245, 264, "a<t> = g1(W_aa a<t-1> + W_ax x<t> + b_a)", "ink equation"),
        _text(245, 293, "y<t> = g2(W_ya a<t> + b_y)", "ink equation"),
        _text(245, 316, "activations: g1 such as tanh, g2 such as softmax", "quiet small"),
    ]


def _libraries() -> list[str]:
    """Return the model file, and an arrow to each library that runs it."""
    parts = [
        '<path class="edge" d="M520 24V306"/>',
        '<path class="state" d="M552 114h62l22 22v70h-84z"/>',
        '<path class="fold" d="M614 114v22h22"/>',
        _text(594, 164, "one", "ink"),
        _text(594, 184, "model file", "ink"),
    ]
    for number, (name, where) in enumerate(LIBRARIES.items()):
        y = 42 + 64 * number
        parts += [
            _arrow(640, 160, 706, y + 22),
            f'<rect class="output" x="712" y="{y}" width="156" height="44" rx="6"/>',
            _text(790, y + 19, name, "ink strong"),
            _text(790, y + 36, where, "quiet small"),
        ]
    return [*parts, _text(790, 304, "the same numbers", "ink")]


def _node(kind: str, x: int, y: int, label: str) -> str:
    return f'<circle class="{kind}" cx="{x}" cy="{y}" r="22"/>\n{_text(x, y + 5, label, "ink node")}'


def _arrow(x: int, y: int, to_x: int, to_y: int) -> str:
    return f'<path class="line" d="M{x} {y}L{to_x} {to_y}"/>'


def _text(x: int, y: int, label: str, kinds: str) -> str:
    return f'<text class="{kinds}" x="{x}" y="{y}">{escape(label)}</text>'


def _style(colours: dict[str, str]) -> str:
    """Return the rules for colours."""
    return "\n".join(
        [
            f".paper {{ fill: {colours['paper']}; stroke: {colours['edge']} }}",
            f".edge {{ fill: none; stroke: {colours['edge']} }}",
            *(
                f".{kind} {{ fill: {colours[kind]}; stroke: {colours['line']} }}"
                for kind in ("input", "state", "output")
            ),
            f".line, .fold {{ fill: none; stroke: {colours['line']}; stroke-width: 1.5 }}",
            f".tip {{ fill: {colours['line']} }}",
            f".ink {{ fill: {colours['ink']} }}",
            f".quiet {{ fill: {colours['quiet']} }}",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
