"""One room says what a value is in a message: no other quotes one by Python's own way, which knows no limit."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import rnn_backends as rb

PACKAGE = Path(rb.__file__).parent
CONVERSIONS = {ord("r"): "!r", ord("a"): "!a"}

ALLOWED = {
    "core/messages.py": "the room itself",
    "cli/loading.py": "writes the line of Python that loads the model",
    "cli/contents.py": "lists what a model has",
    "cli/reports.py": "writes what a terminal takes for a command as an escape",
    "formats/flax/cells.py": "writes options to pass, in Python",
    "formats/flax/variables.py": "writes options to pass, in Python",
    "formats/onnx/results.py": "writes options to pass, in Python",
    "formats/stated.py": "writes options to pass, in Python",
    "formats/torch/checkpoint.py": "writes options to pass, in Python",
    "formats/torch/joined.py": "writes options to pass, in Python",
    "formats/torch/plan.py": "writes options to pass, in Python",
    "formats/torch/restored.py": "makes the names of classes",
}


def quoted(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the way of each value that is quoted by Python, outside of a `__repr__`."""

    def within(node: ast.AST) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.FunctionDef) and node.name == "__repr__":
            return
        if isinstance(node, ast.FormattedValue) and node.conversion in CONVERSIONS:
            yield node.lineno, CONVERSIONS[node.conversion]
        if isinstance(node, ast.Name) and node.id in {"repr", "ascii"}:
            yield node.lineno, node.id
        for child in ast.iter_child_nodes(node):
            yield from within(child)

    return within(ast.parse(source))


def test_no_message_quotes_a_value_by_itself() -> None:
    found = [
        f"{name}:{line}: {way}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if (name := path.relative_to(PACKAGE).as_posix()) not in ALLOWED
        for line, way in quoted(path.read_text(encoding="utf-8"))
    ]
    assert not found, "say it by rnn_backends.core.messages: shown, got or listed"


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_allowed_is_there(name: str) -> None:
    assert list(quoted((PACKAGE / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("source", "ways"),
    [
        ('msg = f"got {value!r}."', ["!r"]),
        ('msg = f"got {value!a:.80}."', ["!a"]),
        ('msg = f"got {repr(value)}."', ["repr"]),
        ("msg = f\"{', '.join(map(ascii, values))}\"", ["ascii"]),
        ('def f(x):\n    def g():\n        return f"{x:{width!r}}"', ["!r"]),
        ('class A:\n    def __repr__(self):\n        return f"A({self.x!r})"', []),
        ('msg = f"got {shown(value)}."', []),
    ],
)
def test_ways_of_quoting_are_found(source: str, ways: list[str]) -> None:
    assert [way for _, way in quoted(source)] == ways
