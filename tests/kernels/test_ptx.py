"""The kernels as NVIDIA's compiler makes them, run by the interpreter of PTX in tests/support/ptx: `pytest --kernels`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import nvrtc
import ptx
import pytest
import standin
from gpu_walks import PROBLEMS, drawn, plans_of, sampled, walked, worst, wrong

from rnn_backends.backends.cuda_kernels.plan import REGIMES
from rnn_backends.backends.cuda_kernels.sources import ENTRIES
from rnn_backends.testing import cases

DTYPES = ("float32", "float64", "float16", "bfloat16")
FEATURES = tuple(cases("float32"))
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module", autouse=True)
def interpreted(request: pytest.FixtureRequest) -> Iterator[None]:
    if not request.config.getoption("--kernels"):
        pytest.skip("the kernels are run with --kernels")
    if not nvrtc.libraries():
        pytest.skip("there is no NVRTC here: pip install nvidia-cuda-nvrtc")
    with standin.installed(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(standin.RawKernel, "run", staticmethod(ptx.run))
        yield


@pytest.fixture(autouse=True)
def afresh() -> None:
    standin.RawKernel.seed = 1
    standin.RawKernel.launches.clear()


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_feature(regime: str, dtype: str, thorough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which each regime and each dtype has a quarter by default with each of the others: every feature once."""
    monkeypatch.setenv("RNN_CUPY_KERNEL", regime)
    first, step = ((REGIMES.index(regime) + DTYPES.index(dtype)) % 4, 4) if not thorough else (0, 1)
    every = cases(dtype)
    for feature in FEATURES[first::step]:
        assert worst(every[feature], dtype) <= 1.0, feature
    assert set(standin.RawKernel.launches) == {ENTRIES[regime]}


@pytest.mark.parametrize("name", PROBLEMS)
def test_plans(name: str, thorough: bool) -> None:
    """Ids and lengths are of 32 bits and of 64."""
    directions, tokens, plans = sampled(name)
    cells, x, h_0 = drawn(name, tokens, directions)
    lengths = np.random.default_rng(0).integers(0, len(x) + 1, x.shape[1])
    for number, plan in enumerate(plans) if thorough else list(enumerate(plans))[::2]:
        kind = (np.int32, np.int64)[number // 2 % 2]
        given, ends = (x.astype(kind) if tokens else x), (lengths.astype(kind) if number % 3 else None)
        reverse = directions == 1 and number // 2 % 2 == 1
        for standin.RawKernel.seed in SEEDS if thorough else [1 + number]:
            found = walked(plan, cells, given, h_0, ends, reverse)
            assert wrong(found, cells, given, h_0, ends, reverse) <= 1.0, (plan, standin.RawKernel.seed)


# Barriers.

BARRIER = "bar.sync \t0;"


def without(number: int, text: str) -> str:
    parts = text.split(BARRIER)
    parts[number : number + 2] = [parts[number] + parts[number + 1]]
    return BARRIER.join(parts)


@pytest.mark.parametrize(("regime", "name"), [
    *((regime, "two_to_a_row") for regime in ("block", "grid", "sweep")), ("grid", "tensor"),
])  # fmt: skip
def test_no_barrier_can_be_left_out(regime: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = [plan for plan in plans_of(name) if plan.regime == regime][-1]
    assert regime != "block" or plan["FUSED"], "a barrier is for inputs among the states"
    assert plan.on_tensor_cores == (name == "tensor")
    made, text_of = list[str](), ptx.text_of

    def noted(*kernel: Any) -> str:
        made.append(text_of(*kernel))
        return made[-1]

    monkeypatch.setattr(ptx, "text_of", noted)
    assert wrong(walked(plan, *drawn(name, tokens=False)), *drawn(name, tokens=False)) <= 1.0
    for number in range(made[0].count(BARRIER)):
        left = without(number, made[0])
        monkeypatch.setattr(ptx, "text_of", lambda *_, left=left: left)
        with pytest.raises(ptx.PtxError, match="a race"):
            walked(plan, *drawn(name, tokens=False))
    assert BARRIER in made[0]
