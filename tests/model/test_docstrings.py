"""Docstrings of the public names: complete sections, and examples that run."""

import doctest
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rnn_backends as rb
from rnn_backends import dask, plot, testing, xarray

PUBLIC: list[Any] = [getattr(rb, name) for name in rb.__all__ if name != "__version__"]
TESTING: list[Any] = [testing.BackendConformance, testing.Bounded, testing.Case, testing.cases, testing.excess]
TESTING += [testing.reference]
PLOT: list[Any] = [getattr(plot, name) for name in plot.__all__]
SCALE: list[Any] = [getattr(module, name) for module in (dask, xarray) for name in module.__all__]
PARTS: list[Any] = list(rb.RNN.__mro__[1:-1])
"""The classes that RNN is made of: an example is found in the one that has its method."""


def is_described(item: Any) -> bool:
    """All but errors, which are described together, and protocols, whose sections are those of their methods."""
    is_error = isinstance(item, type) and issubclass(item, Exception)
    return not is_error and item not in {rb.Recurrence, rb.RecurrentCell}


def methods(owner: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public methods of a class, and its call."""
    for name, member in ((name, member) for each in owner.__mro__[:-1] for name, member in vars(each).items()):
        function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        if inspect.isfunction(function) and (name == "__call__" or not name.startswith(("_", "test_"))):
            yield f"{owner.__name__}.{name}", function


def described() -> Iterator[tuple[str, Any]]:
    for item in filter(is_described, PUBLIC + TESTING + PLOT + SCALE):
        yield item.__name__, item
        if item in {rb.RNN, rb.Stream}:
            yield from methods(item)


def sections(docstring: str) -> dict[str, str]:
    """The text of each section of numpydoc by its heading."""
    parts = re.split(r"^(\w[\w ]*)\n-+$", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(("name", "item"), list(described()), ids=lambda value: value if isinstance(value, str) else "")
def test_docstrings_have_every_section(name: str, item: Any) -> None:
    found, signature = sections(item.__doc__), inspect.signature(item)
    assert ">>> " in found["Examples"], name
    stated = re.findall(r"^(\w[\w, ]*)(?: :.*)?$", found.get("Parameters", ""), flags=re.MULTILINE)
    assert sorted(", ".join(stated).split(", ") if stated else []) == sorted(
        set(signature.parameters) - {"self", "cls"}
    )
    if not isinstance(item, type) and signature.return_annotation is not None:
        assert "Returns" in found or "Yields" in found, name


@pytest.mark.parametrize("item", PUBLIC + TESTING + PLOT + PARTS, ids=lambda item: item.__name__)
def test_examples_run(item: Any) -> None:
    finder, runner = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner()
    for example in finder.find(item, item.__name__, globs={}):
        found: list[str] = []
        runner.run(example, out=found.append)
        assert not found, "".join(found)


def test_all_holds_every_public_name_once() -> None:
    public = {name for name, item in vars(rb).items() if not name.startswith("_") and not inspect.ismodule(item)}
    assert sorted(rb.__all__) == sorted(public | {"__version__"})
