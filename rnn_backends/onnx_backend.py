"""ONNX's backend interface: a model is prepared for a device, and run on NumPy arrays.

The functions are those of `onnx.backend.base.Backend`, so that
``onnx.backend.test.BackendTest(rnn_backends.onnx_backend, __name__)`` tests this package.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnn_backends.backends.selection import Placement, parse, select
from rnn_backends.core.arrays import Host, is_masked
from rnn_backends.core.messages import got, listed, short, shown
from rnn_backends.errors import ArgumentError, DeviceError, FormatError, RNNBackendError
from rnn_backends.formats.onnx import package
from rnn_backends.model.program import Prepared

ACCELERATORS = {"cuda", "gpu", "tpu", "mps", "rocm", "xpu"}


def supports_device(device: str) -> bool:
    """Return whether models can run on a device.

    Parameters
    ----------
    device : str
        ``"CPU"``, ``"CUDA"`` or ``"CUDA:1"``; see `prepare`.

    Returns
    -------
    bool

    Examples
    --------
    >>> from rnn_backends import onnx_backend
    >>> onnx_backend.supports_device("CPU")
    True
    >>> onnx_backend.supports_device("TPU")
    False
    """
    try:
        _placement(device)
    except RNNBackendError:
        return False
    return True


def is_compatible(model: Any, device: str = "CPU") -> bool:
    """Return whether a model can be run on a device.

    Parameters
    ----------
    model : onnx.ModelProto
    device : str, default "CPU"
        See `prepare`.

    Returns
    -------
    bool
        False where `prepare` refuses the model or the device.

    Examples
    --------
    >>> import onnx  # doctest: +SKIP
    >>> from rnn_backends import onnx_backend  # doctest: +SKIP
    >>> onnx_backend.is_compatible(onnx.load("lstm.onnx"))  # doctest: +SKIP
    False
    """
    try:
        prepare(model, device)
    except RNNBackendError:
        return False
    return True


def prepare(model: Any, device: str = "CPU") -> Prepared:
    """Prepare a model to run on a device.

    Parameters
    ----------
    model : onnx.ModelProto
        As for `rnn_backends.from_onnx`; W, R and B of its nodes may be inputs of the graph, too.
    device : str, default "CPU"
        ``"CPU"`` is the backend of `rnn_backends.use_backend` or RNN_BACKEND, by default NumPy, and must not be a
        GPU's; ``"CUDA"`` and ``"CUDA:1"`` are CuPy.

    Returns
    -------
    Prepared
        `Prepared.run` runs the model.

    Raises
    ------
    FormatError
        The model is not valid ONNX, or not a network that this package can run.
    DeviceError, RNNBackendError
        The device is unknown or cannot be used.

    Examples
    --------
    >>> import onnx  # doctest: +SKIP
    >>> from rnn_backends import onnx_backend  # doctest: +SKIP
    >>> prepared = onnx_backend.prepare(onnx.load("model.onnx"), "CPU")  # doctest: +SKIP
    >>> y, y_h = prepared.run([x])  # doctest: +SKIP
    """
    onnx = package()
    _require("model", model, onnx.ModelProto)
    checker = onnx.checker
    try:
        checker.check_model(model)
    except checker.ValidationError as error:
        msg = f"the model is not valid ONNX: {short(error)}."
        raise FormatError(msg) from error
    return Prepared(model, _placement(device))


def run_model(model: Any, inputs: Any, device: str = "CPU") -> tuple[Host, ...]:
    """Run a model once.

    Parameters
    ----------
    model : onnx.ModelProto
    inputs : sequence or mapping of arrays
        See `Prepared.run`.
    device : str, default "CPU"
        See `prepare`.

    Returns
    -------
    tuple of numpy.ndarray
        The outputs of the graph, in its order.

    Raises
    ------
    FormatError, DeviceError, ArgumentError, ShapeError, DTypeError
        As `prepare` and `Prepared.run`.

    Examples
    --------
    >>> import onnx  # doctest: +SKIP
    >>> from rnn_backends import onnx_backend  # doctest: +SKIP
    >>> y, y_h = onnx_backend.run_model(onnx.load("model.onnx"), {"X": x})  # doctest: +SKIP
    """
    return prepare(model, device).run(inputs)


def run_node(
    node: Any, inputs: Sequence[Any], device: str = "CPU", outputs_info: Any = None, *, opset_version: int = 22
) -> tuple[Host, ...]:
    """Run one RNN node.

    Parameters
    ----------
    node : onnx.NodeProto
    inputs : sequence of arrays
        Those of the node that have a name, in their order.
    device : str, default "CPU"
        See `prepare`.
    outputs_info : optional
        Part of ONNX's interface; not needed, as the shapes of the outputs follow from the inputs.
    opset_version : int, default 22
        The version of the operators.

    Returns
    -------
    tuple of numpy.ndarray
        The outputs of the node that have a name.

    Raises
    ------
    ArgumentError
        There are more or fewer inputs than the node has.
    FormatError, DeviceError, ShapeError, DTypeError
        As `prepare` and `Prepared.run`.

    Examples
    --------
    >>> import onnx  # doctest: +SKIP
    >>> from rnn_backends import onnx_backend  # doctest: +SKIP
    >>> names = ["X", "W", "R"], ["", "Y_h"]
    >>> node = onnx.helper.make_node("RNN", *names, hidden_size=5)  # doctest: +SKIP
    >>> (y_h,) = onnx_backend.run_node(node, [x, w, r])  # doctest: +SKIP
    """
    onnx = package()
    _require("node", node, onnx.NodeProto)
    _require("inputs", inputs, Sequence)
    _require("opset_version", opset_version, int)
    names = [name for name in node.input if name]
    arrays = [_array(name, value) for name, value in zip(names, inputs, strict=False)]
    if len(names) != len(inputs):
        msg = f"the node has the inputs {listed(names)}; got {len(inputs)} arrays."
        raise ArgumentError(msg)
    code = onnx.helper.np_dtype_to_tensor_dtype
    make = onnx.helper.make_tensor_value_info
    given = [make(name, code(array.dtype), array.shape) for name, array in zip(names, arrays, strict=True)]
    asked = [make(name, code(arrays[0].dtype), None) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "node", given, asked)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset_version)])
    return Prepared(model, _placement(device)).run(arrays)


def _require(name: str, value: Any, wanted: type) -> None:
    if not isinstance(value, wanted) or isinstance(value, (str, bytes, bool)):
        known = {Sequence: "a sequence of arrays", int: "an integer"}.get(wanted, f"an onnx.{wanted.__name__}")
        msg = f"`{name}` must be {known}; got {got(value)}."
        raise ArgumentError(msg)


def _array(name: str, value: Any) -> Host:
    """Return an input as an array of numbers."""
    try:
        found = None if is_masked(value) else np.asarray(value)
    except (TypeError, ValueError):  # of nested sequences that are no array
        found = None
    if found is None or found.dtype.kind not in "fiu":
        held = got(value) if found is None else found.dtype.name[:40]
        msg = f"the input {shown(name)} must be an array of numbers, without a mask; got {held}."
        raise ArgumentError(msg)
    return found


def _placement(device: str) -> Placement:
    """Return the backend and the device that a device of ONNX stands for."""
    kind, _, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if kind == "CUDA":
        return parse(f"cupy:{number}" if number else "cupy", f"the device {got(device)} of ONNX")
    found = select()
    if device != "CPU" or found.device.partition(":")[0] in ACCELERATORS:
        msg = (
            f"the device must be 'CPU', 'CUDA' or 'CUDA:1'; got {got(device)}, and the backend that is selected, "
            f"{found.backend.name}, is on {found.device}."
        )
        raise DeviceError(msg)
    return found
