"""`Walk`: the cells of a layer, laid out for the kernels, and the launches of a call.

All that depends on no number is prepared once: the host takes as long for it as the device for a call of a few steps.
"""

from collections.abc import Callable, Sequence
from ctypes import addressof, c_char
from itertools import chain
from typing import Any, NamedTuple

import cupy
import numpy as np

from rnn_backends.backends.cuda_kernels.argument import (
    ADDRESSES,
    CELL,
    NUMBERS,
    POINTERS,
    SIZES,
    STEPS,
    address,
    dense,
    layout,
)
from rnn_backends.backends.cuda_kernels.device import compiled, fits, properties
from rnn_backends.backends.cuda_kernels.gemm import Gemm
from rnn_backends.backends.cuda_kernels.plan import Plan, make_plan
from rnn_backends.backends.cuda_kernels.tile import Problem
from rnn_backends.core.arrays import HALF, Array, dtype_name
from rnn_backends.core.cell import Cell
from rnn_backends.errors import ArgumentError

VARIABLE = "RNN_CUPY_KERNEL"

UNSET = {2: "int16", 4: "int32", 8: "int64"}
"""The integers, by their bytes, of which -1 is UNSET of words.cu."""

VECTOR_BYTES = 16
"""Of what a kernel loads at once of initial states, which begin at a multiple of it therefore."""

MOST_SHAPES = 1000
"""The shapes for which a walk keeps its choice."""


class Choice(NamedTuple):
    """The kernel for inputs of one shape, on the current device, and its argument, but for addresses."""

    plan: Plan
    function: Any
    argument: bytes


