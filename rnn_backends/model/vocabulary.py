"""Text as token ids and back, for networks over characters."""

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.errors import VocabularyError


def encode(text: str, vocabulary: str | None) -> Host:
    """Return the token id of each character; the ids are places in the vocabulary.

    Raises
    ------
    VocabularyError
        There is no vocabulary, or it lacks a character; the message names the first and where it is.
    """
    ids = {character: index for index, character in enumerate(require_vocabulary(vocabulary))}
    try:
        return np.array([ids[character] for character in text], dtype=np.int32)
    except KeyError as error:
        (character,) = error.args
        before = text[: text.index(character)]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        where = f"at line {line}, column {column}"
        msg = f"the character {character!r} {where} is not in the model's vocabulary of {len(ids)} characters."
        raise VocabularyError(msg) from None


def decode(ids: Host, vocabulary: str | None) -> str:
    """Return the text that token ids spell.

    Raises
    ------
    VocabularyError
        There is no vocabulary, or an id is no place in it.
    """
    characters = require_vocabulary(vocabulary)
    if outside := [int(index) for index in ids if not 0 <= index < len(characters)]:
        msg = f"the token id {outside[0]} is outside the model's vocabulary of {len(characters)} characters."
        raise VocabularyError(msg)
    return "".join(characters[index] for index in ids)


def require_vocabulary(vocabulary: str | None) -> str:
    """Return a vocabulary, which must be there."""
    if vocabulary is None:
        msg = "text needs a model with a vocabulary, and this one has none; pass token ids instead."
        raise VocabularyError(msg)
    return vocabulary
