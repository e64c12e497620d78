"""Damaged configurations of Keras, one value of each in turn, and files that are large where Keras's are small."""

import contextlib
import json
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras_files as kf
import numpy as np
import pytest
from keras_files import layer, simple_rnn
from ways import follow

import rnn_backends as rb

pytestmark = pytest.mark.sampled(3)

h5py = pytest.importorskip("h5py")

DATA = Path(__file__).parents[1] / "data"
VALUES: tuple[Any, ...] = ([], {}, 0, "x", None, 1e400)
GIVEN: dict[str, Any] = {"masking": True}


def masked() -> dict[str, Any]:
    """Return a functional model whose mask is made by operations beside the chain of its layers."""
    pooling = layer("GlobalAveragePooling1D", data_format="channels_last", keepdims=False)
    model = kf.functional(layer("Masking", mask_value=0.0), simple_rnn(), pooling, kf.dense())
    layers = model["config"]["layers"]

    def tensor(name: str) -> dict[str, Any]:
        return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}

    def operation(name: str, kind: str, config: dict[str, Any], *arguments: Any) -> dict[str, Any]:
        nodes = [{"args": list(arguments), "kwargs": {}}]
        held = {"class_name": kind, "module": "keras.src.ops.numpy", "config": {"name": name, **config}}
        return {**held, "name": name, "inbound_nodes": nodes}

    for number in (2, 3):
        layers[number]["inbound_nodes"][0]["kwargs"]["mask"] = tensor("any")
    layers += [
        operation("not_equal", "NotEqual", {}, tensor("layer 0"), 0.0),
        operation("any", "Any", {"axis": -1, "keepdims": False}, tensor("not_equal")),
    ]
    return model


SCALED = kf.sequential(
    layer("Rescaling", scale=[1.0, 2.0, 3.0], offset=[0.0]),
    kf.normalization(mean=[[[0.0, 1.0, 2.0]]], variance=[[[1.0, 2.0, 3.0]]]),
    simple_rnn(activation=layer("Activation", activation=kf.relu(negative_slope=0.5))),
    layer("TimeDistributed", layer=kf.dense()),
    kf.relu(threshold=1.0),
)


def models() -> dict[str, dict[str, bytes]]:
    """Return the members of .keras files, by what they are."""
    found = {}
    for path in sorted(DATA.rglob("*.keras")):
        with zipfile.ZipFile(path) as held:
            found[path.stem] = {name: held.read(name) for name in held.namelist()}
    made: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "masked": (masked(), kf.MODEL),
        "scaled": (SCALED, {**kf.CELL, **kf.dense_arrays("layers/time_distributed/layer")}),
    }
    for name, (config, arrays) in made.items():
        found[name] = {
            "metadata.json": json.dumps(kf.VERSION).encode(),
            "config.json": json.dumps(config).encode(),
            "model.weights.h5": kf.hdf5(arrays),
        }
    return found


MODELS = models()


