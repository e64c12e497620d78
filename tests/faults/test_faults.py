"""The machine that plants faults, on a package of a few functions."""

import json

import pytest

from faults.tables import Fault
from faults.tiny import SOURCE, TESTED, Project, fault

CAUGHT = fault("number + number", "number * number")
HARMLESS = fault("number + number", "2 * number", name="harmless")


def test_a_caught_fault_and_one_that_survives(project: Project) -> None:
    assert project.plant(CAUGHT)[0] == 0
    code, output = project.plant(CAUGHT, HARMLESS)
    assert code == 1
    assert "survived: harmless" in output
    assert output.endswith("1 of 2 planted faults caught\n")
    assert project.source.read_text(encoding="utf-8") == SOURCE


def test_a_loop_without_end_is_caught_with_a_note(project: Project) -> None:
    endless = fault("number - 1", "number + 1", "until_zero", "test_until_zero")
    code, output = project.plant(endless)
    assert code == 0
    assert "CPU time" in output


def test_a_crash_is_caught_with_a_note(project: Project) -> None:
    code, output = project.plant(fault("return result", "import os; os.abort()"))
    assert code == 0
    assert "SIGABRT" in output


@pytest.mark.parametrize(
    ("wrong", "where", "right", "said"),
    [
        ("1 / 0", "numbers.py", "def half(number): return number / 2", "pytest ended with"),
        ("import nowhere", "half", "return number / 2", "out of date"),
    ],
    ids=["collection", "import"],
)
def test_a_fault_that_no_test_meets_is_an_error(
    project: Project, wrong: str, where: str, right: str, said: str
) -> None:
    code, output = project.plant(fault(right, wrong, where, "test_half"))
    assert code == 1
    assert "not tried: a fault (tests/test_tiny.py::test_half): " in output
    assert said in output
    assert output.endswith("0 of 1 planted faults caught\n")


def test_tests_that_fail_without_a_fault_are_named(project: Project) -> None:
    project.write("tests/test_tiny.py", TESTED.replace("== 6", "== 7"))
    code, output = project.plant(CAUGHT)
    assert code == 1
    assert "without any fault tests/test_tiny.py::test_double fails" in output
    assert "planted" not in output


def test_tests_that_are_skipped_guard_nothing(project: Project) -> None:
    skipped = TESTED.replace("def test_double", "import pytest\n\n@pytest.mark.skip\ndef test_double")
    project.write("tests/test_tiny.py", skipped)
    code, output = project.plant(CAUGHT, fault("number / 2", "number", "half", "test_half", "another"))
    assert code == 1
    assert "test_double" in output
    assert "did not run" in output


def test_only_what_changed_is_planted(project: Project) -> None:
    project.write("installed/tiny/more.py", "def more(number):\n    return number + 1\n")
    project.write("tests/test_more.py", "from tiny.more import more\n\ndef test_more():\n    assert more(1) == 2\n")
    other = Fault("other", "more", "+ 1", "- 1", ("test_more.py::test_more",), (), "tiny")
    changed = ("--changed", "--minutes", "5")
    assert "2 of 2" in project.plant(CAUGHT, other, words=changed)[1]
    assert "2 of 2" in project.plant(CAUGHT, other)[1]
    assert {*json.loads((project.at / "tables" / "record.json").read_text())} == {"tiny/more.py", "tiny/numbers.py"}
    assert "0 of 0" in project.plant(CAUGHT, other, words=changed)[1]
    project.write("installed/tiny/more.py", "def more(number):\n    return 0 + number + 1\n")
    assert "1 of 1" in project.plant(CAUGHT, other, words=changed)[1]
    project.write("tests/test_tiny.py", f"{TESTED}\n")
    assert "2 of 2" in project.plant(CAUGHT, other, words=changed)[1]
    code, output = project.plant(CAUGHT, other, words=("--changed", "--minutes", "0"))
    assert code == 0
    assert "2 left out" in output
    assert "2 of 2" in project.plant(CAUGHT, other, words=("--changed",))[1]
    assert "0 of 0" in project.plant(CAUGHT, other, words=("--changed",))[1]
    assert "0 of 0" in project.plant(CAUGHT, other, words=changed)[1]


def test_a_survivor_is_not_in_the_record(project: Project) -> None:
    project.plant(CAUGHT, HARMLESS)
    assert json.loads((project.at / "tables" / "record.json").read_text()) == {}


def test_the_number_of_faults_does_not_fall(project: Project) -> None:
    code, output = project.plant(words=("--check",))
    assert code == 2
    assert "may not fall below 1" in output


def test_tables_are_written_anew_where_names_changed(project: Project) -> None:
    project.write("installed/tiny/numbers.py", SOURCE.replace("double", "twice").replace("number", "x"))
    project.write("tests/test_moved.py", TESTED.replace("double", "twice").replace("def test_twice", "def test_double"))
    (project.at / "tests" / "test_tiny.py").unlink()
    by_name, by_place = (
        fault("number / 2", "number / 3", "half", "test_half", "names"),
        fault("return result", "return 0"),
    )
    code, output = project.plant(by_name, by_place, words=("--check",))
    assert code == 0
    assert "names: right is 'x / 2', not 'number / 2'" in output
    assert project.plant(by_name, by_place, words=("--update",))[0] == 0
    written = (project.at / "tables" / "tiny.toml").read_text(encoding="utf-8")
    assert 'where = "half", right = "x / 2", wrong = "x / 3", tests = "test_moved.py::test_half"' in written
    assert 'where = "twice", right = "return result"' in written


def test_a_name_that_no_fault_has_is_refused(project: Project) -> None:
    code, output = project.plant(CAUGHT, words=("another",))
    assert code == 2
    assert "no fault is called 'another'" in output
