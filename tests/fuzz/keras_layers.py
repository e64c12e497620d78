"""Layers of Keras as its files describe them, and the models that hold them."""

from dataclasses import dataclass, field
from typing import Any

from fuzz.draws import Draw
from fuzz.weights import Tensor


@dataclass
class Layer:
    """A layer: its class, configuration, arrays by name in each of its folders, and layers in it."""

    kind: str
    config: dict[str, Any]
    arrays: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    inner: dict[str, "Layer"] = field(default_factory=dict)
    name: str = ""

    def name_of(self, number: int) -> str:
        return f"{self.kind.lower()}_{number}"

    def described(self, version: int, number: int) -> dict[str, Any]:
        """Return the configuration as a model of a version holds it."""
        self.name = self.name or self.name_of(number)
        config = {"name": self.name, **self.config}
        for option, held in self.inner.items():
            config[option] = held.described(version, 0)
        return described(self.kind, version, number, config)

    def folders(self) -> dict[str, Tensor]:
        """Return the arrays by the paths that Keras 3 gives them in the folder of the layer."""
        return {
            f"{folder}/vars/{k}".lstrip("/"): array
            for folder, own in self.arrays.items()
            for k, array in enumerate(own.values())
        }

    def listed(self) -> dict[str, Tensor]:
        """Return the arrays by the names that Keras 2 lists."""
        return {
            f"{folder}/{name}".lstrip("/"): array for folder, own in self.arrays.items() for name, array in own.items()
        }


def described(kind: str, version: int, number: int, config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"class_name": kind, "config": config}
    if version == 3:
        found |= {
            "module": "keras" if kind in {"Sequential", "Functional"} else "keras.layers",
            "registered_name": None,
        }
    return found


def version(draw: Draw, number: int) -> str:
    return (
        draw.pick(("3.4.1", "3.12.0", "3.0.5", "4.0", "", "x"))
        if number == 3 and draw.once(6)
        else "3.4.1"
        if number == 3
        else draw.pick(("2.15.0", "2.12.0", "2.2.4-tf", "2.0", "1.2"))
    )


def functional(draw: Draw, layers: list[Any], number: int) -> dict[str, Any]:
    """Return the configuration of a model whose layers name each other."""
    held = [described("InputLayer", number, 0, {"name": "input"}), *layers]
    names = [f"layer {k}" for k in range(len(held))]
    rows = []
    for k, layer in enumerate(held):
        tensor_of = _output(names[k - 1])
        nodes: list[Any] = []
        if k:
            options = (
                {draw.pick(("mask", "training", "x")): draw.value()}
                if draw.once(20)
                else {"training": False, "mask": None}
            )
            nodes = [{"args": [tensor_of], "kwargs": options}] if number == 3 else [[[names[k - 1], 0, 0, {}]]]
        rows.append({**layer, "name": names[k], "inbound_nodes": nodes})
    ends: dict[str, Any] = {"input_layers": ["layer 0", 0, 0], "output_layers": [names[-1], 0, 0]}
    if draw.once(3):
        ends = {key: [value] for key, value in ends.items()}
    if number == 3 and draw.once(6):
        makers = [k for k, layer in enumerate(held) if layer["class_name"] in {"Masking", "Embedding"}]
        maker = draw.pick([*makers * 3, draw.below(len(held))])
        rows += _masks(draw, names[maker - 1])
        masked = {"config": {"keras_history": [draw.pick((rows[-1]["name"], "not_equal")), 0, 0]}}
        for row in rows[maker + 1 : len(held)]:
            row["inbound_nodes"][0]["kwargs"] = {} if draw.once(6) else {"mask": masked}
    kind = draw.pick(("Functional", "Functional", "Model")) if number == 2 else "Functional"
    return described(kind, number, 0, {"name": "model", "layers": rows, **ends})


def _masks(draw: Draw, source: str) -> list[dict[str, Any]]:
    """Return the operations that make the mask of an Embedding, or of a Masking."""
    found = [_operation("NotEqual", "not_equal", [_output(source), draw.pick((0, 0.0, 0.0, 1, "x"))], {})]
    if draw.once(2):
        options = {"axis": draw.pick((-1, -1, 1)), "keepdims": draw.once(4)}
        found.append(_operation("Any", "any", [_output("not_equal")], options))
    return found


def _output(name: str) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}


def _operation(kind: str, name: str, given: list[Any], options: dict[str, Any]) -> dict[str, Any]:
    nodes = [{"args": given, "kwargs": {}}]
    config = {"name": name, **options}
    return {"module": "keras.src.ops.numpy", "class_name": kind, "config": config, "name": name, "inbound_nodes": nodes}
