"""docs/coming_from.md read as tables, and the frameworks that what they say is tried with.

A framework is one entry of `SYSTEMS`: the names that its tables' expressions are evaluated with, and how its networks run.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray
from quick import drawn_parameters

import rnn_backends as rb

PAGE = (Path(__file__).parents[2] / "docs" / "coming_from.md").read_text(encoding="utf-8")
SIZES = {"input_size": 3, "hidden_size": 4, "output_size": 5}
T, B = 5, 2


class Row(NamedTuple):
    """A line of a table."""

    section: str
    cells: tuple[str, ...]

    @property
    def code(self) -> list[str]:
        """The first piece of code in each cell, empty where there is none."""
        return [(re.search(r"`([^`]+)`", cell) or ["", ""])[1] for cell in self.cells]

    @property
    def words(self) -> set[str]:
        """The words of its first piece of code."""
        return set(re.findall(r"\w+", self.code[0]))


def tables(kind: str) -> list[Any]:
    """The lines of the tables whose last column has a name, each with its own as its id."""
    found = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        name, _, text = section.partition("\n")
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            head, _, *lines = [
                [cell.strip() for cell in re.split(r" ?\| ?", line)[1:-1]] for line in table.splitlines()
            ]
            if head[-1] == kind:
                found += [pytest.param(Row(name, tuple(cells)), id=f"{name}: {cells[0]}") for cells in lines]
    return found


class Tried(NamedTuple):
    """What came of a line."""

    rnn: rb.RNN
    found: Any
    wanted: Any


class System(Protocol):
    """A framework."""

    def weights(self) -> tuple[Mapping[str, Any], rb.RNN]:
        """What the first column of the table of weights is evaluated with, and the model that has them."""

    def tried(self, row: Row, given: Mapping[str, Any]) -> Tried:
        """Read the model of the first piece of code of a line, and run it here and there; refused by an exception."""


def normal(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(1).normal(size=shape)


class Torch:
    def __init__(self) -> None:
        self.torch = pytest.importorskip("torch")
        self.torch.manual_seed(0)

    def weights(self) -> tuple[Mapping[str, Any], rb.RNN]:
        nn = self.torch.nn
        parts = {"rnn": nn.RNN(3, 4, 2, bidirectional=True), "fc": nn.Linear(8, 5)}
        with self.torch.no_grad():
            arrays = {
                name: type(name, (), {key: value.numpy() for key, value in part.state_dict().items()})
                for name, part in parts.items()
            }
        return arrays, rb.from_torch(nn.ModuleDict(parts), readout_activation="softmax")

    def tried(self, row: Row, given: Mapping[str, Any]) -> Tried:
        torch = self.torch
        parts = self._made(row.code[0])
        source = parts[0]
        if isinstance(source, Mapping):
            source = {name: tensor.double() for name, tensor in source.items()}
            parts = [torch.nn.RNN(3, 4).double()]
            parts[0].load_state_dict(source)
        else:
            source = torch.nn.Sequential(*(part.double().eval() for part in parts))
        rnn = rb.from_torch(source, **given)
        first, last = parts[0], type(parts[-1]).__name__
        x = torch.randint(0, 9, (T, B)) if type(first).__name__ == "Embedding" else torch.tensor(normal(T, B, 3))
        with torch.no_grad():
            wanted = source(x) if "Last" in row.words else self._run(parts, x)
        call: Callable[..., Any] = lambda given: rnn(given)[0]  # noqa: E731
        if len(parts) > 1 and last not in {"RNN", "RNNCell"}:
            call = rnn.logits if last == "Linear" else rnn.probabilities
        return Tried(rnn, call(x.numpy()), wanted.numpy())

    def _made(self, code: str) -> list[Any]:
        """Make the modules of a line, one of which may be a class of the user's."""
        from torch.nn.utils import parametrizations, prune

        torch = self.torch
        own = {"forward": lambda _, results: results[0][-1]}
        names = {"nn": torch.nn, "utils": torch.nn.utils, "Last": type("Last", (torch.nn.Module,), own)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is deprecated there
            made: list[Any] = eval(f"[{code}]", {**names, "parametrizations": parametrizations, "prune": prune})
        return made

    def _run(self, parts: list[Any], value: Any) -> Any:
        for part in parts:
            if type(part).__name__ == "RNNCell":
                states = [None]
                for step in value:
                    states.append(part(step, states[-1]))
                return self.torch.stack(states[1:])
            value = part(value)
            value = value[0] if isinstance(value, tuple) else value
        return value


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Tanh": np.tanh,
    "Relu": lambda z: np.maximum(z, 0),
    "LeakyRelu": lambda z: np.where(z < 0, 0.25 * z, z),
    "Affine": lambda z: z,
}


