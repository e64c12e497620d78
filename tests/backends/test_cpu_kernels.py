"""The kernels of the CPU, each that this processor runs, and the walk by NumPy, against the float64 reference."""

from typing import Any

import numpy as np
import pytest
from cpu_walks import EACH_COMPILED, EACH_DTYPE, EACH_KERNEL, Walk, drawn

import rnn_backends as rb
from rnn_backends.backends import numpy as numpy_backend
from rnn_backends.backends.cpu_kernels import choice
from rnn_backends.testing import cases, excess, reference
from rnn_backends.testing.cases import ACTIVATIONS
from rnn_backends.testing.conformance import flat

SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 100)
"""Around the widths of vectors and panels."""

BATCHES = (*range(1, 9), 12, 13, 23, 24, 25)
"""Around the numbers of rows that are multiplied together."""

COLUMNS = (127, 128, 129, 255, 256, 257, 384, 385, 511, 512, 513, 1025)
"""Around the lengths of chains of sums, and of the columns that are multiplied at a time."""

BLOCKS = ((1, 125), (1, 126), (1, 127), (1, 253), (5, 25), (5, 51), (7, 37), (12, 21), (70, 3), (126, 2), (145, 2))
"""Sequences and steps around what is projected together."""

LEAKS = np.linspace(0.125, 1, 37)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"clip": 0.375},
    {"leak": 0.25},
    {"leaks": True},
    {"clip": 0.5, "leak": 0.75, "bias": False},
)


@EACH_COMPILED
@EACH_DTYPE
def test_sizes_around_vectors_and_panels(kernel: str, dtype: str) -> None:
    for turn, hidden_size in enumerate(SIZES):
        for n, batch in enumerate(BATCHES):
            input_size = SIZES[(5 * turn + 2 * n) % len(SIZES)]
            sides, ragged = ("f", "b", "fb")[(turn + n) % 3], n % 2 == turn % 2
            drawn(dtype, (3, batch, input_size, hidden_size), sides, ragged, bias=n % 4 != 0).check(kernel)


@EACH_COMPILED
@EACH_DTYPE
def test_columns_around_chains_and_stretches(kernel: str, dtype: str) -> None:
    for turn, size in enumerate(COLUMNS):
        drawn(dtype, (2, 1 + turn % 7, size, 40)).check(kernel)
        if size < 600:
            drawn(dtype, (2, 7 - turn % 7, 3, size), "b").check(kernel)


@EACH_COMPILED
@EACH_DTYPE
def test_rows_side_by_side(kernel: str, dtype: str) -> None:
    for batch, input_size in ((23, 7), (24, 530), (25, 7), (47, 30), (130, 7), (145, 30), (289, 7)):
        drawn(dtype, (2, batch, input_size, 269), "f", batch in {25, 145}).check(kernel)
    drawn(dtype, (2, 31, 7, 525), "b").check(kernel)


@EACH_COMPILED
@EACH_DTYPE
@pytest.mark.parametrize("sides", ["f", "b", "fb"])
def test_blocks_of_steps(kernel: str, dtype: str, sides: str) -> None:
    for batch, seq_len in BLOCKS:
        for ragged in (False, True):
            drawn(dtype, (seq_len, batch, 9, 17), sides, ragged).check(kernel)


@EACH_KERNEL
@EACH_DTYPE
def test_nothing_to_walk(kernel: str, dtype: str) -> None:
    for seq_len, batch in ((0, 3), (5, 0), (0, 0)):
        for ragged in (False, True):
            output, last = drawn(dtype, (seq_len, batch, 4, 5), "fb", ragged).by(kernel)
            assert output.shape == (seq_len, batch, 10)
            np.testing.assert_array_equal(last, drawn(dtype, (seq_len, batch, 4, 5), "fb").h_0)


