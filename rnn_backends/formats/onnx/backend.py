"""ONNX's backend interface: a model is prepared for a device, and run on NumPy arrays."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.arrays import Host
from rnn_backends.backends.selection import Placement, parse, select
from rnn_backends.backends.transfer import to_numpy
from rnn_backends.errors import ArgumentError, DeviceError, DTypeError, FormatError, RNNBackendError, ShapeError
from rnn_backends.formats.onnx.flow import Result, Source, arranged
from rnn_backends.formats.onnx.network import Program, read_graph
from rnn_backends.formats.onnx.proto import package
from rnn_backends.formats.onnx.tensors import Tensors

WEIGHTS = slice(1, 4)  # W, R and B among the inputs of RNN
ACCELERATORS = {"cuda", "gpu", "tpu", "mps", "rocm", "xpu"}


def supports_device(device: str) -> bool:
    """Tell whether models can run on a device, ``"CPU"``, ``"CUDA"`` or ``"CUDA:1"``."""
    try:
        _place(device)
    except RNNBackendError:
        return False
    return True


def is_compatible(model: Any, device: str = "CPU") -> bool:
    """Tell whether a model can be run: whether it is a network of RNN nodes; see `prepare`."""
    try:
        prepare(model, device)
    except RNNBackendError:
        return False
    return True


def prepare(model: Any, device: str = "CPU") -> "Prepared":
    """Return what runs a model on a device.

    Parameters
    ----------
    model : onnx.ModelProto
        As for `rnn_backends.from_onnx`; W, R and B of its nodes may be inputs of the graph too.
    device : str, default "CPU"
        ``"CPU"`` is the backend of `use_backend` or RNN_BACKEND, by default NumPy, and must not be a GPU's;
        ``"CUDA"`` and ``"CUDA:1"`` are CuPy.

    Raises
    ------
    FormatError
        The model is not a network that this package can run.
    RNNBackendError
        The device cannot be had.
    """
    checker = package().checker
    try:
        checker.check_model(model)
    except checker.ValidationError as error:
        msg = f"the model is not valid ONNX: {error}"
        raise FormatError(msg) from error
    return Prepared(model, _place(device))


def run_model(model: Any, inputs: Any, device: str = "CPU") -> tuple[Host, ...]:
    """Run a model once; see `prepare` and `Prepared.run`."""
    return prepare(model, device).run(inputs)


def run_node(
    node: Any, inputs: Sequence[Any], device: str = "CPU", outputs_info: Any = None, *, opset_version: int = 22
) -> tuple[Host, ...]:
    """Run one RNN node; `outputs_info` is not needed, for the shapes follow from the inputs."""
    onnx = package()
    names = [name for name in node.input if name]
    arrays = [np.asarray(value) for value in inputs]
    if len(names) != len(arrays):
        msg = f"the node has the inputs {names}; got {len(arrays)} arrays."
        raise ArgumentError(msg)
    code = onnx.helper.np_dtype_to_tensor_dtype
    make = onnx.helper.make_tensor_value_info
    given = [make(name, code(array.dtype), array.shape) for name, array in zip(names, arrays, strict=True)]
    asked = [make(name, code(arrays[0].dtype), None) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "node", given, asked)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset_version)])
    return Prepared(model, _place(device)).run(arrays)


class Prepared:
    """A model that is ready to run on a device, as `onnx.backend.base.BackendRep`."""

    def __init__(self, model: Any, place: Placement) -> None:
        self._model, self._place = model, place
        defaults = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [info.name for info in model.graph.input if info.name not in defaults]
        weights = {name for node in model.graph.node if node.op_type == "RNN" for name in list(node.input)[WEIGHTS]}
        self._weights = weights & set(self._inputs)
        self._program = None if self._weights else read_graph(model, Tensors(None))

    def run(self, inputs: Any) -> tuple[Host, ...]:
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
        ArgumentError, FormatError, ShapeError, DTypeError
        """
        given = inputs if isinstance(inputs, dict) else dict(zip(self._inputs, inputs, strict=False))
        if len(given) != len(inputs) or given.keys() != set(self._inputs):
            msg = f"the inputs must be {self._inputs}; got {list(given) if isinstance(inputs, dict) else len(inputs)}."
            raise ArgumentError(msg)
        arrays = {name: np.asarray(value) for name, value in given.items()}
        known = {name: arrays[name] for name in self._weights}
        return run_program(self._program or read_graph(self._model, Tensors(None), known), arrays, self._place)


