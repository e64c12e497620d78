"""The plot docs/benchmarks/cpu.svg: the ratio of each contestant for each shape, a panel for each thread count."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from harness.processes import OURS
from harness.timing import ratios
from matplotlib.figure import Figure
from parts import WALK

MARKS = {WALK: "D", "onnxruntime": "s", "torch": "o", "jax": "^", "textbook": "v", "product": "x"}
SETTINGS = {"svg.hashsalt": "rnn_backends", "svg.fonttype": "none", "font.size": 8}


def write(found: dict[str, Any], path: Path) -> None:
    """Draw the measurements in float32; the same ones give the same file."""
    cells = [cell for cell in found["cells"] if cell["problem"]["dtype"] == "float32"]
    counts = list(dict.fromkeys(cell["threads"] for cell in cells))
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(9, 1.2 + 2.4 * max(1, len(counts))), layout="constrained")
        panels = figure.subplots(max(1, len(counts)), 1, sharex=True, squeeze=False)[:, 0]
        for panel, count in zip(panels, counts, strict=False):
            _draw(panel, [cell for cell in cells if cell["threads"] == count])
            panel.set_title(f"{count} thread{'s' * (count > 1)}, float32", loc="left")
        panels[-1].set_xlabel("T, B, I, H")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(MARKS))
        figure.savefig(path, metadata={"Date": None})


def _draw(panel: Any, cells: list[dict[str, Any]]) -> None:
    """Draw the marks of each contestant with their quartiles, side by side within a shape."""
    for slot, (name, mark) in enumerate(MARKS.items()):
        found = {x: ratios(cell["seconds"], OURS).get(name) for x, cell in enumerate(cells)}
        drawn = {x + (slot + 0.5) / len(MARKS) * 0.8 - 0.4: ratio for x, ratio in found.items() if ratio is not None}
        medians = [ratio.median for ratio in drawn.values()]
        reach = [
            [ratio.median - ratio.lower for ratio in drawn.values()],
            [ratio.upper - ratio.median for ratio in drawn.values()],
        ]
        if drawn:
            panel.errorbar(list(drawn), medians, reach, marker=mark, linestyle="none", markersize=4, label=name)
    for x in range(len(cells) - 1):
        panel.axvline(x + 0.5, color="lightgray", linewidth=0.8)
    panel.axhline(1.0, color="black", linewidth=0.8)
    panel.set_yscale("log")
    panel.set_ylabel("time / ours")
    panel.set_xticks(range(len(cells)), [_label(cell["problem"]) for cell in cells])
    panel.grid(axis="y", which="both", linewidth=0.3)


def _label(problem: dict[str, Any]) -> str:
    return "{seq_len}, {batch},\n{input_size}, {hidden_size}".format(**problem)
