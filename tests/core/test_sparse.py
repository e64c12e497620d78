"""Sparse recurrent matrices: the numbers of the dense ones, in memory of the order of their entries."""

import copy
import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnn_backends as rb
from rnn_backends.core.layers import named_arrays
from rnn_backends.core.network import READS
from rnn_backends.core.sparse_rows import AT_ONCE
from rnn_backends.errors import ArgumentError, BackendMismatchError, DTypeError, ShapeError
from rnn_backends.testing.entries import Entries

sparse = pytest.importorskip("scipy.sparse")
FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")


def matrix(size: int = 12, density: float = 0.3, seed: int = 0) -> Any:
    return sparse.random_array((size, size), density=density, rng=seed, format="csr") * 0.5


def pair(weight: Any, dtype: str = "float64", backend: str = "numpy", **options: Any) -> tuple[rb.RNN, rb.RNN]:
    """Return two models with the same weights, the first with a sparse matrix."""
    random, (size, _) = np.random.default_rng(1), weight.shape
    w_ih, bias = random.normal(size=(size, 3)), random.normal(size=size)
    made = [rb.RNN([rb.Cell(w_ih, w, bias, leak=0.6)], **options) for w in (weight, weight.toarray())]
    return made[0].to(backend, dtype), made[1].to(backend, dtype)


def close(actual: Any, wanted: Any, dtype: str = "float64") -> None:
    tolerance = {"float16": 4e-3, "float32": 2e-6, "float64": 1e-14}[dtype]
    np.testing.assert_allclose(rb.to_numpy(actual), rb.to_numpy(wanted), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_format_of_scipy_is_taken(form: str, kind: str) -> None:
    held = getattr(sparse, f"{form}_{kind}")(matrix().toarray())
    model, dense = pair(held)
    x = np.random.default_rng(2).normal(size=(7, 3))
    close(model(x)[0], dense(x)[0])


def test_entries_of_one_place_add_up_and_what_was_given_stays_as_it_is() -> None:
    data, indices, indptr = np.array([2.0, 0.5, 1.0, 0.0, 3.0]), np.array([1, 0, 1, 0, 0]), np.array([0, 3, 4, 5])
    held = sparse.csr_array((data, indices, indptr), shape=(3, 3))
    cell = rb.Cell(np.ones((3, 1)), held)
    assert held.nnz == 5
    assert held.indices.tolist() == [1, 0, 1, 0, 0]
    product = cell.recurrent_product(np.array([[1.0, 10.0, 100.0]]))
    assert product.tolist() == [[30.5, 0.0, 3.0]]


@pytest.mark.parametrize("index", [np.int32, np.int64, np.uint16])
def test_the_entries_come_back(index: Any) -> None:
    held = matrix(40)
    made = rb.Sparse.from_csr(held.data, held.indices.astype(index), held.indptr.astype(index), held.shape)
    again = sparse.csr_array(made.to_csr(), shape=made.shape)
    assert (again != held).nnz == 0
    assert made.num_entries == held.nnz
    assert again.indices.dtype == np.int32


@settings(max_examples=40)
@given(st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_any_distribution_of_the_entries(size: int, density: float, seed: int, full: bool, none: bool) -> None:
    random = np.random.default_rng(seed)
    held = random.normal(size=(size, size)) * (random.random((size, size)) < density * random.random((size, 1)))
    if full:
        held[random.integers(size)] = 1.0
    if none:
        held[random.integers(size)] = 0.0
    h = random.normal(size=(3, size))
    made = rb.Cell(np.ones((size, 1)), sparse.csr_array(held))
    np.testing.assert_allclose(made.recurrent_product(h), h @ held.T, rtol=1e-12, atol=1e-12)
    places = sum(array.size for name, array in named_arrays(made) if name.endswith("values"))
    assert places <= 2 * np.count_nonzero(held) + size


class TestBackends:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
    def test_the_numbers_of_the_dense_matrix(self, backend: str, dtype: str, density: float) -> None:
        if dtype not in rb.get_backend(backend.partition(":")[0]).dtypes():
            pytest.skip("has no float64")
        model, dense = pair(matrix(density=density), dtype, backend)
        x = np.random.default_rng(2).normal(size=(6, 4, 3)).astype(dtype)
        lengths, mask = [6, 0, 3, 1], np.random.default_rng(3).random((6, 4)) < 0.7
        for options in ({}, {"lengths": lengths}, {"mask": mask}):
            for actual, wanted in zip(model(x, **options), dense(x, **options), strict=True):
                close(actual, wanted, dtype)
            for reads in READS[1:]:
                close(model.last(x, reads=reads, **options), dense.last(x, reads=reads, **options), dtype)

    def test_streams_and_traces(self, backend: str) -> None:
        model, dense = pair(matrix(), "float32", backend)
        x = np.random.default_rng(2).normal(size=(6, 3)).astype("float32")
        stream, whole = model.stream(), rb.to_numpy(dense(x)[0])
        parts = [rb.to_numpy(stream(x[:1])), rb.to_numpy(stream(x[1:4])), rb.to_numpy(stream(x[4:]))]
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
        traced, wanted = model.trace(x), dense.trace(x)
        assert list(traced) == list(wanted)
        for name, step in traced.items():
            close(step, wanted[name], "float32")

    def test_nan_and_inf_reach_their_sequence_alone(self, backend: str) -> None:
        model, _ = pair(matrix(), "float32", backend)
        x = np.random.default_rng(2).normal(size=(4, 3, 3)).astype("float32")
        wanted = rb.to_numpy(model(x)[0])
        x[1, 1], x[2, 0] = np.nan, np.inf
        found = rb.to_numpy(model(x)[0])
        assert np.isnan(found[1:, 1]).any()
        np.testing.assert_allclose(found[:, 2], wanted[:, 2], atol=1e-6)

    def test_no_sequence(self, backend: str) -> None:
        model, _ = pair(matrix(), "float32", backend)
        output, h_n = model(np.zeros((5, 0, 3), "float32"))
        assert tuple(output.shape) == (5, 0, 12)
        assert tuple(h_n.shape) == (1, 0, 12)


def test_both_directions_and_several_layers() -> None:
    random, held = np.random.default_rng(4), [matrix(6, 0.5, seed) for seed in range(4)]
    sizes = (3, 3, 12, 12)

    def model(weights: list[Any]) -> rb.RNN:
        cells = [
            rb.Cell(np.ones((6, size)) * 0.1, w, random.normal(size=6) * 0)
            for size, w in zip(sizes, weights, strict=True)
        ]
        return rb.RNN([rb.Layer(*cells[:2]), rb.Layer(*cells[2:])])

    x, lengths = random.normal(size=(5, 4, 3)), [5, 2, 0, 3]
    for actual, wanted in zip(
        model(held)(x, lengths=lengths), model([each.toarray() for each in held])(x, lengths=lengths), strict=True
    ):
        close(actual, wanted)


def test_half_precision() -> None:
    held = matrix()
    held.data[0] = 1e-9  # becomes zero
    model, dense = pair(held, "float16")
    x = np.random.default_rng(2).normal(size=(6, 2, 3)).astype("float16")
    close(model(x)[0], dense(x)[0], "float16")
    assert model(x)[0].dtype == np.float16


def test_copies_and_pickles() -> None:
    model, _ = pair(matrix())
    x = np.random.default_rng(2).normal(size=(6, 3))
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), model.to("array_api_strict").to("numpy")):
        np.testing.assert_array_equal(other(x)[0], model(x)[0])


