"""Each option of each command, in a real terminal and in pipes, which must say the same."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from terminal import PROGRAM, Terminal

import rnn_backends as rb
from rnn_backends.cli.parser import make_parser

LETTERS = "abcd \n"
LOADING = "--activation tanh --readout-activation softmax"
RUNS: dict[str, tuple[int, ...]] = {
    # words, and the exit code
    "-V": (0,),
    "--version": (0,),
    "-h": (0,),
    "--help": (0,),
    "info text.npz --json": (0,),
    "info text.npz": (0,),
    "info no.npz --traceback": (1,),
    f"info bare.npz {LOADING} --batch-first": (0,),
    f"info bare.npz {LOADING} --no-batch-first --reads last --takes tokens": (0,),
    f"info bare.npz {LOADING} --vocabulary abcd": (1,),
    f"info bare.npz {LOADING} --roles readout=ignore": (1,),
    f"info bare.npz {LOADING} --names Wx=weight_ih_l0.T": (1,),
    f"info bare.npz {LOADING} --key ema": (1,),
    f"info bare.npz {LOADING} --batch-norm-eps 1e-5": (1,),
    f"info bare.npz {LOADING} --cell RateCell --leak 0.2": (0,),
    f"info bare.npz {LOADING} --encoder-activation relu": (1,),
    f"info bare.npz {LOADING} --residual": (1,),
    f"info bare.npz {LOADING} --no-residual --layers a,b": (1,),
    f"info bare.npz {LOADING} --go-backwards": (1,),
    f"info bare.npz {LOADING} --no-go-backwards --masking": (1,),
    f"info bare.npz {LOADING} --no-masking": (1,),
    "info text.npz --external-data": (1,),
    "info text.npz --no-external-data": (1,),
    "run text.npz text.txt": (0,),
    "run text.npz text.txt --backend numpy --quiet --json": (0,),
    "run text.npz text.txt --lines --predictions --output -": (0,),
    "run text.npz text.txt --to csv --reads last": (0,),
    "run plain.npz x.npy --lengths 4,2 --output -  --to jsonl": (0,),
    "run plain.npz x --from npy": (0,),
    "run plain.npz x.csv --id id --x a,b --targets t": (0,),
    f"run bare.npz x.npy {LOADING} --no-batch-first": (0,),
    "run text.npz text.txt --predictions --output-dir many --jobs 2 --json": (0,),
    "run plain.npz x.csv x.npy --reads last --output-dir many --jobs auto --quiet --json": (1,),
    "generate text.npz ab --length 9 --temperature 0.5 --top-k 3 --top-p 0.9 --seed 1": (0,),
    "generate text.npz ab --length 9 --seed 1 --count 2 --json --backend numpy": (0,),
    "generate text.npz ab --length 9 --seed 1 --stop d --output - --quiet": (0,),
    "convert text.npz written.safetensors": (0,),
    f"convert bare.npz written.npz {LOADING}": (0,),
    "bench --shape 4 1 2 3 --rounds 1 --layers 1 --dtype float32 --threads 1 --against --backend numpy --json t.json": (
        0,
    ),
    "completion bash": (0,),
    "help run": (0,),
    "help": (0,),
}
SHARED = {"--traceback", "-h", "--help"}
"""Options that each command has, and takes alike."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("options")
    drawn = rb.RNN.init(len(LETTERS), 5, output_size=len(LETTERS), seed=1)
    rb.RNN(drawn.layers, drawn.readout, vocabulary=LETTERS).save(place / "text.npz")
    (place / "text.txt").write_text("abba cab\nbad\n")
    plain = rb.RNN.init(2, 5, output_size=3, seed=1)
    plain.save(place / "plain.npz")
    np.savez(place / "bare.npz", **plain.to_torch())  # type: ignore[arg-type]  # numpy has it so
    np.save(place / "x.npy", np.ones((4, 2, 2), np.float32))
    (place / "x").write_bytes((place / "x.npy").read_bytes())
    (place / "x.csv").write_text("id,a,b,t\n1,1,2,0\n1,2,1,2\n2,0,1,1\n")
    return place


def words_of(line: str) -> list[str]:
    return line.split()


def of_any_run(text: str) -> list[str]:
    """The lines, without times and what else differs from run to run."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    times = re.compile(r"(time|speed|4 1 2 3|T B I H|\{\"model\")")
    return [line for line in lines if not times.match(line)]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("line", RUNS)
def test_a_terminal_says_what_pipes_bring(folder: Path, line: str) -> None:
    if line.startswith("completion"):
        pytest.importorskip("shtab")
    words = words_of(line)
    piped = subprocess.run(
        [*PROGRAM, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert piped.returncode in RUNS[line], piped.stderr
    with Terminal(*words, cwd=folder, pipes=["stdin", "stderr"], NO_COLOR="1", COLUMNS="80") as terminal:
        assert terminal.finish() == piped.returncode
        assert of_any_run(terminal.shown) == of_any_run(piped.stdout)
    with Terminal(*words, cwd=folder, pipes=["stdin", "stdout"], NO_COLOR="1", COLUMNS="80") as terminal:
        assert terminal.finish() == piped.returncode
        assert of_any_run(terminal.shown) == of_any_run(piped.stderr)


def test_no_option_is_left_out() -> None:
    parser = make_parser()
    used = {(line.split()[0], word) for line in RUNS for word in line.split() if word.startswith("-") and len(word) > 1}
    loading = {option for option in parser.commands["info"].options if option not in SHARED}
    for name, command in parser.commands.items():
        options = {option for option in command.options if option not in SHARED}
        own = options - loading if name in {"run", "generate", "convert"} else options
        assert own - {option for first, option in used if first == name} == set(), name
    assert set(parser.options) - {line.split()[0] for line in RUNS} - {"--traceback"} == set()
