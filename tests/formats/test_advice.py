"""Advice is a promise: each way out of a refusal is followed by a test to a network with the right numbers."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import rnn_backends.formats
from rnn_backends.formats.advice import WAYS

TESTS = Path(__file__).parents[1]
FORMATS = Path(rnn_backends.formats.__file__).parent
VERBS = (
    "build|call|choose|convert|copy|export|give|install|keep|leave|load|make|name|pass|pickle|read|remove|rename|run|save|"
    "set|use|write"
)
SAID = re.compile(rf"(?:^|[;,.:] )(?:or |and |then |first |please )*(?:{VERBS})\b(?! (?:are|is)\b)", re.IGNORECASE)
"""How a sentence says to do something."""


def followed_in(file: Path) -> Iterator[str]:
    """Yield the ids of the ways that the tests of a file follow."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "follow":
            key = node.args[0]
            assert isinstance(key, ast.Constant), f"{file}:{node.lineno}: the id of a way must be written out"
            yield str(key.value)


def test_every_way_out_is_followed() -> None:
    followed = {key for file in TESTS.rglob("test_*.py") for key in followed_in(file)}
    assert followed == set(WAYS)


def said_in(file: Path) -> Iterator[str]:
    """Yield what texts of a file say to do, other than docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings]
    for node in texts:
        if isinstance(node.value, str) and " " in node.value.strip() and SAID.search(node.value):
            yield f"{file.relative_to(FORMATS)}:{node.lineno}: {node.value}"


def test_no_way_out_is_written_by_hand() -> None:
    files = [file for file in FORMATS.rglob("*.py") if file != FORMATS / "advice.py"]
    assert [said for file in files for said in said_in(file)] == []
    assert sum(1 for _ in said_in(FORMATS / "advice.py")) > len(WAYS) / 2
