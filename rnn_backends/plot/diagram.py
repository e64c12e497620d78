"""The diagram of a network."""

from typing import Any

from rnn_backends.core.messages import got
from rnn_backends.errors import ArgumentError
from rnn_backends.model.init import require_integer
from rnn_backends.model.rnn import RNN
from rnn_backends.plot.arguments import require_pyplot
from rnn_backends.plot.folded import folded
from rnn_backends.plot.unrolled import unrolled

MOST_STEPS = MOST_ROWS = 100


def network(rnn: RNN, *, steps: int | None = None, ax: Any = None) -> Any:
    r"""Draw the parts of a network, and the weights between them by their names in the text-books.

    Each box is a part, with its size and activation; each arrow a weight, with its shape.  No weights are read.
    Cells of a model that stores initial states say so.

    Parameters
    ----------
    rnn : RNN
    steps : int, optional
        Unroll the network in time: a column for each of so many steps.  By default the cells have loops.
    ax : matplotlib.axes.Axes, optional
        Where to draw, letters in proportion; by default in a new figure, as large as the diagram.

    Returns
    -------
    matplotlib.axes.Axes
        Boxes and arrows are its patches, each with its name as its ``gid``.

    Raises
    ------
    ArgumentError
        `rnn` is no RNN or has more than 100 encoders, layers and readouts, or `steps` is no integer from 1 to 100.
    ModuleNotFoundError
        There is no matplotlib.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> from rnn_backends import plot
    >>> ax = plot.network(rb.RNN.init(65, 256, output_size=65))
    >>> [text.get_text() for text in ax.texts if "W_" in text.get_text()]
    ['$W_{ax}$ (256, 65)', '$W_{aa}$ (256, 256)', '$W_{ya}$ (65, 256)']
    """
    if not isinstance(rnn, RNN):
        msg = f"`rnn` must be an RNN; got {type(rnn).__name__}. Read one by rnn_backends.load."
        raise ArgumentError(msg)
    if steps is not None:
        require_integer("steps", steps, 1)
        if steps > MOST_STEPS:
            msg = f"`steps` must be at most {MOST_STEPS}, of which each is a column; got {got(steps)}."
            raise ArgumentError(msg)
    held = rnn.placed.network
    rows = len(held.encoder) + len(held.layers) + len(held.readout)
    if rows > MOST_ROWS:
        msg = (
            f"`rnn` must have at most {MOST_ROWS} encoders, layers and readouts, each a row; it has {rows}. "
            f"Draw some of its layers, such as plot.network(rnn_backends.RNN(rnn.layers[:{MOST_ROWS}]))."
        )
        raise ArgumentError(msg)
    require_pyplot()
    return (folded(held) if steps is None else unrolled(held, steps)).draw(ax)
