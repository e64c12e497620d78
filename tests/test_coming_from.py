"""docs/coming_from.md, line by line: its tables are read, and what they say is tried with each framework.

A framework is one entry of `SYSTEMS`: what its tables' expressions are evaluated with, and how its networks are run.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

import rnn_backends as rb

PAGE = (Path(__file__).parent.parent / "docs" / "coming_from.md").read_text(encoding="utf-8")
SIZES = {"input_size": 3, "hidden_size": 4, "output_size": 5}
REFUSALS = (rb.FormatError, rb.ArgumentError)
T, B = 5, 2


class Row(NamedTuple):
    """A line of a table."""

    section: str
    cells: tuple[str, ...]

    @property
    def code(self) -> list[str]:
        """The first piece of code in each cell, empty where there is none."""
        return [(re.search(r"`([^`]+)`", cell) or ["", ""])[1] for cell in self.cells]


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


class System(Protocol):
    """A framework."""

    def weights(self) -> tuple[Mapping[str, Any], rb.RNN]:
        """What the first column of the table of weights is evaluated with, and the model that has them."""

    def tried(self, expression: str, told: Mapping[str, Any]) -> tuple[Any, Any]:
        """What the model of an expression computes here, and what it computes there; refused by an exception."""


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

    def tried(self, expression: str, told: Mapping[str, Any]) -> tuple[Any, Any]:
        torch = self.torch
        parts = eval(f"[{expression}]", {"nn": torch.nn})
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
        return call(x.numpy()), wanted.numpy()

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

    def tried(self, expression: str, told: Mapping[str, Any]) -> tuple[Any, Any]:
        attributes = eval(f"dict({expression})")
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
        return rnn(x)[0], wanted


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
    def tried(expression: str, told: Mapping[str, Any]) -> tuple[Any, Any]:
        pytest.importorskip("flax")
        import jax
        from flax import linen, nnx

        module = eval(expression, {"linen": linen, "nnx": nnx, "jax": jax})
        x = np.arange(B * T).reshape(B, T) % 9 if "Embed" in expression else normal(B, T, 3).astype("f4")
        if isinstance(module, nnx.Module):
            params, wanted = nnx.to_pure_dict(nnx.state(module, nnx.Param)), module(x)
        else:
            params = module.init(jax.random.key(0), x)
            wanted = module.apply(params, x)
        rnn = rb.from_flax(params, **{"activation": None, "residual": None, **told})
        return rnn(x)[0] if rnn.readout is None else rnn.logits(x), np.asarray(wanted)


SYSTEMS: dict[str, Callable[[], System]] = {"torch": Torch, "ONNX": Onnx, "Flax": Flax}
WAITING = {"Keras"}
"""Those on the page that `rb` does not read yet."""


def same(found: Any, wanted: Any) -> None:
    atol = 1e-12 if wanted.dtype == np.float64 else 2e-6
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


def ready(rows: list[Any]) -> list[Any]:
    return [row for row in rows if row.values[0].section not in WAITING]


def test_every_section_has_a_system() -> None:
    sections = re.findall(r"^## (.*)", PAGE, re.MULTILINE)
    assert set(sections) == SYSTEMS.keys() | WAITING
    for kind in ("shape", "how"):
        assert {row.values[0].section for row in ready(tables(kind))} == SYSTEMS.keys()
    assert {row.values[0].section for row in ready(tables("here"))} == {"torch", "Flax"}  # ONNX has a page of its own


@pytest.mark.parametrize("row", ready(tables("shape")))
def test_weights(row: Row) -> None:
    names, rnn = SYSTEMS[row.section]().weights()
    theirs, here, shape = row.code
    wanted = eval(theirs, {**SIZES, **names})
    found = eval(here, {"layers": rnn.layers, "readout": rnn.readout})
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype
    assert found.shape == eval(shape, SIZES)


@pytest.mark.parametrize("row", ready(tables("how")))
def test_options(row: Row) -> None:
    system, (expression, _, told) = SYSTEMS[row.section](), row.code
    verdict = row.cells[1]
    assert verdict in {"honoured", "told", "refused"}
    if verdict == "honoured":
        same(*system.tried(expression, {}))
        return
    with pytest.raises(REFUSALS):
        system.tried(expression, {})
    if verdict == "told":
        options = eval(f"dict({told})")
        for name in options.keys() - {"layers", "batch_first"}:  # without any one of these it is refused, too
            with pytest.raises(REFUSALS):
                system.tried(expression, {key: value for key, value in options.items() if key != name})
        same(*system.tried(expression, options))


def test_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that need a framework say so, and are run where it is installed."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 1 + len(SYSTEMS) + len(WAITING)
    ran = 0
    for block in blocks:
        names: dict[str, Any] = {"rb": rb, "np": np}
        if needs := re.match(r"# needs (\w+)", block):
            if needs[1].capitalize() in WAITING:
                continue
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
    assert ran >= 2


# What is different


def line(section: str, name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Have a test stand for a line of a table."""

    def mark(test: Callable[[], None]) -> Callable[[], None]:
        LINES[section, name] = test
        return test

    return mark


LINES: dict[tuple[str, str], Callable[[], None]] = {}


@pytest.mark.parametrize("row", ready(tables("here")))
def test_differences(row: Row) -> None:
    LINES[row.section, row.cells[0]]()


def test_every_difference_is_on_the_page() -> None:
    assert LINES.keys() == {(row.values[0].section, row.values[0].cells[0]) for row in ready(tables("here"))}


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
