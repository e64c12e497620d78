"""What the check of a kernel is and finds, with kernels that lie, on the stand-in for CuPy; needs --kernels."""

import weakref
from collections.abc import Container
from itertools import groupby, pairwise
from typing import Any

import device_standin
import ml_dtypes  # noqa: F401  # gives NumPy bfloat16
import numpy as np
import pytest
import standin
from kernel_checks import FLOAT32, LAST_BIT, Plant, selfcheck

from rnn_backends.backends.cuda_kernels.plan import REGIMES

pytestmark = pytest.mark.usefixtures("none_checked")
DTYPES = ("float32", "float64", "float16", "bfloat16")

every_regime = pytest.mark.parametrize("regime", REGIMES)


# Kernels that are right.


class Log:
    """All copies and launches, and all for which the host waits, each with its stream."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Any]] = []
        self.outlasting: Container[int] = ()  # the copies that end before the walk beside them, by number
        self.asked = 0

    def add(self, what: str, stream: Any = None) -> None:
        self.lines.append((what, stream or device_standin.current_stream()))

    def done(self) -> bool:
        self.lines.append(("done?", None))
        self.asked += 1
        return self.asked - 1 in self.outlasting

    def copies(self) -> list[int]:
        """Return how many there were in each row."""
        return [len(list(row)) for what, row in groupby(what for what, _ in self.lines) if what == "copy"]


@pytest.fixture
def log(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> Log:
    log, call, wait = Log(), standin.RawKernel.__call__, device_standin.Stream.synchronize
    copyto, stream = cupy.copyto, device_standin.Stream
    monkeypatch.setattr(cupy, "copyto", lambda *a: log.add("copy") or copyto(*a), raising=False)  # type: ignore[func-returns-value]
    monkeypatch.setattr(standin.RawKernel, "__call__", lambda *a, **o: log.add("walk") or call(*a, **o))  # type: ignore[func-returns-value]
    monkeypatch.setattr(stream, "synchronize", lambda own: log.add("wait", own) or wait(own))  # type: ignore[func-returns-value]
    monkeypatch.setattr(device_standin.Event, "done", property(lambda _: log.done()))
    return log


def test_a_check_is_on_a_stream_of_its_own_beside_copies_on_another(log: Log) -> None:
    assert selfcheck().fault("grid", FLOAT32) is None
    assert device_standin.current_stream() is device_standin.default_stream
    streams = {what: {stream for each, stream in log.lines if each == what} for what in ("walk", "copy")}
    assert len(streams["walk"]) == 1
    assert not streams["copy"] & {device_standin.default_stream, *streams["walk"]}
    (own,) = streams["walk"]
    assert own is not device_standin.default_stream
    alone = ["walk"] * (1 + selfcheck().STEPS) + ["wait"]
    beside = ["copy", "copy", "walk", "wait", "done?", "wait"] * 3
    assert [what for what, _ in log.lines] == (alone + beside) * (log.lines.count(("done?", None)) // 3)
    waits = [(before, stream) for (before, _), (what, stream) in pairwise(log.lines) if what == "wait"]
    assert {before for before, stream in waits if stream is own} == {"walk"}
    assert {before for before, stream in waits if stream is not own} == {"done?"}


def test_a_check_keeps_no_memory(cupy: Any, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it made is given back to CuPy's pool first, and then by the pool, of its stream alone."""
    made: list[weakref.ref[Any]] = []
    freed: list[tuple[Any, int]] = []
    sample = selfcheck().Sample
    monkeypatch.setattr(selfcheck(), "Sample", lambda *a: made.append(weakref.ref(one := sample(*a))) or one)  # type: ignore[func-returns-value]  # fmt: skip
    pool = cupy.get_default_memory_pool()
    monkeypatch.setattr(
        pool, "free_all_blocks", lambda stream: freed.append((stream, sum(one() is not None for one in made)))
    )
    assert selfcheck().fault("step", FLOAT32) is None
    assert made
    assert freed == [(next(stream for what, stream in log.lines if what == "walk"), 0)]


@pytest.mark.parametrize(("outlasting", "copies"), [
    ((), [2, 2, 2]),
    ((0,), [2, 4, 4, 4]),
    ((1, 3), [2, 2, 4, 4, 8]),
    (range(6), [2, 4, 8, 16, 32, 64]),
])  # fmt: skip
def test_walks_that_outlast_the_copies_beside_them(outlasting: Container[int], copies: list[int], log: Log) -> None:
    log.outlasting = outlasting
    assert [None for _ in selfcheck().beside_traffic(list)] == [None] * len(copies)
    assert log.copies() == copies


def test_copies_are_of_more_than_caches_hold(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    zeros = cupy.zeros
    monkeypatch.setattr(cupy, "zeros", lambda size, dtype: made.append(size) or zeros(size, dtype), raising=False)  # type: ignore[func-returns-value]
    for size in (1, 1000):
        monkeypatch.setitem(device_standin.Device.attributes, "L2CacheSize", size)
        next(selfcheck().beside_traffic(list))
    assert made == [selfcheck().COPIED, 1000]


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
    assert selfcheck().fault("grid", FLOAT32) == "it takes no network of the check"
