"""What a message says of a value: quoted, short, on one line, in ASCII; never the numbers of an array."""

import os
import re
from collections.abc import Iterable
from math import log10
from os import PathLike
from typing import Any

import numpy as np

from rnn_backends.core.arrays import is_array

MOST = 400
"""The most characters of a message, paths included."""
_VALUE = 80
_LISTED = 120
_PATH = 150
_LIBRARY = 200
_INTEGER_BITS = 256
_QUOTED = re.compile(r"""(?<!\w)(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")


def shown(name: object) -> str:
    """Return a name, or a short tuple of numbers: quoted as in Python, in ASCII, cut at 80 characters."""
    # Cut before it is quoted, which takes ten times the memory of the text.
    text = ascii(name[: _VALUE + 1] if isinstance(name, (str, bytes)) else name)
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 3]}..."


def got(value: Any) -> str:
    """Return any value that was given: numbers and names as they are, arrays by their shape, all else by its type."""
    if isinstance(value, (str, bytes)):
        return shown(value)
    if type(value) is int and value.bit_length() > _INTEGER_BITS:
        return f"an integer of some {int(value.bit_length() * log10(2)) + 1} digits"
    if value is None or type(value) in {bool, int, float, complex} or isinstance(value, (np.number, np.bool, np.dtype)):
        return shown(value)
    if isinstance(value, type):
        return shown(value.__name__)
    if type(value) in {list, tuple, dict, set} and not value:
        return repr(value)
    kind = type(value).__name__[:_VALUE]
    return f"{kind} of shape {shown(tuple(value.shape))}" if is_array(value) else kind


def listed(names: Iterable[object]) -> str:
    """Return the first of some names, and how many more there are."""
    found = list(names)
    first = [shown(name) for name in found[:5]]
    count = 1
    while count < len(first) and sum(map(len, first[: count + 1])) <= _LISTED:
        count += 1
    more = f" and {len(found) - count} more" if len(found) > count else ""
    return ", ".join(first[:count]) + more or "none"


def shown_path(path: str | bytes | PathLike[str] | PathLike[bytes]) -> str:
    """Return a path without quotation marks; the end of a long one, and what cannot be printed as an escape."""
    text = os.fsdecode(path)
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[-_PATH:])
    return line if len(text) <= _PATH and len(line) <= _PATH else f"...{line[-_PATH:]}"


def short(error: BaseException) -> str:
    """Return what an error of a library says, which may quote the whole file, cut at 200 characters."""
    text = ascii(str(error)[: _LIBRARY + 1])[1:-1].replace("\\'", "'")
    return text if len(text) <= _LIBRARY else f"{text[: _LIBRARY - 3]}..."


def fitted(message: str, most: int = MOST) -> str:
    """Return a message without its middle, if it is longer than messages are; its end says what to do next."""
    if len(message) <= most:
        return message
    begin, end = (most - 5) // 5, len(message) - 4 * (most - 5) // 5
    for quoted in _QUOTED.finditer(message):  # whole or not at all, or what is within and without is exchanged
        start, stop = quoted.span()
        if stop - start <= _VALUE and start < begin < stop:
            begin = start
        if stop - start <= _VALUE and start < end < stop:
            end = stop
    return f"{message[:begin]} ... {message[end:]}"
