"""docs/coming_from.md, line by line: its tables are read, and what they say is tried with each framework.

A framework is one entry of `SYSTEMS`: what its tables' expressions are evaluated with, and how its networks are run.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

import rnn_backends as rb

PAGE = (Path(__file__).parents[2] / "docs" / "coming_from.md").read_text(encoding="utf-8")
SIZES = {"input_size": 3, "hidden_size": 4, "output_size": 5}
REFUSALS = (rb.FormatError, rb.ArgumentError)
T, B = 5, 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of what Keras itself does


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

    def tried(self, row: Row, told: Mapping[str, Any]) -> Tried:
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

    def tried(self, row: Row, told: Mapping[str, Any]) -> Tried:
        torch = self.torch
        parts = eval(f"[{row.code[0]}]", {"nn": torch.nn})
        source = parts[0]
        if isinstance(source, Mapping):
            source = {name: tensor.double() for name, tensor in source.items()}
            parts = [torch.nn.RNN(3, 4).double()]
            parts[0].load_state_dict(source)
        else:
            source = torch.nn.Sequential(*(part.double().eval() for part in parts))
        rnn = rb.from_torch(source, **told)
        first, last = parts[0], type(parts[-1]).__name__
        x = torch.randint(0, 9, (T, B)) if type(first).__name__ == "Embedding" else torch.tensor(normal(T, B, 3))
        with torch.no_grad():
            wanted = self._run(parts, x)
        call: Callable[..., Any] = lambda given: rnn(given)[0]  # noqa: E731
        if len(parts) > 1 and last != "RNN":
            call = rnn.logits if last == "Linear" else rnn.probabilities
        return Tried(rnn, call(x.numpy()), wanted.numpy())

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

    def tried(self, row: Row, told: Mapping[str, Any]) -> Tried:
        attributes = eval(f"dict({row.code[0]})")
        both = attributes.get("direction") == "bidirectional"
        arrays, x = self.arrays(2 if both else 1), normal(T, B, 3)
        rnn = rb.from_onnx(self.model(arrays, **attributes), **told)
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
        told: dict[str, Any] = {"activation": "tanh", "residual": False, "readout_activation": "softmax"}
        return draw, rb.from_flax(draw, layers=["linen", "nnx"], **told)

    @staticmethod
    def tried(row: Row, told: Mapping[str, Any]) -> Tried:
        pytest.importorskip("flax")
        import jax
        from flax import linen, nnx

        expression = row.code[0]
        if row.cells[1] == "refused":  # though all is told
            told = {"activation": "tanh", "residual": False}
        module = eval(expression, {"linen": linen, "nnx": nnx, "jax": jax})
        x = np.arange(B * T).reshape(B, T) % 9 if "Embed" in expression else normal(B, T, 3).astype("f4")
        if isinstance(module, nnx.Module):
            params, wanted = nnx.to_pure_dict(nnx.state(module, nnx.Param)), module(x)
        else:
            params = module.init(jax.random.key(0), x)
            wanted = module.apply(params, x)
        rnn = rb.from_flax(params, **{"activation": None, "residual": None, **told})
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

    def tried(self, row: Row, told: Mapping[str, Any]) -> Tried:
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
        rnn = rb.from_keras(source, **told)
        ways = [code for code in re.findall(r"`([^`]*)`", row.cells[2]) if re.search(r"\brnn[.(].*x\b", code)]
        found = eval((ways or ["rnn(x)[0]"])[0], {"rnn": rnn, "x": x, "np": np})
        return Tried(rnn, found, np.asarray(wanted[0] if isinstance(wanted, (list, tuple)) else wanted))

    @staticmethod
    def features() -> Any:
        """Features, all 0 at some steps."""
        return np.where(np.arange(B * T).reshape(B, T, 1) % 3, normal(B, T, 3), 0).astype("f4")


SYSTEMS: dict[str, Callable[[], System]] = {"torch": Torch, "ONNX": Onnx, "Flax": Flax, "Keras": Keras}


def same(found: Any, wanted: Any) -> None:
    atol = 1e-12 if wanted.dtype == np.float64 else 2e-6
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


def test_every_section_has_a_system() -> None:
    sections = re.findall(r"^## (.*)", PAGE, re.MULTILINE)
    assert set(sections) == SYSTEMS.keys()
    for kind in ("shape", "how"):
        assert {row.values[0].section for row in tables(kind)} == SYSTEMS.keys()
    assert {row.values[0].section for row in tables("here")} == SYSTEMS.keys() - {"ONNX"}  # which has a page of its own
    lines = [line for line in PAGE.splitlines() if re.match(r"\| *[^- |]", line)]
    titles = re.findall(r"^\|.*\n\|--", PAGE, re.MULTILINE)
    assert len(lines) - len(titles) + sum(title.startswith("| |") for title in titles) == sum(
        len(tables(kind)) for kind in ("shape", "how", "here")
    )


@pytest.mark.parametrize("row", tables("shape"))
def test_weights(row: Row) -> None:
    names, rnn = SYSTEMS[row.section]().weights()
    theirs, here, shape = row.code
    wanted = eval(theirs, {**SIZES, **names})
    found = eval(here, {"layers": rnn.layers, "readout": rnn.readout})
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype
    assert found.shape == eval(shape, SIZES)


@pytest.mark.parametrize("row", tables("how"))
def test_options(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, verdict = SYSTEMS[row.section](), row.cells[1]
    assert verdict in {"honoured", "told", "refused"}
    monkeypatch.chdir(tmp_path)
    if verdict == "honoured":
        tried = system.tried(row, {})
        same(tried.found, tried.wanted)
        is_as_said(row, tried.rnn)
        return
    with pytest.raises(REFUSALS) as caught:
        system.tried(row, {})
    if verdict == "refused":
        told = squeezed(str(caught.value))
        assert any(squeezed(word) in told for word in wrong(row)), caught.value
        return
    options = eval(f"dict({row.code[2]})")
    for name in options.keys() - {"layers", "batch_first"}:  # without any one of these it is refused, too
        with pytest.raises(REFUSALS, match=name):
            system.tried(row, {key: value for key, value in options.items() if key != name})
    tried = system.tried(row, options)
    same(tried.found, tried.wanted)


def wrong(row: Row) -> set[str]:
    """What of the code of a line is in no line of its table that is not refused, or all of it."""
    others = [each.values[0] for each in tables("how") if each.values[0].section == row.section]
    fine: set[str] = set().union(*(other.words for other in others if other.cells[1] != "refused"))
    if row.section == "Flax":  # whose parameters have no names of classes
        return {row.cells[2].split()[-1]}
    return row.words - fine or row.words


def squeezed(text: str) -> str:
    """A text in which ScaledTanh and scaled_tanh are one word."""
    return text.lower().replace("_", "")


def is_as_said(row: Row, rnn: rb.RNN) -> None:
    """Check what the last column of an honoured line says of the model."""
    layer = rnn.layers[0]
    cell: Any = layer.forward or layer.backward
    plain = rb.RNN.init(1, 1)
    for code in re.findall(r"`([^`]*)`", row.cells[2]):
        if code.startswith(("Activation(", '"')):
            activation = eval(code, {"Activation": rb.Activation})
            assert (
                cell.activation in {activation, rb.Activation(str(activation))}
                if code[0] == '"'
                else (cell.activation == activation)
            )
        elif code.startswith(("Cell.", "RNN.")):
            owner, default = (cell, plain.layers[0].forward) if code.startswith("Cell.") else (rnn, plain)
            name = code.partition(".")[2]
            assert getattr(owner, name) != getattr(default, name)
        elif code == "Layer(backward=cell)":
            assert layer.forward is None
        else:
            assert code.startswith(("rnn", "np.")) or code in {"R", "h_0", "h_n", "eval()", "readout_activation"}


def test_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that need a framework say so, and are run where it is installed."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 1 + len(SYSTEMS)
    ran = 0
    for block in blocks:
        names: dict[str, Any] = {"rb": rb, "np": np}
        if needs := re.match(r"# needs (\w+)", block):
            try:
                names[needs[1]] = __import__(needs[1])
            except ImportError:
                continue
        exec(compile(block, "coming_from.md", "exec"), names)
        ran += 1
        if "same" in names:
            first: Any = names.get("rnn", names.get("cells"))
            x = normal(T, B, 3).astype("f4")
            np.testing.assert_array_equal(names["same"](x)[0], first(x)[0])
        elif "module" in names:
            wanted = names["module"](names["torch"].ones(2, 5, 3))[0].detach().numpy()
            np.testing.assert_allclose(names["output"], wanted, atol=1e-6)
        elif "model" in names:
            np.testing.assert_allclose(names["output"], names["model"](np.ones((2, 5, 3))), atol=1e-6)
    assert ran >= 2


# What is different


def line(section: str, name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Have a test stand for a line of a table."""

    def mark(test: Callable[[], None]) -> Callable[[], None]:
        LINES[section, name] = test
        return test

    return mark


