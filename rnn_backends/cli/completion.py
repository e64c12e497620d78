"""The command `completion`: a script with which a shell completes commands, options, their words and files."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rnn_backends.backends.registry import BUILTIN
from rnn_backends.cli.mistakes import Parser
from rnn_backends.cli.running.formats import INPUTS, OUTPUTS
from rnn_backends.core.activations import ACTIVATIONS
from rnn_backends.errors import RNNBackendError

WORDS: dict[str, Sequence[str]] = {
    "--activation": tuple(ACTIVATIONS),
    "--readout-activation": tuple(ACTIVATIONS),
    "--encoder-activation": tuple(ACTIVATIONS),
    "--backend": tuple(BUILTIN),
    "--from": INPUTS,
    "--to": OUTPUTS,
}
"""Words that options mostly have, but not those alone."""


class CompletionError(RNNBackendError, ImportError):
    """The package that writes the scripts is not installed."""


def script(parser: Parser, shell: str) -> str:
    """Return the script for a shell; the parser is of no use afterwards.

    Parameters
    ----------
    parser : Parser
        The parser of the program, of which hints for completion are made.
    shell : {"bash", "zsh", "fish"}

    Raises
    ------
    CompletionError
        If shtab is missing.
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        msg = "completion needs the package 'shtab', which is not installed: pip install 'rnn-backends[completion]'."
        raise CompletionError(msg) from error
    for each in (parser, *parser.commands.values()):
        for action in each.actions:
            _give_hints(action, shtab.FILE)
    return str(shtab.complete(parser, shell))


def _give_hints(action: argparse.Action, files: object) -> None:
    """Say of an argument what completes it, in words that every shell takes."""
    if action.type is Path:
        action.complete = files  # type: ignore[attr-defined]  # where shtab looks for it
    elif action.choices is None:
        action.choices = next((WORDS[option] for option in action.option_strings if option in WORDS), None)
    action.metavar = None if action.nargs == argparse.PARSER else action.dest  # colons would be syntax of zsh
    action.help = (action.help or "").partition(";")[0]