def test_the_number_of_parameters_is_that_of_the_entries() -> None:
    held = matrix()
    model, _ = pair(held)
    assert model.num_parameters == held.nnz + 12 * 3 + 12
    assert f"num_parameters={model.num_parameters}" in repr(model)


def test_nothing_of_it_can_be_written_to() -> None:
    held = matrix()
    model, _ = pair(held)
    wanted = model(np.ones((4, 3)))[0]
    held.data[:] = 7.0
    for _, array in named_arrays(model.layers):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
    np.testing.assert_array_equal(model(np.ones((4, 3)))[0], wanted)


def test_no_dense_matrix_is_made() -> None:
    size = 20_000
    random = np.random.default_rng(0)
    held = sparse.csr_array(
        (random.normal(size=10 * size) / 10, random.integers(0, size, 10 * size), np.arange(0, 10 * size + 1, 10)),
        shape=(size, size),
    )
    x = np.ones((3, 2, 1))
    tracemalloc.start()
    model = rb.RNN([rb.Cell(np.ones((size, 1)), held)])
    model(x)
    model.trace(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 2**20  # a dense one has 3 GB


def test_what_fills_up_knows_no_state() -> None:
    held = np.zeros((5, 5))
    held[0, 1:4] = held[1, 1:3] = held[2, 4] = 1.0
    made: Any = rb.Cell(np.ones((5, 1)), sparse.csr_array(held))
    assert made.weight_hh.is_filled_up
    product = made.recurrent_product(np.array([[np.nan, 1.0, np.inf, 2.0, 3.0]]))
    assert product.tolist() == [[np.inf, np.inf, 3.0, 0.0, 0.0]]
    held[0, 1] = np.inf  # the first of the entries
    made = rb.Cell(np.ones((5, 1)), sparse.csr_array(held))
    assert made.recurrent_product(np.ones((1, 5))).tolist() == [[np.inf, 2.0, 1.0, 0.0, 0.0]]


def test_large_batches_are_cut() -> None:
    held = matrix(200, 0.1)
    made = rb.Sparse.from_csr(held.data, held.indices, held.indptr, held.shape)
    h = np.random.default_rng(0).normal(size=(5000, 200))
    tracemalloc.start()
    product = made.product(h)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 160 * 2**20  # the products of the whole batch have 160 MB, and are there twice
    np.testing.assert_allclose(product, h @ held.toarray().T, atol=1e-12)


def test_the_readout_is_fed_as_ever() -> None:
    held = matrix()
    readout = rb.Linear(np.random.default_rng(3).normal(size=(5, 12)))
    model, dense = pair(held, readout=readout)
    x = np.random.default_rng(2).normal(size=(6, 2, 3))
    assert model.loss(x, np.ones((6, 2), int)) == pytest.approx(dense.loss(x, np.ones((6, 2), int)))
    np.testing.assert_array_equal(model.predict(x), dense.predict(x))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"data": np.ones((2, 1))}, ShapeError, "one axis"),
        ({"data": np.array([1, 2])}, DTypeError, "int64"),
        ({"indices": np.array([0])}, ShapeError, "(num_entries,)"),
        ({"indices": np.array([0.0, 1.0])}, DTypeError, "integers"),
        ({"indices": np.array([0, 3])}, ArgumentError, "0..2"),
        ({"indices": np.array([-1, 1])}, ArgumentError, "-1"),
        ({"indptr": np.array([0, 1, 2])}, ShapeError, "(num_rows + 1,)"),
        ({"indptr": np.array([0, 2, 1, 2])}, ArgumentError, "falls"),
        ({"indptr": np.array([1, 1, 2, 2])}, ArgumentError, "begins with 1"),
        ({"indptr": np.array([0, 1, 2, 3])}, ArgumentError, "ends with 3"),
        ({"indptr": np.array([0, 2**63 - 1, -2, 2])}, ArgumentError, "falls"),  # the differences are positive
        ({"indptr": np.array([0, 2**31 - 1, -2, 2], "int32")}, ArgumentError, "falls"),
        ({"indptr": np.array([0, 2**63, 2**63, 2], "uint64")}, ArgumentError, "falls"),
    ],
)
def test_entries_that_are_none_of_a_matrix(change: dict[str, Any], error: type[Exception], words: str) -> None:
    given = {"data": np.array([1.0, 2.0]), "indices": np.array([0, 1]), "indptr": np.array([0, 1, 2, 2])} | change
    with pytest.raises(error) as caught:
        rb.Sparse.from_csr(**given, shape=(3, 3))
    assert words in str(caught.value)


