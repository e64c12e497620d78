"""The commands: ``rnn-backends``, or ``python -m rnn_backends``.

What a command needs is imported when it is run, so that ``--help`` answers at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from io import TextIOWrapper
from typing import Any

from rnn_backends.cli.mistakes import hint
from rnn_backends.cli.parser import parse
from rnn_backends.cli.reports import FAILURES, PROG, STDOUT, aligned, one_line, visible
from rnn_backends.cli.signals import Ended, raised
from rnn_backends.cli.stderr import Stderr
from rnn_backends.core.messages import fitted
from rnn_backends.formats.files import writing

DONE, FAILED, INTERRUPTED = 0, 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted, else 128 + signal.

    Parameters
    ----------
    argv : sequence of str, optional
        The words of the command line after the program's name; left out, those of this process.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names that the terminal cannot show
    try:
        with raised():
            return _ended_well(argv)
    except (Ended, KeyboardInterrupt) as error:  # as it began or ended
        return _stopped(error)


def _ended_well(argv: Sequence[str] | None) -> int:
    """Run a command and return its exit code, whatever ends it."""
    try:
        return _flush(_command(argv))
    except SystemExit as end:  # argparse has printed help, version or usage
        return _flush(int(end.code or DONE))
    except (Ended, KeyboardInterrupt) as error:
        return _flush(_stopped(error))


def _stopped(error: Ended | KeyboardInterrupt) -> int:
    """Report an interrupt, and nothing of other signals, whose senders know; return the exit code."""
    code = error.code if isinstance(error, Ended) else INTERRUPTED
    if code == INTERRUPTED:
        _note("interrupted")
    return code


def _command(argv: Sequence[str] | None) -> int:
    """Parse the command line and run its command."""
    arguments = parse(argv)
    try:
        for line in COMMANDS[arguments.command](arguments):
            with writing(STDOUT):
                print(line)
    except argparse.ArgumentError as error:  # options that do not go together
        arguments.parser.error(str(error))
    except BrokenPipeError:  # the reader of stdout has seen enough, as in `| head`
        return FAILED
    except FAILURES as error:
        _report(error, hint(arguments), with_traceback=arguments.traceback)
        return FAILED
    return DONE


def _flush(code: int) -> int:
    """Write what is left for stdout: at exit, where Python would do it, a failure could not be reported."""
    try:
        with writing(STDOUT):
            print(end="", flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if code == DONE and not isinstance(error, BrokenPipeError):
            _report(error)
        return code or FAILED
    return code


def _report(error: Exception, hint: str = "", *, with_traceback: bool = False) -> None:
    """Print an error on stderr, in one line after its traceback."""
    if with_traceback:
        from traceback import print_exception

        print_exception(error)
    _note(f"error: {one_line(error)}{hint}")


def _note(text: str) -> None:
    """Print a line on stderr, if anything is read there."""
    Stderr(sys.stderr).write(f"{fitted(f'{PROG}: {visible(text)}')}\n")


def _request(kind: type[Any], arguments: argparse.Namespace) -> Any:
    """Return what the command line asks for: the record of a command, whose fields are named as its options are."""
    return kind(**{field.name: getattr(arguments, field.name) for field in fields(kind)})


def _info(arguments: argparse.Namespace) -> Iterable[str]:
    """Yield the lines of `info`; a model that cannot be read is a failure, which they have reported."""
    from rnn_backends.cli import info
    from rnn_backends.cli.loading import Loading

    if arguments.model is None and arguments.given:
        name = next(iter(arguments.given)).replace("_", "-")
        raise argparse.ArgumentError(None, f"--{name} is an option for a MODEL; name its file")
    found = info.collect() if arguments.model is None else info.of_model(_request(Loading, arguments))
    yield from [json.dumps(found, indent=2)] if arguments.json else info.lines(found)
    if found.get("reason") is not None:
        raise SystemExit(FAILED)


def _run(arguments: argparse.Namespace) -> Iterable[str]:
    if arguments.output_dir is not None or arguments.jobs is not None:
        return _run_many(arguments)
    from rnn_backends.cli.run import run
    from rnn_backends.cli.running.request import Request

    request = _request(Request, arguments)
    report = run(request, (lambda _: None) if request.quiet else _note)
    lines = [json.dumps(report.facts())] if request.json else list(aligned(report.rows()))
    if not request.is_to_stdout:
        return lines
    if not request.quiet:
        Stderr(sys.stderr).write("".join(f"{line}\n" for line in lines))
    return []


def _run_many(arguments: argparse.Namespace) -> Iterable[str]:
    """Yield the report of `run` over many inputs; where some failed, so does the command, and the others are done."""
    from rnn_backends.cli.shards.command import run_many

    summary = run_many(arguments, _note)
    yield from [json.dumps(summary.as_facts())] if arguments.json else aligned(summary.rows())
    if summary.failed:
        _note(f"error: {summary.failure}")
        raise SystemExit(FAILED)


def _generate(arguments: argparse.Namespace) -> Iterable[str]:
    from rnn_backends.cli.generate import Request, generate

    generate(_request(Request, arguments), _note)  # which writes its results while they are drawn
    return ()


def _convert(arguments: argparse.Namespace) -> Iterable[str]:
    from rnn_backends.cli.convert import Request, convert

    return convert(_request(Request, arguments))


def _bench(arguments: argparse.Namespace) -> Iterable[str]:
    from rnn_backends.cli.bench import Request, bench

    return bench(_request(Request, arguments), _note)


def _completion(arguments: argparse.Namespace) -> Iterable[str]:
    from rnn_backends.cli.completion import script

    return [script(arguments.program, arguments.shell)]


def _help(arguments: argparse.Namespace) -> Iterable[str]:
    program = arguments.program
    (program if arguments.about is None else program.commands[arguments.about]).print_help()
    return []


COMMANDS: dict[str, Callable[[argparse.Namespace], Iterable[str]]] = {
    "info": _info,
    "run": _run,
    "generate": _generate,
    "convert": _convert,
    "bench": _bench,
    "completion": _completion,
    "help": _help,
}
