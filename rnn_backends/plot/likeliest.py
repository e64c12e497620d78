"""The likeliest outputs of each step, as a table of which the shades are probabilities."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from rnn_backends.core.arrays import ArrayLike, Host
from rnn_backends.errors import ArgumentError
from rnn_backends.model.init import require_integer
from rnn_backends.plot.arguments import as_labels, of_sequence, on_host, require_pyplot, require_sequence, require_steps

CELL, ROW, LETTER = 0.27, 0.3, 0.085
"""Inches of a cell's least width and of its height, and of a letter in it."""


def probabilities(
    p: ArrayLike,
    *,
    vocabulary: str | Sequence[str] | None = None,
    labels: Sequence[object] | None = None,
    top: int = 8,
    sequence: int = 0,
    batch_first: bool = False,
    ax: Any = None,
) -> Any:
    """Draw the likeliest outputs of each step: a column a step, the likeliest on top, its probability as shade.

    Parameters
    ----------
    p : array, shape (seq_len, batch, output_size) or (seq_len, output_size)
        What `rnn_backends.RNN.probabilities` returns.  Of a model that reads its sequences as a whole, whose outputs
        are (batch, output_size), there is a column for each sequence.
    vocabulary : str or sequence of str, optional
        What each output stands for: characters, words or classes; by default its number is shown.
    labels : sequence, optional
        One for each step, such as the characters of the text that was read, below the columns.
    top : int, default 8
        How many outputs to show of a step.
    sequence : int, default 0
        The sequence of the batch to draw.
    batch_first : bool, default False
        Whether the model has ``batch_first``, so that `p` has the axes (batch, seq_len, output_size).
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure, which is as wide as there are steps.

    Returns
    -------
    matplotlib.axes.Axes
        A space is shown as an open box, the end of a line as an arrow.  Columns of padding, whose outputs are all 0,
        and of NaN have no text.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError
        `p` holds no probabilities, the sequence is not in the batch, `top` is less than 1, or `vocabulary` or `labels`
        are of another number than outputs or steps.
    ModuleNotFoundError
        There is no matplotlib.

    Examples
    --------
    >>> from rnn_backends import plot
    >>> p = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]
    >>> ax = plot.probabilities(p, vocabulary="abc", labels="xy", top=2)
    >>> [text.get_text() for text in ax.texts]
    ['a', 'b', 'c', 'b']
    """
    require_integer("top", top, 1)
    held = on_host("p", p)
    if held.ndim == 3:
        held = of_sequence("p", held, sequence, batch_first)
    else:
        require_sequence("p", sequence, 1)
    require_steps("p", held)
    if ((held < 0) | (held > 1.001)).any():
        msg = f"`p` must hold probabilities, from 0 to 1; it holds values from {held.min():.4g} to {held.max():.4g}."
        raise ArgumentError(msg)
    names = as_labels("vocabulary", vocabulary, held.shape[1], "output") or list(map(str, range(held.shape[1])))
    texts = as_labels("labels", labels, len(held), "step")
    order = np.argsort(-held, axis=1, kind="stable")[:, :top]
    shades = np.take_along_axis(held, order, axis=1)
    shown = [[names[output] for output in outputs] for outputs in order]
    written = [*chain.from_iterable(shown), *(texts or ())]
    wide = max(CELL, LETTER * max(len(text.replace("\\", "")) for text in written) + 0.1)
    if ax is None:
        size = (max(4.0, wide * len(held) + 1.4), ROW * shades.shape[1] + 0.9)
        ax = require_pyplot().subplots(figsize=size, layout="constrained")[1]
    _draw(ax, shades, shown, texts, wide)
    return ax


def _draw(ax: Any, shades: Host, shown: list[list[str]], labels: list[str] | None, wide: float) -> None:
    """Draw (seq_len, top) probabilities with the names of their outputs."""
    image = ax.imshow(shades.T, aspect="auto", interpolation="nearest", cmap="viridis", vmin=0.0, vmax=1.0)
    ax.figure.colorbar(image, ax=ax, label="probability", pad=0.01)  # which takes some of the room
    room = ax.bbox.width / ax.figure.dpi / len(shades)  # of a cell, in inches
    size = min(10.0, max(3.0, 10.0 * room / wide))
    for step, (column, names) in enumerate(zip(shades, shown, strict=True)):
        if not column.any() or not np.isfinite(column).all():
            continue
        for rank, (probability, name) in enumerate(zip(column, names, strict=True)):
            ink = "black" if probability > 0.6 else "white"
            ax.text(step, rank, name, ha="center", va="center", color=ink, fontsize=size)
    ax.set_xlabel("step")
    ax.set_ylabel("rank")
    ax.set_yticks(range(shades.shape[1]), labels=[str(1 + rank) for rank in range(shades.shape[1])])
    ax.set_xticks(np.arange(0.5, len(shades) - 1), minor=True)
    ax.grid(which="minor", axis="x", color="white", linewidth=0.6)
    ax.tick_params(which="minor", length=0)
    if labels is None:
        ax.locator_params(axis="x", integer=True)
    else:
        ax.set_xticks(range(len(labels)), labels=labels, fontsize=size)
