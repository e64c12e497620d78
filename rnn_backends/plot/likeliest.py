"""The likeliest outputs of each step, as a table of which the shades are probabilities."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from rnn_backends.core.arrays import ArrayLike, Host
from rnn_backends.core.messages import got, shown
from rnn_backends.core.parameters import require_choice, require_flag
from rnn_backends.errors import ArgumentError, ShapeError
from rnn_backends.model.init import require_integer
from rnn_backends.plot.arguments import MOST_INCHES, held_there, of_sequence, require_pyplot, require_steps
from rnn_backends.plot.letters import as_items, as_labels, require_texts, ticks_of, widest

CELL, ROW = 0.27, 0.3
"""Inches of a cell's least width and of its height."""
LARGEST, SMALLEST = 10.0, 3.0
"""Sizes of letters in a cell, in points."""
ROWS = ("steps", "sequences")


def probabilities(
    p: ArrayLike,
    *,
    vocabulary: str | Sequence[str] | Host | None = None,
    labels: Sequence[object] | Host | None = None,
    top: int = 8,
    rows: str = "steps",
    sequence: int = 0,
    batch_first: bool = False,
    ax: Any = None,
) -> Any:
    """Draw the likeliest outputs of each step: a column a step, the likeliest on top, its probability as shade.

    Parameters
    ----------
    p : array, shape (seq_len, batch, output_size), (seq_len, output_size), (batch, output_size) or (output_size,)
        What `rnn_backends.RNN.probabilities` returns.  A single row, of shape (output_size,), is one column.
    vocabulary : str, or list, tuple or array of str, optional
        What each output stands for: characters, words or classes; by default its number is shown.
    labels : sequence, optional
        One for each column, below it: of steps, such as the characters of the text that was read.
    top : int, default 8
        How many outputs to show of a step.
    rows : {"steps", "sequences"}, default "steps"
        Of a `p` of two axes, what its rows are: "sequences" where the model reads its sequences as a whole and `p` is
        (batch, output_size), which its shape does not say.
    sequence : int, default 0
        The sequence of the batch to draw, of a `p` of three axes.
    batch_first : bool, default False
        Whether the model has ``batch_first``, so that a `p` of three axes has (batch, seq_len, output_size); a `p` of
        fewer axes is the same either way.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure, which is as wide as there are steps.

    Returns
    -------
    matplotlib.axes.Axes
        A space is shown as an open box, the end of a line as an arrow.  Columns of padding, whose outputs are all 0,
        and of NaN have no text; nor has any, where letters of 3 points are too wide for the columns of `ax`.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError
        `p` holds no probabilities, the sequence is not in the batch, `top` is less than 1, `vocabulary` or `labels`
        are of another number than outputs or columns, or a new figure would be wider or higher than 200 inches.
    ModuleNotFoundError
        There is no matplotlib.

    Examples
    --------
    >>> from rnn_backends import plot
    >>> p = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]
    >>> ax = plot.probabilities(p, vocabulary="abc", labels="xy", top=2)
    >>> [text.get_text() for text in ax.texts]
    ['a', 'b', 'c', 'b']
    >>> plot.probabilities(p, rows="sequences").get_xlabel()
    'sequence'
    """
    require_integer("top", top, 1)
    require_flag("batch_first", batch_first)
    require_choice("rows", rows, ROWS)
    given = held_there("p", p)
    if rows == "sequences" and given.ndim == 3:
        msg = f"`p` of shape {shown(tuple(given.shape))} has steps; rows='sequences' is of (batch, output_size) alone."
        raise ShapeError(msg)
    held = _require_probabilities(of_sequence("p", given, sequence, batch_first=batch_first))
    each = "column" if given.ndim == 1 else rows.removesuffix("s")
    names = list(map(str, range(held.shape[1])))
    if vocabulary is not None:
        items = require_texts("vocabulary", as_items("vocabulary", vocabulary))
        names = as_labels("vocabulary", items, held.shape[1], "output") or names
    texts = as_labels("labels", labels, len(held), each)
    order = np.argsort(-held, axis=1, kind="stable")[:, :top]
    shades = np.take_along_axis(held, order, axis=1)
    drawn = [[names[output] for output in outputs] for outputs in order]
    pyplot = require_pyplot()
    written = [*chain.from_iterable(drawn), *(texts or ())]
    wide, is_given = max(CELL, widest(written, LARGEST) + 0.1), ax is not None
    if not is_given:
        size = _require_size(given, wide, shades.shape, batch_first)
        ax = pyplot.subplots(figsize=size, layout="constrained")[1]
    image = ax.imshow(shades.T, aspect="auto", interpolation="nearest", cmap="viridis", vmin=0.0, vmax=1.0)
    ax.figure.colorbar(image, ax=ax, label="probability", pad=0.01)  # which takes some of the room
    letters = _fitting(ax, len(shades), wide, max(map(len, written))) if is_given else LARGEST
    _write(ax, shades, drawn, letters)
    _axis_of_columns(ax, "" if given.ndim == 1 else each, texts, letters)
    return ax


