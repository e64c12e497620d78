"""`Walk`: the cells of a layer and their arguments, laid out as the kernels want them, and launched."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import cupy
import numpy as np

from rnn_backends.arrays import HALF, Array, dtype_name
from rnn_backends.backends.kernels.plan import Plan
from rnn_backends.backends.kernels.sources import ENTRIES, body, source
from rnn_backends.backends.kernels.tile import Device, Problem
from rnn_backends.forward import Cell

POINTERS = ("inputs", "features", "ids", "h_0", "lengths", "states", "last")
CELL = np.dtype([(name, "u8") for name in ("weight_ih", "weight_hh", "bias")])
SIZES = ("seq_len", "batch", "size", "input_size", "pitch", "reverse", "begin", "end", "blocks", "sequences")
NUMBERS = ("alpha", "beta", "clip", "leak")

UNSET = {2: "int16", 4: "int32", 8: "int64"}
"""The integers, by their bytes, of which -1 is UNSET of grid.cu."""


@cache
def layout(real: str) -> np.dtype[Any]:
    """Return the struct Walk of equation.cu."""
    pointers, sizes = ((name, "u8") for name in POINTERS), ((name, "i4") for name in SIZES)
    return np.dtype([*pointers, ("cells", CELL, 2), *sizes, *((name, real) for name in NUMBERS)], align=True)


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
    """A walk of one cell, or of two that differ in nothing but weights, the second from the last step to the first.

    Parameters
    ----------
    cells : sequence of Cell
    x, lengths : array
        As `rnn_backends.protocols.Recurrence` has them.
    h_0 : sequence of arrays, each of shape (batch, hidden_size)
    reverse : bool
        Whether the first cell, too, begins at the last step.
    """

    def __init__(
        self, cells: Sequence[Cell], x: Array, h_0: Sequence[Array], lengths: Array | None, reverse: bool
    ) -> None:
        self.cells, self.x, self.reverse = cells, x, reverse
        self.takes_ids = x.ndim == 2
        self.dtype = cells[0].weight_hh.dtype
        self.h_0 = dense(h_0[0])[None] if len(cells) == 1 else cupy.stack(list(h_0))
        self.lengths = None if lengths is None else dense(lengths.astype(np.int32, copy=False))
        self.weights_hh = [dense(cell.weight_hh) for cell in cells]

    @property
    def problem(self) -> Problem:
        """What a plan depends on."""
        directions, batch, size = self.h_0.shape
        inputs = 0 if self.takes_ids else self.cells[0].input_size
        return Problem(len(self.x), batch, inputs, size, self.dtype.itemsize, directions)

    def run(self, plan: Plan) -> tuple[Array, list[Array]] | None:
        """Return output and last states; None if the blocks of the plan must be on the chip at once and do not fit."""
        kernel = compiled(plan.regime, self.macros(plan), plan.shared, cupy.cuda.Device().id)
        if plan.cooperative and not fits(kernel, plan):
            return None
        last = None if self.lengths is None else self.h_0.copy()
        arrays = {**self.inputs(plan), "h_0": self.h_0, "lengths": self.lengths, "last": last}
        arrays["states"] = states = self.room(plan, arrays.get("inputs"))
        weights = [self.weights(k, plan) for k in range(len(self.cells))]
        argument = self.argument(plan, arrays, weights)  # which keeps no array alive; this frame does
        if plan.regime == "step":
            self.take_steps(kernel, plan, argument)
        else:
            for begin in range(len(states) if plan.regime == "sweep" else 1):
                if plan.regime == "sweep":
                    argument["begin"], argument["end"] = begin, begin + 1
                kernel((plan.blocks,), (plan.threads,), (argument,), shared_mem=plan.shared)
        return states, self.last_states(states, last)

    def take_steps(self, kernel: Any, plan: Plan, argument: Any) -> None:
        """Walk with a product for each direction and a launch at each step."""
        h = self.h_0.astype(self.dtype)
        product = cupy.empty_like(h)
        for step in range(len(self.x)):
            for k, weight in enumerate(self.weights_hh):
                cupy.matmul(h[k], weight.T, out=product[k])
            argument["begin"] = step
            kernel((plan.blocks,), (plan.threads,), (argument, product, h))

    def macros(self, plan: Plan) -> tuple[tuple[str, Any], ...]:
        """Return what the kernel is compiled with."""
        cell, half = self.cells[0], dtype_name(self.h_0)
        vector = 16 // self.dtype.itemsize
        begins = all(weight.data.ptr % 16 == 0 for weight in self.weights_hh) and cell.hidden_size % vector == 0
        return (
            *plan.macros,
            ("DOUBLE", int(self.dtype == np.float64)),
            *((name.upper(), int(half == name)) for name in HALF),
            ("TOKENS", int(self.takes_ids)),
            ("LONG_IDS", int(self.x.dtype == np.int64)),
            ("WHOLE", int(begins and not plan["FUSED"])),
            ("CLIP", int(cell.clip is not None)),
            ("LEAK", int(cell.leak is not None)),
            ("ACTIVATION", f"g1_{cell.activation.name}"),  # type: ignore[union-attr]  # not a user's callable
        )

    def inputs(self, plan: Plan) -> dict[str, Array]:
        """Return what the kernel reads of x<t>: ids and W_ax^T, features, or the product W_ax x<t>."""
        parts = [cell.weight_ih for cell in self.cells]
        if plan["FUSED"]:
            return {"features": dense(self.x)}
        if self.takes_ids:
            table = parts[0].T if len(parts) == 1 else cupy.concatenate([part.T for part in parts], axis=1)
            return {"ids": dense(self.x), "inputs": dense(table)}
        # One product of two matrices, of which CuPy has a fast one.
        weight = parts[0] if len(parts) == 1 else cupy.concatenate(parts)
        rows = self.x.astype(self.dtype, copy=False).reshape(-1, self.x.shape[-1])
        product = cupy.empty((len(rows), len(weight)), self.dtype)
        cupy.matmul(rows, weight.T, out=product)
        return {"inputs": product}

    def room(self, plan: Plan, inputs: Array | None) -> Array:
        """Return where the states will be: UNSET of grid.cu where blocks wait for them, else perhaps the inputs."""
        directions, batch, size = self.h_0.shape
        shape, dtype = (len(self.x), batch, directions * size), self.h_0.dtype
        if plan.cooperative:
            bits = cupy.empty(shape, UNSET[dtype.itemsize])
            bits.fill(-1)
            return bits.view(dtype)
        if inputs is None or self.takes_ids or inputs.dtype != dtype:
            return cupy.empty(shape, dtype)
        return inputs.reshape(shape)

    def weights(self, k: int, plan: Plan) -> tuple[Array | None, Array, Array | None]:
        """Return the arrays of a CELL."""
        cell = self.cells[k]
        weight_ih = dense(cell.weight_ih) if plan["FUSED"] else None
        return weight_ih, self.weights_hh[k], None if cell.bias is None else dense(cell.bias)

    def argument(self, plan: Plan, arrays: dict[str, Array], weights: Any) -> Any:
        """Return the struct that all kernels are given."""
        cell, activation, (directions, batch, size) = self.cells[0], self.cells[0].activation, self.h_0.shape
        seq_len = len(self.x)
        sizes = (seq_len, batch, size, cell.input_size, directions * size, self.reverse, 0, seq_len)
        numbers = (activation.alpha, activation.beta, cell.clip, cell.leak)  # type: ignore[union-attr]
        argument = np.zeros((), layout(self.dtype.name))
        for name, array in arrays.items():
            argument[name] = address(array)
        for k, parts in enumerate(weights):
            argument["cells"][k] = tuple(address(part) for part in parts)
        for name, size_ in zip(SIZES, (*sizes, plan.blocks // directions, plan.sequences), strict=True):
            argument[name] = size_
        for name, number in zip(NUMBERS, numbers, strict=True):
            argument[name] = 0.0 if number is None else number
        return argument

    def last_states(self, states: Array, last: Array | None) -> list[Array]:
        """Return the last state of each direction, which is where it ends if all sequences are of the same length."""
        size = self.h_0.shape[-1]
        if last is not None:
            return [last[k] for k in range(len(self.cells))]
        return [states[0 if self.reverse or k else -1, :, k * size : (k + 1) * size] for k in range(len(self.cells))]


def address(array: Array | None) -> int:
    """Return where an array begins."""
    return 0 if array is None else int(array.data.ptr)


def dense(array: Array) -> Array:
    """Return an array as the kernels index it, a copy only where it has strides or begins within a number."""
    array = cupy.ascontiguousarray(array)
    return array if array.data.ptr % array.itemsize == 0 else array.copy()
