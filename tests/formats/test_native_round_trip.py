"""Files of this package: what is written is read again bit by bit."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_files import (
    SUFFIXES,
    Arrays,
    assert_same,
    bare,
    description,
    draw_cell,
    make,
    npy,
    parameters,
    weights,
    write,
    write_members,
)
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.core.activations import ACTIVATIONS
from rnn_backends.core.layers import named_arrays


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"model{request.param}"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("kind", ["layers", "both directions", "reverse only", "no bias", "options", "special values"])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_round_trip(path: Path, kind: str, dtype: str) -> None:
    rnn = make(kind, dtype)
    rnn.save(path)
    assert_same(rb.load(path), rnn)
    assert_same(rb.load(str(path)), rnn)


def test_round_trip_of_every_activation(path: Path) -> None:
    parameters = {"scaled_tanh": (1.7159, 2 / 3), "affine": (0.1, 0.7), "clipped_relu": (1 / 3,)}
    activations = [rb.Activation(name, *parameters.get(name, ())) for name in ACTIVATIONS]
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
    rnn, x = make("options"), np.random.default_rng(1).integers(0, 9, size=(3, 5))
    rnn.save(path)
    np.testing.assert_array_equal(rb.load(path).probabilities(x), rnn.probabilities(x))


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
    assert json.loads(notes["rnn_backends"])["format_version"] == 3


@pytest.mark.parametrize("compressed", [False, True])
def test_numpy_reads_what_is_written_and_the_other_way_round(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "m.npz"
    rnn = make("both directions")
    rnn.save(path)
    with np.load(path, allow_pickle=False) as file:
        held = dict(file)
    text = held.pop("__rnn_backends__")
    assert json.loads(text.tobytes())["format_version"] == 3
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
