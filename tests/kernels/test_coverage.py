"""The branches of the kernels that a check walks, with kernels that lie in one of them alone; needs --kernels."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import device_standin
import ml_dtypes  # noqa: F401  # gives NumPy bfloat16
import numpy as np
import pytest
import standin
from gpu_walks import module
from kernel_checks import Plant, selfcheck

from rnn_backends.backends.cuda_kernels import coverage
from rnn_backends.backends.cuda_kernels.plan import REGIMES, Plan, make_plan
from rnn_backends.backends.cuda_kernels.sources import body
from rnn_backends.backends.cuda_kernels.tile import Problem
from rnn_backends.core.cell import Cell

DTYPES = ("float32", "float64", "float16", "bfloat16")
KERNELS = {"block": 3, "grid": 3, "sweep": 3, "step": 2}
KERNELS_OF_HALF = KERNELS | {"grid": 5}
"""How many a check walks; of `grid`, each is walked as `sweep`, too."""

Branch = tuple[str, Any]


@pytest.fixture
def launched(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Return a list of the macros of all kernels that are launched; whatever they do is right, and of few steps."""
    found: list[dict[str, str]] = []
    for name in ("STEPS", "COPIES", "COPIED"):
        monkeypatch.setattr(selfcheck(), name, 4)
    monkeypatch.setattr(standin.RawKernel, "__call__", lambda kernel, *_, **__: found.append(kernel.macros))
    monkeypatch.setattr(selfcheck(), "outliers", lambda *_: 0)
    monkeypatch.setattr(selfcheck(), "mismatches", lambda *_: 0)
    monkeypatch.setattr(selfcheck().Sample, "wanted", (None, None))
    return found


@pytest.fixture(params=[12, 132])
def multiprocessors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setitem(device_standin.Device.attributes, "MultiProcessorCount", request.param)
    module("device").properties.cache_clear()
    yield request.param
    module("device").properties.cache_clear()


def branches(regime: str, macros: dict[str, str]) -> set[frozenset[Branch]]:
    """Return the values of macros on which the text of a kernel depends, each together with vectors if these may be."""
    text, number = body(regime, macros.items()), {name: int(value) for name, value in macros.items() if value.isdigit()}
    found: dict[str, Any] = {name: number[name] for name in ("WHOLE", "FUSED", "DEPTH", "DIRECTIONS") if name in number}
    found |= {"CHUNK": number["CHUNK"] > 1, "MMA": "MMA" in macros}
    if "MMA" in macros:
        found |= {"SEQUENCES": number["SEQUENCES"]}
    elif "HELD" in macros:
        parts = number["COLUMNS"] // (number["LANES"] * (2 if number["DOUBLE"] else 4))
        found |= {"SEQUENCES": number["SEQUENCES"] > 1, "HELD": number["HELD"] == parts}
    named = {(name, value) for name, value in found.items() if re.search(rf"\b{name}\b", text)}
    vectors, product = ("CHUNK", found["CHUNK"]), ("MMA", found["MMA"])
    if vectors not in named:
        return {frozenset({product, one}) for one in named}
    if not found["CHUNK"]:
        return {frozenset({vectors})}
    return {frozenset({vectors, one}) for one in named}