class Walk:
    """One cell, or two that differ in nothing but weights, of which the second begins at the last step.

    Parameters
    ----------
    cells : sequence of Cell
    x, h_0 : array
        Such as calls will have; their dtypes matter, and whether x is of token ids.
    reverse : bool
        Whether the first cell, too, begins at the last step.
    """

    def __init__(self, cells: Sequence[Cell], x: Array, h_0: Array, reverse: bool) -> None:
        self.takes_ids, self.reverse = x.ndim == 2, reverse
        self.size, self.input_size, self.directions = cells[0].hidden_size, cells[0].input_size, len(cells)
        self.dtype, self.state_dtype = cells[0].weight_hh.dtype, h_0.dtype
        self.macros, self.struct = macros(cells[0], x, h_0), layout(self.dtype.name)
        activation = cells[0].activation
        self.numbers = (activation.alpha, activation.beta, cells[0].clip, cells[0].leak)  # type: ignore[union-attr]
        given = [(cell.weight_ih, cell.weight_hh, cell.bias) for cell in cells]
        self.weights: list[tuple[Any, ...]] = [
            tuple(None if array is None else dense(array) for array in arrays) for arrays in given
        ]
        self.addresses = [tuple(map(address, arrays)) for arrays in self.weights]
        self.is_lasting = self.addresses == [tuple(map(address, arrays)) for arrays in given]
        self.gemm = Gemm(self.dtype)
        self.choices: dict[tuple[Any, ...], Choice] = {}

    def __call__(
        self,
        x: Array,
        h_0: Sequence[Array],
        lengths: Array | None,
        regimes: tuple[str, ...],
        may_use: Callable[[str, Any], bool],
    ) -> tuple[Array, Array] | None:
        """Return output and last states by the fastest kernel, as estimated, of the regimes that may be used.

        None if there is none: `may_use` is asked with a regime and the dtype of the states.
        """
        is_long = lengths is not None and lengths.dtype != np.int32
        seq_len, batch = x.shape[:2]
        key = (seq_len, batch, regimes, is_long)
        choice = self.choices.get(key)
        if choice is None:
            choice = self.choose(*key, may_use)
            if choice is None:
                return None
            if len(self.choices) >= MOST_SHAPES:
                self.choices.clear()
            self.choices[key] = choice
        return self.run(choice, x, h_0, lengths)

    def choose(
        self, seq_len: int, batch: int, regimes: tuple[str, ...], is_long: bool, may_use: Callable[[str, Any], bool]
    ) -> Choice | None:
        """Return the fastest kernel for inputs of a shape, all of whose blocks fit on the device if they must.

        `is_long` means lengths of 64 bits.
        """
        inputs = 0 if self.takes_ids else self.input_size
        is_half = self.state_dtype.itemsize == 2
        problem = Problem(seq_len, batch, inputs, self.size, self.dtype.itemsize, self.directions, is_half)
        left = regimes
        while (plan := make_plan(problem, properties(cupy.cuda.Device().id), left)) is not None:
            if may_use(plan.regime, self.state_dtype):
                choice = self.prepare(plan, seq_len, batch, is_long)
                if not plan.cooperative or fits(choice.function, plan):
                    return choice
            left = tuple(regime for regime in left if regime != plan.regime)
        if len(regimes) > 1:
            return None
        msg = (
            f"the kernel {regimes[0]!r}, which {VARIABLE} names, does not take hidden_size {self.size} with {batch} "
            "sequences on this device. Unset the variable."
        )
        raise ArgumentError(msg)

    def prepare(self, plan: Plan, seq_len: int, batch: int, is_long: bool) -> Choice:
        """Return the kernel of a plan."""
        is_whole = all((weight_hh | self.size * self.dtype.itemsize) % 16 == 0 for _, weight_hh, _ in self.addresses)
        chunk = VECTOR_BYTES // self.dtype.itemsize  # the words of a state that a thread loads at once
        others = (
            ("WHOLE", int(is_whole and not plan["FUSED"])),
            ("LONG_LENGTHS", int(is_long)),
            ("CHUNK", 1 if self.size % chunk else chunk),
        )
        kernel = compiled(plan.regime, (*plan.macros, *self.macros, *others), plan.shared, cupy.cuda.Device().id)
        argument = np.zeros((), self.struct)
        pitch, blocks = self.directions * self.size, plan.blocks // self.directions
        sizes = (seq_len, batch, self.size, self.input_size, pitch, self.reverse, blocks, plan.sequences, 0, seq_len)
        numbers = (0.0 if number is None else number for number in self.numbers)
        for name, number in (*zip(SIZES, sizes, strict=True), *zip(NUMBERS, numbers, strict=True)):
            argument[name] = number
        return Choice(plan, kernel.kernel, argument.tobytes())

    def run(self, choice: Choice, x: Array, h_0: Sequence[Array], lengths: Array | None) -> tuple[Array, Array]:
        """Return the states (seq_len, batch, directions * size) and the last ones (directions, batch, size)."""
        plan, memory = choice.plan, bytearray(choice.argument)
        starts = [dense(h, VECTOR_BYTES) for h in h_0]
        arrays = self.inputs(plan, x)  # which no address keeps alive; this frame does
        arrays["states"] = self.room(plan, x, arrays.get("inputs"))
        arrays["last"] = cupy.empty((self.directions, x.shape[1], self.size), self.state_dtype)
        if lengths is not None:
            arrays["lengths"] = dense(lengths if lengths.dtype == np.int32 else lengths.astype(np.int64, copy=False))
        cells = [(*weights, address(start)) for weights, start in zip(self.addresses, starts, strict=True)]
        cells.append((0,) * len(CELL) * (2 - self.directions))
        ADDRESSES.pack_into(memory, 0, *(address(arrays.get(name)) for name in POINTERS), *chain(*cells))
        # An address, for of an array CuPy would have NumPy describe its memory at each launch.
        argument = cupy.cuda.function.CPointer(addressof(c_char.from_buffer(memory)))
        if plan.regime in {"sweep", "step"}:
            self.take_steps(choice, memory, argument, arrays, starts)
        else:
            is_cooperative = {"enable_cooperative_groups": plan.cooperative}
            choice.function((plan.blocks,), (plan.threads,), (argument,), plan.shared, **is_cooperative)
        return arrays["states"], arrays["last"]

    def take_steps(
        self, choice: Choice, memory: bytearray, argument: Any, arrays: dict[str, Array], starts: Sequence[Array]
    ) -> None:
        """Launch a kernel for each step, and before it, if it wants them, the products W_aa a<t-1>."""
        plan, function, _ = choice
        products: Callable[[int], None] | None = None
        arguments: tuple[Any, ...] = (argument,)
        if plan.regime == "step":
            h = cupy.empty((self.directions, *starts[0].shape), self.dtype)
            for own, start in zip(h, starts, strict=True):
                own[...] = start
            products = self.products(arrays["inputs"], h)
            arguments = (argument, h)
        grid, block, shared = (plan.blocks,), (plan.threads,), plan.shared
        _, place, *_ = self.struct.fields["begin"]  # type: ignore[index]
        for begin in range(len(arrays["states"])):
            STEPS.pack_into(memory, place, begin, begin + 1)
            if products is not None:
                products(begin)
            function(grid, block, arguments, shared)

    def products(self, inputs: Array, h: Array) -> Callable[[int], None]:
        """Return a function of a step that adds W_aa a<t-1> to W_ax x<t>, or for token ids writes it to `inputs`."""
        seq_len, batch, pitch = inputs.shape
        gemm, add, sizes = self.gemm, not self.takes_ids, (batch, self.size, self.size)
        stride = batch * pitch * inputs.itemsize
        parts = []
        for k, (own, (_, weight_hh, _)) in enumerate(zip(h, self.addresses, strict=True)):
            begin = address(inputs) + k * self.size * inputs.itemsize
            backward = self.reverse or k > 0
            parts.append(
                (address(own), weight_hh, begin + (seq_len - 1) * stride * backward, (1 - 2 * backward) * stride)
            )

        def products(step: int) -> None:
            for own, weight_hh, begin, by in parts:
                gemm(own, weight_hh, begin + step * by * add, sizes, pitch, add=add)

        return products

    def inputs(self, plan: Plan, x: Array) -> dict[str, Array]:
        """Return the arrays that the kernel reads for x<t>: ids, features, or the product W_ax x<t>."""
        seq_len, batch = x.shape[:2]
        pitch = self.directions * self.size
        if self.takes_ids:
            beside = {"inputs": cupy.empty((1, batch, pitch), self.dtype)} if plan.regime == "step" else {}
            return {"ids": dense(x), **beside}
        if plan["FUSED"]:
            return {"features": dense(x)}
        rows, product = dense(x.astype(self.dtype, copy=False)), cupy.empty((seq_len, batch, pitch), self.dtype)
        sizes = (seq_len * batch, self.size, self.input_size)
        for k, (weight_ih, *_) in enumerate(self.addresses):
            out = address(product) + k * self.size * product.itemsize
            self.gemm(address(rows), weight_ih, out, sizes, pitch, add=False)
        return {"inputs": product, "rows": rows}

    def room(self, plan: Plan, x: Array, inputs: Array | None) -> Array:
        """Return memory for the states, UNSET of words.cu where blocks wait for them, or that of the inputs."""
        shape, dtype = (*x.shape[:2], self.directions * self.size), self.state_dtype
        if plan.cooperative:
            bits = cupy.empty(shape, UNSET[dtype.itemsize])
            bits.fill(-1)
            return bits.view(dtype)
        if inputs is None or inputs.dtype != dtype or self.takes_ids:
            return cupy.empty(shape, dtype)
        return inputs


def macros(cell: Cell, x: Array, h_0: Array) -> tuple[tuple[str, Any], ...]:
    """Return the macros that kernels for a cell are compiled with, beside those of its plan."""
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
