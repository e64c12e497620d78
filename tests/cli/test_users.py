"""Mistakes of people who had ten tasks and the help alone: each is answered in one line, which names the mend."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from terminal import PROGRAM

import rnn_backends as rb

EXAMPLES = Path(__file__).parents[2] / "examples"
MISTAKES: dict[str, str] = {
    # commands
    "inof": "there is no command 'inof'. Did you mean info?",
    "show names.safetensors": "Did you mean info?",
    "Info names.safetensors": "Did you mean info?",
    "predict names.safetensors Nakamura": "Did you mean run?",
    "sample shakespeare.safetensors": "Did you mean generate?",
    "export rnn.npz rnn.onnx": "Did you mean convert?",
    "forecast forecast.safetensors sea-temperatures.csv": "Did you mean run?",
    "names.safetensors": "'names.safetensors' is a file, not a command; put one before it",
    "--json info names.safetensors": "it comes after the command",
    # options of other programs, and such as are nearly right
    "generate shakespeare.safetensors ROMEO: --temp 0.5": "Did you mean --temperature?",
    "generate shakespeare.safetensors ROMEO: --top_k 5": "Did you mean --top-k?",
    "generate shakespeare.safetensors ROMEO: --max-tokens 300": "Did you mean --length?",
    "generate shakespeare.safetensors ROMEO: -n 300": "Did you mean --length?",
    "generate shakespeare.safetensors ROMEO: -o r.txt": "Did you mean --output?",
    "generate -m shakespeare.safetensors -p ROMEO:": "there is no option -m; MODEL is given without one",
    "generate shakespeare.safetensors --prompt ROMEO:": "there is no option --prompt; PROMPT is given without one",
    "generate shakespeare.safetensors -ROMEO:": "put -- before a text that begins with -",
    "generate shakespeare.safetensors O Romeo, Romeo": "put quotes around words that belong together",
    "run rnn.npz x.npy --batch_first": "Did you mean --batch-first?",
    "run rnn.npz x.npy --nonlinearity tanh": "Did you mean --activation?",
    "run rnn.npz x.npy --device cuda": "Did you mean --backend NAME:DEVICE?",
    "run sentiment.safetensors s.csv --target label": "Did you mean --targets?",
    "run sentiment.safetensors s.csv --label label": "Did you mean --targets?",
    "run forecast.safetensors sea-temperatures.csv --group-by year": "Did you mean --id?",
    "run shakespeare.safetensors the-tempest.txt --silent": "Did you mean --quiet?",
    "run shakespeare.safetensors the-tempest.txt —-quiet": "Did you mean --quiet?",
    "run shakespeare.safetensors the-tempest.txt --json=report.json": "it takes no value; got 'report.json'",
    "bench --steps 500": "Did you mean --shape T B I H?",
    "bench --quiet": "--quiet is an option of run, generate, not of this command",
    # values
    "generate shakespeare.safetensors ROMEO: --length 300chars": "expected a whole number, such as 20; got '300chars'",
    "generate shakespeare.safetensors ROMEO: --temperature 0,5": "expected a number, such as 0.5; got '0,5'",
    "generate shakespeare.safetensors ROMEO: --top-p 90": "--top-p must be above 0 and at most 1; got 90",
    "generate shakespeare.safetensors ROMEO: --seed": "--seed: its value is missing",
    "run sentiment.safetensors s.csv --from json": "Did you mean jsonl?",
    "run shakespeare.safetensors the-tempest.txt --backend NumPy": "Did you mean 'numpy'?",
    "run shakespeare.safetensors the-tempest.txt --backend gpu": "Write 'cupy', or 'torch:cuda' for torch.",
    "run sentiment.safetensors s.csv --x sentence": "there is no column 'sentence'; there are 'id', 'text', 'label'.",
    "bench --shape 500,8,64,128": "expected 4 values, with spaces between",
    # files
    "run names.safetensors": "INPUT is missing: a file, or - for stdin",
    "run names.safetensors Nakamura": "INPUT is a file; pipe text to -: echo Nakamura | rnn-backends run MODEL -",
    "run x.npy rnn.npz": "The model comes first: rnn-backends run rnn.npz x.npy",
    "run names.safetensors .": "is a directory, not a regular file",
    "run shakespeare.safetensors The-Tempest.txt": "Did you mean 'the-tempest.txt'?",
    "run Names.safetensors s.csv": "Did you mean 'names.safetensors'?",
    "generate ROMEO: shakespeare.safetensors": "The model comes first: rnn-backends generate shakespeare.safetensors ROMEO:",
    "generate names.safetensors ROMEO:": "this one takes one of 29 token ids and has 6 outputs",
    "generate shakespeare.safetensors ROMEO: --output no/dir/x.txt": "there is no folder 'no/dir'",
    "run sentiment.safetensors s.csv --predictions --output s.csv": "choose another name",
    "run spaces.safetensors w.txt --predictions": "give --lines if each line is a sequence of its own",
    "run forecast.safetensors sea-temperatures.csv": "choose by --x NAME,NAME, and name that of an id by --id",
    "convert names.safetensors onnx": "the suffix of OUT must be one of .safetensors, .npz, .onnx",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("user")
    for file in (*EXAMPLES.glob("*/*.safetensors"), EXAMPLES / "shakespeare" / "the-tempest.txt"):
        shutil.copy(file, place)
    shutil.copy(EXAMPLES / "deploy" / "data" / "sea-temperatures.csv", place)
    (place / "s.csv").write_text("id,text,label\n1,the soup was cold,negative\n")
    (place / "w.txt").write_text("wesplitthewater\nmercy\n")
    rb.RNN.init(3, 8).save(place / "rnn.npz")
    np.save(place / "x.npy", np.ones((2, 5, 3), np.float32))
    return place


@pytest.mark.sampled(3)
@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_are_answered_in_one_line(folder: Path, line: str) -> None:
    files = sorted(folder.rglob("*"))
    words = line.split(" ")
    done = subprocess.run(
        [*PROGRAM, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    last = done.stderr.splitlines()[-1]
    assert (done.returncode in {1, 2}, done.stdout) == (True, "")
    assert MISTAKES[line] in last
    assert all(not each.startswith(("usage", "Traceback")) for each in done.stderr.splitlines())
    assert len(done.stderr.splitlines()) <= 1 + line.startswith("generate")  # which may say its seed before
    assert sorted(folder.rglob("*")) == files