@EACH_KERNEL
@EACH_DTYPE
def test_lengths(kernel: str, dtype: str) -> None:
    walk = drawn(dtype, (9, 13, 17, 33), "fb")
    for lengths in (np.arange(13) % 10, np.full(13, 9), np.zeros(13, int), np.full(13, 4), [9] + [0] * 12, [1] * 13):
        for order in (1, -1):
            held = walk._replace(lengths=np.asarray(lengths)[::order])
            held.check(kernel)
            poisoned, clean = held.x.copy(), held.by(kernel)
            for b, end in enumerate(np.asarray(lengths)[::order]):
                poisoned[end:, b] = np.nan
            got = held._replace(x=poisoned).by(kernel)
            for actual, wanted in zip((got[0], *got[1]), (clean[0], *clean[1]), strict=True):
                np.testing.assert_array_equal(actual, wanted)


@EACH_KERNEL
@EACH_DTYPE
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.name)
def test_activations_clips_and_leaks(kernel: str, dtype: str, activation: rb.Activation) -> None:
    for batch in (1, 3, 8):
        for options in OPTIONS:
            own = options | ({"leak": LEAKS.astype(dtype)} if "leaks" in options else {})
            own.pop("leaks", None)
            drawn(dtype, (4, batch, 5, 37), "f" if batch == 3 else "b", **own, activation=activation).check(kernel)


PARAMETERS = ((2.0**-10, -1.25), (-0.5, 1000.0), (1000.0, 0.0))


@EACH_KERNEL
@EACH_DTYPE
def test_alpha_and_beta(kernel: str, dtype: str) -> None:
    for activation in ACTIVATIONS:
        for alpha, beta in PARAMETERS:
            if activation.alpha is not None:
                own_alpha = abs(alpha) if activation.name == "clipped_relu" else alpha
                own = rb.Activation(activation.name, own_alpha, None if activation.beta is None else beta)
                drawn(dtype, (1, 5, 5, 37), activation=own).check(kernel)


@EACH_KERNEL
@EACH_DTYPE
@pytest.mark.parametrize("ids", ["int32", "int64"])
def test_token_ids(kernel: str, dtype: str, ids: str) -> None:
    for batch in (1, 4, 7, 25, 130):
        for size in (5, 33, 65):
            walk = drawn(dtype, (5, batch, 37, size), "fb", batch % 2 == 1, ids, bias=batch % 4 != 0)
            output = walk.check(kernel)
            wide = np.zeros((batch, 10), ids)
            wide[:, ::-2] = walk.x.T
            np.testing.assert_array_equal(walk._replace(x=wide[:, ::-2].T).by(kernel)[0], output)


@EACH_KERNEL
@EACH_DTYPE
@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # by NumPy
def test_sequences_do_not_touch(kernel: str, dtype: str, poison: float) -> None:
    for batch, hidden_size in ((7, 33), (26, 260)):
        walk = drawn(dtype, (4, batch, 17, hidden_size), activation="relu")
        clean, _ = walk.by(kernel)
        for b in range(0, batch, 3):
            x_b, others = walk.x.copy(), np.arange(batch) != b
            x_b[1, b, 3] = poison
            states, _ = walk._replace(x=x_b).by(kernel)
            np.testing.assert_array_equal(states[:, others], clean[:, others])
            assert not np.isfinite(states[1:, b]).all(axis=-1).any()
            np.testing.assert_array_equal(states[0], clean[0])


