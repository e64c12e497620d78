"""The arguments of each command."""

from pathlib import Path

from rnn_backends.cli.mistakes import one_of
from rnn_backends.cli.options import Commands, add_command, load_options, positive
from rnn_backends.core.network import READS

DTYPES, LIBRARIES, SHELLS = ("float32", "float64"), ("torch", "onnxruntime"), ("bash", "zsh", "fish")


def add_info(commands: Commands) -> None:
    """Add the command `info`."""
    summary = "Show what is installed and which backends work, or what a model file holds."
    parser = add_command(commands, "info", summary, load_options())
    parser.add_argument("model", metavar="MODEL", type=Path, nargs="?", help="show what is in this file, and no more")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for machines")


def add_run(commands: Commands) -> None:
    """Add the command `run`."""
    summary = "Run a model once over arrays or text, and report how fast and how well it did."
    parser = add_command(commands, "run", summary, load_options("reads"))
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
        type=one_of(READS),
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


def add_convert(commands: Commands) -> None:
    """Add the command `convert`."""
    summary = "Write a model to a file of another format, show what is in it, and check it, on NumPy, by running both."
    parser = add_command(commands, "convert", summary, load_options())
    parser.add_argument("model", metavar="IN", type=Path, help="a model file, such as .pt, .onnx or .msgpack")
    parser.add_argument("output", metavar="OUT", type=Path, help="a .safetensors, .npz or .onnx file to write")


def add_bench(commands: Commands) -> None:
    """Add the command `bench`."""
    summary = "Measure how fast this library's backends are, and torch and ONNX Runtime where they are installed."
    add = add_command(commands, "bench", summary).add_argument
    add("--shape", nargs=4, type=positive, action="append", dest="shapes", metavar=("T", "B", "I", "H"),
        help="steps, sequences, features and states; again for more; default: three shapes")  # fmt: skip
    add("--layers", type=positive, default=1, metavar="N", help="layers of the network; default: 1")
    add("--dtype", type=one_of(DTYPES), choices=DTYPES, default="float32", help="default: float32")
    add("--backend", metavar="NAME[:DEVICE]", action="append", dest="backends", help="backend to measure; again for "
        "more; default: numpy")  # fmt: skip
    add("--against", nargs="*", type=one_of(LIBRARIES), choices=LIBRARIES, metavar="LIBRARY", help="torch and "
        "onnxruntime, on the CPU; default: those that are installed; without a name: none")  # fmt: skip
    add("--threads", type=positive, default=1, metavar="N", help="threads of each contestant; default: 1")
    add("--rounds", type=positive, default=15, metavar="N", help="times that each is measured; default: 15")
    add("--json", metavar="FILE", type=Path, help="also write the measured times to a file")


def add_completion(commands: Commands) -> None:
    """Add the command `completion`."""
    summary = "Print a script with which a shell completes commands, options and files; needs the package shtab."
    parser = add_command(commands, "completion", summary)
    parser.add_argument("shell", metavar="SHELL", type=one_of(SHELLS), choices=SHELLS, help="bash, zsh or fish")


def add_help(commands: Commands) -> None:
    """Add the command `help`."""
    parser = add_command(commands, "help", "Show the help of a command, or of the program.")
    names = tuple(commands.choices)
    parser.add_argument("about", metavar="COMMAND", nargs="?", type=one_of(names), choices=names, help="a command")
