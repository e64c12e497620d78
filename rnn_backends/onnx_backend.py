"""ONNX's backend interface: a model is prepared for a device, and run on NumPy arrays.

The functions are those of `onnx.backend.base.Backend`, so that
``onnx.backend.test.BackendTest(rnn_backends.onnx_backend, __name__)`` tests this package.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnn_backends.backends.selection import Placement, parse, select
from rnn_backends.core.arrays import Host
from rnn_backends.errors import ArgumentError, DeviceError, FormatError, RNNBackendError
from rnn_backends.formats.onnx.network import read_graph
from rnn_backends.formats.onnx.proto import package
from rnn_backends.formats.onnx.tensors import Tensors
from rnn_backends.model.program import run_program

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
