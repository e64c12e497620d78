"""Tokens of Python and C++, the same under every Python: white space, line breaks and comments are left out."""

import keyword
import re
from itertools import pairwise
from typing import NamedTuple

_STRING = r"""
    (?P<string>(?i:[rbuf]{0,2})(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''
      |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))"""
_REST = r"""
    |(?P<name>[^\W\d]\w*)
    |(?P<number>\.?\d(?:[eE][+-]|[\w.])*)
    |(?P<operator>\.\.\.|(?:\*\*|//|>>|<<)=?|->|::|&&|\|\||\+\+|--|[-+*/%@&|^=!<>:]=|[^\w\s])
    |(?P<space>\s+)"""
_PATTERNS = {
    ".py": re.compile(rf"(?sx) (?P<comment>\#[^\n]*) |{_STRING} {_REST}"),
    "": re.compile(rf"(?sx) (?P<comment>//[^\n]*|/\*.*?\*/) |{_STRING} {_REST}"),
}
SUFFIXES = (".py", ".cu", ".cpp", ".c", ".h")
_CLOSING = (")", "]", "}")


class Token(NamedTuple):
    """A token, and where in the text it begins and ends."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def is_identifier(self) -> bool:
        return self.kind == "name" and not keyword.iskeyword(self.text)


def tokens(text: str, suffix: str) -> list[Token]:
    """Return the tokens of a text of a file with that suffix, without commas before a closing bracket."""
    pattern = _PATTERNS.get(suffix, _PATTERNS[""])
    kinds = [(match.lastgroup or "", match) for match in pattern.finditer(text)]
    found = [Token(kind, match[0], *match.span()) for kind, match in kinds if kind not in {"space", "comment"}]
    trailing = {a.start for a, b in pairwise(found) if a.text == "," and b.text in _CLOSING}
    return [token for token in found if token.start not in trailing]


def renaming(wanted: list[Token], found: list[Token]) -> dict[str, str] | None:
    """Return the identifiers that differ, each with what stands for it, or None where more than names differs."""
    names: dict[str, str] = {}
    for a, b in zip(wanted, found, strict=True):
        if a.is_identifier and b.is_identifier:
            if names.setdefault(a.text, b.text) != b.text:
                return None
        elif a.text != b.text:
            return None
    return names if len({*names.values()}) == len(names) else None


def renamed(text: str, suffix: str, names: dict[str, str]) -> str:
    """Return the text with its identifiers renamed."""
    parts, end = [], 0
    for token in tokens(text, suffix):
        parts += [text[end : token.start], names.get(token.text, token.text) if token.is_identifier else token.text]
        end = token.end
    return "".join([*parts, text[end:]])