@EACH_KERNEL
@EACH_DTYPE
def test_layouts_of_the_inputs(kernel: str, dtype: str) -> None:
    """Rows may lie anywhere; those whose numbers have gaps, or another order of bytes, are copied."""
    walk = drawn(dtype, (5, 7, 19, 33), "fb")
    output = walk.check(kernel)
    wide = np.zeros((10, 14, 57), dtype)
    wide[::-2, ::2, ::3] = walk.x
    whole = np.zeros((10, 14, 20), dtype)
    whole[::-2, ::2, 1:] = walk.x
    memory = np.zeros(walk.x.nbytes + 1, np.uint8)
    unaligned = memory[1:].view(dtype).reshape(walk.x.shape)
    unaligned[...] = walk.x
    batch_first = np.ascontiguousarray(walk.x.swapaxes(0, 1)).swapaxes(0, 1)
    swapped = walk.x.astype(np.dtype(dtype).newbyteorder())
    for laid in (
        wide[::-2, ::2, ::3],
        whole[::-2, ::2, 1:],
        np.asfortranarray(walk.x),
        unaligned,
        batch_first,
        swapped,
    ):
        np.testing.assert_array_equal(walk._replace(x=laid).by(kernel)[0], output)
    once = np.broadcast_to(walk.x[:, :1], walk.x.shape)
    np.testing.assert_array_equal(
        walk._replace(x=once).by(kernel)[0], walk._replace(x=np.ascontiguousarray(once)).by(kernel)[0]
    )
    one = drawn(dtype, (5, 7, 1, 33))
    laid = np.zeros((14, 10, 3), dtype)[::2, ::-2, :1].swapaxes(0, 1)
    laid[...] = one.x
    np.testing.assert_array_equal(one._replace(x=laid).by(kernel)[0], one.check(kernel))


@EACH_KERNEL
@EACH_DTYPE
def test_layouts_of_the_initial_states(kernel: str, dtype: str) -> None:
    walk = drawn(dtype, (5, 7, 19, 33), "fb")
    output = walk.check(kernel)
    for n in range(2):
        wide = np.zeros((14, 66), dtype)
        wide[::2, ::-2] = walk.h_0[n]
        for laid in (wide[::2, ::-2], np.asfortranarray(walk.h_0[n])):
            states = [laid if n == place else h_0 for place, h_0 in enumerate(walk.h_0)]
            found, _ = walk._replace(h_0=states).by(kernel)
            np.testing.assert_allclose(found, output, rtol=0, atol=0 if kernel != "off" else 1e-6)


@EACH_KERNEL
def test_a_stream_goes_on_from_states_of_any_layout(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, kernel)
    rnn, draw = rb.RNN.init(4, 5, num_layers=2), np.random.default_rng(0)
    x, states = draw.normal(size=(2, 3, 4)).astype("f"), draw.normal(size=(2, 3, 5)).astype("f")
    wanted, _ = rnn(x, states)
    for laid in (np.asfortranarray(states), np.repeat(states, 2, axis=2)[..., ::2]):
        stream = rnn.stream(batch_size=3)
        stream.reset(laid)
        np.testing.assert_allclose(stream(x), wanted, rtol=0, atol=1e-6)


@EACH_KERNEL
@EACH_DTYPE
def test_every_feature_of_a_model(kernel: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_numpy = numpy_backend.by_numpy

    def of_other_cells(layer: rb.Layer, *rest: Any) -> Any:
        assert not any(isinstance(cell, rb.Cell) for cell, _ in layer.cells)
        return by_numpy(layer, *rest)

    monkeypatch.setenv(choice.VARIABLE, kernel)
    if kernel != choice.OFF:
        monkeypatch.setattr(numpy_backend, "by_numpy", of_other_cells)
    for name, case in cases(dtype).items():
        got = rb.RNN(case.layers).to("numpy")(case.x, case.h_0, lengths=case.lengths, mask=case.mask)
        for actual, wanted in zip(flat(got), flat(reference(*case, dtype=dtype)), strict=True):
            assert excess(actual, wanted) <= 1.0, name


@EACH_KERNEL
def test_two_directions_of_different_sizes(kernel: str) -> None:
    for sizes in ((5, 33), (33, 5), (100, 64)):
        one, two = (drawn("float32", (6, 5, 9, size), ragged=True) for size in sizes)
        (forward, _), (backward, _) = one.layer.cells[0], two.layer.cells[0]
        Walk(rb.Layer(forward, backward), one.x, [*one.h_0, *two.h_0], one.lengths).check(kernel)
