"""Operators of the readout: a matrix product, a bias and an activation."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.errors import FormatError, RNNBackendError
from rnn_backends.formats.onnx.flow import Axis, Flow, Readout, Result, named, size_of
from rnn_backends.formats.onnx.interpreter import FLOAT, INT, Call, Operator
from rnn_backends.formats.onnx.node import DEFAULTS
from rnn_backends.formats.onnx.shapes import places


def matmul(call: Call, a: Any, b: Any) -> Flow:
    """Read out states."""
    return _read_out(a, b)


def gemm(call: Call, a: Any, b: Any, c: Any = None) -> Flow:
    """Read out states."""
    if (call.get("alpha", 1.0), call.get("beta", 1.0), call.get("transA", 0)) != (1.0, 1.0, 0) or (
        isinstance(a, Flow) and len(a.axes) != 2
    ):
        msg = "it must have alpha and beta 1, transA 0 and a first input of 2 axes."
        raise FormatError(msg)
    found = _read_out(a, b.T if isinstance(b, np.ndarray) and call.get("transB", 0) else b)
    return found if c is None else _with_bias(found, c)


def _read_out(a: Any, b: Any) -> Flow:
    content = a.content if isinstance(a, Flow) else None
    if not isinstance(content, Result) or content.readout is not None or not isinstance(b, np.ndarray) or b.ndim != 2:
        msg = "it must multiply states of the last layer by a constant matrix, once: a model has one readout."
        raise FormatError(msg)
    features = content.stage.features if content.stage is not None else content.atoms[-1:]
    if len(content.cells) > 1 or not a.axes or a.axes[-1] != features or size_of(features) != b.shape[0]:
        names = " by ".join(f"({named(group)})" for group in a.axes)
        msg = f"its matrix, {b.shape}, must take the states of one step; the axes of its input are {names}."
        raise FormatError(msg)
    output = Axis("output_size", b.shape[1])
    atoms = (*content.atoms[: len(content.atoms) - len(features)], output)
    held = Result(atoms, content.stage, content.cells, content.step, Readout(b.T, output))
    return Flow(held, (*a.axes[:-1], (output,)))


def add(call: Call, a: Any, b: Any) -> Flow:
    """Add the bias of the readout."""
    flow, bias = (a, b) if isinstance(a, Flow) else (b, a)
    return _with_bias(flow, bias)


def _with_bias(flow: Any, bias: Any) -> Flow:
    content = flow.content if isinstance(flow, Flow) else None
    readout = content.readout if isinstance(content, Result) else None
    if (
        readout is None
        or readout.bias is not None
        or readout.activation is not None
        or flow.axes[-1:] != ((readout.output,),)
    ):
        msg = "a constant can be added only once, as the bias of the readout."
        raise FormatError(msg)
    outputs = readout.weight.shape[0]
    fits = isinstance(bias, np.ndarray) and bias.size == outputs and bias.ndim <= len(flow.axes)
    if not fits or (bias.ndim and bias.shape[-1] != outputs):
        msg = f"the bias of the readout must be a constant of shape ({outputs},)."
        raise FormatError(msg)
    return _read(flow, Readout(readout.weight, readout.output, bias.reshape(outputs)))


def _read(flow: Flow, readout: Readout) -> Flow:
    content = flow.content
    return Flow(Result(content.atoms, content.stage, content.cells, content.step, readout), flow.axes)


def activation(name: str) -> Callable[[Call, Any], Flow]:
    """Return the function that reads the operator of an activation."""

    def read(call: Call, data: Any) -> Flow:
        content = data.content if isinstance(data, Flow) else None
        readout = content.readout if isinstance(content, Result) else None
        if readout is None or readout.activation is not None:
            msg = "it can only be the activation of the readout, and its last operation."
            raise FormatError(msg)
        if name in {"softmax", "log_softmax"}:
            _require_last(call, data, readout)
        defaults = DEFAULTS.get(name, {})
        try:
            g2 = Activation(name, **{key: call.get(key, value) for key, value in defaults.items()})
        except RNNBackendError as error:
            msg = f"it is wrong: {error}"
            raise FormatError(msg) from error
        return _read(data, Readout(readout.weight, readout.output, readout.bias, g2))

    return read


def _require_last(call: Call, data: Flow, readout: Readout) -> None:
    """Check that a softmax is over the outputs: before opset 13 it is over all axes from `axis` on."""
    rank = len(data.axes)
    (place,) = places([call.get("axis", -1 if call.opset >= 13 else 1)], rank)
    if place != rank - 1 or data.axes[-1] != (readout.output,):
        over = f"axis {place}" if call.opset >= 13 else f"all axes from {place} on"
        msg = f"it must be over the outputs, the last of {rank} axes; it is over {over}."
        raise FormatError(msg)


OPERATORS = {
    "MatMul": Operator(matmul, {}),
    "Gemm": Operator(gemm, {"alpha": FLOAT, "beta": FLOAT, "transA": INT, "transB": INT}),
    "Add": Operator(add, {}),
    "Softmax": Operator(activation("softmax"), {"axis": INT}),
    "LogSoftmax": Operator(activation("log_softmax"), {"axis": INT}),
    "Sigmoid": Operator(activation("sigmoid"), {}),
    "Tanh": Operator(activation("tanh"), {}),
    "Relu": Operator(activation("relu"), {}),
    "LeakyRelu": Operator(activation("leaky_relu"), {"alpha": FLOAT}),
    "Elu": Operator(activation("elu"), {"alpha": FLOAT}),
    "HardSigmoid": Operator(activation("hard_sigmoid"), {"alpha": FLOAT, "beta": FLOAT}),
    "ThresholdedRelu": Operator(activation("thresholded_relu"), {"alpha": FLOAT}),
    "Softsign": Operator(activation("softsign"), {}),
    "Softplus": Operator(activation("softplus"), {}),
}
