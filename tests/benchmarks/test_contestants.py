"""The problems of the harness and its competitors, checked against the float64 reference."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shape
from harness import competitors, worker
from harness.contestant import AbsentError, Contestant, check, ours
from harness.problem import Drawn, Problem
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.cli.bench import environment
from rnn_backends.testing import reference

SMALL = Problem(seq_len=5, batch=11, input_size=4, hidden_size=6)
VARIANTS = {
    "features": SMALL,
    "float64": replace(SMALL, dtype="float64"),
    "one sequence": replace(SMALL, batch=1),
    "tokens": replace(SMALL, tokens=True),
    "bidirectional": replace(SMALL, bidirectional=True),
    "tokens, bidirectional": replace(SMALL, tokens=True, bidirectional=True),
    "ragged": replace(SMALL, ragged=True),
    "ragged, bidirectional": replace(SMALL, ragged=True, bidirectional=True),
    "ragged, tokens": replace(SMALL, ragged=True, tokens=True),
    "step": replace(SMALL, step=True),
    "step, tokens": replace(SMALL, step=True, tokens=True),
    "leaky": replace(SMALL, batch=1, leak=0.25),
    "leaky, step": replace(SMALL, batch=1, leak=0.25, step=True),
}


@pytest.mark.parametrize("problem", VARIANTS.values(), ids=VARIANTS)
def test_what_is_wanted_covers_the_batch(problem: Problem) -> None:
    drawn = Drawn.of(problem)
    value, _ = reference([drawn.layer], drawn.x, lengths=drawn.lengths, dtype=problem.dtype)
    np.testing.assert_allclose(drawn.wanted.value, value.value, rtol=1e-14, atol=1e-15)  # BLAS sums in another order
    np.testing.assert_allclose(drawn.wanted.error, value.error, rtol=1e-14)
    assert drawn.wanted.value.shape == (5, problem.batch, 6 * len(drawn.cells))
    for cell in drawn.cells:
        np.testing.assert_allclose(abs(np.asarray(cell.weight_hh)).sum(axis=1), 0.8, rtol=1e-6)
    assert drawn.lengths is None or (max(drawn.lengths), min(drawn.lengths)) == (5, 1)


@pytest.mark.parametrize("backend_name", ["numpy", "array_api_strict"])
@pytest.mark.parametrize("problem", VARIANTS.values(), ids=VARIANTS)
def test_ours_is_right_on_host_and_device(problem: Problem, backend_name: str) -> None:
    drawn = Drawn.of(problem)
    assert check([ours(backend_name, drawn)], drawn)[backend_name] <= 1.0


def test_a_device_is_done_when_a_value_is_on_the_host() -> None:
    drawn = Drawn.of(SMALL)
    strict, plain = ours("array_api_strict", drawn), ours("numpy", drawn)
    placed = strict.place(drawn.x)
    assert rb.get_backend("array_api_strict").owns(strict.call(placed))
    assert plain.place(drawn.x) is drawn.x


@pytest.mark.parametrize("change", [1e-5, np.nan])
def test_a_competitor_that_differs_stops_the_run(change: float) -> None:
    drawn = Drawn.of(SMALL)
    right = ours("numpy", drawn)

    def call(x: Any) -> NDArray[Any]:
        output = np.array(right.call(x))
        output[-1, -1, -1] += change
        return output

    with pytest.raises(rb.WrongResultError, match=r"^hasty does not compute T=5 B=11 I=4 H=6 float32: it differs"):
        check([right, Contestant("hasty", call)], drawn)
    with pytest.raises(rb.WrongResultError, match="by inf times the error bound"):
        check([Contestant("misshapen", lambda x: right.call(x)[:-1])], drawn)


def test_a_limit_has_no_result_to_check() -> None:
    drawn = Drawn.of(VARIANTS["one sequence"])
    assert check([competitors.prepare(name, drawn, 1) for name in ("product", "recurrent")], drawn) == {}


@pytest.mark.parametrize(
    ("name", "problem", "reason"),
    [
        ("textbook", SMALL, "whole sequences of token ids"),
        ("textbook", VARIANTS["step, tokens"], "whole sequences of token ids"),
        ("recurrent", SMALL, "it is measured for one sequence"),
        ("product", VARIANTS["ragged"], "how much of a ragged batch"),
    ],
)
def test_who_does_not_run_a_problem_gives_the_reason(name: str, problem: Problem, reason: str) -> None:
    with pytest.raises(AbsentError, match=reason):
        competitors.prepare(name, Drawn.of(problem), 1)


@pytest.mark.parametrize("name", ["torch", "onnxruntime", "jax", "reservoirpy"])
def test_who_is_not_installed_is_absent(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(competitors, "distribution_version", lambda _: None)
    with pytest.raises(AbsentError, match=f"^not installed: pip install {name}"):
        competitors.prepare(name, Drawn.of(SMALL), 1)


def test_those_that_are_installed_compute_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    """All in one process of their own: they have settings that would stay."""
    task = worker.Task(
        problems=list(VARIANTS.values()),
        backends=["numpy"],
        against=list(competitors.LIBRARIES),
        threads=1,
        seconds=0.0,
        rounds=1,
    )
    cells = shape.measured(task)
    assert [Problem(**cell["problem"]) for cell in cells] == task.problems
    reported = capfd.readouterr().err
    for cell in cells:
        assert set(cell["seconds"]) | set(cell["absent"]) == {"numpy", *competitors.LIBRARIES}
        assert not set(cell["seconds"]) & set(cell["absent"])
        assert all(f"without {name}: {reason}" in reported for name, reason in cell["absent"].items())
        assert max(cell["excess"].values()) <= 1.0
        assert set(cell["excess"]) == set(cell["seconds"]) - set(competitors.LIMITS)
        assert cell["environment"] == environment(1, {})
    assert "textbook" in cells[list(VARIANTS).index("tokens")]["excess"]