def places(held: Any, owner: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Yield the places of values: its class and the keys from there, which others of the class share, and its holder."""
    if isinstance(held, dict) and isinstance(held.get("class_name"), str):
        owner = (held["class_name"],)
    for key, value in held.items() if isinstance(held, dict) else enumerate(held) if isinstance(held, list) else ():
        yield (*owner, key), held, key
        yield from places(value, (*owner, key))


def write(path: Path, members: dict[str, bytes], config: Any) -> Path:
    with zipfile.ZipFile(path, "w") as held:
        for name, content in (members | {"config.json": json.dumps(config).encode()}).items():
            held.writestr(name, content)
    return path


def first_places() -> dict[str, list[tuple[Any, ...]]]:
    """Return the places by model, those of a class in the first model of a version of Keras that has them."""
    seen, found = set[tuple[Any, ...]](), dict[str, list[tuple[Any, ...]]]()
    for kind, members in MODELS.items():
        version = json.loads(members["metadata.json"])["keras_version"][0]
        every = [place for place, *_ in places(json.loads(members["config.json"]))]
        found[kind] = list(dict.fromkeys(place for place in every if (version, place) not in seen))
        seen.update((version, place) for place in every)
    return found


PLACES = first_places()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", MODELS)
def test_any_value_of_a_configuration_may_be_damaged(tmp_path: Path, kind: str) -> None:
    """Which is refused, or changes nothing that is computed, or is another network; any other error fails the test."""
    members, refused = MODELS[kind], 0
    config = json.loads(members["config.json"])
    assert rb.load(write(tmp_path / "m.keras", members, config), **GIVEN).layers
    held_in = {place: (held, key) for place, held, key in places(config)}
    for place in PLACES[kind]:
        held, key = held_in[place]
        sound = held[key]
        for value in VALUES:
            held[key] = value
            with contextlib.suppress(rb.FormatError, rb.ArgumentError):
                refused += 1
                rb.load(write(tmp_path / "m.keras", members, config), **GIVEN)
                refused -= 1
        held[key] = sound
    assert refused or len(PLACES[kind]) < 5


# Many of what Keras writes few of


def refused_soon(path: Path, match: str, **options: Any) -> None:
    begin = time.process_time()
    with pytest.raises(rb.FormatError, match=match) as caught:
        rb.load(path, **options)
    assert time.process_time() - begin < 5
    assert len(str(caught.value).removeprefix(f"{path}: ")) <= 400


def square(count: int, kind: str = "dense") -> dict[str, Any]:
    """Return the arrays of a SimpleRNN and of layers that take as many features as they give."""
    within = "" if kind == "dense" else "/cell"
    arrays = kf.cell_arrays("layers/simple_rnn" if kind == "dense" else "layers/rnn", features=4)
    for number in range(count):
        suffix = f"_{number}" if number else ""
        arrays |= {f"layers/{kind}{suffix}{within}/vars/{k}": np.ones((4, 4), "f4") for k in range(1 + bool(within))}
    return arrays


@pytest.mark.parametrize("kind", ["dense", "simple_rnn"])
@pytest.mark.parametrize("count", [32, 1200])
def test_layers_that_are_too_many_to_order_are_refused(tmp_path: Path, kind: str, count: int) -> None:
    path = tmp_path / "m.weights.h5"
    path.write_bytes(kf.hdf5(square(count, kind)))
    match = f"it holds {count + 1} layers, {count} of them '{kind}', .* read the file of the whole model"
    refused_soon(path, match, **kf.WITH_READOUT)


def test_activations_are_advised_only_where_they_show_the_order(tmp_path: Path) -> None:
    """Of two classes of recurrent layers, one is before the other whatever the Dense are."""
    path = tmp_path / "m.weights.h5"
    path.write_bytes(kf.hdf5(square(6)))
    rnn = rb.load(path, **kf.GIVEN, encoder_activation=("relu",) * 2, readout_activation=("relu",) * 4)
    assert isinstance(rnn.readout, tuple)
    assert len(rnn.readout) == 4
    refused_soon(path, "do not show which feeds which; pass readout_activation='softmax'", **kf.GIVEN)
    path.write_bytes(kf.hdf5({**square(2), **kf.cell_arrays("layers/rnn", features=4)}))
    refused_soon(path, "do not show which feeds which; read the file of the whole model", **kf.WITH_READOUT)


def whole(change: Any) -> bytes:
    def fill(file: Any) -> None:
        file.attrs["model_config"] = json.dumps(kf.sequential(simple_rnn(name="rnn")))
        file.attrs["keras_version"] = "3.0.0"
        change(file.create_group("model_weights"))

    return kf.hdf5({}, fill)


def test_attributes_are_looked_through_once(tmp_path: Path) -> None:
    def change(weights: Any) -> None:
        names = [f"layer {number}" for number in range(10)]
        weights.attrs["layer_names"] = names
        group = weights.create_group(names[0])
        for part in range(900):
            group.attrs[f"weight_names{part}"] = []
        for name in names[1:]:
            weights[name] = group

    path = tmp_path / "m.h5"
    path.write_bytes(whole(change))
    refused_soon(path, "the layer 'rnn' must have the arrays 'kernel', 'recurrent_kernel', 'bias'; it has")


@pytest.mark.parametrize("is_cycle", [False, True])
def test_a_long_path_is_refused(tmp_path: Path, is_cycle: bool) -> None:
    def change(weights: Any) -> None:
        weights.attrs["layer_names"] = ["rnn"]
        group = weights.create_group("rnn")
        group.attrs["weight_names"] = [f"{'a/' * 400}{name}" for name in ("kernel", "recurrent_kernel", "bias")]
        if is_cycle:
            group["a"] = group

    path = tmp_path / "m.h5"
    path.write_bytes(whole(change))
    refused_soon(path, "is deeper than 64 groups in each other")


def test_a_model_records_what_is_read_of_it(tmp_path: Path) -> None:
    path = kf.write(tmp_path / "m.keras", [simple_rnn(return_sequences=False), kf.dense()], kf.MODEL)
    x = np.ones((2, 3, 3), "f4")
    rnn = rb.load(path)
    assert rnn.reads == "last"
    wanted = kf.loop(kf.CELL, x, ("layers/simple_rnn", False))[:, -1] @ kf.MODEL["layers/dense/vars/0"] + 1
    for reads in ("mean", "last"):
        follow(
            "leave_out",
            lambda reads=reads, **_: rb.load(path, reads=reads),
            wanted,
            lambda rnn: rnn.logits(x),
            then=lambda: rb.load(path),
        )
    alone = tmp_path / "m.weights.h5"
    alone.write_bytes(kf.hdf5(kf.MODEL))
    assert rb.load(alone, **kf.WITH_READOUT, reads="mean").reads == "mean"


def test_a_running_model_records_what_is_read_of_it() -> None:
    config = simple_rnn(return_sequences=False)["config"]
    methods = {"get_config": lambda _: config, "get_weights": lambda _: [], "__module__": "keras.src.layers.rnn"}
    module = SimpleNamespace(__version__="3.1.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "keras", module)
        with pytest.raises(rb.FormatError, match="the model records what its readout reads; leave `reads` out"):
            rb.from_keras(type("SimpleRNN", (), methods)(), reads="mean")
