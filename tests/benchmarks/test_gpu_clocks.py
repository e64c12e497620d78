"""The clocks of a GPU, on a stand-in that keeps its time."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import cuda_standin
import numpy as np
import pytest
from cuda_standin import BUSY_SECONDS, DEVICE_SECONDS, HOST_SECONDS, QUEUE, timeline
from harness import contestant
from harness.contestant import Contestant
from harness.timing import interleave

import rnn_backends as rb

INPUTS = [np.full(1, float(number)) for number in range(3)]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RNN_CUPY_KERNEL", "off")  # no kernels, which need g++
    with cuda_standin.installed() as module:
        made = module.Gpu(1)
        timeline.log.clear()
        yield made


def launches(number: int, handed: list[Any] | None = None, host_seconds: float = HOST_SECONDS) -> Contestant:
    """Return a contestant that launches some kernels, and whose results log when they are overwritten."""

    def call(x: Any) -> Any:
        if handed is not None:
            handed.append(x)
        for _ in range(number):
            timeline.launch("kernel", host_seconds=host_seconds)
        return SimpleNamespace(fill=lambda value: timeline.launch(f"fill with {value}"))

    return Contestant("a", call, poison=contestant.fill_with_nan)


def test_a_device_is_timed_while_it_waits_for_nothing(gpu: Any) -> None:
    """Launching takes five times as long as the work that is launched; that is not seen."""
    taken = interleave({"a": gpu.device_clock(launches(7), INPUTS)}, seconds=1e9, rounds=5)
    assert taken["a"] == pytest.approx([7 * DEVICE_SECONDS] * 5)
    assert HOST_SECONDS > 4 * DEVICE_SECONDS
    assert not gpu.launch_bound


def test_work_is_launched_between_the_events_and_the_result_overwritten_after(gpu: Any) -> None:
    sample = gpu.device_clock(launches(2), INPUTS)
    timeline.log.clear()
    sample()
    assert timeline.log == ["busy", "event", "kernel", "kernel", "event", "fill with nan"]


def test_a_device_is_kept_busy_as_long_as_launching_takes(gpu: Any) -> None:
    slow = launches(10, host_seconds=2 * BUSY_SECONDS)
    sample = gpu.device_clock(slow, INPUTS)
    timeline.log.clear()
    assert sample() == pytest.approx(10 * DEVICE_SECONDS)
    assert timeline.log.count("busy") in {40, 41}  # twice as long as launching
    assert not gpu.launch_bound


def test_a_device_is_kept_busy_for_longer_where_that_was_too_little(gpu: Any) -> None:
    quick, slow = launches(1), launches(1, host_seconds=1.5 * BUSY_SECONDS)
    calls = [quick] * 3 + [slow] * 4
    sample = gpu.device_clock(replace(quick, call=lambda x: calls.pop(0).call(x)), INPUTS)
    assert [sample(), sample()] == pytest.approx([DEVICE_SECONDS] * 2)
    assert len(calls) == 1  # once it was too little
    assert not gpu.launch_bound


def test_who_launches_more_than_the_queue_holds_is_marked(gpu: Any) -> None:
    many = launches(3 * QUEUE)
    seconds = gpu.device_clock(many, INPUTS)()
    assert gpu.launch_bound == {"a"}
    assert seconds > 3 * QUEUE * DEVICE_SECONDS
    gpu.clocks()
    assert not gpu.launch_bound


def test_a_whole_call_is_timed_alone_until_its_result_is_there(gpu: Any) -> None:
    sample = gpu.call_clock(launches(3), INPUTS)
    timeline.launch("of others", device_seconds=1.0)
    timeline.log.clear()
    assert sample() == pytest.approx(3 * HOST_SECONDS + DEVICE_SECONDS)
    assert timeline.log == ["wait", "kernel", "kernel", "kernel", "wait", "fill with nan"] * 5


def test_a_sample_of_whole_calls_is_their_median(gpu: Any) -> None:
    quick, slow = launches(1), launches(1, host_seconds=1.0)
    calls = [quick] * 3 + [quick, slow, quick, slow, quick]
    sample = gpu.call_clock(replace(quick, call=lambda x: calls.pop(0).call(x)), INPUTS)
    assert sample() == pytest.approx(HOST_SECONDS + DEVICE_SECONDS)


@pytest.mark.parametrize("clock", ["device", "call"])
def test_each_call_has_another_input_and_nothing_is_collected(gpu: Any, clock: str) -> None:
    handed: list[Any] = []
    collecting: list[bool] = []
    one = launches(1, handed)

    def call(x: Any) -> Any:
        collecting.append(gc.isenabled())
        return one.call(x)

    interleave({"a": gpu.clocks()[clock](replace(one, call=call), INPUTS)}, seconds=1e9, rounds=4)
    assert len(handed) >= 7
    assert {float(x[0]) for x in handed} == {0.0, 1.0, 2.0}
    assert all(first is not second for first, second in zip(handed[1:], handed[:-1], strict=True))
    assert not any(collecting)
    assert gc.isenabled()


def test_what_a_gpu_is(gpu: Any) -> None:
    assert import_module("harness.gpu").about(gpu.index) == {
        "name": "Stand-in 1", "compute_capability": "9.0", "multiprocessors": 12, "driver": "CUDA 13.1",
    }  # fmt: skip


def test_libraries_must_share_a_stream(gpu: Any) -> None:
    gpu.require_stream(0)
    with pytest.raises(rb.ArgumentError, match=r"CuPy's current stream is 0x0 and torch's is 0x2.*Unset CUPY_CUDA_PER"):
        gpu.require_stream(2)
