"""The instructions of PTX that make a number of numbers: a table of functions of NumPy arrays.

An instruction is found by its name without types and without `.ftz`, which both hold for all: `mul.wide` is that of
every integer.  Results are those that the PTX ISA describes, but for `ex2.approx` and `rcp.approx`, which are exact here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

SIZES = {1: "b8 u8 s8", 2: "b16 u16 s16 f16", 4: "b32 u32 s32 f32", 8: "b64 u64 s64 f64"}
BYTES = {name: size for size, names in SIZES.items() for name in names.split()} | {"pred": 1, "bf16": 2}
WIDER: dict[Any, Any] = {
    np.dtype(f"{kind}{bits}"): np.dtype(f"{kind}{2 * bits}") for kind in ("int", "uint") for bits in (8, 16, 32)
}
TINY = np.finfo(np.float32).tiny


class UnknownInstructionError(NotImplementedError):
    """An instruction that is in no table."""


def dtype_of(name: str) -> Any:
    """Return NumPy's name of a type."""
    return np.dtype(bool if name == "pred" else f"{name[0].replace('b', 'u').replace('s', 'i')}{BYTES[name]}")


# Rounding.


def flushed(value: Any) -> Any:
    """Return float32 with 0 for each subnormal number: `.ftz`."""
    return np.where(abs(value) < TINY, np.copysign(np.float32(0), value), value) if value.dtype == np.float32 else value


def canonical(value: Any) -> Any:
    """Return float32 with the one NaN that an operation of a GPU makes: grid.cu tells what is unset by another."""
    nan = np.uint32(0x7FFFFFFF).view(np.float32)
    return np.where(np.isnan(value), nan, value) if value.dtype == np.float32 else value


