"""Files of networks: what is written is read again bit by bit, and what is wrong is refused by name."""

import contextlib
import json
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.core.activations import ACTIVATIONS
from rnn_backends.core.layers import named_arrays
from rnn_backends.formats.files import replaced

SUFFIXES = (".safetensors", ".npz")
CODES = {"<f2": "F16", "<f4": "F32", "<f8": "F64", "<u2": "BF16", "<i8": "I64", "|u1": "U8"}
SPECIAL = np.array([-0.0, np.inf, -np.inf, np.nan, 5e-324, 1e-45, 6e-8, 1.0])

Arrays = Mapping[str, NDArray[Any]]
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"model{request.param}"


def test_onnx_without_its_package(tmp_path: Path) -> None:
    script = f"""
import sys
sys.modules["onnx"] = None
import rnn_backends as rb
for attempt in (lambda: rb.load({str(tmp_path / "m.onnx")!r}), lambda: rb.RNN.init(2, 3).save({str(tmp_path / "n.onnx")!r})):
    try:
        attempt()
    except rb.FormatError as error:
        print(error)
"""
    (tmp_path / "m.onnx").write_bytes(b"")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    message = (
        "ONNX models need the package 'onnx', which is not installed. Install it: pip install 'rnn-backends[onnx]'."
    )
    assert first == f"{tmp_path / 'm.onnx'}: {message}"
    assert second == message


def test_a_peer_that_is_asked_for_must_be_there() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "--peer", "no_such_package", __file__]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--peer no_such_package: it cannot be imported" in done.stderr


# Files written by hand, without the package


def weights(dtype: str = "<f4") -> dict[str, NDArray[Any]]:
    """Arrays of a network with input_size 2, hidden_size 3 and output_size 2, no two of them alike."""
    draw = np.random.default_rng(7)
    shapes = {
        "weight_ih_l0": (3, 2),
        "weight_hh_l0": (3, 3),
        "bias_l0": (3,),
        "weight_ih_l1": (3, 3),
        "weight_hh_l1": (3, 3),
        "bias_l1": (3,),
        "readout.weight": (2, 3),
        "readout.bias": (2,),
    }
    return {name: draw.uniform(-1, 1, shape).astype(dtype) for name, shape in shapes.items()}


def bare() -> dict[str, NDArray[Any]]:
    """The arrays of one cell."""
    return {name: array for name, array in weights().items() if name.endswith("_l0")}


def description() -> dict[str, Any]:
    """What a file of format version 1 says of `weights`."""
    tanh = {"name": "tanh", "alpha": None, "beta": None}
    leaky = {"name": "leaky_relu", "alpha": 0.25, "beta": None}
    return {
        "format_version": 1,
        "cells": {
            "l0": {"activation": tanh, "clip": None, "leak": None},
            "l1": {"activation": leaky, "clip": 3, "leak": 0.5},
        },
        "readout": {"name": "sigmoid", "alpha": None, "beta": None},
        "batch_first": True,
        "vocabulary": "ab",
        "metadata": {"licence": "CC0"},
    }


def write(path: Path, arrays: Arrays, described: dict[str, Any] | str | bytes | None = None) -> Path:
    """Write a file of either format."""
    text = json.dumps(described) if isinstance(described, dict) else described
    text = text.encode() if isinstance(text, str) else text
    if path.suffix == ".npz":
        members = {name: npy(array) for name, array in arrays.items()}
        if text is not None:
            members["__rnn_backends__"] = npy(np.frombuffer(text, np.uint8))
        return write_members(path, members)
    header: dict[str, Any] = {} if text is None else {"__metadata__": {"rnn_backends": text.decode()}}
    return write_safetensors(path, header | entries(arrays), b"".join(map(np.ndarray.tobytes, arrays.values())))


def entries(arrays: Arrays) -> dict[str, Any]:
    """What a safetensors header says of these arrays."""
    found, start = {}, 0
    for name, array in arrays.items():
        end = start + array.nbytes
        code = CODES[array.dtype.newbyteorder("<").str]
        found[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [start, end]}
        start = end
    return found


def write_safetensors(path: Path, header: dict[str, Any] | bytes, data: bytes, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def npy(array: NDArray[Any], header: str | None = None, version: tuple[int, int] = (1, 0)) -> bytes:
    """Return what a .npy file of an array holds, or of its bytes with another header."""
    order = array.flags.f_contiguous and not array.flags.c_contiguous
    if header is None:
        header = f"{{'descr': {array.dtype.str!r}, 'fortran_order': {order}, 'shape': {array.shape}, }}"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header.encode() + array.tobytes(order="A")


def write_members(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(f"{name}.npy", member)
    return path


def refuse(path: Path, match: str, **options: Any) -> None:
    """Check that a file is refused in one sentence that names it and says why."""
    with pytest.raises(rb.FormatError, match=match) as caught:
        rb.load(path, **options)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


# What is written is read


def parameters(rnn: rb.RNN) -> dict[str, NDArray[Any]]:
    held = {"layers": rnn.layers, "readout": rnn.readout}
    return {name: array for part, record in held.items() for name, array in named_arrays(record, part)}


def options(rnn: rb.RNN) -> list[Any]:
    cells = [cell for layer in rnn.layers for cell, _ in layer.cells]
    return [
        [(cell.activation, cell.clip, cell.leak) for cell in cells if isinstance(cell, rb.Cell)],
        [[reverse for _, reverse in layer.cells] for layer in rnn.layers],
        rnn.readout and rnn.readout.activation,
        (rnn.batch_first, rnn.vocabulary, rnn.metadata, rnn.dtype),
    ]


def assert_same(found: rb.RNN, wanted: rb.RNN) -> None:
    """Check that two networks are alike, to the bit."""
    arrays, wanted_arrays = parameters(found), parameters(wanted)
    assert arrays.keys() == wanted_arrays.keys()
    for name, array in arrays.items():
        assert array.dtype == wanted_arrays[name].dtype
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, wanted_arrays[name])
        assert array.tobytes() == wanted_arrays[name].tobytes(), name
    assert options(found) == options(wanted)


def draw_cell(draw: np.random.Generator, features: int, dtype: str, **held: Any) -> rb.Cell:
    bias = None if held.pop("bias", True) is False else draw.normal(size=3).astype(dtype)
    cell = draw.normal(size=(3, features)).astype(dtype), draw.normal(size=(3, 3)).astype(dtype)
    return rb.Cell(*cell, bias, **held)


def make(kind: str, dtype: str = "float32") -> rb.RNN:
    draw = np.random.default_rng(11)
    cell = draw_cell(draw, 2, dtype)
    if kind == "layers":
        return rb.RNN([cell, draw_cell(draw, 3, dtype), draw_cell(draw, 3, dtype)])
    if kind == "both directions":
        backward = draw_cell(draw, 2, dtype, bias=False, activation="relu")
        second = rb.Layer(draw_cell(draw, 6, dtype), draw_cell(draw, 6, dtype))
        return rb.RNN([rb.Layer(cell, backward), second])
    if kind == "reverse only":
        return rb.RNN([rb.Layer(backward=cell), draw_cell(draw, 3, dtype)])
    if kind == "no bias":
        weight = draw.normal(size=(4, 3)).astype(dtype)
        return rb.RNN([draw_cell(draw, 2, dtype, bias=False)], rb.Linear(weight, activation="log_softmax"))
    if kind == "options":
        characters = '\n\0"\\é\u202e\ud800😀{'
        size = len(characters)
        held = draw_cell(draw, size, dtype, clip=0.1 + 0.2, leak=1e-300, activation=rb.Activation("elu", 1 / 3))
        readout = rb.Linear(draw.normal(size=(size, 3)).astype(dtype), draw.normal(size=size).astype(dtype))
        notes = {"": "", "licence\n": "\0 ‽ \U0001f600"}
        return rb.RNN([held], readout, batch_first=True, vocabulary=characters, metadata=notes)
    special = np.resize(SPECIAL.astype(dtype), (3, 3))
    return rb.RNN([rb.Cell(special[:, :2], special, special[0])])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("kind", ["layers", "both directions", "reverse only", "no bias", "options", "special values"])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_round_trip(path: Path, kind: str, dtype: str) -> None:
    rnn = make(kind, dtype)
    rnn.save(path)
    assert_same(rb.load(path), rnn)
    assert_same(rb.load(str(path)), rnn)


def test_round_trip_of_every_activation(path: Path) -> None:
    activations = [
        rb.Activation(name, *({"scaled_tanh": (1.7159, 2 / 3), "affine": (0.1, 0.7)}.get(name, ())))
        for name in ACTIVATIONS
    ]
    activations += [rb.Activation("hard_sigmoid", 1 / 3, -1e-7), rb.Activation("thresholded_relu", 0.0)]
    draw = np.random.default_rng(0)
    rnn = rb.RNN([draw_cell(draw, 3, "float64", activation=each) for each in activations])
    rnn.save(path)
    assert_same(rb.load(path), rnn)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=30)
