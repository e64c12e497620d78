"""Which kernels are used, by what their checks found, on the stand-in for CuPy; needs --kernels."""

import dataclasses
import time
from pathlib import Path
from threading import Thread
from typing import Any

import device_standin
import ml_dtypes  # noqa: F401  # gives NumPy bfloat16
import pytest
import standin
from gpu_walks import module
from kernel_checks import LAST_BIT, Plant, another_process, distrust, everything, held, selfcheck, trusted

import rnn_backends as rb
from rnn_backends.backends.cuda_kernels import verdicts
from rnn_backends.backends.cuda_kernels.plan import REGIMES
from rnn_backends.backends.cuda_kernels.sources import ENTRIES
from rnn_backends.errors import KernelWarning
from rnn_backends.testing import excess, reference
from rnn_backends.testing.cases import Draw

pytestmark = pytest.mark.usefixtures("none_checked")
DTYPES = ("float32", "float64", "float16", "bfloat16")
CASE = Draw("float32", 0).case(shape=(6, 3, 4, 5), sides="fb", h_0=True, lengths=[6, 0, 3])

every_regime = pytest.mark.parametrize("regime", REGIMES)


def run(rnn: rb.RNN | None = None) -> float:
    """Return the error of a network that no check has seen, in units of the bound."""
    found = (rnn or rb.RNN(CASE.layers).to("cupy:0"))(CASE.x, CASE.h_0, lengths=CASE.lengths)
    wanted = reference(CASE.layers, CASE.x, CASE.h_0, CASE.lengths, dtype="float32")
    return max(excess(rb.to_numpy(one), other) for one, other in zip(found, wanted, strict=True))


@every_regime
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_kernel_that_is_right_passes_once(regime: str, dtype: str) -> None:
    assert trusted(regime, dtype)
    assert set(standin.RawKernel.launches) == {ENTRIES[regime]}
    assert held() == {f"{regime} {dtype}": "passed"}
    another_process()
    assert trusted(regime, dtype)
    assert not standin.RawKernel.launches


WRONG = {  # a fault of each kernel, and one that does not have it
    "block": (("block.cu", "(input_of(inputs, round) + share.bias)", "input_of(inputs, round)"), "sweep"),
    "grid": (LAST_BIT, "step"),
    "sweep": (("words.cu", "*to = x;", "*to = x ^ 1 << 30;"), "block"),
    "step": (("step.cu", "h[i] = a;", "h[i] = -a;"), "grid"),
}


