"""Operators that scale and shift features by constants, which are folded into the Linear or the layer beside them.

Scales and shifts are kept in float64 and go into a weight and a bias at the end, which are rounded once.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.onnx import moments
from rnn_backends.formats.onnx.flow import Flow, Result, Tokens, outlined, size_of
from rnn_backends.formats.onnx.interpreter import FLOAT, INT, Call, Operator
from rnn_backends.formats.onnx.moments import moment_of
from rnn_backends.formats.onnx.repeated import elementwise, mul
from rnn_backends.formats.onnx.scales import Affine, composed, features_of
from rnn_backends.formats.onnx.shapes import computed
from rnn_backends.formats.scaling import Scaling, of_batch_norm


def scaled(call: Call, flow: Flow, factor: Host | float, shift: Host | float) -> Flow:
    """Return a flow times a constant plus a constant, each one number or one for each feature."""
    content = flow.content
    step = None if isinstance(content, Result) else moment_of(call, flow)
    features = features_of(content) if step is None else moments.features_of(step.content)
    if features is None or isinstance(content, Tokens):
        msg = "constants can scale and shift the features of the input, what Linears give, and states alone."
        raise FormatError(msg)
    place = next((place for place, group in enumerate(flow.axes) if group == features), None)
    given = [np.asarray(each) for each in (factor, shift)]
    call.graph.kept.copied("the scales of its features", 16 * max(each.size for each in given))
    one, two = (_row(flow, place, each) for each in given)
    if step is not None:
        if step.content.link is not None:
            msg = "single steps of what a Linear gives are scaled, which no model does."
            raise FormatError(msg)
        root = call.graph.shared.affine(step.content.root, one, two)
        return Flow(replace(step.content, root=root), flow.axes)
    linears = getattr(content, "linears", ())
    if linears and linears[-1].activation is None and not isinstance(content, Affine):
        call.graph.account.take("the products before it", "items", len(linears) - 1)
        last = replace(linears[-1], after=composed(linears[-1].after, one, two))
        return Flow(replace(content, linears=(*linears[:-1], last)), flow.axes)
    if isinstance(content, Affine):
        return Flow(Affine(content.under, composed(content.scale, one, two)), flow.axes)
    return Flow(Affine(content, Scaling(one, two)), flow.axes)


def _row(flow: Flow, place: int | None, constant: Host) -> Host:
    """Return a constant as one number, or one for each feature, in float64."""
    wide = [k for k, size in enumerate(constant.shape) if size != 1]
    places = [k + len(flow.axes) - constant.ndim for k in wide]
    size = None if place is None else size_of(flow.axes[place])
    fits = constant.ndim <= len(flow.axes) and constant.dtype.kind == "f"
    if not fits or (wide and (places != [place] or size not in {None, constant.size})):
        names = outlined(flow.axes)
        own = f"{shown(constant.shape)} of {constant.dtype.name}"
        msg = f"its constant, {own}, must be one number or one a feature of {names}."
        raise FormatError(msg)
    return constant.astype(np.float64, copy=False).reshape(-1 if wide else ())


def _sided(call: Call, a: Any, b: Any, name: str, function: Callable[..., Any]) -> tuple[Flow, Host] | Host:
    """Return the flow and the constant of a node, or its result where both are constants."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return elementwise(call, name, function, a, b)
    flow, constant = (a, b) if isinstance(a, Flow) else (b, a)
    if not isinstance(flow, Flow) or not isinstance(constant, np.ndarray):
        msg = f"only constants can be {name}, or the features of the input, what Linears give, and states by constants."
        raise FormatError(msg)
    return flow, constant


def _require_floating(constant: Host) -> None:
    if constant.dtype.kind != "f":
        msg = f"features are scaled and shifted by constants of floating point; got one of {constant.dtype.name}."
        raise FormatError(msg)


def multiply(call: Call, a: Any, b: Any) -> Any:
    """Multiply constants, or features by a constant."""
    if not isinstance(a, Flow) and not isinstance(b, Flow):
        return mul(call, a, b)
    found = _sided(call, a, b, "multiplied", np.multiply)
    return scaled(call, found[0], found[1], 0.0) if isinstance(found, tuple) else found


def subtract(call: Call, a: Any, b: Any) -> Any:
    """Subtract constants, or a constant from features."""
    found = _sided(call, a, b, "subtracted", np.subtract)
    if not isinstance(found, tuple):
        return found
    flow, constant = found
    _require_floating(constant)
    if flow is not a:
        return scaled(call, flow, -1.0, constant)
    return scaled(call, flow, 1.0, computed(call, constant.size, constant.dtype, np.negative, constant))


def divide(call: Call, a: Any, b: Any) -> Any:
    """Divide constants, or features by a constant."""
    found = _sided(call, a, b, "divided", _quotient)
    if not isinstance(found, tuple):
        return found
    flow, constant = found
    if flow is not a:
        msg = "it divides by an array that depends on the input."
        raise FormatError(msg)
    _require_floating(constant)
    factor = computed(call, 2 * constant.size, np.float64, lambda: 1.0 / constant.astype(np.float64))
    return scaled(call, flow, factor, 0.0)


def _quotient(a: Host, b: Host) -> Any:
    # Of integers the quotient is cut towards zero; nothing that a network needs divides them.
    if "f" not in {a.dtype.kind, b.dtype.kind}:
        msg = "integers are not divided"
        raise ValueError(msg)
    return np.divide(a, b)


def batch_norm(call: Call, x: Any, scale: Any, shift: Any, mean: Any, variance: Any) -> Flow:
    """Scale and shift features by what a BatchNorm has learnt."""
    held = (scale, shift, mean, variance)
    if not all(isinstance(each, np.ndarray) and each.dtype.kind == "f" and each.ndim == 1 for each in held):
        msg = "its scale, B, mean and variance must be constants, one number a feature."
        raise FormatError(msg)
    if call.get("training_mode", 0):
        msg = f"it is in training mode, in which each batch is scaled by its own mean and variance; {way('onnx_eval')}."
        raise FormatError(msg)
    if call.get("spatial", 1) != 1 or len({each.size for each in held}) != 1:
        msg = "its scale, B, mean and variance must be of one size, and `spatial` 1."
        raise FormatError(msg)
    if not isinstance(x, Flow) or len(x.axes) < 2 or x.axes[1] != features_of(x.content):
        msg = "it must be over the features, which are to be its axis 1."
        raise FormatError(msg)
    call.graph.kept.copied("the scales of its features", 48 * scale.size)
    gamma, beta, average, spread = (each.astype(np.float64) for each in held)
    factor, shift = of_batch_norm(gamma, beta, average, spread, call.get("epsilon", float(np.float32(1e-5))))
    lifted = (slice(None), *(None,) * (len(x.axes) - 2))
    return scaled(call, x, factor[lifted], shift[lifted])


OPERATORS = {
    "Mul": Operator(multiply, {}),
    "Sub": Operator(subtract, {}),
    "Div": Operator(divide, {}),
    "BatchNormalization": Operator(
        batch_norm, {"epsilon": FLOAT, "momentum": FLOAT, "training_mode": INT, "spatial": INT}
    ),
}