@given(
    vocabulary=st.text(st.characters(exclude_categories=()), max_size=20).map(lambda text: "".join(set(text))),
    metadata=st.dictionaries(st.text(), st.text(), max_size=4),
)
def test_round_trip_of_any_text(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, vocabulary: str, metadata: dict[str, str]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"text{suffix}"
    cell = rb.Cell(np.ones((1, max(len(vocabulary), 1))), np.ones((1, 1)))
    rb.RNN([cell], vocabulary=vocabulary or None, metadata=metadata).save(path)
    rnn = rb.load(path)
    assert rnn.vocabulary == (vocabulary or None)
    assert rnn.metadata == metadata


def test_a_model_reads_the_same_on_another_backend(path: Path) -> None:
    rnn = make("both directions")
    rnn.save(path)
    other = rb.load(path, backend="array_api_strict:device1")
    assert (other.backend.name, other.device) == ("array_api_strict", "device1")
    other.save(path)
    assert_same(rb.load(path), rnn)


def lying() -> dict[str, Callable[[NDArray[Any]], NDArray[Any]]]:
    """Ways for a matrix to lie in memory."""
    return {
        "transposed": lambda matrix: np.ascontiguousarray(matrix.T).T,
        "Fortran order": np.asfortranarray,
        "every second": lambda matrix: np.repeat(np.repeat(matrix, 2, axis=0), 2, axis=1)[::2, ::2],
        "backwards": lambda matrix: matrix[::-1, ::-1].copy()[::-1, ::-1],
        "part": lambda matrix: np.pad(matrix, 3)[3:-3, 3:-3],
        "read only": lambda matrix: np.frombuffer(matrix.tobytes(), matrix.dtype).reshape(matrix.shape),
        "unaligned": lambda matrix: np.frombuffer(b"." + matrix.tobytes(), matrix.dtype, offset=1).reshape(
            matrix.shape
        ),
    }


@pytest.mark.parametrize("kind", lying())
def test_weights_are_saved_right_however_they_lie_in_memory(path: Path, kind: str) -> None:
    # safetensors 0.8.0 writes the memory of such arrays as it lies.
    lay, held = lying()[kind], weights()
    laid = {name: lay(held[name]) for name in ("weight_ih_l0", "weight_hh_l0", "readout.weight")}
    for name, array in laid.items():
        np.testing.assert_array_equal(array, held[name])
    bias = np.repeat(held["bias_l0"], 2)[::2]
    cell = rb.Cell(laid["weight_ih_l0"], laid["weight_hh_l0"], bias)
    rb.RNN([cell], rb.Linear(laid["readout.weight"])).save(path)
    for name, array in zip(
        ("weight_ih", "weight_hh", "bias", "weight"), parameters(rb.load(path)).values(), strict=True
    ):
        wanted = held["readout.weight" if name == "weight" else f"{name}_l0"]
        np.testing.assert_array_equal(array, wanted)


def test_broadcast_weights_are_saved_right(path: Path) -> None:
    ones = np.broadcast_to(np.float32(0.5), (3, 3))
    rb.RNN([rb.Cell(ones, ones, ones[0])]).save(path)
    for array in parameters(rb.load(path)).values():
        np.testing.assert_array_equal(array, np.full(array.shape, 0.5))


def test_what_is_loaded_computes_the_same(path: Path) -> None:
    rnn, x = make("options"), np.random.default_rng(1).normal(size=(3, 5, 9))
    rnn.save(path)
    np.testing.assert_array_equal(rb.load(path).probabilities(x), rnn.probabilities(x))


# The formats themselves


def test_a_file_of_format_version_1_means_what_it_meant(path: Path) -> None:
    held = weights()
    rnn = rb.load(write(path, held, description()))
    first, second = (layer.forward for layer in rnn.layers)
    assert isinstance(first, rb.Cell)
    assert isinstance(second, rb.Cell)
    assert (first.activation, first.clip, first.leak) == (rb.Activation("tanh"), None, None)
    assert (second.activation, second.clip, second.leak) == (rb.Activation("leaky_relu", 0.25), 3, 0.5)
    assert rnn.readout is not None
    assert rnn.readout.activation == rb.Activation("sigmoid")
    assert (rnn.batch_first, rnn.vocabulary, rnn.metadata) == (True, "ab", {"licence": "CC0"})
    for (name, array), wanted in zip(parameters(rnn).items(), held.values(), strict=True):
        np.testing.assert_array_equal(array, wanted, err_msg=name)


def test_the_safetensors_package_reads_what_is_written(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file

    path = tmp_path / "m.safetensors"
    rnn = make("both directions")
    rnn.save(path)
    held = load_file(path)
    assert_arrays_carry_torchs_names(held, rnn)
    with safe_open(path, framework="numpy") as file:
        notes = file.metadata()
    assert notes.keys() == {"rnn_backends"}
    assert json.loads(notes["rnn_backends"])["format_version"] == 1


@pytest.mark.parametrize("compressed", [False, True])
def test_numpy_reads_what_is_written_and_the_other_way_round(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "m.npz"
    rnn = make("both directions")
    rnn.save(path)
    with np.load(path, allow_pickle=False) as file:
        held = dict(file)
    text = held.pop("__rnn_backends__")
    assert json.loads(text.tobytes())["format_version"] == 1
    assert_arrays_carry_torchs_names(held, rnn)
    save = np.savez_compressed if compressed else np.savez
    save(path, __rnn_backends__=text, **held)
    assert_same(rb.load(path), rnn)


def assert_arrays_carry_torchs_names(held: Arrays, rnn: rb.RNN) -> None:
    wanted = {}
    for index, layer in enumerate(rnn.layers):
        for cell, reverse in layer.cells:
            for name, array in named_arrays(cell):
                wanted[f"{name}_l{index}{'_reverse' * reverse}"] = array
    assert held.keys() == wanted.keys()
    for name, array in wanted.items():
        assert held[name].dtype == array.dtype
        np.testing.assert_array_equal(held[name], array)


def test_the_safetensors_package_writes_what_is_read(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "m.safetensors"
    save_file(bare(), path)
    rnn = rb.load(path, activation="relu")
    for (name, array), wanted in zip(parameters(rnn).items(), bare().values(), strict=True):
        np.testing.assert_array_equal(array, wanted, err_msg=name)


def test_the_same_model_is_the_same_file(path: Path) -> None:
    rnn, files = make("options"), set()
    for _ in range(20):
        rnn.save(path)
        files.add(path.read_bytes())
        rnn = rb.load(path)
    assert len(files) == 1


def test_every_bfloat16_becomes_float32_exactly(tmp_path: Path) -> None:
    bits = np.arange(2**16, dtype="<u2").reshape(256, 256)
    path = write(tmp_path / "m.safetensors", {"weight_ih_l0": bits[:, :128].copy(), "weight_hh_l0": bits})
    wanted = (bits.astype(np.uint32) << 16).tobytes()
    cell = rb.load(path, activation="tanh").layers[0].forward
    assert isinstance(cell, rb.Cell)
    assert cell.weight_hh.dtype == np.float32
    assert cell.weight_hh.tobytes() == wanted
    # NumPy learns of bfloat16 from ml_dtypes, which another test may have imported.
    program = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "import rnn_backends as rb\n"
        "cell = rb.load(sys.argv[1], activation='tanh').layers[0].forward\n"
        "sys.stdout.buffer.write(cell.weight_hh.tobytes())"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, check=True)
    assert done.stdout == wanted


def test_bfloat16_agrees_with_ml_dtypes(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    held = weights("<f8")["weight_hh_l0"].astype(ml_dtypes.bfloat16)
    bits = {"weight_ih_l0": held.view("<u2")[:, :2].copy(), "weight_hh_l0": held.view("<u2")}
    cell = rb.load(write(tmp_path / "m.safetensors", bits), activation="tanh").layers[0].forward
    assert isinstance(cell, rb.Cell)
    np.testing.assert_array_equal(cell.weight_hh, held.astype(np.float32))


def test_a_bfloat16_model_is_saved_as_float32(path: Path) -> None:
    pytest.importorskip("torch")
    rnn = rb.RNN.init(2, 3, backend="torch", dtype="bfloat16")
    rnn.save(path)
    assert_same(rb.load(path), rnn.to("numpy", dtype="float32"))


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8"])
def test_big_endian_members_are_read_right(tmp_path: Path, dtype: str) -> None:
    held = {name: array.astype(dtype) for name, array in weights().items()}
    rnn = rb.load(write(tmp_path / "m.npz", held, description()))
    for (name, array), wanted in zip(parameters(rnn).items(), held.values(), strict=True):
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, wanted, err_msg=name)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }   \n",
        "{'shape':(3,2),'fortran_order':False,'descr':'<f4'}",
        "{'fortran_order': False, 'descr': '<f4', 'shape': (3,  2,)}\n",
    ],
)
def test_headers_of_other_writers_are_read(tmp_path: Path, header: str, version: tuple[int, int]) -> None:
    members = {name: npy(array) for name, array in bare().items()}
    members["weight_ih_l0"] = npy(bare()["weight_ih_l0"], header, version)
    rnn = rb.load(write_members(tmp_path / "m.npz", members), activation="tanh")
    np.testing.assert_array_equal(next(iter(parameters(rnn).values())), bare()["weight_ih_l0"])


