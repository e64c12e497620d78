"""Prompts of the command `generate`, and how results are spelt: text, token ids, or values."""

import argparse
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np

from rnn_backends.cli.mistakes import quoted
from rnn_backends.cli.paths import is_file
from rnn_backends.cli.running.streams import STDIN, reading
from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import got, shown, shown_path
from rnn_backends.errors import ArgumentError, ShapeError
from rnn_backends.model.stops import ids_of_stop
from rnn_backends.model.vocabulary import Vocabulary


def prompt_text(given: str | None, wanted: str) -> str:
    """Return the prompt of the command line, or of stdin without the line break that ends it."""
    if given is None:
        msg = f"give a PROMPT of {wanted} after MODEL, or - to read it from stdin"
        raise argparse.ArgumentError(None, msg)
    return _stdin() if given == "-" else given


def misread(given: str | None) -> str | None:
    """Return what to remark where a prompt is not what somebody may take it for: the text of a file, or of stdin."""
    if given is None:
        is_piped = sys.stdin is not None and not sys.stdin.closed and _is_piped(sys.stdin)
        return "stdin is not read; to continue what it brings, give - as PROMPT" if is_piped else None
    if given != "-" and is_file(given):
        name = quoted(given, "FILE")
        return f"PROMPT is taken as text; to continue the text of the file '{shown_path(given)}', give - < {name}"
    return None


def _is_piped(stream: TextIO) -> bool:
    """Return whether a stream is a pipe or a file, which somebody gives; a closed or an empty one is none."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def require_prompt(size: int, wanted: str) -> None:
    """Check that a prompt holds something."""
    if not size:
        msg = f"PROMPT is empty; give {wanted}"
        raise argparse.ArgumentError(None, msg)


def _stdin() -> str:
    """Return the text of stdin, without one line break at its end: `echo` writes one that is not meant."""
    if sys.stdin is None:  # as Python has it where it is closed
        msg = "PROMPT is -, and stdin is closed; write the prompt itself."
        raise OSError(msg)
    with reading(STDIN) as reader:
        text = "".join(reader.texts())
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


@dataclass(frozen=True)
class Notation:
    """Tokens on the command line: the characters or words of a vocabulary, or else their ids.

    Parameters
    ----------
    vocabulary : Vocabulary, optional
    size : int
        The number of token ids.
    """

    vocabulary: Vocabulary | None
    size: int

    @property
    def unit(self) -> str:
        """The name of a token."""
        return "token id" if self.vocabulary is None else self.vocabulary.unit

    @property
    def between(self) -> str:
        """Stands between two results: texts may have lines of their own."""
        return "\n" if self.vocabulary is None else "\n---\n"

    @property
    def end(self) -> str:
        """Stands after the last result: nothing after a text, so that no line break is there that was not drawn."""
        return "\n" if self.vocabulary is None else ""

    def prompt(self, given: str | None) -> tuple[str | list[int], Host]:
        """Return the prompt as it is reported and as token ids; a text begins with a line break where none is given."""
        if self.vocabulary is None:
            wanted = "token ids, such as '3 1 4'"
            numbers = self._numbers("PROMPT", prompt_text(given, wanted))
            require_prompt(len(numbers), wanted)
            return numbers, np.array(numbers, dtype=np.int32)
        wanted = f"at least one {self.unit}"
        text = "\n" if given is None and "\n" in self.vocabulary.items else prompt_text(given, wanted)
        ids = self.vocabulary.encode(text)
        require_prompt(ids.size, wanted)
        return text, ids

    def stop(self, text: str) -> list[int]:
        """Return the token ids of a text to stop at, all of which the model can draw."""
        if self.vocabulary is None:
            ids = self._numbers("--stop", text)
            if not ids:
                msg = f"--stop must hold at least one {self.unit}; got {shown(text)}"
                raise argparse.ArgumentError(None, msg)
            return ids
        return ids_of_stop("--stop", text, self.vocabulary)

    def unknown(self, ids: Sequence[int]) -> str | None:
        """Return a remark on the tokens of a prompt that stand for what is not in the vocabulary."""
        count = 0 if self.vocabulary is None else sum(token == self.vocabulary.other for token in ids)
        return f"{count} of the {len(ids)} {self.unit}s of PROMPT are not in the vocabulary" if count else None

    def _numbers(self, name: str, text: str) -> list[int]:
        """Return token ids between white space or commas."""
        found = [part for part in re.split(r"[\s,]+", text) if part]
        if odd := next((part for part in found if not re.fullmatch(r"-?[0-9]{1,4000}", part)), None):
            msg = (
                f"{name} must hold token ids between spaces or commas, for a model without vocabulary; got "
                f"{shown(odd)}."
            )
            raise ArgumentError(msg)
        ids = [int(part) for part in found]
        if wrong := [token for token in ids if not 0 <= token < self.size]:
            msg = f"{name} must hold token ids in 0..{self.size - 1}; got {got(wrong[0])}."
            raise ArgumentError(msg)
        return ids

    def spelt(self, tokens: Iterable[int]) -> Iterator[str]:
        """Yield each token as it stands in the result, with a space before a word or an id that is not the first."""
        between = "" if self.unit == "character" else " "
        for index, token in enumerate(tokens):
            text = str(token) if self.vocabulary is None else self.vocabulary.decode(np.array([token]))
            yield between + text if index else text

    def result(self, tokens: list[int]) -> dict[str, Any]:
        """Return tokens as a record has them: a text or ids, and their number."""
        found = {"ids": tokens} if self.vocabulary is None else {"text": "".join(self.spelt(tokens))}
        return {**found, "tokens": len(tokens)}


def steps(given: str | None, features: int, dtype: str) -> Host:
    """Return the steps of a prompt, one a line or between semicolons, of features between commas or white space."""
    wanted = f"steps of {features} feature{'s' if features > 1 else ''}"
    lines = [line for line in re.split(r"[;\n]", prompt_text(given, wanted)) if line.strip()]
    require_prompt(len(lines), wanted)
    rows = [[_number(index, part) for part in re.split(r"[\s,]+", line) if part] for index, line in enumerate(lines, 1)]
    for index, row in enumerate(rows, 1):
        if len(row) != features:
            msg = (
                f"step {index} of PROMPT holds {len(row)} numbers; give {wanted}, each on a line or between semicolons."
            )
            raise ShapeError(msg)
    with np.errstate(over="ignore"):
        held = np.array(rows).astype("float32" if dtype == "bfloat16" else dtype)
    if (np.isinf(held) & ~np.isinf(rows)).any():
        msg = f"PROMPT holds a number that is too large for {dtype}, the dtype of the model."
        raise ArgumentError(msg)
    return held


def _number(index: int, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        msg = f"step {index} of PROMPT must hold numbers; got {shown(text)}."
        raise ArgumentError(msg) from None
