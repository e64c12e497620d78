"""Attributes of the operator RNN (opsets 7, 14 and 22), and its weights as a layer."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer
from rnn_backends.core.messages import got, listed, shown
from rnn_backends.errors import FormatError, RNNBackendError
from rnn_backends.formats.advice import way

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
ACTIVATIONS = {
    "Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "Affine": "affine", "LeakyRelu": "leaky_relu",
    "ThresholdedRelu": "thresholded_relu", "ScaledTanh": "scaled_tanh", "HardSigmoid": "hard_sigmoid",
    "Elu": "elu", "Softsign": "softsign", "Softplus": "softplus",
}  # fmt: skip
# ONNX's attributes are float32, and so are its operators' defaults; ScaledTanh has none.
DEFAULTS: Mapping[str, Mapping[str, float | None]] = {
    "affine": {"alpha": 1.0, "beta": 0.0},
    "leaky_relu": {"alpha": float(np.float32(0.01))},
    "thresholded_relu": {"alpha": 1.0},
    "scaled_tanh": {"alpha": None, "beta": None},
    "hard_sigmoid": {"alpha": float(np.float32(0.2)), "beta": 0.5},
    "elu": {"alpha": 1.0},
}


def spoken(activation: Any, clip: float | None) -> tuple[Any, float | None]:
    """Return an activation and a clip as the operator has them: a clipped ReLU is its Relu of a clipped argument."""
    if activation.name != "clipped_relu":
        return activation, clip
    return Activation("relu"), activation.alpha if clip is None else min(clip, activation.alpha)


class Options(NamedTuple):
    """The attributes of a node, checked."""

    reverse: tuple[bool, ...]
    activations: tuple[Activation, ...]
    clip: float | None
    hidden_size: int | None
    layout: int


def options(attributes: Mapping[str, Any]) -> Options:
    """Return the options that the attributes of an RNN node give."""
    direction, layout = attributes.get("direction", "forward"), attributes.get("layout", 0)
    if direction not in DIRECTIONS:
        msg = f"`direction` must be one of {', '.join(DIRECTIONS)}; got {shown(direction)}."
        raise FormatError(msg)
    if layout not in {0, 1}:
        msg = f"`layout` must be 0 or 1; got {got(layout)}."
        raise FormatError(msg)
    reverse = DIRECTIONS[direction]
    activations = _activations(attributes, len(reverse))
    return Options(reverse, activations, attributes.get("clip"), attributes.get("hidden_size"), layout)


def _activations(attributes: Mapping[str, Any], count: int) -> tuple[Activation, ...]:
    """Return the activation of each direction.

    alpha and beta are consumed in the order of the activations, by those that have them.
    """
    given = attributes.get("activations", ["Tanh"] * count)
    if len(given) == 2 and count == 1 and len(set(given)) == 1:  # the default has two, whatever the direction
        given = given[:1]
    if len(given) != count:
        msg = f"`activations` must name {count}, one a direction; got {listed(given)}."
        raise FormatError(msg)
    known = {name.lower(): own for name, own in ACTIVATIONS.items()}
    if unknown := [name for name in given if name.lower() not in known]:
        msg = f"`activations` must be of {', '.join(ACTIVATIONS)}; got {shown(unknown[0])}."
        raise FormatError(msg)
    names = [known[name.lower()] for name in given]
    values = {which: _consumed(attributes, which, names) for which in ("alpha", "beta")}
    try:
        return tuple(
            Activation(name, alpha, beta)
            for name, alpha, beta in zip(names, values["alpha"], values["beta"], strict=True)
        )
    except RNNBackendError as error:
        msg = f"`activations` are wrong: {error}"
        raise FormatError(msg) from error


def _consumed(attributes: Mapping[str, Any], which: str, names: list[str]) -> list[float | None]:
    """Return the alpha or the beta of each activation."""
    given = attributes.get(f"activation_{which}", [])
    takers = [index for index, name in enumerate(names) if which in DEFAULTS.get(name, {})]
    values = [DEFAULTS.get(name, {}).get(which) for name in names]
    for index, value in zip(takers, given, strict=False):
        values[index] = value
    # One value a direction, needed or not, is how others read the list; with both readings equal nothing is lost.
    by_direction = [given[index] for index in takers] if len(given) == len(names) else None
    if len(given) > len(takers) and by_direction != given[: len(takers)]:
        msg = (
            f"`activation_{which}` has {len(given)} values where {len(takers)} of the activations {listed(names)} take "
            f"one; which value belongs to which would be a guess; {way('onnx_as_many')}."
        )
        raise FormatError(msg)
    return values


def layer(found: Options, w: Host, r: Host, b: Host | None) -> Layer:
    """Return the layer of a node's weights: W (D, H, I), R (D, H, H) and B (D, 2 H), Wb before Rb."""
    count = len(found.reverse)
    hidden_size = r.shape[-1] if r.ndim else 0
    if found.hidden_size not in {None, hidden_size}:
        msg = f"`hidden_size` is {found.hidden_size}, but R has shape {shown(r.shape)}."
        raise FormatError(msg)
    wanted = {
        "W": (w, (count, hidden_size, w.shape[-1] if w.ndim else 0), "(num_directions, hidden_size, input_size)"),
        "R": (r, (count, hidden_size, hidden_size), "(num_directions, hidden_size, hidden_size)"),
        "B": (b, (count, 2 * hidden_size), "(num_directions, 2 hidden_size)"),
    }
    for name, (array, shape, axes) in wanted.items():
        if array is not None and array.shape != shape:
            msg = f"{name} must have shape {axes} = {shown(shape)}; got {shown(array.shape)}."
            raise FormatError(msg)
    cells = {}
    for d, reverse in enumerate(found.reverse):
        bias = None if b is None else _summed(b[d, :hidden_size], b[d, hidden_size:])
        try:
            cells[reverse] = Cell(w[d], r[d], bias, found.activations[d], found.clip)
        except RNNBackendError as error:
            msg = f"its weights make no cell: {error}"
            raise FormatError(msg) from error
    return Layer(cells.get(False), cells.get(True))


def _summed(first: Host, second: Host) -> Host:
    """Return the sum of the two biases, without a warning where it overflows."""
    with np.errstate(all="ignore"):
        total: Host = first + second
    return total
