"""The GPU kernels as NVIDIA's compiler makes them: an interpreter of PTX, in place of `shim.run`.

It runs the PTX of a kernel, device.cu included, all threads of all blocks, and raises `PtxError` where a kernel

* loads or stores outside of every array, or at an address that its size does not divide, or stores where it may not;
* has two threads access one place, one of them to store, and no barrier in between (relaxed accesses of global memory
  may meet each other, and nothing else);
* waits for what does not come: a barrier that some thread of the block does not reach, or reaches at another place, or
  a shuffle that some lane does not reach.

Threads that are at one instruction execute it at once, in NumPy; those that are behind come first, but for some that a
seed draws.  Of a race the order does not matter: it is seen by who accessed what since the last barrier.

What it does not show: machine code, which ptxas makes of PTX; memory that is weaker than this one, where all threads see
a store at once (see `shim.py`); how `ex2.approx` and `rcp.approx` round, which are exact here; and time.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import nvrtc
import shim

from ptx import memory
from ptx.machine import Machine
from ptx.memory import PtxError
from ptx.numbers import UnknownInstructionError
from ptx.program import Program
from rnn_backends.backends.cuda_kernels.sources import defines, source

__all__ = ["PtxError", "UnknownInstructionError", "run", "start"]

ARCHITECTURE = "-arch=compute_90"

program = cache(Program)


def run(
    body: str,
    name: str,
    macros: Mapping[str, Any],
    launch: tuple[int, int, int],
    arguments: Sequence[Any],
    seed: int = 0,
) -> None:
    """Run a kernel as `shim.run` does, or raise `PtxError`."""
    try:
        start(text_of(body, tuple(sorted({"WAITS": shim.WAITS, **macros}.items()))), launch, arguments, seed)
    except PtxError as error:
        error.add_note(f"{name} with {dict(macros)} and seed {seed}")
        raise


@cache
def text_of(body: str, macros: tuple[tuple[str, Any], ...]) -> str:
    """Return the PTX of a kernel."""
    return nvrtc.ptx(defines(macros) + source("device.cu") + body, (*nvrtc.FLAGS, ARCHITECTURE))


def start(text: str, launch: tuple[int, int, int], arguments: Sequence[Any], seed: int = 0) -> None:
    """Run PTX, launched with so many blocks, threads and bytes of shared memory, to its end."""
    values = [shim.as_argument(argument).tobytes() for argument in arguments]
    Machine(program(text), launch, values, memory.of_arrays(arrays_of(arguments)), seed).run()


def arrays_of(arguments: Sequence[Any]) -> Iterator[tuple[Any, bool]]:
    """Yield the arrays that arguments lead to, and whether a kernel may write them."""
    for argument in arguments:
        if isinstance(argument, shim.Struct):
            yield from ((array, name in argument.written) for name, array in argument.arrays.items())
            yield from ((array, False) for array in argument.weights)
        elif isinstance(argument, np.ndarray):
            yield argument, True
