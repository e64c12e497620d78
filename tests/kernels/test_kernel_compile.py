"""The GPU kernels compiled for every architecture, without a GPU: `pytest --kernels`, with NVIDIA's nvidia-cuda-nvrtc."""

from itertools import product
from pathlib import Path
from typing import Any

import nvrtc
import pytest

from rnn_backends.backends.cuda_kernels.plan import PLANS, REGIMES, Plan, make_plan
from rnn_backends.backends.cuda_kernels.sources import ELEMENTWISE, body, defines, source
from rnn_backends.backends.cuda_kernels.tile import Device, Problem

BLACKWELL = (148, 232448, 233472, 2048, True)
DEVICES = {
    70: Device(70, 80, 98304, 98304, 2048, True),  # by NVRTC 12 alone
    75: Device(75, 40, 65536, 65536, 1024, True),
    80: Device(80, 108, 166912, 167936, 2048, True),
    86: Device(86, 84, 101376, 102400, 1536, True),
    89: Device(89, 128, 101376, 102400, 1536, True),
    90: Device(90, 132, 232448, 233472, 2048, True),
    100: Device(100, *BLACKWELL),
    120: Device(120, 170, 101376, 102400, 1536, True),
}
SIZES = [
    (hidden_size, batch) for hidden_size in (5, 64, 128, 192, 224, 240, 256, 288, 512, 1024) for batch in (1, 1000, 16)
]
OPTIONS = {
    "FLOAT16": 0, "BFLOAT16": 0, "TOKENS": 0, "LONG_IDS": 0, "LONG_LENGTHS": 0, "WHOLE": 0, "CLIP": 0, "LEAK": 0, "ACTIVATION": "g1_tanh",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def compilers(request: pytest.FixtureRequest) -> list[Path]:
    if not request.config.getoption("--kernels"):
        pytest.skip("the kernels are compiled with --kernels")
    if not nvrtc.libraries():
        pytest.skip("there is no NVRTC here: pip install nvidia-cuda-nvrtc")
    return nvrtc.libraries()


def compiler_of(architecture: int) -> Path:
    for path in nvrtc.libraries():
        if architecture in nvrtc.architectures(path):
            return path
    pytest.skip(f"no NVRTC here compiles for sm_{architecture}")


def compiled(architecture: int, plan: Plan, double: int, **options: Any) -> nvrtc.Compiled:
    chunk = 1 if options.get("TOKENS") else 2 if double else 4
    macros = dict(plan.macros) | {"DOUBLE": double, "CHUNK": chunk} | OPTIONS | options
    flags = [*nvrtc.FLAGS, f"-arch=sm_{architecture}", *(f"-D{name}={value}" for name, value in macros.items())]
    return nvrtc.compile_(compiler_of(architecture), source("device.cu") + body(plan.regime, plan.macros), flags)


def plans(device: Device, itemsize: int) -> list[tuple[Plan, int]]:
    """Return plans of each regime for each size, the fastest that is fused and that is not, and whether for token ids."""
    found: dict[Any, tuple[Plan, int]] = {}
    for number, (hidden_size, batch) in enumerate(SIZES):
        tokens = int(number % 4 == 0)
        problem = Problem(512, batch, 0 if tokens else 60, hidden_size, itemsize, 1 + number % 2)
        for regime in REGIMES:
            every = sorted(PLANS[regime](problem, device), key=lambda plan: plan.clocks)
            for fused in (0, 1):
                chosen = [plan for plan in every if plan["FUSED"] == fused][:1]
                found |= {(regime, tokens, plan.macros): (plan, tokens) for plan in chosen}
    return list(found.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("architecture", DEVICES)
def test_every_architecture(architecture: int, dtype: str, thorough: bool) -> None:
    """The classes of shapes, or a sample of them; nothing is spilled."""
    double = int(dtype == "float64")
    classes = plans(DEVICES[architecture], 8 if double else 4)
    assert len(classes) > 20
    stride = 1 if thorough else 12
    spilled = {}
    for plan, tokens in classes[(architecture + double) % stride :: stride]:
        options = {"TOKENS": tokens, "LONG_IDS": tokens, "CLIP": tokens, "LEAK": tokens, "WHOLE": 1 - plan["FUSED"]}
        found = compiled(architecture, plan, double, **options)
        if found.spilled:
            spilled[plan.macros] = found.spilled
    assert not spilled


def on_tensor_cores(device: Device) -> list[Plan]:
    """Return every plan that multiplies on tensor cores."""
    sizes = product((128, 256, 288, 512, 768, 1024, 1536, 2048), (1, 16, 64, 128), (1, 2))
    problems = [Problem(512, batch, 60, size, 4, directions, half=True) for size, batch, directions in sizes]
    every = [plan for problem in problems for plan in PLANS["grid"](problem, device) if plan.on_tensor_cores]
    return list({plan.macros: plan for plan in every}.values())


@pytest.mark.parametrize("storage", ["FLOAT16", "BFLOAT16"])
@pytest.mark.parametrize("architecture", DEVICES)
def test_tensor_cores(architecture: int, storage: str, thorough: bool) -> None:
    """All plans in float16, and a sample of them; nothing is spilled."""
    classes = on_tensor_cores(DEVICES[architecture])
    assert (len(classes) > 50) == (architecture >= 80)
    stride = (1 if storage == "FLOAT16" else 10) if thorough else 60
    begin = (architecture // 5 + (storage == "FLOAT16")) % stride
    spilled = {}
    for number, plan in enumerate(classes[begin::stride]):
        tokens = number % 2
        options = {"TOKENS": tokens, "LONG_IDS": tokens, "LONG_LENGTHS": tokens, "CLIP": tokens, "LEAK": tokens}
        activation = {"ACTIVATION": "g1_softplus" if tokens else "g1_tanh"}
        found = compiled(architecture, plan, 0, **options, **activation, **{storage: 1})
        if found.spilled:
            spilled[plan.macros] = found.spilled
    assert not spilled


@pytest.mark.parametrize("activation", ELEMENTWISE)
def test_every_activation(activation: str, thorough: bool) -> None:
    options = {"ACTIVATION": f"g1_{activation}", "TOKENS": 1, "LONG_IDS": 1, "LONG_LENGTHS": 1, "CLIP": 1, "LEAK": 1}
    storages = ("DOUBLE", "FLOAT16", "BFLOAT16")
    for storage in storages if thorough else storages[:1]:
        double = int(storage == "DOUBLE")
        for regime in REGIMES:
            plan = make_plan(Problem(512, 16, 0, 64, 8 if double else 4, 2), DEVICES[90], (regime,))
            assert plan is not None
            assert compiled(90, plan, double, **options, **({} if double else {storage: 1})).spilled == 0


@pytest.mark.parametrize("storage", ["FLOAT16", "BFLOAT16"])
@pytest.mark.parametrize("architecture", DEVICES)
def test_every_storage(architecture: int, storage: str) -> None:
    device = DEVICES[architecture]
    for regime in REGIMES:
        plan = make_plan(Problem(512, 16, 60, 200, 4, 2), device, (regime,))
        assert plan is None or compiled(architecture, plan, 0, **{storage: 1}).spilled == 0


def test_a_fault_is_told() -> None:
    plan = make_plan(Problem(512, 16, 8, 64, 4), DEVICES[90])
    assert plan is not None
    with pytest.raises(nvrtc.CompileError, match="g1_nothing"):
        compiled(90, plan, 0, ACTIVATION="g1_nothing")


# What makes a kernel fast, in its PTX.


def text_of(regime: str, problem: Problem, **macros: int) -> tuple[Plan, str]:
    """Return a plan on an H100, and its PTX."""
    plan = make_plan(problem, DEVICES[90], (regime,))
    assert plan is not None
    every = dict(plan.macros) | {"DOUBLE": 0, "CHUNK": 4} | OPTIONS | macros
    code = defines(every.items()) + source("device.cu") + body(regime, plan.macros)
    return plan, nvrtc.ptx(code, [*nvrtc.FLAGS, "-arch=compute_90"])


def test_nothing_but_the_last_state_is_stored_before_the_barrier() -> None:
    """Nor is anything fetched there: others wait for the states of a step in shared memory alone."""
    plan, text = text_of("block", Problem(512, 1, 128, 128, 4))
    steps = text.split("bar.sync")[-1 - plan["DEPTH"] : -1]
    for before in steps:
        waited_for = before.rpartition("shfl.sync")[2]
        assert "st.shared" in waited_for
        assert waited_for.count("st.global") == 1
        assert "ld.global" not in waited_for
    assert all(after.partition("shfl.sync")[0].count("st.global") == 1 for after in steps[1:])


@pytest.mark.parametrize("hidden_size", [256, 288])
def test_two_orders_of_a_product_are_no_code_twice(hidden_size: int) -> None:
    plan, text = text_of("block", Problem(512, 1, 128, hidden_size, 4))
    parts = plan["COLUMNS"] // (4 * plan["LANES"])
    assert plan["HELD"] < parts
    products = plan["DEPTH"] * plan["ROWS"] * 4 * (plan["HELD"] + 1)
    assert products <= text.count("fma.rn.ftz.f32") <= 1.2 * products  # tanh has some


def test_states_are_fetched_sixteen_bytes_at_a_time() -> None:
    for chunk, wanted in ((4, ".v4.b32"), (1, ".b32")):
        _, text = text_of("grid", Problem(512, 16, 128, 512, 4), CHUNK=chunk)
        assert f"ld.relaxed.gpu.global{wanted}" in text
    _, text = text_of("sweep", Problem(512, 16, 128, 512, 4))
    assert "ld.global.v4.u32" in text or "ld.global.v4.b32" in text


def test_states_come_to_tensor_cores_as_they_lie_in_memory() -> None:
    """With one barrier a turn; nothing is made float32 but the results, and what LEAK keeps of the states before."""
    plan, text = text_of("grid", Problem(512, 64, 128, 1024, 4, half=True), FLOAT16=1, LEAK=1)
    products = 2 * plan["PARTS"] * plan["BLOCK_ROWS"] // 8 * plan["SEQUENCES"] // 16
    assert text.count("mma.sync.aligned.m16n8k16") == products
    assert text.count("ld.relaxed.gpu.global.v4.b32") >= 2 * plan["PARTS"] * plan["SEQUENCES"] // 16
    assert text.count("ld.relaxed.gpu.global.b16") == 0
    assert text.count("bar.sync") == 1
    results = plan["BLOCK_ROWS"] * plan["SEQUENCES"] // plan.threads
    assert text.count("cvt.f32.f16") == 2 * results