def _require_probabilities(held: Host) -> Host:
    """Return probabilities as rows, of which there must be one."""
    held = held[None] if held.ndim == 1 else held
    require_steps("p", held)
    if ((held < 0) | (held > 1.001)).any():
        msg = f"`p` must hold probabilities, from 0 to 1; it holds values from {held.min():.4g} to {held.max():.4g}."
        raise ArgumentError(msg)
    return held


def _require_size(given: Any, wide: float, shape: tuple[int, ...], batch_first: bool) -> tuple[float, float]:
    """Return the width and height of a new figure, which must be within bounds."""
    count, top = shape
    width, height = max(4.0, wide * count + 1.4), ROW * top + 0.9
    if height > MOST_INCHES:
        most = int((MOST_INCHES - 0.9) / ROW)
        msg = f"`top` must be at most {most}, for a figure of at most {MOST_INCHES} inches; got {got(top)}."
        raise ArgumentError(msg)
    if width > MOST_INCHES:
        part = f"{':, ' if given.ndim == 3 and batch_first else ''}:{int((MOST_INCHES - 1.4) / wide)}"
        msg = (
            f"`p` has {count} columns to draw, {width:.0f} inches wide, of at most {MOST_INCHES}; draw a part, such as "
            f"p[{part}], or give `ax`."
        )
        raise ArgumentError(msg)
    return width, height


def _fitting(ax: Any, count: int, wide: float, letters: int) -> float:
    """Return the size of letters that fit the columns of axes, at 10 points as wide as given; 0 if not legible."""
    room = (ax.bbox.width / count - letters / 2) / ax.figure.dpi  # each letter may be rounded up to pixels
    size = min(LARGEST, LARGEST * room / wide)
    return size if size >= SMALLEST else 0.0


def _write(ax: Any, shades: Host, drawn: list[list[str]], size: float) -> None:
    """Write the names of outputs into the cells of (seq_len, top) probabilities, and number the ranks."""
    for step, (column, names) in enumerate(zip(shades, drawn, strict=True)):
        if not size or not column.any() or not np.isfinite(column).all():
            continue
        for rank, (probability, name) in enumerate(zip(column, names, strict=True)):
            ink = "black" if probability > 0.6 else "white"
            ax.text(step, rank, name, ha="center", va="center", color=ink, fontsize=size)
    ax.set_ylabel("rank")
    ax.set_yticks(range(shades.shape[1]), labels=[str(1 + rank) for rank in range(shades.shape[1])])
    ax.set_xticks(np.arange(0.5, len(shades) - 1), minor=True)
    ax.grid(which="minor", axis="x", color="white", linewidth=0.6)
    ax.tick_params(which="minor", length=0)


def _axis_of_columns(ax: Any, name: str, labels: list[str] | None, size: float) -> None:
    """Name the columns; a single row is of a step or a sequence, which nobody has said."""
    ax.set_xlabel(name)
    if labels is not None and size:
        ax.set_xticks(range(len(labels)), labels=labels, fontsize=size)
    elif labels is not None:
        ticks_of(ax.xaxis, labels, ax.bbox.width / ax.figure.dpi)
    elif name:
        ax.locator_params(axis="x", integer=True)
    else:
        ax.set_xticks([])
