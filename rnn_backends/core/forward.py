"""The forward propagation of a recurrent network, in operations of the array API standard (2022.12).

    a<t> = g1(W_aa a<t-1> + W_ax x<t> + b_a)            a<0> = 0 unless given

`Cell` is the equation, `rnn_backends.core.recurrence` walks it through time, `propagate` stacks the layers, and
`forward` is the pure function that the package offers.  Nothing here depends on the values of an array,
so all of it can be traced and differentiated, and no library is named.
"""

from collections.abc import Sequence
from typing import Any

from rnn_backends.core import checks
from rnn_backends.core.arrays import (
    HALF,
    Array,
    ArrayArgument,
    array_namespace,
    as_indices,
    device,
    dtype_name,
    is_array,
    is_integer,
    native,
    quiet,
    widen,
)
from rnn_backends.core.layers import Layer, RecurrentCell, as_layers, first_array, named_arrays
from rnn_backends.core.linear import activated_by
from rnn_backends.core.masking import KeptSteps, zeroed
from rnn_backends.core.network import Network
from rnn_backends.core.noise import with_noise
from rnn_backends.core.parameters import map_arrays, require_dense
from rnn_backends.core.recurrence import Recurrence, last_states, project, scan_layer


def forward(
    layers: Sequence[Layer | RecurrentCell],
    x: ArrayArgument,
    h_0: ArrayArgument | Sequence[ArrayArgument] | None = None,
    *,
    lengths: ArrayArgument | None = None,
    mask: ArrayArgument | None = None,
) -> tuple[Array, Array]:
    """Run a network forward: a pure function that takes library, device and dtype from its arrays.

    It runs the equations in array API operations, on arrays of any library and memory layout, and can be traced
    and differentiated where the library can do that (jax.jit, jax.grad, torch autograd).

    Parameters
    ----------
    layers : sequence of Cell or Layer
        From the input to the output.  A bare cell is a layer that runs forward.
    x : array, shape (seq_len, batch, input_size) or (seq_len, input_size)
        The input.  Integers of shape (seq_len, batch) or (seq_len,) are token ids.
    h_0 : array, shape (num_cells, batch, hidden_size) or (num_cells, hidden_size), optional
        The states before the first step, layer by layer, forward before backward; zeros if left out.  Of cells
        of several sizes, a tuple of one array (batch, hidden_size) for each.
    lengths : integer array, shape (batch,), optional
        How many steps of each sequence are valid, 0 to seq_len.  Beyond it the input is not looked at,
        the output is 0 and the state is held; a backward cell starts at the sequence's own last step.
    mask : boolean array, shape (seq_len, batch) or (seq_len,), optional
        Which steps to take.  At the others, wherever they are, the input is not looked at and every layer
        holds its state, which is the output there.

    Returns
    -------
    output : array, shape (seq_len, batch, num_directions * hidden_size)
        The states of the last layer, or the rates of `RateCell`, forward before backward on the last axis.
    h_n : array, shape (num_cells, batch, hidden_size)
        The state of each cell after its last step; of cells of several sizes, a tuple of one array (batch,
        hidden_size) for each.  Both lack the batch axis where x lacks it.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        An argument does not fit the layers, or a NumPy array holds an id or a length that is out of
        range.  Arrays on other libraries are not read: there, an id or a length that is out of range
        turns its sequence into NaN from that step on.
    BackendMismatchError, DeviceError
        The arrays belong to more than one library or device.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> cell = rb.Cell(np.full((4, 3), 0.1), np.zeros((4, 4)))
    >>> x, lengths = np.ones((5, 2, 3)), np.array([5, 2])
    >>> output, h_n = rb.forward([cell], x, lengths=lengths)
    >>> output.shape, h_n.shape
    ((5, 2, 4), (1, 2, 4))
    >>> output[:, 1, 0].round(3)
    array([0.291, 0.291, 0.   , 0.   , 0.   ])
    """
    stack = as_layers(layers)
    states = {f"h_0[{k}]": part for k, part in enumerate(h_0)} if isinstance(h_0, (list, tuple)) else {"h_0": h_0}
    given = {name: array for name, array in {**states, "lengths": lengths, "mask": mask}.items() if array is not None}
    checks.require_together([*named_arrays(stack, "layers"), ("x", x), *given.items()])
    for name, array in (("x", x), *given.items()):
        require_dense(name, array)
    network = Network(stack)
    checks.require_call(network, x, h_0, lengths, mask)
    checks.require_values(network, x, lengths, mask)
    stack, x, h_0 = map_arrays(native, (stack, x, tuple(h_0) if isinstance(h_0, list) else h_0))
    x, lengths = as_indices(x), None if lengths is None else as_indices(native(lengths))
    with quiet():
        return propagate(stack, x, h_0, lengths, scan_layer, mask)


def encoded(network: Network, x: Array, lengths: Array | None, mask: Array | None) -> Array:
    """Return what comes to the first layer of a network: the input, through the encoder if there is one."""
    # Padding may hold NaN, which no gradient forgets once it has been multiplied.
    return activated_by(network.encoder, zeroed(x, lengths, mask)) if network.encoder else x


