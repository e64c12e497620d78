"""Writing a network as an ONNX graph of RNN nodes.

Opset 14 holds all that a network needs and runs in every ONNX Runtime since 1.8; what opset 22 adds is
bfloat16, which is float32 on the host.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer, named_arrays
from rnn_backends.core.linear import Linear
from rnn_backends.core.network import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.assembly import plain_cells
from rnn_backends.formats.description import KEY, describe
from rnn_backends.formats.files import replaced
from rnn_backends.formats.onnx.node import ACTIVATIONS, DEFAULTS
from rnn_backends.formats.onnx.proto import MAX_FILE, package

OPSET, IR_VERSION = 14, 7
_NAMES: dict[str, str] = {own: name for name, own in ACTIVATIONS.items()}
_READOUTS = {"softmax": "Softmax", "log_softmax": "LogSoftmax", **_NAMES}
_FUNCTIONS = ("affine", "scaled_tanh")  # of RNN only: there are no operators of these names


def write(network: Network, path: Path) -> None:
    """Write a network.

    The graph takes ``x``, which are token ids where the network has a vocabulary, and gives ``output``, ``h_n``,
    and of a readout ``logits`` and ``probabilities``.  Its states start from zeros, and all steps are valid.
    """
    onnx = package()
    cells = plain_cells(network)
    description = describe(network, cells)
    if sum(array.nbytes for _, array in named_arrays(network)) > MAX_FILE - 2**24:
        msg = "the model has about 2 GiB or more, which an ONNX file cannot hold; save it as .safetensors."
        raise FormatError(msg)
    for place, cell in cells.items():
        _require_expressible(place, cell)
    model = onnx.helper.make_model(
        Writer(onnx, network).graph(),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="rnn_backends",
    )
    onnx.helper.set_model_props(model, {KEY: description})
    data = model.SerializeToString()
    with replaced(path) as file:
        file.write(data)


def _require_expressible(place: str, cell: Cell) -> None:
    """Check that ONNX's RNN has all that a cell has."""
    if cell.leak is not None:
        msg = f"the cell {place} has a leak, which ONNX's RNN has not; save the model as .safetensors or .npz."
        raise FormatError(msg)
    if _activation(cell)[0] not in {"identity", *_NAMES}:
        msg = f"ONNX's RNN has no {_activation(cell)[0]!r}, the activation of {place}; it has {', '.join(_NAMES)}."
        raise FormatError(msg)
    _require_single(place, np.asarray(cell.weight_ih).dtype, cell.clip, *_activation(cell)[1:])


def _require_single(place: str, dtype: Any, *numbers: float | None) -> None:
    """Check that numbers which ONNX holds in float32 are what the model computes with."""
    for number in numbers:
        if number is None:
            continue
        with np.errstate(over="ignore"):
            rounded = float(np.float32(number))
        if rounded != number and (dtype == np.float64 or not np.isfinite(rounded)):
            msg = (
                f"ONNX holds clip, alpha and beta in float32, where {number} of {place} is {rounded}; give that value, "
                "or save the model in float32."
            )
            raise FormatError(msg)


def _activation(holder: Cell | Linear) -> tuple[str, float | None, float | None]:
    held: Any = holder.activation
    return held.name, held.alpha, held.beta


