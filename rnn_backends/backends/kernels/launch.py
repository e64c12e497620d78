"""The recurrence of the cupy backend: kernels chosen by `plan`, compiled by CuPy, launched on the current stream.

Nothing here waits for the device or copies from it.
"""

import os
from functools import cache
from typing import Any

import cupy
import numpy as np

from rnn_backends.activations import Activation
from rnn_backends.arrays import Array, where_valid
from rnn_backends.backends.kernels.plan import REGIMES, TRUSTED, Device, Plan, Problem, make_plan
from rnn_backends.backends.kernels.sources import ELEMENTWISE, ENTRIES, body, source
from rnn_backends.errors import ArgumentError, DeviceMemoryError
from rnn_backends.forward import Cell
from rnn_backends.protocols import RecurrentCell
from rnn_backends.steps import poisoned, valid_steps

VARIABLE = "RNN_CUPY_KERNEL"

NULL = np.uint64(0)


def recurrence(
    cell: RecurrentCell, x: Array, h_0: Array, lengths: Array | None, reverse: bool
) -> tuple[Array, Array] | None:
    """Walk a `Cell` through time in a kernel of its own; see `rnn_backends.protocols.Recurrence`.

    Raises
    ------
    ArgumentError
        The environment variable RNN_CUPY_KERNEL names no kernel, or one that cannot take this problem.
    DeviceMemoryError
        The device has no room for the states.
    """
    regimes = chosen_regimes()
    if not regimes or type(cell) is not Cell or not is_covered(cell, x, h_0):
        return None
    seq_len, (batch, size) = len(x), h_0.shape
    with h_0.device:
        try:
            h_0 = h_0 if lengths is None else poisoned(h_0, lengths, seq_len)
            if 0 in {seq_len, batch}:
                return cupy.empty((seq_len, batch, size), h_0.dtype), h_0
            walk = Walk(cell, x, h_0, lengths, reverse)
            states = walk.run(walk.planned(regimes))
            if states is None:
                states = walk.run(walk.planned(tuple(set(regimes) - {"grid"})))
            return None if states is None else finished(states, lengths, reverse)
        except cupy.cuda.memory.OutOfMemoryError as error:
            numbers = seq_len * batch * size
            msg = (
                f"the device has no room for the states of {seq_len} steps of {batch} sequences with hidden_size "
                f"{size}, which are {numbers} numbers: {error} Run fewer sequences at once, or fewer steps, as "
                "RNN.stream does."
            )
            raise DeviceMemoryError(msg) from error


def finished(states: Array, lengths: Array | None, reverse: bool) -> tuple[Array, Array]:
    """Return the states, 0 beyond a length instead of held, and the last ones."""
    last = states[0 if reverse else -1]
    return states if lengths is None else where_valid(states, valid_steps(lengths, len(states))), last


def chosen_regimes() -> tuple[str, ...]:
    """Return the regimes that the environment variable leaves, none of which is used where it is "off"."""
    value = os.environ.get(VARIABLE)
    if not value:
        return TRUSTED
    choices = {"off": (), "any": REGIMES, **{regime: (regime,) for regime in REGIMES}}
    if value not in choices:
        msg = f"the environment variable {VARIABLE} must be one of {', '.join(choices)}; got {value!r}. Unset it."
        raise ArgumentError(msg)
    return choices[value]


def is_covered(cell: Cell, x: Array, h_0: Array) -> bool:
    """Tell whether there are kernels for a cell and its arguments."""
    if not isinstance(cell.activation, Activation) or cell.activation.name not in ELEMENTWISE:
        return False
    dtypes = (cell.weight_hh.dtype.name, h_0.dtype.name)
    return dtypes in {("float32", "float16"), ("float32", "float32"), ("float64", "float64")} and (
        x.ndim == 3 or x.dtype.name in {"int32", "int64"}
    )


@cache
def properties(index: int) -> Device:
    """Return what a plan needs to know of a device."""
    device = cupy.cuda.Device(index)
    of = device.attributes
    return Device(
        int(device.compute_capability),
        of["MultiProcessorCount"],
        of["MaxSharedMemoryPerBlockOptin"],
        of["MaxSharedMemoryPerMultiprocessor"],
        of["MaxThreadsPerMultiProcessor"],
        bool(of["CooperativeLaunch"]),
    )


@cache
def compiled(regime: str, macros: tuple[tuple[str, Any], ...], shared: int, device: int) -> Any:
    """Return a kernel for a class of shapes, ready to be launched on the current device, which is `device`."""
    options = ("-std=c++17", *(f"-D{name}={value}" for name, value in macros))
    code = source("device.cu") + body(regime)
    kernel = cupy.RawKernel(code, ENTRIES[regime], options, enable_cooperative_groups=regime == "grid")
    if shared > 48 * 1024:  # which every kernel may have
        kernel.max_dynamic_shared_size_bytes = shared
    return kernel


def fits(kernel: Any, plan: Plan) -> bool:
    """Tell whether all blocks of a plan are on the chip at once; CuPy would launch fewer, and they would wait."""
    resident = cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(kernel.kernel.ptr, plan.threads, plan.shared)
    return bool(plan.blocks <= resident * properties(cupy.cuda.Device().id).multiprocessors)


