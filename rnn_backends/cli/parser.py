"""The command line: its commands and their options.  Nothing here needs what a command needs."""

import argparse
from pathlib import Path
from typing import Any, TypeAlias

from rnn_backends import __version__
from rnn_backends.cli.reports import PROG
from rnn_backends.core.network import READS
from rnn_backends.formats.options import OPTIONS

"""The options of `rnn_backends.load` by name."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # it has no public name


def make_parser() -> argparse.ArgumentParser:
    """Return the parser, which gives the name of the command as `command` and its own parser as `parser`."""
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="Run vanilla recurrent networks forward, on NumPy, CuPy and other array libraries.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    _add_traceback(parser, default=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_info(commands)
    _add_run(commands)
    _add_convert(commands)
    _add_bench(commands)
    return parser


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `rnn_backends.load` that are given on the command line."""
    names = getattr(arguments, "load_options", ())
    found = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    return found | ({"key": tuple(found["key"])} if "key" in found else {})


def _load_options(*own: str) -> argparse.ArgumentParser:
    """Return the options of `rnn_backends.load`, but those of whose names the command has options of its own."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("options that the model file does not record")
    options = {name: option for name, option in OPTIONS.items() if name not in own}
    parser.set_defaults(load_options=tuple(options))
    for name, option in options.items():
        group.add_argument(
            f"--{name.replace('_', '-')}", help=option.help, **_KINDS.get(option.kind, {"metavar": "NAME"})
        )
    return parser


def _names(text: str) -> str | tuple[str, ...]:
    """Return a name, or names between commas as a tuple."""
    names = tuple(part.strip() for part in text.split(","))
    return names if len(names) > 1 else text


def _paths(text: str) -> list[str | tuple[str | None, ...]]:
    """Return paths between commas; those of two directions, joined by a plus, as a pair, in which one may be empty."""
    paths = [tuple(part or None for part in path.split("+")) for path in text.split(",")]
    return [path[0] or "" if len(path) == 1 else path for path in paths]


def _pairs(text: str) -> dict[str, str]:
    """Return texts by name, which stand as NAME=TEXT between commas."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and mark for name, mark, _ in pairs):
        msg = f"expected NAME=TEXT, and more of them after commas; got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return {name.strip(): value.strip() for name, _, value in pairs}


_KINDS: dict[str, dict[str, Any]] = {
    "flag": {"action": argparse.BooleanOptionalAction},
    "activations": {"metavar": "NAME[,NAME]", "type": _names},
    "texts": {"metavar": "NAME=TEXT[,...]", "type": _pairs},
    "number": {"metavar": "NUMBER", "type": float},
    "paths": {"metavar": "PATH[,...]", "type": _paths},
    "vocabulary": {"metavar": "CHARACTERS"},
    "key": {"metavar": "NAME", "action": "append"},
}
"""The arguments of argparse's add_argument by the kind of an option."""


def _add_info(commands: Commands) -> None:
    summary = "Show what is installed and which backends work, or what a model file holds; never fails."
    parser = _add_command(commands, "info", summary, _load_options())
    parser.add_argument("model", metavar="MODEL", type=Path, nargs="?", help="show what is in this file, and no more")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for machines")


def _add_run(commands: Commands) -> None:
    summary = "Run a model once over arrays or text, and report how fast and how well it did."
    parser = _add_command(commands, "run", summary, _load_options("reads"))
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model file, such as .safetensors, .onnx or .pt")
    parser.add_argument(
        "input",
        metavar="INPUT",
        type=Path,
        help="a .npy file of x; a .npz file of x and, if wanted, h_0 (h_0_l0, h_0_l1, ... of cells of several sizes), "
        "lengths, mask and targets; any other file is UTF-8 text, in which each character, or word, is to predict the "
        "next one, or, of a model that reads sequences as a whole, each line is one",
    )
    parser.add_argument(
        "--reads",
        choices=READS,
        help="what the readout reads, whatever the model says: every step, or of each sequence its last step, the "
        "final state of each direction, or the mean or the maximum of its steps",
    )
    parser.add_argument(
        "--backend",
        metavar="NAME[:DEVICE]",
        help="where to run, such as cupy:1; else what RNN_BACKEND says, else numpy",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="write the probabilities, or the hidden states of a model without readout, of each step or of each "
        "sequence that is read as a whole, to a .npy file",
    )
    parser.add_argument(
        "--predictions",
        action="store_true",
        help="have --output write the likeliest ids, to a .npy file, or characters or words, to a .txt file",
    )
    parser.add_argument(
        "--lengths", metavar="N", type=int, nargs="+", help="the valid steps of each sequence of a batch"
    )


def _add_convert(commands: Commands) -> None:
    summary = "Write a model to a file of another format, show what is in it, and check it, on NumPy, by running both."
    parser = _add_command(commands, "convert", summary, _load_options())
    parser.add_argument("model", metavar="IN", type=Path, help="a model file, such as .pt, .onnx or .msgpack")
    parser.add_argument("output", metavar="OUT", type=Path, help="a .safetensors, .npz or .onnx file to write")


def _add_bench(commands: Commands) -> None:
    summary = "Measure how fast this library's backends are, and torch and ONNX Runtime where they are installed."
    add = _add_command(commands, "bench", summary).add_argument
    add("--shape", nargs=4, type=_positive, action="append", dest="shapes", metavar=("T", "B", "I", "H"),
        help="steps, sequences, features and states; again for more; default: three shapes")  # fmt: skip
    add("--layers", type=_positive, default=1, metavar="N", help="layers of the network; default: 1")
    add("--dtype", choices=("float32", "float64"), default="float32", help="default: float32")
    add("--backend", metavar="NAME[:DEVICE]", action="append", dest="backends", help="backend to measure; again for "
        "more; default: numpy")  # fmt: skip
    add("--against", nargs="*", choices=("torch", "onnxruntime"), metavar="LIBRARY", help="torch and onnxruntime, on "
        "the CPU; default: those that are installed; without a name: none")  # fmt: skip
    add("--threads", type=_positive, default=1, metavar="N", help="threads of each contestant; default: 1")
    add("--rounds", type=_positive, default=15, metavar="N", help="times that each is measured; default: 15")
    add("--json", metavar="FILE", type=Path, help="also write the measured times to a file")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        msg = f"expected a positive integer; got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _add_command(
    commands: Commands, name: str, summary: str, *parents: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False, parents=parents)
    parser.set_defaults(command=name, parser=parser)
    _add_traceback(parser, default=argparse.SUPPRESS)  # else it would undo --traceback before the command
    return parser


def _add_traceback(parser: argparse.ArgumentParser, *, default: bool | str) -> None:
    help_text = "show the traceback of an error, too"
    parser.add_argument("--traceback", action="store_true", default=default, help=help_text)
