"""Measure a cell with a sparse W_hh against the dense one, SciPy and reservoirpy, and its memory; print the ratios.

python tests/benchmarks/sparse_walk.py
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from harness.machine import about
from harness.processes import OURS, Entrant, Process, answer
from harness.sparse_child import MAKERS, Sizes
from harness.table import digits, worded
from harness.timing import Quartiles, interleave, ratios

from rnn_backends import errors
from rnn_backends.cli.reports import columns

GENERIC = "NumPy walk"
LARGE = 20_000
"""The units of the cell whose memory is measured."""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--hidden-size", type=int, default=3000, metavar="N", help="units; default: 3000")
    add("--entries", type=int, default=10, metavar="K", help="entries of a row; default: 10")
    add("--seq-len", type=int, default=1000, metavar="T", help="steps; default: 1000")
    add("--batch", type=int, default=1, metavar="B", help="sequences; default: 1")
    add("--dtype", nargs="+", choices=("float32", "float64"), default=["float32", "float64"], dest="dtypes")
    add("--threads", type=int, default=1, metavar="N", help="threads of each contestant; default: 1")
    add("--large", type=int, default=LARGE, metavar="N", help=f"units for the memory; default: {LARGE}")
    add("--seconds", type=float, default=30.0, help="time after which no round of a dtype starts; default: 30")
    add("--rounds", type=int, default=15, help="the most rounds; default: 15")
    return parser


def entrants(threads: int) -> list[Entrant]:
    """Return the contestants, this library by its own choice and without a kernel."""
    found = [Entrant(maker, maker, threads) for maker in MAKERS]
    return [*found, Entrant(GENERIC, OURS, threads, {"RNN_CPU_KERNEL": "off"})]


def measured(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield by dtype the seconds of each contestant and round, its distance from the truth, and who is absent."""
    with ExitStack() as stack:
        processes = [stack.enter_context(Process(each, "harness.sparse_child")) for each in entrants(given.threads)]
        for dtype in given.dtypes:
            sizes = Sizes(
                hidden_size=given.hidden_size,
                entries=given.entries,
                seq_len=given.seq_len,
                batch=given.batch,
                dtype=dtype,
            )
            answers = {each.name: each.ask(asdict(sizes)) for each in processes}
            samples = {each.name: each.seconds for each in processes if "absent" not in answers[each.name]}
            taken = interleave(samples, seconds=given.seconds, rounds=given.rounds)
            yield {"sizes": sizes, "seconds": taken, "answers": answers}


def lines(given: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the tables."""
    machine = about()
    yield f"{machine['cpu']}, {machine['processors']} processors, load {machine['load']:.2f}, {machine['platform']}"
    for found in measured(given):
        sizes, seconds = found["sizes"], found["seconds"]
        yield ""
        yield f"T={sizes.seq_len} B={sizes.batch} N={sizes.hidden_size}, {sizes.entries} entries a row, {sizes.dtype}"
        of_ours = ratios(seconds, OURS)
        rows = [["", "ms", "its time / ours", "largest error"]]
        for name, reply in found["answers"].items():
            if name not in seconds:
                rows.append([name, "-", reply["absent"], "-"])
                continue
            ratio = worded(of_ours[name]) if name in of_ours else "1"
            ms = digits(Quartiles.of(seconds[name]).median * 1e3)
            rows.append([name, ms, ratio, f"{reply['distance']:.1e}"])
        yield from columns(rows)
    peak = answer("harness.sparse_child", f"peak({given.large}, {given.entries}, {given.seq_len})")
    yield ""
    yield (
        f"N={given.large}: the whole process takes {digits(peak['process'])} MiB, of which the weights as given are "
        f"{digits(peak['matrix'])} and the result {digits(peak['output'])}."
    )


def main(words: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 where something fails; argparse ends with 2 at wrong usage."""
    given = make_parser().parse_args(words)
    try:
        for line in lines(given):
            print(line, flush=True)
    except (errors.RNNBackendError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
