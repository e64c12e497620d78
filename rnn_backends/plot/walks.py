"""The walks of states through their space, seen in the plane of their two principal components."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnn_backends.core.arrays import ArrayLike, Host
from rnn_backends.core.messages import shown
from rnn_backends.core.parameters import require_flag
from rnn_backends.errors import ArgumentError, ShapeError
from rnn_backends.plot.arguments import on_host, require_pyplot
from rnn_backends.plot.letters import as_labels

MANY = 10
"""Sequences that have a colour of the default cycle each."""
MOST_NAMES = 15
"""Sequences that a legend names."""


def trajectories(
    states: ArrayLike,
    *,
    lengths: ArrayLike | None = None,
    labels: Sequence[object] | Host | None = None,
    batch_first: bool = False,
    ax: Any = None,
) -> Any:
    """Draw the states of sequences as lines in the plane of their first two principal components.

    Parameters
    ----------
    states : array, shape (seq_len, batch, hidden_size) or (seq_len, hidden_size)
        The first result of a call of a model, or ``hidden_state_l{k}`` of `rnn_backends.RNN.trace`.
    lengths : array of int, shape (batch,), optional
        The number of steps of each sequence; what is beyond is left out.
    labels : sequence, optional
        A name for each sequence, in a legend, which holds the first 15 and how many others there are.
    batch_first : bool, default False
        Whether the model has ``batch_first``, so that `states` has the axes (batch, seq_len, hidden_size).
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        A line for each sequence, with a ring at its first step and a square at its last.  The axes of the picture have
        the share of the variance of all valid states that is along them.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError
        The states are not finite, or there are none; lengths or labels do not fit them.
    ModuleNotFoundError
        There is no matplotlib.

    Notes
    -----
    The components are those of a singular value decomposition of the valid states, less their mean, in float64.
    A component is turned so that its largest entry is positive.

    Examples
    --------
    >>> import numpy as np
    >>> from rnn_backends import plot
    >>> ax = plot.trajectories(np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
    >>> ax.get_xlabel()
    'first principal component (100 % of the variance)'
    >>> ax.lines[0].get_xdata().round(6).tolist()
    [-5.0, 0.0, 5.0]
    """
    held = on_host("states", states)
    require_flag("batch_first", batch_first)
    if held.ndim not in {2, 3} or held.shape[-1] == 0:
        msg = f"`states` must have shape (seq_len, batch, size) or (seq_len, size); got {shown(held.shape)}."
        raise ShapeError(msg)
    walks = held[None] if held.ndim == 2 else held if batch_first else held.swapaxes(0, 1)
    batch, seq_len = walks.shape[:2]
    counts = _require_lengths(lengths, batch, seq_len)
    names = as_labels("labels", labels, batch, "sequence")
    valid = [walk[:count] for walk, count in zip(walks, counts, strict=True)]
    points, shares = _principal(np.concatenate([np.empty((0, walks.shape[2])), *valid]))
    if ax is None:
        ax = require_pyplot().subplots(figsize=(6.4, 4.8), layout="constrained")[1]
    _draw(ax, np.split(points, np.cumsum(counts)[:-1]), names)
    for side, which, share in zip(("x", "y"), ("first", "second"), shares, strict=True):
        ax.set(**{f"{side}label": f"{which} principal component ({100 * share:.3g} % of the variance)"})
    return ax


def _require_lengths(lengths: Any, batch: int, seq_len: int) -> list[int]:
    """Return the number of steps of each sequence."""
    if lengths is None:
        return [seq_len] * batch
    held = on_host("lengths", lengths)
    if held.shape != (batch,):
        msg = f"`lengths` must have shape (batch,) = ({batch},), as `states` does; got {shown(held.shape)}."
        raise ShapeError(msg)
    if ((held < 0) | (held > seq_len) | (held != np.floor(held))).any():
        span = f"{held.min():g} to {held.max():g}"
        msg = f"`lengths` must be integers from 0 to {seq_len}, the number of steps; got {span}."
        raise ArgumentError(msg)
    return [int(count) for count in held]


def _principal(states: Host) -> tuple[Host, Host]:
    """Return states (N, hidden_size) along their first two principal components, and the shares of variance there."""
    if not len(states):
        msg = "`states` must hold a step within the lengths; there is none to draw."
        raise ArgumentError(msg)
    if not np.isfinite(states).all():
        msg = "`states` must be finite; they hold NaN or infinity. Give `lengths` if these are padding."
        raise ArgumentError(msg)
    most = np.abs(states).max() or 1.0  # the squares of which might overflow, or vanish
    scaled = states / most
    centred = scaled - scaled.mean(axis=0)
    _, singular, components = np.linalg.svd(centred, full_matrices=False)
    components = (
        components[:2] * np.sign(components[range(len(components)), np.abs(components).argmax(axis=1)])[:2, None]
    )
    variance = singular**2
    shares = variance[:2] / (variance.sum() or 1.0)
    missing = 2 - len(shares)  # of a single unit, or a single state
    return np.pad(most * (centred @ components.T), ((0, 0), (0, missing))), np.pad(shares, (0, missing))


def _draw(ax: Any, walks: list[Host], names: list[str] | None) -> None:
    """Draw a line for each sequence, and mark where it begins and ends."""
    from matplotlib.lines import Line2D

    named: dict[Any, str] = {}
    colours = require_pyplot().get_cmap("viridis")(np.linspace(0, 0.9, len(walks)))
    for index, walk in enumerate(walks):
        if not len(walk):
            continue
        colour = f"C{index}" if len(walks) <= MANY else colours[index]
        (line,) = ax.plot(*walk.T, color=colour, linewidth=1.2, marker=".", markersize=4)
        ax.scatter(*walk[0], s=60, facecolors="none", edgecolors=[colour], linewidths=1.5, zorder=3)
        ax.scatter(*walk[-1], s=36, marker="s", color=[colour], zorder=3)
        if names is not None:
            named[line] = names[index]
    ax.set_aspect("equal", adjustable="datalim")
    marks = (("o", "none", "start"), ("s", "0.4", "end"))
    style: dict[str, Any] = {"color": "none", "markeredgecolor": "0.4", "markersize": 7}
    ends = [Line2D([], [], marker=mark, markerfacecolor=fill, label=name, **style) for mark, fill, name in marks]
    others = len(named) - MOST_NAMES
    more = {Line2D([], [], color="none"): f"{others} {'other' if others == 1 else 'others'}"} if others > 0 else {}
    shown = {**dict(list(named.items())[:MOST_NAMES]), **more, **{end: end.get_label() for end in ends}}
    legend = ax.legend([*shown], ["-"] * len(shown), fontsize=8)
    for text, name in zip(legend.get_texts(), shown.values(), strict=True):
        text.set_text(name)  # not as a label, which matplotlib leaves out where it begins with "_"
