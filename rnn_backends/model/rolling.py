"""The free run of a network over values: its output is fed back, as the next input or as a part of that."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from rnn_backends.backends.transfer import as_host, receive
from rnn_backends.core.arrays import Array, cast, dtype_name, is_integer
from rnn_backends.core.checks import require_state
from rnn_backends.core.linear import Linear
from rnn_backends.core.messages import shown
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError
from rnn_backends.model.init import require_integer
from rnn_backends.model.placed import Placed
from rnn_backends.model.sampling import counts, require_feedback, run_in_pieces
from rnn_backends.model.stream import Stream


def rolled_out(placed: Placed, x: Any, steps: Any, inputs: Any, h_0: Any) -> Array:
    """Return the outputs of a number of steps; see `RNN.roll_out`."""
    require_integer("steps", steps, 1)
    outputs = islice(roll_out(placed, x, inputs, h_0, int(steps)), int(steps))
    first = next(outputs)
    axis = 1 if placed.network.batch_first and first.ndim == 2 else 0
    with placed.on_device():
        return placed.placement.backend.xp.stack([first, *outputs], axis=axis)


def roll_out(placed: Placed, x: Any, inputs: Any = None, h_0: Any = None, steps: int | None = None) -> Iterator[Array]:
    """Return the outputs that continue the features of sequences, each fed back in the next step.

    Parameters
    ----------
    placed : Placed
        A network of features, the last of which its readout gives, without a softmax.
    x : array or host data, shape (seq_len, batch, input_size) or (seq_len, input_size)
        Checked and run at once, before the first output is asked for.
    inputs : array or host data, shape (steps - 1, batch, input_size - output_size), optional
        The features that stand before the outputs that are fed back, with the axes of `x`.
    h_0 : array or host data, optional
        As of a call.
    steps : int, optional
        The number of outputs that are asked for, of which the inputs are; without end where it is left out.

    Returns
    -------
    iterator of array, shape (batch, output_size) or (output_size,)
        On the network's device, in its dtype.
    """
    require_forecaster(placed, has_inputs=inputs is not None or steps == 1)
    given = as_host("x", x)
    is_batch, batch_first = len(given.shape) == 3, placed.network.batch_first
    if len(given.shape) not in {2, 3} or 0 in given.shape[:-1]:
        axes = "(batch, seq_len, input_size)" if batch_first else "(seq_len, batch, input_size)"
        msg = (
            f"`x` must hold at least one step, shape {axes} or (seq_len, input_size); got shape "
            f"{shown(tuple(given.shape))}."
        )
        raise ShapeError(msg)
    if is_integer(given) and placed.network.takes is None:
        msg = f"`x` must hold floating-point numbers, as integers are token ids to this model; got {dtype_name(given)}."
        raise DTypeError(msg)
    axis = 1 if is_batch and batch_first else 0
    stream = Stream(placed, given.shape[1 - axis] if is_batch else 1)
    known = None if inputs is None else _known(placed, inputs, tuple(given.shape), axis, steps or 1)
    if h_0 is not None:
        stream.reset(h_0 if is_batch else _with_batch(placed, h_0))
    return _outputs(placed, stream, run_in_pieces(stream, given, axis), known, axis)


def _outputs(placed: Placed, stream: Stream, states: Array, inputs: Array | None, axis: int) -> Iterator[Array]:
    """Yield the output of the last step, and that of the steps which take the output before them."""
    xp, step = placed.placement.backend.xp, 0
    while True:
        with placed.on_device():
            last = states[:, -1:, ...] if axis else states[-1:, ...]
            output = placed.network.readout[-1].activate(placed.logits(last))
            result = output[:, 0, ...] if axis else output[0, ...]
        yield result
        if inputs is not None:
            with placed.on_device():
                before = inputs[:, step : step + 1, ...] if axis else inputs[step : step + 1, ...]
                output, step = xp.concat([before, output], axis=-1), step + 1
        states = stream(output)


def _known(placed: Placed, inputs: Any, shape: tuple[int, ...], axis: int, steps: int) -> Array:
    """Return the known features of the steps after the first output, on the device."""
    size = shape[-1] - placed.network.readout[-1].output_size
    wanted = (*shape[:axis], steps - 1, *shape[axis + 1 : -1], size)
    held = as_host("inputs", inputs)
    if tuple(held.shape) != wanted and not size:
        msg = f"this model takes its outputs alone, {shown(shape[-1])} in number; leave out `inputs`."
        raise ShapeError(msg)
    if tuple(held.shape) != wanted:
        axes = ("batch, " * axis) + "steps - 1, " + ("batch, " if len(shape) == 3 and not axis else "")
        msg = (
            f"`inputs` must have shape ({axes}input_size - output_size) = {shown(wanted)}, for after the last output "
            f"there is no step; got {shown(tuple(held.shape))}."
        )
        raise ShapeError(msg)
    place = placed.placement
    return cast(receive("inputs", held, place, placed.dtype, is_features=True), place.backend.dtype(placed.dtype))


def _with_batch(placed: Placed, h_0: Any) -> Any:
    """Return the initial states of a single sequence as those of a batch of one."""
    given = placed.to_device("h_0", placed.as_host("h_0", h_0))
    require_state(placed.network.layers, given, ())
    if isinstance(given, tuple):
        return tuple(part[None, :] for part in given)
    return given[:, None, :]


def require_forecaster(placed: Placed, *, has_inputs: bool | None = None) -> None:
    """Check that a model predicts its own next features: all of them, or the last where others may be given."""
    network, size = placed.network, placed.input_size
    outputs = network.readout[-1].output_size if network.readout else 0
    has_others = network.takes != "tokens" and 0 < outputs < (size or 0)
    if network.takes == "tokens" or not outputs or (size != outputs and not (has_inputs and has_others)):
        hint = " Give the others as `inputs`." if has_inputs is False and has_others else ""
        msg = f"a free run needs a model that predicts its own next features; this one {counts(placed)}.{hint}"
        raise ArgumentError(msg)
    require_feedback("a free run", placed)
    if is_softmax(network.readout[-1]):
        msg = (
            "a free run feeds the outputs of a model back to it, and those of this one are probabilities of a softmax; "
            "to draw token ids it must be made or loaded with takes='tokens', for `generate`; to feed its outputs "
            "back, its readout must have the activation 'identity'."
        )
        raise ArgumentError(msg)


def is_softmax(readout: Linear) -> bool:
    """Return whether a readout gives probabilities of classes, or their logarithms."""
    return getattr(readout.activation, "name", None) in {"softmax", "log_softmax"}