SHAPES: list[Any] = [5, (1,), (3, 3, 3), (1.9, 1.9), ("a", "b"), None, "33", np.ones((3, 3)), ["\n" * 99, 1]]


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_that_are_none_of_a_matrix(shape: Any) -> None:
    with pytest.raises(
        ShapeError, match=r"^`shape` must be two integers, the number of rows and that of columns; got "
    ):
        rb.Sparse.from_csr(np.ones(2), np.array([0, 1]), np.array([0, 1, 2, 2]), shape)


def test_shapes_of_any_integers() -> None:
    given = np.ones(2), np.array([0, 1]), np.array([0, 1, 2, 2])
    wanted = rb.Sparse.from_csr(*given, (3, 3)).to_csr()
    for shape in ([3, 3], np.shape(np.ones((3, 3))), tuple(np.array([3, 3]))):
        made = rb.Sparse.from_csr(*given, shape)  # type: ignore[arg-type]
        assert (made.shape, [type(size) for size in made.shape]) == ((3, 3), [int, int])
        np.testing.assert_array_equal(made.to_csr()[0], wanted[0])


@pytest.mark.parametrize("shape", [(1, 5), (1, 1), (0,), (2, 4, 1), ()])
def test_states_that_no_row_takes(shape: tuple[int, ...], backend: str) -> None:
    model, _ = pair(matrix(3, 0.5), "float32", backend)
    cell: Any = model.layers[0].forward
    states = model.backend.from_host(np.ones(shape), "float32", model.device)
    with pytest.raises(ShapeError, match=r"`h` must have shape \(\.\.\., num_columns\) = \(\.\.\., 3\); got \("):
        cell.weight_hh.product(states)


