"""Contestants on a GPU and their results, on a stand-in that keeps its time."""

import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cuda_standin
import numpy as np
import pytest
from cuda_standin import timeline
from harness import competitors, gpu_cells, gpu_child
from harness.contestant import AbsentError, Contestant, check, ours_on_gpu
from harness.problem import Drawn, Problem

import rnn_backends as rb

SMALL = Problem(seq_len=6, batch=3, input_size=4, hidden_size=5)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RNN_CUPY_KERNEL", "off")  # no kernels, which need g++
    with cuda_standin.installed() as module:
        made = module.Gpu(1)
        timeline.log.clear()
        yield made


def test_results_are_overwritten(gpu: Any) -> None:
    one = ours_on_gpu("cupy:1", Drawn.of(SMALL))
    with gpu.device:
        output = one.call(one.place(Drawn.of(SMALL).x))
        one.poison(output)
    assert output.device.id == 1
    assert np.isnan(output.host).all()


def test_a_result_of_before_is_not_right_again(gpu: Any) -> None:
    """Inputs hold other numbers from call to call, so that remains in memory are no result."""
    for problem in (SMALL, replace(SMALL, batch=1), replace(SMALL, tokens=True)):
        drawn = Drawn.of(problem)
        assert not any((first == second).all() for first, second in zip(drawn.inputs, drawn.inputs[1:], strict=False))
        right = ours_on_gpu("cupy:1", drawn)
        kept: list[Any] = []

        def call(x: Any, right: Contestant = right, kept: list[Any] = kept) -> Any:
            kept.append(right.call(x))
            return kept[0]

        with gpu.device:
            assert check([right], drawn)["cupy:1"] <= 1.0
            with pytest.raises(rb.WrongResultError, match=r"^stale does not compute"):
                check([replace(right, name="stale", call=call, poison=lambda _: None)], drawn)


def test_who_rounds_more_may_be_off_by_more() -> None:
    drawn = Drawn.of(SMALL)
    off = drawn.wanted.value + 3 * drawn.wanted.error
    wrong = Contestant("coarse", lambda _: off, allowed=4.0)
    turned = replace(drawn, problem=replace(SMALL, ragged=True), source_lengths=[6, 6, 6])  # the same batch each time
    assert check([wrong], turned)["coarse"] == pytest.approx(3.0)
    with pytest.raises(rb.WrongResultError, match="by 3 times the error bound, more than 2"):
        check([replace(wrong, allowed=2.0)], turned)


@pytest.mark.parametrize("options", [{}, {"tokens": True}, {"bidirectional": True}, {"ragged": True}, {"step": True}])
@pytest.mark.parametrize("name", ["torch", "off", "product", "copy"])
def test_competitors_compute_the_same(gpu: Any, name: str, options: dict[str, Any]) -> None:
    if name == "torch":
        pytest.importorskip("torch")
    drawn = Drawn.of(replace(SMALL, **options))
    if options == {"ragged": True} and name in competitors.LIMITS:
        with pytest.raises(AbsentError, match="how much of a ragged batch"):
            competitors.prepare(name, drawn, 1, gpu)
        return
    one = competitors.prepare(name, drawn, 1, gpu)
    with gpu.device:
        assert set(check([one], drawn)) == (set() if name in competitors.LIMITS else {name})


def test_backends_must_be_on_one_device(gpu: Any) -> None:
    assert gpu_child.gpu_of("cupy:1").index == 1
    about = {"cupy:0": {"index": 0}, "off": {"index": 0}}
    gpu_cells.require_one_device(about)
    with pytest.raises(
        rb.ArgumentError, match=r"one device: cupy:0 is on cuda:0, off is on cuda:0, cupy:1 is on cuda:1\. "
    ):
        gpu_cells.require_one_device({**about, "cupy:1": {"index": 1}})