LINES: dict[tuple[str, str], Callable[[], None]] = {}


@pytest.mark.parametrize("row", tables("here"))
def test_differences(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    LINES[row.section, row.cells[0]]()


def test_every_difference_is_on_the_page() -> None:
    assert LINES.keys() == {(row.values[0].section, row.values[0].cells[0]) for row in tables("here")}


def pair() -> tuple[Any, Any, rb.RNN]:
    torch = pytest.importorskip("torch")
    module = torch.nn.RNN(3, 4)
    return torch, module, rb.from_torch(module)


@line("torch", "a length of 0")
def torch_length_of_0() -> None:
    torch, _, rnn = pair()
    x, h_0 = normal(T, 2, 3), normal(1, 2, 4).astype("f4")
    with pytest.raises(RuntimeError, match="Length of all samples has to be greater than 0"):
        torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(x), torch.tensor([T, 0]))
    output, h_n = rnn(x, h_0, lengths=[T, 0])
    assert not output[:, 1].any()
    np.testing.assert_array_equal(h_n[:, 1], h_0[:, 1])


@line("torch", "no steps")
def torch_no_steps() -> None:
    torch, module, rnn = pair()
    with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0"):
        module(torch.zeros(0, 2, 3))
    h_0 = normal(1, 2, 4).astype("f4")
    output, h_n = rnn(np.zeros((0, 2, 3)), h_0)
    assert output.shape == (0, 2, 4)
    np.testing.assert_array_equal(h_n, h_0)


