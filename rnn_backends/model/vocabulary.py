"""Text as token ids and back, for networks over characters or words."""

from functools import cached_property
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.errors import VocabularyError


class Vocabulary:
    """The items that token ids stand for: the characters of a text, or words that are split at white space.

    Parameters
    ----------
    items : str or tuple of str
        Characters, or words; the ids are places among them.
    unknown : str, optional
        The item that stands for all that are not there.
    """

    def __init__(self, items: str | tuple[str, ...], unknown: str | None = None) -> None:
        self.items = items
        self._unknown = unknown

    @property
    def unit(self) -> str:
        """The name of an item: a character or a word."""
        return "character" if isinstance(self.items, str) else "word"

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {item: index for index, item in enumerate(self.items)}

    def encode(self, text: str) -> Host:
        """Return the token id of each character or word.

        Raises
        ------
        VocabularyError
            An item is not there; the message names the first and where it is.
        """
        items = text if isinstance(self.items, str) else text.split()
        known = self._ids
        if self._unknown is not None:
            other = known[self._unknown]
            return np.array([known.get(item, other) for item in items], dtype=np.int32)
        try:
            return np.array([known[item] for item in items], dtype=np.int32)
        except KeyError as error:
            (item,) = error.args
            raise VocabularyError(self._refusal(item, text)) from None

    def _refusal(self, item: str, text: str) -> str:
        if self.unit == "word":
            place, where = text.split().index(item) + 1, "word"
            return (
                f"the word {item!r}, {where} {place} of the text, is not in the model's vocabulary of "
                f"{len(self.items)} words; leave it out, or give a model with `unknown`, an item for such words."
            )
        before = text[: text.index(item)]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        where = f"at line {line}, column {column}"
        return f"the character {item!r} {where} is not in the model's vocabulary of {len(self.items)} characters."

    def decode(self, ids: Host) -> str:
        """Return the text that token ids spell, with a space between words.

        Raises
        ------
        VocabularyError
            An id is no place in the vocabulary.
        """
        if outside := [int(index) for index in ids if not 0 <= index < len(self.items)]:
            msg = f"the token id {outside[0]} is outside the model's vocabulary of {len(self.items)} {self.unit}s."
            raise VocabularyError(msg)
        return ("" if isinstance(self.items, str) else " ").join(self.items[index] for index in ids)


def require_vocabulary(vocabulary: Vocabulary | None) -> Vocabulary:
    """Return a vocabulary, which must be there."""
    if vocabulary is None:
        msg = "text needs a model with a vocabulary, and this one has none; pass token ids instead."
        raise VocabularyError(msg)
    return vocabulary


def are_texts(value: Any) -> bool:
    """Return whether an argument is several texts."""
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(each, str) for each in value)