def started(network: Network, x: Array, h_0: Any) -> Any:
    """Return the initial states of a call: those given, else the network's own for every sequence, else None."""
    own = network.h_0
    if h_0 is not None or own is None or x.ndim < 3 - is_integer(x):  # no batch axis
        return own if h_0 is None else h_0
    batch, xp = x.shape[1], array_namespace(x)
    if isinstance(own, tuple):
        return tuple(xp.broadcast_to(part[None, :], (batch, *part.shape)) for part in own)
    return xp.broadcast_to(own[:, None, :], (own.shape[0], batch, own.shape[1]))


def propagate(
    layers: tuple[Layer, ...],
    x: Array,
    h_0: Array | tuple[Array, ...] | None,
    lengths: Array | None,
    recurrence: Recurrence,
    mask: Array | None = None,
    noise: Sequence[Array] | None = None,
) -> tuple[Array, Any]:
    """Run checked arguments through all layers, each by a recurrence; see `forward`.

    `noise` holds what is added to the sums of each cell, (seq_len, batch, hidden_size), a single sequence a batch of
    one; see `rnn_backends.core.noise`.
    """
    if x.ndim < 3 - is_integer(x):  # no batch axis
        h_0 = None if h_0 is None else tuple(part[None, :] for part in last_states(h_0))
        mask = None if mask is None else mask[:, None]
        output, h_n = propagate(layers, x[:, None, ...], h_0, None, recurrence, mask, noise)
        return output[:, 0, :], tuple(part[0, :] for part in h_n) if isinstance(h_n, tuple) else h_n[:, 0, :]
    if mask is not None and x.shape[0] > 0:
        kept, cells = KeptSteps.of(mask, lengths), len(layers[-1].cells)
        noise = None if noise is None else [kept.together(part) for part in noise]
        output, h_n = propagate(layers, kept.together(x), h_0, kept.counts, recurrence, None, noise)
        before = last_states(h_n if h_0 is None else h_0)[-cells:]
        if h_0 is None:
            before = [array_namespace(x).zeros_like(part) for part in before]
        return kept.spread(output, layers[-1], before), h_n
    given = None if h_0 is None else last_states(h_0)
    walked = with_noise(in_compute_dtype(layers), noise)
    return walk_layers(walked, x, given, lengths, recurrence, state_dtype(layers, x))


def walk_layers(
    layers: tuple[Layer, ...],
    x: Array,
    h_0: Sequence[Array] | None,
    lengths: Array | None,
    recurrence: Recurrence,
    dtype: Any,
) -> tuple[Array, Any]:
    """Run a batch through layers of the dtype that is computed in, whose states have another perhaps."""
    seq_len, batch, *_ = x.shape
    if batch == 0 and seq_len > 1:  # one step has all that there is: the sizes, the dtype and what records gradients
        output, last = walk_layers(layers, x[:1, ...], h_0, lengths, recurrence, dtype)
        return array_namespace(output).reshape(output, (seq_len, 0, output.shape[-1])), last
    final: list[Array] = []
    for layer in layers:
        done = len(final)
        h = initial_states(layer, x, dtype) if h_0 is None else h_0[done : done + len(layer.cells)]
        x, last = recurrence(layer, x, h, lengths) or scan_layer(layer, x, h, lengths)
        if len(layers) == 1 and is_array(last):
            return x, last
        final.extend(last_states(last))
    return x, together(final)


def together(states: Sequence[Array]) -> Array | tuple[Array, ...]:
    """Return the states of cells as one array where all are of one size, else as a tuple; in memory of their own."""
    xp = array_namespace(states[0])
    if len({state.shape for state in states}) == 1:
        return xp.stack(states)
    return tuple(xp.stack([state])[0, ...] for state in states)


def state_dtype(layers: tuple[Layer, ...], x: Array) -> Any:
    """Return the dtype of a network's states, which is that of its arrays; None if it is unknown."""
    first = first_array(layers)
    return first.dtype if first is not None else None if is_integer(x) else x.dtype


def in_compute_dtype(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Return the layers in the dtype that is computed in."""
    first = first_array(layers)
    wide: tuple[Layer, ...] = layers if first is None or dtype_name(first) not in HALF else map_arrays(widen, layers)
    return wide


def initial_states(layer: Layer, x: Array, dtype: Any) -> list[Array]:
    """Return zeros (batch, hidden_size) for each cell of a layer whose initial states are not given."""
    return [initial_state(cell, x, dtype) for cell, _ in layer.cells]


def initial_state(cell: RecurrentCell, x: Array, dtype: Any) -> Array:
    """Return zeros (batch, hidden_size) for a cell."""
    hidden_size = getattr(cell, "hidden_size", None)
    if hidden_size is None or dtype is None:
        like = project(cell, x[:0, ...])  # of no steps: its shape and dtype are known
        hidden_size, dtype = hidden_size or like.shape[-1], dtype or like.dtype
    return array_namespace(x).zeros((x.shape[1], hidden_size), dtype=dtype, device=device(x))
