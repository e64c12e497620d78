"""Sparse recurrent matrices in files: by their entries, and never dense."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_files import CODES, SUFFIXES, assert_same, refuse, write
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.core.sparse_rows import AT_ONCE
from rnn_backends.formats.account import Account
from rnn_backends.formats.entries import COPIES, with_matrices
from rnn_backends.formats.made import of_array

ENTRIES = {
    "weight_hh_l0.data": np.array([0.5, -0.25, 0.125], "<f4"),
    "weight_hh_l0.indices": np.array([1, 0, 2], "<i8"),
    "weight_hh_l0.indptr": np.array([0, 1, 1, 3], "<i8"),
}
CODES["<i4"] = "I32"

LAID_OUT = 32 * AT_ONCE
"""The bytes of what is there at once of the places that are laid out."""


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"model{request.param}"


def arrays(**changed: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays of one cell, some of them others, or left out where they are None."""
    held = {"weight_ih_l0": np.ones((3, 2), "<f4"), **ENTRIES} | {
        f"weight_hh_l0.{name}": array for name, array in changed.items()
    }
    return {name: array for name, array in held.items() if array is not None}


def model(dtype: str = "float32", density: float = 0.3, size: int = 7) -> rb.RNN:
    random, cells = np.random.default_rng(5), []
    for features in (2, size):
        stored = random.random((size, size)) < density
        starts = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
        data = random.normal(size=stored.sum()).astype(dtype)
        w_hh = rb.Sparse.from_csr(data, np.nonzero(stored)[1], starts, (size, size))
        cells.append(rb.Cell(random.normal(size=(size, features)).astype(dtype), w_hh, leak=0.5))
    return rb.RNN([rb.Layer(cells[0]), rb.Layer(backward=cells[1])], rb.Linear(np.ones((2, size), dtype)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_round_trip(path: Path, dtype: str, density: float) -> None:
    rnn = model(dtype, density)
    rnn.save(path)
    assert_same(rb.load(path), rnn)


def test_the_file_is_as_large_as_the_entries(path: Path) -> None:
    size = 4000
    indptr = np.arange(0, 3 * size + 1, 3)
    w_hh = rb.Sparse.from_csr(np.ones(3 * size, "float32"), np.arange(3 * size) % size, indptr, (size, size))
    rb.RNN([rb.Cell(np.ones((size, 1), "float32"), w_hh)]).save(path)
    assert path.stat().st_size < 3 * size * 8 + size * 8 + 4096
    found: Any = rb.load(path).layers[0].forward
    for held, wanted in zip(found.weight_hh.to_csr(), w_hh.to_csr(), strict=True):
        np.testing.assert_array_equal(held, wanted)


@pytest.mark.parametrize("write_it", [rb.RNN.to_torch, lambda rnn: rnn.save("model.onnx")])
def test_what_has_no_sparse_matrices_refuses_them(write_it: Callable[[rb.RNN], object]) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(rb.FormatError, match=r"no sparse matrix, which weight_hh of l0 is; save the model as"):
        write_it(rb.RNN(model().layers[:1]))


@pytest.mark.parametrize("kind", ["<i4", "<i8"])
def test_weights_alone(path: Path, kind: str) -> None:
    held = {name: array.astype(kind) if array.dtype.kind == "i" else array for name, array in arrays().items()}
    rnn = rb.load(write(path, held), activation="tanh")
    cell: Any = rnn.layers[0].forward
    assert cell.weight_hh.num_entries == 3
    product = cell.recurrent_product(np.array([[1.0, 10.0, 100.0]], "float32"))
    assert product.tolist() == [[5.0, 0.0, 12.25]]


def test_arrays_of_other_names(path: Path) -> None:
    theirs = {"W_in": "weight_ih_l0", **{f"W_{name.partition('.')[2]}": name for name in ENTRIES}}
    held = {name: arrays()[own] for name, own in theirs.items()}
    rnn = rb.load(write(path, held), activation="tanh", names=theirs)
    cell: Any = rnn.layers[0].forward
    assert [part.tolist() for part in cell.weight_hh.to_csr()] == [[0.5, -0.25, 0.125], [1, 0, 2], [0, 1, 1, 3]]
    with pytest.raises(rb.FormatError, match=r"weight_hh_l0\.data\.T"):
        rb.load(path, activation="tanh", names=theirs | {"W_data": "weight_hh_l0.data.T"})


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"data": None}, r"weight_hh_l0\.data is missing"),
        ({"indices": None}, r"weight_hh_l0\.indices is missing"),
        ({"indptr": None}, r"weight_hh_l0\.indptr is missing"),
        ({"data": np.ones((3, 1), "<f4")}, "must have one axis"),
        ({"indices": np.ones((1, 3), "<i8")}, "must have one axis"),
        ({"indptr": np.zeros((), "<i8")}, "must have one axis"),
        ({"indices": np.array([1, 0, 2], "<f4")}, "int32 or int64"),
        ({"indptr": np.array([0, 1, 1, 3], "|u1")}, "int32 or int64"),
        ({"indices": np.array([1, 0], "<i8")}, "a column for each entry"),
        ({"indices": np.array([1, 0, 3], "<i8")}, r"0\.\.2"),
        ({"indices": np.array([1, 0, -1], "<i8")}, r"0\.\.2"),
        ({"indices": np.array([1, 0, 2**40], "<i8")}, r"0\.\.2"),
        ({"indptr": np.array([0, 2, 1, 3], "<i8")}, "falls"),
        ({"indptr": np.array([0, 1, 1, 4], "<i8")}, "ends with 4"),
        ({"indptr": np.array([1, 1, 1, 3], "<i8")}, "begins with 1"),
        ({"indptr": np.array([-1, 1, 1, 3], "<i8")}, "begins with -1"),
        ({"indptr": np.array([0, 2**62, -(2**62), 3], "<i8")}, "falls|rise"),
        ({"indptr": np.array([0, 2**63 - 1, -2, 3], "<i8")}, "falls"),
        ({"indptr": np.array([0, 2**31 - 1, -2, 3], "<i4")}, "falls"),
        ({"indptr": np.array([0, 1, 3], "<i8")}, "hidden_size|0..1"),
        ({"indptr": np.array([0, 1, 1, 3, 3], "<i8")}, "hidden_size"),
        ({"indptr": np.array([], "<i8")}, "has 0 numbers"),
        ({"indptr": np.array([0], "<i8")}, "has 1 numbers"),
        ({"data": np.array([1, 2, 3], "<i8")}, "float"),
    ],
)
def test_entries_that_are_none_of_a_matrix(path: Path, changed: dict[str, Any], match: str) -> None:
    refuse(write(path, arrays(**changed)), match, activation="tanh")


