"""Messages of the library in the words of the command line: its options, and what is done without Python."""

import ast
import re
import shlex
from collections.abc import Mapping
from functools import cache
from typing import Any

from rnn_backends.formats.advice import TEXT, VALUE
from rnn_backends.formats.options import OPTIONS

PHRASES: Mapping[str, str] = {
    "argument backend=": "option --backend",
    "must be a callable or one of": "must be one of",
    "a tuple with one for each": "one for each, between commas",
    "; make it with RNN(layers, readout=Linear(...))": "",
    "for a single one, pass x[:length] instead": "a single one is cut where it ends",
    "pass token ids instead": "give it token ids in a .npy file instead",
}
"""Phrases of the library that only its callers in Python can follow, and those of the commands."""


def spelled(message: str) -> str:
    """Return a message with its options as the command line spells them; what stands in quotation marks is kept."""
    return _pattern().sub(_replacement, message)


def as_words(name: str, value: Any) -> list[str]:
    """Return the words of the command line that give an option of `rnn_backends.load` a value."""
    dashed, kind = name.replace("_", "-"), OPTIONS[name].kind if name in OPTIONS else None
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{dashed}"]
    if kind == "key":
        return [word for part in ((value,) if isinstance(value, str) else value) for word in (f"--{dashed}", part)]
    if isinstance(value, Mapping):
        value = ",".join(f"{each}={text}" for each, text in value.items())
    elif isinstance(value, (list, tuple)):
        value = ",".join(each if isinstance(each, str) else "+".join(part or "" for part in each) for each in value)
    return [f"--{dashed}={value}"] if str(value).startswith("-") else [f"--{dashed}", str(value)]


def as_options(given: Mapping[str, Any]) -> str:
    """Return what to add to a command for options of `rnn_backends.load`, as a shell reads it."""
    return shlex.join([word for name, value in given.items() for word in as_words(name, value)])


@cache
def _pattern() -> re.Pattern[str]:
    """Return what finds options in a message, and texts in quotation marks, in which there are none."""
    names = "|".join((*OPTIONS, "backend"))
    apart = "|".join(name for name in OPTIONS if "_" in name)  # what is no word but an option's name
    phrases = "|".join(map(re.escape, PHRASES))
    begin, end = r"(?<![\w./`-])", r"(?![\w/`-]|\.\w)"  # or it is a part of a path
    return re.compile(
        rf"(?<!\w)(?:{TEXT})"
        rf"|(?P<phrase>{phrases})"
        r"|\b(?P<argument>mask|h_0)=(?P<shown>[^,;.]*?) ?at each call"
        rf"|`(?P<quoted>{'|'.join(OPTIONS)})`"
        rf"|{begin}(?P<name>{names})=(?P<value>{VALUE})(?P<other>, or (?:True|False)\b)?"
        rf"|{begin}(?P<open>{names})="
        rf"|{begin}(?P<bare>{apart}){end}"
    )


def _replacement(match: re.Match[str]) -> str:
    found = match.groupdict()
    if name := found["argument"]:  # of a call, for which `run` has no option
        shown = found["shown"]
        return f"{name}{shown and f', {shown},'} in the .npz file of the input"
    if found["phrase"] is not None:
        return PHRASES[found["phrase"]]
    if name := found["quoted"] or found["open"] or found["bare"]:
        return f"--{name.replace('_', '-')}"
    if (name := found["name"]) is None:
        return match[0]
    try:
        value = ast.literal_eval(found["value"])
    except (ValueError, SyntaxError):
        return f"--{name.replace('_', '-')} {found['value']}"
    other = f", or {as_words(name, not value)[0]}" if found["other"] else ""
    return f"{as_options({name: value})}{other}"
