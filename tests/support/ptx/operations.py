"""The instructions of PTX but for jumps and barriers: a table of functions of the machine and the instruction."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ptx.memory import UNSIGNED, PtxError
from ptx.numbers import BYTES, OF_ELEMENTS, UnknownInstructionError, canonical, dtype_of, flushed


def elementwise(machine: Any, instruction: Any) -> None:
    function, kinds = OF_ELEMENTS[instruction.key]
    name = instruction.types[-1]
    if instruction.key in {"mul.wide", "mul.hi", "mad.wide"} and BYTES[name] == 8:
        raise UnknownInstructionError(instruction.text)
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
    if (mode in ROUNDED and to != source) or (not mode and source[0] == "f" and to[0] != "f") or "bf16" in to:
        raise UnknownInstructionError(instruction.text)
    value = flushed(value) if instruction.is_ftz else value
    if mode in ROUNDED:
        value = ROUNDED[mode](value)
    result = value.astype(dtype_of(to))
    if to == "f16":
        result = np.where(np.isnan(result), np.uint16(0x7FFF).view(np.float16), result)
    machine.put(instruction.operands[0], canonical(flushed(result) if instruction.is_ftz else result))


def saturated(value: Any) -> Any:
    return np.where(np.isnan(value), np.float32(0), np.clip(value, np.float32(0), np.float32(1)))


ROUNDED: dict[str, Callable[[Any], Any]] = {".rni": np.rint, ".sat": saturated}


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
        raise PtxError(msg)
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
        raise UnknownInstructionError(instruction.text)
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
