"""Which kernel a walk is given to, what a call asks of CuPy, and what is declined, on the stand-in; needs --kernels."""

import dataclasses
import gc
import sys
import weakref
from types import FrameType
from typing import Any

import device_standin
import ml_dtypes  # noqa: F401  # gives NumPy bfloat16
import numpy as np
import pytest
import standin
from gpu_walks import arrays, drawn, launch, module, on_device, run, wrong
from pieces import pieces_differ

import rnn_backends as rb
from rnn_backends.backends.cuda_kernels.plan import REGIMES
from rnn_backends.backends.cuda_kernels.sources import ENTRIES
from rnn_backends.core.arrays import HALF
from rnn_backends.core.network import Network
from rnn_backends.testing import Case, records
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.records import Record, linear

pytestmark = pytest.mark.usefixtures("all_trusted")
DTYPES = ("float32", "float64", "float16", "bfloat16")
BY_NAME = ("grid", "sweep", "step")  # the conformance class runs the fourth, which is chosen without a name
SEEDS = (1, 2, 3, 4, 5)

every_regime = pytest.mark.parametrize("regime", REGIMES)


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
    monkeypatch.setattr(module("choices"), "MOST_SHAPES", 2)
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


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_a_call_like_one_before_chooses_nothing(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it lay weights out again, where they are not widened; another network of the kind chooses nothing, too."""
    case = Draw(dtype, 0).case(sides="fb", h_0=True, lengths=[7, 0, 3])
    rnn, other = (rb.RNN(case.layers).to("cupy:0") for _ in range(2))
    rnn(case.x, case.h_0, lengths=case.lengths)
    monkeypatch.setattr(module("choices").Choices, "choose", None)
    other(case.x, case.h_0, lengths=case.lengths)
    if dtype not in HALF:
        monkeypatch.setattr(launch(), "Walk", None)
    rnn(case.x, case.h_0, lengths=case.lengths)


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


@every_regime
def test_a_call_is_few_functions_of_ours(regime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the processor; what a call takes the host is measured on a GPU, by tests/gpu_stages/constants.py."""
    monkeypatch.setenv("RNN_CUPY_KERNEL", regime)
    cells, x, h_0 = drawn("two_columns", tokens=False)
    layer, placed = rb.Layer(on_device(cells[0])), (*arrays(x[:2]), arrays(*h_0), None)
    launch().recurrence(layer, *placed)
    entered: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_globals["__name__"].startswith("rnn_backends."):
            entered.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        launch().recurrence(layer, *placed)
    finally:
        sys.setprofile(before)
    assert 10 < len(entered) <= 40


@pytest.mark.parametrize(("value", "compute"), [(None, 68), ("0", 68), ("1", 77)])
def test_tf32_is_asked_for(value: str | None, compute: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv("CUPY_TF32", value)
    gemm = module("gemm").Gemm
    assert gemm(np.dtype("float32")).compute == compute
    assert gemm(np.dtype("float64")).compute == 70
