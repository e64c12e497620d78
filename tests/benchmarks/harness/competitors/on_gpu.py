"""The competitors of a backend on the same GPU: torch, other kernels of this library, and the limits.

flashrnn see flashrnn.py
off      the equation as written, in CuPy's operations
block... this library's kernel of that name, by the environment variable RNN_CUPY_KERNEL
product  the limit of the arithmetic: see product.py, by CuPy
copy     the limit of the memory: a copy that reads and writes as many bytes as there are in input, weights and output
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import cupy
import numpy as np

from harness.contestant import AbsentError, Contestant, ours_on_gpu
from harness.gpu import Gpu
from harness.problem import Drawn
from rnn_backends.backends.cuda_kernels.choices import VARIABLE
from rnn_backends.backends.selection import get_backend
from rnn_backends.errors import ArgumentError, DTypeError


def make(name: str, drawn: Drawn, gpu: Gpu) -> Contestant:
    """Return a contestant."""
    if name in {"torch", "torch-tf32"}:
        from harness.competitors import torch

        return torch.make_on_gpu(drawn, gpu, allow_tf32=name == "torch-tf32")
    if name == "flashrnn":
        from harness.competitors import flashrnn

        return flashrnn.make(drawn, gpu)
    limits: dict[str, Callable[[Drawn], Callable[[Any], None]]] = {"product": _product, "copy": _copy}
    if name in limits:
        if drawn.problem.ragged:
            msg = "how much of a ragged batch is to be computed is left open"
            raise AbsentError(msg)
        try:
            with gpu.device:
                return Contestant(name, limits[name](drawn), output=None)
        except DTypeError as error:
            raise AbsentError(str(error)) from error
    return _ours_by(name, drawn, gpu)


def _ours_by(kernel: str, drawn: Drawn, gpu: Gpu) -> Contestant:
    """Return this library by one of its kernels, or by none, if that runs the problem."""

    def made() -> Contestant:
        return replace(ours_on_gpu(f"cupy:{gpu.index}", drawn), name=kernel, context=partial(_variable, kernel))

    try:
        trial = made()  # a stream is further on after it
        with trial.context():
            trial.call(trial.place(drawn.inputs[0]))
    except (ArgumentError, DTypeError) as error:  # a kernel that does not take the shape, or a backend the dtype
        raise AbsentError(str(error)) from error
    return made()


@contextmanager
def _variable(value: str) -> Iterator[None]:
    """Set the environment variable that chooses the kernel."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def _product(drawn: Drawn) -> Callable[[Any], None]:
    problem, dtype = drawn.problem, get_backend("cupy").dtype(drawn.problem.dtype)
    rows = problem.batch if problem.step else problem.seq_len * problem.batch
    inner = problem.hidden_size + (0 if problem.tokens else problem.input_size)
    numbers = np.random.default_rng(0).normal(size=4099).astype(dtype)  # of zeros a product is faster
    left, right = (cupy.asarray(np.resize(numbers, size)) for size in ((rows, inner), (inner, problem.hidden_size)))
    result = cupy.empty((rows, problem.hidden_size), dtype)

    def call(_: Any) -> None:
        for _cell in drawn.cells:
            cupy.matmul(left, right, out=result)

    return call


def _copy(drawn: Drawn) -> Callable[[Any], None]:
    source = cupy.zeros(_bytes_moved(drawn) // 2, "uint8")
    target = cupy.empty_like(source)
    return lambda _: cupy.copyto(target, source)


def _bytes_moved(drawn: Drawn) -> int:
    """Return how many bytes of input, weights and output there are; a token id brings a row of W_ih^T along."""
    problem, itemsize = drawn.problem, int(get_backend("cupy").dtype(drawn.problem.dtype).itemsize)
    steps = problem.batch * (1 if problem.step else problem.seq_len)
    outputs = steps * len(drawn.cells) * problem.hidden_size * itemsize
    inputs = steps * 4 + outputs if problem.tokens else steps * problem.input_size * itemsize
    weights = sum(
        w_hh.nbytes + bias.nbytes + (0 if problem.tokens else w_ih.nbytes) for w_ih, w_hh, bias in drawn.weights()
    )
    return inputs + weights + outputs
