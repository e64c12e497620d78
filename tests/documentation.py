"""What README.md, the pages of docs and the examples show: blocks of code are run, outputs compared, links followed."""

import math
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.testing import cases, records

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
NAMES = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
"""The texts of the pages."""

BEGINNING = NAMES["README.md"].partition("\n## ")[0]
"""What of README.md is to be seen without scrolling."""
ROWS: dict[str, str] = dict(re.findall(r"^\| (.+?) \| `(.+)` \|$", BEGINNING, re.MULTILINE))
"""What to write, by what one has."""

ELSEWHERE = {
    "docs/coming_from.md": "tests/formats/test_coming_from.py",
    "docs/gpu.md": "tests/kernels/test_recipes.py",
    "docs/how_to/many_machines.md": "tests/scale/test_recipes.py",
    "docs/how_to/reservoirs.md": "tests/scale/test_reservoirpy.py",
}
"""Pages whose blocks of Python have tests of their own."""

WITH_COMMANDS = (
    "README.md",
    "docs/commands.md",
    "docs/how_to/many_files.md",
    "docs/backends.md",
    "examples/deploy/README.md",
)
"""Pages whose blocks of commands are run; those of others are for a checkout."""

OF_THE_SITE = {"docs/index.md", "docs/contributing.md", "docs/changes.md"}
"""Pages that hold what README.md and other files beside it do."""

