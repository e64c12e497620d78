"""The pages of docs/reference that repeat what the code says: names, signatures, commands, errors, variables."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import rnn_backends as rb
import rnn_backends.dask
import rnn_backends.plot
import rnn_backends.testing
import rnn_backends.xarray
from rnn_backends.cli.parser import make_parser
from rnn_backends.cli.process import environment
from rnn_backends.core.activations import ACTIVATIONS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "rnn_backends"
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").iterdir()}
WHOLE = {"cli/process.py"}
"""Files that pass the whole environment on, and read no variable of it."""


def listed(module: str) -> list[str]:
    """The names that the tables of the index have of a module."""
    parts = re.split(r"^\.\. currentmodule:: (\S+)$", PAGES["index"], flags=re.MULTILINE)
    (part,) = (text for name, text in zip(parts[1::2], parts[2::2], strict=True) if name == module)
    return re.findall(r"^   ((?!:)[\w.]+)$", part, re.MULTILINE)


def members(kind: type) -> set[str]:
    names = {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")}
    return {f"{kind.__name__}.{name}" for name in {*names, "__call__"}}


def test_the_index_has_every_name_once() -> None:
    names = listed("rnn_backends")
    public = {name for name in rb.__all__ if not name.startswith("__")}
    assert sorted(names) == sorted(public | members(rb.RNN) | members(rb.Stream))
    for module in (rnn_backends.testing, rnn_backends.plot, rnn_backends.dask, rnn_backends.xarray):
        assert sorted(listed(module.__name__)) == sorted(module.__all__)


def test_every_command_has_its_help() -> None:
    commands = list(make_parser().commands)
    assert re.findall(r"^rnn-backends (\w+) --help$", PAGES["commands"], re.MULTILINE) == commands
    shown, _, table = PAGES["commands"].partition("## Exit codes")
    assert re.findall(r"^## (\w+)$", shown, re.MULTILINE) == commands
    table = table.partition("## Where results go")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == commands


def test_every_activation_has_its_parameters() -> None:
    rows = re.findall(r"^   \* - ``(\w+)``\n     - .+\n     -(?: ``(.+)``)?$", PAGES["parts"], re.MULTILINE)
    signatures = {name: list(inspect.signature(of).parameters.values())[1:] for name, of in ACTIVATIONS.items()}
    wanted = {name: [str(each.replace(annotation=each.empty)) for each in of] for name, of in signatures.items()}
    assert {name: parameters.split(", ") if parameters else [] for name, parameters in rows} == wanted


def test_the_signature_of_a_backend() -> None:
    (shown,) = re.findall(r"autoclass:: Backend\(\*, (.+)\)$", PAGES["backends"], re.MULTILINE)
    pairs = [word.partition("=")[::2] for word in shown.split(", ")]
    wanted = inspect.signature(rb.Backend).parameters
    assert [name for name, _ in pairs] == list(wanted)
    for name, default in pairs:
        assert default == shown_default(wanted[name])


def shown_default(parameter: inspect.Parameter) -> str:
    """Return a default as the page shows it: a function or class, which has no short text, as an ellipsis."""
    if parameter.default is parameter.empty:
        return ""
    return "..." if callable(parameter.default) else str(parameter.default)


def test_the_tree_of_errors() -> None:
    """The nearest base of each error that the page shows it below, and the built-in type in brackets."""
    path: list[str] = []
    shown = {}
    for indent, name, builtin in re.findall(r"^( *)\* `(\w+)`(?: \(``(\w+)``\))?", PAGES["errors"], re.MULTILINE):
        path[len(indent) // 2 :] = [name]
        shown[name] = [each for each in (*path[-2:-1], builtin) if each]
    errors = [getattr(rb, name) for name in rb.__all__ if name.endswith("Error")]
    wanted = {error.__name__: [base.__name__ for base in error.__bases__] for error in errors}
    assert shown == {**wanted, "RNNBackendError": []}


def in_module(path: Path) -> set[str]:
    """The environment variables that a module of Python reads."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    reads = environment_reads(tree)
    if path.relative_to(PACKAGE).as_posix() not in WHOLE:
        assert len(reads) == environment_uses(tree), f"{path}: read it by os.environ.get, so that this test finds it"
    return {
        ast.literal_eval(each) if isinstance(each, ast.Constant) else constant(path, ast.unparse(each))
        for each in reads
    }


def environment_reads(tree: ast.AST) -> list[ast.expr]:
    """The names of variables, as they are written, that a module reads in the form that the test knows."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [node.args[0] for node in calls if ast.unparse(node.func) in {"os.environ.get", "os.getenv"}]


def environment_uses(tree: ast.AST) -> int:
    """How often a module takes the environment in any form, with imports of it by name."""
    taken = {"environ", "environb", "getenv", "getenvb"}
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names.append(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module in {"os", "posix"}:
            names += ["environ" if alias.name == "*" else alias.name for alias in node.names]
    return sum(name in taken for name in names)


@pytest.mark.parametrize(
    "source",
    [
        "from os import environ\nenviron.get('A')",
        "from os import getenv as read\nread('A')",
        "from os import *\ngetenv('A')",
        "import os as system\nsystem.environ.get('A')",
        "import os\nos.environ['A']",
    ],
)
def test_another_way_to_read_the_environment_is_seen(source: str) -> None:
    tree = ast.parse(source)
    assert environment_uses(tree) > len(environment_reads(tree))


def constant(path: Path, name: str) -> str:
    """The text that a name of a module stands for, imported from another perhaps."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return constant(ROOT / f"{(node.module or '').replace('.', '/')}.py", name)
        if isinstance(node, ast.Assign):
            (target,) = node.targets
            pairs = (
                zip(target.elts, node.value.elts, strict=True)
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                else [(target, node.value)]
            )
            for each, value in pairs:
                if ast.unparse(each) == name:
                    return str(ast.literal_eval(value))
    pytest.fail(f"{path}: {name} stands for no text")


def test_every_environment_variable_is_on_the_page() -> None:
    page, _, others = PAGES["environment"].partition("## What others read")
    shown = re.findall(r"^### `(\w+)`$", page, re.MULTILINE)
    assert sorted(shown) == sorted(set().union(*map(in_module, PACKAGE.rglob("*.py"))))
    assert set(re.findall(r"^\| \[`(\w+)`\]", page, re.MULTILINE)) == {
        name for name in shown if name.startswith("RNN_")
    }
    assert set(environment(1, {})) <= set(re.findall(r"`(\w+)`", others))


@pytest.mark.parametrize(
    "source", sorted({*PACKAGE.rglob("*.[ch]"), *PACKAGE.rglob("*.cu")}), ids=lambda path: path.name
)
def test_no_other_source_reads_the_environment(source: Path) -> None:
    assert not re.search(r"getenv|environ\b", source.read_text(encoding="utf-8"))
