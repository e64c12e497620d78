"""The numba backend: every path of the compiled walk, against the float64 reference."""

import ctypes
import gc
import mmap
import os
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise, product
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.cli.info import library_version
from rnn_backends.core.activations import ACTIVATIONS
from rnn_backends.core.arrays import Host
from rnn_backends.testing import cases, excess, reference
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.conformance import flat

pytest.importorskip("numba")

from numba import config
from ulp import WIDER, all_float32, errors, some_float64, worst

from rnn_backends.backends import numba, numpy
from rnn_backends.backends.compiled.activate import NUMBERS, activate
from rnn_backends.backends.compiled.product import VECTOR, panel_width, panels
from rnn_backends.backends.compiled.walk import BLOCK, kernel

PACKAGE = Path(rb.__file__).parent
DTYPES = ("float32", "float64")
BATCHES = (1, 2, 4, 8, 12, 5, 7, 13, 25, 31)
SIZES = (1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 130)

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
both_ways = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def check(states: Host, last: Host, cell: rb.Cell, x: Host, h_0: Host, lengths: Host | None, reverse: bool) -> None:
    """Compare the states with the reference; the last ones are among them, bit for bit."""
    ends = [len(x)] * x.shape[1] if lengths is None else lengths.tolist()
    layer = rb.Layer(backward=cell) if reverse else rb.Layer(cell)
    output, h_n = reference([layer], x, h_0[None], ends, dtype=h_0.dtype.name)
    assert states.dtype == last.dtype == h_0.dtype
    assert excess(states, output) <= 1.0
    assert excess(last[None], h_n) <= 1.0
    for b, end in enumerate(ends):
        assert not states[end:, b].any()
        np.testing.assert_array_equal(last[b], h_0[b] if end == 0 else states[0 if reverse else end - 1, b])


def walk(cell: rb.Cell, x: Host, h_0: Host, lengths: Host | None = None, reverse: bool = False) -> tuple[Host, Host]:
    """Return the states and the last of them, which compiled code must have made."""
    assert numba.prepare(cell, takes_ids=False) is not None
    walked = numba.walk_cell(cell, x, h_0, lengths, reverse)
    assert walked is not None
    return walked


def walk_and_check(cell: rb.Cell, x: Host, h_0: Host, lengths: Host | None = None, reverse: bool = False) -> None:
    check(*walk(cell, x, h_0, lengths, reverse), cell, x, h_0, lengths, reverse)


def drawn(dtype: str, shape: tuple[int, int, int, int], **options: Any) -> tuple[rb.Cell, Host, Host]:
    """Return a cell, inputs and initial states for (seq_len, batch, input_size, hidden_size)."""
    seq_len, batch, input_size, hidden_size = shape
    draw = Draw(dtype, 0)
    cell = draw.cell(input_size, hidden_size, **options)
    return cell, draw.normal(seq_len, batch, input_size), draw.normal(batch, hidden_size, scale=0.5)


def drawn_lengths(seq_len: int, batch: int) -> Host:
    return np.random.default_rng(batch).integers(0, seq_len + 1, batch)


# Sizes.


@both_dtypes
@pytest.mark.parametrize("hidden_size", SIZES)
def test_sizes_around_a_panel(dtype: str, hidden_size: int) -> None:
    for turn, input_size in enumerate(SIZES):
        batch = BATCHES[(turn + hidden_size) % len(BATCHES)]
        case = drawn(dtype, (3, batch, input_size, hidden_size), bias=turn % 2 == 0)
        walk_and_check(*case, reverse=turn % 3 == 0)


@both_dtypes
@both_ways
@pytest.mark.parametrize("batch", BATCHES)
def test_groups_of_sequences(dtype: str, batch: int, reverse: bool) -> None:
    for hidden_size in (1, 33, 3 * panel_width(dtype) + 5):
        options: dict[str, Any]
        for options in ({}, {"clip": 0.375}, {"leak": 0.25}, {"clip": 0.5, "leak": 0.75, "bias": False}):
            case = drawn(dtype, (4, batch, 19, hidden_size), **options)
            walk_and_check(*case, reverse=reverse)
            walk_and_check(*case, drawn_lengths(4, batch), reverse)


