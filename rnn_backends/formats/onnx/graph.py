"""An ONNX graph as it is made, and the nodes of a Linear."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.linear import Linear
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.onnx.node import ACTIVATIONS

NAMES: dict[str, str] = {own: name for name, own in ACTIVATIONS.items()}
"""The activations of RNN by the names that they have here."""
_OPERATORS = {
    "softmax": "Softmax",
    "log_softmax": "LogSoftmax",
    "clipped_relu": "Clip",
    # of RNN only: there are no operators of these names
    **{own: name for own, name in NAMES.items() if own not in {"affine", "scaled_tanh"}},
}


class Graph:
    """The nodes and tensors of a graph as it is made."""

    def __init__(self, onnx: Any) -> None:
        self._helper, self._from_array = onnx.helper, onnx.numpy_helper.from_array
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []

    def node(self, kind: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its first output."""
        self._nodes.append(self._helper.make_node(kind, inputs, outputs, name=f"{kind}_{outputs[0]}", **attributes))
        return outputs[0]

    def tensor(self, name: str, array: Host) -> str:
        """Add a constant; return its name."""
        self._tensors.append(self._from_array(np.asarray(array, order="C"), name))
        return name

    def value(self, name: str, dtype: Any, axes: Sequence[Any]) -> Any:
        """Return the declaration of an input or an output."""
        return self._helper.make_tensor_value_info(name, self.element(dtype), axes)

    def element(self, dtype: Any) -> int:
        """Return ONNX's number of a dtype."""
        return int(self._helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def proto(self, given: Sequence[Any], asked: Sequence[Any]) -> Any:
        """Return the GraphProto."""
        return self._helper.make_graph(self._nodes, "rnn", given, asked, self._tensors)

    def linear(
        self, place: str, linear: Linear, x: str, names: tuple[str, str] | None = None, ids: bool = False
    ) -> str:
        """Add a Linear, of features or of token ids; return the name of what it gives.

        The results before and after the activation have given names, or some of their own.
        """
        held: Any = linear.activation
        logits, activated = names or (f"{place}.product", f"{place}.activated")
        product = logits if linear.bias is None else f"{place}.without_bias"
        weight = self.tensor(f"{place}.weight", np.ascontiguousarray(np.asarray(linear.weight).T))
        found = self.node("Gather", [weight, x], product) if ids else self.node("MatMul", [x, weight], product)
        if linear.bias is not None:
            found = self.node("Add", [found, self.tensor(f"{place}.bias", np.asarray(linear.bias))], logits)
        if held.name == "identity":
            return found
        if held.name == "clipped_relu":
            ends = {"min": 0.0, "max": held.alpha}
            bounds = [self.tensor(f"{place}.{end}", held_in(linear).type(value)) for end, value in ends.items()]
            return self.node("Clip", [found, *bounds], activated)
        given = {key: value for key in ("alpha", "beta") if (value := getattr(held, key)) is not None}
        axis = {"axis": -1} if held.name.endswith("softmax") else {}
        return self.node(_OPERATORS[held.name], [found], activated, **given, **axis)


def held_in(linear: Linear) -> np.dtype[Any]:
    """Return the dtype in which a graph holds alpha and beta of a Linear: inputs of Clip, attributes of all others."""
    held: Any = linear.activation
    return np.asarray(linear.weight).dtype if held.name == "clipped_relu" else np.dtype(np.float32)


def require_operator(place: str, linear: Linear) -> None:
    """Check that there is an operator of the activation of a Linear."""
    held: Any = linear.activation
    if held.name not in {"identity", *_OPERATORS}:
        msg = f"ONNX has no operator for {shown(held.name)}, the activation of {place}; {way('save_as')}."
        raise FormatError(msg)


def places_of(role: str, linears: Sequence[Linear]) -> dict[str, Linear]:
    """Return the Linears of an encoder or a readout by their names: ``readout``, or ``readout.0`` and so on."""
    return {role if len(linears) == 1 else f"{role}.{k}": linear for k, linear in enumerate(linears)}