@line("torch", "integers as input")
def torch_integers() -> None:
    torch, module, rnn = pair()
    ids = np.array([[0, 2], [1, 1]])
    with pytest.raises((RuntimeError, ValueError)):
        module(torch.tensor(ids))
    np.testing.assert_allclose(rnn(ids)[0], rnn(np.eye(3)[ids])[0], rtol=0, atol=1e-6)


@line("torch", "float64 given to a float32 model")
def torch_float64() -> None:
    torch, module, rnn = pair()
    x = normal(T, 2, 3)
    with pytest.raises((RuntimeError, ValueError)):
        module(torch.tensor(x))
    np.testing.assert_array_equal(rnn(x)[0], rnn(x.astype("f4"))[0])


@line("torch", "two biases")
def torch_biases() -> None:
    _, module, rnn = pair()
    state = rnn.to_torch()
    first, second = (getattr(module, f"bias_{which}_l0").detach().numpy() for which in ("ih", "hh"))
    np.testing.assert_array_equal(state["bias_ih_l0"], first + second)
    assert not state["bias_hh_l0"].any()


def flax_pair(**options: Any) -> tuple[Callable[..., Any], rb.RNN]:
    pytest.importorskip("flax")
    import jax
    from flax import linen

    module = linen.RNN(linen.SimpleCell(4), **options)
    params = module.init(jax.random.key(0), X)
    layers: list[Any] = [(None, "cell")] if options.get("reverse") else ["cell"]
    rnn = rb.from_flax(params, activation="tanh", residual=False, layers=layers)
    return lambda *given, **more: module.apply(params, *given, **more), rnn


