"""Names and labels: what may be given as such, how they are shown, and how much room they take."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnn_backends.core.messages import got
from rnn_backends.errors import ArgumentError, ShapeError

TICK = 10.0
"""The size of letters at ticks, in points."""
POINTS = 72.0


def width_of_text(text: str, size: float) -> float:
    """Return how wide a text will be, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    is_math = "$" in text.replace(r"\$", "")
    plain = text if is_math else text.replace(r"\$", "$")
    width, _, _ = text_to_path.get_text_width_height_descent(plain, FontProperties(size=size), is_math)
    return float(width) / POINTS


def widest(texts: Sequence[str], size: float) -> float:
    """Return how wide the widest of several texts will be, in inches."""
    return max((width_of_text(text, size) for text in set(texts)), default=0.0)


def as_items(name: str, items: Any) -> list[Any]:
    """Return the characters of a text, or the items of a sequence, as a list; sets and mappings have no order."""
    is_ordered = isinstance(items, Sequence) and not isinstance(items, (bytes, bytearray, memoryview))
    if not is_ordered and not (isinstance(items, np.ndarray) and items.ndim == 1):
        msg = f"`{name}` must be a str, a list, a tuple or an array of one axis; got {type(items).__name__}."
        raise ArgumentError(msg)
    return list(items)


def require_texts(name: str, items: list[Any]) -> list[str]:
    """Check that each item is a text."""
    for item in items:
        if not isinstance(item, str):
            msg = f"`{name}` must hold str alone; it holds {got(item)} of {type(item).__name__}."
            raise ArgumentError(msg)
    return items


def as_labels(name: str, labels: Any, count: int, each: str) -> list[str] | None:
    """Return labels as texts that show white space; there must be one for each of what is labelled."""
    if labels is None:
        return None
    items = as_items(name, labels)
    if len(items) != count:
        msg = f"`{name}` must hold {count} items, one for each {each}; got {len(items)}."
        raise ShapeError(msg)
    return [visible(got(item) if type(item) is int else str(item)) for item in items]


def visible(text: str, longest: int = 24) -> str:
    """Return a text with marks for white space, without what matplotlib reads as mathematics, and shortened."""
    marks = {" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5"}
    shown = marks.get(text) or "".join(each if each.isprintable() else "\ufffd" for each in text)
    return (shown if len(shown) <= longest else f"{shown[: longest - 1]}\u2026").replace("$", r"\$")


def stands_upright(labels: Sequence[str]) -> bool:
    """Return whether labels at ticks are too wide to stand side by side."""
    return widest(labels, TICK) > 0.24


def ticks_of(axis: Any, labels: list[str], room: float) -> None:
    """Set labels at the ticks of an axis, as many as there is room for, in inches; wide ones stand upright."""
    is_upright = stands_upright(labels)
    each = 0.17 if is_upright else max(0.13, widest(labels, TICK) + 0.03)
    every = max(1, -(-len(labels) // max(1, int(room / each))))
    at = range(0, len(labels), every)
    shown = [labels[index] for index in at]
    axis.set_ticks(list(at), labels=shown, rotation=90 if is_upright else 0, fontsize=TICK)
