"""The GPU kernels, their plans and what launches them, run on a CPU by the shim: `pytest --kernels`."""

import dataclasses
from typing import Any

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
    run,
    sampled,
    walked,
    worst,
    wrong,
)

import rnn_backends as rb
from rnn_backends.backends.cuda_kernels.plan import PLANS, REGIMES, Plan
from rnn_backends.backends.cuda_kernels.sources import ELEMENTWISE, ENTRIES
from rnn_backends.backends.cuda_kernels.tile import Problem
from rnn_backends.core.activations import ACTIVATIONS
from rnn_backends.core.arrays import HALF
from rnn_backends.testing import BackendConformance, cases, excess, reference
from rnn_backends.testing.cases import Draw

pytestmark = pytest.mark.usefixtures("all_trusted")
DTYPES = ("float32", "float64", "float16", "bfloat16")
BY_NAME = ("grid", "sweep", "step")  # the conformance class runs the fourth, which is chosen without a name
SEEDS = (1, 2, 3, 4, 5)
UNTAKEN = ("leak by unit", "sparse", "rates")
"""In the names of features of which no kernel takes the cells."""

every_regime = pytest.mark.parametrize("regime", REGIMES)


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
        is_taken = case.x.size and is_known and not any(word in feature for word in UNTAKEN)
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
    monkeypatch.setattr(module("choices"), "fits", lambda *_: True)
    monkeypatch.setattr(standin, "capacity", lambda *_: 2)
    monkeypatch.setattr(shim, "WAITS", 50)
    states, _ = walked(grid_plan(name), *drawn(name, tokens=False))
    assert np.isnan(states.get()[1:]).all()
