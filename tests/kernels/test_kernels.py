"""The GPU kernels, their plans and what launches them, run on a CPU by the shim: `pytest --kernels`."""

import dataclasses
import gc
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import device_standin
import ml_dtypes  # noqa: F401  # gives NumPy bfloat16
import numpy as np
import pytest
import shim
import standin
from gpu_walks import (
    PROBLEMS,
    SMALL,
    arrays,
    by,
    drawn,
    launch,
    module,
    on_device,
    plans_of,
    sampled,
    walked,
    worst,
    wrong,
)
from pieces import pieces_differ

import rnn_backends as rb
from rnn_backends.backends.cuda_kernels.plan import PLANS, REGIMES, Plan
from rnn_backends.backends.cuda_kernels.sources import ELEMENTWISE, ENTRIES
from rnn_backends.backends.cuda_kernels.tile import Problem
from rnn_backends.core.activations import ACTIVATIONS
from rnn_backends.core.arrays import HALF
from rnn_backends.core.network import Network
from rnn_backends.testing import BackendConformance, Case, cases, excess, records, reference
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.records import Record, linear

DTYPES = ("float32", "float64", "float16", "bfloat16")
BY_NAME = ("grid", "sweep", "step")  # the conformance class runs the fourth, which is chosen without a name
SEEDS = (1, 2, 3, 4, 5)

every_regime = pytest.mark.parametrize("regime", REGIMES)


