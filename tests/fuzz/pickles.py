"""Pickles as rows of opcodes: of values, of modules that were saved whole, of real files, and of anything."""

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from fuzz.draws import Draw, damaged, edited
from fuzz.weights import SIZES, Tensor


def plain(held: Any) -> bytes:
    """Return the opcode of a number, a text or a constant."""
    if held is None or isinstance(held, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[held]
    if isinstance(held, int):
        if 0 <= held < 256:
            return b"K" + bytes([held])
        if -(2**31) <= held < 2**31:
            return b"J" + struct.pack("<i", held)
        data = held.to_bytes(held.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(data)]) + data
    if isinstance(held, float):
        return b"G" + struct.pack(">d", held)
    encoded = str(held).encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


STORAGES = {
    "f4": "Float", "f2": "Half", "f8": "Double", "bf16": "BFloat16", "i8": "Long", "i4": "Int", "u1": "Byte", "i1": "Char",
    "b1": "Bool", "c8": "ComplexFloat",
}  # fmt: skip
PIECES = (
    b"(", b")", b"]", b"}", b"\x8f", b"N", b"\x88", b"\x89", b"t", b"l", b"d", b"\x85", b"\x86", b"\x87", b"0", b"1", b"2", b"a",
    b"e", b"s", b"u", b"b", b"R", b"\x81", b"\x92", b"o", b"Q", b"\x93", b"\x94", b"\x90", b"\x91", b"q\0", b"h\0", b"q\1", b"h\1",
    b"j\0\0\0\0", b"r\0\0\0\0", b".", b"K\1", b"M\0\1", b"J\xff\xff\xff\xff", b"\x8a\1\5", b"\x8b\1\0\0\0\5", b"\x8a\0",
    b"G?\xf0\0\0\0\0\0\0", b"X\1\0\0\0a", b"\x8c\1a", b"\x8d\1\0\0\0\0\0\0\0a", b"B\1\0\0\0a", b"C\1a", b"U\1a", b"T\1\0\0\0a",
    b"\x96\1\0\0\0\0\0\0\0a", b"\x8e\1\0\0\0\0\0\0\0a", b"\x80\2", b"\x80\5", b"\x80\7", b"\x95\1\0\0\0\0\0\0\0", b"I5\n", b"S'a'\n", b"P1\n",
    b"c__main__\nNet\n", b"cos\nsystem\n", b"cos\nsys", b"cbuiltins\neval\n", b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n",
    b"ccollections\ndefaultdict\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch._tensor\n_rebuild_from_type_v2\n", b"cnumpy._core.multiarray\nscalar\n", b"i__main__\nNet\n", b"\x82\1", b"\x97", b"\x98",
    b"X\xe9\3\0\0" + b"x" * 1001, b"X\xff\xff\0\0a", b"c" + b"x" * 1001 + b"\n", b"cos",
    b"X\x0c\0\0\0weight_ih_l0", b"X\x08\0\0\0_modules", b"X\x0b\0\0\0_parameters", b"X\x04\0\0\0bias", b"X\2\0\0\0\xff\xfe",
)  # fmt: skip


IDLE = (
    b"(0", b"N0", b"(l0", b"\x8f0", b"(\x910", b"N200", b"X\1\0\0\0aX\1\0\0\0b\x930", b"cx\ny\n)}\x920", b"\x8f(N\x900", b"(cx\ny\no0", b"(d0",
    b"(N1", b"](Ne0", b"]Na0", b"}NNs0", b"C\1a0", b"cx\ny\n)R}b0", b"(cx\ny\nN\x93", b"N\x940", b"cx\ny\n)R)R0", b"\x85", b"N\x85N\x85\x860", b"NNN\x870",
    b"cx\ny\n)\x81](Ne0", b"cx\ny\n)RNNs0", b"\x80\3", b"\x95\1\0\0\0\0\0\0\0", b"X\xe9\3\0\0" + b"x" * 1001 + b"0",
)  # fmt: skip
"""Rows of opcodes of which most leave the stack as it was."""
_SOUND = (*[0] * 12, 1, 3, 9)
"""The kinds of tensors that are sound for the most part."""
_PROTOCOLS = (*[2] * 36, 3, 5, 1, 7)
_BESIDE: Mapping[int, tuple[bytes, ...]] = {
    8: (b"N",),
    9: (b"}",),
    10: (b"}", plain("conj"), b"\x88", b"s"),
    11: (b"N", b"N"),
}
"""What torch has after the hooks of a tensor, by the kind of the tensor: what is to be done with its elements."""


class Object(NamedTuple):
    """An object: the name of its class, and its state."""

    name: str
    state: Any
    arguments: tuple[Any, ...] = ()
    made: bytes = b"\x81"


class Raw(NamedTuple):
    """Opcodes as they are."""

    opcodes: tuple[bytes, ...]


