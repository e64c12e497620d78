"""Operators of the encoder and of the readout: a matrix product, a bias and an activation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError, RNNBackendError
from rnn_backends.formats.advice import way
from rnn_backends.formats.onnx import unrolled
from rnn_backends.formats.onnx.affine import scaled
from rnn_backends.formats.onnx.flow import (
    Axis,
    Encoded,
    Flow,
    Input,
    Product,
    Result,
    dtype_of,
    outlined,
    size_of,
)
from rnn_backends.formats.onnx.interpreter import FLOAT, INT, Call, Operator
from rnn_backends.formats.onnx.moments import moment_of
from rnn_backends.formats.onnx.node import DEFAULTS
from rnn_backends.formats.onnx.scales import Affine, features_of
from rnn_backends.formats.onnx.shapes import places
from rnn_backends.formats.onnx.steps import Moment


def matmul(call: Call, a: Any, b: Any) -> Flow:
    """Multiply the input, or states, by a matrix."""
    return _multiplied(call, a, b, transposed=False)


def gemm(call: Call, a: Any, b: Any, c: Any = None) -> Flow:
    """Multiply the input, or states, by a matrix, and add a bias."""
    if (call.get("alpha", 1.0), call.get("beta", 1.0), call.get("transA", 0)) != (1.0, 1.0, 0) or (
        isinstance(a, Flow) and len(a.axes) != 2 and not isinstance(a.content, unrolled.OF_STEPS)
    ):
        msg = "it must have alpha and beta 1, transA 0 and a first input of 2 axes."
        raise FormatError(msg)
    found = _multiplied(call, a, b, transposed=bool(call.get("transB", 0)))
    return found if c is None else add(call, found, c)


def _multiplied(call: Call, a: Any, b: Any, transposed: bool) -> Flow:
    if isinstance(b, np.ndarray) and b.ndim == 2 and b.dtype.kind == "f":
        if (found := unrolled.multiplied(call, a, b, transposed)) is not None:
            return found
        b = b.T if transposed else b
    features = features_of(a.content) if isinstance(a, Flow) else None
    if features is None or not isinstance(b, np.ndarray) or b.ndim != 2 or b.dtype.kind != "f":
        msg = "it must multiply the input, or states of the last layer, by a constant matrix."
        raise FormatError(msg)
    content = a.content.under if isinstance(a.content, Affine) else a.content
    if isinstance(content, Input) and dtype_of(content) != b.dtype.name:
        msg = f"its matrix must be of {dtype_of(content)}, as the input is; got {b.dtype.name}."
        raise FormatError(msg)
    if not a.axes or a.axes[-1] != features or size_of(features) not in {None, b.shape[0]}:
        names = outlined(a.axes)
        msg = f"its matrix, {shown(b.shape)}, must take the features of one step; the axes of its input are {names}."
        raise FormatError(msg)
    before = a.content.scale if isinstance(a.content, Affine) else None
    return appended(call, Flow(content, a.axes), Product(b.T, Axis("output_size", b.shape[1]), before=before))


def appended(call: Call, flow: Flow, product: Product) -> Flow:
    """Return what a further Linear gives of a flow, whose last axis it takes."""
    # Nodes may share a matrix, of which each Linear keeps a copy.
    call.graph.kept.copied("the weights of its products", product.weight.nbytes)
    return _appended(call, flow, product)


def _appended(call: Call, flow: Flow, product: Product) -> Flow:
    held = getattr(flow.content, "linears", ())
    axes = (*flow.axes[:-1], (product.output,))
    return Flow(_with_linears(call, flow.content, (*held, product)), axes)


def _with_linears(call: Call, content: Any, linears: tuple[Product, ...]) -> Any:
    """Return the content of a flow with other Linears, the last of which may be new."""
    call.graph.account.take("the products before it", "items", len(linears) - 1)
    if not isinstance(content, Result):
        return Encoded(content.source if isinstance(content, Encoded) else content, linears)
    kept = tuple(axis for axis in content.atoms if axis not in content.features)
    return replace(content, atoms=(*kept, linears[-1].output), linears=linears)


def add(call: Call, a: Any, b: Any) -> Flow:
    """Add a bias."""
    if isinstance(a, Flow) and isinstance(b, Flow):
        return unrolled.summed(call, a, b)
    flow, bias = (a, b) if isinstance(a, Flow) else (b, a)
    if isinstance(flow, Flow) and isinstance(flow.content, unrolled.OF_STEPS):
        return unrolled.shifted(call, flow, bias)
    product: Any = _last(flow)
    again = product is not None and (
        product.bias is not None or np.size(bias) != len(product.weight) or np.ndim(bias) > len(flow.axes)
    )
    # The first of the steps that a layer takes adds what is left of its recurrent product, where that is folded.
    if again and (step := moment_of(call, flow)) is not None:
        return unrolled.shifted(call, step, bias)
    if again and isinstance(bias, np.ndarray) and bias.ndim > 1 and bias.shape[-1] == product.weight.shape[0]:
        what = f"it adds a row to each sequence, {shown(bias.shape)}, as where the only step starts from zeros"
        msg = f"{what}; {way('onnx_two_steps')}."
        raise FormatError(msg)
    if (
        isinstance(flow, Flow)
        and isinstance(bias, np.ndarray)
        and (product is None or product.bias is not None or product.after is not None)
    ):
        return scaled(call, flow, 1.0, bias)
    return _with_bias(call, flow, bias)


def _last(value: Any) -> Product | None:
    """Return the last Linear of a flow, whose activation has not been applied; None where there is none."""
    linears = getattr(value.content, "linears", ()) if isinstance(value, Flow) else ()
    return linears[-1] if linears and linears[-1].activation is None else None


def changed(call: Call, flow: Flow, product: Product) -> Flow:
    """Return a flow whose last Linear is another, that has the same output."""
    return Flow(_with_linears(call, flow.content, (*flow.content.linears[:-1], product)), flow.axes)


def _with_bias(call: Call, flow: Any, bias: Any) -> Flow:
    product = _last(flow)
    if product is None or product.bias is not None or flow.axes[-1:] != ((product.output,),):
        msg = "a constant can be added only once, as the bias of a Linear of the encoder or the readout."
        raise FormatError(msg)
    outputs = product.weight.shape[0]
    fits = isinstance(bias, np.ndarray) and bias.size == outputs and bias.ndim <= len(flow.axes)
    if not fits or bias.dtype.kind != "f" or (bias.ndim and bias.shape[-1] != outputs):
        msg = f"the bias of a Linear must be a constant of shape ({outputs},)."
        raise FormatError(msg)
    return changed(call, flow, replace(product, bias=bias.reshape(outputs)))


def activation(name: str) -> Callable[[Call, Any], Flow]:
    """Return the function that reads the operator of an activation."""

    def read(call: Call, data: Any) -> Flow:
        defaults = DEFAULTS.get(name, {})
        try:
            g2 = Activation(name, **{key: call.get(key, value) for key, value in defaults.items()})
        except RNNBackendError as error:
            msg = f"it is wrong: {error}"
            raise FormatError(msg) from error
        return activated(call, data, g2)

    return read


def activated(call: Call, data: Any, g2: Activation) -> Flow:
    """Apply an activation to what a Linear gives, to states, or to one step of a recurrence."""
    of_step = isinstance(data, Flow) and isinstance(data.content, unrolled.OF_STEPS)
    product: Any = data.content.link if of_step and isinstance(data.content, Moment) else _last(data)
    if product is None and isinstance(data, Flow):
        data = _as_they_are(call, data)
        product = _last(data)
    if product is None and not of_step:
        msg = "it can only be the activation of a Linear of the encoder or the readout, which has one."
        raise FormatError(msg)
    if g2.name in {"softmax", "log_softmax"} and product is not None:
        _require_last(call, data, product)
    return unrolled.activated(call, data, g2) if of_step else changed(call, data, replace(product, activation=g2))


def _as_they_are(call: Call, states: Flow) -> Flow:
    """Return what a Linear that is an identity gives of states, or of a readout; anything else as it is."""
    before = states.content.scale if isinstance(states.content, Affine) else None
    content = states.content if before is None else states.content.under
    if not isinstance(content, Result) or states.axes[-1:] != (content.features,):
        return states
    size: Any = size_of(content.features)  # known, as a weight has it
    cell: Any = content.cells[0] if content.stage is None else content.stage.layer.cells[0][0]
    weight = content.linears[-1].weight if content.linears else cell.weight_hh
    nbytes = size**2 * weight.itemsize
    call.graph.kept.copied("the identity that its activation follows", 2 * nbytes)  # it, and the model's copy
    product = Product(np.eye(size, dtype=weight.dtype), Axis("output_size", size), before=before)
    return _appended(call, Flow(content, states.axes), product)


def _require_last(call: Call, data: Flow, product: Product) -> None:
    """Check that a softmax is over the outputs: before opset 13 it is over all axes from `axis` on."""
    rank = len(data.axes)
    (place,) = places([call.get("axis", -1 if call.opset >= 13 else 1)], rank)
    if place != rank - 1 or data.axes[-1] != (product.output,):
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
