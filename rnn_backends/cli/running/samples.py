"""Sequences of different lengths, run in batches of similar ones, with their results in the order of the sequences."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.errors import ArgumentError
from rnn_backends.model.batches import packs
from rnn_backends.model.chunks import sizes
from rnn_backends.model.placed import Placed

MOST = 256
"""The sequences of a batch at most: more are not faster, and the longest one holds up all."""
BATCHES = 8
"""The batches that are chosen from a window of sequences, whose results are held until all are there."""


class Sample(NamedTuple):
    """A sequence with its id in the input."""

    label: int | str
    x: Host
    targets: Host | None = None


class Batch(NamedTuple):
    """Samples as arrays of one call, and their places in the window that they come from."""

    places: list[int]
    x: Host
    lengths: Host | None
    targets: Host | None


def require_no_noise_in_lines(placed: Placed) -> None:
    """Check that what a network gives of a sequence does not depend on the others of its batch."""
    if placed.network.noise is not None:
        msg = (
            "the sequences of lines and rows are batched by their lengths, and what the noise of this model draws "
            "depends on the place in a batch; give them as an array in .npy or .npz, or take a model without noise."
        )
        raise ArgumentError(msg)


def windows(samples: Iterable[Iterable[Sample]], placed: Placed) -> Iterator[tuple[int, list[Sample]]]:
    """Yield samples as they come, as many together as make some batches, with the steps that a batch may have."""
    steps = 0
    for arrived in samples:
        window: list[Sample] = []
        total = 0
        for sample in arrived:
            steps = steps or sizes(placed, sample.x.shape[-1] if sample.x.ndim > 1 else 1, 1, is_zeroed=True)[0]
            window.append(sample)
            total += len(sample.x)
            if total >= BATCHES * steps or len(window) >= BATCHES * MOST:
                yield steps, window
                window, total = [], 0
        if window:
            yield steps, window


def batches(window: Sequence[Sample], steps: int, *, batch_first: bool) -> Iterator[Batch]:
    """Yield the samples of a window in batches of similar lengths, of no more steps than a batch may have."""
    for places in packs(np.array([len(sample.x) for sample in window]), steps):
        for start in range(0, len(places), MOST):
            yield _padded(window, places[start : start + MOST].tolist(), batch_first)


def _padded(window: Sequence[Sample], places: list[int], batch_first: bool) -> Batch:
    chosen = [window[place] for place in places]
    lengths = np.array([len(sample.x) for sample in chosen])
    x = _stacked([sample.x for sample in chosen], batch_first)
    targets = [sample.targets for sample in chosen if sample.targets is not None]
    classes = None
    if targets:
        classes = np.array(targets) if targets[0].ndim == 0 else _stacked(targets, batch_first)
    return Batch(places, x, None if (lengths == lengths[0]).all() else lengths, classes)


def _stacked(arrays: list[Host], batch_first: bool) -> Host:
    longest = max(map(len, arrays))
    like = [each for each in arrays if len(each)] or arrays  # one without steps may be of ids or of features
    whole = np.zeros((len(arrays), longest, *like[0].shape[1:]), np.result_type(*{each.dtype for each in like}))
    for row, array in zip(whole, arrays, strict=True):
        if len(array):
            row[: len(array)] = array
    return whole if batch_first else whole.swapaxes(0, 1)
