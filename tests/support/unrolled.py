"""Graphs that compute a layer step by step, as exporters write them that have no operator for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx_models import cells_of, model, node, value

import rnn_backends as rb

Arrays = dict[str, NDArray[Any]]
OPERATORS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}
ZERO = {"i0": np.array([0]), "back": np.array([-1]), "far": np.array([-(2**63)])}


def unrolled(
    cell: Any, x: str, y: str, seq_len: int = 5, *, reverse: bool = False, given: str | None = None,
    batch: int = 2, change: Mapping[tuple[str, int], Any] | None = None, order: Sequence[int] | None = None,
) -> tuple[list[onnx.NodeProto], Arrays]:  # fmt: skip
    """The nodes of a layer over all steps of `x` (T, B, I), as torch.onnx.export writes them, and their constants.

    States are `{y}0`, `{y}1`, ... in the order of computation, and `y` all of them; the first lacks its recurrent
    product, unless a state is `given`.  `change` has other names, by the role and the number of a step: "R", "c", "x",
    "before", "activation".
    """
    change, more = change or {}, ["flip"] if reverse else []
    held = {
        f"{y}W": cell.weight_ih.T, f"{y}R": cell.weight_hh.T, f"{y}b": cell.bias * 0.5, f"{y}c": cell.bias * 0.5,
        f"{y}first": np.broadcast_to(cell.bias * 0.5, (1, batch, cell.hidden_size)),
    }  # fmt: skip
    held = {name: np.ascontiguousarray(array) for name, array in held.items()} | ZERO
    nodes = [node("MatMul", [x, f"{y}W"], f"{y}product"), node("Add", [f"{y}product", f"{y}b"], f"{y}input")]
    nodes += [node("Slice", [f"{y}input", "back", "far", "i0", "back"], f"{y}{name}") for name in more]
    source = f"{y}flip" if reverse else f"{y}input"
    for t in range(seq_len):
        held |= {f"i{t}": np.array([t]), f"i{t + 1}": np.array([t + 1])}
        place = change.get(("x", t), t)
        nodes.append(node("Slice", [source, f"i{place}", f"i{place + 1}", "i0"], f"{y}slice{t}"))
        nodes.append(node("Squeeze", [f"{y}slice{t}", "i0"], f"{y}step{t}"))
        before = change.get(("before", t), given if t == 0 else f"{y}{t - 1}")
        if before is not None:
            nodes.append(node("MatMul", [before, change.get(("R", t), f"{y}R")], f"{y}recurrent{t}"))
            nodes.append(node("Add", [f"{y}recurrent{t}", change.get(("c", t), f"{y}c")], f"{y}biased{t}"))
        start = f"{y}biased{t}" if before is not None else change.get(("c", t), f"{y}first")
        nodes.append(node("Add", [start, f"{y}step{t}"], f"{y}sum{t}"))
        name = getattr(cell.activation, "name", "")
        nodes.append(node(change.get(("activation", t), OPERATORS[name]), [f"{y}sum{t}"], f"{y}{t}"))
    order = range(seq_len)[:: -1 if reverse else 1] if order is None else order
    nodes.append(node("Concat", [f"{y}{t}" for t in order], y, axis=0))
    return nodes, held


def of_layers(
    layers: Sequence[rb.Layer], seq_len: int = 5, more: Sequence[onnx.NodeProto] = (), outputs: Sequence[str] = ("x1",),
    batch: int = 2, **held: NDArray[Any],
) -> onnx.ModelProto:  # fmt: skip
    """A model of layers on each other; `x{k}` is what layer k takes, `f{k}_` and `b{k}_` are its states."""
    nodes: list[onnx.NodeProto] = []
    for k, layer in enumerate(layers):
        names = []
        for cell, reverse in zip(cells_of(layer), [reverse for _, reverse in layer.cells], strict=True):
            names.append(f"{'b' if reverse else 'f'}{k}_")
            made, tensors = unrolled(cell, f"x{k}", names[-1], seq_len, reverse=reverse, batch=batch)
            nodes, held = [*nodes, *made], held | tensors
        joined = node("Concat", names, f"x{k + 1}", axis=2)
        nodes.append(joined if len(names) == 2 else node("Identity", names, f"x{k + 1}"))
    size = cells_of(layers[0])[0].input_size
    return model([*nodes, *more], [value("x0", shape=[seq_len, batch, size])], outputs, held, 20)