@every_regime
def test_a_wrong_kernel_is_never_used(regime: str, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    fault, right = WRONG[regime]
    plant(*fault)
    make_plan = module("plan").make_plan
    monkeypatch.setattr(module("launch"), "REGIMES", (regime, right))  # of which the former is taken for the faster
    monkeypatch.setattr(
        module("choices"), "make_plan", lambda problem, device, left: make_plan(problem, device, left[:1])
    )
    rnn = rb.RNN(CASE.layers).to("cupy:0")
    with pytest.warns(KernelWarning) as told:
        assert run(rnn) <= 1.0
    assert [str(one.message).split("'")[1] for one in told] == [regime]
    assert {name: verdict == "passed" for name, verdict in held().items()} == {
        f"{regime} float32": False, f"{right} float32": True,
    }  # fmt: skip
    standin.RawKernel.launches.clear()
    assert run(rnn) <= 1.0
    assert set(standin.RawKernel.launches) == {ENTRIES[right]}


def test_what_a_warning_says(plant: Plant, tmp_path: Path) -> None:
    plant(*WRONG["block"][0])
    with pytest.warns(KernelWarning) as told:
        assert run() <= 1.0
    path, numbers = verdicts.file_of(module("trust").key_of("block", "float32", 0)), 13 * 5 * 2 * 88
    assert path.parent == tmp_path / "cache" / "cuda_kernels"
    reason = held()["block float32"]
    assert reason.startswith("of its states, ")
    assert reason.endswith(f" of {numbers} numbers are not those of the equation as written")
    (warning,) = told
    assert str(warning.message) == (
        "the CUDA kernel 'block' is not used for float32 on Stand-in 0, compute capability 9.0, driver 13010, NVRTC 13.1, "
        f"CuPy 14.0.0: {reason}. Another kernel, or the equation as written, takes over. RNN_CUPY_KERNEL=block uses it all "
        f"the same, right or wrong; once {path} is removed, it is checked again."
    )
    assert run() <= 1.0  # without a warning, which would be an error
    assert not trusted("block")
    another_process()
    with pytest.warns(KernelWarning, match=reason):
        assert not trusted("block")
    assert not standin.RawKernel.launches


def test_without_any_kernel_the_equation_runs_as_written() -> None:
    distrust(*REGIMES)
    with pytest.warns(KernelWarning) as told:
        assert run() <= 1.0
    assert {str(one.message).split("'")[1] for one in told} == set(REGIMES)
    (layer,) = CASE.layers
    assert isinstance(layer.backward, rb.Cell)
    unlike = [rb.Layer(layer.forward, dataclasses.replace(layer.backward, activation="relu"))]  # walked apart
    output, _ = rb.RNN(unlike).to("cupy:0")(CASE.x, CASE.h_0)
    assert excess(rb.to_numpy(output), reference(unlike, CASE.x, CASE.h_0, dtype="float32")[0]) <= 1.0
    assert not standin.RawKernel.launches


@every_regime
def test_the_variable_uses_a_kernel_without_a_check(regime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    distrust(*REGIMES)
    monkeypatch.setenv("RNN_CUPY_KERNEL", regime)
    assert run() <= 1.0
    assert set(standin.RawKernel.launches) == {ENTRIES[regime]}
    assert set(held().values()) == {"it was planted"}


# Processes and threads.


def test_a_process_that_ends_in_the_middle(checks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves the kernel distrusted, but not while it may still be checking."""
    key, during = module("trust").key_of("block", "float32", 0), []
    monkeypatch.setattr(selfcheck(), "fault", lambda *_: during.append(everything()[key]))
    assert trusted("block")
    assert abs(float(during[0]) - time.time()) < 60
    verdicts.keep(key, time.time())
    another_process()
    assert trusted("block")
    assert len(during) == 2
    verdicts.keep(key, time.time() - verdicts.LONGEST - 1)
    another_process()
    with pytest.warns(KernelWarning, match="a process ended while it was checked"):
        assert not trusted("block")
    assert len(during) == 2


def test_a_check_that_is_interrupted_leaves_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(selfcheck(), "fault", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trusted("block")
    assert held() == {}
    assert trusted("block")


def test_threads_check_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, found = [], []

    def slow(regime: str, _: Any) -> None:
        made.append(regime)
        time.sleep(0.1)

    monkeypatch.setattr(selfcheck(), "fault", slow)
    threads = [Thread(target=lambda: found.append(trusted("block"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8
    assert made == ["block"]


# While work is captured.


def test_nothing_is_checked_while_work_is_captured() -> None:
    rnn, stream = rb.RNN(CASE.layers).to("cupy:0"), device_standin.Stream(non_blocking=True)
    with stream:
        stream.captures = True
        with pytest.raises(rb.BackendUnavailableError) as caught:
            run(rnn)
        assert not standin.RawKernel.launches
        assert held() == {}
    first = str(caught.value).split("'")[1]
    assert str(caught.value) == (
        f"the CUDA kernel '{first}' is to be checked on Stand-in 0, compute capability 9.0, driver 13010, NVRTC 13.1, CuPy "
        "14.0.0, which is impossible while a stream is captured. Call the model once with such inputs before, or set "
        f"RNN_CUPY_KERNEL={first}, which is not checked."
    )
    assert run(rnn) <= 1.0
    for _ in range(2):
        with stream:
            assert run(rnn) <= 1.0
        another_process()
        rnn = rb.RNN(CASE.layers).to("cupy:0")
    assert held() == {f"{first} float32": "passed"}


def test_the_variable_serves_while_work_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNN_CUPY_KERNEL", "sweep")
    with device_standin.Stream(non_blocking=True) as stream:
        stream.captures = True
        assert run() <= 1.0


# Errors of CUDA.


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(standin.RawKernel, "__call__", fail)


@pytest.mark.parametrize("kind", ["runtime", "driver"])
def test_a_kernel_that_cuda_refuses(kind: str, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    types = {"runtime": cupy.cuda.runtime.CUDARuntimeError, "driver": cupy.cuda.driver.CUDADriverError}
    failing(monkeypatch, types[kind](701))
    with pytest.warns(KernelWarning, match="CUDA reports cudaError701: as planted"):
        assert not trusted("block")
    assert held() == {"block float32": "CUDA reports cudaError701: as planted"}


def test_a_kernel_that_does_not_compile(plant: Plant) -> None:
    plant("block.cu", "KERNEL walk_block(", "KERNAL walk_block(")
    with pytest.warns(KernelWarning, match="'block' is not used .*: it does not compile: .*KERNAL"):
        assert run() <= 1.0
    assert len(held()["block float32"]) < 250


@pytest.mark.parametrize("error", ["memory", "capture", "cuBLAS", "CuPy's memory"])
def test_an_error_that_no_kernel_makes_is_no_verdict(error: str, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cublas = standin.cublas()
    raised = {
        "memory": device_standin.CudaError(2),
        "capture": device_standin.CudaError(901),
        "cuBLAS": cublas.CUBLASError("CUBLAS_STATUS_NOT_INITIALIZED"),
        "CuPy's memory": cupy.cuda.memory.OutOfMemoryError("Out of memory"),
    }[error]
    with monkeypatch.context() as patch:
        failing(patch, raised)
        with pytest.raises(type(raised), match=str(raised)):
            trusted("block")
    assert held() == {}
    assert trusted("block")


@pytest.mark.parametrize("kind", ["CUDA", "cuBLAS"])
def test_a_kernel_after_which_nothing_runs(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict is there before the error is raised: the next process does not use the kernel."""
    cublas = standin.cublas()
    illegal = device_standin.CudaError(700)
    error = illegal if kind == "CUDA" else cublas.CUBLASError("CUBLAS_STATUS_EXECUTION_FAILED")

    def broken(_: Any) -> None:
        raise illegal

    with monkeypatch.context() as patch:
        failing(patch, error)
        patch.setattr(device_standin.Device, "synchronize", broken)
        with pytest.raises(rb.BackendUnavailableError) as caught:
            run()
    first = str(caught.value).split("'")[1]
    key = module("trust").key_of(first, "float32", 0)
    assert str(caught.value) == (
        f"the CUDA kernel '{first}' failed its check with {error}, after which CUDA does nothing more in this process. Start "
        f"another, which does not use it if {verdicts.where(key)} could be written, or set "
        "RNN_CUPY_KERNEL=off, which uses none."
    )
    another_process()
    with pytest.warns(KernelWarning, match=f"'{first}' is not used for float32 .* CUDA reports {error}"):
        assert run() <= 1.0


# What is shown.


def test_info_shows_the_verdicts() -> None:
    from rnn_backends.cli import info

    (unchecked,) = [line for line in info.lines(info.collect()) if "CUDA" in line]
    assert unchecked.endswith("  none was checked yet; each is, before its first use on a device")
    distrust("grid")
    assert trusted("block")
    launched = len(standin.RawKernel.launches)
    found = info.collect()
    assert found["cuda_kernels"] == [
        {"device": "cuda:0", "kernel": "block", "dtype": "float32", "passed": True, "reason": None},
        {"device": "cuda:0", "kernel": "grid", "dtype": "float32", "passed": False, "reason": "it was planted"},
    ]
    shown = [line.split("  ") for line in info.lines(found) if "CUDA" in line]
    assert [(line[0], line[-1].strip()) for line in shown] == [
        ("cuda:0, CUDA kernel block, float32", "passed its check"),
        ("cuda:0, CUDA kernel grid, float32", "it was planted"),
    ]
    assert len(standin.RawKernel.launches) == launched


def test_info_without_a_compiler_of_cuda(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from rnn_backends.cli import info

    def missing() -> None:
        msg = "libnvrtc is missing"
        raise ImportError(msg)

    monkeypatch.setattr(cupy.cuda.nvrtc, "getVersion", missing)
    another_process()
    assert info.collect()["cuda_kernels"] == []