OF_THE_MACHINE = re.compile(r"(backend|time|speed) ")
"""Rows of a report of which only the label is compared."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that has the examples."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page but those that need what is not here, and say so."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", NAMES[page], re.DOTALL | re.MULTILINE)
    return [block for block in found if not block.startswith("# needs ")]


def of_using(names: dict[str, Any]) -> None:
    """The shapes that the comments give."""
    shapes = {
        "output": (29, 8, 128), "h_n": (4, 8, 64), "z": (29, 8, 9), "ids": (3, 2), "classes": (29, 4), "p": (2, 2),
        "labels": (2,), "last": (64,), "mean": (4, 9), "tags": (2, 2, 5), "states": (2, 2, 4), "kept": (1, 2, 4),
    }  # fmt: skip
    assert {name: names[name].shape for name in shapes} == shapes
    assert (names["classes"][7:, 2] == -1).all()
    whole = names["tagger"].probabilities(np.ones((10, 2, 3)))
    np.testing.assert_allclose(names["tags"], whole[-2:], atol=1e-6)
    np.testing.assert_array_equal(names["stream"].state, names["kept"])
    assert rb.load("two-directions.npz").batch_first
    assert rb.load("classifier.safetensors").reads == "mean"


def of_readme(names: dict[str, Any]) -> None:
    assert names["output"].shape == (len("Full fathom five thy father lies"), 256)
    assert names["h_n"].shape == (2, 256)


def of_loading(names: dict[str, Any]) -> None:
    assert (names["output"].shape, names["h_n"].shape) == ((2, 5, 8), (4, 2, 4))


def of_backends(names: dict[str, Any]) -> None:
    assert names["rnn"].backend.name == "numpy"


def of_adding(names: dict[str, Any]) -> None:
    assert names["TestMyLib"]().backend == "mylib"


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "README.md": of_readme,
    "docs/using.md": of_using,
    "docs/which_line.md": of_loading,
    "docs/backends.md": of_backends,
    "docs/adding/backend.md": of_adding,
}
"""What holds of the names that the blocks of a page leave."""


@pytest.mark.parametrize("page", CHECKS)
def test_python_runs(page: str, folder: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)
    CHECKS[page](names)


def test_no_page_of_python_is_left_out() -> None:
    assert {page for page in NAMES if blocks(page, "python")} == {*CHECKS, *ELSEWHERE}


def commands(page: str) -> list[tuple[str, str | None]]:
    """The blocks of commands of a page, each with the output below it, if there is one."""
    found = re.findall(r"^```sh\n(.*?)^```$(?:[^`]*?^```\n(.*?)^```$)?", NAMES[page], re.DOTALL | re.MULTILINE)
    return [(block, output or None) for block, output in found if not block.startswith("# needs ")]


def in_shell(script: str) -> str:
    """Run commands in a shell in which `rnn-backends` and `python` are those of this Python; return what they print."""
    head = 'set -euo pipefail\nrnn-backends() { python -m rnn_backends "$@"; }\n'
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run = subprocess.run(
        ["bash", "-c", head + script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"{script}{run.stderr}"
    return run.stdout


def of_any_machine(output: str) -> list[list[str]]:
    """The words of each line, but those that are of the machine."""
    return [[line.split()[0]] if OF_THE_MACHINE.match(line) else line.split() for line in output.splitlines()]


def assert_same(printed: str, shown: str) -> None:
    """Compare what was printed with what a page shows, word by word; numbers with a point up to rounding."""
    found, wanted = of_any_machine(printed), of_any_machine(shown)
    assert list(map(len, found)) == list(map(len, wanted)), printed
    for word, right in zip(chain(*found), chain(*wanted), strict=True):
        if re.fullmatch(r"-?\d+\.\d+", right):
            assert math.isclose(float(word), float(right), abs_tol=2e-5), f"{word} for {right}"
        else:
            assert word == right


COMMANDS = [(page, *each) for page in WITH_COMMANDS for each in commands(page)]
RUN = [each for each in COMMANDS if not each[1].startswith("python3 -m venv")]


@pytest.mark.parametrize(("page", "block", "output"), RUN, ids=lambda each: str(each).partition("\n")[0][:60])
def test_commands_run(page: str, block: str, output: str | None, folder: Path) -> None:
    for line in block.replace("\\\n", " ").splitlines():
        assert re.match(r"(rnn-backends|python|printf|\w+=\S+ rnn-backends) ", line), f"{page}: {line}"
    printed = in_shell(block)
    if output is not None:
        assert_same(printed, output)


def test_the_commands_of_setting_up(folder: Path) -> None:
    """The first installs and runs a network, whose output is shown, the second runs the tests, as `.ci/run` runs them."""
    (install, shown), (check, _) = [each for each in commands("README.md") if each[0].startswith("python3 -m venv")]
    assert check.endswith("/nox\n")
    *_, run = install.split(" && ")
    assert shown is not None
    assert_same(in_shell(run.removeprefix(".venv/bin/")), shown)


def lines_on_a_screen(paragraph: str) -> int:
    """The lines of 100 columns that a paragraph of Markdown takes; a picture counts as 15."""
    if paragraph.startswith("!["):
        return 15
    if paragraph.startswith(("|", "```")):
        return sum(not line.startswith(("|--", "```")) for line in paragraph.splitlines())
    return math.ceil(len(re.sub(r"\]\([^)]*\)", "", paragraph)) / 100)


def test_the_beginning_of_the_readme_is_one_screen() -> None:
    paragraphs = re.findall(r"```.*?```|\S.*?(?=\n\n|\Z)", BEGINNING, re.DOTALL)
    lines = list(map(lines_on_a_screen, paragraphs))
    assert len(lines) == 7
    assert sum(lines) + len(lines) - 1 <= 45


def test_the_rows_of_the_readme_that_load() -> None:
    """Each is a row of docs/which_line.md, all of which are tested, of a file of any name."""
    lines = re.findall(r"`(rb\..+)` \|$", NAMES["docs/which_line.md"], re.MULTILINE)
    loading = list(ROWS.values())[:6]
    assert set(loading) <= {re.sub(r'load\("\w+\.', 'load("model.', line) for line in lines}


def test_the_other_rows_of_the_readme(folder: Path) -> None:
    batch, on_gpu, command = list(ROWS.values())[6:]
    names: dict[str, Any] = {"rb": rb, "sequences": [[1, 2, 3], [4]], "rnn": rb.RNN.init(5, 4, output_size=2)}
    exec(batch, names)
    assert list(map(len, names["ids"])) == [3, 1]
    rb.RNN.init(3, 4).save("model.safetensors")
    assert "cupy" in rb.list_backends()
    assert eval(on_gpu.replace('"cupy"', '"numpy"'), names).backend.name == "numpy"
    shutil.copy("examples/deploy/words.safetensors", "model.safetensors")
    shutil.copy("examples/deploy/data/the-tempest.txt", "text.txt")
    assert "bits per word" in in_shell(command)


def test_the_readme_knows_what_ran_on_a_gpu() -> None:
    assert ("Nothing here has run on a GPU yet" in NAMES["docs/gpu.md"]) == ("not yet on a GPU" in NAMES["README.md"])


def test_the_readme_leads_to_each_page() -> None:
    pages = {page for page in NAMES if re.fullmatch(r"docs/(benchmarks/)?\w+\.md", page)} - OF_THE_SITE
    assert pages <= set(re.findall(r"\]\(([^)#]+)\)", NAMES["README.md"]))


@pytest.mark.parametrize(
    "page", ["README.md", "docs/using.md", "docs/which_line.md", "docs/commands.md", "docs/backends.md"]
)
def test_documents_are_links(page: str) -> None:
    assert not re.findall(r"`[\w/]+\.md`", NAMES[page])


def test_the_picture_is_what_its_script_draws() -> None:
    drawn = runpy.run_path(str(ROOT / "docs" / "draw_picture.py"))["picture"]()
    assert drawn == (ROOT / "docs" / "picture.svg").read_text(encoding="utf-8")


def test_the_page_of_parity_has_every_feature() -> None:
    wanted = {*cases("float32"), *(f"network: {part}" for part in records("float32"))}
    assert set(re.findall(r"^\| (.+?) \| [0-9]", NAMES["docs/parity.md"], re.MULTILINE)) == wanted


def anchors(text: str) -> set[str]:
    return {re.sub(r"[^a-z0-9 _-]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)", text, re.M)}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
        path = page.parent / target if target else page
        assert target.startswith("https://") or path.exists(), f"{page}: {target}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{page}: {target}#{anchor}"


@pytest.mark.parametrize("script", sorted(ROOT.glob("examples/*.py")), ids=lambda script: script.name)
def test_examples_run(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [str(script)])
    runpy.run_path(str(script), run_name="__main__")
