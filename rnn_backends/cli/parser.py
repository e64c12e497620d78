"""The command line: the program and its commands.  Nothing here needs what a command needs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnn_backends import __version__
from rnn_backends.cli import examples
from rnn_backends.cli.arguments import (
    add_bench,
    add_completion,
    add_convert,
    add_generate,
    add_help,
    add_info,
    add_run,
)
from rnn_backends.cli.mistakes import Parser, require_known
from rnn_backends.cli.options import Formatter, add_traceback
from rnn_backends.cli.paths import is_there
from rnn_backends.cli.reports import PROG
from rnn_backends.core.messages import fitted, shown

_ANSWERS = {"true", "false", "yes", "no"}
EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 128 + N ended by signal N."


def make_parser() -> Parser:
    """Return the parser, which gives the name of the command as `command`, its parser as `parser`, and itself."""
    parser = Parser(
        prog=PROG,
        description="Run vanilla recurrent networks forward, on NumPy, CuPy and other array libraries.",
        epilog=EXIT_CODES,
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=f"{PROG} {__version__}")
    add_traceback(parser, default=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, prog=PROG)
    add_info(commands)
    add_run(commands)
    add_generate(commands)
    add_convert(commands)
    add_bench(commands)
    add_completion(commands)
    add_help(commands)
    parser.commands = commands.choices
    for name, each in (("", parser), *parser.commands.items()):
        each.shorten_usage()
        each.epilog = "\n\n".join(filter(None, (examples.shown(name), each.epilog)))
        each.set_defaults(program=parser)
    return parser


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments that the words of the command line give, those of this process by default."""
    words = sys.argv[1:] if words is None else words
    parser = make_parser()
    require_known(parser, words)
    arguments, extra = parser.parse_known_args(words)
    if "inputs" in arguments:  # of which more may stand after an option
        extra = _with_inputs(arguments, extra)
    if extra:
        _refuse(arguments.parser, extra[0])
    arguments.given, arguments.words = given(arguments), list(words)
    return arguments


def _with_inputs(arguments: argparse.Namespace, extra: Sequence[str]) -> list[str]:
    """Have the inputs be all that are given, and return the words for which there is no place."""
    more = [*map(str, arguments.inputs[1:]), *(word for word in extra if word != "--")]
    arguments.input = arguments.inputs[0]
    if arguments.output_dir is None:
        return more
    arguments.inputs = [arguments.input, *map(Path, more)]
    return [word for word in more if _is_slip(word)]


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `rnn_backends.load` that are given on the command line."""
    names = getattr(arguments, "load_options", ())
    found = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    return found | ({"key": tuple(found["key"])} if "key" in found else {})


def _dashed(word: str) -> str:
    """Return a word with dashes for what writers of letters make of them."""
    return word.replace("\u2014", "--").replace("\u2013", "-")


def _is_slip(word: str) -> bool:
    """Return whether a word cannot be meant as an input: an answer, or an option with another dash."""
    return not is_there(word) and (word.lower() in _ANSWERS or (_dashed(word) != word and _dashed(word)[0] == "-"))


def _refuse(parser: Parser, word: str) -> None:
    """End with a word for which a command has no place."""
    dashed = _dashed(word)
    if dashed != word and dashed.startswith("-"):
        parser.require_options([dashed], {})
        parser.error(f"{shown(word)} begins with another dash than an option does. Did you mean {fitted(dashed, 80)}?")
    if word.lower() in _ANSWERS:
        known = "options of yes or no take no value: --batch-first, --no-batch-first"
        parser.error(f"there is no place for {shown(word)}; {known}")
    if is_there(word):
        way = "several files need --output-dir DIR" if "--output-dir" in parser.options else "give one file at a time"
        parser.error(f"there is no place for {shown(word)}; {way}")
    parser.error(f"there is no place for {shown(word)}; put quotes around words that belong together")
