"""Advice is a promise: each way out of a refusal is followed by a test to a network with the right numbers."""

import ast
from collections.abc import Iterator
from pathlib import Path

from rnn_backends.formats.advice import WAYS

TESTS = Path(__file__).parents[1]


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
