"""The arguments of each command."""

from pathlib import Path

from rnn_backends.cli.mistakes import one_of
from rnn_backends.cli.options import (
    Commands,
    Group,
    add_command,
    add_load_options,
    columns,
    jobs,
    lengths,
    number,
    positive,
    whole,
)
from rnn_backends.cli.running.formats import INPUTS, OUTPUTS
from rnn_backends.core.network import READS

DTYPES, LIBRARIES, SHELLS = ("float32", "float64"), ("torch", "onnxruntime"), ("bash", "zsh", "fish")


def add_info(commands: Commands) -> None:
    """Add the command `info`."""
    summary = "Show what is installed and which backends work, or what a model file holds."
    parser = add_command(commands, "info", summary)
    parser.add_argument("model", metavar="MODEL", type=Path, nargs="?", help="show what is in this file, and no more")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for machines")
    add_load_options(parser)


def add_run(commands: Commands) -> None:
    """Add the command `run`."""
    summary = "Run a model once over arrays, text or a table, and report how fast and how well it did."
    parser = add_command(commands, "run", summary)
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model file, such as .safetensors, .onnx or .pt")
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        type=Path,
        nargs="+",
        help="a .npy file of x; a .npz file of x and, if wanted, h_0 (h_0_l0, h_0_l1, ... of cells of several sizes), "
        "lengths, mask and targets; a .csv, .tsv, .jsonl or .parquet table; any other file is UTF-8 text, in which "
        "each character, or word, is to predict the next one; - is stdin; with --output-dir there may be several, and "
        "patterns in quotes, such as 'corpus/**/*.txt'",
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
    _add_input_options(parser.add_argument_group("options of the input"))
    _add_output_options(parser.add_argument_group("options of the output"))
    _add_many_options(parser.add_argument_group("options of many inputs"))
    add_load_options(parser, "reads")


def _add_input_options(group: Group) -> None:
    group.add_argument(
        "--from",
        dest="input_format",
        metavar="FORMAT",
        type=one_of(INPUTS),
        help=f"its format, where its name does not say: {', '.join(INPUTS)}",
    )
    group.add_argument(
        "--lines",
        action="store_true",
        help="each line of a text is a sequence of its own; it always is for a model that reads sequences as a whole",
    )
    group.add_argument(
        "--lengths",
        metavar="N",
        type=lengths,
        nargs="+",
        help="the valid steps of each sequence of an array",
    )
    group.add_argument(
        "--id",
        metavar="NAME",
        help="the column, or the field, of the id of a sequence, whose steps are rows below one another; without it "
        "a table is one sequence, but each row with text or lists is one",
    )
    group.add_argument(
        "--x",
        metavar="NAME[,NAME]",
        type=columns,
        help="the columns of features, or the one of text or of token ids; default: all that are left",
    )
    group.add_argument("--targets", metavar="NAME", help="the column of the right classes, by name or id")


def _add_output_options(group: Group) -> None:
    group.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="write the probabilities, or the hidden states of a model without readout, of each step or of each "
        "sequence that is read as a whole, to a .npy, .csv, .tsv, .jsonl or .parquet file; - is stdout, and the report "
        "then goes to stderr",
    )
    group.add_argument(
        "--to",
        dest="output_format",
        metavar="FORMAT",
        type=one_of(OUTPUTS),
        help=f"its format, where its name does not say: {', '.join(OUTPUTS)}",
    )
    group.add_argument(
        "--predictions",
        action="store_true",
        help="write the likeliest instead, to stdout where there is no --output: in text and tables the names "
        "of classes, characters or words where the model has them, else ids",
    )
    group.add_argument("--json", action="store_true", help="report in one JSON object, for machines")
    group.add_argument("--quiet", action="store_true", help="show no progress, no remarks and no report on stderr")