def sum_of(a: Any, b: Any) -> tuple[Any, Any]:
    """Return a sum, rounded, and what rounding took from it (Knuth)."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def product_of(a: Any, b: Any) -> tuple[Any, Any]:
    """Return a product of float64, rounded, and what rounding took from it (Dekker)."""

    def halves(x: Any) -> tuple[Any, Any]:
        large = x * 134217729.0
        high = large - (large - x)
        return high, x - high

    (a_high, a_low), (b_high, b_low), product = halves(a), halves(b), a * b
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def to_odd(value: Any, rest: Any) -> Any:
    """Return float64 that rounds once more, to float32, as if `rest` had never been rounded away."""
    bits = value.view(np.int64)
    away = np.where((rest > 0) == (value > 0), 1, -1)
    return np.where(np.isfinite(rest) & (rest != 0) & (bits & 1 == 0), bits + away, bits).view(np.float64)


def narrowed(value: Any, mode: str) -> Any:
    """Return float64 as float32, rounded to nearest, toward zero or down."""
    near = value.astype(np.float32)
    if mode == "rn":
        return near
    target, beyond = {"rz": (0.0, abs(near) > abs(value)), "rm": (-np.inf, near > value)}[mode]
    return np.where(beyond, np.nextafter(near, np.float32(target)), near)


def added(mode: str) -> Callable[[Any, Any], Any]:
    def function(a: Any, b: Any) -> Any:
        if a.dtype != np.float32 or mode == "rn":
            return a + b
        return narrowed(to_odd(*sum_of(a.astype(np.float64), b.astype(np.float64))), mode)

    return function


def fused(mode: str) -> Callable[[Any, Any, Any], Any]:
    def function(a: Any, b: Any, c: Any) -> Any:
        if a.dtype == np.float32:  # of which a product is exact in float64
            return narrowed(to_odd(*sum_of(a.astype(np.float64) * b, c.astype(np.float64))), mode)
        product, rest = product_of(a, b)
        total, more = sum_of(product, c)
        exact = total + (rest + more)
        return np.where(np.isfinite(exact), exact, product + c)

    return function


# Numbers of each thread.


def divided(a: Any, b: Any) -> Any:
    if a.dtype.kind == "f":
        return a / b
    floor = a // b
    return floor + ((floor * b != a) & ((a < 0) != (b < 0))).astype(a.dtype)  # toward zero


def left(a: Any, by: Any) -> Any:
    width = 8 * a.itemsize
    return np.where(by < width, a << (by % width).astype(a.dtype), 0).astype(a.dtype)


def right(a: Any, by: Any) -> Any:
    width = 8 * a.itemsize
    if a.dtype.kind == "i":
        return a >> np.minimum(by, width - 1).astype(a.dtype)
    return np.where(by < width, a >> (by % width).astype(a.dtype), 0).astype(a.dtype)


def inserted(a: Any, b: Any, position: Any, count: Any) -> Any:
    one = np.uint64(1)
    mask = (left(np.broadcast_to(one, np.shape(count)), count) - one) << position.astype(np.uint64)
    moved = a.astype(np.uint64) << position.astype(np.uint64)
    return ((b.astype(np.uint64) & ~mask) | (moved & mask)).astype(a.dtype)


def wide(a: Any, b: Any) -> Any:
    return a.astype(WIDER[a.dtype]) * b.astype(WIDER[b.dtype])


def upper(a: Any, b: Any) -> Any:
    return (wide(a, b) >> np.array(8 * a.itemsize).astype(WIDER[a.dtype])).astype(a.dtype)


def reciprocal(a: Any) -> Any:
    """Return about 1 / a: of float64 the upper half alone, as the instruction does."""
    value = 1 / a
    if value.dtype == np.float64:
        value = (value.view(np.uint64) & np.uint64(0xFFFFFFFF << 32)).view(np.float64)
    return value


ORDERED: dict[str, Callable[[Any, Any], Any]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: (a < b) | (a > b),
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "num": lambda a, b: ~(np.isnan(a) | np.isnan(b)),
}
UNORDERED = {"equ": "ne", "neu": "eq", "ltu": "ge", "leu": "gt", "gtu": "le", "geu": "lt", "nan": "num"}


def neither(name: str) -> Callable[[Any, Any], Any]:
    return lambda a, b: ~ORDERED[name](a, b)


OF_ELEMENTS: dict[str, tuple[Callable[..., Any], str]] = {
    "add": (added("rn"), "tt"), "add.rn": (added("rn"), "tt"), "add.rz": (added("rz"), "tt"),
    "sub": (lambda a, b: a - b, "tt"), "sub.rn": (lambda a, b: a - b, "tt"),
    "mul": (lambda a, b: a * b, "tt"), "mul.rn": (lambda a, b: a * b, "tt"), "mul.lo": (lambda a, b: a * b, "tt"),
    "mul.wide": (wide, "tt"), "mul.hi": (upper, "tt"), "mad.lo": (lambda a, b, c: a * b + c, "ttt"),
    "mad.wide": (lambda a, b, c: wide(a, b) + c, "ttw"),
    "fma.rn": (fused("rn"), "ttt"), "fma.rm": (fused("rm"), "ttt"), "fma.rz": (fused("rz"), "ttt"),
    "div": (divided, "tt"), "div.rn": (divided, "tt"), "rem": (lambda a, b: a - divided(a, b) * b, "tt"),
    "rcp.rn": (lambda a: 1 / a, "t"), "rcp.approx": (reciprocal, "t"),
    "ex2.approx": (lambda a: np.exp2(a.astype(np.float64)).astype(a.dtype), "t"),
    "min": (np.fmin, "tt"), "max": (np.fmax, "tt"), "neg": (np.negative, "t"), "abs": (np.abs, "t"),
    "copysign": (lambda a, b: np.copysign(b, a), "tt"),
    "and": (np.bitwise_and, "tt"), "or": (np.bitwise_or, "tt"), "xor": (np.bitwise_xor, "tt"), "not": (np.invert, "t"),
    "shl": (left, "tu"), "shr": (right, "tu"), "bfi": (inserted, "ttuu"),
    "selp": (lambda a, b, first: np.where(first, a, b), "ttp"),
    **{f"setp.{name}": (function, "tt") for name, function in ORDERED.items()},
    **{f"setp.{name}": (neither(other), "tt") for name, other in UNORDERED.items()},
}  # fmt: skip
"""Functions, and of what types their operands are: that of the instruction, one twice as wide, u32, or a predicate."""
