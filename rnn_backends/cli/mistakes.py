"""Wrong usage, in one line that names what was meant."""

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from rnn_backends.cli.paths import is_file, is_there
from rnn_backends.cli.reports import visible
from rnn_backends.core.messages import fitted, shown

MEANT = {
    "predict": "run",
    "infer": "run",
    "classify": "run",
    "forecast": "run",
    "complete": "generate",
    "inference": "run",
    "forward": "run",
    "evaluate": "run",
    "eval": "run",
    "test": "run",
    "sample": "generate",
    "export": "convert",
    "save": "convert",
    "show": "info",
    "inspect": "info",
    "list": "info",
    "backends": "info",
    "devices": "info",
    "version": "--version",
    "time": "bench",
    "speed": "bench",
    "compare": "bench",
}
"""Commands by other names for what they do."""
MODELS = (".safetensors", ".npz", ".onnx", ".pt", ".pth", ".ckpt", ".bin", ".keras", ".h5", ".msgpack")
DATA = (".npy", ".npz", ".txt", ".csv", ".tsv", ".jsonl")
"""Suffixes that models and inputs mostly have; content decides what a file is."""
TRAINING = ("train", "fit", "finetune", "fine-tune", "learn")
OTHER_OPTIONS = {
    "device": "--backend NAME:DEVICE",
    "gpu": "--backend cupy",
    "cuda": "--backend cupy",
    "cpu": "--backend numpy",
    "debug": "--traceback",
    "trace": "--traceback",
    "silent": "--quiet",
    "q": "--quiet",
    "o": "--output",
    "out": "--output",
    "out-dir": "--output-dir",
    "outdir": "--output-dir",
    "output-folder": "--output-dir",
    "j": "--jobs",
    "workers": "--jobs",
    "num-workers": "--jobs",
    "processes": "--jobs",
    "parallel": "--jobs",
    "format": "--to",
    "n": "--length",
    "max-length": "--length",
    "num-tokens": "--length",
    "max-tokens": "--length",
    "max-new-tokens": "--length",
    "tokens": "--length",
    "t": "--temperature",
    "k": "--top-k",
    "p": "--top-p",
    "nonlinearity": "--activation",
    "group-by": "--id",
    "groupby": "--id",
    "features": "--x",
    "text": "--x",
    "label": "--targets",
    "labels": "--targets",
    "sequences": "--shape T B I H",
    "steps": "--shape T B I H",
    "batch": "--shape T B I H",
}
"""Options by other names for what they do."""
PLAIN = {
    r"the following arguments are required: INPUT$": "INPUT is missing: a file, or - for stdin",
    r"the following arguments are required: (.*, .*)": r"\1 are missing",
    r"the following arguments are required: (.*)": r"\1 is missing",
    r"ignored explicit argument (.*)": r"it takes no value; got \1",
    r"expected (\d+) arguments": r"expected \1 values, with spaces between",
    r"expected (one|at least one) argument": "its value is missing",
}
"""Plain words for what argparse says."""
UNKNOWN = ("batch-size", "verbose", "v", "epochs", "m", "i")
"""Names of options that other programs have, and this one has nothing like them."""
LONGEST = 80
"""The most characters of a word that a message repeats as it is."""
GIVEN = {"input": "IN", "i": "INPUT", "m": "MODEL", "data": "INPUT", "file": "INPUT", "p": "[PROMPT]"}
"""Names of options of other programs for what is given without one here."""