def real_use(regime: str, dtype: np.dtype[Any], sizes: Sequence[int]) -> set[frozenset[Branch]]:
    """Return the branches of the plans that are estimated to be the fastest for many shapes."""
    wide = "float64" if dtype == "float64" else "float32"
    device, found = module("device").properties(0), set()
    for size in sizes:
        for inputs, directions in ((3, 1), (300, 1), (3, 2)):
            weights = [standin.Array(np.empty(shape, wide)) for shape in ((size, inputs), (size, size))]
            cell = Cell(weights[0], weights[1])
            x, h_0 = (standin.Array(np.empty(shape, dtype)) for shape in ((9, 1, inputs), (1, size)))
            walk = module("walk").Walk([cell] * directions, x, h_0, False)
            for batch in (1, 2, 5, 16, 37, 64):
                problem = selfcheck().problem_of(dtype, (256, batch, inputs, size), directions)
                plan = make_plan(problem, device, (regime,))
                if plan is not None:
                    found |= branches(regime, walk.choices.prepare(plan, 256, batch, False).function.macros)
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_that_is_used_is_walked(
    dtype: str, multiprocessors: int, thorough: bool, launched: list[dict[str, str]]
) -> None:
    """With the networks of a check as it is."""
    if (dtype == "bfloat16" or multiprocessors == 12) and not thorough:
        pytest.skip("a sample")
    sizes = [*range(8, 2049, 4 if thorough else 64), *range(9, 2049, 26 if thorough else 340)]
    for regime in REGIMES:
        launched.clear()
        assert selfcheck().fault(regime, np.dtype(dtype)) is None
        own = [macros for macros in launched if regime != "grid" or macros["SWEEP"] == "0"]
        kernels = {tuple(macros.items()): macros for macros in own}
        walked = {branch for macros in kernels.values() for branch in branches(regime, macros)}
        used = real_use(regime, np.dtype(dtype), sizes)
        assert used
        assert used <= walked
        assert len(kernels) == (KERNELS_OF_HALF if np.dtype(dtype).itemsize == 2 else KERNELS)[regime]


TILE = {"LANES": 8, "COLUMNS": 192, "HELD": 6, "SEQUENCES": 1, "DIRECTIONS": 1, "FUSED": 0, "DEPTH": 2}
TENSOR = {"MMA": 1, "BLOCK_ROWS": 8, "PARTS": 1, "SEQUENCES": 16, "DIRECTIONS": 1, "FUSED": 0}


def branches_of(macros: dict[str, int], sequences: int = 16) -> coverage.Branches:
    """Return the branches of a plan for a network of 168 states."""
    plan = Plan("grid", tuple(macros.items()), 1, 256, sequences=sequences)
    return coverage.branches(coverage.Option(Problem(9, 5, 3, 168, 4), plan))


@pytest.mark.parametrize(("macros", "name", "value"), [
    (TILE, "HELD", 2), (TILE, "SEQUENCES", 2), (TILE, "DIRECTIONS", 2), (TILE, "FUSED", 1), (TILE, "DEPTH", 4),
    (TENSOR, "BLOCK_ROWS", 64), (TENSOR, "PARTS", 2), (TENSOR, "SEQUENCES", 32), (TENSOR, "DIRECTIONS", 2),
])  # fmt: skip
def test_values_that_are_other_branches(macros: dict[str, int], name: str, value: int) -> None:
    assert branches_of(macros) - branches_of({**macros, name: value})
    assert branches_of({**macros, name: value}) - branches_of(macros)


def test_how_many_sequences_a_block_has_is_a_branch() -> None:
    assert {("turns", 0)} == branches_of(TENSOR) - branches_of(TENSOR, 17)


def test_shared_memory_that_holds_zeros_counts_for_nothing() -> None:
    """Beyond the last column there are no weights."""
    assert branches_of({**TILE, "COLUMNS": 224}) == branches_of(TILE) - {("HELD", 1)}


