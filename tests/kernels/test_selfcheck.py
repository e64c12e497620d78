"""What the check of a kernel is and finds, with kernels that lie, on the stand-in for CuPy; needs --kernels."""

from typing import Any

import device_standin
import ml_dtypes  # noqa: F401  # gives NumPy bfloat16
import numpy as np
import pytest
import standin
from gpu_walks import module
from kernel_checks import FLOAT32, LAST_BIT, Plant, selfcheck, trusted

from rnn_backends.backends.cuda_kernels.plan import REGIMES

pytestmark = pytest.mark.usefixtures("none_checked")
DTYPES = ("float32", "float64", "float16", "bfloat16")

every_regime = pytest.mark.parametrize("regime", REGIMES)


# Kernels that are right.


def test_the_largest_network_that_a_kernel_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights lie in shared memory, too, and inputs are multiplied by the kernel and by cuBLAS."""
    monkeypatch.undo()
    monkeypatch.setenv("RNN_CACHE_DIR", "")
    monkeypatch.setattr(selfcheck(), "STEPS", 5)
    seen = []
    run = module("walk").Walk.run
    monkeypatch.setattr(module("walk").Walk, "run", lambda walk, choice, *given: seen.append((walk, choice.plan)) or run(walk, choice, *given))  # type: ignore[func-returns-value]  # fmt: skip
    for dtype in ("float32", "float64"):
        assert selfcheck().fault("block", np.dtype(dtype)) is None
        for walk, plan in seen:
            assert plan.shared > 2 * plan["SEQUENCES"] * plan["COLUMNS"] * walk.dtype.itemsize
        assert [selfcheck().kind_of(plan) for _, plan in seen] == [(False, 1, 0), (False, 4, 1)]
        seen.clear()


def test_a_check_is_on_a_stream_of_its_own_beside_traffic_on_another(
    cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[Any] = []
    walks: list[Any] = []
    copyto, call = cupy.copyto, standin.RawKernel.__call__
    monkeypatch.setattr(cupy, "copyto", lambda *a: copies.append((device_standin.current_stream(), len(walks))) or copyto(*a), raising=False)  # type: ignore[func-returns-value]  # fmt: skip
    monkeypatch.setattr(standin.RawKernel, "__call__", lambda *a, **o: walks.append(device_standin.current_stream()) or call(*a, **o))  # type: ignore[func-returns-value]  # fmt: skip
    assert trusted("grid")
    assert len({device_standin.default_stream, *walks}) == 2
    assert not {walks[0], device_standin.default_stream} & {stream for stream, _ in copies}
    assert device_standin.current_stream() is device_standin.default_stream
    steps, times = selfcheck().STEPS, 3
    first = 2 + steps  # grid by two plans, alone, then sweep
    second = first + times + steps
    assert [before for _, before in copies] == [
        begin + n for begin in (first, second) for n in range(times) for _ in (0, 1)
    ]
    assert len(walks) == second + times


# Kernels that lie.

LIES = {
    "NaN_made_a_number": ("equation.cu", "return real_of(word_of(a));", "return real_of(word_of(a != a ? 0 : a));"),
    "infinite_sums_lost": ("equation.cu", "real a = ACTIVATION(z,", "if (z == z && z - z != 0) z = 0; real a = ACTIVATION(z,"),
    "an_infinite_state_lost": ("equation.cu", "const bool is_possible", "if (before - before != 0) before = 0; const bool is_possible"),
    "the_last_state_lost": ("equation.cu", "* walk.size + row] = word_of(a)", "* walk.size + row] = word_of(0 * a)"),
    "steps_beyond_a_length": ("equation.cu", "t < end ? next_state(walk, z, before) : before", "next_state(walk, z, before)"),
    "the_second_direction_runs_forward": ("equation.cu", "walk.reverse = 1;", ""),
    "the_weights_of_one_direction": ("equation.cu", "walk.cells[0] = all.cells[1];", ""),
    "tanh_of_half": ("equation.cu", "return MATH(tanh)(z);", "return MATH(tanh)(z / 2);"),
    "tanh_by_few_terms": ("equation.cu", "return MATH(tanh)(z);", "return MATH(tanh)(z) * (real)(1 + 1e-5);"),
}  # fmt: skip


@every_regime
@pytest.mark.parametrize("lie", LIES)
def test_a_kernel_that_lies_is_found_out(lie: str, regime: str, plant: Plant) -> None:
    plant(*LIES[lie])
    assert "of the equation as written" in str(selfcheck().fault(regime, FLOAT32))


def test_padding_that_is_not_zero(plant: Plant) -> None:
    plant("step.cu", "t < end ? word_of(a) : 0", "word_of(a)")
    assert "of its states" in str(selfcheck().fault("step", FLOAT32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_lies_in_other_dtypes(dtype: str, plant: Plant) -> None:
    by = {"float64": 1e-7, "float32": 1e-5, "float16": 1e-2, "bfloat16": 0.1}[dtype]
    plant("equation.cu", "return MATH(tanh)(z);", f"return MATH(tanh)(z) * (real)(1 - {by});")
    assert "of its states" in str(selfcheck().fault("step", np.dtype(dtype)))


def test_a_grid_that_is_not_sweep_to_the_bit(plant: Plant) -> None:
    plant(*LAST_BIT)
    found = selfcheck().fault("grid", FLOAT32)
    assert found.startswith("beside memory traffic, ")
    assert found.endswith(" numbers are not, bit for bit, those of 'sweep'")


@pytest.mark.parametrize("regime", ["grid", "sweep"])
def test_lies_of_several_sequences_in_a_block(regime: str, plant: Plant) -> None:
    plant("tile.cu", "s % PER_ROUND == share.turn", "s == 0")
    assert selfcheck().fault(regime, FLOAT32) is not None


@pytest.mark.parametrize(("right", "wrong"), [
    ("mine.first + s) * walk.input_size", "mine.first) * walk.input_size"),
    ("(input_of(inputs, round) + share.bias)", "(input_of(inputs, round) + share.bias * !FUSED)"),
    ("(input_of(inputs, round) + share.bias)", "(input_of(inputs, round) + share.bias * FUSED)"),
])  # fmt: skip
def test_lies_of_one_kind_of_plan(right: str, wrong: str, plant: Plant) -> None:
    plant("block.cu", right, wrong)
    assert selfcheck().fault("block", FLOAT32) is not None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_grid_of_sixteen_bits_is_checked_on_tensor_cores_too(
    dtype: str, thorough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that all 16 sequences of a tile are there, and more; of the sizes that are not small, too."""
    if dtype == "bfloat16" and not thorough:
        pytest.skip("a sample")
    plans = []
    run = module("walk").Walk.run
    monkeypatch.setattr(module("walk").Walk, "run", lambda walk, choice, *given: plans.append(choice.plan) or run(walk, choice, *given))  # type: ignore[func-returns-value]  # fmt: skip
    for sizes in ((88,), (264, 152)) if thorough else ((88,),):
        monkeypatch.setattr(selfcheck(), "SIZES_OF_HALF", sizes)
        assert selfcheck().fault("grid", np.dtype(dtype)) is None
        tensors = [plan for plan in plans if plan.on_tensor_cores]
        assert len({plan["BLOCK_ROWS"] for plan in tensors}) == 2
        assert max(plan.sequences for plan in tensors) > 16
        assert {plan["SEQUENCES"] for plan in plans if not plan.on_tensor_cores} == {1, 4}
        plans.clear()


