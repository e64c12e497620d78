"""Contestants in processes of their own on one GPU, here the stand-in: some do wrong, which costs the others nothing."""

from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest
from harness import gpu_cells
from harness.gpu_cells import Task, cells
from harness.problem import Problem
from harness.processes import UnansweredError
from harness.table import lines
from harness.timing import ratios

PROBLEMS = [Problem(seq_len=6, batch=3, input_size=4, hidden_size=size) for size in (5, 7)]
FAULTS = ("lies", "lies later", "raises", "dies", "dies later", "does not begin")


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Task:
    monkeypatch.setattr(gpu_cells, "CHILD", "planted")
    monkeypatch.setenv("RNN_CUPY_KERNEL", "off")  # no kernels, which need g++
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # of processes that are killed
    return Task(
        problems=PROBLEMS, backends=["cupy"], against=["right", *FAULTS], threads=1, seconds=0.0, rounds=3,
    )  # fmt: skip


def test_a_contestant_that_fails_is_a_cell(task: Task) -> None:
    remarks: list[str] = []
    found = list(cells(task, remarks.append))
    assert [[cell["problem"]["hidden_size"] for cell in pair] for pair in found] == [[5, 5], [7, 7]]
    assert [cell["clock"] for cell in found[0]] == ["device", "call"]
    for cell in [cell for pair in found for cell in pair]:
        assert {name: len(times) for name, times in cell["seconds"].items()} == {"cupy": 3, "right": 3}
        assert set(cell["excess"]) == {"cupy", "right"}
        assert max(cell["excess"].values()) <= 1.0
        failed = cell["failed"]
        assert set(failed) == set(FAULTS)
        for name in ("lies", "lies later"):
            assert failed[name].startswith("wrong: ")
            assert failed[name].endswith(" times the bound")
            assert float(failed[name].split()[1]) > 1.0
        assert failed["raises"] == "crashed: RuntimeError: out of patience"
        assert failed["dies"] == failed["dies later"] == failed["does not begin"] == "crashed: SIGSEGV"
        assert cell["asked"] == ["cupy", "right", *FAULTS]
    assert sum("failed " in remark and "dies: crashed: SIGSEGV" in remark for remark in remarks) == 2


def test_one_runs_at_a_time_where_times_are_taken(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but one are stopped, as their processes show."""
    states: list[list[str]] = []
    answer = gpu_cells.Contestants.answer

    def watched(contestants: gpu_cells.Contestants, name: str, seconds: float) -> gpu_cells.Answer:
        found = answer(contestants, name, seconds)
        if "seconds" in found:
            deadline = monotonic() + 5.0  # a signal takes its time
            while "R" in (states_now := [state(process.pid) for process in contestants.running.values()]):
                assert monotonic() < deadline
            states.append(states_now)
        return found

    monkeypatch.setattr(gpu_cells.Contestants, "answer", watched)
    both = Task(**{**vars(task), "problems": PROBLEMS[:1], "against": ["right"]})
    list(cells(both, print))
    assert states == [["T", "T"]] * (2 * 2 * 3)


def state(process: int) -> str:
    """Return the state of a process: T is stopped; any other is given as R."""
    found = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    return found if found == "T" else "R"


def test_what_is_measured_is_there_before_the_next_problem(task: Task) -> None:
    found = cells(Task(**{**vars(task), "against": []}), print)
    first = next(found)
    assert [set(cell["seconds"]) for cell in first] == [{"cupy"}] * 2
    found.close()  # type: ignore[attr-defined]


def test_a_contestant_that_hangs_is_ended_and_left_out(task: Task) -> None:
    """Two that hang cost the time of one, once."""
    given = {**vars(task), "against": ["right", "hangs", "hangs, too"], "answer_seconds": 4.0}
    begin = monotonic()
    found = list(cells(Task(**given), print))
    assert monotonic() - begin < 8.0
    for told, pair in zip(
        ("killed: no answer within 4 s", "left out: no answer within 4 s before"), found, strict=True
    ):
        assert [set(cell["seconds"]) for cell in pair] == [{"cupy", "right"}] * 2
        assert pair[0]["failed"] == {"hangs": told, "hangs, too": told}


def test_ours_is_begun_again_where_it_did_not_answer(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def answer(self, seconds: float) -> None:
            raise UnansweredError

    with ExitStack() as stack:
        contestants = gpu_cells.Contestants(task, stack)
        for name in ("cupy", "right"):
            monkeypatch.setitem(contestants.running, name, Silent())
            assert "no answer" in contestants.answer(name, 0.0)["failed"]
        assert set(contestants.silent) == {"right"}
        assert not contestants.running


def test_where_ours_fails_the_others_keep_their_numbers(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = gpu_cells.Contestants.answer

    def planted(contestants: gpu_cells.Contestants, name: str, seconds: float) -> gpu_cells.Answer:
        return {"failed": "planted"} if name == "cupy:1" else answer(contestants, name, seconds)

    monkeypatch.setattr(gpu_cells.Contestants, "answer", planted)
    (pair,) = cells(
        Task(**{**vars(task), "problems": PROBLEMS[:1], "backends": ["cupy:1"], "against": ["right"]}), print
    )
    assert [set(cell["seconds"]) for cell in pair] == [{"right"}] * 2
    assert pair[0]["failed"] == {"cupy:1": "planted"}
    shown = list(lines(pair))
    assert "planted" in shown[2]
    assert not ratios(pair[0]["seconds"], "cupy:1")
