"""The network of an ONNX graph, run, and its results arranged as the outputs that the graph declares."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.backends.nested import from_lists
from rnn_backends.backends.selection import Placement
from rnn_backends.backends.transfer import to_numpy
from rnn_backends.core.arrays import Array, Host, array_namespace
from rnn_backends.core.layers import Layer
from rnn_backends.core.linear import logits_of
from rnn_backends.core.messages import listed, shown
from rnn_backends.core.network import Network, is_uneven
from rnn_backends.core.reading import read_whole
from rnn_backends.core.recurrence import last_states
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError
from rnn_backends.formats.onnx import program_of
from rnn_backends.formats.onnx.flow import Flow, Input, Result, arranged, takes_tokens
from rnn_backends.formats.onnx.network import Program
from rnn_backends.model.rnn import RNN

WEIGHTS = slice(1, 4)  # W, R and B among the inputs of RNN


class Prepared:
    """A model that is ready to run on a device, as ONNX's BackendRep; made by `rnn_backends.onnx_backend.prepare`.

    Parameters
    ----------
    model : onnx.ModelProto
    placement : Placement
        The backend and the device that it runs on.

    Raises
    ------
    FormatError
        The model is not a network that this package can run.

    Examples
    --------
    >>> from rnn_backends import onnx_backend
    >>> prepared = onnx_backend.prepare(model)  # doctest: +SKIP
    >>> prepared.device  # doctest: +SKIP
    'cpu'
    """

    def __init__(self, model: Any, placement: Placement) -> None:
        self._model, self._placement = model, placement
        defaults = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [info.name for info in model.graph.input if info.name not in defaults]
        weights = {name for node in model.graph.node if node.op_type == "RNN" for name in list(node.input)[WEIGHTS]}
        self._weights = weights & set(self._inputs)
        self._program = None if self._weights else program_of(model)

    @property
    def device(self) -> str:
        """The device that the model runs on, as its backend names it."""
        return self._placement.device

    def run(self, inputs: Sequence[Any] | Mapping[str, Any]) -> tuple[Host, ...]:
        """Run the model.

        Parameters
        ----------
        inputs : sequence or mapping of arrays
            In the order of the graph's inputs, or by their names.

        Returns
        -------
        tuple of numpy.ndarray
            The outputs of the graph, in its order.

        Raises
        ------
        ArgumentError
            The inputs are not those of the graph, or a length is impossible.
        DTypeError, ShapeError
            An input has another dtype or shape than the graph declares.
        FormatError
            Weights among the inputs make no network.

        Examples
        --------
        >>> y, y_h = prepared.run([x])  # doctest: +SKIP
        >>> y, y_h = prepared.run({"X": x})  # doctest: +SKIP
        """
        by_name = isinstance(inputs, Mapping)
        given = dict(inputs) if by_name else dict(zip(self._inputs, inputs, strict=False))
        if len(given) != len(inputs) or given.keys() != set(self._inputs):
            msg = f"the inputs must be {listed(self._inputs)}; got {listed(given) if by_name else len(inputs)}."
            raise ArgumentError(msg)
        arrays = {name: _as_input(name, value) for name, value in given.items()}
        known = {name: arrays[name] for name in self._weights}
        return run_program(self._program or program_of(self._model, known), arrays, self._placement)


def _as_input(name: str, value: Any) -> Host:
    """Return an input as an array of NumPy."""
    try:
        host = from_lists(name, value) if isinstance(value, (list, tuple)) else np.asarray(value)
    except DTypeError:  # of what is masked in lists
        raise
    except (TypeError, ValueError, RuntimeError):
        host = None
    if host is None:
        msg = f"the input {shown(name)} must be an array or nested lists of numbers; got {type(value).__name__}."
        raise DTypeError(msg)
    return host


def run_program(
    program: Program, arrays: dict[str, Host], place: Placement, dtype: str | None = None
) -> tuple[Host, ...]:
    """Return the outputs of a graph for its inputs, computed in the dtype of its weights or in another."""
    bottom, source = program.stages[0], program.input
    _require_input(arrays[source.name], source)
    # A graph of one step of a cell has no axis of steps.
    axes = [(bottom.seq,) if bottom.seq in source.atoms else (), *([bottom.batch] if bottom.batch else [])]
    features = () if takes_tokens(bottom.below) else source.atoms[-1:]
    x = arranged(arrays[source.name], source.atoms, [*axes, *([features] if features else [])])
    x = x if source.computed is None else x.astype(source.computed)
    h_0 = _initial_states(program, arrays, x)
    lengths = None if bottom.lengths is None else arrays[bottom.lengths.name]
    rnn = RNN.from_network(replace(program.network, batch_first=False), place, dtype)
    output, h_n = rnn(x, h_0, lengths=lengths)
    states = dict(zip(program.cells, last_states(h_n), strict=True))
    found = []
    with rnn.placed.on_device():
        for flow in program.outputs.values():
            content: Result = flow.content
            last = [states[cell] for cell in content.cells or program.cells[-len(rnn.layers[-1].cells) :]]
            host = _on_host(_computed(content, rnn.placed.network, output, last))
            if content.stage is not None and content.stage.directions and not content.linears:
                host = host.reshape((*host.shape[:-1], 2, host.shape[-1] // 2))
            host = host if content.dtype is None else host.astype(content.dtype)
            found.append(arranged(host, content.atoms, flow.axes))
    return tuple(found)


def _computed(content: Result, network: Network, output: Array, last: Sequence[Array]) -> Array:
    """Return what an output holds, given the output of the last layer and the last states that it is made of."""
    xp = array_namespace(output)
    if content.stage is None:
        read = xp.stack(last) if content.several and not content.linears else xp.concat(last, axis=-1)
    elif content.pooled is not None:
        read = _pooled(content.pooled, network.layers[-1], output, last)
    else:
        read = _states(content, output)
    if not content.linears:
        return read
    logits = logits_of(network.readout, read)
    return logits if content.linears[-1].activation is None else network.readout[-1].activate(logits)


def _pooled(reads: str, layer: Layer, output: Array, last: Sequence[Array]) -> Array:
    """Return the mean or the maximum of all steps; without a batch axis as of a batch of one."""
    if output.ndim == 3:
        return read_whole(layer, reads, output, last, None, None)
    return read_whole(layer, reads, output[:, None, :], [state[None, :] for state in last], None, None)[0, :]


def _initial_states(program: Program, arrays: dict[str, Host], x: Host) -> Any:
    """Return the given initial states of all cells; zeros where a layer has none, None where no layer has any."""
    flows = [flow for stage in program.stages for flow in stage.h_0 if isinstance(flow, Flow)]
    if not flows:
        return None
    batch = x.shape[1:2] if program.stages[0].batch else ()
    found: list[Host] = []
    for stage in program.stages:
        cells: list[Any] = [cell for cell, _ in stage.layer.cells]
        count = len(cells) // len(stage.h_0)
        for k, flow in enumerate(stage.h_0):
            if not isinstance(flow, Flow):
                dtype = arrays[flows[0].content.name].dtype
                found += [np.zeros((*batch, cell.hidden_size), dtype) for cell in cells[k * count : (k + 1) * count]]
                continue
            source: Input = flow.content
            array = arrays[source.name]
            _require_input(array, source)
            held = arranged(array[source.start : source.stop], source.atoms, flow.axes)
            held = held if source.computed is None else held.astype(source.computed)
            found += list(held if batch else held[:, 0])
    return tuple(found) if is_uneven(program.network.layers) else np.stack(found)


def _on_host(array: Array) -> Host:
    return array if isinstance(array, np.ndarray) else to_numpy(array)


def _require_input(array: Host, source: Input) -> None:
    """Check that an input has the dtype and the number of axes that the graph declares."""
    if source.dtype == "bfloat16":
        known = "rnn_backends.from_onnx reads the model in float32"
        msg = f"the input {shown(source.name)} is bfloat16, which NumPy has not; {known}."
        raise DTypeError(msg)
    if array.dtype.name != source.dtype or array.ndim != len(source.atoms):
        wanted = f"{source.dtype} with {len(source.atoms)} axes"
        msg = f"the input {shown(source.name)} must be {wanted}; got {array.dtype.name} of shape {shown(array.shape)}."
        raise DTypeError(msg)


def _states(content: Result, output: Any) -> Any:
    """Return the states of all steps, or of one."""
    if content.step is None:
        return output
    if output.shape[0] == 0:
        msg = "the model gives one step, and the input has none."
        raise ShapeError(msg)
    return output[content.step, ...]
