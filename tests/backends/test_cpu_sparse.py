"""The kernels of the CPU on sparse recurrent weights, against the float64 reference."""

from typing import Any

import numpy as np
import pytest
from cpu_walks import COMPILED, EACH_COMPILED, EACH_DTYPE, EACH_KERNEL, Walk, drawn, only
from hypothesis import given, settings
from hypothesis import strategies as st

import rnn_backends as rb
from rnn_backends.backends import numpy as numpy_backend
from rnn_backends.backends.cpu_kernels import choice
from rnn_backends.core.arrays import Host
from rnn_backends.testing.cases import ACTIVATIONS, Draw

SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100)
"""Around the widths of vectors."""

BATCHES = (1, 3, 4, 5, 8, 9, 16, 17, 33, 64, 65, 67)
"""Around the rows that are multiplied abreast, and those that are left after them."""

WINDOWS = (511, 512, 513, 528, 1023, 1024, 1025)
"""Around the rows whose sums are sorted together."""

LEAKS = np.linspace(0.125, 1, 37)


def of_counts(dtype: str, counts: Any, batch: int, **options: Any) -> Walk:
    """Return a walk with so many entries in each row, in any order and some in one place, a few of them zeros."""
    draw, size = Draw(dtype, sum(counts)), len(counts)
    starts = np.concatenate([[0], np.cumsum(counts)])
    values = draw.random.choice([-0.5, 0.0, 0.25, 0.75, 1.0], starts[-1])
    values /= np.repeat(np.maximum(1, counts), counts)
    columns = draw.random.integers(0, size, starts[-1])
    w_hh = rb.Sparse.from_csr(values.astype(dtype), columns, starts, (size, size))
    w_ih, bias = draw.normal(size, 3), draw.normal(size)
    return Walk(rb.Layer(rb.Cell(w_ih, w_hh, bias, **options)), draw.normal(4, batch, 3), draw.states(batch, size))


@EACH_COMPILED
@EACH_DTYPE
def test_sizes_around_vectors_and_rows(kernel: str, dtype: str) -> None:
    for turn, hidden_size in enumerate(SIZES):
        for n, batch in enumerate(BATCHES):
            sides, ragged = ("f", "b", "fb")[(turn + n) % 3], n % 2 == turn % 2
            density = (0.0, 0.1, 0.4, 1.0)[(turn + n) % 4]
            drawn(dtype, (3, batch, 5, hidden_size), sides, ragged, bias=n % 4 != 0, density=density).check(kernel)


@EACH_COMPILED
@EACH_DTYPE
def test_windows_of_rows(kernel: str, dtype: str) -> None:
    """One row has an entry everywhere, and is taken apart; the steps of one sequence go from window to window and back."""
    for turn, hidden_size in enumerate(WINDOWS):
        for batch in (1, 2 + turn):
            drawn(dtype, (3, batch, 3, hidden_size), "fb"[turn % 2], turn % 3 == 0, density=0.01).check(kernel)


@EACH_COMPILED
@EACH_DTYPE
@pytest.mark.parametrize(
    "counts",
    [
        [0] * 40,
        [*[0] * 20, 5, *[0] * 19],
        [*range(40)],
        [200, *[1] * 39],
        [40] * 39 + [0],
        [*[17, 16, 15] * 200],
        [*[0] * 512, 3],
        [*[3] * 512, 600],
        [*[1] * 511, 4000, 9],
    ],
    ids=lambda counts: f"{len(counts)} rows, {max(counts)} at most",
)
def test_distributions_of_the_entries(kernel: str, dtype: str, counts: list[int]) -> None:
    for batch in (1, 4, 19):
        of_counts(dtype, counts, batch).check(kernel)


@settings(max_examples=60)
@given(st.lists(st.one_of(st.integers(0, 20), st.integers(0, 300)), min_size=1, max_size=80), st.integers(1, 40))
@pytest.mark.skipif(not COMPILED, reason="no kernel was built")
def test_any_distribution_of_the_entries(counts: list[int], batch: int) -> None:
    for kernel in COMPILED:
        of_counts("float32", counts, batch).check(kernel)


@EACH_COMPILED
@EACH_DTYPE
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.name)
def test_activations_clips_and_leaks(kernel: str, dtype: str, activation: rb.Activation) -> None:
    for batch in (1, 7):
        for options in ({}, {"clip": 0.375}, {"leak": 0.25}, {"clip": 0.5, "leak": LEAKS.astype(dtype)}):
            drawn(dtype, (4, batch, 5, 37), "b", activation=activation, density=0.2, **options).check(kernel)


@EACH_COMPILED
@EACH_DTYPE
@pytest.mark.parametrize("ids", ["int32", "int64"])
def test_token_ids(kernel: str, dtype: str, ids: str) -> None:
    for batch in (1, 4, 25):
        drawn(dtype, (5, batch, 37, 65), "fb", batch == 4, ids, density=0.1).check(kernel)


@EACH_COMPILED
@EACH_DTYPE
def test_lengths(kernel: str, dtype: str) -> None:
    walk = drawn(dtype, (9, 13, 7, 33), "fb", density=0.2)
    for lengths in (np.arange(13) % 10, np.full(13, 9), np.zeros(13, int), [9] + [0] * 12, [9] * 5 + [3] * 8):
        held = walk._replace(lengths=np.asarray(lengths))
        held.check(kernel)
        poisoned, clean = held.x.copy(), held.by(kernel)
        for b, end in enumerate(held.lengths.tolist() if held.lengths is not None else []):
            poisoned[end:, b] = np.nan
        found = held._replace(x=poisoned).by(kernel)
        for actual, wanted in zip((found[0], *found[1]), (clean[0], *clean[1]), strict=True):
            np.testing.assert_array_equal(actual, wanted)


