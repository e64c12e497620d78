"""Measure single shapes on a GPU against torch (cuDNN), other kernels and limits, and print the ratios.

python tests/benchmarks/shape.py --shape 512 32 128 256 --against torch block   # steps, sequences, features, states
python tests/benchmarks/shape.py --backend torch:cuda --dtype float32 float16
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from harness.competitors import BY_DEFAULT_ON_GPU, ON_GPU
from harness.gpu_cells import Task, cells
from harness.machine import about, processors
from harness.problem import GRID, STEP_GRID, Problem
from harness.table import lines
from harness.timing import ratios

from rnn_backends import errors
from rnn_backends.formats.files import replaced

TOKEN_GRID = ((1000, 1, 128, 100), (1000, 1, 8000, 100))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--shape", nargs=4, type=int, action="append", dest="shapes", metavar=("T", "B", "I", "H"), help="steps, "
        "sequences, features and states; again for more; default: a grid of shapes")  # fmt: skip
    add("--dtype", nargs="+", choices=("float32", "float64", "float16", "bfloat16"), default=["float32"],
        dest="dtypes", help="default: float32")  # fmt: skip
    add("--backend", metavar="NAME[:DEVICE]", action="append", dest="backends", help="backend to measure, again for "
        "more; default: cupy")  # fmt: skip
    add("--against", nargs="+", choices=tuple(ON_GPU), default=list(BY_DEFAULT_ON_GPU), help="competitors; default: "
        "torch (cuDNN, without TF32), off (the equation as written) and the limits, product and copy")  # fmt: skip
    add("--threads", nargs="+", type=int, default=[1], metavar="N", help="threads of each contestant; default: 1")
    add("--tokens", action="store_true", help="token ids as input, I being the size of the vocabulary")
    add("--bidirectional", action="store_true", help="cells of both directions")
    add("--ragged", action="store_true", help="sequences of different lengths")
    add("--step", action="store_true", help="sequences in calls of one step")
    add("--leak", type=float, metavar="LEAK", help="leaky cells")
    add("--seconds", type=float, default=6.0, help="time after which no round of a shape starts; default: 6")
    add("--rounds", type=int, default=25, help="the most rounds; default: 25")
    add("--json", metavar="FILE", type=Path, help="also write all that was measured to a file, after each problem")
    return parser


def problem_of(given: argparse.Namespace) -> str | None:
    """Return why options do not go together, None where they do."""
    if given.step and (given.bidirectional or given.ragged):
        return "--step runs one step after another, of all sequences; leave out --bidirectional and --ragged"
    if any(size < 1 for shape in given.shapes or () for size in shape):
        return "--shape must be of positive integers T B I H"
    if given.ragged and any(shape[1] == 1 for shape in given.shapes or ()):
        return "--ragged is for batches of several sequences; give --shape a B of 2 or more"
    if given.leak is not None and not 0 < given.leak <= 1:
        return f"--leak must be in 0 < leak <= 1; got {given.leak}"
    if not given.seconds > 0 or given.rounds < 1:
        return "--seconds and --rounds must be positive"
    allowed = processors()
    if any(not 1 <= count <= allowed for count in given.threads):
        return f"--threads must be from 1 to {allowed}, the processors that this process may use"
    return None


def problems(given: argparse.Namespace) -> list[Problem]:
    """Return the problems, by dtype and shape."""
    grid = STEP_GRID if given.step else TOKEN_GRID if given.tokens else GRID
    options = {name: getattr(given, name) for name in ("tokens", "bidirectional", "ragged", "step", "leak")}
    return [
        Problem(seq_len=seq_len, batch=batch, input_size=input_size, hidden_size=hidden_size, dtype=dtype, **options)
        for dtype in given.dtypes
        for seq_len, batch, input_size, hidden_size in given.shapes or grid
        if batch > 1 or not given.ragged
    ]


def task(given: argparse.Namespace, threads: int) -> Task:
    """Return the task for a number of threads."""
    return Task(
        problems=problems(given),
        backends=given.backends or ["cupy"],
        against=list(dict.fromkeys(given.against)),
        threads=threads,
        seconds=given.seconds,
        rounds=given.rounds,
    )


def run(given: argparse.Namespace) -> Iterator[str]:
    """Measure, write the file and yield the lines of the table."""
    counts = dict.fromkeys(given.threads)
    found = chain.from_iterable(cells(task(given, threads), note) for threads in counts)
    yield from lines(list(chain.from_iterable(found if given.json is None else kept(given.json, found))))


def kept(path: Path, found: Iterator[list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the cells of each problem, all of them so far being in a file; that is tried before anything is measured."""
    held: dict[str, Any] = {**about(), "cells": []}
    more: list[dict[str, Any]] | None = None
    while more != []:
        with replaced(path) as file:
            more = next(found, [])
            held["cells"] += [{**cell, "ratios": ratios_of(cell)} for cell in more]
            file.write(json.dumps(held, indent=1).encode())
        yield more


def note(text: str) -> None:
    """Write a remark."""
    sys.stderr.write(f"rnn-backends: {text}\n")
    sys.stderr.flush()


def ratios_of(cell: dict[str, Any]) -> dict[str, Any]:
    """Return the quartiles of the ratios by backend and competitor."""
    return {
        backend: {name: found._asdict() for name, found in ratios(cell["seconds"], backend).items()}
        for backend in cell["ours"]
        if backend in cell["seconds"]
    }


def main(words: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 where something fails; argparse ends with 2 at wrong usage."""
    parser = make_parser()
    given = parser.parse_args(words)
    if problem := problem_of(given):
        parser.error(problem)
    try:
        for line in run(given):
            print(line)
    except (errors.RNNBackendError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
