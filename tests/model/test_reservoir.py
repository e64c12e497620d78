"""Reservoirs are what they are asked for: radius, density, scalings; the same numbers everywhere, and never dense."""

import subprocess
import sys
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from places import refused

import rnn_backends as rb
from rnn_backends.core.sparse import Sparse
from rnn_backends.model import radius
from rnn_backends.model.radius import spectral_radius
from rnn_backends.model.reservoir import scaled


def cell_of(rnn: rb.RNN) -> rb.Cell:
    cell = rnn.layers[0].forward
    assert isinstance(cell, rb.Cell)
    return cell


def dense(rnn: rb.RNN) -> Any:
    matrix = cell_of(rnn.to("numpy")).weight_hh
    if not isinstance(matrix, Sparse):
        return np.asarray(matrix)
    values, columns, starts = matrix.to_csr()
    found = np.zeros(matrix.shape)
    found[np.repeat(np.arange(matrix.shape[0]), np.diff(starts)), columns] = values
    return found


def largest(matrix: Any) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max())


@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("wanted", [0.3, 1.25])
def test_the_spectral_radius_is_the_one_that_is_asked_for(density: float, wanted: float) -> None:
    rnn = rb.reservoir(2, 60, spectral_radius=wanted, density=density, seed=3)
    assert isinstance(cell_of(rnn).weight_hh, Sparse) is (density < 1)
    assert abs(largest(dense(rnn)) - wanted) < 1e-12


@pytest.mark.parametrize(("density", "entries"), [(0.1, 6), (0.5, 30), (1.0, 60), (0.001, 1)])
def test_each_row_has_as_many_entries(density: float, entries: int) -> None:
    matrix = dense(rb.reservoir(2, 60, density=density))
    assert ((matrix != 0).sum(axis=1) == entries).all()
    assert len(set(matrix[matrix != 0].tolist())) == 60 * entries
    assert (matrix[matrix != 0] < 0).any()


def test_weights_are_uniform_up_to_their_scalings() -> None:
    scaling = np.array([0.5, 3.0])
    cell = cell_of(rb.reservoir(2, 2000, density=0.01, input_scaling=scaling, bias_scaling=0.25, seed=5))
    weights, bias = np.asarray(cell.weight_ih) / scaling, np.asarray(cell.bias) / 0.25
    for drawn in (weights[:, 0], weights[:, 1], bias):
        assert np.abs(drawn).max() <= 1
        assert np.abs(np.quantile(drawn, [0.0, 0.25, 0.5, 0.75, 1.0]) - [-1, -0.5, 0, 0.5, 1]).max() < 0.06


def test_scalings_and_leaks_by_unit_and_none() -> None:
    by_unit = np.linspace(0.0, 2.0, 30)
    cell = cell_of(rb.reservoir(2, 30, bias_scaling=by_unit, leak=np.linspace(0.1, 1.0, 30)))
    assert cell.bias is not None
    assert cell.bias[0] == 0
    assert (np.abs(cell.bias) <= by_unit).all()
    np.testing.assert_array_equal(np.asarray(cell.leak), np.linspace(0.1, 1.0, 30))
    assert cell_of(rb.reservoir(2, 30, bias_scaling=0)).bias is None
    assert cell_of(rb.reservoir(2, 30)).leak is None
    assert cell_of(rb.reservoir(2, 30, leak=0.5)).leak == 0.5
    relu = cell_of(rb.reservoir(2, 30, activation="relu"))
    assert getattr(relu.activation, "name", None) == "relu"


def test_a_seed_draws_the_same_on_every_backend(backend: str) -> None:
    options: dict[str, Any] = {"density": 0.2, "leak": 0.4, "seed": 7, "dtype": "float32"}
    here, there = rb.reservoir(2, 40, backend="numpy", **options), rb.reservoir(2, 40, backend=backend, **options)
    assert there.dtype == "float32"
    np.testing.assert_array_equal(dense(here), dense(there))
    np.testing.assert_array_equal(cell_of(here).weight_ih, rb.to_numpy(cell_of(there).weight_ih))
    bias = cell_of(there).bias
    assert bias is not None
    np.testing.assert_array_equal(cell_of(here).bias, rb.to_numpy(bias))
    assert not np.array_equal(dense(here), dense(rb.reservoir(2, 40, **(options | {"seed": 8}))))
    x = np.sin(np.arange(60, dtype=np.float32)).reshape(30, 2)
    np.testing.assert_allclose(rb.to_numpy(there(x)[0]), here(x)[0], rtol=0, atol=2e-6)


def test_the_notes_say_what_it_was_made_with() -> None:
    options: dict[str, Any] = {"leak": np.linspace(0.1, 1.0, 30), "input_scaling": [0.5, 2], "activation": "relu"}
    rnn = rb.reservoir(2, 30, spectral_radius=1.1, density=0.2, bias_scaling=0.3, seed=4, dtype="float32", **options)
    note = rnn.metadata["reservoir"]
    assert note.startswith("input_size=2, hidden_size=30, spectral_radius=1.1, density=0.2, input_scaling=[0.5, 2.0], ")
    again = eval(f"rb.reservoir({note})")
    assert (again.metadata, again.dtype) == (rnn.metadata, "float32")
    x = np.random.default_rng(0).standard_normal((9, 2)).astype(np.float32)
    np.testing.assert_array_equal(again(x)[0], rnn(x)[0])
    assert "activation='tanh', seed=0, dtype='float64'" in rb.reservoir(1, 2).metadata["reservoir"]
    assert "activation='function', seed" in rb.reservoir(1, 2, activation=lambda x: x).metadata["reservoir"]


