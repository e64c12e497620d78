"""Checks of what is to be drawn, and its way to the host."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnn_backends.backends.transfer import as_host, to_numpy
from rnn_backends.core.arrays import ArrayLike, Host
from rnn_backends.core.parameters import require_flag
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError
from rnn_backends.model.init import require_integer


def require_pyplot() -> Any:
    """Return matplotlib.pyplot."""
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        msg = "rnn_backends.plot needs matplotlib, which is not installed: pip install 'rnn-backends[plot]'."
        raise ModuleNotFoundError(msg, name=error.name) from error
    return plt


def on_host(name: str, array: ArrayLike) -> Host:
    """Return an array of numbers of any backend, or nested lists, as float64 on the host."""
    held = to_numpy(as_host(name, array))
    if held.dtype.kind not in "fiu":
        msg = f"`{name}` must hold real numbers; got {held.dtype}."
        raise DTypeError(msg)
    return held.astype(np.float64)


def of_sequence(name: str, array: Host, sequence: int, batch_first: bool) -> Host:
    """Return the steps of one sequence of (seq_len, batch, size), which batch_first exchanges: (seq_len, size)."""
    require_flag("batch_first", batch_first)
    batch = array.shape[0 if batch_first else 1]
    require_sequence(name, sequence, batch)
    return array[sequence] if batch_first else array[:, sequence]


def require_sequence(name: str, sequence: int, batch: int) -> None:
    """Check that a batch has a sequence of some number."""
    require_integer("sequence", sequence, 0)
    if sequence >= batch:
        held = f"0 to {batch - 1}" if batch else "none"
        msg = f"`sequence` must be one of the {batch} that `{name}` holds, {held}; got {sequence}."
        raise ArgumentError(msg)


def require_steps(name: str, array: Host) -> None:
    """Check that an array has steps and units."""
    if array.ndim != 2 or 0 in array.shape:
        msg = f"`{name}` must have steps to draw, (seq_len, size) or (seq_len, batch, size); got shape {array.shape}."
        raise ShapeError(msg)


def as_labels(name: str, labels: Sequence[object] | None, count: int, each: str) -> list[str] | None:
    """Return labels as texts that show white space; there must be one for each of what is labelled."""
    if labels is None:
        return None
    if len(labels) != count:
        msg = f"`{name}` must hold {count} items, one for each {each}; got {len(labels)}."
        raise ShapeError(msg)
    return [visible(str(label)) for label in labels]


def visible(text: str, longest: int = 24) -> str:
    """Return a text with marks for white space, without what matplotlib reads as mathematics, and shortened."""
    marks = {" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5"}
    shown = marks.get(text) or "".join(each if each.isprintable() else "\ufffd" for each in text)
    return (shown if len(shown) <= longest else f"{shown[: longest - 1]}\u2026").replace("$", r"\$")


def ticks_of(axis: Any, labels: list[str], room: float) -> None:
    """Set labels at the ticks of an axis, as many as there is room for, in inches; long ones stand upright."""
    longest = max(len(label.replace("\\", "")) for label in labels)
    each = 0.13 if longest <= 2 else 0.16
    every = max(1, -(-len(labels) // max(1, int(room / each))))
    at = range(0, len(labels), every)
    axis.set_ticks(list(at), labels=[labels[index] for index in at], rotation=0 if longest <= 2 else 90)