def test_fortran_ordered_members_are_read_right(tmp_path: Path) -> None:
    held = {name: np.asfortranarray(array) for name, array in weights().items()}
    rnn = rb.load(write(tmp_path / "m.npz", held, description()))
    for (name, array), wanted in zip(parameters(rnn).items(), held.values(), strict=True):
        np.testing.assert_array_equal(array, wanted, err_msg=name)


# What weights cannot tell


def torch_named() -> dict[str, NDArray[Any]]:
    held = bare()
    bias = held.pop("bias_l0")
    return held | {"bias_ih_l0": bias, "bias_hh_l0": bias[::-1] * 2}


def test_torchs_two_biases_are_added(path: Path) -> None:
    held = torch_named()
    rnn = rb.load(write(path, held), activation="relu")
    cell = rnn.layers[0].forward
    assert isinstance(cell, rb.Cell)
    assert cell.activation == rb.Activation("relu")
    np.testing.assert_array_equal(cell.weight_ih, held["weight_ih_l0"])
    np.testing.assert_array_equal(cell.weight_hh, held["weight_hh_l0"])
    np.testing.assert_array_equal(cell.bias, held["bias_ih_l0"] + held["bias_hh_l0"])
    rnn.save(path)
    assert_same(rb.load(path), rnn)


