"""The commands: ``rnn-backends``, or ``python -m rnn_backends``.

What a command needs is imported when it is run, so that ``--help`` answers at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path

from rnn_backends import __version__
from rnn_backends.commands.reports import PROG, aligned, one_line
from rnn_backends.errors import RNNBackendError

AGAINST = ("torch", "onnxruntime", "jax", "reservoirpy", "textbook", "product", "recurrent")
DONE, FAILED, INTERRUPTED = 0, 1, 130

# RuntimeError is what CUDA, torch and JAX raise when a device is lost or its memory is full.
FAILURES = (RNNBackendError, OSError, UnicodeError, MemoryError, RuntimeError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

    Parameters
    ----------
    argv : sequence of str, optional
        The words of the command line after the program's name; left out, those of this process.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names that the terminal cannot show
    try:
        code = _command(argv)
    except SystemExit as end:  # argparse has printed help, version or usage
        code = int(end.code or DONE)
    except KeyboardInterrupt:
        _note("interrupted")
        code = INTERRUPTED
    return _flush(code)


def _command(argv: Sequence[str] | None) -> int:
    """Parse the command line and run its command."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.execute(arguments)
    except argparse.ArgumentError as error:  # options that do not go together
        arguments.parser.error(str(error))
    except BrokenPipeError:  # the reader of stdout has seen enough, as in `| head`
        return FAILED
    except FAILURES as error:
        _tell(error, with_traceback=arguments.traceback)
        return FAILED
    return DONE


def _flush(code: int) -> int:
    """Write what is left for stdout: at exit, where Python would do it, a failure could not be told."""
    try:
        print(end="", flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if code == DONE and not isinstance(error, BrokenPipeError):
            _tell(error)
        return code or FAILED
    return code


def _tell(error: Exception, *, with_traceback: bool = False) -> None:
    """Print an error on stderr, in one line after its traceback."""
    if with_traceback:
        from traceback import print_exception

        print_exception(error)
    _note(f"error: {one_line(error)}")


def _note(text: str) -> None:
    print(f"{PROG}: {text}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
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
    _add_bench(commands)
    return parser


def _add_info(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    summary = "Tell what is installed, which backends work, and why the others do not."
    parser = _add_command(commands, "info", summary, _info)
    parser.add_argument("--json", action="store_true", help="print one JSON object, for machines")


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    summary = "Run a model once over arrays or text, and tell how fast and how well it did."
    parser = _add_command(commands, "run", summary, _run)
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model file, such as .safetensors, .onnx or .pt")
    parser.add_argument(
        "input",
        metavar="INPUT",
        type=Path,
        help="a .npy file of x; a .npz file of x and, if wanted, h_0, lengths, mask and targets; any other file is "
        "UTF-8 text, in which each character is to predict the next one",
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
        help="write the probabilities, or the hidden states of a model without readout, to a .npy file",
    )
    parser.add_argument(
        "--predictions",
        action="store_true",
        help="have --output write the likeliest ids, to a .npy file, or characters, to a .txt file",
    )
    parser.add_argument(
        "--lengths", metavar="N", type=int, nargs="+", help="the valid steps of each sequence of a batch"
    )
    parser.add_argument(
        "--activation", metavar="NAME", help="g1 of the model's cells, for a file that does not tell it"
    )


def _add_bench(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    summary = "Measure how fast this library is, in times of other libraries and of the machine's limit."
    parser = _add_command(commands, "bench", summary, _bench)
    add = parser.add_argument
    add("--shape", nargs=4, type=int, action="append", metavar=("T", "B", "I", "H"), help="steps, sequences, features "
        "and states; again for more; left out, a grid of shapes")  # fmt: skip
    add("--dtype", nargs="+", choices=("float32", "float64"), default=["float32"], help="default: float32")
    add("--backend", metavar="NAME[:DEVICE]", action="append", help="what to measure, again for more; default: numpy, "
        "and numba where it works")  # fmt: skip
    add("--against", nargs="+", choices=AGAINST, default=list(AGAINST), help="whom to compare with; default: all")
    add("--threads", nargs="+", type=int, default=[1], metavar="N", help="the threads of everybody; default: 1")
    add("--tokens", action="store_true", help="have token ids as input, I being the size of the vocabulary")
    add("--bidirectional", action="store_true", help="have cells of both directions")
    add("--ragged", action="store_true", help="have sequences of different lengths")
    add("--step", action="store_true", help="run sequences in calls of one step")
    add("--leak", type=float, metavar="LEAK", help="have leaky cells")
    add("--seconds", type=float, default=6.0, help="when to start no more rounds of a shape; default: 6")
    add("--rounds", type=int, default=25, help="how many rounds at most; default: 25")
    add("--json", metavar="FILE", type=Path, help="write all that was measured to a file, too")


def _add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    execute: Callable[[argparse.Namespace], None],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    parser.set_defaults(execute=execute, parser=parser)
    _add_traceback(parser, default=argparse.SUPPRESS)  # else it would undo --traceback before the command
    return parser


def _add_traceback(parser: argparse.ArgumentParser, *, default: bool | str) -> None:
    help_text = "show the traceback of an error, too"
    parser.add_argument("--traceback", action="store_true", default=default, help=help_text)


def _info(arguments: argparse.Namespace) -> None:
    from rnn_backends.commands.info import collect, rows

    found = collect()
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for line in aligned(rows(found)):
        print(line.rstrip())


def _run(arguments: argparse.Namespace) -> None:
    from rnn_backends.commands.run import Request, run

    request = Request(
        model=arguments.model,
        input=arguments.input,
        backend=arguments.backend,
        output=arguments.output,
        predictions=arguments.predictions,
        lengths=arguments.lengths,
        activation=arguments.activation,
    )
    for line in aligned(run(request, _note)):
        print(line)


def _bench(arguments: argparse.Namespace) -> None:
    from rnn_backends.commands.bench import Request, bench

    request = Request(
        shapes=arguments.shape,
        dtypes=arguments.dtype,
        backends=arguments.backend,
        against=arguments.against,
        threads=arguments.threads,
        tokens=arguments.tokens,
        bidirectional=arguments.bidirectional,
        ragged=arguments.ragged,
        step=arguments.step,
        leak=arguments.leak,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        json=arguments.json,
    )
    for line in bench(request):
        print(line)
