"""Contestants in processes of their own, and what is measured in others."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

import accuracy
import memory
import numpy as np
import pytest
from harness import child
from harness.competitors import text
from harness.contestant import AbsentError, Contestant, ours
from harness.machine import allowed
from harness.problem import Drawn, Problem
from harness.processes import UNSET, Entrant, Process, answer, busy_processors, conditions, measured, with_outputs

import rnn_backends as rb
from rnn_backends.backends.cpu_kernels import choice

PROBLEM = {"problem": asdict(Problem(seq_len=5, batch=3, input_size=4, hidden_size=6))}
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def small(tmp_path: Path) -> dict[str, Any]:
    return with_outputs(PROBLEM, tmp_path / "outputs.npz")


def state_of(process: int) -> str:
    """Return the state of a process: R runs, S waits, T is stopped."""
    return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


@linux
def test_who_is_not_asked_is_stopped(small: dict[str, Any]) -> None:
    with Process(Entrant("a", "ours", 1)) as one, Process(Entrant("b", "product", 1)) as other:
        assert 0.0 < one.ask(small)["excess"] <= 1.0
        assert other.ask(small)["excess"] == 0.0
        for process in (one, other, one):
            assert 0.0 < process.seconds() < 1.0
            deadline = monotonic() + 5.0
            while {state_of(each.pid) for each in (one, other)} != {"T"}:  # a signal takes its time
                assert monotonic() < deadline
    assert one.returncode == other.returncode == -9


def test_what_a_process_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in UNSET:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HOME", "/nowhere")
    found = conditions(2, {"RNN_CPU_KERNEL": "plain", "XLA_FLAGS": "--more"})
    assert {name for name in UNSET if name in found} == {"RNN_CPU_KERNEL", "RNN_NUM_THREADS"}
    assert (found["RNN_CPU_KERNEL"], found["RNN_NUM_THREADS"], found["OPENBLAS_NUM_THREADS"]) == ("plain", "2", "2")
    assert found["XLA_FLAGS"].endswith("intra_op_parallelism_threads=2 --more")
    assert found["HOME"] == "/nowhere"


def test_outputs_that_are_known_are_those_that_are_checked(small: dict[str, Any]) -> None:
    with np.load(small["outputs"]) as outputs:
        np.savez(small["outputs"], value=outputs["value"] + 1, error=outputs["error"])
    assert child.answered("ours", small, 1)[0]["raised"] == "WrongResultError"


def test_without_ours_nothing_is_measured() -> None:
    entrants = [Entrant("ours", "reservoirpy", 1)]
    with pytest.raises(rb.ArgumentError, match=r"^without ours there is nothing to compare with: "):
        list(measured(entrants, [PROBLEM], 0.0, 1, print))


def test_a_process_that_ends_is_an_error(small: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    message = "the process of nobody ended with code 1; its output is above"
    with Process(Entrant("nobody", "no such contestant", 1)) as process, pytest.raises(RuntimeError, match=message):
        process.ask(small)
    assert "KeyError" in capfd.readouterr().err


def test_a_wrong_result_ends_the_run(small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(drawn: Drawn) -> Contestant:
        made = ours(drawn)
        return Contestant("ours", lambda x: made.call(x) + 1)

    assert child.answered("ours", small, 1)[1] is not None
    monkeypatch.setattr(child, "ours", wrong)
    reply, ready = child.answered("ours", small, 1)
    assert (reply["raised"], ready) == ("WrongResultError", None)


@linux
def test_processors_are_kept_busy() -> None:
    with busy_processors():
        mine = os.getpid()
        children = Path(f"/proc/{mine}/task/{mine}/children").read_text(encoding="utf-8").split()
        assert len(children) >= len(allowed())
    left = Path(f"/proc/{mine}/task/{mine}/children").read_text(encoding="utf-8").split()
    assert len(left) == len(children) - len(allowed())


def test_the_bare_arithmetic_writes_the_same_text() -> None:
    rnn = rb.load(text.MODEL, backend="numpy")
    first = rnn.vocabulary.index(text.PROMPT)  # type: ignore[union-attr]
    assert text.Bare(rnn).generate(first, 30, seed=0) == rnn.generate([first], 30, seed=0).tolist()
    assert [text.make(maker, 3)[0].name for maker in ("ours", "bare")] == ["ours", "bare"]
    with pytest.raises(AbsentError, match="torch writes no text"):
        text.make("torch", 3)


def test_a_bare_arithmetic_that_is_wrong_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "DIFFERENCE", 1e-12)
    with pytest.raises(rb.WrongResultError, match=r"the bare arithmetic of shakespeare\.safetensors is wrong by"):
        text.make("bare", 3)


def test_memory_is_what_a_call_holds_beside_its_result() -> None:
    held = answer("memory", "held(lambda x: module.np.ones(2**23)[: len(x)].copy(), module.np.ones(2**21))")
    assert 64 - 16 - 1 < held < 64 + 8  # of 64 MiB, 16 are for the result, which is not there yet
    found = memory.measure(500, threads=1)["mib"]
    assert found.keys() == memory.CALLS.keys()
    assert all(-1.0 < mib < 200.0 for mib in found.values())  # of so few steps, less than what the system counts by


@pytest.mark.parametrize("activation", accuracy.ACTIVATIONS)
def test_errors_are_over_those_of_torch(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "MOST_STEPS", 12)
    monkeypatch.setattr(accuracy, "by_torch", lambda *given: accuracy.in_float64(*given) + 1e-3)
    own, theirs = accuracy.errors(1, activation)
    assert 0.0 < accuracy.rms(own) < accuracy.largest(own) < 1e-5
    assert accuracy.rms(theirs) == pytest.approx(1e-3)
    ratios = accuracy.ratios_to_torch(3)[activation]
    assert [len(found) for found in ratios.values()] == [3, 3]
    assert max(ratios["largest"]) < 1e-2


def test_every_kernel_has_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(module: str, call: str, variables: dict[str, str]) -> list[Any]:
        return [module, call, variables]

    monkeypatch.setattr(accuracy, "answer", asked)
    monkeypatch.setattr(choice, "kernels", lambda: ("avx2", "plain"))
    monkeypatch.setattr(accuracy, "distribution_version", lambda _: "0")
    assert accuracy.measure(7)["ratios"] == {
        name: ["accuracy", "ratios_to_torch(7)", {"RNN_CPU_KERNEL": name}] for name in ("avx2", "plain", "off")
    }
    monkeypatch.setattr(accuracy, "distribution_version", lambda _: None)
    assert accuracy.measure(7) == {"ratios": {}, "absent": {"torch": "not installed: pip install torch"}}


def test_torch_computes_the_networks_that_are_compared() -> None:
    pytest.importorskip("torch")
    for activation in accuracy.ACTIVATIONS:
        _, theirs = accuracy.errors(0, activation)
        assert 0.0 < np.abs(theirs).max() < 1e-4