X = normal(B, T, 3).astype("f4")


@line("Flax", "what a call gives")
def flax_call() -> None:
    module, rnn = flax_pair()
    output, h_n = rnn(X)
    np.testing.assert_allclose(module(X), output, rtol=0, atol=2e-6)
    carry, outputs = module(X, return_carry=True)
    np.testing.assert_allclose(carry, h_n[0], rtol=0, atol=2e-6)
    np.testing.assert_allclose(outputs, output, rtol=0, atol=2e-6)


@line("Flax", "outputs beyond a length")
def flax_beyond() -> None:
    module, rnn = flax_pair()
    theirs, (output, _) = np.asarray(module(X, seq_lengths=np.array([T, 2]))), rnn(X, lengths=[T, 2])
    np.testing.assert_allclose(theirs[1], rnn(X)[0][1], rtol=0, atol=2e-6)
    assert theirs[1, 2:].any()
    assert not output[1, 2:].any()


@line("Flax", "a length of 0")
def flax_length_of_0() -> None:
    module, rnn = flax_pair()
    carry, outputs = module(X, seq_lengths=np.array([T, 0]), return_carry=True)
    np.testing.assert_array_equal(carry[1], outputs[1, -1])
    assert np.asarray(carry[1]).any()
    assert not rnn(X, lengths=[T, 0])[1][0, 1].any()


@line("Flax", "`reverse=True` alone")
def flax_reverse() -> None:
    module, rnn = flax_pair(reverse=True)
    np.testing.assert_allclose(np.asarray(module(X))[:, ::-1], rnn(X)[0], rtol=0, atol=2e-6)


def keras_pair(*layers: Any, **options: Any) -> tuple[Any, rb.RNN]:
    """A model of Keras, of a SimpleRNN of all its steps if of nothing else, and what is read of it."""
    system = Keras()
    made = layers or (system.keras.layers.SimpleRNN(4, return_sequences=True),)
    model = system.sequential(*made)
    return model, rb.from_keras(model, **options)


def near(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=0, atol=2e-6)


def test_layers_of_different_sizes_are_two_networks() -> None:
    system = Keras()
    layers = system.keras.layers
    model = system.sequential(layers.SimpleRNN(6, return_sequences=True), layers.SimpleRNN(4), layers.Dense(5))
    parts = [code for code in re.findall(r"`(rb[^`]*)`", PAGE) if "model.layers[" in code]
    first, second = (eval(code, {"rb": rb, "keras": system.keras, "model": model}) for code in parts)
    near(model(X), second.logits(first(X)[0])[:, -1])


MASK = np.array([[0, 1, 1, 0, 1], [1, 0, 1, 0, 0]], bool)


@line("Keras", "what a call of `SimpleRNN` gives")
def keras_call() -> None:
    simple_rnn = pytest.importorskip("keras").layers.SimpleRNN
    layer = simple_rnn(4, return_sequences=True, return_state=True)
    outputs, state = layer(X)
    last = simple_rnn(4)
    last.build(X.shape)
    last.set_weights(layer.get_weights())
    output, h_n = rb.from_keras(layer)(X)
    near(outputs, output)
    near(state, h_n[0])
    near(last(X), output[:, -1])


