"""How a problem is spread over a device: what holds for every plan, without a kernel being run."""

import pytest
from gpu_stages.sizes import FULL
from hypothesis import given
from hypothesis import strategies as st

from rnn_backends.backends.cuda_kernels.plan import PLANS, REGIMES, Plan, make_plan
from rnn_backends.backends.cuda_kernels.tile import REGISTERS, Device, Problem
from rnn_backends.core.arrays import HALF

P100 = Device(60, 56, 49152, 65536, 2048, cooperative=True)
T4 = Device(75, 40, 65536, 65536, 1024, cooperative=True)
A100 = Device(80, 108, 166912, 167936, 2048, cooperative=True)
RTX4090 = Device(89, 128, 101376, 102400, 1536, cooperative=True)
H100 = Device(90, 132, 232448, 233472, 2048, cooperative=True)
B200 = Device(100, 148, 232448, 233472, 2048, cooperative=True)
NOT_COOPERATIVE = Device(86, 20, 101376, 102400, 1536, cooperative=False)

devices = st.sampled_from([P100, T4, A100, RTX4090, H100, B200, NOT_COOPERATIVE])
problems = st.builds(
    Problem,
    seq_len=st.integers(1, 10_000),
    batch=st.integers(1, 600),
    input_size=st.integers(0, 600),
    hidden_size=st.integers(1, 4200),
    itemsize=st.sampled_from([4, 8]),
    directions=st.integers(1, 2),
) | st.builds(
    Problem,
    seq_len=st.integers(1, 1000),
    batch=st.integers(1, 600),
    input_size=st.integers(0, 600),
    hidden_size=st.integers(1, 400).map(lambda size: 8 * size) | st.integers(1, 3200),
    itemsize=st.just(4),
    directions=st.integers(1, 2),
    half=st.just(True),
)
choices = st.sampled_from([REGIMES, ("block", "sweep", "step")])


def plans(problem: Problem, device: Device) -> list[Plan]:
    return [plan for regime in REGIMES for plan in PLANS[regime](problem, device)]


@given(problems, devices)
def test_the_rows_and_the_batch_are_covered_once(problem: Problem, device: Device) -> None:
    for plan in plans(problem, device):
        if plan.regime == "step":
            numbers = problem.directions * problem.batch * problem.hidden_size
            assert 0 <= plan.blocks * plan.threads - numbers < plan.threads
            continue
        rows = plan["BLOCK_ROWS"] if plan.on_tensor_cores else plan.threads // plan["LANES"] * plan["ROWS"]
        assert plan["SLICES"] * rows >= problem.hidden_size
        sequences = plan.sequences or plan["SEQUENCES"]
        shares, rest = divmod(plan.blocks, plan["SLICES"] * plan["DIRECTIONS"])
        assert plan["DIRECTIONS"] == problem.directions
        assert rest == 0
        assert (shares - 1) * sequences < problem.batch <= shares * sequences