def test_a_state_dict_of_torch_computes_what_torch_does(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    module = torch.nn.RNN(2, 3, num_layers=2, bidirectional=True, nonlinearity="relu", dtype=torch.float64)
    path = tmp_path / "m.safetensors"
    save_file(module.state_dict(), path)
    x = np.random.default_rng(1).normal(size=(6, 2, 2))
    with torch.no_grad():
        wanted, wanted_h_n = module(torch.from_numpy(x))
    output, h_n = rb.load(path, activation="relu")(x)
    np.testing.assert_allclose(output, wanted.numpy(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(h_n, wanted_h_n.numpy(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("g2", ["softmax", "identity", "sigmoid"])
def test_a_readout_without_a_description_has_the_activation_that_is_told(path: Path, g2: str) -> None:
    rnn = rb.load(write(path, weights()), activation=rb.Activation("leaky_relu", 0.5), readout_activation=g2)
    assert rnn.readout is not None
    assert rnn.readout.activation == rb.Activation(g2)
    assert [layer.forward.activation for layer in rnn.layers if isinstance(layer.forward, rb.Cell)] == [
        rb.Activation("leaky_relu", 0.5)
    ] * 2


def test_the_activation_of_a_readout_is_not_guessed(path: Path) -> None:
    wanted = r"do not tell its activation, g2; pass readout_activation='softmax' if .* 'identity' if it gives values"
    refuse(write(path, weights()), wanted, activation="tanh")


def test_a_file_that_does_not_tell_the_activation_needs_it(path: Path) -> None:
    refuse(write(path, torch_named()), r"weights alone do not tell the activation .* pass .* activation='tanh'")


def test_a_file_that_tells_the_activation_takes_no_other(path: Path) -> None:
    refuse(write(path, weights(), description()), "tells the activation .* leave `activation` out", activation="tanh")


def test_an_unknown_activation_for_a_file_is_an_argument_error(path: Path) -> None:
    with pytest.raises(rb.ArgumentError, match=r"`activation` must be a callable or one of .*; got 'tahn'"):
        rb.load(write(path, torch_named()), activation="tahn")


# Writing whole or not at all


def folder(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


class Doubled(rb.Cell):
    def step(self, projected: Any, h: Any) -> Any:
        return 2 * super().step(projected, h)


class Scaled(rb.Linear):
    def __call__(self, hidden: Any) -> Any:
        return 2 * super().__call__(hidden)


class Louder(rb.Activation):
    def __call__(self, z: Any) -> Any:
        return 2 * super().__call__(z)


class Echo:
    def project(self, x: Any) -> Any:
        return x

    def step(self, projected: Any, h: Any) -> Any:
        return projected + h


def unsavable() -> dict[str, tuple[Callable[[], rb.RNN], str]]:
    square = np.ones((2, 2))
    cell = rb.Cell(square, square)
    return {
        "a cell of the user's": (lambda: rb.RNN([cell, Echo()]), "only, not a Echo as in layer 1"),
        "a changed Cell": (lambda: rb.RNN([Doubled(square, square)]), "only, not a Doubled as in layer 0"),
        "a changed Linear": (lambda: rb.RNN([cell], Scaled(square)), "Linear readout only, not a Scaled"),
        "a function": (
            lambda: rb.RNN([rb.Cell(square, square, activation=np.tanh)]),
            "cannot hold the function tanh; only the activations of the table",
        ),
        "a changed Activation": (
            lambda: rb.RNN([rb.Cell(square, square, activation=Louder("tanh"))]),
            "cannot hold the function Louder",
        ),
        "a function as g2": (
            lambda: rb.RNN([cell], rb.Linear(square, activation=lambda z: z)),
            "cannot hold the function <lambda>",
        ),
    }


@pytest.mark.parametrize("kind", unsavable())
def test_what_a_file_cannot_hold_is_refused_before_anything_is_written(path: Path, kind: str) -> None:
    make_model, match = unsavable()[kind]
    path.write_bytes(b"old")
    with pytest.raises(rb.FormatError, match=match):
        make_model().save(path)
    assert path.read_bytes() == b"old"
    assert folder(path) == [path.name]


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": {"year": 1990}},
        {"metadata": {1: "a"}},
        {"metadata": {"object": object()}},
        {"vocabulary": ["a", "b"]},
        {"vocabulary": b"ab"},
        {"batch_first": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_notes_that_could_not_be_read_again_are_not_written(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(rb.RNNBackendError, match=next(iter(options))):
        rb.RNN([rb.Cell(np.ones((2, 2)), np.ones((2, 2)))], **options).save(path)
    assert folder(path) == []


def test_numbers_of_numpy_are_saved_as_numbers(path: Path) -> None:
    rb.RNN([rb.Cell(np.ones((2, 2)), np.ones((2, 2)), leak=np.float64(0.1), clip=3)]).save(path)
    cell = rb.load(path).layers[0].forward
    assert isinstance(cell, rb.Cell)
    assert (cell.leak, cell.clip) == (0.1, 3.0)


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_write_that_fails_halfway_leaves_no_trace(tmp_path: Path, old: bytes | None) -> None:
    path = tmp_path / "m.npz"
    if old is not None:
        path.write_bytes(old)

    def fail() -> None:
        with replaced(path) as file:
            file.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert folder(path) == ([] if old is None else ["m.npz"])
    assert old is None or path.read_bytes() == old


def test_a_save_that_fails_at_the_end_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("layers").save(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        with pytest.raises(PermissionError, match="Permission denied"):
            make("no bias").save(path)
    assert path.read_bytes() == before
    assert folder(path) == [path.name]


def test_the_part_file_of_another_writer_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    with replaced(path) as first:
        first.write(b"first")
        with replaced(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert folder(path) == ["m.npz"]


def test_threads_may_save_to_one_file(path: Path) -> None:
    rnn = make("layers")
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(rnn.save, path) for _ in range(40)]:
            done.result()
    assert_same(rb.load(path), rnn)
    assert folder(path) == [path.name]


def test_a_folder_or_a_missing_folder_is_no_place_for_a_file(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        make("layers").save(path.parent / "absent" / path.name)
    path.mkdir()
    with pytest.raises(OSError, match="is no ordinary file, and cannot be replaced"):
        make("layers").save(path)
    assert folder(path) == [path.name]


def test_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=path.name):
        rb.load(path)


@pytest.mark.parametrize("name", ["m.bin", "m", "m.npz.gz", ".npz", "m.NPZ"])
def test_the_suffix_must_be_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(rb.FormatError, match=r"suffix of a model file must be one of \.safetensors, \.npz, .*; got"):
        rb.load(tmp_path / name)
    match = r"suffix of a file to write a model to must be one of \.safetensors, \.npz, \.onnx; got"
    with pytest.raises(rb.FormatError, match=match):
        make("layers").save(tmp_path / name)
    assert not list(tmp_path.iterdir())


# Arrays that make no network


def zeros(*shape: int, dtype: str = "<f4") -> NDArray[Any]:
    return np.zeros(shape, dtype)


WRONG_ARRAYS: dict[str, tuple[dict[str, NDArray[Any] | None], str]] = {
    "weight_ih is no matrix": ({"weight_ih_l0": zeros(6)}, "cell l0 .*`weight_ih` must be a matrix .* shape .6,"),
    "weight_ih is empty": ({"weight_ih_l0": zeros(3, 0)}, r"`weight_ih` must be a matrix .*\(3, 0\)"),
    "weight_hh is not square": ({"weight_hh_l0": zeros(3, 2)}, r"cell l0 .*`weight_hh` must .*\(3, 3\); got \(3, 2\)"),
    "weight_hh of layer 1": ({"weight_hh_l1": zeros(2, 2)}, r"cell l1 .*`weight_hh` must .*\(3, 3\); got \(2, 2\)"),
    "bias is a row": ({"bias_l0": zeros(1, 3)}, r"cell l0 .*`bias` must have shape .*; got \(1, 3\)"),
    "bias is one number": ({"bias_l0": zeros(1)}, r"`bias` must have shape .*; got \(1,\)"),
    "bias has no axis": ({"bias_l0": zeros()}, r"`bias` must have shape .*; got \(\)"),
    "layers do not fit": ({"weight_ih_l1": zeros(3, 2)}, r"`layers\[1\].forward` must take 3 features"),
    "readout does not fit": ({"readout.weight": zeros(2, 2)}, "readout must have shape .output_size, 3."),
    "readout.bias does not fit": ({"readout.bias": zeros(3)}, "bias` of the readout .* shape .output_size,"),
    "two dtypes": ({"bias_l1": zeros(3, dtype="<f8")}, "all parameters must have one dtype"),
    "integers": ({"bias_l0": zeros(3, dtype="<i8")}, "bias_l0.* has dtype"),
    "bytes": ({"bias_l0": zeros(3, dtype="|u1")}, "bias_l0.* has dtype"),
    "no weight_hh": ({"weight_hh_l1": None}, "l1 must have weight_ih, weight_hh .*it has bias, weight_ih"),
    "no weight_ih": ({"weight_ih_l0": None}, "l0 must have weight_ih, weight_hh .*it has bias, weight_hh"),
    "no layer 0": (
        {"weight_ih_l0": None, "weight_hh_l0": None, "bias_l0": None},
        r"layers 0, 1, ... without a gap; there are \[1\]",
    ),
    "readout.bias alone": ({"readout.weight": None}, "is a readout.bias but no readout.weight"),
    "one of two biases": ({"bias_ih_l0": zeros(3), "bias_l0": None}, "l0 must have .*it has bias_ih, weight_hh"),
    "three biases": ({"bias_ih_l0": zeros(3), "bias_hh_l0": zeros(3)}, "l0 must have .*it has bias, bias_hh, bias_ih"),
    "two biases that broadcast": (
        {"bias_l0": None, "bias_ih_l0": zeros(3), "bias_hh_l0": zeros(1)},
        "bias_ih_l0 and bias_hh_l0 must be alike",
    ),
    "two biases of two dtypes": (
        {"bias_l0": None, "bias_ih_l0": zeros(3), "bias_hh_l0": zeros(3, dtype="<f8")},
        "bias_ih_l0 and bias_hh_l0 must be alike",
    ),
    "an unknown array": ({"weight_hr_l0": zeros(3, 3)}, "'weight_hr_l0' is no parameter of an RNN"),
    "a number spelt twice": ({"weight_ih_l00": zeros(3, 2)}, "'weight_ih_l00' is no parameter"),
    "another kind of digit": ({"weight_ih_l\u0661": zeros(3, 2)}, r"'weight_ih_l\\u0661' is no parameter"),
    "a line break": ({"weight_ih_l0\n": zeros(3, 2)}, r"'weight_ih_l0\\n' is no parameter"),
}


@pytest.mark.parametrize("kind", WRONG_ARRAYS)
@pytest.mark.parametrize("described", [True, False])
def test_arrays_that_make_no_network_are_refused(path: Path, kind: str, described: bool) -> None:
    changes, match = WRONG_ARRAYS[kind]
    arrays = {name: array for name, array in (weights() | changes).items() if array is not None}
    if described:
        refuse(write(path, arrays, description()), match)
    else:
        refuse(write(path, arrays), match, activation="tanh")


def test_a_gap_in_the_layers_is_refused(path: Path) -> None:
    arrays = {name.replace("_l1", "_l2"): array for name, array in weights().items()}
    refuse(write(path, arrays), r"layers 0, 1, ... without a gap; there are \[0, 2\]", activation="tanh")


def test_a_file_without_arrays_is_refused(path: Path) -> None:
    refuse(write(path, {}), "layers 0, 1, ... without a gap; there are no weights", activation="tanh")


# Descriptions


def put(*keys: str, value: Any) -> Change:
    def change(held: dict[str, Any]) -> None:
        for key in keys[:-1]:
            held = held[key]
        held[keys[-1]] = value

    return change


def drop(*keys: str) -> Change:
    def change(held: dict[str, Any]) -> None:
        for key in keys[:-1]:
            held = held[key]
        del held[keys[-1]]

    return change


def activation(name: Any, alpha: Any = None, beta: Any = None) -> Change:
    return put("cells", "l1", "activation", value={"name": name, "alpha": alpha, "beta": beta})


WRONG_DESCRIPTIONS: dict[str, tuple[Change, str]] = {
    "no version": (drop("format_version"), "format version None; this version of the package reads 1"),
    "a newer version": (put("format_version", value=2), "format version 2; this version of the package reads 1"),
    "version true": (put("format_version", value=True), "format version True"),
    "version 1.0": (put("format_version", value=1.0), r"format version 1\.0"),
    "version as text": (put("format_version", value="1"), "format version '1'"),
    "no cells": (drop("cells"), r"description of the network lacks \['cells'\]"),
    "an unknown key": (put("residual", value=True), r"has unknown keys \['residual'\]"),
    "cells as list": (put("cells", value=[]), "'cells' of the description .* must be dict; got"),
    "a cell too few": (drop("cells", "l1"), r"cells lacks \['l1'\]"),
    "a cell too many": (put("cells", "l2", value={}), r"cells has unknown keys \['l2'\]"),
    "a cell as text": (put("cells", "l1", value="tanh"), "'l1' of cells must be dict; got 'tanh'"),
    "a cell without clip": (drop("cells", "l1", "clip"), r"l1 lacks \['clip'\]"),
    "a cell with more": (put("cells", "l1", "gate", value=1), r"l1 has unknown keys \['gate'\]"),
    "clip as text": (put("cells", "l1", "clip", value="3"), "'clip' of l1 must be int or float or NoneType; got '3'"),
    "clip false": (put("cells", "l1", "clip", value=False), "'clip' of l1 must be int or float .*; got False"),
    "clip 0": (put("cells", "l1", "clip", value=0), "cell l1 is wrong: `clip` must be positive"),
    "clip NaN": (put("cells", "l1", "clip", value=float("nan")), "`clip` must be a finite number; got nan"),
    "clip beyond float": (put("cells", "l1", "clip", value=10**400), "cell l1 is wrong"),
    "leak 2": (put("cells", "l1", "leak", value=2), "`leak` must be in 0 < leak <= 1; got 2"),
    "leak as list": (put("cells", "l1", "leak", value=[0.5]), "'leak' of l1 must be int or float"),
    "activation as text": (put("cells", "l0", "activation", value="tanh"), "activation of l0 must be a JSON object"),
    "activation unknown": (activation("tahn"), "activation of l1 is wrong: .*one of identity, .*; got 'tahn'"),
    "activation no text": (activation(["tanh"]), r"activation of l1 is wrong: .*; got list"),
    "activation null": (activation(None), "activation of l1 is wrong: .*; got None"),
    "alpha it has not": (activation("tanh", 1.0), "activation of l1 is wrong: .*'tanh' has no parameter `alpha`"),
    "alpha as text": (activation("elu", "1"), "activation of l1 is wrong: .*finite number; got '1'"),
    "alpha as object": (activation("elu", {}), "activation of l1 is wrong: .*finite number; got {}"),
    "alpha true": (activation("elu", True), "activation of l1 is wrong: .*finite number; got True"),
    "alpha infinite": (activation("elu", float("inf")), "activation of l1 is wrong: .*finite number; got inf"),
    "alpha beyond float": (activation("elu", 10**400), "activation of l1 is wrong"),
    "alpha missing": (activation("scaled_tanh", beta=1.0), "'scaled_tanh' needs `alpha`"),
    "beta dropped": (drop("cells", "l1", "activation", "beta"), r"activation of l1 lacks \['beta'\]"),
    "gamma": (put("cells", "l1", "activation", "gamma", value=1), r"activation of l1 has unknown keys \['gamma'\]"),
    "readout null": (put("readout", value=None), "both or neither of readout.weight and a description"),
    "readout as text": (put("readout", value="softmax"), "activation of the readout must be a JSON object"),
    "readout unknown": (put("readout", "name", value="hardmax"), "activation of the readout is wrong: .*'hardmax'"),
    "batch_first as number": (put("batch_first", value=1), "'batch_first' of .* must be bool; got 1"),
    "batch_first null": (put("batch_first", value=None), "'batch_first' of .* must be bool; got None"),
    "vocabulary as list": (put("vocabulary", value=["a"]), "'vocabulary' of .* must be str or NoneType"),
    "vocabulary with a double": (put("vocabulary", value="aa"), "`vocabulary` must hold each character once"),
    "metadata null": (put("metadata", value=None), "'metadata' of .* must be dict; got None"),
    "metadata not text": (put("metadata", "year", value=1990), "metadata must be text by name; got 'year': 1990"),
}


@pytest.mark.parametrize("kind", WRONG_DESCRIPTIONS)
def test_wrong_descriptions_are_refused(path: Path, kind: str) -> None:
    change, match = WRONG_DESCRIPTIONS[kind]
    held = description()
    change(held)
    refuse(write(path, weights(), held), match)


def test_a_description_of_a_readout_that_is_not_there_is_refused(path: Path) -> None:
    arrays = {name: array for name, array in weights().items() if "readout" not in name}
    refuse(write(path, arrays, description()), "both or neither of readout.weight and a description")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "description of the network is not valid JSON"),
        ("{", "description of the network is not valid JSON"),
        ("null", "description of the network must be a JSON object; got NoneType"),
        ("[1]", "description of the network must be a JSON object; got list"),
        ("1", "description of the network must be a JSON object; got int"),
        ('{"format_version": 1, "format_version": 1}', "not valid JSON: a key stands in it twice"),
        ('{"cells": {"l0": 1, "l\\u0030": 1}}', "not valid JSON: a key stands in it twice"),
        ("[" * 100_000, "description of the network is not valid JSON"),
        ('{"a":' * 100_000, "description of the network is not valid JSON"),
        ("9" * 5000, "description of the network is not valid JSON"),
    ],
    ids=lambda text: text[:20],
)
def test_descriptions_that_are_no_json_object_are_refused(path: Path, text: str, match: str) -> None:
    refuse(write(path, weights(), text), match)


def test_a_description_that_is_no_text_is_refused(tmp_path: Path) -> None:
    refuse(write(tmp_path / "m.npz", weights(), b'{"\xe9": 1}'), "description of the network is not valid JSON")


# Damaged and hostile files


def small(path: Path) -> bytes:
    """Write the smallest model of both a cell and a readout, and return the bytes of the file."""
    write(path, bare() | {"readout.weight": zeros(2, 3)}, description() | {"cells": {"l0": {}}})
    held = description()
    del held["cells"]["l1"]
    return write(path, bare() | {"readout.weight": zeros(2, 3)}, held).read_bytes()


def test_a_file_cut_short_anywhere_is_refused(path: Path) -> None:
    whole = small(path)
    rb.load(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refuse(path, "is no .*file, or is .*|is damaged: |is not valid JSON")


def changed(whole: bytes, draw: np.random.Generator) -> bytes:
    """Change one to three bytes, to what has a meaning in one of the formats or by a bit."""
    held = bytearray(whole)
    for place in draw.integers(len(whole), size=draw.integers(1, 4)):
        flipped = held[place] ^ 1 << int(draw.integers(8))
        held[place] = draw.choice([0, 255, *b"{}[]()',:-0123456789LTF<>|\"\\ ", *[flipped] * 20])
    return bytes(held)


def loads(path: Path, **options: Any) -> bool:
    """Tell whether a file loads; else it must be refused as it should."""
    try:
        assert isinstance(rb.load(path, **options), rb.RNN)
    except rb.FormatError:
        return False
    return True


@pytest.mark.parametrize("seed", range(3))
def test_bytes_changed_anywhere_load_or_are_refused(path: Path, seed: int) -> None:
    whole, draw = small(path), np.random.default_rng(seed)
    loaded = 0
    for _ in range(500):
        path.write_bytes(changed(whole, draw))
        loaded += loads(path)
    assert 0 < loaded < 250


def test_bytes_changed_within_sound_zip_files_load_or_are_refused(tmp_path: Path) -> None:
    # The checksums of a zip file would not let these through.
    path, draw = tmp_path / "m.npz", np.random.default_rng(4)
    members = {name: npy(array) for name, array in unbiased().items()}
    loaded = 0
    for _ in range(1000):
        write_members(path, members | {"weight_hh_l0": changed(members["weight_hh_l0"], draw)})
        loaded += loads(path, activation="tanh")
    assert 0 < loaded < 800


def test_characters_changed_in_the_description_load_or_are_refused(path: Path) -> None:
    text, draw = json.dumps(description()).encode(), np.random.default_rng(5)
    loaded = 0
    for _ in range(300):
        write(path, weights(), changed(text, draw).decode("latin1"))
        loaded += loads(path)
    assert 0 < loaded < 150


def test_bytes_of_nothing_at_all_are_refused(path: Path) -> None:
    draw = np.random.default_rng(0)
    for length in [*range(40), 1000]:
        path.write_bytes(draw.bytes(length))
        refuse(path, "is no .*file, or is |is damaged: |is not valid JSON")


def test_one_format_under_the_suffix_of_the_other_is_refused(tmp_path: Path) -> None:
    npz, tensors = tmp_path / "m.npz", tmp_path / "m.safetensors"
    make("layers").save(npz)
    npz.rename(tensors)
    refuse(tensors, "is no safetensors file, or is cut short")
    make("layers").save(tensors)
    tensors.rename(npz)
    refuse(npz, "is no .npz file, or is damaged")


@contextlib.contextmanager
def little_memory(limit: int = 2**20) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def entry(**changes: Any) -> Change:
    """Change what a safetensors header says of weight_hh_l0, whose 36 bytes are the last; None takes away."""

    def change(header: dict[str, Any]) -> None:
        held = header["weight_hh_l0"] | changes
        header["weight_hh_l0"] = {name: value for name, value in held.items() if value is not None}

    return change


WRONG_HEADERS: dict[str, tuple[Change, str]] = {
    "an entry as list": (put("weight_hh_l0", value=["F32", [3, 3], [24, 60]]), "'weight_hh_l0' in the header must be"),
    "an entry null": (put("weight_hh_l0", value=None), "'weight_hh_l0' in the header must be a JSON object"),
    "no dtype": (entry(dtype=None), r"'weight_hh_l0' lacks \['dtype'\]"),
    "no shape": (entry(shape=None), r"'weight_hh_l0' lacks \['shape'\]"),
    "no offsets": (entry(data_offsets=None), r"'weight_hh_l0' lacks \['data_offsets'\]"),
    "an unknown field": (entry(strides=[1, 3]), r"'weight_hh_l0' has unknown keys \['strides'\]"),
    "a dtype as object": (entry(dtype={"F32": 0}), "dtype of 'weight_hh_l0' must be a string; got dict"),
    "dtype F8": (entry(dtype="F8_E4M3", shape=[36]), "'weight_hh_l0' has dtype F8_E4M3; it must be one of F16, BF16"),
    "dtype I64": (entry(dtype="I64", shape=[1, 4], data_offsets=[24, 56]), "'weight_hh_l0' has dtype I64|damaged"),
    "dtype I32": (entry(dtype="I32"), "'weight_hh_l0' has dtype I32; it must be one of F16, BF16, F32, F64"),
    "dtype unknown": (entry(dtype="F31"), "is damaged"),
    "shape as text": (entry(shape="33"), "is damaged"),
    "shape of fractions": (entry(shape=[3.0, 3.0]), "is damaged"),
    "shape negative": (entry(shape=[-3, -3]), "is damaged"),
    "shape too small": (entry(shape=[3, 2]), "is damaged"),
    "shape enormous": (entry(shape=[2**20, 2**20]), "is damaged"),
    "shape overflows to 36 bytes": (entry(shape=[2**62 + 3, 4]), "is damaged"),
    "shape enormous and empty": (entry(shape=[0, 2**63], data_offsets=[24, 24]), "damaged|make no network"),
    "offsets beyond the file": (entry(shape=[3, 30], data_offsets=[24, 384]), "is damaged"),
    "offsets negative": (entry(data_offsets=[-12, 24]), "is damaged"),
    "offsets overlap": (entry(data_offsets=[12, 48]), "is damaged"),
    "offsets backwards": (entry(data_offsets=[60, 24]), "is damaged"),
    "offsets of three": (entry(data_offsets=[24, 60, 60]), "is damaged"),
    "a hole": (entry(shape=[3, 2], data_offsets=[36, 60]), "is damaged"),
    "metadata null": (put("__metadata__", value=None), "'__metadata__' in the header must be a JSON object"),
    "metadata as list": (put("__metadata__", value=[]), "'__metadata__' in the header must be a JSON object"),
    "metadata not text": (put("__metadata__", value={"rnn_backends": {}}), "is damaged"),
}


def unbiased() -> dict[str, NDArray[Any]]:
    return {name: bare()[name] for name in ("weight_ih_l0", "weight_hh_l0")}


@pytest.mark.parametrize("kind", WRONG_HEADERS)
def test_wrong_safetensors_headers_are_refused(tmp_path: Path, kind: str) -> None:
    change, match = WRONG_HEADERS[kind]
    header, data = entries(unbiased()), b"".join(map(np.ndarray.tobytes, unbiased().values()))
    path = write_safetensors(tmp_path / "m.safetensors", header, data)
    rb.load(path, activation="tanh")
    change(header)
    with little_memory():
        refuse(write_safetensors(path, header, data), match, activation="tanh")


@pytest.mark.parametrize(
    ("header", "match"),
    [
        (b"[]", "header must be a JSON object; got list"),
        (b"null", "header must be a JSON object; got NoneType"),
        (b"", "header is not valid JSON"),
        (b"{", "header is not valid JSON"),
        (b"\xff\xfe{}", "header is not valid JSON"),
        (b"\x80\x04]\x94.", "header is not valid JSON"),
        (b'{"a":' * 50_000, "header is not valid JSON"),
        (b'{"a": {"dtype": 1, "dtype": 1}}', "header is not valid JSON: a key stands in it twice"),
        (b"{}{}", "header is not valid JSON"),
        ("{}".encode("utf-16"), "is damaged"),
    ],
    ids=lambda header: repr(header)[:20],
)
def test_safetensors_headers_that_are_no_json_object_are_refused(tmp_path: Path, header: bytes, match: str) -> None:
    refuse(write_safetensors(tmp_path / "m.safetensors", header, b""), match, activation="tanh")


def test_a_duplicate_key_is_refused_where_the_safetensors_package_takes_it(tmp_path: Path) -> None:
    text, data = json.dumps(entries(bare())), b"".join(map(np.ndarray.tobytes, bare().values()))
    twice = f"{text[:-1]}, {text[1:]}".encode()
    path = write_safetensors(tmp_path / "m.safetensors", twice, data)
    refuse(path, "header is not valid JSON: a key stands in it twice", activation="tanh")


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**40, 100_000_001, 10_000])
def test_a_safetensors_header_longer_than_the_file_is_refused(tmp_path: Path, length: int) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", b"{}", b"", length)
    with little_memory():
        refuse(path, f"is cut short: it has 10 bytes and announces a header of {length}")


def test_a_safetensors_header_of_more_than_100_megabytes_is_not_read(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", b"{}", b"", 100_000_001)
    with path.open("r+b") as file:
        file.truncate(2**30)  # sparse
    with little_memory():
        refuse(path, "announces a header of 100000001")


@pytest.mark.parametrize("count", [1, 8, 4096])
def test_bytes_after_the_arrays_of_safetensors_are_refused(tmp_path: Path, count: int) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(small(path) + bytes(count))
    refuse(path, "is damaged")


def test_arrays_of_safetensors_that_do_not_fit_are_not_read(tmp_path: Path) -> None:
    held = entries({"weight_ih_l0": zeros(3, 2)})
    size = 24 + 4 * 20_000**2
    held["weight_hh_l0"] = {"dtype": "F32", "shape": [20_000, 20_000], "data_offsets": [24, size]}
    path = write_safetensors(tmp_path / "m.safetensors", held, b"")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size)  # sparse: 1.6 GB that take no room
    with little_memory():
        refuse(path, r"`weight_hh` must .*\(3, 3\); got \(20000, 20000\)", activation="tanh")


def test_biases_that_would_broadcast_to_terabytes_are_refused(path: Path) -> None:
    arrays = unbiased() | {"bias_ih_l0": zeros(1000, 1), "bias_hh_l0": zeros(1, 1000)}
    with little_memory():
        refuse(write(path, arrays), "bias_ih_l0 and bias_hh_l0 must be alike", activation="tanh")


# Hostile .npz files


def header_of(shape: str = "(3, 2)", dtype: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}"


WRONG_MEMBERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "'weight_ih_l0.npy' must be in version 1.0 or 2.0 of the .npy format; got b''"),
    "no magic": (b"PK\3\4" * 9, "must be in version 1.0 or 2.0 of the .npy format; got b'PK"),
    "version 3": (npy(zeros(3, 2), version=(3, 0)), r"must be in version 1.0 or 2.0 .*NUMPY\\x03\\x00"),
    "version 1.1": (npy(zeros(3, 2), version=(1, 1)), "must be in version 1.0 or 2.0"),
    "cut in the header": (npy(zeros(3, 2))[:40], "header of 'weight_ih_l0.npy' is not that of an array of numbers"),
    "cut in the data": (npy(zeros(3, 2))[:-1], r"declares <f4 of shape \(3, 2\), but holds 23 bytes"),
    "data that are too long": (npy(zeros(3, 2)) + b"\0", r"declares <f4 of shape \(3, 2\), but holds 25 bytes"),
    "shape too large": (npy(zeros(3, 2), header_of("(3, 4)")), r"declares <f4 of shape \(3, 4\), but holds 24 bytes"),
    "shape enormous": (npy(zeros(3, 2), header_of(f"({2**40}, {2**40})")), "declares .*, but holds 24 bytes"),
    "shape with many digits": (npy(zeros(3, 2), header_of(f"({'9' * 5000},)")), "is damaged: Exceeds the limit"),
    "shape negative": (npy(zeros(3, 2), header_of("(-3, -2)")), "header of .* is not that of an array of numbers"),
    "shape of fractions": (npy(zeros(3, 2), header_of("(3.0, 2)")), "header of .* is not that of an array"),
    "shape of Python 2": (npy(zeros(3, 2), header_of("(3L, 2L)")), "header of .* is not that of an array"),
    "shape open": (npy(zeros(3, 2), header_of("(3, 2")), "header of .* is not that of an array"),
    "shape without comma": (npy(zeros(3, 2), header_of("(3 2)")), "header of .* is not that of an array"),
    "order a number": (npy(zeros(3, 2), header_of(order="0")), "header of .* is not that of an array"),
    "no shape": (npy(zeros(3, 2), "{'descr': '<f4', 'fortran_order': False, }"), "header of .* is not that of"),
    "a key twice": (npy(zeros(3, 2), header_of()[:-2] + "'shape': (3, 2)}"), "header of .* is not that of"),
    "a key twice, one missing": (
        npy(zeros(3, 2), "{'descr': '<f4', 'shape': (3, 2), 'shape': (3, 2), }"),
        "header of .* is not that of",
    ),
    "a key of its own": (npy(zeros(3, 2), header_of()[:-2] + "'x': True}"), "header of .* is not that of"),
    "code": (npy(zeros(3, 2), header_of("__import__('os').abort()")), "header of .* is not that of an array"),
    "nesting": (npy(zeros(3, 2), "(" * 9000), "header of .* is not that of an array"),
    "a header that is too long": (npy(zeros(3, 2), header_of() + " " * 20_000), "header of .* is not that of"),
    "objects": (npy(zeros(3, 1), header_of("(3, 1)", "'|O'")), r"'weight_ih_l0.npy' has dtype '\|O'; it must be one"),
    "structure": (
        npy(zeros(3, 2), header_of("(3,)", "[('a', '<f4'), ('b', '<f4')]")),
        "header of .* is not that of an array of numbers: .*'a'",
    ),
    "integers": (npy(zeros(3, 2, dtype="<i8")), "'weight_ih_l0.npy' has dtype '<i8'; it must be one of <f2, <f4"),
    "booleans": (npy(zeros(3, 2, dtype="|b1")), r"has dtype '\|b1'"),
    "text": (npy(zeros(3, 2, dtype="<U2")), "has dtype '<U2'"),
    "complex": (npy(zeros(3, 2, dtype="<c8")), "has dtype '<c8'"),
    "times": (npy(zeros(3, 2, dtype="<M8[s]")), r"has dtype '<M8\[s\]'"),
    "long double": (npy(np.zeros((3, 2), np.longdouble), header_of(dtype="'<f16'")), "has dtype '<f16'"),
    "a subarray": (npy(zeros(3, 2), header_of(dtype="('<f4', (1,))")), "header of .* is not that of an array"),
    "no dtype": (npy(zeros(3, 2), header_of(dtype="'?!'")), r"has dtype '\?!'"),
}


@pytest.mark.parametrize("kind", WRONG_MEMBERS)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_wrong_members_are_refused(tmp_path: Path, kind: str, compression: int) -> None:
    member, match = WRONG_MEMBERS[kind]
    members = {"weight_ih_l0": member, "weight_hh_l0": npy(bare()["weight_hh_l0"])}
    with little_memory():
        refuse(write_members(tmp_path / "m.npz", members, compression), match, activation="tanh")


def test_an_object_array_is_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("a pickle was executed",)

    path = tmp_path / "m.npz"
    traps: NDArray[Any] = np.array([[Trap()]], dtype=object)
    np.savez(path, weight_ih_l0=traps, weight_hh_l0=zeros(1, 1))
    refuse(path, r"has dtype '\|O'; it must be one of", activation="tanh")
    np.savez(path, __rnn_backends__=traps, **unbiased())  # type: ignore[arg-type]
    refuse(path, r"'__rnn_backends__.npy' has dtype '\|O'; it must be one of \|u1")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weight_ih_l0.npy", b"\x80\x04]\x94.")
    refuse(path, "must be in version 1.0 or 2.0 of the .npy format", activation="tanh")


@pytest.mark.parametrize("dtype", ["<f4", "<U9", "<i8", "|b1", "|S9"])
def test_a_description_must_be_bytes(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "m.npz"
    members = {"__rnn_backends__": npy(np.zeros(3, dtype)), **{name: npy(array) for name, array in bare().items()}}
    refuse(write_members(path, members), r"'__rnn_backends__.npy' has dtype .*; it must be one of \|u1")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("second", ["weight_ih_l0.npy", "weight_ih_l0"])
def test_a_member_that_stands_twice_is_refused(tmp_path: Path, second: str) -> None:
    path = tmp_path / "m.npz"
    write(path, bare())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(second, npy(bare()["weight_ih_l0"]))
    refuse(path, "an array stands in the file twice", activation="tanh")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_numpy_does_not_write_are_refused(tmp_path: Path, compression: int) -> None:
    # They unpack in one piece, however much that is.
    path = write_members(tmp_path / "m.npz", {"weight_ih_l0": npy(zeros(3, 2))}, compression)
    refuse(path, "'weight_ih_l0' does not stand in it as in a .npz file", activation="tanh")


def patch_central(path: Path, offset: int, value: bytes, local_offset: int | None = None) -> None:
    """Overwrite what the zip file says of its first member, in the directory and before the member."""
    held = bytearray(path.read_bytes())
    start = held.index(b"PK\1\2") + offset
    held[start : start + len(value)] = value
    if local_offset is not None:
        held[local_offset : local_offset + len(value)] = value
    path.write_bytes(held)


@pytest.mark.parametrize(
    ("offset", "value", "local_offset", "match"),
    [
        (8, b"\1\0", 6, "is damaged: .*encrypted"),
        (8, b"\x20\0", 6, "is damaged: .*patched"),
        (10, b"\x63\0", 8, "'weight_ih_l0' does not stand in it as in a .npz"),
        (16, b"\0\0\0\0", 14, "is damaged: Bad CRC-32"),
        (24, b"\xff\0\0\0", 22, "declares .*, but holds"),
        (42, b"\xff\xff\xff\x7f", None, "is damaged: "),
        (46, b"weight_hx", None, "is damaged: File name in directory"),
    ],
    ids=["encrypted", "patched", "compression 99", "checksum", "size", "place", "name"],
)
def test_damaged_directories_are_refused(
    tmp_path: Path, offset: int, value: bytes, local_offset: int | None, match: str
) -> None:
    path = write(tmp_path / "m.npz", unbiased())
    patch_central(path, offset, value, local_offset)
    refuse(path, match, activation="tanh")


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    side = 2000
    members = {"weight_ih_l0": npy(zeros(side, 1)), "weight_hh_l0": npy(zeros(side, side))}
    path = write_members(tmp_path / "m.npz", members, zipfile.ZIP_DEFLATED)
    with little_memory():
        refuse(path, "bytes unpack to 16008.*, like a zip bomb; save it anew with numpy.savez", activation="tanh")
    rb.load(write_members(path, members), activation="tanh")


def test_zeros_among_weights_are_no_zip_bomb(tmp_path: Path) -> None:
    path, side = tmp_path / "m.npz", 600
    square = np.random.default_rng(0).normal(size=(side, side))
    held = {"weight_ih_l0": square, "weight_hh_l0": square, "bias_l0": np.zeros(side)}
    held |= {"weight_ih_l1": square, "weight_hh_l1": np.zeros((side, side))}
    save: Any = np.savez_compressed  # its own keywords could be among the names, for all mypy knows
    save(path, **held)
    assert len(rb.load(path, activation="tanh").layers) == 2


def test_a_small_file_of_zeros_is_no_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez_compressed(path, weight_ih_l0=zeros(450, 2), weight_hh_l0=zeros(450, 450))
    assert path.stat().st_size * 200 < 450 * 450 * 4
    rb.load(path, activation="tanh")


def test_a_member_that_unpacks_to_more_than_it_says_takes_no_memory(tmp_path: Path) -> None:
    path, member = tmp_path / "m.npz", npy(zeros(64, 64))
    write_members(path, {"weight_hh_l0": member + bytes(2**26)}, zipfile.ZIP_DEFLATED)
    patch_central(path, 24, struct.pack("<I", len(member)), 22)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("weight_ih_l0.npy", npy(zeros(64, 2)))
    with little_memory():
        refuse(path, "is damaged: Bad CRC-32", activation="tanh")


def test_arrays_of_npz_that_do_not_fit_are_not_read(tmp_path: Path) -> None:
    members = {"weight_ih_l0": npy(zeros(3, 2)), "weight_hh_l0": npy(zeros(2000, 2000))}
    path = write_members(tmp_path / "m.npz", members)
    with little_memory():
        refuse(path, r"`weight_hh` must .*\(3, 3\); got \(2000, 2000\)", activation="tanh")


def test_a_header_said_to_be_enormous_is_not_read(tmp_path: Path) -> None:
    lie = b"\x93NUMPY\2\0" + struct.pack("<I", 2**31) + bytes(2**24)
    path = write_members(tmp_path / "m.npz", {"weight_ih_l0": lie})
    with little_memory():
        refuse(path, "header of 'weight_ih_l0.npy' is not that of an array of numbers", activation="tanh")
