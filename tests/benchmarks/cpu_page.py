"""The page docs/benchmarks/cpu.md, made of the measurements."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cold_start
from harness.competitors import LIMITS
from harness.problem import Problem
from harness.table import worded
from harness.timing import ratios
from thresholds import verdicts

PREAMBLE = """\
# On the CPU

The time of other libraries in units of the time of this library: above 1, this library is faster.
Each figure is the median, over rounds, of the ratio of two times taken in the same round; in brackets are the
quartiles. Before anything is timed, every result is checked against the float64 reference of
`rnn_backends.testing` with its error bound. All have the same number of threads, and as many processors;
a process measures all in turn, in an order drawn for every round, waits before each until no thread spins,
and hands over NumPy arrays and gets NumPy arrays back. T are steps, B sequences, I features, V the vocabulary
of token ids, H states.

* torch: `nn.RNN` (`nn.RNNCell` for single steps) in inference mode; ONNX Runtime: a model of one RNN node;
  JAX: `jax.lax.scan` under `jax.jit`; reservoirpy: its `Reservoir` with the same matrices.
* textbook: the loop `a = np.tanh(Wax @ x + Waa @ a + ba)` over one-hot vectors.
* product and recurrent are limits: one matrix product of as many operations, and for B = 1 the products of
  W_hh with a vector alone, both by NumPy. The figure is the part of the limit's speed that is reached.
* For token ids torch and ONNX Runtime have an embedding that holds the columns of W_ax.
"""
TITLES = {
    "sequences": "Whole sequences",
    "tokens": "Token ids",
    "bidirectional": "Both directions",
    "ragged": "Sequences of different lengths",
    "step": "A stream, step by step",
    "leaky": "Leaky reservoirs",
}


def write(parts: dict[str, Any], folder: Path) -> None:
    """Write the page, and the plot where there is matplotlib."""
    has_plot = "sequences" in parts and find_spec("matplotlib") is not None
    if has_plot:
        import cpu_plot

        cpu_plot.write(parts["sequences"], folder / "cpu.svg")
    else:
        print("without cpu.svg: it needs matplotlib, and the part 'sequences'", file=sys.stderr)
    (folder / "cpu.md").write_text("\n".join(lines(parts, has_plot)) + "\n", encoding="utf-8")


def lines(parts: dict[str, Any], has_plot: bool) -> Iterator[str]:
    yield PREAMBLE
    yield from _conditions(parts)
    yield "\n## Thresholds\n"
    yield "| | wanted | worst | where | reached |\n|---|---:|---:|---|---|"
    for verdict in verdicts(parts):
        yield f"| {verdict.what} | {verdict.wanted} | {verdict.found} | {verdict.where} | {verdict.word} |"
    if has_plot:
        yield "\n![The times of others divided by ours, for each shape](cpu.svg)"
    for name, found in parts.items():
        yield from _cold_start(found) if name == "cold start" else _part(TITLES[name], found)


def _conditions(parts: dict[str, Any]) -> Iterator[str]:
    """Yield the machines and versions of the measurement."""
    yield from dict.fromkeys(_where(found) for found in parts.values())
    first: dict[str, Any] = next(iter(parts.values()), {})
    if first.get("load") is not None:
        yield f"* load average {first['load']:.2f} when the first part was begun"
    versions: dict[str, str] = {}
    for found in parts.values():
        for cell in found.get("cells", ()):
            versions |= cell["versions"]
    if versions:
        yield f"* {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}"
    absent = {name: reason for found in parts.values() for name, reason in _missing(found).items()}
    for name, reason in absent.items():
        yield f"* without {name}: {reason}"
    yield f"* {datetime.now(UTC).date()}, by `python tests/benchmarks/cpu.py`"


def _where(found: dict[str, Any]) -> str:
    return (
        f"* {found['cpu']}, {found['processors']} processors, {found['platform']}, Python {found['python']}, "
        f"rnn_backends {found['rnn_backends']}"
    )


def _missing(found: dict[str, Any]) -> dict[str, str]:
    """Return the competitors that are not installed; a dash in the table means one that does not run the problem."""
    absent = dict(found.get("absent", {}))
    for cell in found.get("cells", ()):
        absent |= cell["absent"]
    return {name: reason for name, reason in absent.items() if reason.startswith("not installed")}


def _part(title: str, found: dict[str, Any]) -> Iterator[str]:
    cells = found["cells"]
    names = list(dict.fromkeys(name for cell in cells for name in cell["seconds"]))
    own = cells[0]["ours"][-1]  # the first of two backends is a column, for the other to be compared with
    others = [name for name in names if name not in {own, *LIMITS}] + [name for name in names if name in LIMITS]
    yield f"\n## {title}\n\n`{found['command']}`\n"
    yield f"| | threads | ours | {' | '.join(others)} |\n|---|---:|---|{'---:|' * len(others)}"
    for cell in cells:
        for backend in cell["ours"]:
            ratio = ratios(cell["seconds"], backend)
            shown = [worded(ratio[name]) if name in ratio else "-" for name in others]
            yield f"| {Problem(**cell['problem'])} | {cell['threads']} | {backend} | {' | '.join(shown)} |"


def _cold_start(found: dict[str, Any]) -> Iterator[str]:
    yield "\n## Cold start\n"
    yield (
        "The time of a new Python process, from its start to its end, divided by that of one that imports NumPy. "
        f"*{cold_start.OURS}*: loads the network of `examples/shakespeare` and computes the probabilities after one "
        f"character, on NumPy; *{cold_start.ONNXRUNTIME}*: does so with the same network in an ONNX file.\n"
    )
    yield "| process | times `import numpy` |\n|---|---:|"
    for name, quartiles in ratios(found["seconds"], cold_start.NUMPY).items():
        yield f"| {name} | {worded(quartiles)} |"