@given(problems, devices)
def test_a_block_fits(problem: Problem, device: Device) -> None:
    for plan in plans(problem, device):
        assert plan.threads % 32 == 0
        assert plan.threads <= 1024
        assert 0 <= plan.shared <= device.shared_per_block
        if plan.regime == "step" or plan.on_tensor_cores:
            continue
        vector = 16 // problem.itemsize
        assert plan["COLUMNS"] >= problem.hidden_size + plan["FUSED"] * problem.input_size
        if plan["FUSED"]:
            words = plan["SEQUENCES"] * problem.input_size
            assert 0 < words <= plan["STAGED"] * plan.threads < words + plan.threads
        parts, rest = divmod(plan["COLUMNS"], plan["LANES"] * vector)
        assert rest == 0
        assert 1 <= plan["HELD"] <= parts
        assert 1 <= plan["ROWS"] <= min(8, plan["LANES"])
        assert plan["LANES"] in {4, 8, 32}
        weights = (parts - plan["HELD"]) * plan["ROWS"] * plan.threads * 16
        states = 2 * plan["SEQUENCES"] * plan["COLUMNS"] * problem.itemsize
        assert plan.shared == weights + states
        warps_of_a_quarter = -(-plan.threads // 128)
        assert 4 * plan["ROWS"] * plan["HELD"] + 40 < REGISTERS[1] // 4 // 32 // warps_of_a_quarter
        assert 4 * plan["ROWS"] * plan["HELD"] + 40 < REGISTERS[0]


@given(problems, devices)
def test_a_product_on_tensor_cores(problem: Problem, device: Device) -> None:
    for plan in [plan for plan in plans(problem, device) if plan.on_tensor_cores]:
        assert problem.half
        assert device.capability >= 80
        assert problem.hidden_size % 8 == 0, "a vector of 16 bytes is in one row, and a word of 32 bits in one state"
        warps, columns = plan.threads // 32, 32 * plan["PARTS"]
        assert columns * (warps - 1) < problem.hidden_size + 32 * warps
        assert warps * columns >= problem.hidden_size
        assert plan["BLOCK_ROWS"] % 8 == plan["SEQUENCES"] % 16 == 0
        assert plan.shared == 2 * warps * plan["SEQUENCES"] * plan["BLOCK_ROWS"] * 4
        registers = (plan["BLOCK_ROWS"] * columns + 2 * plan["BLOCK_ROWS"] * plan["SEQUENCES"]) // 64
        assert registers + 70 < min(REGISTERS[0], REGISTERS[1] // plan.threads)
        assert warps + 36 * columns / 16 <= problem.hidden_size, "less accurate than a sum in float32"


@pytest.mark.parametrize(("device", "hidden_size", "half", "is_taken"), [
    (H100, 520, True, True), (A100, 80, True, True), (H100, 520, False, False), (H100, 516, True, False), (T4, 520, True, False),
    (H100, 72, True, False), (NOT_COOPERATIVE, 520, True, False),
])  # fmt: skip
def test_what_tensor_cores_take(device: Device, hidden_size: int, half: bool, is_taken: bool) -> None:
    """Numbers of 16 bits, rows that begin at whole vectors, and so many columns that a sum is accurate."""
    found = plans(Problem(512, 16, 64, hidden_size, 4, half=half), device)
    assert any(plan.on_tensor_cores for plan in found) == is_taken


def test_the_first_run_on_a_gpu_looks_at_tensor_cores() -> None:
    """Though the choice follows estimates."""
    for device in (H100, A100, RTX4090, B200):
        for shape in [FULL.tensor, *(shape for dtype, shape in FULL.selfcheck if dtype in HALF and shape[1] > 16)]:
            plan = make_plan(Problem(*shape, 4, half=True), device, ("grid",))
            assert plan is not None
            assert plan.on_tensor_cores


def test_tensor_cores_are_chosen_where_they_are_faster() -> None:
    for batch, hidden_size, expected in [(1, 512, False), (16, 512, False), (64, 512, True), (16, 1024, True)]:
        plan = make_plan(Problem(512, batch, 64, hidden_size, 4, half=True), H100, ("grid",))
        assert plan is not None
        assert plan.on_tensor_cores == expected


@given(problems, devices)
def test_what_a_device_must_have(problem: Problem, device: Device) -> None:
    for plan in plans(problem, device):
        if plan["FUSED"]:
            assert plan.regime == "block"
            assert problem.input_size > 0
        assert plan.cooperative == (plan.regime == "grid")
        if plan.cooperative:
            assert device.cooperative
            assert device.capability >= 70
            assert plan.blocks <= device.multiprocessors


@given(problems, devices, choices)
def test_the_fastest_is_chosen(problem: Problem, device: Device, regimes: tuple[str, ...]) -> None:
    plan = make_plan(problem, device, regimes)
    assert plan is not None
    assert plan.regime in regimes
    assert all(plan.clocks <= other.clocks for other in plans(problem, device) if other.regime in regimes)


@pytest.mark.parametrize(
    ("device", "hidden_size", "itemsize", "regime"),
    [
        (H100, 256, 4, "block"),
        (H100, 384, 4, "grid"),
        (H100, 1024, 4, "grid"),
        (H100, 128, 8, "block"),
        (A100, 256, 4, "block"),
        (RTX4090, 256, 4, "block"),
        (T4, 224, 4, "block"),
        (T4, 320, 4, "grid"),
        (P100, 512, 4, "sweep"),
        (NOT_COOPERATIVE, 512, 4, "sweep"),
    ],
)
def test_what_runs_by_itself(device: Device, hidden_size: int, itemsize: int, regime: str) -> None:
    for batch in (1, 32):
        plan = make_plan(Problem(512, batch, 64, hidden_size, itemsize), device)
        assert plan is not None
        assert plan.regime == regime


@pytest.mark.parametrize(
    ("device", "hidden_size", "itemsize", "regime"),
    [
        (H100, 256, 4, "block"),
        (H100, 288, 4, "block"),
        (H100, 384, 4, "sweep"),
        (H100, 192, 8, "block"),
        (A100, 256, 4, "block"),
        (RTX4090, 256, 4, "block"),
        (T4, 224, 4, "block"),
        (T4, 320, 4, "sweep"),
        (P100, 512, 4, "sweep"),
        (H100, 1024, 4, "sweep"),
    ],
)
def test_what_runs_where_grid_is_not_trusted(device: Device, hidden_size: int, itemsize: int, regime: str) -> None:
    for batch in (1, 32):
        for seq_len in (16, 512):
            plan = make_plan(Problem(seq_len, batch, 64, hidden_size, itemsize), device, ("block", "sweep", "step"))
            assert plan is not None
            assert plan.regime == regime


def test_a_product_a_step_where_it_takes_long() -> None:
    assert make_plan(Problem(512, 256, 64, 2000, 4), H100).regime == "step"  # type: ignore[union-attr]


@pytest.mark.parametrize(("seq_len", "batch", "input_size", "fused"), [
    (512, 128, 8, 1), (512, 1, 250, 0), (8, 1, 64, 1), (8, 1, 300, 0), (512, 1, 0, 0),
])  # fmt: skip
def test_few_inputs_are_multiplied_by_the_kernel(seq_len: int, batch: int, input_size: int, fused: int) -> None:
    plan = make_plan(Problem(seq_len, batch, input_size, 128, 4), H100)
    assert plan is not None
    assert plan["FUSED"] == fused


def test_a_regime_that_is_named_alone_is_taken_or_refused() -> None:
    assert make_plan(Problem(1, 1, 8, 64, 4), H100, ("block",)).regime == "block"  # type: ignore[union-attr]
    assert make_plan(Problem(512, 1, 8, 4096, 4), H100, ("block",)) is None
    assert make_plan(Problem(512, 1, 8, 512, 4), NOT_COOPERATIVE, ("grid",)) is None
    assert make_plan(Problem(512, 1, 8, 512, 4), P100, ("grid",)) is None
