"""The opcodes of a pickle, one by one; the tables of `pickletools` only parse, and nothing is imported or called."""

import io
import pickletools
from collections.abc import Iterator
from sys import getsizeof
from typing import Any

from rnn_backends.core.messages import short
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account

PROTOCOLS = range(2, 6)
MAX_NAME = 1000
"""The most bytes of a text that is kept: no name that a network needs is as long."""
LONG = f"a text of more than {MAX_NAME} bytes"
"""What stands for a longer text; it is known by `is`."""
VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
}  # fmt: skip
BYTES = {
    "BINBYTES": 4, "SHORT_BINBYTES": 1, "BINBYTES8": 8, "BYTEARRAY8": 8, "BINSTRING": 4, "SHORT_BINSTRING": 1,
}  # fmt: skip
"""Those of bytes, which are passed over, by the bytes of their length."""
# Those of protocols 0 and 1 alone, of extensions and of buffers beside the file are left out.
UNDERSTOOD = {
    *VALUES, *BYTES, "PROTO", "FRAME", "STOP", "GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ",
    "BUILD", "BINPERSID", "NONE", "NEWTRUE", "NEWFALSE", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_SET",
    "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST", "DICT", "FROZENSET", "APPEND", "APPENDS", "SETITEM", "SETITEMS",
    "ADDITEMS", "MARK", "POP", "POP_MARK", "DUP", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET",
}  # fmt: skip
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_TEXTS = {"SHORT_BINUNICODE": 1, "BINUNICODE": 4, "BINUNICODE8": 8}
"""The texts, by the bytes of their length."""
_MAKING = {
    "EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET", "DICT", "LIST", "FROZENSET", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ",
    "BINPERSID", "SETITEM",
}  # fmt: skip
_NOTED = {"MARK", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_COST: dict[str, int] = {**dict.fromkeys(_MAKING, 160), **dict.fromkeys(_NOTED, 80)}
"""Bytes of memory that an opcode takes beside those of its argument; a place on the stack of all others."""
_PLACE = 24
_OF_MEMO = {"BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"}


def opcodes(data: bytes, account: Account) -> Iterator[tuple[str, Any]]:
    """Yield the opcodes of a pickle up to the last, each with its argument; of bytes none."""
    stream = _Pickle(data)
    try:
        for name, argument in stream.opcodes(account):
            size = sum(map(getsizeof, argument)) if type(argument) is tuple else getsizeof(argument)
            account.take("its pickle", "objects", _COST.get(name, _PLACE) + size)
            yield name, argument
    except FormatError:
        raise
    except ValueError as error:
        msg = f"its pickle is damaged: {short(error)}."
        raise FormatError(msg) from error
    if stream.tell() != len(data):
        msg = "bytes follow the end of its pickle."
        raise FormatError(msg)


class _Pickle(io.BytesIO):
    """A pickle that is read an opcode at a time."""

    def opcodes(self, account: Account) -> Iterator[tuple[str, Any]]:
        # pickletools.genops would also read the arguments of opcodes that are refused, for which it imports codecs.
        name = ""
        while name != "STOP":
            info = _OPCODES.get(self.read(1).decode("latin1"))
            if info is None:
                msg = "its pickle has an unknown opcode, or no end."
                raise FormatError(msg)
            name = info.name
            if name not in UNDERSTOOD:
                msg = f"its pickle has the opcode {name}, which torch.save writes for nothing."
                raise FormatError(msg)
            if name not in _OF_MEMO:  # which make nothing, and are counted by their bytes alone
                account.take("its pickle", "items", 1)
            if name == "GLOBAL":
                yield name, self.names()
            elif name in _TEXTS:
                yield name, self.text(_TEXTS[name])
            elif name in BYTES:
                self.skip(self.size(BYTES[name]))
                yield name, None
            else:
                yield name, None if info.arg is None else info.arg.reader(self)

    def names(self) -> tuple[str, str]:
        """Read two lines, a module and a name in it; pickletools would take backslashes in them for escapes."""
        lines = self.readline(MAX_NAME + 1), self.readline(MAX_NAME + 1)
        if not all(line.endswith(b"\n") for line in lines):
            msg = f"its pickle ends within a name, or has one of more than {MAX_NAME} bytes; it is damaged."
            raise FormatError(msg)
        module, name = (line.removesuffix(b"\n").decode() for line in lines)
        return module, name

    def text(self, width: int) -> str:
        """Read a text; a long one, such as a log, is passed over."""
        size = self.size(width)
        if size > MAX_NAME:
            self.skip(size)
            return LONG
        return self.read(size).decode("utf-8", "surrogatepass")

    def size(self, width: int) -> int:
        """Read how many bytes of a text or of others follow, which must be there."""
        size, left = int.from_bytes(self.read(width), "little"), self.getbuffer().nbytes - self.tell()
        if size > left:
            msg = f"expected {size} bytes, and there are {left}"
            raise ValueError(msg)
        return size

    def skip(self, size: int) -> None:
        """Pass over bytes."""
        self.seek(size, io.SEEK_CUR)
