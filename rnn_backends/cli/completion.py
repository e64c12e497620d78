"""The command `completion`: a script with which a shell completes commands, options and files."""

import re
from pathlib import Path

from rnn_backends.cli.mistakes import Parser
from rnn_backends.errors import RNNBackendError


class CompletionError(RNNBackendError, ImportError):
    """The package that writes the scripts is not installed."""


def script(parser: Parser, shell: str) -> str:
    """Return the script of a shell; the parser is of no more use for help."""
    try:
        import shtab
    except ModuleNotFoundError as error:
        msg = "completion needs the package 'shtab', which is not installed: pip install 'rnn-backends[completion]'."
        raise CompletionError(msg) from error
    for each in (parser, *parser.commands.values()):
        for action in each.actions:
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # it is there for shtab
            if isinstance(action.metavar, tuple):
                action.metavar = " ".join(action.metavar)
            if action.metavar is not None:  # a colon has a meaning in the scripts of zsh
                action.metavar = re.sub(r"[^\w ].*", "", action.metavar)
    return str(shtab.complete(parser, shell))
