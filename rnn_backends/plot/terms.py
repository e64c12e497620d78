"""Heat maps of the terms that `RNN.trace` returns."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnn_backends.core.arrays import ArrayArgument, Host
from rnn_backends.core.messages import listed, shown
from rnn_backends.core.near import did_you_mean
from rnn_backends.core.parameters import require_flag
from rnn_backends.errors import ArgumentError
from rnn_backends.plot.arguments import held_there, of_sequence, require_pyplot, require_steps
from rnn_backends.plot.letters import TICK, as_items, as_labels, require_texts, stands_upright, ticks_of, widest

WIDTH, HEIGHT, LOW = 8.0, 1.5, 0.9
"""Inches of a figure, of the heat map of a term, and of that of one row."""
MOST_TERMS = 100
MEANINGS = {
    "input_product": "$W_{ax}$ by the input of the layer",
    "recurrent_product": r"$W_{aa}\, a^{\langle t-1 \rangle}$",
    "sum": "before the activation",
    "noise": r"$n^{\langle t \rangle}$",
    "hidden_state": r"$a^{\langle t \rangle}$",
    "output": "of the layer",
    "logits": "before the activation",
    "probabilities": r"$y^{\langle t \rangle}$",
}
"""Titles that hold of every model: whether there is a bias, and what a layer reads, the terms do not say."""
OF_RATES = {
    "recurrent_product": r"$W_{aa}$ by the output of the step $t-1$",
    "sum": "within the leak",
    "hidden_state": r"$x^{\langle t \rangle}$",
}
"""Those of a layer whose output is not its state."""


def trace(
    steps: Mapping[str, ArrayArgument],
    names: str | Sequence[str] | Host | None = None,
    *,
    sequence: int = 0,
    labels: Sequence[object] | Host | None = None,
    batch_first: bool = False,
) -> Any:
    """Draw the terms of the equations over time, a heat map for each.

    Signed values have a diverging colour map with 0 in its middle, probabilities a sequential one from 0.

    Parameters
    ----------
    steps : mapping of str to array
        What `rnn_backends.RNN.trace` returns.
    names : str or sequence of str, optional
        The terms to draw, from top to bottom, at most 100; all by default.
    sequence : int, default 0
        The sequence of the batch to draw.
    labels : sequence, optional
        One for each step, such as the characters of a text, at the ticks of the axis of time; where there are many,
        some are left out.
    batch_first : bool, default False
        Whether the model has ``batch_first``, so that arrays of three axes have (batch, seq_len, size); arrays of fewer
        are the same either way.

    Returns
    -------
    matplotlib.figure.Figure
        With an axes for each term: steps along x, units along y.  Logits and probabilities of a model that reads its
        sequences as a whole are one row.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError
        A name that is not in `steps`, more than 100 of them, a sequence that is not in the batch, labels of another
        number than the steps, or arrays that are no steps.
    ModuleNotFoundError
        There is no matplotlib.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> from rnn_backends import plot
    >>> steps = rb.RNN.init(3, 4, output_size=3).trace([0, 2, 1])
    >>> figure = plot.trace(steps, ["hidden_state_l0", "probabilities"], labels="abc")
    >>> [image.get_array().shape for axes in figure.axes for image in axes.images]
    [(4, 3), (3, 3)]
    """
    chosen = _require_names(steps, names)
    require_flag("batch_first", batch_first)
    said = {name: shown(name)[1:-1] for name in steps}  # the dict may be the caller's own
    there = {name: held_there(said[name], array) for name, array in steps.items() if name in chosen or "hidden" in name}
    is_batch = any(array.ndim == 3 for array in there.values())
    drawn = {
        name: _require_drawable(
            said[name], of_sequence(said[name], there[name], sequence, batch_first=batch_first, is_whole=is_batch)
        )
        for name in chosen
    }
    texts = {len(array): as_labels("labels", labels, len(array), "step") for array in drawn.values() if array.ndim == 2}
    if labels is not None and not texts:
        msg = f"`labels` are of steps, and {listed(drawn)} of this model are of the whole sequence; leave them out."
        raise ArgumentError(msg)
    pyplot = require_pyplot()
    heights = [HEIGHT if array.ndim == 2 else LOW for array in drawn.values()]
    figure, grid = pyplot.subplots(
        len(drawn),
        squeeze=False,
        figsize=(WIDTH, sum(heights) + 0.4 + max(map(_room_below, texts.values()), default=0.0)),
        height_ratios=heights,
        layout="constrained",
    )
    last = max((index for index, array in enumerate(drawn.values()) if array.ndim == 2), default=None)
    for index, (ax, (name, array)) in enumerate(zip(grid[:, 0], drawn.items(), strict=True)):
        _heat_map(figure, ax, name, array)
        ax.set_title(
            f"{name}   {_meaning(name, array.ndim == 1, has_output=_output(name) in steps)}".rstrip(),
            loc="left",
            fontsize=10,
        )
        if array.ndim == 2:
            _axis_of_time(ax, texts[len(array)], is_last=index == last)
    return figure


def _require_names(steps: Mapping[str, Any], names: Any) -> list[str]:
    """Return the names of the terms to draw, each of which there must be."""
    if not isinstance(steps, Mapping) or not steps:
        empty = "an empty " if isinstance(steps, Mapping) else ""
        msg = f"`steps` must be the dict that rnn.trace(x) returns; got {empty}{type(steps).__name__}."
        raise ArgumentError(msg)
    require_texts("steps", list(steps))
    given = [names] if isinstance(names, str) else list(steps) if names is None else as_items("names", names)
    chosen = list(dict.fromkeys(require_texts("names", given)))
    for name in chosen:
        if name not in steps:
            msg = f"`names` must be of what was traced, {listed(steps)}; got {shown(name)}.{did_you_mean(name, steps)}"
            raise ArgumentError(msg)
    if not chosen:
        msg = f"`names` must name a term to draw, of {listed(steps)}; got none."
        raise ArgumentError(msg)
    if len(chosen) > MOST_TERMS:
        msg = (
            f"at most {MOST_TERMS} terms are drawn in one figure, and there are {len(chosen)}; give some of them, such "
            f"as names=list(steps)[:{MOST_TERMS}]."
        )
        raise ArgumentError(msg)
    return chosen


def _require_drawable(name: str, array: Host) -> Host:
    """Return a term of one sequence, (seq_len, size), or (size,) where it is of the sequence as a whole."""
    if array.ndim == 1 and array.size and name.startswith(("readout", "logits", "probabilities")):
        return array
    require_steps(name, array)
    return array


def _room_below(labels: list[str] | None) -> float:
    """Return the inches that labels at the axis of time need, beyond those of one line."""
    return widest(labels, TICK) if labels and stands_upright(labels) else 0.0


def _heat_map(figure: Any, ax: Any, name: str, array: Host) -> None:
    finite = array[np.isfinite(array)]
    most = float(np.abs(finite).max(initial=0.0)) or 1.0
    is_sequential = name == "probabilities" and bool((finite >= 0).all())
    image = ax.imshow(
        np.atleast_2d(array.T),
        aspect="auto",
        interpolation="nearest",
        cmap="viridis" if is_sequential else "RdBu_r",
        vmin=0.0 if is_sequential else -most,
        vmax=most,
    )
    ax.locator_params(axis="y", integer=True, nbins=4)
    if array.ndim == 1:
        ax.set_yticks([])
        ax.set_xlabel("output")
        ax.locator_params(axis="x", integer=True)
    else:
        ax.set_ylabel("output" if name in {"logits", "probabilities"} else "unit")
    figure.colorbar(image, ax=ax, pad=0.01, aspect=12 if array.ndim == 2 else 4)


def _output(name: str) -> str:
    """Return the name of the output of the layer that a term is of."""
    return f"output_l{name.partition('_l')[2]}"


def _meaning(name: str, is_whole: bool, *, has_output: bool) -> str:
    """Return a term in the notation of the text-books; nothing where they have none."""
    meanings = MEANINGS | OF_RATES if has_output else MEANINGS
    meaning = meanings.get(name.partition("_l")[0], "")
    if name.endswith("_reverse"):  # whose step before is the one after
        meaning = meaning.replace("t-1", "t+1")
    return meaning.replace(r"^{\langle t \rangle}", "") if is_whole else meaning


def _axis_of_time(ax: Any, labels: list[str] | None, *, is_last: bool) -> None:
    """Give the lowest heat map of steps the labels of time."""
    ax.locator_params(axis="x", integer=True)
    if not is_last:
        ax.tick_params(axis="x", bottom=False, labelbottom=False)
        return
    ax.set_xlabel("step")
    if labels is not None:
        ticks_of(ax.xaxis, labels, WIDTH - 1.5)
