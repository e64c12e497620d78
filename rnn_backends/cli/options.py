"""Parts of the command line that commands share: the options of `rnn_backends.load`, and kinds of values."""

import argparse
import re
from typing import Any, TypeAlias

from rnn_backends.cli.mistakes import Parser, one_of
from rnn_backends.core.messages import shown
from rnn_backends.formats.options import OPTIONS
from rnn_backends.formats.values import CHOICES


class Formatter(argparse.HelpFormatter):
    """The layout of help, in which lines that begin with a space, as those of examples, stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n".join(line if line[:1] == " " else fill(line, width, indent) for line in text.splitlines())


AUTO = "auto"
"""As many processes as there are processors."""
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001  # it has no public name
Group: TypeAlias = "argparse._ArgumentGroup"  # noqa: SLF001


def add_load_options(parser: Parser, *own: str) -> None:
    """Add the options of `rnn_backends.load`, but those of whose names the command has options of its own."""
    group = parser.add_argument_group("options that the model file does not record")
    options = {name: option for name, option in OPTIONS.items() if name not in own}
    parser.set_defaults(load_options=tuple(options))
    for name, option in options.items():
        group.add_argument(
            f"--{name.replace('_', '-')}", help=option.help, **_KINDS.get(option.kind, {"metavar": "NAME"})
        )


def _names(text: str) -> str | tuple[str, ...]:
    """Return a name, or names between commas as a tuple."""
    names = tuple(part.strip() for part in text.split(","))
    return names if len(names) > 1 else text


def _paths(text: str) -> list[str | tuple[str | None, ...]]:
    """Return paths between commas; those of two directions, joined by a plus, as a pair, in which one may be empty."""
    paths = [tuple(part or None for part in path.split("+")) for path in text.split(",")]
    return [path[0] or "" if len(path) == 1 else path for path in paths]


def columns(text: str) -> tuple[str, ...]:
    """Return names of columns between commas."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) != len(names):
        msg = f"expected names of columns between commas, each once; got {shown(text)}"
        raise argparse.ArgumentTypeError(msg)
    return names


def whole(text: str) -> int:
    """Return a whole number."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
        msg = f"expected a whole number, such as 20; got {shown(text)}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def number(text: str) -> float:
    """Return a number."""
    try:
        return float(text)
    except ValueError:
        msg = f"expected a number, such as 0.5; got {shown(text)}"
        raise argparse.ArgumentTypeError(msg) from None


def lengths(text: str) -> list[int]:
    """Return a length, or several between commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,18}", part) for part in parts):
        msg = f"expected whole numbers between commas, one for each sequence; got {shown(text)}"
        raise argparse.ArgumentTypeError(msg)
    return [int(part) for part in parts]


def _pairs(text: str) -> dict[str, str]:
    """Return texts by name, which stand as NAME=TEXT between commas."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and mark for name, mark, _ in pairs):
        msg = f"expected NAME=TEXT, and more of them after commas; got {shown(text)}"
        raise argparse.ArgumentTypeError(msg)
    return {name.strip(): value.strip() for name, _, value in pairs}


_KINDS: dict[str, dict[str, Any]] = {
    "flag": {"action": argparse.BooleanOptionalAction},
    "activations": {"metavar": "NAME[,NAME]", "type": _names},
    "texts": {"metavar": "NAME=TEXT[,...]", "type": _pairs},
    "number": {"metavar": "NUMBER", "type": number},
    "leak": {"metavar": "NUMBER", "type": number},
    "paths": {"metavar": "PATH[,...]", "type": _paths},
    "vocabulary": {"metavar": "CHARACTERS"},
    "key": {"metavar": "NAME", "action": "append"},
    **{kind: {"type": one_of(choices), "choices": choices} for kind, choices in CHOICES.items()},
}
"""The arguments of argparse's add_argument by the kind of an option."""


def positive(text: str) -> int:
    """Return a positive integer."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        most = " below a billion" if re.fullmatch(r"[0-9]{10,}", text) else ""
        msg = f"expected a positive integer{most}; got {shown(text)}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def jobs(text: str) -> int | str:
    """Return a number of processes, or auto."""
    if text == AUTO:
        return text
    try:
        return positive(text)
    except argparse.ArgumentTypeError as error:
        msg = f"{error}; or {AUTO}, for as many as there are processors"
        raise argparse.ArgumentTypeError(msg) from None


def add_command(commands: Commands, name: str, summary: str) -> Parser:
    """Add a command, and return its parser, which gives its name as `command` and itself as `parser`."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=name, parser=parser)
    add_traceback(parser, default=argparse.SUPPRESS)  # else it would undo --traceback before the command
    return parser


def add_traceback(parser: argparse.ArgumentParser, *, default: bool | str) -> None:
    """Add the option `--traceback`."""
    help_text = "show the traceback of an error, too"
    parser.add_argument("--traceback", action="store_true", default=default, help=help_text)