class Onnx:
    def __init__(self) -> None:
        pytest.importorskip("onnx")

    @staticmethod
    def model(arrays: Mapping[str, Any], **attributes: Any) -> Any:
        from onnx_models import model, node, value

        nodes = [node("RNN", ["X", "W", "R", "B"], "Y", **attributes)]
        outputs = ["Y"]
        if "M" in arrays:
            nodes += [
                node("Transpose", ["Y"], "moved", perm=[0, 2, 1, 3]),
                node("Reshape", ["moved", "shape"], "joined"),
            ]
            nodes += [node("MatMul", ["joined", "M"], "y")]
            arrays, outputs = {**arrays, "shape": np.array([0, 0, -1])}, ["y"]
        return model(nodes, [value("X", shape=[None, None, 3], dtype="float64")], outputs, arrays, dtype="float64")

    @staticmethod
    def arrays(directions: int) -> dict[str, Any]:
        drawn = {"W": normal(directions, 4, 3), "R": normal(directions, 4, 4) / 4, "B": normal(directions, 8)}
        return {name: np.round(array * 1024) / 1024 for name, array in drawn.items()}  # whose sums are exact

    def weights(self) -> tuple[Mapping[str, Any], rb.RNN]:
        arrays = self.arrays(2) | {"M": normal(8, 5)}
        return arrays, rb.from_onnx(self.model(arrays, direction="bidirectional"))

    def tried(self, row: Row, given: Mapping[str, Any]) -> Tried:
        attributes = eval(f"dict({row.code[0]})")
        both = attributes.get("direction") == "bidirectional"
        arrays, x = self.arrays(2 if both else 1), normal(T, B, 3)
        rnn = rb.from_onnx(self.model(arrays, **attributes), **given)
        names = attributes.get("activations", ["Tanh"] * 2)
        outputs = []
        for d, (w, r, b) in enumerate(zip(*arrays.values(), strict=True)):
            h, states = np.zeros((B, 4)), np.zeros((T, B, 4))
            reverse = d == 1 or attributes.get("direction") == "reverse"
            for t in reversed(range(T)) if reverse else range(T):
                z = x[t] @ w.T + h @ r.T + b[:4] + b[4:]
                bound = attributes.get("clip", np.inf)
                h = states[t] = FUNCTIONS[names[d]](np.clip(z, -bound, bound))
            outputs.append(states)
        wanted = np.concatenate(outputs, axis=-1)
        if attributes.get("layout"):
            x, wanted = x.swapaxes(0, 1), wanted.swapaxes(0, 1)
        return Tried(rnn, rnn(x)[0], wanted)