def test_arpack_finds_the_radius_of_large_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    drawn = [rb.reservoir(1, 400, density=density, seed=seed) for density in (0.01, 0.1, 1.0) for seed in range(4)]
    matrices = [cell_of(rnn).weight_hh for rnn in drawn]
    monkeypatch.setattr(radius, "DENSE", 100)
    for rnn, matrix in zip(drawn, matrices, strict=True):
        found = spectral_radius(matrix)
        assert abs(found - largest(dense(rnn))) < 1e-8
        assert found == spectral_radius(matrix)


def test_no_larger_eigenvalue_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    monkeypatch.setattr(radius, "DENSE", 100)
    matrix = np.random.default_rng(3).uniform(-1, 1, (400, 400))  # by the default of 20 vectors 0.4% too small
    assert abs(spectral_radius(matrix) / largest(matrix) - 1) < 1e-9


def test_a_large_reservoir_has_its_radius() -> None:
    pytest.importorskip("scipy")
    rnn = rb.reservoir(1, 1200, density=0.01, spectral_radius=0.7, seed=2)
    assert abs(largest(dense(rnn)) - 0.7) < 1e-7


def test_arpack_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    monkeypatch.setattr(radius, "DENSE", 100)
    monkeypatch.setattr(radius, "RESTARTS", 1)
    turned = np.roll(np.eye(400), 1, axis=0)  # all absolute values are 1
    with refused(rb.ArgumentError, "ARPACK", "400 rows", "Take another seed or density."):
        spectral_radius(turned)


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    rb.reservoir(1, 50)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rnn-backends\[scipy\]'"):
        rb.reservoir(1, 1200, density=0.01)


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), np.diag(np.ones(3), 1)], ids=["zeros", "nilpotent"])
def test_a_matrix_without_a_radius_is_not_scaled(matrix: Any) -> None:
    with refused(rb.ArgumentError, "spectral radius is 0"):
        scaled(matrix, 0.9)


def test_a_large_matrix_of_zeros_is_not_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    monkeypatch.setattr(radius, "DENSE", 100)
    with refused(rb.ArgumentError, "ARPACK", "all are 0"):
        scaled(np.zeros((300, 300)), 0.9)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"input_size": 0}, ("`input_size`", "at least 1", "got 0")),
        ({"hidden_size": 2.5}, ("`hidden_size`", "got 2.5")),
        ({"spectral_radius": 0}, ("`spectral_radius` must be positive", "got 0")),
        ({"spectral_radius": float("nan")}, ("`spectral_radius`", "nan")),
        ({"spectral_radius": -1}, ("`spectral_radius` must be positive", "got -1")),
        ({"density": 0}, ("`density` must be in 0 < density <= 1", "zeros alone", "got 0")),
        ({"density": 1.5}, ("`density`", "got 1.5")),
        ({"input_scaling": -1}, ("`input_scaling` must be finite and at least 0", "got -1")),
        ({"bias_scaling": float("inf")}, ("`bias_scaling` must be finite", "got inf")),
        ({"leak": 0}, ("`leak`", "0 < leak <= 1")),
        ({"leak": 1.5}, ("`leak`", "0 < leak <= 1")),
        ({"seed": -1}, ("`seed`", "got -1")),
        ({"activation": "tahn"}, ("tahn", "tanh")),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], parts: tuple[str, ...]) -> None:
    with refused(rb.ArgumentError, *parts):
        rb.reservoir(**({"input_size": 2, "hidden_size": 30} | options))


def test_scalings_of_other_shapes_and_kinds_are_refused() -> None:
    with refused(rb.ShapeError, "`input_scaling` must have shape (input_size,) = (2,)", "(3,)"):
        rb.reservoir(2, 30, input_scaling=[1.0, 2.0, 3.0])
    with refused(rb.ShapeError, "`leak` must have shape (hidden_size,) = (30,)"):
        rb.reservoir(2, 30, leak=np.ones(3))
    with refused(rb.DTypeError, "`bias_scaling` must hold real numbers"):
        rb.reservoir(2, 30, bias_scaling="large")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of memory is read as Linux tells it")
def test_twenty_thousand_units_take_little_memory() -> None:
    pytest.importorskip("scipy")
    program = """
        import numpy as np, rnn_backends as rb
        from rnn_backends.model import radius
        radius.EIGENVALUES, radius.VECTORS, radius.TOLERANCE = 1, 20, 0.1  # the radius is looked at elsewhere
        rnn = rb.reservoir(1, 20000, density=10 / 20000)
        rnn.last(np.ones((5, 1)))
        (peak,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
        print(int(peak.split()[1]) // 1024)
    """
    done = subprocess.run([sys.executable, "-c", dedent(program)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400, "a dense matrix takes 3052 MiB"


def test_entries_of_one_place_add_up_in_the_radius() -> None:
    matrix = Sparse.from_csr(np.array([1.0, 2.0, 4.0]), np.array([0, 0, 1]), np.array([0, 2, 3]), (2, 2))
    assert spectral_radius(matrix) == 4.0
    matrix = Sparse.from_csr(np.array([3.0, 2.0, 4.0]), np.array([0, 0, 1]), np.array([0, 2, 3]), (2, 2))
    assert spectral_radius(matrix) == 5.0


def test_integers_are_features() -> None:
    spikes = np.random.default_rng(0).integers(0, 2, (30, 2))
    rnn = rb.reservoir(2, 20)
    np.testing.assert_array_equal(rnn(spikes)[0], rnn(spikes.astype(np.float64))[0])
