"""Where faults are found: layout, renamed and moved definitions, and what is refused."""

from pathlib import Path

import pytest

from faults.placing import check, place, sources
from faults.tables import Fault, TableError
from faults.tiny import SOURCE


def fault(right: str, wrong: str, where: str = "double") -> Fault:
    return Fault("a fault", where, right, wrong, (), (), "tiny")


def planted(text: str, which: Fault, folder: Path, name: str = "numbers.py") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    files = sources(folder)
    found = place(which, files)
    check(found, files)
    return found.planted()


def test_layout_and_comments_do_not_matter(tmp_path: Path) -> None:
    text = SOURCE.replace("number + number", "(\n        number  # one\n        + number\n    )")
    which = fault("result = (number + number)", "result = 0")
    assert "result = 0\n    return" in planted(text, which, tmp_path)


def test_renaming_is_followed(tmp_path: Path) -> None:
    text = SOURCE.replace("number", "x").replace("result", "y")
    assert "y = x * x\n" in planted(text, fault("result = number + number", "result = number * number"), tmp_path)


def test_a_definition_that_moved_or_was_renamed_is_found(tmp_path: Path) -> None:
    text = SOURCE.replace("def double", "def twice")
    assert "number * number" in planted(text, fault("number + number", "number * number"), tmp_path, "elsewhere.py")


def test_lines_are_indented_as_the_first(tmp_path: Path) -> None:
    text = planted(SOURCE, fault("number = number - 1", "if number:\n    number = 0", "until_zero"), tmp_path)
    assert "        if number:\n            number = 0\n    return" in text


@pytest.mark.parametrize(
    ("which", "said"),
    [
        (fault("number", "0"), "stands 3 times"),
        (fault("number - number", "0"), "neither in double"),
        (fault("a + b", "0", "half"), "nor elsewhere"),
        (fault("number + number", "(number"), "no Python"),
        (fault("number + number", "nowhere"), "stands nowhere"),
        (fault("number + number", "number  +  number"), "is what is right"),
    ],
)
def test_a_fault_that_cannot_be_planted_is_refused(tmp_path: Path, which: Fault, said: str) -> None:
    with pytest.raises(TableError, match=f"'a fault'.*{said}"):
        planted(SOURCE, which, tmp_path)


def test_c_has_other_comments(tmp_path: Path) -> None:
    which = Fault("a fault", "walk.cu", "x <= 1 / 2", "x < 1 / 2", (), (), "tiny")
    assert planted("int f(int x) { return x /* ... */ <= 1 // one\n / 2; }\n", which, tmp_path, "walk.cu") == (
        "int f(int x) { return x < 1 / 2; }\n"
    )
