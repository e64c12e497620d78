"""External data of ONNX files that change, are large, or are many, while a model is read."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto
from onnx_models import model, node, value
from ways import follow

import rnn_backends as rb
from rnn_backends.formats.onnx.external import External

SIZE, LAYERS = 8, 3
COUNT = SIZE * SIZE
NBYTES = 4 * COUNT * LAYERS * 2


def tensor(name: str, shape: tuple[int, ...], **entries: Any) -> TensorProto:
    made = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, held in entries.items():
        made.external_data.add(key=key, value=str(held))
    return made


def stacked(folder: Path, locations: Callable[[int], str] = lambda _: "w.bin", **more: Any) -> Path:
    """A model of three layers whose weights are external, one after the other."""
    nodes: list[onnx.NodeProto] = []
    for k in range(LAYERS):
        nodes += [
            node("RNN", [f"x{k}", f"w{2 * k}", f"w{2 * k + 1}"], [f"y{k}"], hidden_size=SIZE),
            node("Squeeze", [f"y{k}", "one"], f"x{k + 1}"),
        ]
    made = model(nodes, [value("x0", shape=["t", "b", SIZE])], [f"x{LAYERS}"], {"one": np.array([1])})
    for k in range(2 * LAYERS):
        made.graph.initializer.append(
            tensor(f"w{k}", (1, SIZE, SIZE), location=locations(k), offset=4 * COUNT * k, length=4 * COUNT, **more)
        )
    folder.mkdir(exist_ok=True)
    path = folder / "m.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def filled(number: float, nbytes: int = NBYTES) -> bytes:
    return np.full(nbytes // 4, number, np.float32).tobytes()


def numbers(rnn: rb.RNN) -> set[float]:
    cells: list[Any] = [cell for layer in rnn.layers for cell, _ in layer.cells]
    return {float(each) for cell in cells for array in (cell.weight_ih, cell.weight_hh) for each in np.unique(array)}


def after(monkeypatch: pytest.MonkeyPatch, count: int, change: Callable[[], object]) -> None:
    """Make something happen once so many tensors were read."""
    known, done = External.numbers, []

    def read(self: External, *given: Any) -> Any:
        found = known(self, *given)
        done.append(1)
        if len(done) == count:
            change()
        return found

    monkeypatch.setattr(External, "numbers", read)


def replaced(path: Path) -> None:
    path.with_suffix(".new").write_bytes(filled(2.0))
    path.with_suffix(".new").replace(path)


def linked(path: Path) -> None:
    replaced(path)
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def shorter(path: Path) -> None:
    path.with_suffix(".new").write_bytes(filled(2.0, 16))
    path.with_suffix(".new").replace(path)


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("change", [replaced, linked, a_folder, shorter, Path.unlink])
def test_a_file_that_is_replaced_is_read_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], count: int
) -> None:
    path = stacked(tmp_path)
    (tmp_path / "w.bin").write_bytes(filled(1.0))
    after(monkeypatch, count, lambda: change(tmp_path / "w.bin"))
    assert numbers(rb.load(path, external_data=True)) == {1.0}


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(filled(2.0))
    os.utime(path, ns=(1, 1))  # on a file system whose clock ticks seldom


def cut(path: Path) -> None:
    os.truncate(path, 4 * COUNT)


def appended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [overwritten, cut, appended, emptied, touched])
def test_a_file_that_is_written_to_in_place_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    path = stacked(tmp_path)
    (tmp_path / "w.bin").write_bytes(filled(1.0))
    after(monkeypatch, 3, lambda: change(tmp_path / "w.bin"))
    with pytest.raises(rb.FormatError, match=r"m\.onnx: .*w\.bin.*; load it again\.$"):
        rb.load(path, external_data=True)


def test_an_error_of_the_graph_is_not_one_of_the_files_beside_it(tmp_path: Path) -> None:
    path = stacked(tmp_path)
    (tmp_path / "w.bin").write_bytes(filled(1.0))
    made = onnx.load(path, load_external_data=False)
    made.graph.node.append(node("Sin", ["x1"], "s"))
    path.write_bytes(made.SerializeToString())
    with pytest.raises(rb.FormatError, match=r"m\.onnx: Sin 'the_Sin': this operator is none"):
        rb.load(path, external_data=True)


def test_several_files_may_hold_the_tensors(tmp_path: Path) -> None:
    path = stacked(tmp_path, lambda k: f"./w{k % 2}.bin" if k < 3 else f"w{k % 2}.bin")
    for k in range(2):
        (tmp_path / f"w{k}.bin").write_bytes(filled(1.0 + k))
    assert numbers(rb.load(path, external_data=True)) == {1.0, 2.0}
    many = stacked(tmp_path)
    made = onnx.load(many, load_external_data=False)
    for k in range(600):
        (tmp_path / f"t{k}.bin").touch()
        made.graph.initializer.append(tensor(f"t{k}", (0,), location=f"t{k}.bin"))
    many.write_bytes(made.SerializeToString())
    (tmp_path / "w.bin").write_bytes(filled(1.0))

    def in_one() -> rb.RNN:
        onnx.save(onnx.load(many), tmp_path / "new.onnx", save_as_external_data=True, location="new.bin")
        return rb.load(tmp_path / "new.onnx", external_data=True)

    follow(
        "onnx_one_file",
        lambda **_: rb.load(many, external_data=True),
        [1.0],
        lambda rnn: sorted(numbers(rnn)),
        then=in_one,
    )


# Sizes and checksums


def sparse(path: Path, nbytes: int) -> None:
    path.touch()
    os.truncate(path, nbytes)


@pytest.mark.parametrize("kind", ["Expand", "Tile", "ConstantOfShape", "Range", "Concat"])
def test_a_large_file_allows_no_more_than_is_read_of_it(tmp_path: Path, kind: str) -> None:
    made = {
        "Expand": [node("Expand", ["one", "n"], "y")],
        "Tile": [node("Tile", ["e", "n"], "y")],
        "ConstantOfShape": [node("ConstantOfShape", ["n"], "y", value=onnx.helper.make_tensor("v", 1, [1], [1.0]))],
        "Range": [node("Range", ["one", "n", "one"], "y")],
        "Concat": [node("Concat", [f"c{k}", f"c{k}"], f"c{k + 1}", axis=0) for k in range(28)],
    }[kind]  # fmt: skip
    path = stacked(tmp_path)
    graph = onnx.load(path, load_external_data=False)
    graph.graph.initializer.append(tensor("e", (1,), location="large.bin"))
    graph.graph.initializer.append(tensor("c0", (1,), location="large.bin", offset=2**38))
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2**26]), "n"))
    graph.graph.node.extend(made)
    path.write_bytes(graph.SerializeToString())
    (tmp_path / "w.bin").write_bytes(filled(1.0))
    sparse(tmp_path / "large.bin", 2**40)
    with pytest.raises(rb.FormatError, match=r"would take [0-9]+ bytes"):
        rb.load(path, external_data=True)


def checked(folder: Path, data: bytes) -> Path:
    path = stacked(folder, checksum=hashlib.sha1(data).hexdigest())
    (folder / "w.bin").write_bytes(data)
    return path


def of_one_file(path: Path) -> int:
    return 1


def of_two_files(path: Path) -> int:
    """Have half of the tensors in another file of the same bytes."""
    stacked(path.parent, lambda k: f"w{k % 2}.bin", checksum=hashlib.sha1(filled(1.0)).hexdigest())
    for k in range(2):
        (path.parent / f"w{k}.bin").write_bytes(filled(1.0))
    return 2


def by_two_names(path: Path) -> int:
    stacked(path.parent, lambda k: "./" * (k % 3) + "w.bin", checksum=hashlib.sha1(filled(1.0)).hexdigest())
    return 1


def in_two_cases(path: Path) -> int:
    made = onnx.load(path, load_external_data=False)
    for k, each in enumerate(made.graph.initializer[1:]):
        entry = next(entry for entry in each.external_data if entry.key == "checksum")
        entry.value = entry.value.upper() if k % 2 else entry.value
    path.write_bytes(made.SerializeToString())
    return 1


def of_one_tensor(path: Path) -> int:
    made = onnx.load(path, load_external_data=False)
    for each in made.graph.initializer[2:]:
        del each.external_data[-1]  # the checksum
    path.write_bytes(made.SerializeToString())
    return 1


def of_many_tensors(path: Path) -> int:
    """Have further tensors, which nothing takes, in the same bytes."""
    made = onnx.load(path, load_external_data=False)
    for k in range(100):
        made.graph.initializer.append(made.graph.initializer[1])
        made.graph.initializer[-1].name = f"t{k}"
    path.write_bytes(made.SerializeToString())
    return 1


@pytest.mark.parametrize(
    "change", [of_one_file, of_two_files, by_two_names, in_two_cases, of_one_tensor, of_many_tensors]
)
def test_a_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], int]) -> None:
    made, known = list[int](), hashlib.sha1

    def sha1(*given: Any, **options: Any) -> Any:
        made.append(1)
        return known(*given, **options)

    path = checked(tmp_path, filled(1.0))
    count = change(path)
    monkeypatch.setattr(hashlib, "sha1", sha1)
    assert numbers(rb.load(path, external_data=True)) == {1.0}
    assert len(made) == count
    monkeypatch.undo()
    (tmp_path / ("w.bin" if count == 1 else "w0.bin")).write_bytes(filled(2.0))
    with pytest.raises(
        rb.FormatError, match="the external data of 'w0' do not have the checksum that the model states"
    ):
        rb.load(path, external_data=True)


@pytest.mark.parametrize("nbytes", [2**25, 2**30, 2**34, 2**36, 2**40])
def test_a_file_of_which_little_is_used_is_not_hashed(tmp_path: Path, nbytes: int) -> None:
    path = checked(tmp_path, filled(1.0))
    os.truncate(tmp_path / "w.bin", nbytes)
    with pytest.raises(
        rb.FormatError, match=rf"'w\.bin' has {nbytes} bytes, of which the model uses {NBYTES}, and a check"
    ):
        rb.load(path, external_data=True)


def test_a_model_without_a_checksum_uses_little_of_a_file(tmp_path: Path) -> None:
    path = checked(tmp_path, filled(1.0))
    os.truncate(tmp_path / "w.bin", 2**25)
    follow(
        "onnx_checksum",
        lambda **_: rb.load(path, external_data=True),
        [1.0],
        lambda rnn: sorted(numbers(rnn)),
        then=lambda: rb.load(stacked(tmp_path), external_data=True),
    )
