"""Each row of docs/which_line.md: the line loads what is there, with the right numbers."""

import io
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pt_files
import pytest
from plain import X, fully, linear, network, norm, normal, normed, of_torch, softmax, states
from safetensors.numpy import save_file

import rnn_backends as rb

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "data" / "cases"
ROWS: dict[str, str] = dict(
    re.findall(
        r"^\| (.+?) \| `(rb\..+)` \|$", (ROOT / "docs" / "which_line.md").read_text(encoding="utf-8"), re.MULTILINE
    )
)
Check = Callable[[rb.RNN], tuple[Any, Any]]
"""A function that returns results of a model, and what they are to be."""


def single(array: Any) -> Any:
    return array.astype("<f4") if array.dtype.kind == "f" else array


def saved(name: str, state: dict[str, Any]) -> None:
    """Write a state dict as torch does."""
    pt_files.write(Path(name), pt_files.members({key: single(array) for key, array in state.items()}))


def case(name: str, *more: str) -> None:
    for each in (name, *more):
        shutil.copy(CASES / each, each)


def framework(name: str, result: Callable[[rb.RNN, Any], Any]) -> Check:
    """Return the check of a case whose input and output a framework computed."""
    x, y = (np.load(CASES / f"{name}.{part}.npy") for part in "xy")
    return lambda rnn: (result(rnn, x), y)


def of_own() -> Check:
    rnn = rb.RNN.init(3, 4, output_size=2)
    rnn.save("model.safetensors")
    return lambda found: (found.logits(X), rnn.logits(X))


def of_rnn() -> Check:
    saved("rnn.pt", network())
    return lambda rnn: (rnn(X)[0], of_torch(network(), X, "rnn."))


def of_tagger() -> Check:
    state = network() | fully("fc", 2, 4)
    saved("tagger.pt", state)
    z = linear(state, "fc", of_torch(state, X, "rnn."))
    return lambda rnn: (rnn.probabilities(X), softmax(z)) if rnn.reads == "steps" else _last(rnn, z)


def _last(rnn: rb.RNN, z: Any) -> tuple[Any, Any]:
    return rnn.logits(X.swapaxes(0, 1)), z[-1]


def of_words() -> Check:
    case("word_lm.pt")
    return lambda rnn: (rnn.probabilities([[1, 2]]), _words(rnn.to(dtype="float64"), [[1, 2]]))


def of_classified_words() -> Check:
    case("word_lm.pt")
    return lambda rnn: (rnn.probabilities([[1, 2, 0]]), _words(rnn.to(dtype="float64"), [[1], [2], [0]])[-1])


def _words(rnn: rb.RNN, ids: Any) -> Any:
    """Return the probabilities of the case by the text-book."""
    encoder, readout = rnn.encoder, rnn.readout
    assert isinstance(encoder, rb.Linear)
    assert isinstance(readout, rb.Linear)
    x = np.asarray(encoder.weight).T[np.asarray(ids)]
    for layer in rnn.layers:
        cell = layer.forward
        assert isinstance(cell, rb.Cell)
        x = states(x, cell.weight_ih, cell.weight_hh, cell.bias)
    return softmax(x @ np.asarray(readout.weight).T + readout.bias)


def of_head() -> Check:
    state = network() | fully("fc1", 5, 4) | fully("fc2", 2, 5)
    saved("head.pt", state)
    z = linear(state, "fc2", np.maximum(linear(state, "fc1", of_torch(state, X, "rnn.")), 0))
    return lambda rnn: (rnn.logits(X), z)


def of_encoder() -> Check:
    state, x = fully("before", 3, 6) | network(), normal(5, 2, 6)
    saved("encoder.pt", state)
    return lambda rnn: (rnn(x)[0], of_torch(state, np.maximum(linear(state, "before", x), 0), "rnn."))


def of_linear_before() -> Check:
    case("linear_before_rnn.pt")
    x = normal(5, 2, 6)

    def check(rnn: rb.RNN) -> tuple[Any, Any]:
        encoder, cell = rnn.encoder, rnn.layers[0].forward
        assert isinstance(encoder, rb.Linear)
        assert isinstance(cell, rb.Cell)
        encoded = np.maximum(x @ np.asarray(encoder.weight).T + encoder.bias, 0)
        return rnn(x)[0], states(encoded, cell.weight_ih, cell.weight_hh, cell.bias)

    return check