@EACH_KERNEL
@EACH_DTYPE
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_sequences_do_not_touch(kernel: str, dtype: str, poison: float) -> None:
    for batch, hidden_size in ((3, 33), (7, 33), (26, 530)):
        walk = drawn(dtype, (4, batch, 5, hidden_size), activation="relu", density=0.1)
        clean, _ = walk.by(kernel)
        for b in range(0, batch, 2):
            x_b, others = walk.x.copy(), np.arange(batch) != b
            x_b[1, b, 3] = poison
            states, _ = walk._replace(x=x_b).by(kernel)
            np.testing.assert_array_equal(states[:, others], clean[:, others])
            assert not np.isfinite(states[1:, b]).all(axis=-1).any()
            np.testing.assert_array_equal(states[0], clean[0])


def sums_of(cell: Any, h: Host) -> Host:
    """Return W_hh h of each row of h, entry by entry as it stands."""
    values, columns, starts = cell.weight_hh.to_csr()
    found = np.zeros(h.shape)
    with np.errstate(invalid="ignore"):
        for row in range(h.shape[1]):
            for entry in range(starts[row], starts[row + 1]):
                found[:, row] += h[:, columns[entry]] * values[entry]
    return found


@EACH_KERNEL
@EACH_DTYPE
def test_an_infinite_state_meets_stored_entries_alone(kernel: str, dtype: str) -> None:
    """What fills vectors up meets none: where a sum has an infinity and no stored zero, it is no NaN."""
    seen = 0
    for counts in ([2, 5, 1, 0, 3] * 4, [3, 1] * 16, [*[1] * 39, 200]):
        for batch in (1, 3, 18):
            walk = of_counts(dtype, counts, batch, activation="identity")
            cell: Any = walk.layer.cells[0][0]
            for column in range(len(counts)):
                h = walk.h_0[0].copy()
                h[batch // 2, column] = np.inf
                (output, _), wanted = walk._replace(h_0=[h]).by(kernel), sums_of(cell, h)
                seen += int(np.isinf(wanted).sum())
                np.testing.assert_array_equal(np.isnan(output[0]), np.isnan(wanted))
                np.testing.assert_array_equal(np.isposinf(output[0]), np.isposinf(wanted))
                np.testing.assert_array_equal(np.isneginf(output[0]), np.isneginf(wanted))
    assert seen > 100


@EACH_COMPILED
def test_two_directions_one_of_them_sparse(kernel: str) -> None:
    for batch in (1, 9):
        one, two = drawn("float32", (6, batch, 9, 33), density=0.2), drawn("float32", (6, batch, 9, 65))
        (forward, _), (backward, _) = one.layer.cells[0], two.layer.cells[0]
        for cells, states in (((forward, backward), (one, two)), ((backward, forward), (two, one))):
            Walk(rb.Layer(*cells), one.x, [each.h_0[0] for each in states]).check(kernel)


@EACH_COMPILED
def test_a_stream_and_a_call_have_the_same_numbers(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, kernel)
    walk = drawn("float32", (12, 1, 3, 600), density=0.02)
    rnn = rb.RNN([walk.layer]).to("numpy")
    monkeypatch.setattr(numpy_backend, "by_numpy", None)
    whole, stream = rnn(walk.x)[0], rnn.stream()
    parts = [stream(walk.x[start : start + size, 0]) for start, size in ((0, 1), (1, 4), (5, 7))]
    np.testing.assert_allclose(np.concatenate(parts), whole[:, 0], rtol=0, atol=1e-6)


def own(z: Any) -> Any:
    return z * 0.5


@pytest.mark.skipif(not COMPILED, reason="no kernel was built")
@pytest.mark.parametrize("case", ["float16", "own activation", "RateCell", "off", "known"])
def test_what_no_kernel_walks_is_declined(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(choice.VARIABLE, raising=False)  # the tests may run with the kernel off
    walk = drawn("float32", (4, 3, 5, 20), density=0.2)
    cell: Any = walk.layer.cells[0][0]
    parameters, states = (cell.weight_ih, cell.weight_hh, cell.bias), "float16" if case == "float16" else "float32"
    if case == "own activation":
        cell = rb.Cell(*parameters, own)
    elif case == "RateCell":
        cell = rb.RateCell(*parameters, leak=0.5)
    elif case == "off":
        monkeypatch.setenv(choice.VARIABLE, choice.OFF)
    assert (numpy_backend.prepared(cell, np.dtype(states)) is None) == (case != "known")
    if case != "float16":
        output, last = walk._replace(layer=rb.Layer(cell)).walked()
        known = rb.Cell(*parameters, rb.Activation("affine", 0.5, 0.0)) if case == "own activation" else cell
        assert walk._replace(layer=rb.Layer(known)).excess(output, last) <= 1.0


@EACH_COMPILED
def test_what_is_prepared_is_no_dense_matrix(kernel: str) -> None:
    """Forty cells, whose dense matrices would have 64 GB, in what the entries of a few take."""
    resource = pytest.importorskip("resource")
    size = 20_000
    w_hh = rb.Sparse.from_csr(
        np.full(size, 0.5, "float32"), np.arange(size)[::-1].copy(), np.arange(size + 1), (size, size)
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with only(kernel):
        held = [numpy_backend.prepare(rb.Cell(np.ones((size, 1), "float32"), w_hh)) for _ in range(40)]
    assert len(held) == 40
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