def test_a_matrix_that_is_there_twice(path: Path) -> None:
    held = arrays() | {"weight_hh_l0": np.ones((3, 3), "<f4")}
    refuse(write(path, held), "dense or sparse", activation="tanh")


def test_a_transposed_matrix_is_not_taken_for_another(path: Path) -> None:
    held = arrays() | {"weight_hh_l0.other": np.ones(3, "<f4")}
    refuse(write(path, held), "weight_hh_l0.other", activation="tanh")


DISTRIBUTIONS = {
    "as many in each row": np.full(60_000, 16),
    "half of the places filled up": np.array([*[17] * 60_000, 32]),
    "hardly any": np.array([*[0] * 400_000, 2]),
    "one long row": np.array([*[1] * 50_000, 900_000]),
}


@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8", "<u2"])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_load_takes_no_more_than_a_file_may(tmp_path: Path, name: str, kind: str) -> None:
    """Beside what is there at once of a few rows; "<u2" stands for bfloat16, of which safetensors alone knows."""
    counts, kinds = DISTRIBUTIONS[name], {"<i4", "<i8"} if kind == "<f4" else {"<i4"}
    starts = np.concatenate([[0], np.cumsum(counts)])
    for index in kinds:
        held = {
            "weight_ih_l0": np.zeros((len(counts), 1), kind),
            "weight_hh_l0.data": np.zeros(starts[-1], kind),
            "weight_hh_l0.indices": np.zeros(starts[-1], index),
            "weight_hh_l0.indptr": starts.astype(index),
        }
        path = write(tmp_path / "model.safetensors", held)
        tracemalloc.start()
        rb.load(path, activation="tanh")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < COPIES * path.stat().st_size + LAID_OUT


def test_rows_take_memory() -> None:
    account = Account(1000)
    held = {name: of_array(array) for name, array in arrays().items()}
    matrix: Any = with_matrices(held, account)["weight_hh_l0"]
    matrix.make()
    assert account.taken["bytes"] == 4 * (4 + 4) * (3 + 3)
