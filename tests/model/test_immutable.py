"""A model cannot be changed: not by its attributes, its notes, its weights, nor through memory that others have."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, cast

import fuzz
import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.core.layers import named_arrays
from rnn_backends.core.network import Network

X = np.ones((5, 2, 3), np.float32)
IDS = np.ones((5, 2), np.int32)


def made() -> rb.RNN:
    drawn = rb.RNN.init(3, 4, output_size=3)
    return rb.RNN(drawn.layers, drawn.readout, vocabulary="abc", metadata={"source": "here"})


def cell_of(rnn: rb.RNN) -> rb.Cell:
    cell = rnn.layers[0].forward
    assert isinstance(cell, rb.Cell)
    return cell


def set_to(name: str, value: Any = None) -> Callable[[Any], None]:
    return lambda record: setattr(record, name, value)


RECORDS: dict[str, Callable[[rb.RNN], Any]] = {
    "RNN": lambda rnn: rnn,
    "Placed": lambda rnn: rnn.placed,
    "Network": lambda rnn: rnn.placed.network,
    "Vocabulary": lambda rnn: rnn.placed.vocabulary,
    "Layer": lambda rnn: rnn.layers[0],
    "Cell": cell_of,
    "Activation": lambda rnn: cell_of(rnn).activation,
    "Linear": lambda rnn: rnn.readout,
    "Backend": lambda rnn: rnn.backend,
}
HELD = {
    "RNN": ("_placed", "layers", "readout", "metadata", "h_0"), "Placed": ("network", "placement", "dtype"),
    "Network": ("layers", "readout", "metadata", "vocabulary", "reads"), "Vocabulary": ("items", "unknown"),
    "Layer": ("forward", "backward"), "Cell": ("weight_ih", "weight_hh", "bias", "activation", "clip", "leak"),
    "Activation": ("name", "alpha", "beta"), "Linear": ("weight", "bias", "activation"), "Backend": ("name", "xp", "owns"),
}  # fmt: skip


@pytest.mark.parametrize("kind", RECORDS)
def test_attributes_are_neither_set_nor_made_nor_deleted(kind: str) -> None:
    rnn = made()
    record = RECORDS[kind](rnn)
    before = {name: getattr(record, name) for name in HELD[kind] if name not in {"layers", "metadata"}}
    for name in (*HELD[kind], "a_name_of_ones_own"):
        with pytest.raises(FrozenInstanceError):
            setattr(record, name, None)
        with pytest.raises(FrozenInstanceError):
            delattr(record, name)
    assert all(getattr(record, name) is value for name, value in before.items())


def test_the_error_says_what_to_do() -> None:
    with pytest.raises(
        AttributeError, match=r"an RNN is immutable, its attribute 'foo' too; make another by `to` or RNN\("
    ):
        made().foo = 1
    with pytest.raises(AttributeError) as caught:
        setattr(made(), "a" * 10**5, 1)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "change",
    [
        lambda notes: notes.update(source="there"), lambda notes: notes.__setitem__("zz", "1"), lambda notes: notes.pop("source"),
        lambda notes: notes.clear(), lambda notes: notes.setdefault("zz", "1"), lambda notes: notes.__ior__({"zz": "1"}),
    ],
    ids=range(6),
)  # fmt: skip
def test_notes_stay_whatever_way_leads_to_them(change: Any) -> None:
    given = {"source": "here"}
    rnn = rb.RNN(made().layers, metadata=given)
    copies = [rnn, rnn.to(dtype="float64"), copy.copy(rnn), copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn))]
    change(given)
    for each in copies:
        with pytest.raises((AttributeError, TypeError)):
            change(each.placed.network.metadata)
        with pytest.raises((AttributeError, TypeError)):
            change(each.metadata)
        assert each.metadata == {"source": "here"}


FOREIGN: dict[str, Callable[[], tuple[Any, Callable[[], None]]]] = {}


def foreign(make: Callable[[], tuple[Any, Callable[[], None]]]) -> Any:
    FOREIGN[make.__name__.replace("_", " ").strip()] = make
    return make


def ones(order: Any = "F") -> Any:
    return np.ones((4, 3), np.float32, order)


def zero(array: Any) -> None:
    array.flags.writeable = True
    array[...] = 0


@foreign
def an_array() -> Any:
    array = ones("C")
    return array, lambda: zero(array)


@foreign
def a_read_only_array_made_writable_again() -> Any:
    array = ones()
    array.flags.writeable = False
    return array, lambda: zero(array)


@foreign
def a_view_of_a_read_only_array_made_writable_again() -> Any:
    array = ones()
    array.flags.writeable = False
    return array.view(), lambda: zero(array)


@foreign
def a_part_of_a_read_only_array_made_writable_again() -> Any:
    array = np.ones((4, 6), np.float32, "F")
    array.flags.writeable = False
    return array[:, :3], lambda: zero(array)


@foreign
def a_broadcast_array() -> Any:
    array = np.ones((1, 3), np.float32)
    return np.broadcast_to(array, (4, 3)), lambda: zero(array)


@foreign
def a_buffer() -> Any:
    memory = bytearray(ones().tobytes())
    view = memoryview(memory).toreadonly()
    return np.frombuffer(view, np.float32).reshape((4, 3), order="F"), lambda: memory.__setitem__(
        slice(None), bytes(48)
    )


@foreign
def a_subclass() -> Any:
    array = ones().view(type("Own", (np.ndarray,), {}))
    array.flags.writeable = False
    return array, lambda: zero(array)


@foreign
def a_mapped_file() -> Any:
    file = NamedTemporaryFile()  # noqa: SIM115  # closed with the test
    mapped = np.memmap(file, np.float32, "w+", shape=(4, 3), order="F")
    mapped[...] = 1
    again = np.memmap(file.name, np.float32, "r", shape=(4, 3), order="F")

    def change() -> None:
        mapped[...] = 0
        file.close()

    return again, change


@pytest.mark.parametrize("way", ["RNN", "from_torch", "h_0", "leak", "readout"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_memory_of_others(kind: str, way: str) -> None:
    weight, change = FOREIGN[kind]()
    zeros, drawn = np.zeros((4, 4), np.float32), rb.RNN.init(3, 4)
    rnn = {
        "RNN": lambda: rb.RNN([rb.Cell(weight, zeros)]),
        "from_torch": lambda: rb.from_torch({"weight_ih_l0": weight, "weight_hh_l0": zeros}, activation="tanh"),
        "h_0": lambda: rb.RNN(drawn.layers, h_0=weight.T[:1]),
        "leak": lambda: rb.RNN([rb.Cell(np.asarray(weight), zeros, leak=weight[:, 0])]),
        "readout": lambda: rb.RNN([rb.Cell(np.ones((3, 3), "f4"), np.zeros((3, 3), "f4"))], rb.Linear(weight)),
    }[way]()
    before = rnn.trace(X)
    change()
    after = rnn.trace(X)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


@pytest.mark.parametrize("kind", ["an array", "a buffer", "a mapped file", "a view of an array that can be written to"])
def test_views_that_readers_give(kind: str) -> None:
    """Those of read-only arrays are held as they are: a file is not held twice."""
    array = ones()
    view = array.view()
    view.flags.writeable = False
    weight, change = FOREIGN[kind]() if kind in FOREIGN else (view, lambda: zero(array))
    network = Network((rb.Layer(rb.Cell(weight, np.zeros((4, 4), np.float32))),))
    rnn = rb.RNN.from_network(network, made().placed.placement)
    change()
    np.testing.assert_array_equal(cell_of(rnn).weight_ih, ones())


def test_a_file_is_held_once(tmp_path: Path) -> None:
    made().save(tmp_path / "m.safetensors")
    weight = cell_of(rb.load(tmp_path / "m.safetensors")).weight_ih
    assert rb.load(tmp_path / "m.safetensors").placed.network.metadata == {"source": "here"}
    assert not weight.flags.writeable
    network = Network((rb.Layer(rb.Cell(weight, np.zeros((4, 4), np.float32))),))
    assert cell_of(rb.RNN.from_network(network, made().placed.placement)).weight_ih is weight


def require_closed(weight: Any) -> None:
    """Check that neither an array nor those that its `base` leads to can be made writable."""
    held: Any = weight
    while isinstance(held, np.ndarray):
        with pytest.raises(ValueError, match="WRITEABLE"):
            held.setflags(write=True)
        with pytest.raises(ValueError, match="read-only"):
            held[...] = 0
        held = held.base
    assert isinstance(held, bytes) or held.readonly
    assert weight.flags.f_contiguous
    assert weight.flags.aligned


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_weights_and_what_they_lie_in_are_not_made_writable(dtype: str) -> None:
    for _, weight in named_arrays(made().to(dtype=dtype).placed.network):
        require_closed(weight)


def of_flax(folder: Path) -> rb.RNN:
    pytest.importorskip("msgpack")
    (folder / "m.msgpack").write_bytes(fuzz.flax_file())
    return rb.load(folder / "m.msgpack", activation="tanh", residual=False, readout_activation="identity")


def saved(suffix: str) -> Callable[[Path], rb.RNN]:
    def loaded(folder: Path) -> rb.RNN:
        if suffix == ".onnx":
            pytest.importorskip("onnx")
        cell = rb.Cell(np.ones((4, 3)), np.eye(4), np.ones(4), leak=None if suffix == ".onnx" else np.full(4, 0.5))
        rnn = rb.RNN(
            [cell],
            rb.Linear(np.ones((3, 4)), np.ones(3)),
            encoder=rb.Linear(np.ones((3, 5)), np.ones(3), "tanh"),
            h_0=np.ones((1, 4)),
        )
        rnn.save(folder / f"m{suffix}")
        return rb.load(folder / f"m{suffix}")

    return loaded


LOADED: dict[str, Callable[[Path], rb.RNN]] = {
    "safetensors": saved(".safetensors"), "npz": saved(".npz"), "onnx": saved(".onnx"), "flax": of_flax,
    "torch": lambda _: rb.load(fuzz.DATA / "layers.pt", activation="tanh"), "keras": lambda _: rb.load(fuzz.DATA / "tagger.keras"),
    "from_torch": lambda _: rb.from_torch({"weight_ih_l0": ones(), "weight_hh_l0": np.eye(4, dtype="f4").T}, activation="tanh"),
    "from_flax": lambda _: rb.from_flax({"i": {"kernel": ones().T}, "h": {"kernel": np.eye(4, dtype="f4")}}, activation="tanh", residual=True),
}  # fmt: skip


@pytest.mark.parametrize("kind", LOADED)
def test_weights_that_are_read_are_not_made_writable(tmp_path: Path, kind: str) -> None:
    rnn = LOADED[kind](tmp_path)
    parts = {"layers": rnn.layers, "readout": rnn.readout, "encoder": rnn.encoder, "h_0": rnn.h_0}
    weights = [weight for part in parts.values() if part is not None for _, weight in named_arrays(part, "it")]
    assert len(weights) > 1
    for weight in weights:
        require_closed(weight)


def test_weights_that_are_there_twice_stay_one() -> None:
    cell = rb.Cell(np.ones((4, 4)), np.eye(4))
    rnn = rb.RNN([cell, cell])
    first, second = (layer.forward for layer in rnn.layers)
    assert first.weight_ih is second.weight_ih  # type: ignore[union-attr]
    again = rb.RNN(rnn.layers)
    assert again.layers[0].forward.weight_ih is first.weight_ih  # type: ignore[union-attr]


def test_copies_and_pickles_are_models() -> None:
    rnn = made()
    for other in (
        copy.copy(rnn),
        copy.deepcopy(rnn),
        pickle.loads(pickle.dumps(rnn)),
        pickle.loads(pickle.dumps(rnn, 2)),
    ):
        np.testing.assert_array_equal(other(IDS)[0], rnn(IDS)[0])
        assert other.metadata == rnn.metadata
        assert other.generate("ab", 5, seed=1) == rnn.generate("ab", 5, seed=1)
        with pytest.raises(FrozenInstanceError):
            other.foo = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            cell_of(other).weight_ih.setflags(write=True)


class Named(rb.RNN):
    """A class of a user, with attributes of its own."""

    def __init__(self, *layers: Any, name: str) -> None:
        super().__init__(layers)
        self.name = name


def test_classes_made_of_it_have_attributes_of_their_own(tmp_path: Path) -> None:
    named = Named(*made().layers, name="first")
    named.name = "second"
    for other in (named, copy.deepcopy(named), pickle.loads(pickle.dumps(named))):
        assert (type(other), other.name) == (Named, "second")
        np.testing.assert_array_equal(other(X)[0], named(X)[0])
        for name in ("_placed", "layers", "to"):
            with pytest.raises(FrozenInstanceError):
                setattr(other, name, None)
            with pytest.raises(FrozenInstanceError):
                delattr(other, name)
        del other.name
    named.save(tmp_path / "m.npz")
    assert type(Named.init(3, 4)) is Named


def test_a_streams_number_of_sequences_stays() -> None:
    stream = made().stream(2)
    with pytest.raises(AttributeError):
        stream.batch_size = 3  # type: ignore[misc]
    assert stream(IDS).shape == (5, 2, 4)
    assert type(made().stream(cast(int, np.int64(2))).batch_size) is int


@pytest.mark.parametrize("batch", [1, 2])
def test_a_stream_shares_its_state_with_nobody(batch: int) -> None:
    given = np.ones((1, batch, 4), np.float32)
    stream, other = made().stream(batch), made().stream(batch)
    stream.reset(given)
    other.reset(given.copy())
    given[...] = 7
    for _ in range(2):
        np.testing.assert_array_equal(stream(IDS[:, :batch]), other(IDS[:, :batch]))
        state = stream.state
        state[...] = 7
        np.testing.assert_array_equal(stream.state, other.state)
