"""JSON in files: one bounded reader of objects."""

import json
import re
from collections.abc import Mapping
from typing import Any

from rnn_backends.core.messages import listed, short
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account

BATCH = 1000
_CONTINUED = bytes(range(0x80, 0xC0))
"""Bytes in UTF-8 after the first of a character."""
_WIDE = re.compile(rb"[\xf0-\xff]")
_ESCAPED_WIDE = re.compile(rb"\\u[dD][89abAB]")
_ESCAPE_LETTERS = 5
"""How many characters an escape has more than what it stands for."""
# A text in quotation marks, or a mark outside of texts; possessive, so that it never goes back.
_MARK = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|(?P<opens>[\[{])|(?P<closes>[\]}])|(?P<separates>,)', re.DOTALL)


def parse_json(text: str | bytes, what: str, account: Account) -> dict[str, Any]:
    """Return a JSON object, in UTF-8; a key that stands in it twice is refused, as readers differ on what it means."""
    account.take(what, "text", len(text))
    try:
        octets = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        size = _memory(octets)
        account.take(what, "text", size)
        account.take(what, "bytes", 2 * size)
        del octets
        text = text if isinstance(text, str) else text.decode()
        _count(text, what, account)
        value = json.loads(text, object_pairs_hook=_unique)
    except FormatError:
        raise
    except ValueError as error:
        msg = f"{what} is not valid JSON: {short(error)}."
        raise FormatError(msg) from error
    if not isinstance(value, dict):
        msg = f"{what} must be a JSON object; got {type(value).__name__}."
        raise FormatError(msg)
    return value


def _memory(text: bytes) -> int:
    """Return the bytes of memory of a text, or of what it is parsed to, if that may be more.

    Of a text in Python each character takes as much as the widest: 1, 2 or 4 bytes.
    """
    letters = len(text.translate(None, _CONTINUED))
    width = 1 if text.isascii() else 4 if _WIDE.search(text) else 2
    bare = text.replace(b"\\\\", b"")  # in which what looks like an escape is one
    escapes = bare.count(b"\\u")
    parsed = letters - (len(text) - len(bare)) // 2 - _ESCAPE_LETTERS * escapes
    wide = 4 if _ESCAPED_WIDE.search(bare) else 2 if escapes else 1
    return max(letters * width, parsed * max(width, wide))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        msg = "a key stands in it twice"
        raise ValueError(msg)
    return found


def require_keys(what: str, held: Mapping[str, Any], wanted: set[str]) -> None:
    """Check that a JSON object has the keys that it must have, and no other."""
    if (missing := wanted - held.keys()) or (unknown := held.keys() - wanted):
        problem = f"lacks {listed(sorted(missing))}" if missing else f"has unknown keys {listed(sorted(unknown))}"
        msg = f"{what} {problem}; expected {listed(sorted(wanted))}."
        raise FormatError(msg)


def _count(text: str, what: str, account: Account) -> None:
    """Account the items and the depth of a JSON text, of which any takes far more memory than its text."""
    items = depth = deepest = 0
    for match in _MARK.finditer(text):
        mark = match.lastgroup
        depth += (mark == "opens") - (mark == "closes")
        items += mark in {"opens", "separates"}
        if depth > deepest:
            deepest = depth
            account.take(what, "depth", depth)
        if items == BATCH:
            account.take(what, "items", items)
            items = 0
    account.take(what, "items", items)
