"""ONNX files that would take more memory or time than a file of their size may."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_models import model, node, options, value, weights

import rnn_backends as rb
from rnn_backends.testing.cases import Draw

DATA = Path(__file__).parents[1] / "data"
MEASURED = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of a process's memory is read as on Linux"
)
SCRIPT = """
import pathlib, sys, time
import rnn_backends as rb
status, reset = pathlib.Path("/proc/self/status"), pathlib.Path("/proc/self/clear_refs")
peak = lambda: int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
rb.load(sys.argv[1])
for path in sorted(pathlib.Path(sys.argv[2]).glob("*.onnx")):
    reset.write_text("5")
    before, begin, message = peak(), time.process_time(), ""
    try:
        rb.load(path)
    except rb.FormatError as error:
        message = str(error)
    print(path.stem, peak() - before, time.process_time() - begin, message, sep="\t")
"""


def loaded(folder: Path) -> dict[str, tuple[float, float, str]]:
    """MiB and seconds that each file of a folder takes, and how it is refused, in a process of its own.

    Protobuf's memory is not Python's, so no tracemalloc sees it.
    """
    command = [sys.executable, "-c", SCRIPT, str(DATA / "torch_softmax.onnx"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {name: (float(grown), float(seconds), message) for name, grown, seconds, message in rows}


def field(number: int, payload: bytes) -> bytes:
    """A field of bytes, by the wire format of protobuf."""
    length, size = b"", len(payload)
    while size >= 0x80:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload


OPSET = b"\x42\x02\x10\x0e"  # 14


def messages() -> Iterator[tuple[str, bytes, str]]:
    """Small files that protobuf would unpack to much, and how they are refused."""
    fields, packed = "its structure would take .* fields", "its lists of integers, .* would take"
    yield "empty nodes", field(7, field(1, b"") * 4_000_000), fields
    yield "empty tensors", field(7, field(5, b"") * 4_000_000), fields
    yield "packed numbers", field(7, field(5, field(7, b"\0" * 8_000_000))), packed
    yield "packed sizes", field(7, field(5, field(1, b"\1" * 8_000_000))), packed
    yield (
        "a long name",
        OPSET + field(7, field(1, field(4, b"a" * 8_000_000))),
        "it has a name of more than 1000 characters",
    )
    deep = b""
    for _ in range(60):
        deep = field(1, field(5, field(6, deep)))
    yield "graphs in graphs", field(7, deep), r"its messages in each other would take \d+ levels"
    none, several = 148_000, b"".join(field(1, f"{k:x}".encode()) for k in range(100_000))
    yield "nodes", OPSET + field(7, field(1, b"") * none), "this operator is none"
    yield "tensors", OPSET + field(7, field(5, b"") * none), "the tensor '' has element type 0"
    yield (
        "attributes",
        OPSET + field(7, field(1, field(5, b"") * none + field(4, b"Identity"))),
        "unknown or given twice",
    )
    yield (
        "names of a node",
        OPSET + field(7, field(1, several + field(4, b"Identity"))),
        "the order of its nodes would take",
    )
    yield "inputs", OPSET + field(7, field(11, b"") * none), "the input '' must be a tensor"
    yield "operators of functions", OPSET + b"\xca\x01\0" * none, "the file has functions"
    yield "texts of a tensor", OPSET + field(7, field(5, b"\x10\x08" + field(6, b"") * none)), "has element type 8"
    floats = field(1, b"value_floats") + b"\xa0\x01\x06" + field(7, bytes(2**22))  # packed, as nobody writes them
    constant = field(2, b"c") + field(4, b"Constant") + field(5, floats)
    yield "numbers of a node", OPSET + field(7, field(1, constant)), "'value_floats' would take"


def graphs() -> Iterator[tuple[str, bytes, str]]:
    """Small files whose graphs would compute or keep much, and how they are refused."""
    tensors, layers = "the constants that the graph computes would take", "the weights of the layers would take"
    layer = Draw("float32", 1).layers("f", 1, 4, 5)[0]
    held: dict[str, Any] = weights(layer)
    rnn = node("RNN", ["X", *held], ["Y"], **options(layer))

    def graph(*nodes: onnx.NodeProto, **more: Any) -> bytes:
        made = model(
            [*nodes, rnn],
            [value("X", shape=["t", "b", 4]), value("ids", shape=["t", "b"], dtype="int64")],
            ["Y"],
            held | more,
        )
        return bytes(made.SerializeToString())

    one, huge = np.ones(1, np.float32), np.array([2**20, 2**20])
    yield "Expand", graph(node("Expand", ["one", "huge"], "y"), one=one, huge=huge), tensors
    yield (
        "ConstantOfShape",
        graph(node("ConstantOfShape", ["huge"], "y", value=helper.make_tensor("v", 1, [1], [1.0])), huge=huge),
        tensors,
    )
    yield (
        "Gather",
        graph(
            node("Gather", ["rows", "many"], "y"), rows=np.ones((1, 2**20), np.float32), many=np.zeros(2**12, np.int64)
        ),
        tensors,
    )
    doubled = [node("Concat", [f"c{k}", f"c{k}"], f"c{k + 1}", axis=0) for k in range(40)]
    yield "Concat", graph(*doubled, c0=np.ones(2**10, np.float32)), tensors
    yield (
        "Cast",
        graph(*[node("Cast", ["one"], f"y{k}", to=11) for k in range(20)], one=np.ones(2**20, np.float32)),
        tensors,
    )
    wide = {
        "W": np.ones((1, 2048, 1), np.float32),
        "R": np.ones((1, 2048, 2048), np.float32),
        "table": np.ones((2**20, 1), np.float32),
    }
    embedded = [node("Gather", ["table", "ids"], "rows"), node("RNN", ["rows", "W", "R"], ["Y"])]
    made = model(embedded, [value("ids", shape=["t", "b"], dtype="int64")], ["Y"], wide)
    yield "an embedding", made.SerializeToString(), "^$"  # folded, it would be larger, and so it is not

    rnn.output.append("H0")
    doubled = [node("Concat", [f"H{k}", f"H{k}"], f"H{k + 1}", axis=0) for k in range(40)]
    rnn_first = model([rnn, *doubled], [value("X", shape=["t", "b", 4])], ["H40"], held)
    yield "last states", rnn_first.SerializeToString(), "the last states that it joins would take .* items"

    square = {name: np.ones((1, 512, 512), np.float32) for name in ("w", "r")}
    stacked = [node("RNN", [f"x{k}", "w", "r"], f"y{k}") for k in range(400)]
    between = [node("Squeeze", [f"y{k}", "one"], f"x{k + 1}") for k in range(400)]
    chain = [each for pair in zip(stacked, between, strict=True) for each in pair]
    made = model(chain, [value("x0", shape=["t", "b", 512])], ["x400"], square | {"one": np.array([1])})
    yield "weights of all layers", made.SerializeToString(), layers

    states = [*held, "", "zeros"]
    scanned = [node("RNN", ["X", *states], f"Y{k}", **options(layer)) for k in range(3000)]
    made = model(scanned, [value("X", shape=["t", "b", 4])], ["Y0"], held | {"zeros": np.zeros(2**22, np.float16)})
    yield "zeros", made.SerializeToString(), "looking through its constants would take"

    def unsqueezed(*front: str, opset: int, **axes: Any) -> bytes:
        nodes = [node("Unsqueeze", [f"x{k}", *front], f"x{k + 1}", **axes) for k in range(60)]
        inputs = [value("x0", shape=["t", "b", 4])]
        return bytes(model(nodes, inputs, ["x60"], {"front": np.arange(20)}, opset).SerializeToString())

    long = node("RNN", ["X", *held], ["Y"], direction="f" * 2**20)
    made = model([long], [value("X", shape=["t", "b", 4])], ["Y"], held)
    yield "a long text", made.SerializeToString(), "`direction` must be one of .{1,200}$"

    yield "axes", unsqueezed("front", opset=13), "the shape of 'x2' would take 43 axes"
    yield "axes of a node", unsqueezed(opset=11, axes=[*range(200)]), "its axes would take 200 axes"


@MEASURED
def test_bombs(tmp_path: Path) -> None:
    wanted = {}
    for name, data, message in (*messages(), *graphs()):
        (tmp_path / f"{name}.onnx").write_bytes(data)
        wanted[name] = message
    found = loaded(tmp_path)
    assert found.keys() == wanted.keys()
    for name, (grown, seconds, refused) in found.items():
        assert re.search(wanted[name], refused), (name, refused)
        assert grown <= 64 + (tmp_path / f"{name}.onnx").stat().st_size / 2**20, name
        assert seconds < 10, name


NAMED: dict[str, Callable[[onnx.ModelProto, str], object]] = {
    "a node": lambda made, name: setattr(made.graph.node[0], "name", name),
    "an operator": lambda made, name: setattr(made.graph.node[0], "op_type", name),
    "an output": lambda made, name: made.graph.node[0].output.append(name),
    "an attribute": lambda made, name: made.graph.node[0].attribute.add(name=name),
    "a tensor": lambda made, name: made.graph.initializer.add(name=name),
    "an input": lambda made, name: made.graph.input.add(name=name),
    "a size": lambda made, name: made.graph.input[0].type.tensor_type.shape.dim.add(dim_param=name),
    "a domain": lambda made, name: made.opset_import.add(domain=name),
    "a key": lambda made, name: made.metadata_props.add(key=name),
    "a producer": lambda made, name: setattr(made, "producer_name", name),
}


@pytest.mark.parametrize("what", NAMED)
@pytest.mark.parametrize("name", ["a" * 1001, "\N{GRINNING FACE}" * 1001, "a" * 2**20])
def test_names_have_a_thousand_characters(tmp_path: Path, what: str, name: str) -> None:
    made = sound()
    NAMED[what](made, name)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(rb.FormatError, match=r"it has a name of more than 1000 characters, which begins '") as caught:
        rb.load(tmp_path / "m.onnx")
    assert len(str(caught.value)) <= 400
    if what in {"a node", "a producer"}:
        made = sound()
        NAMED[what](made, name[:1000])
        (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
        assert rb.load(tmp_path / "m.onnx").hidden_size == 5


def sound() -> onnx.ModelProto:
    layer = Draw("float32", 1).layers("f", 1, 4, 5)[0]
    held = weights(layer)
    return model([node("RNN", ["X", *held], ["Y"], **options(layer))], [value("X", shape=["t", "b", 4])], ["Y"], held)


LEFT_OUT: dict[str, Callable[[onnx.ModelProto, str], object]] = {
    "of the model": lambda made, text: setattr(made, "doc_string", text),
    "of the graph": lambda made, text: setattr(made.graph, "doc_string", text),
    "of a node": lambda made, text: setattr(made.graph.node[0], "doc_string", text),
    "of an attribute": lambda made, text: setattr(made.graph.node[0].attribute[0], "doc_string", text),
    "of a tensor": lambda made, text: setattr(made.graph.initializer[0], "doc_string", text),
    "of an input": lambda made, text: setattr(made.graph.input[0], "doc_string", text),
    "beside a node": lambda made, text: made.graph.node[0].metadata_props.add(key=text, value=text),
    "beside values": lambda made, text: made.graph.value_info.add(name=text),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_nothing_needs_is_left_out_wherever_it_stands(tmp_path: Path, what: str) -> None:
    for count in (1, 100, 2**20, 3 * 2**20):
        made = sound()
        LEFT_OUT[what](made, "t" * count)
        (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
        found, own = rb.load(tmp_path / "m.onnx"), rb.from_onnx(sound())
        one, other = (rnn.layers[0].forward for rnn in (found, own))
        assert isinstance(one, rb.Cell)
        assert isinstance(other, rb.Cell)
        np.testing.assert_array_equal(one.weight_hh, other.weight_hh)


@pytest.mark.parametrize("end", [0, 2, 20, 200, 300, -1, -4, -8])
def test_a_file_that_is_cut_short_says_so(tmp_path: Path, end: int) -> None:
    data = sound().SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data[: end if end >= 0 else len(data) + end])
    match = (
        "it is empty; if|it states no opset, .* it is cut short, or no|or is damaged: (a field|it ends in the middle)"
    )
    with pytest.raises(rb.FormatError, match=match):
        rb.load(tmp_path / "m.onnx")


def bidirectional() -> onnx.ModelProto:
    """A layer whose two directions are joined by the graph, as exporters write it that fold nothing."""
    draw = np.random.default_rng(0)
    names = ("W_f", "W_b", "R_f", "R_b")
    tensors: dict[str, Any] = {name: draw.random((1, 1024, 1024), np.float32) for name in names}
    nodes = [node("Concat", [f"{name}_f", f"{name}_b"], name, axis=0) for name in ("W", "R")]
    nodes.append(node("RNN", ["X", "W", "R"], ["Y"], direction="bidirectional", hidden_size=1024))
    return model(nodes, [value("X", shape=["t", "b", 1024])], ["Y"], tensors)


def embedding() -> onnx.ModelProto:
    """Token ids whose embedding, in float16, is folded into W."""
    tensors = {
        "table": np.ones((4096, 2048), np.float16),
        "W": np.ones((1, 256, 2048), np.float16),
        "R": np.ones((1, 256, 256), np.float16),
    }
    nodes = [node("Gather", ["table", "ids"], "rows"), node("RNN", ["rows", "W", "R"], ["Y"])]
    return model(nodes, [value("ids", shape=["t", "b"], dtype="int64")], ["Y"], tensors, dtype="float16")


@MEASURED
def test_a_sound_file_takes_twice_its_size(tmp_path: Path) -> None:
    rb.RNN.init(1024, 1024, num_layers=2).save(tmp_path / "own.onnx")
    for name, made in (("bidirectional", bidirectional()), ("embedding", embedding())):
        onnx.save(made, tmp_path / f"{name}.onnx")
    for name, (grown, _, refused) in loaded(tmp_path).items():
        assert not refused
        assert grown <= 2.25 * (tmp_path / f"{name}.onnx").stat().st_size / 2**20, name


@pytest.mark.parametrize("files", [1, 4])
def test_external_data_may_be_read_only_so_often(files: int, tmp_path: Path) -> None:
    """Tensors may share a file; each is a copy, and a part that is read again allows no more."""
    for number in range(files):
        (tmp_path / f"w{number}.bin").write_bytes(bytes(2**20))
    layer = Draw("float32", 1).layers("f", 1, 4, 5)[0]
    held = weights(layer)
    made = model([node("RNN", ["X", *held], ["Y"], **options(layer))], [value("X", shape=["t", "b", 4])], ["Y"], held)
    for number in range(64):
        tensor = TensorProto(name=f"t{number}", dims=(2**18,), data_type=1, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=f"w{number % files}.bin")
        made.graph.initializer.append(tensor)
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(rb.FormatError, match=r"(the external data of 't[0-9]+'|an array in it) would take"):
        rb.from_onnx(path, external_data=True)
    del made.graph.initializer[16:]
    path.write_bytes(made.SerializeToString())
    assert rb.from_onnx(path, external_data=True).dtype == "float32"


def test_models_in_memory_are_limited_by_their_size() -> None:
    huge = numpy_helper.from_array(np.array([2**20, 2**20]), "huge")
    made = model([node("Expand", ["one", "huge"], "y")], [], ["y"], {"one": np.ones(1, np.float32)})
    made.graph.initializer.append(huge)
    with pytest.raises(
        rb.FormatError, match=r"the constants that the graph computes would take 4398046511\d\d\d bytes"
    ):
        rb.from_onnx(made)
