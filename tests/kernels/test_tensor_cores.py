"""The product of `grid` on tensor cores, run on a CPU by the shim: `pytest --kernels`.

`test_kernels.py` and `test_ptx.py` run plans of all kinds, these among them.
"""

import dataclasses
from types import ModuleType

import numpy as np
import pytest
import standin
from gpu_walks import drawn, known, plans_of, walked, worst, wrong

from rnn_backends.backends.cuda_kernels.plan import Plan
from rnn_backends.core.arrays import HALF
from rnn_backends.testing.cases import Draw

SEEDS = (1, 2, 3, 4, 5)


@pytest.fixture(autouse=True)
def afresh(cupy: ModuleType) -> None:
    standin.RawKernel.seed = 1


def on_tensor_cores(name: str, directions: int = 1) -> list[Plan]:
    return [plan for plan in plans_of(name, directions) if plan.on_tensor_cores]


@pytest.mark.parametrize("name", ["tensor", "tensor_parts"])
def test_tensor_cores_keep_sequences_apart(name: str) -> None:
    """NaN and infinity, in a state and in an input, reach no other sequence; the others keep every bit."""
    cells, x, h_0 = drawn(name, tokens=False)
    spoilt, start = x.copy(), h_0.copy()
    start[0, 3, 5], start[0, 8, -1] = np.nan, np.inf
    spoilt[1, 0, 2], spoilt[1, 16, 0] = -np.inf, np.nan
    bad = [0, 3, 8, 16]
    for number, plan in enumerate(on_tensor_cores(name)[::3]):
        standin.RawKernel.seed = SEEDS[number % len(SEEDS)]
        clean, found = walked(plan, cells, x, h_0)[0].get(), walked(plan, cells, spoilt, start)[0].get()
        assert np.isnan(known(found[1:, [3, 16]])).all()
        assert (found[1:, [0, 8]] != clean[1:, [0, 8]]).any(axis=(0, 2)).all()
        np.testing.assert_array_equal(*(np.delete(known(states), bad, axis=1) for states in (found, clean)))


@pytest.mark.parametrize("name", ["tensor", "tensor_parts"])
def test_tensor_cores_in_a_launch_and_in_one_a_step(name: str) -> None:
    """Bit for bit, as tests/gpu_stages/selfcheck.py compares them on a GPU."""
    cells, x, h_0 = drawn(name, tokens=False, directions=2)
    lengths = np.arange(x.shape[1]) % (len(x) + 1)
    for plan in on_tensor_cores(name, 2)[:2]:
        macros = tuple((macro, int(macro == "SWEEP") or value) for macro, value in plan.macros)
        swept = dataclasses.replace(plan, regime="sweep", macros=macros)
        for one, other in zip(*(walked(each, cells, x, h_0, lengths) for each in (plan, swept)), strict=True):
            np.testing.assert_array_equal(one.get().view(np.uint16), other.get().view(np.uint16))


def test_tensor_cores_of_few_warps() -> None:
    """They fetch states in more than one go, as those of a hidden_size that no test has blocks enough for."""
    cells, x, h_0 = drawn("tensor_parts", tokens=False)
    most = max(on_tensor_cores("tensor_parts"), key=lambda plan: (plan["SEQUENCES"], -plan["BLOCK_ROWS"]))
    macros = dict(most.macros) | {"THREADS": 64, "PARTS": 5}
    shared = most.shared * 64 // most.threads
    plan = dataclasses.replace(most, macros=tuple(macros.items()), threads=64, shared=shared)
    assert macros["PARTS"] * macros["SEQUENCES"] > 8 * 16
    for standin.RawKernel.seed in SEEDS:
        assert wrong(walked(plan, cells, x, h_0), cells, x, h_0) <= 1.0


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_runs_on_tensor_cores(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of 16 bits, which the weights of such a model are, too."""
    monkeypatch.setenv("RNN_CUPY_KERNEL", "grid")
    case = Draw(dtype, 0).case(shape=(4, 40, 3, 96), sides="fb", layers=2, h_0=True, clip=1.5)
    assert worst(case, dtype) <= 1.0
    assert standin.RawKernel.latest.get("MMA", 0) == (dtype in HALF)
