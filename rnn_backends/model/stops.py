"""Texts, or token ids, before which what a network draws ends."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rnn_backends.backends.transfer import as_host
from rnn_backends.core.arrays import is_integer
from rnn_backends.core.checks import require_range
from rnn_backends.core.messages import got, shown
from rnn_backends.errors import ArgumentError, DTypeError, VocabularyError
from rnn_backends.model.vocabulary import Vocabulary, are_texts


def stops_of(stop: Any, size: int, vocabulary: Vocabulary | None) -> list[list[int]]:
    """Return the token ids of each of the texts, or of the sequences of ids, that `generate` is to stop at.

    Parameters
    ----------
    stop : str or sequence of str, or sequence of int or of sequences of int, or None
    size : int
        The number of token ids.
    vocabulary : Vocabulary or None
        That of a text; None where the prompt is token ids.
    """
    if stop is None:
        return []
    if vocabulary is not None:
        texts = [stop] if isinstance(stop, str) else list(stop) if isinstance(stop, (list, tuple)) else [stop]
        if wrong := [each for each in texts if not isinstance(each, str)]:
            msg = f"`stop` must be a text or several, as the prompt is text; got {got(wrong[0])}."
            raise DTypeError(msg)
        return [ids_of_stop("`stop`", text, vocabulary) for text in texts]
    many = stop if isinstance(stop, (list, tuple)) and any(hasattr(each, "__len__") for each in stop) else [stop]
    return [_ids(each, size) for each in many]


def ids_of_stop(name: str, text: str, vocabulary: Vocabulary) -> list[int]:
    """Return the token ids of a text to stop at, all of which the model can draw."""
    unit = vocabulary.unit
    items = text if unit == "character" else text.split()
    if not items:
        msg = f"{name} must hold at least one {unit}; got {shown(text)}."
        raise ArgumentError(msg)
    for item in items:
        if item not in vocabulary.items:  # it may not become the item for unknown ones, which is drawn
            absent = f"the {unit} {shown(item)} is not in the model's vocabulary"
            msg = f"{name} {shown(text)} is never drawn: {absent}."
            raise VocabularyError(msg)
    return [int(token) for token in vocabulary.encode(text)]


def _ids(stop: Any, size: int) -> list[int]:
    ids = None if isinstance(stop, str) or are_texts(stop) else as_host("stop", stop)
    if ids is None or len(ids.shape) != 1 or not ids.size or not is_integer(ids):
        msg = f"`stop` must be token ids, or several sequences of them, as the prompt is token ids; got {got(stop)}."
        raise DTypeError(msg)
    require_range("stop", ids, size, "token id")
    return [int(token) for token in ids]


class Ending:
    """The ends of results: any of several sequences of tokens, found in tokens that come one by one.

    Parameters
    ----------
    stops : sequence of list of int
    """

    def __init__(self, stops: Sequence[list[int]]) -> None:
        self._stops = stops
        self.reason = "length"

    def before(self, tokens: Iterable[int]) -> Iterator[int]:
        """Yield the tokens before the first end, of those that end at one place the longest.

        What may be the beginning of one is held back until it is known.
        """
        held: list[int] = []
        for token in tokens:
            held.append(token)
            found = max((len(stop) for stop in self._stops if held[-len(stop) :] == stop), default=0)
            if found:
                self.reason = "stop"
                yield from held[:-found]
                return
            sure = len(held) - max((_begun(stop, held) for stop in self._stops), default=0)
            yield from held[:sure]
            del held[:sure]
        yield from held


def _begun(stop: list[int], held: list[int]) -> int:
    """Return how many tokens of a stop the held ones end with."""
    return next((size for size in range(min(len(stop) - 1, len(held)), 0, -1) if held[-size:] == stop[:size]), 0)
