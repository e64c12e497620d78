"""The plot docs/benchmarks/cpu.svg: the ratio of each competitor for each shape, a panel for each thread count."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from harness.timing import ratios
from matplotlib.figure import Figure

COMPETITORS = {"torch": "o", "onnxruntime": "s", "jax": "^", "product": "x"}
COLOURS = {"numpy": "tab:blue", "numba": "tab:orange"}
SETTINGS = {"svg.hashsalt": "rnn_backends", "svg.fonttype": "none", "font.size": 8}


def write(found: dict[str, Any], path: Path) -> None:
    """Draw the measurements in float32; the same ones give the same file."""
    cells = [cell for cell in found["cells"] if cell["problem"]["dtype"] == "float32"]
    counts = list(dict.fromkeys(cell["threads"] for cell in cells))
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(9, 1.6 + 2.4 * len(counts)), layout="constrained")
        panels = figure.subplots(len(counts), 1, sharex=True, squeeze=False)[:, 0]
        for panel, count in zip(panels, counts, strict=True):
            _draw(panel, [cell for cell in cells if cell["threads"] == count])
            panel.set_title(f"{count} thread{'s' * (count > 1)}, float32", loc="left")
        panels[-1].set_xlabel("T, B, I, H")
        handles, labels = panels[0].get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=4)
        figure.savefig(path, metadata={"Date": None})


def _draw(panel: Any, cells: list[dict[str, Any]]) -> None:
    """Draw a mark with its quartiles for each cell, backend and competitor, side by side within a shape."""
    backends = list(dict.fromkeys(backend for cell in cells for backend in cell["ours"]))
    slots = [(backend, name) for backend in backends for name in COMPETITORS]
    for x, cell in enumerate(cells):
        panel.axvline(x + 0.5, color="lightgray", linewidth=0.8)
        for slot, (backend, name) in enumerate(slots):
            found = ratios(cell["seconds"], backend).get(name) if backend in cell["ours"] else None
            if found is None:
                continue
            panel.errorbar(
                x + (slot - (len(slots) - 1) / 2) * 0.8 / len(slots),
                found.median,
                [[found.median - found.lower], [found.upper - found.median]],
                marker=COMPETITORS[name],
                color=COLOURS.get(backend, "tab:gray"),
                linestyle="none",
                markersize=4,
                label=f"{name} / {backend}",
            )
    panel.axhline(1.0, color="black", linewidth=0.8)
    panel.set_yscale("log")
    panel.set_ylabel("time / ours")
    panel.set_xticks(range(len(cells)), [_label(cell["problem"]) for cell in cells])
    panel.grid(axis="y", which="both", linewidth=0.3)


def _label(problem: dict[str, Any]) -> str:
    return "{seq_len}, {batch},\n{input_size}, {hidden_size}".format(**problem)