class Flax:
    @staticmethod
    def weights() -> tuple[Mapping[str, Any], rb.RNN]:
        draw = {
            "linen": {"i": {"kernel": normal(3, 4), "bias": normal(4)}, "h": {"kernel": normal(4, 4)}},
            "nnx": {
                "dense_i": {"kernel": normal(4, 4) + 1, "bias": normal(4)},
                "dense_h": {"kernel": normal(4, 4) + 2},
            },
            "dense": {"kernel": normal(4, 5), "bias": normal(5)},
        }
        given: dict[str, Any] = {"activation": "tanh", "residual": False, "readout_activation": "softmax"}
        return draw, rb.from_flax(draw, layers=["linen", "nnx"], **given)

    @staticmethod
    def tried(row: Row, given: Mapping[str, Any]) -> Tried:
        pytest.importorskip("flax")
        import jax
        from flax import linen, nnx

        expression = row.code[0]
        if row.cells[1] == "refused":  # though all is given
            given = {"activation": "tanh", "residual": False}
        module = eval(expression, {"linen": linen, "nnx": nnx, "jax": jax})
        x = np.arange(B * T).reshape(B, T) % 9 if "Embed" in expression else normal(B, T, 3).astype("f4")
        if isinstance(module, nnx.Module):
            params, wanted = nnx.to_pure_dict(nnx.state(module)), module(x)
        else:
            params = drawn_parameters(module, x)
            wanted = module.apply(params, x)
        rnn = rb.from_flax(params, **{"activation": None, "residual": None, **given})
        return Tried(rnn, rnn(x)[0] if rnn.readout is None else rnn.logits(x), np.asarray(wanted))


class Keras:
    def __init__(self) -> None:
        self.keras = pytest.importorskip("keras")
        self.keras.utils.set_random_seed(0)

    def sequential(self, *layers: Any, ids: bool = False) -> Any:
        shape = self.keras.Input(batch_shape=(B, T), dtype="int32") if ids else self.input()
        return self.keras.Sequential([shape, *layers])

    def input(self) -> Any:
        return self.keras.Input(batch_shape=(B, T, 3))

    def weights(self) -> tuple[Mapping[str, Any], rb.RNN]:
        def arrays(part: Any) -> Any:
            for variable in part.weights:
                variable.assign(normal(*variable.shape))
            return SimpleNamespace(**{variable.name: np.asarray(variable) for variable in part.weights})

        layers = self.keras.layers
        layer = layers.SimpleRNN(4, return_sequences=True)
        both, dense = layers.Bidirectional(layers.SimpleRNN(4, return_sequences=True)), layers.Dense(5)
        model = self.sequential(layer, both, dense)
        held = {
            "layer": SimpleNamespace(cell=arrays(layer.cell)),
            "both": SimpleNamespace(
                forward_layer=SimpleNamespace(cell=arrays(both.forward_layer.cell)),
                backward_layer=SimpleNamespace(cell=arrays(both.backward_layer.cell)),
            ),
            "dense": arrays(dense),
        }
        return held, rb.from_keras(model)

    def tried(self, row: Row, given: Mapping[str, Any]) -> Tried:
        """Run a model as the last column says; files are written where the test runs."""
        layers, (expression, _, _) = self.keras.layers, row.code
        ids = "Embedding" in expression
        x = np.arange(B * T).reshape(B, T) % 9 if ids else self.features()
        model = self.sequential(layers.SimpleRNN(4, return_sequences=True), layers.Dense(5))
        made = eval(f"[{expression}]", {"keras": self.keras, "layers": layers, "x": self.input(), "model": model})
        source: Any = made[0]
        if source is None:
            (source,) = Path().iterdir()
        elif len(made) > 1:
            source = model = self.sequential(*made, ids=ids)
        else:
            model = source
        wanted = model(x)
        rnn = rb.from_keras(source, **given)
        ways = [code for code in re.findall(r"`([^`]*)`", row.cells[2]) if re.search(r"\brnn[.(].*x\b", code)]
        found = eval((ways or ["rnn(x)[0]"])[0], {"rnn": rnn, "x": x, "np": np})
        return Tried(rnn, found, np.asarray(wanted[0] if isinstance(wanted, (list, tuple)) else wanted))

    @staticmethod
    def features() -> Any:
        """Features, all 0 at some steps."""
        return np.where(np.arange(B * T).reshape(B, T, 1) % 3, normal(B, T, 3), 0).astype("f4")


SYSTEMS: dict[str, Callable[[], System]] = {"torch": Torch, "ONNX": Onnx, "Flax": Flax, "Keras": Keras}
