"""The problems of the harness and its competitors, checked against the float64 reference."""

from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from harness import competitors
from harness.contestant import AbsentError, Contestant, check, ours
from harness.problem import Drawn, Problem
from harness.processes import Entrant, measured
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.backends.cpu_kernels import choice
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


@pytest.mark.parametrize("problem", VARIANTS.values(), ids=VARIANTS)
def test_ours_and_the_text_book_are_right(problem: Problem) -> None:
    drawn = Drawn.of(problem)
    contestants = [ours(drawn)]
    with suppress(AbsentError):
        contestants.append(competitors.prepare("textbook", drawn, 1))
    is_plain = not (problem.bidirectional or problem.ragged or problem.step or problem.leak)
    assert list(check(contestants, drawn)) == ["ours", *["textbook"] * is_plain]


@pytest.mark.parametrize("change", [1e-5, np.nan])
def test_a_competitor_that_differs_stops_the_run(change: float) -> None:
    drawn = Drawn.of(SMALL)
    right = ours(drawn)

    def call(x: Any) -> NDArray[Any]:
        output = np.array(right.call(x))
        output[-1, -1, -1] += change
        return output

    with pytest.raises(rb.WrongResultError, match=r"^hasty does not compute T=5 B=11 I=4 H=6 float32: it differs"):
        check([right, Contestant("hasty", call)], drawn)
    with pytest.raises(rb.WrongResultError, match="by inf times the error bound"):
        check([Contestant("misshapen", lambda x: right.call(x)[:-1])], drawn)


@pytest.mark.parametrize(
    ("options", "done"),
    [
        ({}, [55 * 10 * 6]),
        ({"tokens": True}, [55 * 6 * 6]),
        ({"step": True}, [11 * 10 * 6]),
        ({"bidirectional": True}, [55 * 10 * 6] * 2),
        ({"batch": 1}, [5 * 4 * 6, 5 * 6 * 6]),
        ({"batch": 1, "step": True}, [4 * 6, 6 * 6]),
    ],
)
def test_the_limit_multiplies_as_often_as_the_problem(
    options: dict[str, Any], done: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, counts = Drawn.of(replace(SMALL, **options)), list[int]()
    limit = competitors.prepare("product", drawn, 1)
    assert check([limit], drawn) == {}  # it has no result
    monkeypatch.setattr(np, "matmul", lambda a, b, out: counts.append(a.shape[-1] * out.size))
    limit.call(drawn.x)
    assert counts == done


@pytest.mark.parametrize(
    ("name", "problem", "reason"),
    [
        ("textbook", VARIANTS["step, tokens"], "whole sequences of equal lengths"),
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


def test_those_that_are_installed_compute_the_same() -> None:
    """Each in a process of its own: it has settings that would stay."""
    remarks: list[str] = []
    entrants = [Entrant("ours", "ours", 1), *(Entrant(name, name, 1) for name in competitors.LIBRARIES)]
    questions = [{"problem": asdict(problem)} for problem in VARIANTS.values()]
    cells = list(measured(entrants, questions, 0.0, 0, remarks.append))
    assert [cell["problem"] for cell in cells] == [question["problem"] for question in questions]
    for cell, remark in zip(cells, remarks, strict=True):
        assert set(cell["seconds"]) | set(cell["absent"]) == {"ours", *competitors.LIBRARIES}
        assert not set(cell["seconds"]) & set(cell["absent"])
        assert remark.startswith(str(Problem(**cell["problem"])))
        assert all(f"without {name}: {reason}" in remark for name, reason in cell["absent"].items())
        assert max(cell["excess"].values()) <= 1.0
        assert cell["versions"]["numpy"] == np.__version__
        assert cell["kernel"] == choice.state()
    assert "textbook" in cells[list(VARIANTS).index("tokens")]["seconds"]
