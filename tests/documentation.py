"""What README.md and the examples show, run: each block of Python, in order, and each link followed."""

import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from rnn_backends.testing import cases, records

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def blocks() -> list[str]:
    """The blocks of Python of README.md but those that need what is not here, and say so."""
    found = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return [block for block in found if not block.startswith("# needs ")]


def test_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    assert len(blocks()) == 8
    names: dict[str, Any] = {}
    for block in blocks():
        exec(compile(block, "README.md", "exec"), names)
    assert names["output"].shape == (29, 8, 128)
    assert names["h_n"].shape == (4, 8, 64)
    assert names["classes"].shape == (29, 4)
    assert names["p"].shape == (2, 2)
    assert names["labels"].shape == (2,)
    assert names["last"].shape == (64,)
    assert (tmp_path / "classifier.safetensors").is_file()
    assert names["ids"].shape == (3, 2)
    assert (names["classes"][7:, 2] == -1).all()
    assert names["TestMyLib"]().backend == "mylib"


def test_the_page_of_parity_has_every_feature() -> None:
    text = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
    wanted = {*cases("float32"), *(f"network: {part}" for part in records("float32"))}
    assert set(re.findall(r"^\| (.+?) \| [0-9]", text, re.MULTILINE)) == wanted


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), f"{page}: {target}"
    headings = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)", text, re.M)}
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert anchor in headings, f"{page}: #{anchor}"


@pytest.mark.parametrize("script", sorted(ROOT.glob("examples/*.py")), ids=lambda script: script.name)
def test_examples_run(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [str(script)])
    runpy.run_path(str(script), run_name="__main__")