def run_program(
    program: Program, arrays: dict[str, Host], place: Placement, dtype: str | None = None
) -> tuple[Host, ...]:
    """Return the outputs of a graph for its inputs, computed in the dtype of its weights or in another."""
    from rnn_backends.model import RNN

    bottom, source = program.stages[0], program.input
    _require_input(arrays[source.name], source)
    axes = [(bottom.seq,), *([bottom.batch] if bottom.batch else [])]
    features = source.atoms[-1:] if isinstance(bottom.below, Source) else ()
    x = arranged(arrays[source.name], source.atoms, [*axes, *([features] if features else [])])
    h_0 = _initial_states(program, arrays, x)
    lengths = None if bottom.lengths is None else arrays[bottom.lengths.name]
    rnn = RNN._placed(replace(program.network, batch_first=False), place, dtype)
    output, h_n = rnn(x, h_0, lengths=lengths)
    found = []
    for flow in program.outputs.values():
        content: Result = flow.content
        base = _states(content, output) if content.stage is not None else _last_states(program, content, h_n)
        if content.readout is not None and rnn.readout is not None:
            base = rnn.readout(base)
            base = base if content.readout.activation is None else rnn.readout.activate(base)
        host = base if isinstance(base, np.ndarray) else to_numpy(base)
        if content.stage is not None and content.readout is None and content.stage.directions:
            host = host.reshape((*host.shape[:-1], 2, host.shape[-1] // 2))
        found.append(arranged(host, content.atoms, flow.axes))
    return tuple(found)


def _initial_states(program: Program, arrays: dict[str, Host], x: Host) -> Host | None:
    """Return the given initial states of all cells; zeros where a layer has none, None where no layer has any."""
    if all(flow is None for stage in program.stages for flow in stage.h_0):
        return None
    batch = x.shape[1:2] if program.stages[0].batch else ()
    found = []
    for stage in program.stages:
        cells = len(stage.layer.cells) // len(stage.h_0)
        for flow in stage.h_0:
            if flow is None:
                found.append(np.zeros((cells, *batch, stage.hidden.size or 0), arrays[program.input.name].dtype))
                continue
            source: Source = flow.content
            array = arrays[source.name]
            _require_input(array, source)
            held = arranged(array[source.start : source.stop], source.atoms, flow.axes)
            found.append(held if batch else held[:, 0])
    return np.concatenate(found)


def _require_input(array: Host, source: Source) -> None:
    """Check that an input has the dtype and the number of axes that the graph declares."""
    if source.dtype == "bfloat16":
        known = "rnn_backends.from_onnx reads the model in float32"
        msg = f"the input {source.name!r} is bfloat16, which NumPy has not; {known}."
        raise DTypeError(msg)
    if array.dtype.name != source.dtype or array.ndim != len(source.atoms):
        wanted = f"{source.dtype} with {len(source.atoms)} axes"
        msg = f"the input {source.name!r} must be {wanted}; got {array.dtype.name} of shape {array.shape}."
        raise DTypeError(msg)


def _last_states(program: Program, content: Result, h_n: Any) -> Any:
    """Return the last states of some cells."""
    own = [cell for stage in program.stages for cell, _ in stage.layer.cells]
    chosen = [own.index(cell) for cell in content.cells]
    if len(chosen) == 1:
        return h_n[chosen[0], ...]
    return to_numpy(h_n)[chosen]


def _states(content: Result, output: Any) -> Any:
    """Return the states of all steps, or of one."""
    if content.step is None:
        return output
    if output.shape[0] == 0:
        msg = "the model gives one step, and the input has none."
        raise ShapeError(msg)
    return output[content.step, ...]


def _place(device: str) -> Placement:
    kind, _, number = device.partition(":")
    if kind == "CUDA":
        return parse(f"cupy:{number}" if number else "cupy", f"the device {device!r} of ONNX")
    place = select()
    if device != "CPU" or place.device.partition(":")[0] in ACCELERATORS:
        msg = (
            f"the device must be 'CPU', 'CUDA' or 'CUDA:1'; got {device!r}, and the backend that is selected, "
            f"{place.backend.name}, is on {place.device}."
        )
        raise DeviceError(msg)
    return place