@line("Keras", "states, given and returned")
def keras_states() -> None:
    keras = pytest.importorskip("keras")
    cells = [keras.layers.SimpleRNNCell(4), keras.layers.SimpleRNNCell(4)]
    layer = keras.layers.RNN(cells, return_sequences=True, return_state=True)
    h_0 = normal(2, B, 4).astype("f4")
    outputs, *states = layer(X, initial_state=list(h_0))
    output, h_n = rb.from_keras(layer)(X, h_0)
    assert [state.shape for state in states] == [(B, 4)] * 2
    assert h_n.shape == (2, B, 4)
    near(outputs, output)
    near(np.stack(states), h_n)


@line("Keras", "the axis of time")
def keras_time() -> None:
    model, rnn = keras_pair()
    near(model(X), rnn(X)[0])
    near(model(X).swapaxes(0, 1), rb.from_keras(model, batch_first=False)(X.swapaxes(0, 1))[0])


@line("Keras", "`go_backwards=True`")
def keras_backwards() -> None:
    """Which a file of weights alone cannot refuse."""
    system = Keras()
    model = system.sequential(system.keras.layers.SimpleRNN(4, go_backwards=True, return_sequences=True))
    model.save_weights("m.weights.h5")
    rnn = rb.load("m.weights.h5", activation="tanh", go_backwards=True)
    near(np.asarray(model(X))[:, ::-1], rnn(X)[0])


@line("Keras", "a step that `mask` leaves out")
def keras_masked() -> None:
    keras = pytest.importorskip("keras")
    layer = keras.layers.SimpleRNN(4, return_sequences=True, return_state=True)
    h_0 = normal(1, B, 4).astype("f4")
    outputs, state = layer(X, initial_state=h_0[0], mask=MASK)
    output, h_n = rb.from_keras(layer)(X, h_0, mask=MASK)
    near(outputs, output)
    near(state, h_n[0])
    np.testing.assert_array_equal(output[0, 0], h_0[0, 0])
    np.testing.assert_array_equal(output[:, 3], output[:, 2])


@line("Keras", "the output there of `Bidirectional`, or with `zero_output_for_mask=True`")
def keras_zeros() -> None:
    layers = pytest.importorskip("keras").layers
    simple_rnn = layers.SimpleRNN(4, return_sequences=True, zero_output_for_mask=True)
    for layer in (simple_rnn, layers.Bidirectional(layers.SimpleRNN(4, return_sequences=True))):
        theirs = layer(X, mask=MASK)
        output, _ = rb.from_keras(layer)(X, mask=MASK)
        near(theirs, output * MASK[..., None])
        assert output[~MASK].any()


@line("Keras", "the output there of a `Dense` after such a layer")
def keras_zeros_and_dense() -> None:
    layers = pytest.importorskip("keras").layers
    dense = layers.Dense(5, bias_initializer="ones")
    x = np.where(MASK[..., None], X, 0)
    model, rnn = keras_pair(
        layers.Masking(0.0), layers.Bidirectional(layers.SimpleRNN(4, return_sequences=True)), dense, masking=True
    )
    theirs, output = np.asarray(model(x)), rnn(x, mask=MASK)[0]
    near(theirs[~MASK], np.ones((5, 5)))
    near(theirs, np.asarray(dense(output * MASK[..., None])))
    near(rnn.logits(x, mask=MASK), dense(output))
    assert rnn.metadata["keras mask"].endswith("here they give the readout of the state, which is held")


@line("Keras", "the output there with `zero_output_for_mask=True` and `unroll=True`")
def keras_zeros_unrolled() -> None:
    keras = pytest.importorskip("keras")
    layer = keras.layers.SimpleRNN(4, return_sequences=True, zero_output_for_mask=True, unroll=True)
    theirs = layer(X, mask=MASK)
    output, _ = rb.from_keras(layer)(X, mask=MASK)
    near(theirs, output if keras.backend.backend() in {"jax", "numpy"} else output * MASK[..., None])