class Writer:
    """A graph as it is made."""

    def __init__(self, onnx: Any, network: Network) -> None:
        self._helper, self._from_array, self._network = onnx.helper, onnx.numpy_helper.from_array, network
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []
        self._first = next(iter(plain_cells(network).values()))
        self._dtype = np.asarray(self._first.weight_ih).dtype
        self._steps = ["batch", "seq_len"] if network.batch_first else ["seq_len", "batch"]

    def graph(self) -> Any:
        """Return the GraphProto."""
        layers, readout = self._network.layers, next(iter(self._network.readout), None)
        x, last = self._input(), []
        for k, layer in enumerate(layers):
            x, final = self._layer(k, layer, x)
            last.append(final)
        self._node("Transpose" if self._network.batch_first else "Identity", [x], "output", **self._swap)
        self._node("Concat", last, "h_n", axis=0)
        cells, hidden = sum(len(layer.cells) for layer in layers), self._first.hidden_size
        outputs = {"output": [*self._steps, len(layers[-1].cells) * hidden], "h_n": [cells, "batch", hidden]}
        if readout is not None:
            outputs |= {name: [*self._steps, readout.output_size] for name in self._readout(readout)}
        given = [self._value("x", np.dtype(np.int64), self._steps)]
        if self._network.vocabulary is None:
            given = [self._value("x", self._dtype, [*self._steps, self._first.input_size])]
        asked = [self._value(name, self._dtype, axes) for name, axes in outputs.items()]
        return self._helper.make_graph(self._nodes, "rnn", given, asked, self._tensors)

    @property
    def _swap(self) -> dict[str, list[int]]:
        return {"perm": [1, 0, 2]} if self._network.batch_first else {}

    def _input(self) -> str:
        """Bring x to (seq_len, batch, input_size)."""
        x = "x"
        if self._network.vocabulary is not None:
            depth = self._tensor("depth", np.array(self._first.input_size))
            x = self._node("OneHot", [x, depth, self._tensor("one_hot", np.array([0, 1], self._dtype))], "one_hot_x")
        return self._node("Transpose", [x], "x_by_steps", **self._swap) if self._network.batch_first else x

    def _layer(self, k: int, layer: Layer, x: str) -> tuple[str, str]:
        """Write a layer as one node, or as two where its cells differ in what a node has one of."""
        cells: list[Any] = [cell for cell, _ in layer.cells]
        if len({(cell.clip, cell.bias is None) for cell in cells}) == 1:
            direction = "bidirectional" if len(cells) == 2 else "forward" if layer.forward is not None else "reverse"
            return self._rnn(f"l{k}", direction, cells, x)
        halves = [self._rnn(f"l{k}{side}", way, [cell], x) for side, way, cell in
                  (("", "forward", cells[0]), ("_reverse", "reverse", cells[1]))]  # fmt: skip
        states, last = zip(*halves, strict=True)
        return (
            self._node("Concat", states, f"states_l{k}_both", axis=2),
            self._node("Concat", last, f"last_l{k}_both", axis=0),
        )

    def _rnn(self, place: str, direction: str, cells: Sequence[Cell], x: str) -> tuple[str, str]:
        """Write a node; return its states (seq_len, batch, D * hidden_size) and its last states."""
        w = self._tensor(f"W_{place}", np.stack([np.asarray(cell.weight_ih) for cell in cells]))
        r = self._tensor(f"R_{place}", np.stack([np.asarray(cell.weight_hh) for cell in cells]))
        inputs = [x, w, r]
        if cells[0].bias is not None:
            biases = [np.asarray(cell.bias) for cell in cells]
            # Minus zero as the second bias: it alone changes nothing that it is added to.
            inputs.append(self._tensor(f"B_{place}", np.stack([np.append(b, np.full_like(b, -0.0)) for b in biases])))
        states, last = f"Y_{place}", f"last_{place}"
        self._nodes.append(
            self._helper.make_node(
                "RNN", inputs, [states, last], name=f"RNN_{place}", direction=direction,
                hidden_size=cells[0].hidden_size, **_options(cells),
            )
        )  # fmt: skip
        if len(cells) == 1:
            axes = self._tensor(f"directions_{place}", np.array([1]))
            return self._node("Squeeze", [states, axes], f"states_{place}"), last
        moved = self._node("Transpose", [states], f"moved_{place}", perm=[0, 2, 1, 3])
        merged = self._tensor(f"merged_{place}", np.array([0, 0, 2 * cells[0].hidden_size]))
        return self._node("Reshape", [moved, merged], f"states_{place}"), last

    def _readout(self, readout: Linear) -> list[str]:
        """Write the readout; return the names of what it gives."""
        name, alpha, beta = _activation(readout)
        if name in _FUNCTIONS or name not in {"identity", *_READOUTS}:
            msg = f"ONNX has no operator for {name!r}, the activation of the readout; save as .safetensors or .npz."
            raise FormatError(msg)
        _require_single("the readout", self._dtype, alpha, beta)
        weight = self._tensor("readout.weight", np.ascontiguousarray(np.asarray(readout.weight).T))
        states = "output"
        if readout.bias is None:
            self._node("MatMul", [states, weight], "logits")
        else:
            product = self._node("MatMul", [states, weight], "product")
            self._node("Add", [product, self._tensor("readout.bias", np.asarray(readout.bias))], "logits")
        if name == "identity":
            return ["logits"]
        given = {key: value for key, value in (("alpha", alpha), ("beta", beta)) if value is not None}
        axis = {"axis": -1} if name.endswith("softmax") else {}
        self._node(_READOUTS[name], ["logits"], "probabilities", **given, **axis)
        return ["logits", "probabilities"]

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self._nodes.append(self._helper.make_node(kind, inputs, [output], name=f"{kind}_{output}", **attributes))
        return output

    def _tensor(self, name: str, array: Host) -> str:
        self._tensors.append(self._from_array(np.asarray(array, order="C"), name))
        return name

    def _value(self, name: str, dtype: Any, axes: Sequence[Any]) -> Any:
        return self._helper.make_tensor_value_info(name, self._helper.np_dtype_to_tensor_dtype(dtype), axes)


def _options(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the activations of a node, its alpha and beta where an activation has them, and its clip."""
    held = [("affine", 1.0, 0.0) if _activation(cell)[0] == "identity" else _activation(cell) for cell in cells]
    found: dict[str, Any] = {"activations": [_NAMES[name] for name, _, _ in held]}
    for place, which in ((1, "alpha"), (2, "beta")):
        values = [item[place] for item in held if which in DEFAULTS.get(item[0], {})]
        if values:
            found[f"activation_{which}"] = values
    if cells[0].clip is not None:
        found["clip"] = cells[0].clip
    return found