@pytest.mark.parametrize(("name", "device"), [("elsewhere", "gpu:0"), ("numpy", "cpu")])
def test_what_events_of_cupy_do_not_time_is_refused(name: str, device: str) -> None:
    numpy = rb.get_backend("numpy")
    message = f"{name} is on {device}, which CuPy's events do not time; measure cupy or torch:cuda here, and a CPU by"
    with (
        rb.register_backend(replace(numpy, name="elsewhere", devices=lambda: {"gpu:0": "cpu"})),
        pytest.raises(rb.ArgumentError, match=message),
    ):
        gpu_child.gpu_of(name)


def test_off_is_no_kernel(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for before in ("block", None):
        if before is None:
            monkeypatch.delenv("RNN_CUPY_KERNEL")
        else:
            monkeypatch.setenv("RNN_CUPY_KERNEL", before)
        off = competitors.prepare("off", Drawn.of(SMALL), 1, gpu)
        timeline.log.clear()
        with gpu.device, off.context():
            assert os.environ["RNN_CUPY_KERNEL"] == "off"
            off.call(off.place(Drawn.of(SMALL).x))
        assert os.environ.get("RNN_CUPY_KERNEL") == before
        assert "operation" in timeline.log
        assert "kernel" not in timeline.log
        assert off.name == "off"


def test_a_kernel_that_does_not_take_a_shape_is_absent(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        AbsentError, match="the kernel 'block', which RNN_CUPY_KERNEL names, does not take hidden_size 900"
    ):
        competitors.prepare("block", Drawn.of(replace(SMALL, hidden_size=900)), 1, gpu)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    for name in ("off", "product", "copy"):
        with pytest.raises(AbsentError, match="'bfloat16' is not on the backend 'cupy'"):
            competitors.prepare(name, Drawn.of(replace(SMALL, dtype="bfloat16")), 1, gpu)


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.1.2", reason="CuPy has bfloat16 from NumPy 2.1.2 on")
def test_bfloat16(gpu: Any) -> None:
    drawn = Drawn.of(replace(SMALL, dtype="bfloat16"))
    for name in ("off", "product", "copy"):
        made = competitors.prepare(name, drawn, 1, gpu)
        with gpu.device, made.context():
            output = made.call(made.place(drawn.inputs[0]))
        assert output is None or output.dtype.name == "bfloat16"


@pytest.mark.parametrize(
    ("options", "moved"),
    [
        ({}, 4 * (18 * 4 + 25 + 20 + 5 + 18 * 5)),
        ({"dtype": "float64"}, 8 * (18 * 4 + 25 + 20 + 5 + 18 * 5)),
        ({"bidirectional": True}, 4 * (18 * 4 + 2 * (25 + 20 + 5) + 2 * 18 * 5)),
        ({"tokens": True}, 4 * (18 + 18 * 5 + 25 + 5 + 18 * 5)),
        ({"step": True}, 4 * (3 * 4 + 25 + 20 + 5 + 3 * 5)),
    ],
)
def test_the_limits_do_as_much_as_the_problem(
    gpu: Any, options: dict[str, Any], moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = replace(SMALL, **options)
    cupy = sys.modules["cupy"]
    done: list[int] = []
    monkeypatch.setattr(cupy, "copyto", lambda target, source: done.append(target.nbytes + source.nbytes))
    monkeypatch.setattr(cupy, "matmul", lambda a, b, out: done.append(a.shape[0] * a.shape[1] * out.shape[1]))
    competitors.prepare("copy", Drawn.of(problem), 1, gpu).call(None)
    assert done.pop() == moved
    competitors.prepare("product", Drawn.of(problem), 1, gpu).call(None)
    rows = 3 if problem.step else 18
    inner = 5 if problem.tokens else 9
    assert done == [rows * inner * 5] * (2 if problem.bidirectional else 1)


def test_results_are_checked_again(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory that was overwritten with NaN meanwhile, and the larger error counts."""
    answers = iter([{"excess": 0.25, "versions": {}}, {"excess": 0.75}])
    monkeypatch.setattr(gpu_cells.Contestants, "ask_all", lambda *_: {"a": next(answers)})
    task = gpu_cells.Task(problems=[], backends=["a"], against=[], threads=1, seconds=0.0, rounds=0)
    with ExitStack() as stack:
        contestants = gpu_cells.Contestants(task, stack)
        found = gpu_cells.measured(SMALL, contestants, Path(), {}, {}, print)
    assert [cell["excess"] for cell in found] == [{"a": 0.75}] * 2
    assert gpu_cells.larger(0.75, None) == 0.75


# torch


@pytest.mark.parametrize(("name", "allowed"), [("torch", False), ("torch-tf32", True)])
@pytest.mark.parametrize("before", [True, False])
def test_tf32_is_as_asked_for_and_as_before_afterwards(
    gpu: Any, torch: Any, name: str, allowed: bool, before: bool
) -> None:
    one = competitors.prepare(name, Drawn.of(SMALL), 1, gpu)
    flags = (torch.backends.cudnn, torch.backends.cuda.matmul)
    outside = [flag.allow_tf32 for flag in flags]
    try:
        for flag in flags:
            flag.allow_tf32 = before
        with one.context():
            assert [flag.allow_tf32 for flag in flags] == [allowed] * 2
            assert torch.is_inference_mode_enabled()
        assert [flag.allow_tf32 for flag in flags] == [before] * 2
    finally:
        for flag, value in zip(flags, outside, strict=True):
            flag.allow_tf32 = value
    assert one.name == name
    assert one.allowed == (2.0**14 if allowed else 8.0)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_without_torch(allowed: bool, before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of a torch that has nothing but its flags, for where it is not installed."""
    name = "harness.competitors.torch"
    flags = SimpleNamespace(allow_tf32=before), SimpleNamespace(allow_tf32=before)
    backends = SimpleNamespace(cudnn=flags[0], cuda=SimpleNamespace(matmul=flags[1]))
    device = type("device", (), {"__init__": lambda *_: None})
    fake = SimpleNamespace(backends=backends, inference_mode=nullcontext, device=device, Tensor=object)
    packing = SimpleNamespace(pack_padded_sequence=None, pad_packed_sequence=None)
    for module in ("torch.nn", "torch.nn.utils"):
        monkeypatch.setitem(sys.modules, module, SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setitem(sys.modules, "torch.nn.utils.rnn", packing)
    monkeypatch.setattr(competitors, "torch", None, raising=False)  # both are put back afterwards
    monkeypatch.setitem(sys.modules, name, None)
    del sys.modules[name]
    competitor = importlib.import_module(name)
    with competitor.on_gpu(allowed):
        assert [flag.allow_tf32 for flag in flags] == [allowed] * 2
    assert [flag.allow_tf32 for flag in flags] == [before] * 2


def test_torch_without_what_is_needed_is_absent(gpu: Any, torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AbsentError, match="TF32 is a way to multiply float32"):
        competitors.prepare("torch-tf32", Drawn.of(replace(SMALL, dtype="float64")), 1, gpu)
    with pytest.raises(AbsentError, match=r"nn\.RNN has no leak"):
        competitors.prepare("torch", Drawn.of(replace(SMALL, leak=0.5)), 1, gpu)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: False)
    with pytest.raises(AbsentError, match=rf"^torch {re.escape(torch.__version__)} finds no GPU, or no cuDNN; install"):
        competitors.prepare("torch", Drawn.of(SMALL), 1, gpu)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AbsentError, match="finds no GPU"):
        competitors.prepare("torch", Drawn.of(SMALL), 1, gpu)


def test_torch_must_launch_where_events_are_recorded(gpu: Any, torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: SimpleNamespace(cuda_stream=7))
    with pytest.raises(rb.ArgumentError, match="and torch's is 0x7"):
        competitors.prepare("torch", Drawn.of(SMALL), 1, gpu)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(rb.ArgumentError, match="and torch's is 0x7"):
        gpu_child.gpu_of("torch:cuda:1")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: SimpleNamespace(cuda_stream=0))
    assert gpu_child.gpu_of("torch:cuda:1").index == 1
