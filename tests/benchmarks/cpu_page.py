"""The page docs/benchmarks/cpu.md, made of the measurements."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import accuracy
import cold_start
import memory
from harness.competitors import LIMITS
from harness.processes import OURS
from harness.table import digits, worded
from harness.timing import Quartiles, ratios
from parts import PARTS, WALK
from thresholds import Verdict, verdicts, where

from rnn_backends.backends.cpu_kernels import choice

PREAMBLE = f"""\
# Benchmarks on the CPU

The time of others in units of the time of this library as it is installed: above 1, this library is faster. Each figure
is the median, over rounds, of the ratio of two times taken in the same round; in brackets are the quartiles. Each
contestant has a process of its own, which is stopped while the others are timed, so that none is slowed down by threads
of another that spin after their work. In each round, in an order drawn anew, every contestant goes on, makes some calls
that are not timed and then as many as last 20 ms, or one. Before, every result is checked against the float64 reference
of `rnn_backends.testing` with its error bound. All have the same number of threads, and as many processors; they are
given NumPy arrays and give NumPy arrays back. T are steps, B sequences, I features, V the vocabulary of token ids, H
states.

* {WALK}: this library without its compiled kernel (`RNN_CPU_KERNEL=off`).
* torch: `nn.RNN` (`nn.RNNCell` for single steps) in inference mode; onnxruntime: a model of one RNN node;
  jax: `jax.lax.scan` under `jax.jit`; reservoirpy: its `Reservoir` with the same matrices.
* textbook: the loop `a = np.tanh(Wax @ x + Waa @ a + ba)`, over one-hot vectors for tokens.
* product: a limit, of matrix products alone by NumPy: one of as many operations, or for one sequence that of the inputs
  and then those of W_hh with a vector. The figure is the part of the limit's speed that is reached.
* For token ids torch and onnxruntime have an embedding that holds the columns of W_ax.
"""


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
    """Yield the page."""
    yield PREAMBLE
    yield from _conditions(parts)
    yield "\n## Limits\n"
    yield "| | wanted | worst | where | reached |\n|---|---:|---:|---|---|"
    yield from map(_verdict, verdicts(parts))
    if has_plot:
        yield "\n![The times of others divided by ours, for each shape](cpu.svg)"
    for name, found in parts.items():
        yield from section(name, found)


def section(name: str, found: dict[str, Any]) -> Iterator[str]:
    """Yield the part of the page that shows a part of the measurements."""
    if "cells" in found:
        yield f"\n## {PARTS[name].title}\n\n{PARTS[name].text} `{found['command']}`\n"
        yield from _ratios(found["cells"])
    else:
        yield from {"cold start": _cold_start, "memory": _memory, "accuracy": _accuracy}[name](found)


def _conditions(parts: dict[str, Any]) -> Iterator[str]:
    """Yield the machines and versions of the measurement."""
    yield from dict.fromkeys(_where(found) for found in parts.values())
    first: dict[str, Any] = next(iter(parts.values()), {})
    if first.get("load") is not None:
        yield f"* load average {first['load']:.2f} when the first part was begun"
    cells = [cell for found in parts.values() for cell in found.get("cells", ())]
    if versions := {name: version for cell in cells for name, version in cell["versions"].items()}:
        yield f"* {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}"
    if kernels := dict.fromkeys(cell["kernel"] for cell in cells):
        yield f"* the kernel of ours, in the order of the tables: {', '.join(kernels)}"
    missing = [*cells, *(found for found in parts.values() if "absent" in found)]
    absent = {reason: name for each in missing for name, reason in each["absent"].items() if "not installed" in reason}
    yield from (f"* without {name}: {reason}" for reason, name in absent.items())
    yield f"* {datetime.now(UTC).date()}, by `python tests/benchmarks/cpu.py`"


def _where(found: dict[str, Any]) -> str:
    return (
        f"* {found['cpu']}, {found['processors']} processors, {found['platform']}, Python {found['python']}, "
        f"rnn_backends {found['rnn_backends']}"
    )


def _verdict(verdict: Verdict) -> str:
    limit = verdict.limit
    if not verdict.found:
        return f"| {limit.what} | {limit.wanted} | | | not measured |"
    place, worst = verdict.worst
    missed = f"**no**, {len(verdict.missed)} of {len(verdict.found)}" if verdict.missed else "yes"
    return f"| {limit.what} | {limit.wanted} | {digits(worst)}{limit.unit} | {place} | {missed} |"


def _ratios(cells: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a row for each problem and number of threads, a column for each contestant."""
    names = list(dict.fromkeys(name for cell in cells for name in cell["seconds"] if name != OURS))
    others = [name for name in names if name not in LIMITS] + [name for name in names if name in LIMITS]
    yield f"| | {OURS}, us | {' | '.join(others)} |\n|---|---:|{'---:|' * len(others)}"
    for cell in cells:
        ratio = ratios(cell["seconds"], OURS)
        shown = [worded(ratio[name]) if name in ratio else "-" for name in others]
        own = digits(Quartiles.of(cell["seconds"][OURS]).median * 1e6)
        yield f"| {where(cell)} | {own} | {' | '.join(shown)} |"


def _cold_start(found: dict[str, Any]) -> Iterator[str]:
    yield "\n## Cold start\n"
    yield (
        "The time of a new Python process, from its start to its end, divided by that of one that imports NumPy. "
        f"*{cold_start.OURS}*: loads the network of `examples/shakespeare` and computes the probabilities after one "
        f"character; *{cold_start.ONNXRUNTIME}*: does so with the same network in an ONNX file. The import of this "
        f"package takes {found['import_seconds'] * 1e3:.1f} ms beyond NumPy's.\n"
    )
    yield "| process | times `import numpy` |\n|---|---:|"
    for name, quartiles in ratios(found["seconds"], cold_start.NUMPY).items():
        yield f"| {name} | {worded(quartiles)} |"


def _memory(found: dict[str, Any]) -> Iterator[str]:
    yield "\n## Memory\n"
    yield f"The most that a call of one sequence with {found['steps']:,} steps holds beside input, model and result.\n"
    yield "| call | MiB |\n|---|---:|"
    for name, mib in found["mib"].items():
        yield f"| {memory.CALLS[name]} | {mib:.0f} |"


def _accuracy(found: dict[str, Any]) -> Iterator[str]:
    yield "\n## Accuracy\n"
    yield (
        "The error of float32 results against the equation in float64, divided by the error of torch's, over "
        f"random networks and inputs (T to {accuracy.MOST_STEPS}, H to {accuracy.MOST_STATES}, "
        f"B to {accuracy.MOST_SEQUENCES}), by kernel, the one that is chosen by itself first.\n"
    )
    yield "| kernel | activation | networks | rms, median | rms, worst | largest, median | largest, worst |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for kernel, by_activation in found["ratios"].items():
        for activation, by_measure in by_activation.items():
            shown = [digits(f) for ratio in by_measure.values() for f in (Quartiles.of(ratio).median, max(ratio))]
            count = len(by_measure["rms"])
            yield f"| {WALK if kernel == choice.OFF else kernel} | {activation} | {count} | {' | '.join(shown)} |"