def test_starts_that_go_around_all_numbers_of_their_dtype() -> None:
    """Each row has as many entries as there are, by differences that do not fit."""
    size, rows = 2**16, 2**16 + 1
    indptr = (np.arange(rows + 1) * size).astype(np.int32)
    assert (indptr[1:] - indptr[:-1] == size).all()
    assert indptr[-1] == size
    with pytest.raises(ArgumentError, match="falls"):
        rb.Sparse.from_csr(np.ones(size), np.zeros(size, int), indptr, (rows, 1))


def test_columns_are_counted_in_32_bits() -> None:
    with pytest.raises(ShapeError, match="none above 2147483647"):
        rb.Sparse.from_csr(np.ones(1), np.array([2**32]), np.array([0, 1]), (1, 2**40))


def test_many_places_are_laid_out_in_parts() -> None:
    """The entries are more than are laid out at once, of rows of several lengths."""
    random = np.random.default_rng(0)
    counts = random.integers(0, 40, 120_000)
    starts = np.concatenate([[0], np.cumsum(counts)])
    data, indices = random.normal(size=starts[-1]), random.integers(0, 50, starts[-1])
    assert starts[-1] > 4 * AT_ONCE
    tracemalloc.start()
    made = rb.Sparse.from_csr(data, indices, starts, (120_000, 50))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * made.values.nbytes + made.columns.nbytes + 10 * 2**20
    h = random.normal(size=(1, 50))
    wanted = np.bincount(np.repeat(np.arange(120_000), counts), data * h[0, indices], 120_000)
    np.testing.assert_allclose(made.product(h)[0], wanted, atol=1e-12)


def test_matrices_that_fit_no_cell() -> None:
    with pytest.raises(ShapeError, match="empty axis"):
        rb.Cell(np.ones((2, 1)), sparse.csr_array((0, 0)))
    with pytest.raises(ShapeError, match="hidden_size"):
        rb.Cell(np.ones((4, 2)), matrix())
    with pytest.raises(DTypeError, match="int64"):
        rb.Cell(np.ones((2, 1)), sparse.csr_array(np.eye(2, dtype=np.int64)))
    with pytest.raises(DTypeError, match="complex128"):
        rb.Cell(np.ones((2, 1)), sparse.csr_array(np.eye(2) * 1j))
    with pytest.raises(DTypeError, match=r"one dtype.* Convert `layers\[0\].forward.weight_hh` to float"):
        rb.RNN([rb.Cell(np.ones((2, 1), "float32"), sparse.csr_array(np.eye(2)))])


def test_a_matrix_on_another_backend_gives_its_entries_on_numpy() -> None:
    model, _ = pair(matrix(), "float32", "array_api_strict")
    cell: Any = model.layers[0].forward
    with pytest.raises(BackendMismatchError, match=r"rnn.to\('numpy'\)"):
        cell.weight_hh.to_csr()
    moved: Any = model.to("numpy").layers[0].forward
    assert len(moved.weight_hh.to_csr()[0]) == moved.weight_hh.num_entries


def test_torch_and_its_gradients(torch: Any) -> None:
    held, x = matrix(), np.random.default_rng(2).normal(size=(5, 2, 3))
    data, indices, indptr = (torch.tensor(array) for array in (held.data, held.indices, held.indptr))
    data.requires_grad_()
    made = rb.Sparse.from_csr(data, indices, indptr, held.shape)
    w_ih = torch.ones((12, 3), dtype=torch.float64)
    rb.forward([rb.Cell(w_ih, made)], torch.tensor(x))[0].sum().backward()
    dense = torch.tensor(held.toarray(), requires_grad=True)
    rb.forward([rb.Cell(w_ih, dense)], torch.tensor(x))[0].sum().backward()
    rows, columns = held.nonzero()
    np.testing.assert_allclose(data.grad.numpy(), dense.grad.numpy()[rows, columns], rtol=1e-10)
    with pytest.raises(DTypeError, match=r"scipy\.sparse\.csr_array"):
        rb.Cell(w_ih, dense.detach().to_sparse())


def test_jax_compiles_it() -> None:
    jax = pytest.importorskip("jax")
    model, dense = pair(matrix(), "float32", "jax")
    x = jax.numpy.ones((5, 2, 3), "float32")
    found = jax.jit(lambda x: rb.forward(model.layers, x)[0])(x)
    close(found, dense(x)[0], "float32")


def test_the_reference_sums_rows() -> None:
    held = matrix(9, 0.4)
    entries = Entries(held.data, held.indices, held.indptr)
    h = np.random.default_rng(0).normal(size=(2, 9))
    np.testing.assert_allclose(h @ entries, h @ held.toarray().T)
