"""ONNX models made by hand, and how they are run and refused."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import rnn_backends as rb
from rnn_backends import onnx_backend
from rnn_backends.core.activations import Activation
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer
from rnn_backends.testing.cases import ACTIVATIONS, Draw

Arrays = Mapping[str, NDArray[Any]]

NAMES = {
    "relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "affine": "Affine", "leaky_relu": "LeakyRelu",
    "thresholded_relu": "ThresholdedRelu", "scaled_tanh": "ScaledTanh", "hard_sigmoid": "HardSigmoid", "elu": "Elu",
    "softsign": "Softsign", "softplus": "Softplus",
}  # fmt: skip
OF_ONNX = tuple(each for each in ACTIVATIONS if each.name in {*NAMES, "identity"})


def node(kind: str, inputs: Sequence[str], outputs: str | Sequence[str], **attributes: Any) -> onnx.NodeProto:
    outputs = [outputs] if isinstance(outputs, str) else outputs
    return helper.make_node(kind, inputs, outputs, name=f"the_{kind}", **attributes)


def value(
    name: str, array: NDArray[Any] | None = None, shape: Sequence[Any] | None = None, dtype: Any = "float32"
) -> Any:
    dtype = np.dtype(dtype) if array is None else array.dtype
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(dtype), shape if array is None else array.shape
    )


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Any],
    outputs: Sequence[str],
    tensors: Arrays | None = None,
    opset: int = 14,
    dtype: Any = "float32",
) -> onnx.ModelProto:
    held = [numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in (tensors or {}).items()]
    asked = [value(name, shape=[None] * (4 if name == "Y" else 3), dtype=dtype) for name in outputs]
    graph = helper.make_graph(nodes, "graph", list(inputs), asked, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def cells_of(layer: Layer) -> list[Cell]:
    return [cell for cell, _ in layer.cells if isinstance(cell, Cell)]


def weights(layer: Layer, prefix: str = "") -> dict[str, NDArray[Any]]:
    """W, R and B of a layer; the second half of B is not zero."""
    cells = cells_of(layer)
    found = {
        f"{prefix}W": np.stack([cell.weight_ih for cell in cells]),
        f"{prefix}R": np.stack([cell.weight_hh for cell in cells]),
    }
    if cells[0].bias is not None:
        # Halves are exact, and so is their sum.
        found[f"{prefix}B"] = np.stack(
            [np.concatenate([cell.bias * 0.5, cell.bias * 0.5]) for cell in cells if cell.bias is not None]
        )
    return found


def options(layer: Layer) -> dict[str, Any]:
    """The attributes of a layer's node; alpha and beta for the activations that have them, in order."""
    cells = cells_of(layer)
    held = [cell.activation for cell in cells if isinstance(cell.activation, Activation)]
    held = [Activation("affine") if act.name == "identity" else act for act in held]
    direction = "bidirectional" if len(cells) == 2 else "forward" if layer.forward is not None else "reverse"
    found: dict[str, Any] = {"activations": [NAMES[act.name] for act in held], "direction": direction}
    for which in ("alpha", "beta"):
        if values := [getattr(act, which) for act in held if getattr(act, which) is not None]:
            found[f"activation_{which}"] = values
    if cells[0].clip is not None:
        found["clip"] = cells[0].clip
    return found | {"hidden_size": cells[0].hidden_size}


def single(
    layer: Layer,
    x: NDArray[Any],
    lengths: Sequence[int] | None = None,
    h_0: NDArray[Any] | None = None,
    *,
    layout: int = 0,
    opset: int = 14,
    outputs: Sequence[str] = ("Y", "Y_h"),
    given: Sequence[str] = (),
    **changes: Any,
) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:
    """A model of one RNN node, and its inputs; `given` names the weights that are inputs too."""
    inputs: dict[str, NDArray[Any]] = {"X": x.swapaxes(0, 1) if layout else x}
    if lengths is not None:
        inputs["sequence_lens"] = np.array(lengths, np.int32)
    if h_0 is not None:
        inputs["initial_h"] = h_0.swapaxes(0, 1) if layout else h_0
    tensors = weights(layer)
    inputs |= {name: tensors.pop(name) for name in given}
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h"]
    names = [name if name in tensors or name in inputs else "" for name in names]
    while not names[-1]:
        names.pop()
    attributes = options(layer) | ({"layout": layout} if layout else {}) | changes
    attributes = {name: held for name, held in attributes.items() if held is not None}
    made = model(
        [node("RNN", names, outputs, **attributes)],
        [value(name, array) for name, array in inputs.items()],
        [name for name in outputs if name],
        tensors,
        opset,
        x.dtype,
    )
    return made, {name: inputs[name] for name in [info.name for info in made.graph.input]}


def run_on(backend: str, made: onnx.ModelProto, inputs: Any) -> tuple[NDArray[Any], ...]:
    with rb.use_backend(backend):
        return onnx_backend.run_model(made, inputs)


def stack(draw: Draw, sides: str = "fb", count: int = 2, **options_: Any) -> list[rb.Layer]:
    return draw.layers(sides, count, 4, 5, **options_)


def graph_of(
    layers: list[rb.Layer], between: Callable[[str, str], list[onnx.NodeProto]]
) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """The nodes of a stack, and what is between them: from Y{k} to X{k + 1}."""
    nodes: list[onnx.NodeProto] = []
    tensors: dict[str, NDArray[Any]] = {}
    for k, layer in enumerate(layers):
        held = weights(layer, f"l{k}")
        tensors |= held
        nodes.append(node("RNN", [f"X{k}", *held], [f"Y{k}", f"H{k}"], **options(layer)))
        nodes += between(f"Y{k}", f"X{k + 1}")
    return nodes, tensors


def merged(y: str, x: str) -> list[onnx.NodeProto]:
    """Y (T, D, B, H) to (T, B, D H), as torch's exporter writes it."""
    return [node("Transpose", [y], f"{y}_moved", perm=[0, 2, 1, 3]), node("Reshape", [f"{y}_moved", "merge"], x)]


MERGE = {"merge": np.array([0, 0, -1])}


def refused(made: onnx.ModelProto, message: str) -> None:
    with pytest.raises(rb.FormatError, match=message):
        rb.from_onnx(made)


def run_runtime(runtime: Any, made: onnx.ModelProto, inputs: Any) -> list[NDArray[Any]]:
    """The outputs of a model in ONNX Runtime, which wants different names of nodes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(made)
    for number, each in enumerate(copy.graph.node):
        each.name = f"{each.op_type}{number}"
    settings = runtime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = 1
    session = runtime.InferenceSession(copy.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    found: list[NDArray[Any]] = session.run(None, inputs)
    return found


def close(got: NDArray[Any], wanted: NDArray[Any]) -> None:
    """Check numbers of small networks that forget, in which no error grows, against those of another order of sums."""
    assert got.shape == wanted.shape
    bound = 64 * np.finfo(wanted.dtype).eps * (1 + abs(wanted.astype(np.float64)))
    assert (abs(got.astype(np.float64) - wanted) <= bound).all()
