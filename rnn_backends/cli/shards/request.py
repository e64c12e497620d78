"""The requests of the command `run` over many inputs: one for each, checked before anything is computed."""

import argparse
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rnn_backends import __version__
from rnn_backends.backends.cpu_kernels.threads import processors
from rnn_backends.cli.options import AUTO
from rnn_backends.cli.running.formats import format_of, suffix_of
from rnn_backends.cli.running.request import Request
from rnn_backends.cli.running.streams import STDIN
from rnn_backends.cli.shards.inputs import Input
from rnn_backends.core.messages import shown_path

_INSTEAD = {"npz": "npy"}
"""The formats of outputs by those of inputs that no output has."""
_OPTIONS = ("input_format", "lines", "id", "x", "targets", "reads", "predictions")
"""The options on which an output depends beside the model, the backend and the format, which its name has."""


class Shard(NamedTuple):
    """An input, and the name of its output in the folder of outputs, with slashes between the parts."""

    input: Path
    output: str


def require_many(arguments: Namespace) -> None:
    """Check the options that many inputs have not, and those that they alone have.

    Raises
    ------
    argparse.ArgumentError
        They do not go together.
    """
    problem = None
    if arguments.output_dir is None:
        problem = "--jobs is for --output-dir; name the folder of the outputs by it" if arguments.jobs else None
    elif arguments.output is not None:
        problem = "--output names one file, and --output-dir a folder of them; leave out one"
    elif arguments.lengths is not None:
        problem = "--lengths is for one input; with --output-dir, give `lengths` in .npz files beside x"
    elif STDIN in arguments.inputs:
        problem = "--output-dir is for files, and - is stdin; leave out one"
    if problem is not None:
        raise argparse.ArgumentError(None, problem)


def jobs_of(arguments: Namespace) -> int:
    """Return the number of processes that is asked for."""
    return processors() if arguments.jobs == AUTO else arguments.jobs or 1


def request_of(arguments: Namespace, path: Path, output: Path) -> Request:
    """Return the request of one input, of the options of the command line.

    Raises
    ------
    argparse.ArgumentError
        The options do not go together, or not with the input.
    """
    given = {field.name: getattr(arguments, field.name) for field in fields(Request)}
    return Request(**{**given, "input": path, "output": output, "quiet": True})


def shards_of(arguments: Namespace, inputs: Iterable[Input]) -> list[Shard]:
    """Return what is to be made, in the order of the inputs, whose options are checked.

    The name of an output is that of its input and the suffix of its format after it, so that no two are the same.
    """
    found = []
    for each in inputs:
        form = arguments.input_format or format_of(each.path) or "text"
        form = arguments.output_format or _INSTEAD.get(form, form)
        if form == "text" and not arguments.predictions:
            msg = (
                f"text, as which '{shown_path(each.path)}' is read, can hold predictions only; add --predictions, or "
                "--to npy, csv, jsonl or parquet"
            )
            raise argparse.ArgumentError(None, msg)
        shard = Shard(each.path, f"{each.name}{suffix_of(form)}")
        try:
            request_of(arguments, shard.input, arguments.output_dir / shard.output)
        except argparse.ArgumentError as error:
            name = shown_path(each.path)
            msg = error.message if name in error.message else f"'{name}': {error.message}"
            raise argparse.ArgumentError(None, msg) from error
        found.append(shard)
    return found


def settings_of(arguments: Namespace, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what outputs depend on beside their inputs; `facts` are those of a model that is loaded."""
    given = {name: getattr(arguments, name) for name in _OPTIONS}
    options = {name: value for name, value in given.items() if value is not None and value is not False}
    versions = {"rnn-backends": __version__, facts["backend"]: facts["backend_version"]}
    return {"model": facts["record"], "backend": facts["place"], "options": options, "versions": versions}


def settings_for(shard: Shard, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return those of an output, which pyarrow's version is among where it writes it."""
    if format_of(Path(shard.output)) != "parquet":
        return settings
    return {**settings, "versions": {**settings["versions"], "pyarrow": _version("pyarrow")}}


_version = cache(version)