@pytest.fixture(scope="module", autouse=True)
def cupy(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    if not request.config.getoption("--kernels"):
        pytest.skip("the kernels are run with --kernels, which needs g++ and takes a minute or two")
    with standin.installed() as module:
        yield module
    shim.clear()


@pytest.fixture(scope="module")
def trusted(cupy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder in which all kernels have passed their checks."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNN_CACHE_DIR", str(folder))
        standin.trust()
    return folder


@pytest.fixture(autouse=True)
def afresh(monkeypatch: pytest.MonkeyPatch, trusted: Path) -> Iterator[None]:
    monkeypatch.delenv("RNN_CUPY_KERNEL", raising=False)
    monkeypatch.setenv("RNN_CACHE_DIR", str(trusted))
    monkeypatch.delenv("CUPY_TF32", raising=False)
    standin.RawKernel.seed = 1
    standin.RawKernel.launches.clear()
    yield
    standin.resident = 1


class TestConformance(BackendConformance):
    """The whole of it, on a device that is not the current one."""

    backend = "cupy:1"


@pytest.mark.parametrize("regime", BY_NAME)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_feature(regime: str, dtype: str, thorough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not thorough and (BY_NAME.index(regime) + DTYPES.index(dtype)) % 2:
        pytest.skip("a sample: every regime with two dtypes, every dtype with two regimes")
    monkeypatch.setenv("RNN_CUPY_KERNEL", regime)
    for feature, case in cases(dtype).items():
        standin.RawKernel.launches.clear()
        assert worst(case, dtype) <= 1.0, feature
        is_known = not feature.startswith("activation ") or feature.split()[1] in ELEMENTWISE
        is_taken = case.x.size and is_known and "leak by unit" not in feature
        assert set(standin.RawKernel.launches) == ({ENTRIES[regime]} if is_taken else set()), feature


def test_every_elementwise_activation_is_there() -> None:
    assert {f"activation {name}" for name in ELEMENTWISE} < set(cases("float32"))


def test_an_activation_that_no_kernel_has_runs_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTIVATIONS, "doubled", lambda z: 2.0 * z)
    case = Draw("float32", 0).case(h_0=True, activation="doubled")
    got = rb.RNN(case.layers).to("cupy:1")(case.x, case.h_0)
    linear = Draw("float32", 0).case(h_0=True, activation=rb.Activation("affine", 2.0, 0.0))
    for actual, wanted in zip(got, reference(*linear, dtype="float32"), strict=True):
        assert excess(rb.to_numpy(actual), wanted) <= 1.0
    assert not standin.RawKernel.launches


# Plans of every kind, also those that would not be chosen, in five adversarial orders.


@pytest.mark.parametrize("name", PROBLEMS)
def test_plans(name: str, thorough: bool) -> None:
    directions, tokens, plans = sampled(name)
    cells, x, h_0 = drawn(name, tokens, directions)
    lengths = np.random.default_rng(0).integers(0, len(x) + 1, x.shape[1])
    for number, plan in enumerate(plans):
        reverse, ends = directions == 1 and number % 2 == 1, lengths if number % 3 else None
        for standin.RawKernel.seed in SEEDS if thorough and plan.regime != "step" else [SEEDS[number % len(SEEDS)]]:
            found = walked(plan, cells, x, h_0, ends, reverse)
            assert wrong(found, cells, x, h_0, ends, reverse) <= 1.0, (plan, standin.RawKernel.seed)


def test_plans_of_all_kinds_are_run() -> None:
    """So that the problems above leave no path of a kernel out."""
    all_plans = [(plan, PROBLEMS[name][1]) for name in PROBLEMS for plan in sampled(name)[2] if plan.regime != "step"]
    for regime in ("block", "grid", "sweep"):
        mine = [(plan, dtype) for plan, dtype in all_plans if plan.regime == regime and not plan.on_tensor_cores]
        assert {plan["SEQUENCES"] for plan, _ in mine} == {1, 2, 4}
        assert {plan["DIRECTIONS"] for plan, _ in mine} == {1, 2}
        assert len({plan["ROWS"] for plan, _ in mine}) >= 4
        assert {dtype for _, dtype in mine} == {"float16", "bfloat16", "float32", "float64"}
        states = [2 * plan["SEQUENCES"] * plan["COLUMNS"] * (8 if dtype == "float64" else 4) for plan, dtype in mine]
        assert any(plan.shared > only for (plan, _), only in zip(mine, states, strict=True)), (
            "no weights in shared memory"
        )
    blocks = [plan for plan, _ in all_plans if plan.regime == "block"]
    assert {plan["STAGED"] for plan in blocks if plan["FUSED"]} == {1, 2}
    assert not all(plan["FUSED"] for plan in blocks)
    assert {plan.threads for plan in blocks} == {128, 256, 384}
    tensors = [(plan, dtype) for plan, dtype in all_plans if plan.on_tensor_cores]
    assert {dtype for _, dtype in tensors} == set(HALF)
    for macro, values in {"SEQUENCES": {16, 32}, "DIRECTIONS": {1, 2}, "PARTS": {1, 2, 3}}.items():
        assert {plan[macro] for plan, _ in tensors} == values
    assert len({plan["BLOCK_ROWS"] for plan, _ in tensors}) >= 3
    grids = [plan for plan, _ in all_plans if plan.regime == "grid"]
    for some in (grids, [plan for plan, _ in tensors]):
        assert any(plan.sequences > plan["SEQUENCES"] for plan in some)
        assert any(plan.blocks > plan["DIRECTIONS"] * plan["SLICES"] > 2 for plan in some)


# Memory.


@every_regime
@pytest.mark.parametrize("tokens", [False, True], ids=["features", "tokens"])
def test_memory_outside_of_the_arrays(regime: str, tokens: bool, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not written, and NaN in it does not show."""
    whole: list[Any] = []

    def guarded(host: Any) -> Any:
        room = np.full(host.size + 256, np.nan if host.dtype.kind == "f" else 10**4).astype(host.dtype)
        whole.append(room)
        inner = room[128:-128].reshape(host.shape)
        inner[...] = host
        return standin.Array(inner)

    monkeypatch.setattr(cupy, "empty", lambda shape, dtype=None: guarded(np.zeros(shape, dtype)), raising=False)
    for name in ("tiny", "two_to_a_row", "half", "wide_float64", "tensor"):
        cells, x, h_0 = drawn(name, tokens, directions=2)
        placed = []
        for cell in map(on_device, cells):
            weights = {part: guarded(getattr(cell, part).get()) for part in ("weight_ih", "weight_hh", "bias")}
            placed.append(dataclasses.replace(cell, **weights))
        lengths = np.arange(x.shape[1]) % (len(x) + 1)
        plans = [plan for plan in plans_of(name, 2, tokens) if plan.regime == regime]
        for plan in [*plans[:2], *[plan for plan in plans if plan.on_tensor_cores][:1]]:  # the second is fused
            found = by(plan, placed, guarded(x), list(map(guarded, h_0)), guarded(lengths))
            assert wrong(found, cells, x, h_0, lengths) <= 1.0
    for room in whole:
        edges = np.concatenate([room[:128], room[-128:]])
        assert (np.isnan(edges) if room.dtype.kind == "f" else edges == 10**4).all()


@every_regime
def test_layouts_of_the_arguments(regime: str) -> None:
    (cell,), x, h_0 = drawn("two_columns", tokens=False)
    wide = np.zeros((10, 14, 300))
    wide[::-2, ::2, ::3] = x
    starts = []
    for begin in (1, 8):  # within a number, and within what a thread loads at once
        memory = np.zeros(h_0.nbytes + begin, np.uint8)
        starts.append(memory[begin:].view(h_0.dtype).reshape(h_0.shape[1:]))
        starts[-1][...] = h_0[0]
    large = np.zeros((140, 210))
    large[::2, ::-3] = cell.weight_hh
    lengths = np.zeros(14, np.int64)
    lengths[::2] = [5, 0, 1, 2, 3, 4, 5]
    odd = dataclasses.replace(
        on_device(cell),
        weight_hh=standin.Array(large[::2, ::-3]),
        weight_ih=standin.Array(np.asfortranarray(cell.weight_ih)),
    )
    shifted = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    shifted[...] = x
    for plan in [plan for plan in plans_of("two_columns") if plan.regime == regime][:2]:
        for features, start in zip((wide[::-2, ::2, ::3], shifted), starts, strict=True):
            placed, ends = standin.Array(features), standin.Array(lengths[::2])
            found = by(plan, [odd], placed, [standin.Array(start)], ends, reverse=True)
            assert wrong(found, [cell], x, h_0, lengths[::2], True) <= 1.0


def test_an_array_that_no_kernel_can_read() -> None:
    cells, x, h_0 = drawn("tiny", tokens=False)
    memory = np.zeros(2 * h_0.nbytes + 1, np.uint8)
    strided = memory[1:].view(h_0.dtype).reshape(-1, 2)[:, 0].reshape(h_0.shape)
    with pytest.raises(rb.ArgumentError) as caught:
        launch().recurrence(rb.Layer(on_device(cells[0])), *arrays(x), [standin.Array(strided[0])], None)
    assert str(caught.value) == (
        "an array on the device must begin at a multiple of its 4 bytes or be contiguous; got one of shape (3, 5) that does "
        "neither. Make a contiguous copy where it comes from."
    )


@pytest.mark.parametrize("tokens", [False, True], ids=["features", "tokens"])
def test_weights_that_their_owner_changes(tokens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, x, h_0 = drawn("tiny", tokens, directions=2)
    strided = [dataclasses.replace(cell, weight_hh=np.asfortranarray(cell.weight_hh)) for cell in cells]
    for regime in REGIMES:
        monkeypatch.setenv("RNN_CUPY_KERNEL", regime)
        for given in (cells, strided):
            placed = [on_device(cell) for cell in given]
            layer = rb.Layer(*placed)
            launch().recurrence(layer, *arrays(x), arrays(*h_0), None)
            for cell in placed:
                cell.weight_hh.host[...] /= 2
                cell.weight_ih.host[...] /= 2
            changed = [dataclasses.replace(c, weight_ih=c.weight_ih / 2, weight_hh=c.weight_hh / 2) for c in cells]
            assert wrong(launch().recurrence(layer, *arrays(x), arrays(*h_0), None), changed, x, h_0) <= 1.0


@every_regime
@pytest.mark.parametrize(("reverse", "dtype"), [(False, "int64"), (True, "int64"), (False, "int32"), (True, "uint64")])
def test_lengths_that_are_impossible(regime: str, reverse: bool, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They make their sequences NaN, and no other."""
    monkeypatch.setenv("RNN_CUPY_KERNEL", regime)
    (cell,), x, h_0 = drawn("two_to_a_row", tokens=False)
    edges = {
        "int32": [-1, 2**31 - 1, -(2**31)],
        "int64": [2**32 + 3, -(2**32) + 3, -1],
        "uint64": [2**32 + 3, 2**63, 6],
    }
    lengths = np.array([5, edges[dtype][0], 3, 6, 0, *edges[dtype][1:], 1, 2], dtype)
    layer = rb.Layer(backward=on_device(cell)) if reverse else rb.Layer(on_device(cell))
    states, (last,) = launch().recurrence(layer, *arrays(x), arrays(*h_0), *arrays(lengths))
    bad = (lengths < 0) | (lengths > len(x))
    assert np.isnan(last.get()[bad]).all()
    assert np.isnan(states.get()[:, (lengths > len(x)) & (lengths < 2**63)]).all()
    kept = (standin.Array(states.get()[:, ~bad]), [standin.Array(last.get()[~bad])])
    assert wrong(kept, [cell], x[:, ~bad], h_0[:, ~bad], lengths[~bad], reverse) <= 1.0


@pytest.mark.parametrize("offset", [0, 4])
def test_weights_are_fetched_whole_only_where_they_begin_so(offset: int) -> None:
    (cell,), x, h_0 = drawn("whole_vectors", tokens=False)
    memory = np.zeros(cell.weight_hh.nbytes + 32, np.uint8)
    start = -memory.ctypes.data % 16 + offset
    weight = memory[start : start + cell.weight_hh.nbytes].view(np.float32).reshape(cell.weight_hh.shape)
    weight[...] = cell.weight_hh
    placed = dataclasses.replace(on_device(cell), weight_hh=standin.Array(weight))
    for plan in plans_of("whole_vectors")[:2]:
        found = by(plan, [placed], arrays(x)[0], arrays(*h_0))
        assert standin.RawKernel.latest["WHOLE"] == (offset == 0 and not plan["FUSED"])
        assert wrong(found, [cell], x, h_0) <= 1.0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_are_rounded_to_nearest(dtype: str) -> None:
    """Ties to even, of numbers that are too large and too small for them, too."""
    random = np.random.default_rng(0)
    ties = 1 + 2.0**-12 * np.arange(64)
    edges = [65519, 65520, 3.4e38, 1e-45, 5.97e-8, 2.0**-25, 0, -0.0, np.inf, np.nan]
    others = random.normal(size=400) * 2.0 ** random.integers(-40, 40, 400)
    bias = np.concatenate([ties, -ties, edges, -np.array(edges), others]).astype(np.float32)
    size = len(bias)
    cell = rb.Cell(np.zeros((size, 1), np.float32), np.zeros((size, size), np.float32), bias, activation="identity")
    x, h_0 = np.zeros((1, 1, 1), dtype), np.zeros((1, 1, size), dtype)
    with np.errstate(over="ignore"):
        wanted = bias.astype(dtype)
    for plan in PLANS["step"](Problem(1, 1, 1, size, 4), SMALL):
        states, _ = walked(plan, [cell], x, h_0)
        np.testing.assert_array_equal(states.get()[0, 0].astype(np.float32), wanted.astype(np.float32))


@pytest.mark.parametrize("ids", ["int32", "int64"])
def test_ids_that_are_out_of_range(ids: str) -> None:
    """They turn their sequence into NaN from that step on, and are never looked up."""
    cells, x, h_0 = drawn("tiny", tokens=True)
    clean = run(cells, x.astype(ids), h_0)[0].get()
    for bad in (-1, 4, np.iinfo(ids).max, np.iinfo(ids).min, *([2**32 + 1] if ids == "int64" else [])):
        mixed = x.astype(ids)
        mixed[2, 1] = bad
        states = run(cells, mixed, h_0)[0].get()
        assert np.isnan(states[2:, 1]).all()
        states[2:, 1] = clean[2:, 1]
        np.testing.assert_array_equal(states, clean)


# Waiting.


def grid_plan(name: str) -> Plan:
    is_tensor = name.startswith("tensor")
    plans = (plan for plan in plans_of(name) if plan.regime == "grid" and plan.on_tensor_cores == is_tensor)
    return next(plan for plan in plans if plan.blocks > 2)


@pytest.mark.parametrize(("name", "bits", "canonical"), [
    ("two_to_a_row", "u4", 0x7FC00000), ("two_columns", "u8", 0x7FF8000000000000), ("half", "u2", 0x7FFF), ("brain", "u2", 0x7FC0),
    ("tensor", "u2", 0x7FFF), ("tensor_parts", "u2", 0x7FC0),
])  # fmt: skip
def test_a_nan_is_never_taken_for_what_is_not_there_yet(name: str, bits: str, canonical: int) -> None:
    cells, x, h_0 = drawn(name, tokens=False)
    h_0.view(bits)[0, 0] = np.iinfo(bits).max
    lengths = np.full(x.shape[1], len(x))
    lengths[1] = 0
    states, (last,) = walked(grid_plan(name), cells, x, h_0, lengths)
    assert (states.get().view(bits)[:, 0] == canonical).all()
    assert np.isnan(last.get()[0].astype(np.float32)).all()
    assert np.isfinite(states.get()[:, 1:].astype(np.float32)).all()


def test_a_grid_that_does_not_fit_is_not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy would warn, launch fewer blocks than were asked for, and they would wait for the others."""
    standin.resident = 0
    cells, x, h_0 = drawn("two_columns", tokens=False)
    monkeypatch.setattr(launch(), "REGIMES", ("grid", "step"))
    assert wrong(run(cells, x, h_0), cells, x, h_0) <= 1.0
    assert set(standin.RawKernel.launches) == {"finish_step"}
    monkeypatch.undo()
    monkeypatch.setenv("RNN_CUPY_KERNEL", "grid")
    with pytest.raises(
        rb.ArgumentError, match="the kernel 'grid', which RNN_CUPY_KERNEL names, does not take hidden_size 70"
    ):
        run(cells, x, h_0)


@pytest.mark.parametrize("name", ["two_columns", "tensor"])
def test_no_wait_is_without_end(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module("walk"), "fits", lambda *_: True)
    monkeypatch.setattr(standin, "capacity", lambda *_: 2)
    monkeypatch.setattr(shim, "WAITS", 50)
    states, _ = walked(grid_plan(name), *drawn(name, tokens=False))
    assert np.isnan(states.get()[1:]).all()


# What is chosen, and what is declined.


def run(cells: Sequence[rb.Cell], x: Any, h_0: Any, lengths: Any = None) -> Any:
    layer = rb.Layer(*(on_device(cell) for cell in cells))
    return launch().recurrence(layer, *arrays(x), arrays(*h_0), *arrays(lengths))


@pytest.mark.parametrize("value", [None, "", *REGIMES])
def test_the_variable(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv("RNN_CUPY_KERNEL", value)
    cells, x, h_0 = drawn("tiny", tokens=False)
    assert wrong(run(cells, x, h_0), cells, x, h_0) <= 1.0
    assert set(standin.RawKernel.launches) == {ENTRIES.get(value or "", "walk_block")}


def test_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNN_CUPY_KERNEL", "off")
    assert run(*drawn("tiny", tokens=False)) is None


def test_a_variable_that_names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNN_CUPY_KERNEL", "fast")
    with pytest.raises(rb.ArgumentError) as caught:
        rb.RNN.init(3, 4, backend="cupy")([[1.0, 2.0, 3.0]])
    assert str(caught.value) == (
        "the environment variable RNN_CUPY_KERNEL must be one of off, block, grid, sweep, step; got 'fast'. Unset it."
    )


def test_a_kernel_that_cannot_take_the_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNN_CUPY_KERNEL", "block")
    with pytest.raises(rb.ArgumentError) as caught:
        run(*drawn("wide", tokens=False))
    assert str(caught.value) == (
        "the kernel 'block', which RNN_CUPY_KERNEL names, does not take hidden_size 390 with 6 sequences on this device. "
        "Unset the variable."
    )


@pytest.mark.parametrize("activation", ["softmax", "log_softmax", lambda z: z])
def test_other_activations_are_declined(activation: Any) -> None:
    (cell,), x, h_0 = drawn("tiny", tokens=False)
    assert run([dataclasses.replace(cell, activation=activation)], x, h_0) is None


def test_other_cells_and_dtypes_are_declined() -> None:
    class Other(rb.Cell):
        pass

    (cell,), x, h_0 = drawn("tiny", tokens=False)
    other = on_device(cell)
    layer = rb.Layer(on_device(cell), Other(other.weight_ih, other.weight_hh))
    assert launch().recurrence(layer, *arrays(x), arrays(h_0[0], h_0[0]), None) is None
    assert run([cell], x, h_0.astype(np.float64)) is None
    assert run([cell], drawn("tiny", tokens=True)[1].astype(np.int16), h_0) is None
    assert not standin.RawKernel.launches


@pytest.mark.parametrize("lengths", [None, [6, 0, 3]])
def test_both_directions_are_walked_at_once_if_they_are_alike(lengths: Any) -> None:
    cells, x, h_0 = drawn("tiny", tokens=False, directions=2)
    assert wrong(run(cells, x, h_0, lengths), cells, x, h_0, lengths) <= 1.0
    assert standin.RawKernel.launches == ["walk_block"]
    for options in ({"activation": "relu"}, {"clip": 0.5}, {"leak": 0.5}):
        standin.RawKernel.launches.clear()
        unlike = [cells[0], dataclasses.replace(cells[1], **options)]
        assert wrong(run(unlike, x, h_0, lengths), unlike, x, h_0, lengths) <= 1.0
        assert standin.RawKernel.launches == ["walk_block"] * 2


def test_no_room(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    error = cupy.cuda.memory.OutOfMemoryError

    def fail(*_: Any, **__: Any) -> None:
        msg = "Out of memory allocating 5,120 bytes."
        raise error(msg)

    monkeypatch.setattr(cupy, "empty", fail, raising=False)
    for directions, told in ((1, "1 direction, which are 90"), (2, "2 directions, which are 180")):
        with pytest.raises(rb.DeviceMemoryError) as caught:
            run(*drawn("tiny", tokens=False, directions=directions))
        assert isinstance(caught.value, MemoryError)
        assert str(caught.value) == (
            f"the device has no room for the states of 6 steps of 3 sequences with hidden_size 5 in {told} numbers: Out of "
            "memory allocating 5,120 bytes. Run fewer sequences at once, or fewer steps, as RNN.stream does."
        )


def test_the_device_is_that_of_the_arrays() -> None:
    (cell,), x, h_0 = drawn("tiny", tokens=False)
    with device_standin.Device(1):
        layer, placed, start = rb.Layer(on_device(cell)), *arrays(x), arrays(*h_0)
    found = launch().recurrence(layer, placed, start, None)
    assert found[0].device == device_standin.Device(1)
    assert wrong(found, [cell], x, h_0) <= 1.0


@every_regime
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_walk_in_pieces_is_the_same_walk(regime: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit: in float16 the state is rounded after every step.  tests/kernels/test_gpu.py makes a million steps of it."""
    monkeypatch.setenv("RNN_CUPY_KERNEL", regime)
    assert pieces_differ(60, 17, batch=5, dtype=dtype) == 0


def test_what_is_prepared_serves_other_shapes_and_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lives as long as the layer."""
    monkeypatch.setattr(module("walk"), "MOST_SHAPES", 2)
    cells, x, h_0 = drawn("tiny", tokens=False, directions=2)
    layer = rb.Layer(*(on_device(cell) for cell in cells))
    ids = np.random.default_rng(0).integers(0, 4, x.shape[:2])
    for steps, batch in ((6, 3), (4, 3), (6, 2), (6, 3), (1, 1)):
        for given in (x[:steps, :batch], ids[:steps, :batch], ids[:steps, :batch].astype(np.int32)):
            for lengths in (None, np.arange(batch)):
                found = launch().recurrence(layer, *arrays(given), arrays(*h_0[:, :batch]), *arrays(lengths))
                assert wrong(found, cells, given, h_0[:, :batch], lengths) <= 1.0
    assert layer in launch()._prepared
    kept = weakref.ref(layer)
    del layer, found
    gc.collect()
    assert kept() is None


def test_nothing_comes_to_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    case: Case = Draw("float32", 0).case(sides="fb", layers=2, h_0=True, lengths=[7, 0, 3])
    rnn = rb.RNN(case.layers).to("cupy:1")
    monkeypatch.setattr(standin.Array, "get", None)
    rnn(case.x, case.h_0, lengths=case.lengths)
    assert standin.RawKernel.launches == ["walk_block"] * 2


@pytest.mark.parametrize("part", [*records("float32"), "leak by unit"])
def test_nothing_of_a_whole_network_comes_to_the_host(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoder, head, what the readout reads, a leak by unit: all stays on the device, and no value is asked for."""
    here, there = (rb.RNN.init(1, 1, backend=name).placed.placement for name in ("numpy", "cupy:1"))
    if part == "leak by unit":
        draw = Draw("float32", 0)
        layers = draw.layers("fb", 2, 4, 5, leak=draw.random.random(5).astype(np.float32))
        held = Record(Network(tuple(layers), linear(draw, 10, 3)), draw.normal(7, 3, 4))
    else:
        held = records("float32")[part]
    with device_standin.Device(1):
        rnn, (x, mask) = rb.RNN.from_network(held.network, there), arrays(held.x, held.mask)
        wanted = rb.RNN.from_network(held.network, here).logits(held.x, held.h_0, lengths=held.lengths, mask=held.mask)
        with monkeypatch.context() as patch:
            patch.setattr(standin.Array, "get", None)
            logits = rnn.logits(x, held.h_0, lengths=held.lengths, mask=mask)
            rnn.predict(x, held.h_0, lengths=held.lengths, mask=mask)
        assert isinstance(logits, standin.Array)
        np.testing.assert_allclose(logits.get(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("regime", "asked"), [
    ("block", ["empty", "empty"]),  # features are multiplied by the kernel
    ("grid", ["gemm", "empty", "empty", "empty"]),
    ("sweep", ["gemm", "empty", "empty"]),
    ("step", ["gemm", "gemm", "gemm", "empty", "empty", "empty"]),
])  # fmt: skip
def test_a_call_asks_little_of_cupy(regime: str, asked: list[str], cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside launches: memory, and cuBLAS itself.  Each function of CuPy's takes the host 1 to 10 us."""
    monkeypatch.setenv("RNN_CUPY_KERNEL", regime)
    cells, x, h_0 = drawn("two_columns", tokens=False)
    layer, placed = rb.Layer(on_device(cells[0])), (*arrays(x[:2]), arrays(*h_0), None)
    launch().recurrence(layer, *placed)
    found: list[str] = []
    cublas = standin.cublas()
    function, gemm_ex = type(cupy).__getattr__, cublas.gemmEx

    def asked_for(self: Any, name: str) -> Any:
        found.append(name)
        return function(self, name)

    def gemm(*given: Any) -> None:
        found.append("gemm")
        gemm_ex(*given)

    monkeypatch.setattr(type(cupy), "__getattr__", asked_for)
    monkeypatch.setattr(cublas, "gemmEx", gemm)
    standin.RawKernel.launches.clear()
    launch().recurrence(layer, *placed)
    assert sorted(found) == sorted(asked)
    assert len(standin.RawKernel.launches) == (2 if regime in {"sweep", "step"} else 1)


@pytest.mark.parametrize(("value", "compute"), [(None, 68), ("0", 68), ("1", 77)])
def test_tf32_is_asked_for(value: str | None, compute: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv("CUPY_TF32", value)
    gemm = module("gemm").Gemm
    assert gemm(np.dtype("float32")).compute == compute
    assert gemm(np.dtype("float64")).compute == 70