class Walk:
    """A cell and its arguments, laid out for the kernels."""

    def __init__(self, cell: Cell, x: Array, h_0: Array, lengths: Array | None, reverse: bool) -> None:
        self.cell, self.x, self.lengths, self.reverse = cell, x, lengths, reverse
        self.dtype, self.result_dtype = cell.weight_hh.dtype, h_0.dtype
        self.shape: tuple[int, int, int] = (len(x), *h_0.shape)
        self.takes_ids = x.ndim == 2
        self.h_0 = dense(h_0.astype(self.dtype, copy=False))

    def planned(self, regimes: tuple[str, ...]) -> Plan:
        """Return the plan for the current device."""
        seq_len, batch, size = self.shape
        problem = Problem(seq_len, batch, size, self.dtype.itemsize)
        plan = make_plan(problem, properties(cupy.cuda.Device().id), regimes)
        if plan is None:
            msg = (
                f"the kernel {os.environ[VARIABLE]!r}, which {VARIABLE} names, does not take hidden_size {size} with "
                f"{batch} sequences on this device. Unset the variable."
            )
            raise ArgumentError(msg)
        return plan

    def run(self, plan: Plan) -> Array | None:
        """Return the states; None if the blocks of the plan, which are to be on the chip at once, do not fit."""
        kernel = compiled(plan.regime, self.macros(plan), plan.shared, cupy.cuda.Device().id)
        if plan.cooperative and not fits(kernel, plan):
            return None
        inputs = dense(self.cell.weight_ih.T) if self.takes_ids else self.projected()
        states = self.room(inputs, plan.cooperative)
        arguments = self.arguments(inputs, states)
        if plan.regime == "step":
            self.take_steps(kernel, plan, arguments, states)
        else:
            extra = (np.int32(plan.sequences_per_block),) if plan.cooperative else ()
            kernel((plan.blocks,), (plan.threads,), (*arguments, *extra), shared_mem=plan.shared)
        return states.astype(self.result_dtype, copy=False)

    def macros(self, plan: Plan) -> tuple[tuple[str, Any], ...]:
        """Return what the kernel is compiled with."""
        cell = self.cell
        return (
            *plan.macros,
            ("DOUBLE", int(self.dtype == np.float64)),
            ("HALF", int(self.result_dtype == np.float16)),
            ("TOKENS", int(self.takes_ids)),
            ("LONG_IDS", int(self.x.dtype == np.int64)),
            ("CLIP", int(cell.clip is not None)),
            ("LEAK", int(cell.leak is not None)),
            ("ACTIVATION", f"g1_{cell.activation.name}"),  # type: ignore[union-attr]  # not a user's callable
        )

    def projected(self) -> Array:
        """Return W_ax x<t>, by one product of two matrices, of which CuPy has a fast one."""
        x = self.x.astype(self.dtype, copy=False).reshape(-1, self.x.shape[-1])
        product = cupy.empty((len(x), self.shape[-1]), self.dtype)
        cupy.matmul(x, self.cell.weight_ih.T, out=product)
        return product.reshape(self.shape)

    def room(self, inputs: Array, is_shared: bool) -> Array:
        """Return where the states will be: UNSET of grid.cu where blocks share it, else perhaps the inputs."""
        if is_shared:
            bits = cupy.empty(self.shape, "int64" if self.dtype == np.float64 else "int32")
            bits.fill(-1)
            return bits.view(self.dtype)
        return cupy.empty(self.shape, self.dtype) if self.takes_ids else inputs

    def arguments(self, inputs: Array, states: Array) -> tuple[Any, ...]:
        """Return the arguments that all kernels have, PARAMETERS of equation.cu."""
        cell, activation = self.cell, self.cell.activation
        numbers = (activation.alpha, activation.beta, cell.clip, cell.leak)  # type: ignore[union-attr]
        return (
            inputs,
            dense(self.x) if self.takes_ids else NULL,
            np.int32(cell.input_size),
            dense(cell.weight_hh),
            NULL if cell.bias is None else dense(cell.bias),
            self.h_0,
            NULL if self.lengths is None else dense(self.lengths.astype(np.int32, copy=False)),
            states,
            *(np.int32(number) for number in (*self.shape, self.reverse)),
            *(self.dtype.type(0.0 if number is None else number) for number in numbers),
        )

    def take_steps(self, kernel: Any, plan: Plan, arguments: tuple[Any, ...], states: Array) -> None:
        """Walk with a product and a launch at each step."""
        h, weight, product = self.h_0, self.cell.weight_hh.T, cupy.empty_like(self.h_0)
        for step in range(len(states)):
            cupy.matmul(h, weight, out=product)
            kernel((plan.blocks,), (plan.threads,), (*arguments, product, np.int32(step)))
            h = states[len(states) - 1 - step if self.reverse else step]


def dense(array: Array) -> Array:
    """Return an array as the kernels index it, a copy only where it has strides or begins within a number."""
    array = cupy.ascontiguousarray(array)
    return array if array.data.ptr % array.itemsize == 0 else array.copy()
