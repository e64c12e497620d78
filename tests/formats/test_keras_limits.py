"""Small HDF5 files of Keras that lead to one object by many paths: they take little memory and time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_files as kf
import numpy as np
import pytest
from hdf5_files import Written, references, texts
from measured import MEASURED, require_little, taken

import rnn_backends as rb

DATA = Path(__file__).parents[1] / "data"
GIVEN: dict[str, Any] = {"activation": "tanh", "go_backwards": False}
LETTER = "\U0001f600"
WIDE = LETTER.encode() + b"a" * 990
Made = Callable[[Written], int]


def refused(folder: Path, data: bytes, **options: Any) -> str:
    path = folder / "m.h5"
    path.write_bytes(data)
    warm = {**GIVEN, "readout_activation": "identity"}
    return require_little(taken(path, DATA / "stack.weights.h5", warm, **(GIVEN | options)))


def layer_names(*items: tuple[int, int], text: bytes = WIDE) -> Made:
    """Return what makes a root whose list of layers names parts of one text: their lengths, and how often."""

    def made(file: Written) -> int:
        heap = file.heap(text)
        held = [(length, heap, 1) for length, times in items for _ in range(times)]
        return file.group({"x": file.group({})}, [references("layer_names", held)])

    return made


def spread(file: Written) -> int:
    """Make a root whose list of layers is in many attributes, each of one name time and again."""
    heap = file.heap(WIDE)
    attributes = [references(f"layer_names{k}", [(len(WIDE), heap, 1)] * 200) for k in range(20)]
    return file.group({"x": file.group({})}, attributes)


def listing(layers: int, arrays: int, length: int = 900, prefix: str = "") -> Made:
    """Return what makes a root whose layers are all one object, which lists one array time and again."""

    def made(file: Written) -> int:
        name = (LETTER + "a" * length).encode()
        heap = file.heap(name)
        one = file.group({}, [references("weight_names", [(len(name), heap, 1)] * arrays)])
        names = [f"{prefix}{k}" for k in range(layers)]
        size = max(len(each.encode()) for each in names) + 4
        return file.group(dict.fromkeys(names, one), [texts("layer_names", [each.encode() for each in names], size)])

    return made


def noted(layers: int, notes: int) -> Made:
    """Return what makes a root whose layers are all one object with many attributes."""

    def made(file: Written) -> int:
        own = [texts(f"note {k}", [b"x" * 500], 500) for k in range(notes)]
        one = file.group({}, [*own, texts("weight_names", [b"kernel"], 8)])
        names = [str(k) for k in range(layers)]
        return file.group(dict.fromkeys(names, one), [texts("layer_names", [each.encode() for each in names], 8)])

    return made


def members(count: int, text: bytes) -> Made:
    """Return what makes a group of members by all ends of a text, one after the other."""

    def made(file: Written) -> int:
        blob, each = b"", file.group({})
        places: dict[int, int] = {}
        for k in range(count // len(text)):
            own = text + f"{k:04}".encode() + b"\0"
            places |= {len(blob) + at: each for at in range(len(text)) if own[at] & 0xC0 != 0x80}
            blob += own
        return file.group({"layers": file.named(blob + bytes(8), places)})

    return made


def in_itself(file: Written) -> int:
    """Make a root that is all of its members."""
    names = ["layers", "simple_rnn", "cell", "vars", "0", "1", "2"]
    root = file.group(dict.fromkeys(names, 0))
    node = bytes(file.raw).rindex(b"SNOD")
    for k in range(len(names)):
        file.raw[node + 16 + 40 * k : node + 24 + 40 * k] = root.to_bytes(8, "little")
    return root


FILES: dict[str, Made] = {
    "one name, time and again": layer_names((994, 4000)),
    "a long name, time and again": layer_names((8000, 4000), text=b"\xff" * 8000),
    "the beginnings of a name": layer_names(*[(994 - k, 4) for k in range(900)]),
    "one letter, time and again": layer_names((4, 4000)),
    "names that are no text": layer_names((994, 4000), text=b"\xff" * 1000),
    "names in many attributes": spread,
    "arrays of layers that are one": listing(12, 3900),
    "arrays of layers of long names": listing(100, 450, 0, LETTER * 58),
    "arrays of many layers": listing(900, 50),
    "layers that are one, with notes": noted(900, 100),
    "many layers that are one, with notes": noted(2000, 20),
    "members by the ends of a name": members(24_000, ("a" * 200 + LETTER).encode()),
    "members by the ends of a wide name": members(20_000, (LETTER * 50).encode()),
    "members by the ends of what is no text": members(20_000, b"\xff" * 250),
    "a group that holds itself": in_itself,
}


COUNTED = {
    "one name, time and again", "the beginnings of a name", "names in many attributes", "arrays of layers that are one",
    "arrays of layers of long names", "arrays of many layers",
}  # fmt: skip


@MEASURED
@pytest.mark.parametrize("kind", FILES)
def test_small_files_take_little_memory_and_time(tmp_path: Path, kind: str) -> None:
    file = Written()
    data = file.done(FILES[kind](file))
    assert len(data) < 2**20
    message = refused(tmp_path, data)
    assert "the names in it would take" in message if kind in COUNTED else message


@pytest.mark.parametrize("layers", [1, 2, 5, 12, 30])
def test_layers_that_are_one_object_are_read_once(tmp_path: Path, layers: int) -> None:
    file = Written()
    arrays = {str(k): file.array(4, 4) for k in range(2)}
    one = file.group({"cell": file.group({"vars": file.group(arrays)})})
    names = [f"simple_rnn_{k}" if k else "simple_rnn" for k in range(layers)]
    path = tmp_path / "m.h5"
    path.write_bytes(file.done(file.group({"layers": file.group(dict.fromkeys(names, one))})))
    rnn = rb.load(path, **GIVEN)
    assert rnn.num_layers == layers
    first = rnn.layers[0].forward
    assert isinstance(first, rb.Cell)
    for layer in rnn.layers:
        assert isinstance(layer.forward, rb.Cell)
        assert np.shares_memory(layer.forward.weight_hh, first.weight_hh)


def test_a_file_that_is_put_together_is_sound(tmp_path: Path) -> None:
    file = Written()
    path = tmp_path / "m.h5"
    path.write_bytes(file.done(file.group({"layers": file.group({"simple_rnn": file.cell()})})))
    assert rb.load(path, **GIVEN).num_parameters == 32


@pytest.mark.parametrize("size", [255, 999, 1000, 1001, 4000])
def test_names_of_layers_are_as_long_as_they_may_be(tmp_path: Path, size: int) -> None:
    file = Written()
    heap = file.heap(b"n" * size)
    path = tmp_path / "m.h5"
    path.write_bytes(file.done(file.group({}, [references("layer_names", [(size, heap, 1)])])))
    match = "it lacks 'n+" if size <= 1000 else f"'layer_names' of '' has a name of {size} bytes; .* have at most 1000"
    with pytest.raises(rb.FormatError, match=match):
        rb.load(path, **GIVEN)


@pytest.mark.parametrize("name", [b"\xff", b"rnn\xc3", b"\xed\xa0\x80", b"a\x80", b"\xf8\x88\x80\x80\x80"])
def test_names_that_are_no_text_are_refused(tmp_path: Path, name: bytes) -> None:
    for where in ("list", "member"):
        file = Written()
        own = [texts("layer_names", [name], 8)] if where == "list" else []
        root = file.named(bytes(8) + name + bytes(8), {8: file.group({})}, own)
        path = tmp_path / "m.h5"
        path.write_bytes(file.done(root))
        with pytest.raises(rb.FormatError, match=r"a name in .* is not in UTF-8: b'"):
            rb.load(path, **GIVEN)


def test_the_layers_that_a_message_names_are_few(tmp_path: Path) -> None:
    for count, size in ((3, 10), (5, 60), (10, 200), (8, 3), (2000, 1000)):
        layers = [kf.dense(name="n" * size + str(k)) for k in range(count)]
        path = tmp_path / "m.keras"
        path.write_bytes(kf.archive(json.dumps(kf.sequential(*layers)).encode(), kf.hdf5({})))
        with pytest.raises(
            rb.FormatError, match=r"the layers must be Masking or Embedding, .* of which one is recurrent"
        ) as caught:
            rb.load(path)
        assert len(str(caught.value).removeprefix(str(path))) < 400
        assert ("more" in str(caught.value)) == (count * size > 100)