@pytest.mark.parametrize(("right", "wrong"), [
    ("pairs[1].of[i], pairs[0].of[i + 1]", "pairs[0].of[i + 1], pairs[1].of[i]"),
    ("b[2] = {all[i], all[i + 1]}", "b[2] = {all[i + 1], all[i]}"),
    ("warp < WARPS; ++warp", "warp < WARPS - 6; ++warp"),
    ("mma(sums[tile][group],", "mma(sums[tile][0],"),
    ("number % 2 * 8 + lane / 4", "lane / 4"),
    ("state.is_passed_on && !are_there", "false && !are_there"),
    ("walk.size && column < walk.size;", "walk.size && column < walk.size - 8;"),
])  # fmt: skip
def test_lies_on_tensor_cores(right: str, wrong: str, plant: Plant) -> None:
    plant("mma.cu", right, wrong)
    assert selfcheck().fault("grid", np.dtype("float16")) is not None
    assert selfcheck().fault("grid", FLOAT32) is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_mismatches_are_counted_bit_for_bit(dtype: str) -> None:
    """But for the bits of a NaN; 0 and -0 differ."""
    right = np.array([1.0, 0.0, np.nan, np.inf, np.nan, -np.nan, np.inf], dtype)
    other = np.array([1.0, -0.0, np.nan, np.inf, 1.0, np.nan, -np.inf], dtype)
    other.view(f"u{other.itemsize}")[0] += 1
    one, two = [right, right[:3]], [other, other[:3]]
    assert selfcheck().mismatches(one, one) == 0
    assert selfcheck().mismatches(one, two) == 4 + 2


def test_a_kernel_that_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin.RawKernel, "__call__", lambda *_, **__: None)
    assert selfcheck().fault("block", FLOAT32) is not None


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_what_was_found_is_overwritten(dtype: str) -> None:
    """Or the next kernel would find it in memory."""
    results = [standin.asarray(np.ones(size, dtype)) for size in (3, 2)]
    assert [one.tolist() for one in selfcheck().on_host(results)] == [[1.0] * 3, [1.0] * 2]
    assert all(np.isnan(one.host).all() for one in results)


def test_a_device_on_which_no_plan_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin, "resident", 0)
    assert selfcheck().fault("grid", FLOAT32) == "it does not take the network of the check"