LIES = {
    "vectors": ("grid.cu", "x.of[e] = real_of(words.of[e]);", "x.of[e] = real_of(words.of[0]);"),
    "no vectors": ("grid.cu", "*to = real_of(words.of[0]);", "*to = 0;"),
    "shared memory": ("tile.cu", "fetched[r] = weights_of(rows[r], begin + part", "fetched[r] = weights_of(rows[r], begin + (part - 1)"),
    "registers": ("tile.cu", "if (HELD == PARTS) return multiply_held(tile, vectors, sums);", "if (HELD == PARTS) return;"),
    "sequences": ("tile.cu", "s % PER_ROUND == share.turn", "s == 0"),
    "a sequence": ("tile.cu", "s % PER_ROUND == share.turn", "s % PER_ROUND == share.turn && SEQUENCES > 1"),
    "turns": ("grid.cu", "step, first, end, buffers", "step, begin, end, buffers"),
    "a direction": ("equation.cu", "{ return walk.reverse ?", "{ return walk.reverse == (DIRECTIONS > 1) ?"),
    "four ahead": ("block.cu", "step + DEPTH + FUSED, ahead[d]", "step + (DEPTH > 2 ? 2 : DEPTH) + FUSED, ahead[d]"),
    "two ahead": ("block.cu", "step + DEPTH + FUSED, ahead[d]", "step + (DEPTH < 4 ? 4 : DEPTH) + FUSED, ahead[d]"),
    "features": ("block.cu", "mine.first + s) * walk.input_size", "mine.first) * walk.input_size"),
    "fused bias": ("block.cu", "(input_of(inputs, round) + share.bias)", "(input_of(inputs, round) + share.bias * !FUSED)"),
    "bias": ("block.cu", "(input_of(inputs, round) + share.bias)", "(input_of(inputs, round) + share.bias * FUSED)"),
    "parts": ("mma.cu", "(part * THREADS + thread_index()) / 32", "(thread_index()) / 32"),
    "tiles": ("mma.cu", "first + half * 8", "first + half % 2 * 8"),
    "a tile": ("mma.cu", "z[0] += share.of[0], z[1] += share.of[1]", "z[0] += share.of[TILES == 1], z[1] += share.of[1]"),
    "tensor turns": ("mma.cu", "step, first, end, shares", "step, begin, end, shares"),
    "rounds": ("mma.cu", "number = round * THREADS + thread_index()", "number = thread_index()"),
}  # fmt: skip


@pytest.mark.usefixtures("none_checked")
@pytest.mark.parametrize(("lie", "regime", "dtype"), [
    ("vectors", "grid", "float32"), ("vectors", "sweep", "float32"), ("vectors", "grid", "float64"),
    ("no vectors", "grid", "float32"), ("no vectors", "sweep", "float64"),
    ("shared memory", "block", "float64"), ("registers", "block", "float64"), ("registers", "grid", "float32"),
    ("sequences", "grid", "float32"), ("sequences", "sweep", "float32"), ("sequences", "block", "float32"),
    ("a sequence", "grid", "float32"), ("turns", "grid", "float32"), ("turns", "sweep", "float32"),
    *(("a direction", regime, "float32") for regime in REGIMES),
    *((lie, "grid", "float16") for lie in ("tiles", "a tile", "tensor turns", "rounds")),
    *((lie, "block", "float32") for lie in ("four ahead", "two ahead", "features", "fused bias", "bias")),
])  # fmt: skip
def test_lies_in_one_branch(lie: str, regime: str, dtype: str, plant: Plant) -> None:
    plant(*LIES[lie])
    assert selfcheck().fault(regime, np.dtype(dtype)) is not None


@pytest.mark.usefixtures("none_checked")
@pytest.mark.parametrize(("lie", "regime", "dtype", "size"), [
    ("shared memory", "block", "float32", 232), ("shared memory", "grid", "float64", 264),
    ("shared memory", "sweep", "float64", 264), ("shared memory", "sweep", "float32", 520),
    ("parts", "grid", "float16", 264),
])  # fmt: skip
def test_lies_in_a_branch_of_wide_networks(
    lie: str, regime: str, dtype: str, size: int, thorough: bool, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    if regime == "sweep" and not thorough:
        pytest.skip("a sample")
    monkeypatch.setattr(selfcheck(), "SIZES", (size,))
    monkeypatch.setattr(selfcheck(), "STEPS", 4)
    plant(*LIES[lie])
    assert selfcheck().fault(regime, np.dtype(dtype)) is not None


def test_kernels_that_do_not_fit_are_not_walked(
    launched: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selfcheck(), "fits", lambda _, plan: plan.blocks < 9)
    for _, plan in (walks := selfcheck().chosen("grid", np.dtype("float32"))):
        assert plan.blocks < 9
    assert len(walks) == KERNELS["grid"]