def _add_many_options(group: Group) -> None:
    group.add_argument(
        "--output-dir",
        metavar="DIR",
        type=Path,
        help="write an output for each input to this folder, named as the input with the suffix of the format after "
        "it; those that are whole, by its manifest.json, and of the same input, model and options, are kept",
    )
    group.add_argument(
        "--jobs",
        metavar="N",
        type=jobs,
        help="the processes that share the inputs, each with one thread; auto is as many as there are processors; "
        "default: 1",
    )


def add_generate(commands: Commands) -> None:
    """Add the command `generate`."""
    summary = (
        "Continue a prompt: draw tokens from a model, or run a forecaster on; what comes is written as it comes, and "
        "the prompt is not."
    )
    parser = add_command(commands, "generate", summary)
    parser.epilog = (
        "A model draws tokens if it has a vocabulary or takes tokens, and runs on with its own outputs if it takes "
        "features; where neither the file nor --takes says, it draws if its readout is a softmax. Text is written as "
        "drawn; only on a terminal is a last line break added, and control characters are escaped. Token ids are "
        "written on one line, between spaces; values on a line for each step, between commas, with all digits that "
        "their dtype needs."
    )
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="a model that predicts its own next input")
    prompt = add("prompt", metavar="[PROMPT]", help="text, for a model with a vocabulary; else token ids ('3 1 4'), "
        "or, for a forecaster, steps on lines or between semicolons, of numbers between commas or spaces ('1,5; 2,7'); "
        "- is stdin, in UTF-8, of which one line break at the end is left out, since echo adds it (write two to keep "
        "one); put -- before a prompt that begins with -; default: a line break, if the vocabulary has it")  # fmt: skip
    prompt.required = False  # with nargs="?", argparse of Python 3.11 takes no prompt that stands after an option
    add("--length", type=whole, default=200, metavar="N", help="tokens to draw, or steps to run; default: 200")
    add("--temperature", type=number, metavar="X", help="divide the logits by this before each draw; 0 takes the "
        "likeliest token; default: 1")  # fmt: skip
    add("--top-k", type=whole, metavar="K", help="draw from the K likeliest tokens alone")
    add("--top-p", type=number, metavar="P", help="draw from the fewest likeliest tokens whose probabilities sum to at "
        "least P")  # fmt: skip
    add("--seed", type=whole, metavar="N", help="make the same draws each time; default: a new seed, shown on stderr")
    add("--stop", action="append", metavar="TEXT", help="end where this text (words of a word model, or ids) is drawn, "
        "and leave it out; again for more, of which the first to end counts, and the longest of those that end "
        "together")  # fmt: skip
    add("--count", type=whole, default=1, metavar="N", help="draw N results, the first with the seed, the others with "
        "seeds that follow from it, whatever N is; texts have a line --- between them, ids a line each; default: "
        "1")  # fmt: skip
    add("--json", action="store_true", help="write each result, when it is complete, as a JSON object on a line: "
        "prompt, text or ids, tokens (their number), seed (which draws it alone), stopped (length or stop); of a "
        "forecaster: prompt, values (null where not finite), steps (their number)")  # fmt: skip
    add(
        "--output", metavar="FILE", type=Path, help="write to a file, in UTF-8, whole or not at all; default: -, stdout"
    )
    add("--backend", metavar="NAME[:DEVICE]", help="where to run, such as cupy:1; else what RNN_BACKEND says, else "
        "numpy")  # fmt: skip
    add("--quiet", action="store_true", help="show neither the seed that was chosen nor the progress of --output")
    add_load_options(parser)


def add_convert(commands: Commands) -> None:
    """Add the command `convert`."""
    summary = "Write a model to a file of another format, show what is in it, and check it, on NumPy, by running both."
    parser = add_command(commands, "convert", summary)
    parser.add_argument("model", metavar="IN", type=Path, help="a model file, such as .pt, .onnx or .msgpack")
    parser.add_argument("output", metavar="OUT", type=Path, help="a .safetensors, .npz or .onnx file to write")
    add_load_options(parser)


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