@both_dtypes
@both_ways
def test_several_blocks_of_time(dtype: str, reverse: bool) -> None:
    case = drawn(dtype, (70, 31, 9, 130))
    assert BLOCK // (31 * 130) < 70 / 2
    walk_and_check(*case, drawn_lengths(70, 31), reverse)
    walk_and_check(*case, None, reverse)


@both_dtypes
def test_nothing_to_walk(dtype: str) -> None:
    for seq_len, batch in ((0, 3), (5, 0), (0, 0)):
        for reverse in (False, True):
            cell, x, h_0 = drawn(dtype, (seq_len, batch, 4, 5))
            states, last = walk(cell, x, h_0, None, reverse)
            assert states.shape == (seq_len, batch, 5)
            np.testing.assert_array_equal(last, h_0)


COMPILED = [
    name
    for name in cases("float32")
    if "leak by unit" not in name and (not name.startswith("activation ") or name.split()[1] in NUMBERS)
]
"""The features but for the activations, and the leaks, that are not compiled."""


@both_dtypes
@pytest.mark.parametrize("feature", COMPILED)
def test_every_feature_in_compiled_code(dtype: str, feature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases(dtype)[feature]
    rnn = rb.RNN(case.layers).to("numba")  # the backend of NumPy is made by now, and keeps its own
    monkeypatch.setattr(numpy, "walk_cell", None)  # not even for a part of it
    got = rnn(case.x, case.h_0, lengths=case.lengths, mask=case.mask)
    for actual, wanted in zip(flat(got), flat(reference(*case, dtype=dtype)), strict=True):
        assert excess(actual, wanted) <= 1.0


@both_dtypes
@pytest.mark.parametrize("ids", ["int32", "int64"])
def test_token_ids(dtype: str, ids: str) -> None:
    for batch in BATCHES:
        cell, _, h_0 = drawn(dtype, (5, batch, 37, 33), bias=batch % 2 == 0)
        x = np.random.default_rng(batch).integers(0, 37, (5, batch)).astype(ids)
        for reverse in (False, True):
            walk_and_check(cell, x, h_0, drawn_lengths(5, batch), reverse)


@both_dtypes
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_sequences_of_a_group_do_not_touch(dtype: str, poison: float) -> None:
    cell, x, h_0 = drawn(dtype, (4, 15, 17, 33), activation="relu")
    clean, _ = walk(cell, x, h_0)
    for b in range(15):
        x_b, others = x.copy(), np.arange(15) != b
        x_b[1, b, 3] = poison
        states, _ = walk(cell, x_b, h_0)
        np.testing.assert_array_equal(states[:, others], clean[:, others])
        assert not np.isfinite(states[1:, b]).all(axis=-1).any()
        np.testing.assert_array_equal(states[0], clean[0])


# Activations.

CONSTANTS = (0.0, 2.0**-10, 0.75, -1.25, 1000.0)
PARAMETERS: dict[str, list[tuple[float | None, float | None]]] = {
    **{name: [(alpha, None) for alpha in CONSTANTS] for name in ("leaky_relu", "thresholded_relu", "elu")},
    **{name: list(product(CONSTANTS, CONSTANTS)) for name in ("affine", "scaled_tanh", "hard_sigmoid")},
}
ULPS = {"sigmoid": 3.5, "scaled_tanh": 4.0, "elu": 3.5, "tanh": 2.0, "softsign": 2.0}  # of the others: 1


def arguments(dtype: str) -> Host:
    info = np.finfo(dtype)
    values = [0.0, 1.0, 2.0, 9.1, 19.1, 89.0, 104.0, 710.0, 746.0, 1000.0, 1e30, info.max, np.inf]
    tiny = [info.smallest_subnormal, 5 * info.smallest_subnormal, info.tiny, 3 * info.tiny, 1e-30, info.eps, 1e-3]
    random = np.random.default_rng(0)
    positive = np.concatenate(
        [values, tiny, random.uniform(0, 30, 5000), random.uniform(0, 800, 2000), 2.0 ** random.uniform(-20, 6, 5000)]
    )
    return np.concatenate([positive, -positive, [np.nan]]).astype(dtype)


@both_dtypes
@pytest.mark.parametrize("name", NUMBERS)
def test_activations(dtype: str, name: str) -> None:
    z, of, tiny = arguments(dtype), np.dtype(dtype).type, float(np.finfo(dtype).smallest_subnormal)
    for alpha, beta in PARAMETERS.get(name, [(None, None)]):
        actual, a, b = z.copy(), abs(alpha or 0.0), abs(beta or 0.0)
        activate(NUMBERS[name], of(alpha or 0.0), of(beta or 0.0), actual, np.uint64(0), np.uint64(actual.size))
        with np.errstate(all="ignore"):
            truth = rb.Activation(name, alpha, beta)(z.astype(WIDER[dtype]))
            least: Any = tiny * max(a, 1.0)  # what a product with alpha makes of the last subnormal
            if name == "affine":
                least = np.spacing(
                    np.minimum(a * abs(z) + of(b), np.finfo(dtype).max)
                )  # of the terms, which may cancel
            elif name == "hard_sigmoid":
                least = np.spacing(of(1.0 + b))
            off = errors(actual, truth, np.nan_to_num(least, nan=tiny))
        assert off.max() <= ULPS.get(name, 1.0), (alpha, beta, z[off.argmax()], off.max())


def test_what_is_compiled_is_in_the_table() -> None:
    assert {"tanh", "relu", "sigmoid"} < set(NUMBERS) < set(ACTIVATIONS)


def compiled_tanh(x: Host) -> Host:
    z = x.copy()
    activate(NUMBERS["tanh"], x.dtype.type(0), x.dtype.type(0), z, np.uint64(0), np.uint64(z.size))
    return z


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_within_two_units_in_the_last_place(dtype: str) -> None:
    xs = all_float32(stride=8191, first=5) if dtype == "float32" else some_float64(50_000)
    assert worst(compiled_tanh, np.tanh, xs).error <= 2.0
    ends = compiled_tanh(np.array([-np.inf, -1000, -20, -0.0, 0.0, 20, 1000, np.inf], dtype))
    np.testing.assert_array_equal(ends, [-1, -1, -1, 0, 0, 1, 1, 1])
    assert np.signbit(ends).tolist() == [True] * 4 + [False] * 4


# Memory.


def between_guards(dtype: str) -> None:
    """Walk in arrays that begin or end where touching the next byte kills the process; to be run in one of its own."""
    maps = []

    def guarded(array: Host, at_end: bool) -> Host:
        page = mmap.PAGESIZE
        room = -(-max(array.nbytes, 1) // page) * page
        memory = mmap.mmap(-1, room + 2 * page)
        maps.append(memory)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        libc = ctypes.CDLL(None, use_errno=True)
        for guard in (start, start + page + room):
            assert libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0
        copy = np.frombuffer(memory, array.dtype, array.size, page + (room - array.nbytes if at_end else 0))
        copy[...] = array.reshape(-1)
        return copy.reshape(array.shape)

    for shape in ((3, 1, 1, 1), (2, 1, 33, 65), (3, 13, 17, 33), (2, 7, 16, 16), (2, 31, 5, 47), (3, 12, 64, 130)):
        cell, x, h_0 = drawn(dtype, shape, activation="identity")
        lengths = drawn_lengths(*shape[:2])
        for at_end in (False, True):
            for reverse in (False, True):
                states = np.full((shape[0] + 1, *h_0.shape), np.nan, dtype)
                states[-1 if reverse else 0] = h_0
                prepared = numba.prepare(cell, takes_ids=False)
                assert prepared is not None
                arrays = (states, x.reshape(-1), *prepared.weights, lengths)
                states, *others = (guarded(array, at_end) for array in arrays)
                prepared.walk(states, *others, reverse, *prepared.options, 0, len(h_0))
                check(*numba.finished(states, lengths, reverse), cell, x, h_0, lengths, reverse)


def run_python(code: str, **environment: str) -> None:
    folders = (PACKAGE.parent, Path(__file__).parent, Path(__file__).parents[1] / "benchmarks")
    path = os.pathsep.join(map(str, folders))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1", **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
@both_dtypes
def test_memory_outside_of_the_arrays_is_not_touched(dtype: str) -> None:
    run_python(f"import test_numba; test_numba.between_guards({dtype!r})")


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
@pytest.mark.parametrize("vector", [16, 32])
def test_narrower_vectors(vector: int, tmp_path: Path) -> None:
    """What a processor without AVX-512, or without AVX, would be given, on this one."""
    code = f"""
from rnn_backends.backends.compiled import product
product.VECTOR, product.GROUPS = {vector}, (4, 2, 1)
import test_numba
assert test_numba.panel_width("float32") == {vector} // 2
test_numba.between_guards("float32")
for batch in test_numba.BATCHES:
    test_numba.test_groups_of_sequences("float32", batch, True)
"""
    run_python(code, NUMBA_CACHE_DIR=str(tmp_path))


@both_dtypes
@both_ways
def test_a_part_of_the_sequences_leaves_the_others_alone(dtype: str, reverse: bool) -> None:
    cell, x, h_0 = drawn(dtype, (5, 16, 19, 33))
    prepared = numba.prepare(cell, takes_ids=False)
    assert prepared is not None
    states = np.full((6, 16, 33), 7.0, dtype)
    states[-1 if reverse else 0] = h_0
    no_lengths = np.empty(0, np.int64)
    prepared.walk(states, x.reshape(-1), *prepared.weights, no_lengths, reverse, *prepared.options, 3, 10)
    output = states[:-1] if reverse else states[1:]
    assert (output[:, :3] == 7.0).all()
    assert (output[:, 10:] == 7.0).all()
    check(*numba.finished(states[:, 3:10], None, reverse), cell, x[:, 3:10], h_0[3:10], None, reverse)


@both_dtypes
def test_every_layout_of_arguments(dtype: str) -> None:
    cell, x, h_0 = drawn(dtype, (5, 7, 19, 33))
    wide, tall = np.zeros((10, 14, 57), dtype), np.zeros((14, 66), dtype)
    wide[::-2, ::2, ::3], tall[::2, ::-2] = x, h_0
    memory = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = memory[1:].view(dtype).reshape(x.shape)
    unaligned[...] = x
    assert not unaligned.flags.aligned
    read_only = x.copy()
    read_only.flags.writeable = False
    gaps = np.repeat(x, 2, axis=-1)[..., ::2]  # of one stride, which a reshape leaves there
    bias = np.zeros(66, dtype)
    bias[::-2] = cell.bias
    odd = replace(cell, weight_ih=np.asfortranarray(cell.weight_ih), bias=bias[::-2])
    large = np.zeros((66, 99), dtype)
    large[::2, ::-3] = cell.weight_hh
    odd = replace(odd, weight_hh=large[::2, ::-3])
    for laid in (wide[::-2, ::2, ::3], np.asfortranarray(x), unaligned, read_only, gaps):
        for state in (tall[::2, ::-2], np.asfortranarray(h_0)):
            check(*walk(odd, laid, state), cell, x, h_0, None, False)


def test_panels() -> None:
    for dtype in DTYPES:
        width, draw = panel_width(dtype), Draw(dtype, 0)
        for outputs in SIZES:
            weight = draw.normal(outputs, 3)
            arranged = panels(weight)
            assert arranged.shape == (-(-outputs // width), 3, width)
            assert arranged.ctypes.data % VECTOR == 0
            rows = arranged.transpose(0, 2, 1).reshape(-1, 3)
            np.testing.assert_array_equal(rows[:outputs], weight)
            assert not rows[outputs:].any()


# Threads.


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have so many threads walk whatever there is."""

    def use(count: int) -> None:
        monkeypatch.setattr(numba, "PARALLEL", 1)
        monkeypatch.setattr(config, "NUMBA_NUM_THREADS", count)

    return use


def test_shares(threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "NUMBA_NUM_THREADS", 64)
    assert numba.shares(100, 64, 32) == [(0, 64)]
    assert len(numba.shares(16, 128, 512)) == 16 * 128 * 512 * 512 // numba.PARALLEL == 16
    for count in (1, 2, 3, 5):
        threads(count)
        for batch in range(1, 40):
            parts = numba.shares(9, batch, 4)
            assert [b for part in parts for b in range(*part)] == list(range(batch))
            assert len(parts) == max(1, min(count, batch // numba.FEWEST))
            assert batch < numba.FEWEST or min(last - first for first, last in parts) >= numba.FEWEST


@both_dtypes
@both_ways
def test_several_threads(dtype: str, reverse: bool, threads: Callable[[int], None]) -> None:
    for batch, count in ((8, 2), (13, 3), (31, 4)):
        case = drawn(dtype, (6, batch, 19, 33))
        for lengths in (None, drawn_lengths(6, batch)):
            threads(count)
            assert len(numba.shares(6, batch, 33)) == count
            walk_and_check(*case, lengths, reverse)


@both_dtypes
@both_ways
def test_parts_of_a_batch_by_length(dtype: str, reverse: bool, threads: Callable[[int], None]) -> None:
    lengths, h_0 = np.arange(70) * 7 % 9, np.empty((70, 33))
    assert numba.parts_by_length(lengths, h_0) == []
    threads(2)
    parts = numba.parts_by_length(lengths, h_0)
    assert [len(part) for part in parts] == [16, 16, 16, 22]
    assert all(lengths[long].min() >= lengths[short].max() for long, short in pairwise(parts))
    assert [len(part) for part in numba.parts_by_length(np.ones(64, int), h_0)] == [16] * 4
    assert numba.parts_by_length(np.ones(63, int), h_0) == []
    for ends in (lengths, np.where(np.arange(70) < 20, lengths, 0), np.zeros(70, int)):
        walk_and_check(*drawn(dtype, (9, 70, 19, 33)), ends, reverse)
    cell, _, state = drawn(dtype, (9, 70, 19, 33))
    walk_and_check(cell, np.random.default_rng(0).integers(0, 19, (9, 70)), state, lengths, reverse)


def test_works_are_done_at_once_and_their_errors_raised(threads: Callable[[int], None]) -> None:
    threads(2)
    met, both = [], Barrier(2)

    def fail() -> None:
        raise ZeroDivisionError

    numba.in_parallel([lambda: met.append(both.wait(timeout=10))] * 2)
    assert sorted(met) == [0, 1]
    with pytest.raises(ZeroDivisionError):
        numba.in_parallel([fail, fail])


@both_dtypes
def test_a_model_serves_several_threads(dtype: str) -> None:
    case = Draw(dtype, 0).case(shape=(40, 5, 19, 65), sides="fb", layers=2, h_0=True)
    wanted = reference(*case, dtype=dtype)
    rnn, start = rb.RNN(case.layers).to("numba"), Barrier(4)  # of which nothing is prepared yet

    def call() -> list[tuple[Host, Host]]:
        start.wait()
        return [rnn(case.x, case.h_0) for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(call) for _ in range(4)]:
            for got in future.result():
                assert [excess(actual, bound) <= 1 for actual, bound in zip(got, wanted, strict=True)] == [True, True]


# What is kept.


@both_dtypes
@pytest.mark.parametrize("name", ["weight_ih", "weight_hh", "bias"])
def test_weights_that_can_change_are_read_again(dtype: str, name: str) -> None:
    cell, x, h_0 = drawn(dtype, (3, 5, 17, 33))
    for other in {"weight_ih", "weight_hh", "bias"} - {name}:
        getattr(cell, other).flags.writeable = False
    walk_and_check(cell, x, h_0)
    weight = getattr(cell, name)
    weight[...] = -0.5 * weight
    walk_and_check(cell, x, h_0)
    assert cell not in numba._prepared


@both_dtypes
def test_what_is_prepared_of_a_model_lives_as_long_as_it(dtype: str) -> None:
    case = Draw(dtype, 0).case(sides="fb")
    rnn = rb.RNN(case.layers).to("numba")
    first = rnn(case.x)[0]
    ((forward, _), (backward, _)) = rnn.layers[0].cells
    assert isinstance(forward, rb.Cell)
    assert isinstance(backward, rb.Cell)
    kept = numba._prepared[forward]
    assert numba._prepared[backward] is not kept
    np.testing.assert_array_equal(rnn(case.x)[0], first)
    assert numba._prepared[forward] is kept
    panels_alive, cells_alive = weakref.ref(kept.weights[2]), weakref.ref(forward)
    del kept, forward, backward, rnn
    gc.collect()
    assert cells_alive() is None
    assert panels_alive() is None


@both_dtypes
def test_compiled_code_is_kept_on_disk(dtype: str) -> None:
    compiled = kernel(dtype)
    assert kernel(dtype) is compiled
    assert list(Path(compiled.stats.cache_path).glob("walk.walk-*.nbi"))


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    """Folders are files here, for nothing is read-only to root."""
    copy = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "backends" / "compiled" / "__pycache__").touch()
    home = tmp_path / "home"
    home.touch()
    code = f"""
import os
for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)
import rnn_backends as rb
assert rb.__file__.startswith({str(copy)!r})
from test_numba import *
assert not hasattr(kernel("float32").stats, "cache_path") or kernel("float32").stats.cache_path is None
walk_and_check(*drawn("float32", (4, 13, 19, 33)))
"""
    run_python(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}", HOME=str(home), LOCALAPPDATA=str(home),
        PYTHONDONTWRITEBYTECODE="1",
    )  # fmt: skip
    assert not [*tmp_path.rglob("*.nbi"), *tmp_path.rglob("*.nbc")]


# What is left to others.


@both_dtypes
@pytest.mark.parametrize(
    "activation",
    ["softplus", "softmax", "log_softmax", lambda z: z / (1.0 + abs(z))],
    ids=["softplus", "softmax", "log_softmax", "callable"],
)
def test_what_is_not_compiled_is_walked_by_numpy(dtype: str, activation: Any) -> None:
    cell, x, h_0 = drawn(dtype, (5, 3, 4, 7), activation=activation, clip=0.5, leak=0.75)
    assert numba.prepare(cell, takes_ids=False) is None
    for lengths in (None, np.array([5, 0, 2])):
        for reverse in (False, True):
            walked = numba.walk_cell(cell, x, h_0, lengths, reverse)
            wanted = numpy.walk_cell(cell, x, h_0, lengths, reverse)
            assert walked is not None
            assert wanted is not None
            for got, other in zip(walked, wanted, strict=True):
                np.testing.assert_array_equal(got, other)


def test_a_subclass_of_the_cell_is_declined() -> None:
    class Other(rb.Cell):
        pass

    cell, x, h_0 = drawn("float32", (5, 3, 4, 7))
    other = Other(cell.weight_ih, cell.weight_hh, cell.bias)
    assert numba.walk_cell(other, x, h_0, None, False) is None
    assert numba.walk_cell(cell, x, h_0.astype(np.float16), None, False) is None


def test_half_precision_is_that_of_the_numpy_backend() -> None:
    case = Draw("float16", 0).case(sides="fb", layers=2, h_0=True, lengths=[7, 0, 3])
    got, wanted = (rb.RNN(case.layers).to(name)(case.x, case.h_0, lengths=case.lengths) for name in ("numba", "numpy"))
    for actual, other in zip(got, wanted, strict=True):
        assert actual.dtype == np.float16
        np.testing.assert_array_equal(actual, other)


def test_backend_is_numpys_but_for_the_recurrence(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, other = rb.get_backend("numba"), rb.get_backend("numpy")
    assert backend.name == "numba"
    assert library_version(backend) == version("numba")
    assert backend.dtypes() == other.dtypes()
    prepared = []
    monkeypatch.setattr(numba, "prepare", lambda *arguments: prepared.append(arguments))
    assert isinstance(rb.RNN.init(3, 4, backend="numba")(np.ones((2, 3)))[0], np.ndarray)
    assert len(prepared) == 1


def test_one_sequence_and_weights_that_no_cache_holds(threads: Callable[[int], None]) -> None:
    """Several threads of BLAS are faster then, and NumPy's recurrence uses them."""
    case = Draw("float32", 0).case(shape=(3, 1, 5, 520), h_0=True)
    rnn = rb.RNN(case.layers).to("numba")
    results = []
    for count in (1, 2):
        threads(count)
        cell, h_0 = rnn.layers[0].cells[0][0], np.zeros((1, 520), np.float32)
        assert isinstance(cell, rb.Cell)
        assert numba.is_faster_by_blas(cell, h_0) == (count > 1)
        results.append(rnn(case.x, case.h_0)[0])
    wanted = reference(*case, dtype="float32")[0]
    assert [excess(result, wanted) <= 1 for result in results] == [True, True]


def test_the_weights_of_a_vocabulary_are_not_kept_twice() -> None:
    rnn = rb.RNN.init(500, 8, backend="numba")
    ids, cell = np.arange(40).reshape(20, 2), rnn.layers[0].cells[0][0]
    assert isinstance(cell, rb.Cell)
    one_hot = np.eye(500, dtype=np.float32)[ids]
    for _ in range(2):
        of_ids = rnn(ids)[0]
        assert numba._prepared[cell].weights[0].size == 0
        np.testing.assert_allclose(of_ids, rnn(one_hot)[0], rtol=0, atol=1e-6)
        assert numba._prepared[cell].weights[0].size >= 500 * 8
