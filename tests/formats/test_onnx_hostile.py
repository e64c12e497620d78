"""ONNX files that lie, are damaged or were made to harm: always this package's error, and never much memory."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto, helper
from onnx_models import model, node, options, value, weights

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.testing.cases import Draw

DATA = Path(__file__).parents[1] / "data"


def originals(folder: Path) -> list[bytes]:
    """Files that are right: one of this package's own, and torch's."""
    rnn = rb.RNN.init(3, 4, num_layers=2, bidirectional=True, output_size=2)
    rnn.save(folder / "own.onnx")
    return [(folder / "own.onnx").read_bytes(), *(path.read_bytes() for path in sorted(DATA.glob("*.onnx")))]


def damaged(files: list[bytes], random: np.random.Generator) -> Iterator[bytes]:
    for file in files:
        for end in range(0, len(file), 256):
            yield file[:end]
        for _ in range(40):  # a bit, or a few bytes
            changed = bytearray(file)
            changed[random.integers(len(file))] ^= 1 << random.integers(8)
            yield bytes(changed)
            start, count = random.integers(len(file)), random.integers(1, 9)
            yield file[:start] + random.bytes(int(count)) + file[start + count :]
            yield file[:start] + file[start + count :]
        start, end = sorted(random.integers(len(file), size=2))
        yield file[:start] + file[end:]
    for _ in range(100):
        yield random.bytes(int(random.integers(1, 200)))


def test_damaged_files(tmp_path: Path) -> None:
    refused = count = 0
    path = tmp_path / "m.onnx"
    for data in damaged(originals(tmp_path), np.random.default_rng(3)):
        count += 1
        path.write_bytes(data)
        try:
            rb.load(path)
        except rb.FormatError:
            refused += 1
    assert count > 1000
    assert refused > count // 4  # most of a file is weights, which are free to change


def test_a_file_of_noise(tmp_path: Path) -> None:
    for data in (b"", bytes(100), b"\x80\x02}q\x00.", b"PK\x03\x04", bytes(range(256))):
        (tmp_path / "m.onnx").write_bytes(data)
        match = r"m\.onnx is no \.onnx file, or is damaged|m\.onnx: (it states no opset|it is empty|it is a pickle, a program)"
        with pytest.raises(rb.FormatError, match=match):
            rb.load(tmp_path / "m.onnx")


# Tensors that lie


def tensor(shape: tuple[int, ...], data_type: int = TensorProto.FLOAT, name: str = "W", **fields: Any) -> TensorProto:
    made = TensorProto(name=name, dims=shape, data_type=data_type)
    for field, held in fields.items():
        if field == "raw_data":
            made.raw_data = held
        else:
            getattr(made, field).extend(held)
    return made


def with_w(made: TensorProto) -> onnx.ModelProto:
    """A model of one node whose W is this tensor."""
    layer = Draw("float32", 1).layers("f", 1, 4, 5)[0]
    held = weights(layer)
    found = model([node("RNN", ["X", *held], ["Y"], **options(layer))], [value("X", shape=["t", "b", 4])], ["Y"], held)
    kept = [tensor for tensor in found.graph.initializer if tensor.name != "W"]
    del found.graph.initializer[:]
    found.graph.initializer.extend([made, *kept])
    return found


def segmented() -> TensorProto:
    made = tensor((1, 5, 4), raw_data=bytes(80))
    made.segment.begin = 0
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (tensor((1, 5, 4), raw_data=bytes(79)), r"the tensor 'W' declares the shape \(1, 5, 4\), but has 19.75 elements in raw_data"),
        (tensor((1, 5, 4), raw_data=bytes(84)), r"declares the shape \(1, 5, 4\), but has 21 elements"),
        (tensor((1, 5, 2**62), raw_data=bytes(80)), r"declares the shape"),
        (tensor((2**31, 2**31, 2**31), raw_data=b""), r"declares the shape"),
        (tensor((-1, 5, 4), raw_data=bytes(80)), r"has the impossible shape \(-1, 5, 4\)"),
        (tensor((1,) * 33, raw_data=bytes(4)), r"the shape of the tensor 'W' would take 33 axes, more than the 32"),
        (tensor((1, 5, 4)), r"but has 0 elements in no field"),
        (tensor((1, 5, 4), float_data=[0.0] * 19), r"but has 19 elements in float_data"),
        (tensor((1, 5, 4), double_data=[0.0] * 20), r"but has 0 elements in double_data"),
        (tensor((1, 5, 4), float_data=[0.0] * 20, raw_data=bytes(80)), r"elements in float_data and raw_data"),
        (tensor((1, 5, 4), TensorProto.STRING, string_data=[b"a"] * 20), r"has element type 8; it must be one of"),
        (tensor((1, 5, 4), 99, raw_data=bytes(80)), r"has element type 99"),
        (tensor((1, 5, 4), TensorProto.FLOAT16, int32_data=[70000] * 20), r"holds bits of 16-bit floats that are no 16-bit"),
        (segmented(), r"is a segment of another"),
    ],
)  # fmt: skip
def test_tensors_that_lie(made: TensorProto, message: str) -> None:
    with pytest.raises(rb.FormatError, match=message):
        rb.from_onnx(with_w(made))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_tensors_in_their_own_fields(dtype: str) -> None:
    """The same numbers as raw bytes and as a list, which for 16-bit floats is one of their bits."""
    draw = Draw(dtype, 2)
    layer = draw.layers("f", 1, 4, 5)[0]
    code = {"float16": 10, "float32": 1, "float64": 11, "bfloat16": 16}[dtype]
    read = []
    for raw in (True, False):
        tensors = []
        for name, array in weights(layer).items():
            if dtype == "bfloat16":
                bits = (array.view(np.uint32) >> 16).astype(np.uint16)
            else:
                bits = array.view(np.uint16) if dtype == "float16" else array
            if raw:
                tensors.append(tensor(array.shape, code, name, raw_data=bits.tobytes()))
            else:
                field = {"float32": "float_data", "float64": "double_data"}.get(dtype, "int32_data")
                tensors.append(tensor(array.shape, code, name, **{field: bits.ravel().tolist()}))
        made = model([node("RNN", ["X", "W", "R", "B"], ["Y"], **options(layer))], [], ["Y"])
        made.graph.input.append(helper.make_tensor_value_info("X", code, ["t", "b", 4]))
        made.graph.initializer.extend(tensors)
        cell = rb.from_onnx(made).layers[0].forward
        assert isinstance(cell, rb.Cell)
        read.append(cell)
    own = layer.forward
    assert isinstance(own, rb.Cell)
    if dtype == "bfloat16":
        with pytest.raises(rb.DTypeError, match="the input 'X' is bfloat16, which NumPy has not"):
            format_.run_model(made, [np.zeros((2, 3, 4), np.float32)])
    for cell in read:
        np.testing.assert_array_equal(cell.weight_ih, own.weight_ih, strict=True)
        np.testing.assert_array_equal(cell.bias, own.bias, strict=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: made.functions.add(), "the file has functions"),
        (lambda made: made.training_info.add(), "the file has training information"),
        (lambda made: made.graph.sparse_initializer.add(), "the file has sparse initializers"),
        (lambda made: made.graph.quantization_annotation.add(), "the file has quantization annotations"),
        (lambda made: made.graph.initializer.append(made.graph.initializer[0]), "the name '.*' is given to two values"),
        (lambda made: made.graph.input.append(made.graph.input[0]), "."),
        (lambda made: made.opset_import.pop(), "it states no opset"),
        (lambda made: made.graph.input[0].type.ClearField("tensor_type"), "the input 'X' must be a tensor with a number of axes"),
        (lambda made: made.graph.input[0].type.tensor_type.ClearField("shape"), "the input 'X' must be a tensor with a number of axes"),
        (lambda made: setattr(made.graph.input[0].type.tensor_type, "elem_type", 8), "the input 'X' must be a tensor"),
        (lambda made: made.graph.node[0].attribute.append(made.graph.node[0].attribute[0]), "unknown or given twice"),
        (lambda made: setattr(made.graph.node[0].attribute[0], "ref_attr_name", "x"), "attribute '.*' is unknown"),
    ],
)  # fmt: skip
def test_models_that_are_odd(change: Callable[[onnx.ModelProto], object], message: str) -> None:
    made = with_w(tensor((1, 5, 4), raw_data=bytes(80)))
    change(made)
    if message == ".":
        assert rb.from_onnx(made)  # the same input twice says nothing new
        return
    with pytest.raises(rb.FormatError, match=message):
        rb.from_onnx(made)


# External data


def external(folder: Path, **entries: str) -> Path:
    """A model in a folder whose W lies elsewhere."""
    made = TensorProto(name="W", dims=(1, 5, 4), data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, held in entries.items():
        made.external_data.add(key=key, value=held)
    folder.mkdir(exist_ok=True)
    onnx.save(with_w(made), folder / "m.onnx")
    return folder / "m.onnx"


W = np.arange(20, dtype=np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inner = tmp_path / "model"
    inner.mkdir()
    (tmp_path / "outside.bin").write_bytes(W.tobytes())
    (inner / "w.bin").write_bytes(b"1234" + W.tobytes())
    (inner / "link.bin").symlink_to(tmp_path / "outside.bin")
    (inner / "folder").symlink_to(tmp_path)
    os.mkfifo(inner / "fifo.bin")
    return inner


def test_external_data_where_they_are_asked_for(folder: Path) -> None:
    checksum = hashlib.sha1((folder / "w.bin").read_bytes()).hexdigest()
    for entries in ({"offset": "4"}, {"offset": "4", "length": "80"}, {"offset": "4", "checksum": checksum.upper()}):
        path = external(folder, location="w.bin", **entries)
        cell = rb.from_onnx(path, external_data=True).layers[0].forward
        assert isinstance(cell, rb.Cell)
        np.testing.assert_array_equal(cell.weight_ih.ravel(), W)
    for load in (rb.load, rb.from_onnx):
        with pytest.raises(
            rb.FormatError, match=r"the tensor 'W' has its data in another file; pass external_data=True"
        ):
            load(path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "../outside.bin"}, "must be an ordinary file in the model's folder: no '..'"),
        ({"location": "folder/outside.bin"}, "no symbolic link"),
        ({"location": "link.bin"}, "no symbolic link"),
        ({"location": "/etc/passwd"}, "no absolute path"),
        ({"location": "C:\\w.bin"}, "must be an ordinary file"),
        ({"location": "w.bin\0"}, "must be an ordinary file"),
        ({"location": "absent.bin"}, "must be an ordinary file"),
        ({"location": "a" * 300}, "the external data file 'a+[.]{3} must be an ordinary file"),
        ({"location": "a" * 5000}, "the external data file 'a+[.]{3} must be an ordinary file"),
        ({"location": "ab/" * 1700}, r"the external data file '(ab/)+a?b?[.]{3} must be an ordinary file"),
        ({"location": "w.bin", "offset": "1" * 5000}, "must be whole numbers; got '1+[.]{3}"),
        ({"location": "w.bin", "length": "\N{GRINNING FACE}" * 5000}, "must be whole numbers; got '"),
        ({"location": "w.bin", "k" * 5000: "4"}, "a name of more than 1000 characters, which begins 'k+[.]{3}"),
        ({"location": "w.bin", "basepath": "/" * 5000}, "at most offset, length and checksum; got 'location', 'basepath'"),
        ({"location": "w.bin", "offset": "4", "checksum": "0" * 5000}, "do not have the checksum"),
        ({"location": "fifo.bin"}, "must be an ordinary file"),
        ({"location": "."}, "must be an ordinary file"),
        ({"location": ""}, "must have a location"),
        ({"offset": "4"}, "must have a location"),
        ({"location": "w.bin", "basepath": "/"}, "at most offset, length and checksum; got 'location', 'basepath'"),
        ({"location": "w.bin", "offset": "8"}, "needs 80 bytes; its external data are 80 from 8 on in 'w.bin', a file of 84"),
        ({"location": "w.bin", "length": "84"}, "needs 80 bytes; its external data are 84 from 0 on in 'w.bin', a file of 84"),
        ({"location": "w.bin", "offset": "-4"}, "must be whole numbers; got '-4'"),
        ({"location": "w.bin", "offset": "9" * 30}, "must be whole numbers"),
        ({"location": "w.bin", "offset": "4", "checksum": "0" * 40}, "do not have the checksum"),
    ],
)  # fmt: skip
def test_external_data_elsewhere(folder: Path, entries: dict[str, str], message: str) -> None:
    with pytest.raises(rb.FormatError, match=message) as caught:
        rb.from_onnx(external(folder, **entries), external_data=True)
    assert len(str(caught.value)) <= 400
    assert str(caught.value).isprintable()


def test_external_data_beside_inner_ones(folder: Path) -> None:
    made = with_w(tensor((1, 5, 4), raw_data=bytes(80)))
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    made.graph.initializer[0].external_data.add(key="location", value="w.bin")
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(rb.FormatError, match="has its data both in the file and in an external one"):
        rb.from_onnx(folder / "m.onnx", external_data=True)


# What is no regular file, and what is left behind


def test_special_files_are_refused(tmp_path: Path) -> None:
    """Opening a FIFO waits for its writer, and a device ends nowhere."""
    os.mkfifo(tmp_path / "fifo.onnx")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    (tmp_path / "folder.onnx").mkdir()
    for name, what in (("fifo", "a FIFO"), ("zero", "a device"), ("folder", "a directory")):
        for read in (rb.load, rb.from_onnx):
            with pytest.raises(rb.FormatError, match=f"{name}.onnx is {what}, not a regular file"):
                read(tmp_path / f"{name}.onnx")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted as on Linux")
def test_no_descriptor_outlives_a_refusal(folder: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    caught = []
    for entries in ({"location": "w.bin", "offset": "8"}, {"location": "w.bin", "checksum": "0" * 40}):
        with pytest.raises(rb.FormatError) as error:
            rb.from_onnx(external(folder, **entries), external_data=True)
        caught.append(error)  # with its frames
    assert len(list(Path("/proc/self/fd").iterdir())) == before