def of_norm() -> Check:
    state = network() | fully("fc1", 5, 4) | norm("bn", 5) | fully("fc2", 2, 5)
    saved("norm.pt", state)
    z = normed(state, "bn", linear(state, "fc1", of_torch(state, X, "rnn.")))
    return lambda rnn: (rnn.logits(X), linear(state, "fc2", np.maximum(z, 0)))


def of_checkpoint(name: str) -> Callable[[], Check]:
    def made() -> Check:
        case(name)
        return lambda rnn: (rnn(X)[0], of_torch(rnn.to_torch(), X, "rnn."))

    return made


def of_lightning() -> Check:
    case("lightning.ckpt")
    return framework("lightning", lambda rnn, x: rnn.logits(x))


def of_average() -> Check:
    parts: dict[str, bytes] = {}
    arrays: dict[str, Any] = {}
    for seed, part in enumerate(("model", "ema")):
        held = {name: array.astype("<f4") for name, array in network(seed=seed).items()}
        entries = enumerate(held.items(), len(arrays))
        parts[part] = pt_files.dictionary({name: pt_files.plain(str(key), array) for key, (name, array) in entries})
        arrays |= {f"{part}.{name}": array for name, array in held.items()}
    pt_files.write(Path("ema.pt"), pt_files.members(arrays, pt_files.dictionary(parts)))
    return lambda rnn: (rnn(X)[0], of_torch(network(seed=1), X, "rnn."))


def of_parts() -> Check:
    held = {name: single(array) for name, array in (network() | fully("fc", 2, 4)).items()}
    pickled: dict[str, dict[str, bytes]] = {"rnn": {}, "fc": {}}
    for key, (name, array) in enumerate(held.items()):
        module, _, local = name.partition(".")
        pickled[module][local] = pt_files.plain(str(key), array)
    value = pt_files.dictionary({name: pt_files.dictionary(part) for name, part in pickled.items()})
    pt_files.write(Path("parts.pt"), pt_files.members(held, value))
    return lambda rnn: (rnn.logits(X), linear(held, "fc", of_torch(held, X, "rnn.")))


def of_module() -> Check:
    shutil.copy(CASES.parent / "module.pt", "module.pt")
    x = normal(5, 2, rb.load("module.pt").input_size or 0)
    return lambda rnn: (rnn(x)[0], of_torch(rnn.to_torch(), x))


def of_weight_norm() -> Check:
    case("wn_new.pt")
    return lambda rnn: (rnn(X)[0], of_torch(rnn.to_torch(), X))


def of_safetensors() -> Check:
    state = network() | fully("fc", 2, 4)
    save_file(state, "torch.safetensors")
    return lambda rnn: (rnn.logits(X), linear(state, "fc", of_torch(state, X, "rnn.")))


def of_mlx() -> Check:
    case("mlx.safetensors")
    return framework("mlx", lambda rnn, x: rnn.probabilities(x))


def of_text_book() -> Check:
    case("minchar.npz")
    held, x = np.load("minchar.npz"), normal(5, 2, 5)
    h = states(x, held["Wxh"], held["Whh"], held["bh"][:, 0])
    return lambda rnn: (rnn.logits(x), h @ held["Why"].T + held["by"][:, 0])


def of_own_names() -> Check:
    held = {"Wx": normal(3, 4), "Wh": normal(4, 4), "b": normal(4)}
    np.savez("own.npz", **held)
    return lambda rnn: (rnn(X)[0], states(X, held["Wx"].T, held["Wh"].T, held["b"]))


def of_flax_file() -> Check:
    pytest.importorskip("msgpack")
    case("flax_trainstate.msgpack")
    x = X.swapaxes(0, 1)
    return lambda rnn: (rnn(x)[0].swapaxes(0, 1), of_torch(rnn.to_torch(), X, "rnn."))


