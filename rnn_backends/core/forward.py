"""The forward propagation of a recurrent network, in operations of the array API standard (2022.12).

    a<t> = g1(W_aa a<t-1> + W_ax x<t> + b_a)            a<0> = 0 unless given

`Cell` is the equation, `rnn_backends.core.recurrence` walks it through time, `propagate` stacks the layers, and
`forward` is the pure function that the package offers.  Nothing here depends on the values of an array,
so all of it can be traced and differentiated, and nothing knows whose arrays they are.
"""

from collections.abc import Sequence
from typing import Any

from rnn_backends.core import checks
from rnn_backends.core.arrays import (
    HALF,
    Array,
    array_namespace,
    as_indices,
    device,
    dtype_name,
    is_array,
    is_integer,
    native,
    widen,
)
from rnn_backends.core.layers import (
    Layer,
    RecurrentCell,
    as_layers,
    first_array,
    map_arrays,
    named_arrays,
    require_network,
)
from rnn_backends.core.masking import KeptSteps
from rnn_backends.core.recurrence import Recurrence, last_states, project, scan_layer


def forward(
    layers: Sequence[Layer | RecurrentCell],
    x: Array,
    h_0: Array | None = None,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
) -> tuple[Array, Array]:
    """Run a network forward: a pure function that takes library, device and dtype from its arrays.

    It runs the equations in array API operations, whoever owns the arrays, and can be traced and
    differentiated where the library can do that (jax.jit, jax.grad, torch autograd).

    Parameters
    ----------
    layers : sequence of Cell or Layer
        From the input to the output.  A bare cell is a layer that runs forward.
    x : array, shape (seq_len, batch, input_size) or (seq_len, input_size)
        The input.  Integers of shape (seq_len, batch) or (seq_len,) are token ids.
    h_0 : array, shape (num_cells, batch, hidden_size) or (num_cells, hidden_size), optional
        The states before the first step, layer by layer, forward before backward; zeros if left out.
    lengths : integer array, shape (batch,), optional
        How many steps of each sequence are valid, 0 to seq_len.  Beyond it the input is not looked at,
        the output is 0 and the state is held; a backward cell starts at the sequence's own last step.
    mask : boolean array, shape (seq_len, batch) or (seq_len,), optional
        Which steps to take.  At the others, wherever they are, the input is not looked at and every layer
        holds its state, which is the output there.

    Returns
    -------
    output : array, shape (seq_len, batch, num_directions * hidden_size)
        The states of the last layer, forward before backward on the last axis.
    h_n : array, shape (num_cells, batch, hidden_size)
        The state of each cell after its last step.  Both lack the batch axis where x lacks it.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        An argument does not fit the layers, or a NumPy array holds an id or a length that is out of
        range.  Arrays on other libraries are not read: there, an id or a length that is out of range
        turns its sequence into NaN from that step on.
    BackendMismatchError, DeviceError
        The arrays belong to more than one library or device.
    """
    stack = as_layers(layers)
    given = {name: array for name, array in (("h_0", h_0), ("lengths", lengths), ("mask", mask)) if array is not None}
    checks.require_together([*named_arrays(stack, "layers"), ("x", x), *given.items()])
    require_network(stack)
    checks.require_call(stack, x, h_0, lengths, mask)
    checks.require_values(stack, x, lengths, mask)
    stack, x, given = map_arrays(native, stack), native(x), {name: native(array) for name, array in given.items()}
    x, lengths = as_indices(x), as_indices(given["lengths"]) if "lengths" in given else None
    return propagate(stack, x, given.get("h_0"), lengths, scan_layer, given.get("mask"))


def propagate(
    layers: tuple[Layer, ...],
    x: Array,
    h_0: Array | None,
    lengths: Array | None,
    recurrence: Recurrence,
    mask: Array | None = None,
) -> tuple[Array, Array]:
    """Run checked arguments through all layers, each by a recurrence; see `forward`."""
    xp = array_namespace(x)
    if x.ndim < 3 - is_integer(x):  # no batch axis
        h_0 = None if h_0 is None else h_0[:, None, ...]
        mask = None if mask is None else mask[:, None]
        output, h_n = propagate(layers, x[:, None, ...], h_0, None, recurrence, mask)
        return output[:, 0, :], h_n[:, 0, :]
    if mask is not None and x.shape[0] > 0:
        kept, cells = KeptSteps.of(mask, lengths), len(layers[-1].cells)
        output, h_n = propagate(layers, kept.together(x), h_0, kept.counts, recurrence)
        before = xp.zeros_like(h_n) if h_0 is None else h_0
        return kept.spread(output, layers[-1], before[-cells:, ...]), h_n
    dtype = state_dtype(layers, x)
    final: list[Array] = []
    for layer in in_compute_dtype(layers):
        places = range(len(final), len(final) + len(layer.cells))
        h = initial_states(layer, x, dtype) if h_0 is None else [h_0[k, ...] for k in places]
        x, last = recurrence(layer, x, h, lengths) or scan_layer(layer, x, h, lengths)
        if len(layers) == 1 and is_array(last):
            return x, last
        final.extend(last_states(last))
    return x, xp.stack(final)


def state_dtype(layers: tuple[Layer, ...], x: Array) -> Any:
    """Return the dtype of a network's states, which is that of its arrays; None if nothing tells."""
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
        like = project(cell, x[:0, ...])  # of no steps: it tells what the cell does not
        hidden_size, dtype = hidden_size or like.shape[-1], dtype or like.dtype
    return array_namespace(x).zeros((x.shape[1], hidden_size), dtype=dtype, device=device(x))
