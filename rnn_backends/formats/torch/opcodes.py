"""The opcodes of a pickle, one by one; the tables of `pickletools` only parse, and nothing is imported or called."""

import io
import pickletools
from collections.abc import Iterator
from typing import Any

from rnn_backends.core.messages import short
from rnn_backends.errors import FormatError
from rnn_backends.formats.source import Account

PROTOCOLS = range(2, 6)
VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
}  # fmt: skip
BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINSTRING", "SHORT_BINSTRING"}
# Those of protocols 0 and 1 alone, of extensions and of buffers beside the file are left out.
UNDERSTOOD = {
    *VALUES, *BYTES, "PROTO", "FRAME", "STOP", "GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ",
    "BUILD", "BINPERSID", "NONE", "NEWTRUE", "NEWFALSE", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_SET",
    "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST", "DICT", "FROZENSET", "APPEND", "APPENDS", "SETITEM", "SETITEMS",
    "ADDITEMS", "MARK", "POP", "POP_MARK", "DUP", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET",
}  # fmt: skip
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}


def opcodes(data: bytes, account: Account) -> Iterator[tuple[str, Any]]:
    """Yield the opcodes of a pickle up to the last, each with its argument."""
    stream = io.BytesIO(data)
    try:
        yield from _opcodes(stream, account)
    except FormatError:
        raise
    except ValueError as error:
        msg = f"its pickle is damaged: {short(error)}."
        raise FormatError(msg) from error
    if stream.tell() != len(data):
        msg = "bytes follow the end of its pickle."
        raise FormatError(msg)


def _opcodes(stream: io.BytesIO, account: Account) -> Iterator[tuple[str, Any]]:
    # pickletools.genops would also read the arguments of opcodes that are refused, for which it imports codecs.
    while True:
        account.take("its pickle", "items", 1)  # an opcode is a byte of the file, and up to 350 of memory
        info = _OPCODES.get(stream.read(1).decode("latin1"))
        if info is None:
            msg = "its pickle has an unknown opcode, or no end."
            raise FormatError(msg)
        if info.name not in UNDERSTOOD:
            msg = f"its pickle has the opcode {info.name}, which torch.save writes for nothing."
            raise FormatError(msg)
        if info.name == "GLOBAL":
            yield info.name, _name(stream)
        else:
            yield info.name, None if info.arg is None else info.arg.reader(stream)
        if info.name == "STOP":
            return


def _name(stream: io.BytesIO) -> str:
    """Read two lines, a module and a name in it; pickletools would take backslashes in them for escapes."""
    lines = stream.readline(), stream.readline()
    if not lines[1].endswith(b"\n"):
        msg = "its pickle ends within a name; it is damaged, or not of torch.save."
        raise FormatError(msg)
    return " ".join(line.removesuffix(b"\n").decode() for line in lines)