def of_keras_file(name: str) -> Callable[[], Check]:
    def made() -> Check:
        case(name)
        return framework("keras2_simple", lambda rnn, x: rnn.logits(x))

    return made


def of_onnx_file() -> Check:
    pytest.importorskip("onnx")
    case("dynamo_plain.onnx")
    x, y = np.load(CASES / "dynamo_x.npy"), np.load(CASES / "dynamo_plain.y.npy")
    return lambda rnn: (rnn(x)[0], y)


def of_external_data() -> Check:
    onnx = pytest.importorskip("onnx")
    held = onnx.load(CASES / "dynamo_plain.onnx")
    onnx.save(held, "large.onnx", save_as_external_data=True, location="large.onnx.data", size_threshold=0)
    x, y = np.load(CASES / "dynamo_x.npy"), np.load(CASES / "dynamo_plain.y.npy")
    return lambda rnn: (rnn(x)[0], y)


CHECKS: dict[str, Callable[[], Check]] = {
    "a model of this package": of_own,
    "the state dict of an `nn.RNN`, in a `.pt` file": of_rnn,
    "of an `nn.RNN` and an `nn.Linear`": of_tagger,
    "the same, batch first, of which the last step is classified": of_tagger,
    "an embedding, an `nn.RNN` and an `nn.Linear`": of_words,
    "the same, batch first, of which the last step is classified: what most classifiers of text are": of_classified_words,
    "a head of two `nn.Linear`": of_head,
    "an `nn.Linear` before the `nn.RNN`": of_encoder,
    "one that could stand before or after it": of_linear_before,
    "a BatchNorm after an `nn.Linear`": of_norm,
    "a checkpoint with an optimizer and anything else": of_checkpoint("checkpoint_namespace.pt"),
    "a checkpoint of Lightning": of_lightning,
    "one with an average of the weights beside them": of_average,
    "the state dicts of `rnn` and `fc`, each under its name": of_parts,
    "a module saved whole, which records more, but for a softmax that it leaves to its loss": of_module,
    "weights under `weight_norm`": of_weight_norm,
    "torch's weights in safetensors": of_safetensors,
    "MLX's weights in safetensors": of_mlx,
    "a text-book's `Wxh`, `Whh`, `Why`, `bh`, `by`, or `waa`, `wax`, `wya`, `ba`, `by`": of_text_book,
    "arrays with names of your own, or rows for columns": of_own_names,
    "Flax's parameters, or a `TrainState`": of_flax_file,
    "a `.keras` file of Keras 2 or 3": of_keras_file("keras2_simple.keras"),
    "a whole model in an `.h5` file": of_keras_file("keras2_simple.h5"),
    "Keras's weights alone": of_keras_file("keras2_simple_compiled.weights.h5"),
    "an ONNX graph, exported by torch with or without dynamo, or by others": of_onnx_file,
    "one whose weights lie beside it, in an `.onnx.data` file": of_external_data,
}
"""Functions that put a file in the folder and return its check, by the row."""


@pytest.mark.parametrize("row", CHECKS)
def test_the_line_of_a_file_loads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str) -> None:
    monkeypatch.chdir(tmp_path)
    check = CHECKS[row]()
    found, wanted = check(eval(ROWS[row], {"rb": rb}))
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=1e-4, atol=1e-5)


def of_torch_module(names: dict[str, Any], many_to_one: bool) -> tuple[Any, Any]:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    x = torch.from_numpy(X.astype("f4"))
    module = names["module"] = torch.nn.RNN(3, 4)

    class Classifier(torch.nn.Module):  # type: ignore[misc,name-defined]  # torch is not known here
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.fc, self.softmax = module, torch.nn.Linear(4, 2), torch.nn.LogSoftmax(dim=1)

        def forward(self, x: Any) -> Any:
            return self.softmax(self.fc(self.rnn(x)[0][-1]))

    names["classifier"] = classifier = Classifier()
    with torch.no_grad():
        return (X, classifier(x).numpy()) if many_to_one else (X, module(x)[0].numpy())


