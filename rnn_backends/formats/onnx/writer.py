"""The graph of a network: nodes of its encoder, its layers, what its readout reads, and its readout."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer
from rnn_backends.core.network import Network, is_uneven
from rnn_backends.formats.assembly import plain_cells
from rnn_backends.formats.names import cells_in_order
from rnn_backends.formats.onnx.graph import NAMES, Graph, places_of
from rnn_backends.formats.onnx.node import DEFAULTS, spoken


class Writer:
    """The graph of a network as it is made."""

    def __init__(self, onnx: Any, network: Network) -> None:
        self._graph, self._network = Graph(onnx), network
        self._cells = plain_cells(network, "ONNX's RNN")
        self._order = cells_in_order(self._cells)
        self._dtype = np.asarray(next(iter(self._cells.values())).weight_ih).dtype
        self._steps = ["batch", "seq_len"] if network.batch_first else ["seq_len", "batch"]
        self._last: dict[str, tuple[str, int]] = {}  # the last states of each cell: of which tensor which row
        self._states: dict[str, str] = {}

    def graph(self) -> Any:
        """Return the GraphProto."""
        network, graph = self._network, self._graph
        x = self._input()
        if network.h_0 is not None:
            self._batch_size()
        nodes = [(f"l{k}", layer) for k, layer in enumerate(network.layers)]
        last: list[str] = []
        for place, layer in nodes:
            x, final = self._layer(place, layer, x)
            last.append(final)
        graph.node("Transpose" if network.batch_first else "Identity", [x], "output", **self._swap)
        top = sum(cell.hidden_size for cell in self._cells_of(network.layers[-1]))
        outputs = {"output": [*self._steps, top], **self._h_n(last)}
        if network.readout:
            axes = self._steps if network.reads == "steps" else ["batch"]
            outputs |= {name: [*axes, network.readout[-1].output_size] for name in self._readout()}
        given = graph.value("x", self._dtype, [*self._steps, network.input_size])
        if network.takes == "tokens":
            given = graph.value("x", np.int64, self._steps)
        return graph.proto([given], [graph.value(name, self._dtype, axes) for name, axes in outputs.items()])

    @property
    def _swap(self) -> dict[str, list[int]]:
        return {"perm": [1, 0, 2]} if self._network.batch_first else {}

    def _cells_of(self, layer: Layer) -> list[Cell]:
        return [cell for cell, _ in layer.cells if isinstance(cell, Cell)]

    def _input(self) -> str:
        """Bring x, or what an encoder makes of it, to (seq_len, batch, features)."""
        x, network, graph = "x", self._network, self._graph
        ids = network.takes == "tokens"
        if ids and not network.encoder:
            depth = graph.tensor("depth", np.array(network.input_size))
            x = graph.node("OneHot", [x, depth, graph.tensor("one_hot", np.array([0, 1], np.float32))], "one_hot_x")
            if self._dtype != np.float32:  # in which alone ONNX Runtime makes them
                x = graph.node("Cast", [x], "cast_x", to=graph.element(self._dtype))
        for k, (place, linear) in enumerate(places_of("encoder", network.encoder).items()):
            x = graph.linear(place, linear, x, ids=ids and k == 0)
        return graph.node("Transpose", [x], "x_by_steps", **self._swap) if network.batch_first else x

    def _batch_size(self) -> None:
        """Compute the shape (1, batch, 1), to which initial states are repeated."""
        graph, one = self._graph, self._graph.tensor("one", np.array([1]))
        which = graph.tensor("batch_axis", np.array([0 if self._network.batch_first else 1]))
        batch = graph.node("Gather", [graph.node("Shape", ["x"], "x_shape"), which], "batch_size", axis=0)
        graph.node("Concat", [one, batch, one], "to_batch", axis=0)

    def _layer(self, place: str, layer: Layer, x: str) -> tuple[str, str]:
        """Write a layer as one node, or as two where its cells differ in what a node has one of."""
        graph, cells = self._graph, self._cells_of(layer)
        if len({(_clip(cell), cell.bias is None, cell.hidden_size) for cell in cells}) == 1:
            direction = "bidirectional" if len(cells) == 2 else "forward" if layer.forward is not None else "reverse"
            sides = [side for side in (place, f"{place}_reverse") if side in self._cells]
            return self._rnn(place, direction, sides, x)
        ways = ((place, "forward"), (f"{place}_reverse", "reverse"))
        states, last = zip(*(self._rnn(side, way, [side], x) for side, way in ways), strict=True)
        both = graph.node("Concat", states, f"states_{place}_both", axis=2)
        even = len({cell.hidden_size for cell in cells}) == 1
        return both, graph.node("Concat", last, f"last_{place}_both", axis=0) if even else ""

    def _rnn(self, place: str, direction: str, sides: Sequence[str], x: str) -> tuple[str, str]:
        """Write a node; return its states (seq_len, batch, D * hidden_size) and its last states."""
        graph, cells = self._graph, [self._cells[side] for side in sides]
        size = cells[0].hidden_size
        w = graph.tensor(f"W_{place}", np.stack([np.asarray(cell.weight_ih) for cell in cells]))
        r = graph.tensor(f"R_{place}", np.stack([np.asarray(cell.weight_hh) for cell in cells]))
        inputs = [x, w, r, ""]
        if cells[0].bias is not None:
            biases = [np.asarray(cell.bias) for cell in cells]
            # Minus zero as the second bias: it alone changes nothing that it is added to.
            inputs[3] = graph.tensor(f"B_{place}", np.stack([np.append(b, np.full_like(b, -0.0)) for b in biases]))
        if (h_0 := self._network.h_0) is not None:
            rows = np.stack([np.asarray(h_0[self._order.index(side)]) for side in sides])[:, None]
            start = graph.node("Expand", [graph.tensor(f"h_0_{place}", rows), "to_batch"], f"start_{place}")
            inputs += ["", start]
        while not inputs[-1]:
            inputs.pop()
        states, last = f"Y_{place}", f"last_{place}"
        graph.node("RNN", inputs, states, last, direction=direction, hidden_size=size, **_options(cells))
        self._last |= {side: (last, row) for row, side in enumerate(sides)}
        if len(cells) == 1:
            axes = graph.tensor(f"directions_{place}", np.array([1]))
            return graph.node("Squeeze", [states, axes], f"states_{place}"), last
        moved = graph.node("Transpose", [states], f"moved_{place}", perm=[0, 2, 1, 3])
        merged = graph.tensor(f"merged_{place}", np.array([0, 0, 2 * size]))
        return graph.node("Reshape", [moved, merged], f"states_{place}"), last

    def _h_n(self, last: Sequence[str]) -> dict[str, list[Any]]:
        """Write the last states, those of each layer given; return the axes of what gives them."""
        if not is_uneven(self._network.layers):
            self._graph.node("Concat", last, "h_n", axis=0)
            return {"h_n": [len(self._cells), "batch", self._cells[self._order[0]].hidden_size]}
        return {self._state(place, "h_n"): ["batch", self._cells[place].hidden_size] for place in self._order}

    def _state(self, place: str, prefix: str = "state") -> str:
        """Return the name of the last state of a cell, (batch, hidden_size)."""
        if place not in self._states:
            last, row = self._last[place]
            index = self._graph.tensor(f"row_{place}", np.array(row))
            self._states[place] = self._graph.node("Gather", [last, index], f"{prefix}_{place}", axis=0)
        return self._states[place]

    def _read(self) -> str:
        """Return the name of what the readout reads."""
        graph, reads, layers = self._graph, self._network.reads, self._network.layers
        axis = self._steps.index("seq_len")
        if reads == "last":
            return graph.node("Gather", ["output", graph.tensor("last_step", np.array(-1))], "read", axis=axis)
        if reads == "final":
            parts = [self._state(place) for place in self._order[-len(layers[-1].cells) :]]
            return graph.node("Concat", parts, "read", axis=1) if len(parts) > 1 else parts[0]
        if reads in {"mean", "max"}:
            kind = "ReduceMean" if reads == "mean" else "ReduceMax"
            return graph.node(kind, ["output"], "read", axes=[axis], keepdims=0)
        return "output"

    def _readout(self) -> list[str]:
        """Write the readout; return the names of what it gives."""
        x, (*head, last) = self._read(), places_of("readout", self._network.readout).items()
        for place, linear in head:
            x = self._graph.linear(place, linear, x)
        given = self._graph.linear(*last, x, ("logits", "probabilities"))
        return list(dict.fromkeys(["logits", given]))


def _options(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the activations of a node, its alpha and beta where an activation has them, and its clip."""
    held = [_activation(cell) for cell in cells]
    held = [("affine", 1.0, 0.0) if each[0] == "identity" else each for each in held]
    found: dict[str, Any] = {"activations": [NAMES[name] for name, _, _ in held]}
    for place, which in ((1, "alpha"), (2, "beta")):
        values = [item[place] for item in held if which in DEFAULTS.get(item[0], {})]
        if values:
            found[f"activation_{which}"] = values
    if (clip := _clip(cells[0])) is not None:
        found["clip"] = clip
    return found


def _activation(cell: Cell) -> tuple[str, float | None, float | None]:
    held, _ = spoken(cell.activation, cell.clip)
    return held.name, held.alpha, held.beta


def _clip(cell: Cell) -> float | None:
    return spoken(cell.activation, cell.clip)[1]
