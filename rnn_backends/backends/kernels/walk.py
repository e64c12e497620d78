"""`Walk`: the cells of a layer, laid out as the kernels want them, and what is launched for a call.

All that does not change from call to call is prepared once: a call of a few steps takes no longer on the device than
this does on the host.
"""

from collections.abc import Sequence
from functools import cache
from struct import Struct
from typing import Any, NamedTuple

import cupy
import numpy as np

from rnn_backends.arrays import HALF, Array, dtype_name
from rnn_backends.backends.kernels.device import compiled, fits, properties
from rnn_backends.backends.kernels.plan import Plan, make_plan
from rnn_backends.backends.kernels.tile import Problem
from rnn_backends.errors import ArgumentError
from rnn_backends.forward import Cell

POINTERS = ("inputs", "features", "ids", "h_0", "lengths", "states", "last")
ADDRESSES = Struct(f"{len(POINTERS)}Q")
CELL = np.dtype([(name, "u8") for name in ("weight_ih", "weight_hh", "bias")])
SIZES = ("seq_len", "batch", "size", "input_size", "pitch", "reverse", "begin", "end", "blocks", "sequences")
NUMBERS = ("alpha", "beta", "clip", "leak")

UNSET = {2: "int16", 4: "int32", 8: "int64"}
"""The integers, by their bytes, of which -1 is UNSET of grid.cu."""

MOST_LAUNCHES = 1000
"""That are kept for a walk, one for each shape of the input."""


@cache
def layout(real: str) -> np.dtype[Any]:
    """Return the struct Walk of equation.cu."""
    pointers, sizes = ((name, "u8") for name in POINTERS), ((name, "i4") for name in SIZES)
    return np.dtype([*pointers, ("cells", CELL, 2), *sizes, *((name, real) for name in NUMBERS)], align=True)


class Launch(NamedTuple):
    """A kernel for inputs of one shape, and the struct that it is given, but for the arrays of a call."""

    plan: Plan
    kernel: Any
    argument: bytes