def of_live_keras(names: dict[str, Any]) -> tuple[Any, Any]:
    keras = pytest.importorskip("keras")
    names["model"] = model = keras.Sequential(
        [keras.Input((None, 3)), keras.layers.SimpleRNN(4, return_sequences=True)]
    )
    return X, np.asarray(model(X.astype("f4")))


def of_live_flax(names: dict[str, Any]) -> tuple[Any, Any]:
    linen = pytest.importorskip("flax.linen")
    jax = pytest.importorskip("jax")
    module = linen.RNN(linen.SimpleCell(4))
    names["params"] = params = module.init(jax.random.key(0), X.astype("f4"))
    return X, np.asarray(module.apply(params, X.astype("f4")))


def of_flax_backward(names: dict[str, Any]) -> tuple[Any, Any]:
    cell = {"i": {"kernel": normal(3, 4), "bias": normal(4)}, "h": {"kernel": normal(4, 4)}}
    names["backward"] = {"params": {"cell": cell}}
    x = X.swapaxes(0, 1)[::-1]
    h = states(x, cell["i"]["kernel"].T, cell["h"]["kernel"].T, cell["i"]["bias"])
    return X, h[::-1].swapaxes(0, 1)


def of_haiku(names: dict[str, Any]) -> tuple[Any, Any]:
    held = {
        "vanilla_rnn/linear": {"w": normal(3, 4), "b": normal(4)},
        "vanilla_rnn/linear_1": {"w": normal(4, 4), "b": normal(4, seed=1)},
    }
    names["haiku"] = held
    w, v = held.values()
    h = states(X, w["w"].T, v["w"].T, w["b"] + v["b"], lambda z: np.maximum(z, 0))
    return X.swapaxes(0, 1), h.swapaxes(0, 1)


def of_onnx_proto(names: dict[str, Any]) -> tuple[Any, Any]:
    onnx = pytest.importorskip("onnx")
    names["proto"] = onnx.load(CASES / "dynamo_plain.onnx")
    return np.load(CASES / "dynamo_x.npy"), np.load(CASES / "dynamo_plain.y.npy")


def of_state(names: dict[str, Any]) -> tuple[Any, Any]:
    names["state"] = network()
    return X, of_torch(network(), X, "rnn.")


def of_pickle(names: dict[str, Any]) -> tuple[Any, Any]:
    names |= {"pickle": pickle, "file": io.BytesIO(pickle.dumps(network()))}
    return X, of_torch(network(), X, "rnn.")


def of_arrays(names: dict[str, Any]) -> tuple[Any, Any]:
    names |= {"w_ax": normal(4, 3), "w_aa": normal(4, 4), "b_a": normal(4), "w_ya": normal(2, 4), "b_y": normal(2)}
    h = states(X, names["w_ax"], names["w_aa"], names["b_a"])
    return X, softmax(h @ names["w_ya"].T + names["b_y"])


LIVE: dict[str, Callable[[dict[str, Any]], tuple[Any, Any]]] = {
    "a `torch.nn.RNN`, or a module that holds one": lambda names: of_torch_module(names, many_to_one=False),
    "one whose last step is classified": lambda names: of_torch_module(names, many_to_one=True),
    "a state dict, or any dict of arrays": of_state,
    "a pickled dict of arrays, which you trust": of_pickle,
    "a layer or a model of Keras": of_live_keras,
    "Flax's parameters, of linen or nnx": of_live_flax,
    "those of an `RNN` made with `reverse=True, keep_order=True`, which they do not show": of_flax_backward,
    "Haiku's parameters of a `VanillaRNN`": of_haiku,
    "an `onnx.ModelProto`": of_onnx_proto,
    "arrays, and no names": of_arrays,
}
"""Functions that put objects among the names of a line, and return an input and what it gives."""


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras on JAX
@pytest.mark.parametrize("row", LIVE)
def test_the_line_of_an_object_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"rb": rb}
    x, wanted = LIVE[row](names)
    rnn = eval(ROWS[row], names)
    found = rnn(x)[0] if rnn.readout is None else rnn.probabilities(x)
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=1e-4, atol=1e-5)


def test_every_row_is_a_test() -> None:
    assert set(ROWS) == {*CHECKS, *LIVE}
