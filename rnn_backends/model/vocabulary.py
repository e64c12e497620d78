"""Text as token ids and back, for networks over characters or words."""

from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown
from rnn_backends.errors import VocabularyError

MISSING = -1
"""The id of what is not in a vocabulary, before it is refused."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The items that token ids stand for: the characters of a text, or words that are split at white space.

    Parameters
    ----------
    items : str or tuple of str
        Characters, or words; the ids are places among them.
    unknown : str, optional
        The item that stands for all that are not there.
    """

    items: str | tuple[str, ...]
    unknown: str | None = None

    @property
    def unit(self) -> str:
        """The name of an item: a character or a word."""
        return "character" if isinstance(self.items, str) else "word"

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {item: index for index, item in enumerate(self.items)}

    @cached_property
    def other(self) -> int:
        """The id of what is not there: that of the item for unknown ones, or `MISSING`."""
        return MISSING if self.unknown is None else self._ids[self.unknown]

    @cached_property
    def codes(self) -> Host:
        """The code points of the characters, by id."""
        return code_points("".join(self.items))

    @cached_property
    def _table(self) -> Host:
        """The ids of characters by their code points; the last one is that of all that are not there."""
        table = np.full(int(self.codes.max(initial=0)) + 2, self.other, dtype=np.int32)
        table[self.codes] = np.arange(len(self.codes))
        table.flags.writeable = False
        return table

    def ids_of_characters(self, text: str) -> Host:
        """Return the id of each character, and that of `other` for what is not there."""
        return self._table.take(code_points(text), mode="clip")

    def ids_of_words(self, words: list[str]) -> Host:
        """Return the id of each word, and that of `other` for what is not there."""
        return np.fromiter(map(self._ids.get, words, repeat(self.other)), dtype=np.int32, count=len(words))

    def encode(self, text: str) -> Host:
        """Return the token id of each character or word.

        Raises
        ------
        VocabularyError
            An item is not there; the message names the first and where it is.
        """
        return Encoder(self).encode(text, is_last=True)

    def decode(self, ids: Host) -> str:
        """Return the text that token ids spell, with a space between words.

        Raises
        ------
        VocabularyError
            An id is no place in the vocabulary.
        """
        ids = np.asarray(ids, dtype=np.int64)
        outside = (ids < 0) | (ids >= len(self.items))
        if outside.any():
            first = int(ids[outside.argmax()])
            msg = f"the token id {first} is outside the model's vocabulary of {len(self.items)} {self.unit}s."
            raise VocabularyError(msg)
        if isinstance(self.items, str):
            text: str = self.codes[ids].tobytes().decode("utf-32-le", "surrogatepass")
            return text
        return " ".join(map(self.items.__getitem__, ids.tolist()))


class Encoder:
    """A text as token ids, piece by piece; a word may stand in two pieces.

    Parameters
    ----------
    vocabulary : Vocabulary
    where : str, optional
        The name of the text in errors, if it is one of several; places are then counted from its beginning.
    """

    def __init__(self, vocabulary: Vocabulary, where: str | None = None) -> None:
        self._vocabulary = vocabulary
        self._held: list[str] = []
        self._where = where
        self._line, self._columns, self._words = 1, 0, 0

    def encode(self, piece: str, *, is_last: bool = False) -> Host:
        """Return the token ids of the characters or words that end in a piece of the text, or with its last one.

        Raises
        ------
        VocabularyError
            As of `Vocabulary.encode`, with the place in the whole text.
        """
        return self._of_characters(piece) if self._vocabulary.unit == "character" else self._of_words(piece, is_last)

    def _of_characters(self, piece: str) -> Host:
        ids = self._vocabulary.ids_of_characters(piece)
        if ids.size and ids.min() == MISSING:
            at = int(ids.argmin())
            self._count(piece[:at])
            place = f"at line {self._line}, column {self._columns + 1}"
            if self._where is not None:
                place = f"at place {at + 1} of {self._where}"
            count = len(self._vocabulary.items)
            msg = f"the character {shown(piece[at])} {place} is not in the model's vocabulary of {count} characters."
            raise VocabularyError(msg)
        self._count(piece)
        return ids

    def _count(self, text: str) -> None:
        ends = text.count("\n")
        self._line += ends
        self._columns = len(text) - text.rfind("\n") - 1 + (0 if ends else self._columns)

    def _of_words(self, piece: str, is_last: bool) -> Host:
        words = piece.split()
        if self._held:
            if words and not piece[0].isspace():
                self._held.append(words.pop(0))
                is_ended = bool(words) or piece[-1].isspace()
            else:
                is_ended = bool(piece)
            if is_ended or is_last:
                words.insert(0, "".join(self._held))
                self._held.clear()
        if words and piece and not is_last and not piece[-1].isspace():
            self._held.append(words.pop())
        ids = self._vocabulary.ids_of_words(words)
        if ids.size and ids.min() == MISSING:
            at = int(ids.argmin())
            place, count = f"word {self._words + at + 1} of {self._where or 'the text'}", len(self._vocabulary.items)
            msg = (
                f"the word {shown(words[at])}, {place}, is not in the model's vocabulary of {count} words; leave it "
                "out, or give a model with `unknown`, an item for such words."
            )
            raise VocabularyError(msg)
        self._words += len(words)
        return ids


def code_points(text: str) -> Host:
    """Return the code point of each character."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def require_vocabulary(vocabulary: Vocabulary | None) -> Vocabulary:
    """Return a vocabulary, which must be there."""
    if vocabulary is None:
        msg = "text needs a model with a vocabulary, and this one has none; pass token ids instead."
        raise VocabularyError(msg)
    return vocabulary


def are_texts(value: Any) -> bool:
    """Return whether an argument is several texts."""
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(each, str) for each in value)