class Pickler:
    """The opcodes of values, and the storages of the tensors in them."""

    def __init__(self, draw: Draw) -> None:
        self.draw, self.found = draw, [bytes((0x80, draw.pick(_PROTOCOLS)))]
        self.storages: dict[str, bytes] = {}
        self.memo: dict[int, int] = {}
        self.kept: list[Any] = []
        self.is_idle, self.is_odd = draw.once(4), draw.once(6)

    def value(self, held: Any) -> None:
        """Add the opcodes of a value; one that was there is got from the memo."""
        if self.is_idle and self.draw.once(8):
            self.found.append(self.draw.pick(IDLE))
        if id(held) in self.memo and not isinstance(held, (int, str, type(None))):
            self.found.append(b"j" + struct.pack("<I", self.memo[id(held)]))
        elif isinstance(held, Tensor):
            self._tensor(held)
            self._put(held)
        elif isinstance(held, Object):
            self._object(held)
        elif isinstance(held, Raw):
            self.found += held.opcodes
        elif isinstance(held, dict):
            self.found += [b"}", b"("]
            for key, value in held.items():
                self.value(key)
                self.value(value)
            self.found.append(b"u")
            self._put(held)
        elif isinstance(held, (list, tuple)):
            self.found += [b"]", b"("] if isinstance(held, list) else [b"("]
            for value in held:
                self.value(value)
            self.found.append(b"e" if isinstance(held, list) else b"t")
        else:
            self.found.append(plain(held))

    def _put(self, held: Any) -> None:
        self.memo[id(held)] = len(self.memo)
        self.kept.append(held)  # or another would get its id
        self.found.append(b"r" + struct.pack("<I", self.memo[id(held)]))

    def _object(self, held: Object) -> None:
        owner, _, name = held.name.partition(" ")
        self.found.append(f"c{owner}\n{name}\n".encode())
        self.value(tuple(held.arguments))
        self.found.append(held.made)
        self._put(held)
        if held.state is not None:
            self.value(held.state)
            self.found.append(b"b")

    def _tensor(self, held: Tensor) -> None:
        """Add a tensor or a parameter, as torch rebuilds them."""
        kind = self.draw.below(24) if self.is_odd else self.draw.pick(_SOUND)
        key, offset = self._stored(held, kind)
        count = self.draw.number() if kind == 6 else len(self.storages[key]) // SIZES[held.code]
        is_parameter = self.draw.once(2)
        if is_parameter:
            self.found += [b"ctorch._utils\n_rebuild_parameter\n", b"("]
        if kind == 7:
            self.found += [b"ctorch._tensor\n_rebuild_from_type_v2\n", b"("]
        self.found += [b"ctorch._utils\n_rebuild_tensor_v2\n", *([b"N"] if kind == 7 else []), b"("]
        storage = f"ctorch\n{STORAGES[held.code]}Storage\n".encode()
        self.found += [
            b"(",
            plain("storage"),
            storage,
            plain(key),
            plain("cpu"),
            plain(count),
            b"t",
            b"Q",
            plain(offset),
        ]
        self.value(tuple(held.shape))
        self.value(self._strides(held.shape, kind))
        self.found += [b"\x89", b"}", *_BESIDE.get(kind, ()), b"t"]
        self.found += [b"}", b"t", b"R"] if kind == 7 else [b"R"]
        if is_parameter:
            self.found += [b"\x88", b"}", b"t", b"R"]

    def _stored(self, held: Tensor, kind: int) -> tuple[str, int]:
        """Keep the numbers of a tensor in a storage of its own or in one that is there; return its key and the offset."""
        draw, key, offset, data = self.draw, str(len(self.storages)), 0, held.data
        if kind == 1:
            offset = draw.pick((1, 2, 1000))
            data = bytes(offset % 100 * SIZES[held.code]) + data
        elif kind == 2 and self.storages:
            key = draw.pick(list(self.storages))
            data = self.storages[key]
        elif kind == 3:
            data += bytes(SIZES[held.code] * draw.below(9))
        self.storages[key] = data
        return key, offset

    def _strides(self, shape: tuple[int, ...], kind: int) -> tuple[int, ...]:
        strides = [1] * len(shape)
        for axis in range(len(shape) - 2, -1, -1):
            strides[axis] = strides[axis + 1] * shape[axis + 1]
        if kind == 4:
            strides.reverse()
        elif kind == 5:
            strides = [self.draw.pick((0, 0, 1, 2, 2**40)) for _ in strides]
        return tuple(strides)


_ARGUMENTS: Mapping[int, int] = {
    ord("K"): 1, ord("M"): 2, ord("J"): 4, ord("G"): 8, ord("q"): 1, ord("h"): 1, ord("r"): 4, ord("j"): 4, 0x80: 1, 0x95: 8,
}  # fmt: skip
_COUNTED: Mapping[int, int] = {
    ord("X"): 4, 0x8C: 1, 0x8D: 8, ord("B"): 4, ord("C"): 1, ord("U"): 1, ord("T"): 4, 0x8A: 1, 0x8B: 4, 0x96: 8, 0x8E: 8,
}  # fmt: skip


def taken_apart(data: bytes) -> list[bytes]:
    """Return the opcodes of a pickle that torch has written, each with its argument."""
    found, at = [], 0
    while at < len(data):
        code, end = data[at], at + 1
        if code == ord("c"):
            end = data.index(b"\n", data.index(b"\n", end) + 1) + 1
        elif code in _COUNTED:
            end += _COUNTED[code]
            end += int.from_bytes(data[at + 1 : end], "little")
        else:
            end += _ARGUMENTS.get(code, 0)
        found.append(data[at:end])
        at = end
    return found


def changed(draw: Draw, opcodes: list[bytes]) -> bytes:
    """Return opcodes with a few changes."""
    for _ in range(draw.pick((0, 0, 0, 0, 0, 0, 1, 1, 2, 4))):
        edited(draw, opcodes, opcodes if draw.once(3) else PIECES)
    whole = b"".join(opcodes)
    return damaged(draw, whole) if draw.once(40) else whole