class Walk:
    """One cell, or two that differ in nothing but weights, of which the second begins at the last step.

    Parameters
    ----------
    cells : sequence of Cell
        Their arrays must stay as they are.
    x, h_0 : array
        Such as calls will have; their dtypes matter, and whether x is of token ids.
    reverse : bool
        Whether the first cell, too, begins at the last step.
    """

    def __init__(self, cells: Sequence[Cell], x: Array, h_0: Array, reverse: bool) -> None:
        self.takes_ids, self.reverse = x.ndim == 2, reverse
        self.size, self.input_size, self.directions = cells[0].hidden_size, cells[0].input_size, len(cells)
        self.dtype, self.state_dtype = cells[0].weight_hh.dtype, h_0.dtype
        self.weights = [(dense(cell.weight_ih), dense(cell.weight_hh)) for cell in cells]
        self.biases = [None if cell.bias is None else dense(cell.bias) for cell in cells]
        parts = [cell.weight_ih.T for cell in cells]
        self.weight_ih = parts[0] if len(parts) == 1 else cupy.concatenate(parts, axis=1)
        if self.takes_ids:
            self.weight_ih = dense(self.weight_ih)
        self.macros, self.struct = macros(cells[0], x, h_0), layout(self.dtype.name)
        activation = cells[0].activation
        self.numbers = (activation.alpha, activation.beta, cells[0].clip, cells[0].leak)  # type: ignore[union-attr]
        self.launches: dict[tuple[Any, ...], Launch] = {}

    def __call__(
        self, x: Array, h_0: Sequence[Array], lengths: Array | None, regimes: tuple[str, ...]
    ) -> tuple[Array, Array]:
        """Return output and last states by the kernel that is estimated to be the fastest of some regimes."""
        key = (*x.shape[:2], regimes)
        if key not in self.launches:
            if len(self.launches) >= MOST_LAUNCHES:
                self.launches.clear()
            self.launches[key] = self.found(*key)
        return self.run(self.launches[key], x, h_0, lengths)

    def found(self, seq_len: int, batch: int, regimes: tuple[str, ...]) -> Launch:
        """Return the launch for inputs of a shape, of a kernel all of whose blocks fit on the device if they must."""
        inputs = 0 if self.takes_ids else self.input_size
        problem = Problem(seq_len, batch, inputs, self.size, self.dtype.itemsize, self.directions)
        for some in (regimes, tuple(regime for regime in regimes if regime != "grid")):
            plan = make_plan(problem, properties(cupy.cuda.Device().id), some)
            if plan is not None:
                launch = self.launch(plan, seq_len, batch)
                if not plan.cooperative or fits(launch.kernel, plan):
                    return launch
        msg = (
            f"the kernel {regimes[0]!r}, which RNN_CUPY_KERNEL names, does not take hidden_size {self.size} with "
            f"{batch} sequences on this device. Unset the variable."
        )
        raise ArgumentError(msg)

    def launch(self, plan: Plan, seq_len: int, batch: int) -> Launch:
        """Return the launch by a plan."""
        pointers = [weight_hh.data.ptr for _, weight_hh in self.weights]
        is_whole = all((pointer | self.size * self.dtype.itemsize) % 16 == 0 for pointer in pointers)
        whole = ("WHOLE", int(is_whole and not plan["FUSED"]))
        kernel = compiled(plan.regime, (*plan.macros, *self.macros, whole), plan.shared, cupy.cuda.Device().id)
        argument = np.zeros((), self.struct)
        pitch, blocks = self.directions * self.size, plan.blocks // self.directions
        sizes = (seq_len, batch, self.size, self.input_size, pitch, self.reverse, 0, seq_len, blocks, plan.sequences)
        numbers = (0.0 if number is None else number for number in self.numbers)
        for name, number in (*zip(SIZES, sizes, strict=True), *zip(NUMBERS, numbers, strict=True)):
            argument[name] = number
        for k, ((weight_ih, weight_hh), bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            argument["cells"][k] = (weight_ih.data.ptr, weight_hh.data.ptr, 0 if bias is None else bias.data.ptr)
        return Launch(plan, kernel, argument.tobytes())

    def run(self, launch: Launch, x: Array, h_0: Sequence[Array], lengths: Array | None) -> tuple[Array, Array]:
        """Return the states (seq_len, batch, directions * size) and the last ones (directions, batch, size)."""
        plan, kernel, memory = launch.plan, launch.kernel, bytearray(launch.argument)
        h = dense(h_0[0])[None] if len(h_0) == 1 else cupy.stack(list(h_0))
        arrays = self.inputs(plan, x)  # which the struct does not keep alive; they live until all is launched
        arrays["h_0"], arrays["last"] = h, cupy.empty_like(h) if lengths is None else h.copy()
        arrays["states"] = self.room(plan, x, arrays.get("inputs"))
        if lengths is not None:
            arrays["lengths"] = dense(lengths.astype(np.int32, copy=False))
        ADDRESSES.pack_into(memory, 0, *(arrays[name].data.ptr if name in arrays else 0 for name in POINTERS))
        argument: Any = np.ndarray((), self.struct, memory)
        grid, block = (plan.blocks,), (plan.threads,)
        if plan.regime == "step":
            self.take_steps(kernel, grid, block, argument, h)
        else:
            steps = len(x) if plan.regime == "sweep" else 1
            for begin in range(steps):
                if plan.regime == "sweep":
                    argument["begin"], argument["end"] = begin, begin + 1
                kernel(grid, block, (argument,), shared_mem=plan.shared)
        return arrays["states"], arrays["last"]

    def take_steps(self, kernel: Any, grid: tuple[int], block: tuple[int], argument: Any, h_0: Array) -> None:
        """Walk with a product for each direction and a launch at each step."""
        h = h_0.astype(self.dtype)
        product = cupy.empty_like(h)
        for step in range(int(argument["seq_len"])):
            for k, (_, weight_hh) in enumerate(self.weights):
                cupy.matmul(h[k], weight_hh.T, out=product[k])
            argument["begin"] = step
            kernel(grid, block, (argument, product, h))

    def inputs(self, plan: Plan, x: Array) -> dict[str, Array]:
        """Return what the kernel reads of x<t>: ids and W_ax^T, features, or the product W_ax x<t>."""
        if self.takes_ids:
            return {"ids": dense(x), "inputs": self.weight_ih}
        if plan["FUSED"]:
            return {"features": dense(x)}
        rows = x.astype(self.dtype, copy=False).reshape(-1, self.input_size)
        product = cupy.empty((len(rows), self.directions * self.size), self.dtype)
        return {"inputs": cupy.matmul(rows, self.weight_ih, out=product)}  # of two matrices, which CuPy is fast at

    def room(self, plan: Plan, x: Array, inputs: Array | None) -> Array:
        """Return where the states will be: UNSET of grid.cu where blocks wait for them, else perhaps the inputs."""
        shape, dtype = (*x.shape[:2], self.directions * self.size), self.state_dtype
        if plan.cooperative:
            bits = cupy.empty(shape, UNSET[dtype.itemsize])
            bits.fill(-1)
            return bits.view(dtype)
        if inputs is None or self.takes_ids or inputs.dtype != dtype:
            return cupy.empty(shape, dtype)
        return inputs.reshape(shape)


def macros(cell: Cell, x: Array, h_0: Array) -> tuple[tuple[str, Any], ...]:
    """Return what kernels for a cell are compiled with, beside what its plan tells."""
    state = dtype_name(h_0)
    return (
        ("DOUBLE", int(state == "float64")),
        *((name.upper(), int(state == name)) for name in HALF),
        ("TOKENS", int(x.ndim == 2)),
        ("LONG_IDS", int(x.dtype == np.int64)),
        ("CLIP", int(cell.clip is not None)),
        ("LEAK", int(cell.leak is not None)),
        ("ACTIVATION", f"g1_{cell.activation.name}"),  # type: ignore[union-attr]  # not a user's callable
    )


def dense(array: Array) -> Array:
    """Return an array as the kernels index it, a copy only where it has strides or begins within a number."""
    array = cupy.ascontiguousarray(array)
    return array if array.data.ptr % array.itemsize == 0 else array.copy()
