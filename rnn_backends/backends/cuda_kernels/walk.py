"""`Walk`: the cells of a layer, laid out for the kernels, and the launches of a call.

All that depends on no number is prepared once: the host takes as long for it as the device for a call of a few steps.
"""

from collections.abc import Callable, Sequence
from ctypes import addressof, c_char
from itertools import chain
from typing import Any

import cupy
import numpy as np

from rnn_backends.backends.cuda_kernels.argument import ADDRESSES, CELL, POINTERS, STEPS, address, dense
from rnn_backends.backends.cuda_kernels.choices import VECTOR_BYTES, Choice, Kind, choices_of
from rnn_backends.backends.cuda_kernels.gemm import Gemm
from rnn_backends.backends.cuda_kernels.plan import Plan
from rnn_backends.core.arrays import Array
from rnn_backends.core.cell import Cell

UNSET = {2: "int16", 4: "int32", 8: "int64"}
"""The integers, by their bytes, of which -1 is UNSET of words.cu."""


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
        (first, *_), self.takes_ids, self.reverse = cells, x.ndim == 2, reverse
        self.size, self.input_size, self.directions = first.hidden_size, first.input_size, len(cells)
        self.dtype, self.state_dtype = first.weight_hh.dtype, h_0.dtype
        given = [(cell.weight_ih, cell.weight_hh, cell.bias) for cell in cells]
        self.weights: list[tuple[Any, ...]] = [
            tuple(None if array is None else dense(array) for array in arrays) for arrays in given
        ]
        self.addresses = [tuple(map(address, arrays)) for arrays in self.weights]
        self.is_lasting = self.addresses == [tuple(map(address, arrays)) for arrays in given]
        self.gemm = Gemm(self.dtype)
        row = self.size * self.dtype.itemsize
        is_whole = all((weight_hh | row) % VECTOR_BYTES == 0 for _, weight_hh, _ in self.addresses)
        sizes = (self.input_size, self.size, self.directions, reverse)
        dtypes = (self.dtype, self.state_dtype, x.dtype if self.takes_ids else None)
        kind = Kind(*sizes, *dtypes, first.activation, first.clip, first.leak, is_whole, h_0.device.id)  # type: ignore[arg-type]  # no callable is covered
        self.choices = choices_of(kind)

    def __call__(
        self,
        x: Array,
        h_0: Sequence[Array],
        lengths: Array | None,
        regimes: tuple[str, ...],
        may_use: Callable[[str, Any], bool],
    ) -> tuple[Array, Array] | None:
        """Return output and last states by the kernel that `Choices` gives; None if it gives none."""
        is_long = lengths is not None and lengths.dtype != np.int32
        seq_len, batch = x.shape[:2]
        choice = self.choices(seq_len, batch, regimes, is_long, may_use)
        return None if choice is None else self.run(choice, x, h_0, lengths)

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
        _, place, *_ = self.choices.struct.fields["begin"]  # type: ignore[index]
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
