"""The matrix product of a few rows with a panel of weights, held in vector registers from start to end.

Numba's compiler makes vector code of a loop over independent elements, but does not keep a block of sums in
registers, which is what a matrix product lives by.  So this one loop is written in LLVM's own terms.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from rnn_backends.core.arrays import Host

_FEATURES = binding.get_host_cpu_features()
VECTOR = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx") else 16
"""The bytes of one vector register."""

VECTORS = 2
"""The vectors in a row of a panel."""

GROUPS = (12, 8, 4, 2, 1) if _FEATURES.get("avx512f") else (4, 2, 1)
"""The numbers of rows that are multiplied together: their sums fill the registers, 32 or 16 of them."""

CHAINS = 4 if len(GROUPS) == 5 else 2
"""The sums that are made side by side for a single row, because an addition waits for the one before it."""

INDEX = ir.IntType(64)


def panel_width(dtype: Any) -> int:
    """Return the number of columns in a panel."""
    return VECTORS * VECTOR // int(np.dtype(dtype).itemsize)


def panels(weight: Host) -> Host:
    """Return a matrix (outputs, inputs) as panels (outputs / width, inputs, width), filled up with zeros.

    The product reads a panel from its first byte to its last.  It begins where a cache line does: a vector
    that lies across two of them takes twice the time to load.
    """
    outputs, inputs = weight.shape
    width = panel_width(weight.dtype)
    count = -(-outputs // width)
    padded = np.zeros((count * width, inputs), weight.dtype)
    padded[:outputs] = weight
    memory = np.empty(padded.nbytes + VECTOR, np.uint8)
    start = -memory.ctypes.data % VECTOR
    arranged = memory[start : start + padded.nbytes].view(weight.dtype).reshape(count, inputs, width)
    arranged[...] = padded.reshape(count, width, inputs).transpose(0, 2, 1)
    return arranged


def product(rows: int, at_once: int = 1) -> Callable[..., None]:
    """Return the product of some rows of x with a panel as a function, to be called in Numba's code.

    It is called with x, a vector in which the rows begin at an index, one after another; the panels, p, and
    how many columns the matrix has; a vector that holds what the sums begin with, from an index on, and
    the step there from row to row; and the same of where the sums go, which may be the same place.
    `at_once` panels are multiplied, p and the following.
    """
    chains = max(1, CHAINS // rows)

    @intrinsic  # type: ignore[untyped-decorator]
    def multiply(
        typing_context: Any, x: Any, at: Any, panels: Any, p: Any, size: Any, begin: Any, begin_at: Any,
        begin_step: Any, end: Any, end_at: Any, end_step: Any,
    ) -> Any:  # fmt: skip
        index = types.intp
        signature = types.void(x, index, panels, index, index, begin, index, index, end, index, index)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, panels, begin, end = (
                cgutils.create_struct_proxy(signature.args[i])(context, builder, value=arguments[i])
                for i in (0, 2, 5, 8)
            )
            at, p, size, begin_at, begin_step, end_at, end_step = (arguments[i] for i in (1, 3, 4, 6, 7, 9, 10))
            inputs, width = (builder.extract_value(panels.shape, axis) for axis in (1, 2))
            column = builder.mul(p, width)

            def rows_of(array: Any, first: Any, distance: Any) -> list[Any]:
                offsets = [builder.add(first, builder.mul(distance, INDEX(r))) for r in range(rows)]
                return [builder.gep(array.data, [offset]) for offset in offsets]

            panel = builder.mul(inputs, width)
            _Product(
                builder,
                signature.args[0].dtype,
                inputs,
                rows_of(x, at, inputs),
                [builder.gep(panels.data, [builder.mul(panel, builder.add(p, INDEX(q)))]) for q in range(at_once)],
            ).emit(
                rows_of(begin, builder.add(begin_at, column), begin_step),
                builder.sub(size, column),
                rows_of(end, builder.add(end_at, column), end_step),
                chains,
            )
            return context.get_dummy_value()

        return signature, generate

    return multiply  # type: ignore[no-any-return]


class _Product:
    """Emits the loops over the inputs."""

    def __init__(self, builder: Any, dtype: Any, inputs: Any, x_rows: Sequence[Any], panels: Sequence[Any]) -> None:
        self.builder, self.inputs, self.x_rows, self.panels = builder, inputs, x_rows, panels
        self.bytes = dtype.bitwidth // 8
        self.lanes = VECTOR // self.bytes
        self.vector = ir.VectorType(ir.FloatType() if self.bytes == 4 else ir.DoubleType(), self.lanes)
        self.suffix = f"v{self.lanes}f{dtype.bitwidth}"
        self.multiply_add = self.function("fmuladd", self.vector, *[self.vector] * 3)  # fused where that is faster

    def function(self, name: str, result: Any, *arguments: Any) -> Any:
        """Return a function of LLVM's own."""
        kind = ir.FunctionType(result, arguments)
        return cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}.{self.suffix}")

    def emit(self, begin: Sequence[Any], columns: Any, end: Sequence[Any], chains: int) -> None:
        """Add the product to rows of so many columns and put the sums at the end."""
        builder, vectors = self.builder, range(VECTORS * len(self.panels))
        zero = ir.Constant(self.vector, [0.0] * self.lanes)
        masks = [self.first_lanes(builder.sub(columns, INDEX(v * self.lanes))) for v in vectors]
        is_full = builder.icmp_signed(">=", columns, INDEX(len(vectors) * self.lanes))
        begins, ends = ([(self.place(row, v), masks[v]) for row in rows for v in vectors] for rows in (begin, end))
        with builder.if_else(is_full) as (then, otherwise):
            with then:
                whole = [builder.load(place, align=self.bytes) for place, _ in begins]
                then_block = builder.block
            with otherwise:
                part = [self.load_lanes(place, mask, zero) for place, mask in begins]
                otherwise_block = builder.block
        values = [builder.phi(self.vector) for _ in begins]
        for value, loaded, masked in zip(values, whole, part, strict=True):
            value.add_incoming(loaded, then_block)
            value.add_incoming(masked, otherwise_block)
        k, values = self.loop(INDEX(0), chains, values + [zero] * (len(begins) * (chains - 1)))
        if chains > 1:
            _, values = self.loop(k, 1, values)
        sums = [self.added(values[index :: len(ends)]) for index in range(len(ends))]
        with builder.if_else(is_full) as (then, otherwise):
            with then:
                for total, (place, _) in zip(sums, ends, strict=True):
                    builder.store(total, place, align=self.bytes)
            with otherwise:
                for total, (place, mask) in zip(sums, ends, strict=True):
                    self.store_lanes(total, place, mask)

    def added(self, parts: Sequence[Any]) -> Any:
        """Return the sum of some vectors, as many as a power of 2."""
        while len(parts) > 1:
            parts = [self.builder.fadd(*parts[i : i + 2]) for i in range(0, len(parts), 2)]
        return parts[0]

    def first_lanes(self, count: Any) -> Any:
        """Return a mask of so many lanes."""
        indices = ir.VectorType(INDEX, self.lanes)
        counts = self.all_lanes(count, indices)
        return self.builder.icmp_signed("<", ir.Constant(indices, list(range(self.lanes))), counts)

    def load_lanes(self, place: Any, mask: Any, other: Any) -> Any:
        """Load the lanes of a mask, without touching what lies in the others."""
        load = self.function("masked.load", self.vector, place.type, ir.IntType(32), mask.type, self.vector)
        return self.builder.call(load, [place, ir.IntType(32)(self.bytes), mask, other])

    def store_lanes(self, value: Any, place: Any, mask: Any) -> None:
        """Store the lanes of a mask, without touching what lies in the others."""
        store = self.function("masked.store", ir.VoidType(), self.vector, place.type, ir.IntType(32), mask.type)
        self.builder.call(store, [value, place, ir.IntType(32)(self.bytes), mask])

    def loop(self, start: Any, step: int, values: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Take inputs `step` at a time, each with sums of its own, while there are as many left."""
        builder, before = self.builder, self.builder.block
        head, body, done = (builder.append_basic_block(name) for name in ("head", "body", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        k = builder.phi(INDEX)
        carried = [builder.phi(self.vector) for _ in values]
        following = builder.add(k, INDEX(step))
        builder.cbranch(builder.icmp_signed("<=", following, self.inputs), body, done)
        builder.position_at_end(body)
        new = list(carried)
        for offset in range(step):
            self.add_input(builder.add(k, INDEX(offset)), new, offset * len(new) // step)
        for phi, first, last in zip([k, *carried], [start, *values], [following, *new], strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(last, body)
        builder.branch(head)
        builder.position_at_end(done)
        return k, carried

    def add_input(self, k: Any, sums: list[Any], first: int) -> None:
        """Add ``x[:, k]`` times row k of the panels to the sums from `first` on."""
        builder = self.builder
        row = builder.mul(k, INDEX(VECTORS * self.lanes))
        starts = [builder.gep(panel, [row]) for panel in self.panels]
        weights = [builder.load(self.place(start, v), align=self.bytes) for start in starts for v in range(VECTORS)]
        for x_row in self.x_rows:
            x = self.all_lanes(builder.load(builder.gep(x_row, [k])), self.vector)
            for weight in weights:
                sums[first] = builder.call(self.multiply_add, [x, weight, sums[first]])
                first += 1

    def place(self, start: Any, index: int) -> Any:
        """Return where the vector of an index lies."""
        return self.builder.bitcast(self.builder.gep(start, [INDEX(index * self.lanes)]), self.vector.as_pointer())

    def all_lanes(self, scalar: Any, kind: Any) -> Any:
        """Return a vector of equal elements."""
        undefined, lane = ir.Constant(kind, ir.Undefined), ir.IntType(32)
        vector = self.builder.insert_element(undefined, scalar, lane(0))
        first = ir.Constant(ir.VectorType(lane, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(vector, undefined, first)