@line("Keras", "`mask` for a layer after one with `go_backwards=True, return_sequences=True`")
def keras_mask_turned() -> None:
    layers = pytest.importorskip("keras").layers
    made = [layers.SimpleRNN(4, go_backwards=True, return_sequences=True) for _ in range(2)]
    theirs = [made[1](made[0](X, mask=MASK), mask=mask) for mask in (MASK, MASK[:, ::-1])]
    model, _ = keras_pair(*made)
    output, _ = rb.from_keras(model)(X, mask=MASK)
    near(theirs[1], output)
    assert abs(np.asarray(theirs[0]) - output).max() > 0.01


@line("Keras", "the loss there")
def keras_loss() -> None:
    keras = pytest.importorskip("keras")
    kl = keras.layers
    made = kl.Masking(0.0), kl.SimpleRNN(4, return_sequences=True), kl.Dense(5, activation="softmax")
    model, rnn = keras_pair(*made, masking=True)
    x, targets = np.where(MASK[..., None], X, 0), np.arange(B * T).reshape(B, T) % 5
    theirs = float(keras.losses.SparseCategoricalCrossentropy()(targets, model(x)))
    assert float(rnn.loss(x, targets, mask=MASK)) == pytest.approx(theirs, rel=1e-5)


@line("Keras", "padding")
def keras_padding() -> None:
    layer = pytest.importorskip("keras").layers.SimpleRNN(4, return_sequences=True, return_state=True)
    valid = np.arange(T) < np.array([[T], [2]])
    outputs, state = layer(X, mask=valid)
    rnn = rb.from_keras(layer)
    near(outputs, rnn(X, mask=valid)[0])
    output, h_n = rnn(X, lengths=[T, 2])
    near(state, h_n[0])
    near(np.where(valid[..., None], outputs, 0), output)


@line("Keras", "no steps")
def keras_no_steps() -> None:
    layer = pytest.importorskip("keras").layers.SimpleRNN(4, return_sequences=True)
    layer(X)
    with pytest.raises(IndexError):
        layer(X[:, :0])
    h_0 = normal(1, B, 4).astype("f4")
    output, h_n = rb.from_keras(layer)(X[:, :0], h_0)
    assert output.shape == (B, 0, 4)
    np.testing.assert_array_equal(h_n, h_0)


@line("Keras", "integers of shape (batch, seq_len, input_size)")
def keras_integers() -> None:
    model, rnn = keras_pair()
    ids = np.arange(B * T * 3).reshape(B, T, 3) % 3
    near(model(ids), rnn(ids.astype("f4"))[0])
    with pytest.raises(rb.ShapeError, match=r"token ids in `x` must have shape \(batch, seq_len\)"):
        rnn(ids)
    assert rnn(ids[..., 0])[0].shape == (B, T, 4)


def of_keras(name: str, wanted: Callable[[Any], Any], **numbers: float) -> None:
    """Check an activation, as Keras has it, as it is read, and as its name has it by default here."""
    keras = pytest.importorskip("keras")
    z = np.linspace(-8, 8, 41, dtype="f4")
    near(keras.activations.get(name)(z), wanted(z))
    _, rnn = keras_pair(keras.layers.SimpleRNN(4, activation=name))
    cell: Any = rnn.layers[0].forward
    assert cell.activation == rb.Activation(name, **numbers)
    near(cell.activation(z), wanted(z))
    assert abs(rb.Activation(name)(z) - wanted(z)).max() > 0.01


@line("Keras", '`"hard_sigmoid"`')
def keras_hard_sigmoid() -> None:
    of_keras("hard_sigmoid", lambda z: np.clip(z + 3, 0, 6) / 6, alpha=1 / 6, beta=0.5)
    assert rb.Activation("hard_sigmoid") == rb.Activation("hard_sigmoid", alpha=0.2, beta=0.5)


@line("Keras", '`"leaky_relu"`')
def keras_leaky_relu() -> None:
    of_keras("leaky_relu", lambda z: np.where(z < 0, 0.2 * z, z), alpha=0.2)
    assert rb.Activation("leaky_relu") == rb.Activation("leaky_relu", alpha=0.01)