class Parser(argparse.ArgumentParser):
    """A parser that reports wrong usage in one line, and options that there are not before anything else."""

    commands: Mapping[str, "Parser"] = MappingProxyType({})
    """The parsers of its commands by their names."""

    def error(self, message: str) -> NoReturn:
        """End with a line on stderr, and exit code 2."""
        for pattern, plain in PLAIN.items():
            message = re.sub(pattern, plain, message)
        end = "" if message.endswith((".", "?")) else "."
        line = fitted(visible(f"{self.prog}: error: {message}{end} See `{self.prog} --help`."))
        self.exit(2, f"{line}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print on a stream that may be closed, full or left, as argparse itself does from Python 3.11.4 on.

        What stdout could not take is still to be written, and is reported in the end.
        """
        with suppress(AttributeError, OSError):
            super()._print_message(message, file)

    @property
    def actions(self) -> Sequence[argparse.Action]:
        """All its arguments."""
        return self._actions

    def shorten_usage(self) -> None:
        """Have usage name the arguments that stand by their place, and the options as one."""
        placed = [action for action in self.actions if not action.option_strings]
        forms = {"?": "[{}]", "+": "{} ..."}
        words = [forms.get(str(action.nargs), "{}").format(action.metavar) for action in placed]
        self.usage = " ".join(["%(prog)s [OPTION ...]", *words])

    @property
    def options(self) -> Iterable[str]:
        """All spellings of its options."""
        return self._option_string_actions

    def require_options(self, words: Sequence[str], others: Mapping[str, "Parser"]) -> None:
        """End where a word is an option that there is not; `others` are the parsers of commands that may have it."""
        for word in words:
            if word == "--":
                return
            if self._is_unknown(word):
                self.error(self._unknown_option(word.partition("=")[0], others))

    def _is_unknown(self, word: str) -> bool:
        """Return whether a word is an option that there is not, by the rules by which argparse finds options."""
        name = word.partition("=")[0]
        if len(word) < 2 or word[0] != "-" or name in self.options or " " in word or re.fullmatch(r"-\.?\d.*", word):
            return False
        return name.startswith("--") or word[:2] not in self.options or f"-{name}" in self.options

    def _unknown_option(self, name: str, others: Mapping[str, "Parser"]) -> str:
        name = fitted(name, LONGEST)
        if owners := [command for command, parser in others.items() if name in parser.options]:
            return f"{name} is an option of {', '.join(owners)}, not of this command"
        for action in self._actions:
            plain = name.lstrip("-").lower()
            if action.option_strings or f"--{OTHER_OPTIONS.get(plain, '')[2:]}" in self.options:
                continue
            if plain in {action.dest, str(action.metavar).lower()} or GIVEN.get(plain) == action.metavar:
                return f"there is no option {name}; {str(action.metavar).strip('[]')} is given without one"
        if GIVEN["p"] in (action.metavar for action in self._actions) and name[:2] != "--" and len(name) > 2:
            return f"there is no option {name}; put -- before a text that begins with -"
        guess = _near_option(name, self.options)
        return f"there is no option {name}{'' if guess is None else f'. Did you mean {guess}?'}"


def _nearest(name: str, choices: Iterable[str]) -> str | None:
    from rnn_backends.core.near import nearest  # not for --help

    return nearest(name, choices)


def _near_option(name: str, options: Iterable[str]) -> str | None:
    """Return the option that was meant by a name."""
    long = [option for option in options if option.startswith("--")]
    plain = name.replace("_", "-").strip("-").lower()
    if (meant := OTHER_OPTIONS.get(plain, "")) and meant.partition(" ")[0] in long:
        return meant
    if plain in UNKNOWN or len(plain) == 1:
        return None
    if found := [option for option in long if option.startswith(f"--{plain}")]:
        return min(found, key=len)
    guess = _nearest(plain, [option[2:] for option in long])
    return None if guess is None else f"--{guess}"


def require_known(parser: Parser, words: Sequence[str]) -> None:
    """End where the words do not begin with a command, or have an option that it does not have."""
    commands = parser.commands
    for index, word in enumerate(words):
        if word in commands:
            commands[word].require_options(words[index + 1 :], commands)
            return
        if not word.startswith("-"):
            parser.error(_unknown_command(word, commands))
        name = word.partition("=")[0]
        owners = [command for command, each in commands.items() if name in each.options]
        if owners and name not in parser.options:
            parser.error(f"{name} is an option of {', '.join(owners)}; it comes after the command")
        parser.require_options([word], {})
    if not {"-h", "--help", "-V", "--version"} & set(words):
        parser.epilog = None
        parser.print_help(sys.stderr)
        parser.exit(2, f"\n{parser.prog}: error: no command is given. See `{parser.prog} --help`.\n")


def _unknown_command(word: str, commands: Mapping[str, Parser]) -> str:
    known = f"the commands are {', '.join(commands)}"
    if word.lower() in TRAINING:
        return "models are not trained here, but run forward: train one in a framework, and run what it saves"
    meant = MEANT.get(word.lower())
    guess = meant if meant in commands or meant == "--version" else _nearest(word, commands)
    if guess is not None:
        return f"there is no command {shown(word)}. Did you mean {guess}?"
    if is_there(word):
        return f"{shown(word)} is a file, not a command; put one before it: {known}"
    return f"there is no command {shown(word)}; {known}"


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Return a kind of values for argparse: one of some words, the near one of which is named where it is none."""

    def choice(text: str) -> str:
        if text not in choices:
            guess = _nearest(text, choices)
            hint = "" if guess is None else f". Did you mean {guess}?"
            msg = f"expected one of {', '.join(choices)}; got {shown(text)}{hint}"
            raise argparse.ArgumentTypeError(msg)
        return text

    return choice


def quoted(word: str, name: str) -> str:
    """Return a word as a shell reads it; the name of what it is, if it is long."""
    return shlex.quote(word) if len(word) <= LONGEST else name


def hint(arguments: argparse.Namespace) -> str:
    """Return what to say after a failure that the words of a command explain."""
    held = vars(arguments)
    prog, model, text = arguments.parser.prog, str(held.get("model") or ""), str(held.get("input") or "")
    data = text or str(held.get("prompt") or "")
    kind, other = (Path(word).suffix.lower() for word in (data, model))
    is_no_model = other in DATA or model == "-" or not is_there(model)
    if kind in MODELS and kind != other and is_no_model and is_file(data):
        return f" The model comes first: {prog} {quoted(data, 'MODEL')} {quoted(model, 'INPUT')}"
    if held.get("output_dir") is not None:
        return ""  # whose errors name their input
    if {*"*?["} & {*text} and not is_there(text):
        return f" A pattern needs an --output-dir: {prog} MODEL {quoted(text, 'PATTERN')} --output-dir DIR"
    if text not in {"", "-"} and not Path(text).suffix and is_file(model) and not is_there(text):
        return f" INPUT is a file; pipe text to -: echo {quoted(text, 'TEXT')} | {prog} MODEL -"
    return " MODEL is a file; only INPUT may come from stdin." if model == "-" else ""
