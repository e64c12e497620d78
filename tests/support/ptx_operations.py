"""The instructions of PTX that `ptx.py` knows: a table of functions of NumPy arrays, with an element for each thread.

An instruction is found by its name without types and without `.ftz`, which both hold for all: `mul.wide` is that of
every integer.  Results are those that the PTX ISA describes, but for `ex2.approx` and `rcp.approx`, which are exact here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from ptx_memory import UNSIGNED, Fault

SIZES = {1: "b8 u8 s8", 2: "b16 u16 s16 f16", 4: "b32 u32 s32 f32", 8: "b64 u64 s64 f64"}
BYTES = {name: size for size, names in SIZES.items() for name in names.split()} | {"pred": 1, "bf16": 2}
WIDER: dict[Any, Any] = {
    np.dtype(f"{kind}{bits}"): np.dtype(f"{kind}{2 * bits}") for kind in ("int", "uint") for bits in (8, 16, 32)
}
TINY = np.finfo(np.float32).tiny


class Unknown(NotImplementedError):
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
    if a.dtype not in WIDER:
        msg = f"a product of two {a.dtype}, whole"
        raise Unknown(msg)
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


def elementwise(machine: Any, instruction: Any) -> None:
    function, kinds = OF_ELEMENTS[instruction.key]
    name = instruction.types[-1]
    types = {"t": name, "w": f"{name[0]}{16 * BYTES[name]}", "u": "u32", "p": "pred"}
    sources = instruction.operands[1 : 1 + len(kinds)]
    values = [machine.value(source, types[kind]) for source, kind in zip(sources, kinds, strict=True)]
    if instruction.is_ftz:
        values = [flushed(value) for value in values]
    result = function(*values)
    if instruction.key != "selp":
        result = canonical(flushed(result) if instruction.is_ftz else result)
    machine.put(instruction.operands[0], result)


# What moves numbers.


def move(machine: Any, instruction: Any) -> None:
    """Move, and take a number apart or put it together of its parts, the lowest first."""
    to, source = instruction.operands
    name = instruction.types[0]
    parts = to if isinstance(to, list) else source if isinstance(source, list) else [to]
    part = f"b{8 * BYTES[name] // len(parts)}" if len(parts) > 1 else name
    if isinstance(source, list):
        joined = np.stack(np.broadcast_arrays(*(machine.value(each, part) for each in source)), axis=-1)
        machine.put(to, joined.view(UNSIGNED[BYTES[name]])[..., 0])
    elif isinstance(to, list):
        whole = np.atleast_1d(machine.value(source, name))
        for k, each in enumerate(to):
            machine.put(each, whole[:, None].view(UNSIGNED[BYTES[part]])[:, k])
    else:
        machine.put(to, machine.value(source, name))


def convert(machine: Any, instruction: Any) -> None:
    to, source = instruction.types
    value = machine.value(instruction.operands[1], source)
    mode = instruction.key.removeprefix("cvt")
    if (mode in {".rni", ".sat"} and to != source) or (not mode and source[0] == "f" and to[0] != "f") or "bf16" in to:
        raise Unknown(instruction.text)
    value = flushed(value) if instruction.is_ftz else value
    value = {".rni": np.rint, ".sat": saturated}.get(mode, np.asarray)(value)
    result = value.astype(dtype_of(to))
    if to == "f16":
        result = np.where(np.isnan(result), np.uint16(0x7FFF).view(np.float16), result)
    machine.put(instruction.operands[0], canonical(flushed(result) if instruction.is_ftz else result))


def saturated(value: Any) -> Any:
    return np.where(np.isnan(value), np.float32(0), np.clip(value, np.float32(0), np.float32(1)))


def same_address(machine: Any, instruction: Any) -> None:
    """Make an address of all memory one of global memory, which it is here anyway."""
    machine.put(instruction.operands[0], machine.value(instruction.operands[1], instruction.types[0]))


def load(machine: Any, instruction: Any) -> None:
    to, source = instruction.operands
    names = to if isinstance(to, list) else [to]
    name = instruction.types[0]
    for register, column in zip(names, machine.load(instruction, source, BYTES[name], len(names)).T, strict=True):
        machine.put(register, column.view(dtype_of(name)))


def store(machine: Any, instruction: Any) -> None:
    to, source = instruction.operands
    names = source if isinstance(source, list) else [source]
    bits = UNSIGNED[BYTES[instruction.types[0]]]
    columns = [machine.spread(machine.value(each, instruction.types[0])).view(bits) for each in names]
    machine.store(instruction, to, np.stack(columns, axis=1))


# What the lanes of a warp do together: an axis for the warps, one for the lanes.

LANE = np.arange(32)


def shuffle(machine: Any, instruction: Any) -> None:
    to, source, mask, bounds, lanes = instruction.operands
    if any((machine.value(each, "s32") != wanted).any() for each, wanted in ((bounds, 31), (lanes, -1))):
        msg = "a shuffle of a part of a warp"
        raise Fault(msg)
    values = machine.spread(machine.value(source, "b32")).reshape(-1, 32)
    other = LANE ^ machine.spread(machine.value(mask, "u32")).reshape(-1, 32).astype(np.int64)
    machine.put(to.partition("|")[0], np.take_along_axis(values, other, axis=1).ravel())


def fragment(machine: Any, registers: list[str], name: str) -> Any:
    """Return the numbers that each lane has of a matrix, two of 16 bits in a register: (warps, 32, numbers)."""
    words = np.stack([machine.spread(machine.value(each, "b32")) for each in registers], axis=1)
    halves = words.view(np.uint16)
    wide_ones = (
        (halves.astype(np.uint32) << np.uint32(16)).view(np.float32) if name == "bf16" else halves.view(np.float16)
    )
    return wide_ones.astype(np.float64).reshape(-1, 32, 2 * len(registers))


def multiply(machine: Any, instruction: Any) -> None:
    """Multiply matrices of 16 x 16 and 16 x 8 and add one of 16 x 8 (PTX ISA, "Matrix fragments for mma.m16n8k16").

    The sums are rounded once; in what order a GPU makes them, and how it rounds on the way, is not documented.
    """
    to, *sources = instruction.operands
    if instruction.types not in (["f32", name, name, "f32"] for name in ("f16", "bf16")):
        raise Unknown(instruction.text)
    a, b = (fragment(machine, registers, instruction.types[1]) for registers in sources[:2])
    c = np.stack([machine.spread(machine.value(each, "f32")) for each in sources[2]], axis=1).reshape(-1, 32, 4)
    group, pair, k = LANE[:, None] // 4, LANE[:, None] % 4 * 2, np.arange(8)
    first, second, result = np.zeros((len(a), 16, 16)), np.zeros((len(a), 16, 8)), np.zeros((len(a), 16, 8))
    first[:, group + k // 2 % 2 * 8, pair + k % 2 + k // 4 * 8] = a
    second[:, pair + k[:4] % 2 + k[:4] // 2 * 8, group] = b
    place = (slice(None), group + k[:4] // 2 * 8, pair + k[:4] % 2)
    result[place] = c
    result += first @ second
    for number, register in enumerate(to):
        machine.put(register, canonical(result[place][:, :, number].astype(np.float32).ravel()))


def load_matrices(machine: Any, instruction: Any) -> None:
    """Load four matrices of 8 x 8 numbers of 16 bits, of which 8 lanes each give the addresses of the rows."""
    to, source = instruction.operands
    rows = machine.load(instruction, source, 2, 8).reshape(-1, 4, 8, 8)
    if ".trans" in instruction.key:
        rows = rows.swapaxes(2, 3)
    words = np.ascontiguousarray(rows).view(np.uint32).reshape(len(rows), 4, 32)
    for k, register in enumerate(to):
        machine.put(register, words[:, k].ravel())


TOGETHER: dict[str, Callable[[Any, Any], None]] = {
    "shfl.sync.bfly": shuffle,
    "mma.sync.aligned.m16n8k16.row.col": multiply,
    **{f"ldmatrix.sync.aligned.m8n8.x4{way}.shared": load_matrices for way in ("", ".trans")},
}
"""The instructions that all lanes of a warp must come to."""

OPERATIONS: dict[str, Callable[[Any, Any], None]] = {
    **dict.fromkeys(OF_ELEMENTS, elementwise),
    **dict.fromkeys(("cvt", "cvt.rn", "cvt.rni", "cvt.sat"), convert),
    **{f"ld{way}{count}": load for way in ("", ".param", ".shared", ".global", ".relaxed.gpu.global")
       for count in ("", ".v2", ".v4")},
    **{f"st{way}{count}": store for way in ("", ".shared", ".global", ".relaxed.gpu.global")
       for count in ("", ".v2", ".v4")},
    "mov": move,
    "cvta.to.global": same_address,
    **TOGETHER,
}  # fmt: skip
