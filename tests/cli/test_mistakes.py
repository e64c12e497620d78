"""Mistakes on the command line: one line for each, which names what was meant."""

import os
from pathlib import Path

import numpy as np
import pytest
from commands import Run

import rnn_backends as rb


def wrong(run: Run, *words: object) -> str:
    """Return what wrong usage is answered with: one line, after the program and the command."""
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    name, _, message = line.partition(": error: ")
    assert message.endswith(f" See `{name} --help`.")
    assert run(*name.split()[1:], "--help").code == 0
    return line.removesuffix(f" See `{name} --help`.")


RUN = ("run", "m.npz", "x.npy")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*RUN, "--batch_first"), "run: error: there is no option --batch_first. Did you mean --batch-first?"),
        ((*RUN, "--BATCH-FIRST"), "Did you mean --batch-first?"),
        ((*RUN, "-output", "y.npy"), "run: error: there is no option -output. Did you mean --output?"),
        ((*RUN, "--output_=y.npy"), "there is no option --output_. Did you mean --output?"),
        ((*RUN, "--activations", "tanh"), "there is no option --activations. Did you mean --activation?"),
        ((*RUN, "--prediction"), "Did you mean --predictions?"),
        ((*RUN, "--out", "y.npy"), "Did you mean --output?"),
        ((*RUN, "--gpu"), "Did you mean --backend cupy?"),
        ((*RUN, "--device", "1"), "Did you mean --backend NAME:DEVICE?"),
        ((*RUN, "--top-k=3"), "--top-k is an option of generate, not of this command."),
        (("run", "--modell", "m.npz"), "run: error: there is no option --modell."),
        (("run", "--model", "m.npz"), "there is no option --model; MODEL is given without one."),
        (("bench", "--quantum", "5"), "bench: error: there is no option --quantum."),
        (("--json", "info"), "rnn-backends: error: --json is an option of info, run, generate, bench; it comes after the command."),
        (("--backend", "numpy", *RUN), "--backend is an option of run, generate, bench; it comes after the command."),
        (("--tracebak", *RUN), "rnn-backends: error: there is no option --tracebak. Did you mean --traceback?"),
        ((*RUN, "y.npy"), "run: error: there is no place for 'y.npy'; put quotes around words that belong together."),
        ((*RUN, "--backend"), "run: error: argument --backend: its value is missing."),
        ((*RUN, "--reads", "Last"), "expected one of steps, last, final, mean, max; got 'Last'. Did you mean last?"),
        (("convert", *RUN[1:], "--takes", "token"), "expected one of tokens, features; got 'token'. Did you mean tokens?"),
        (("bench", "--against", "tourch"), "expected one of torch, onnxruntime; got 'tourch'. Did you mean torch?"),
        (("convrt", "m.npz"), "rnn-backends: error: there is no command 'convrt'. Did you mean convert?"),
        (("predict", "m.npz"), "there is no command 'predict'. Did you mean run?"),
        (("--traceback", "Benchmark"), "there is no command 'Benchmark'. Did you mean bench?"),
        (("train", "m.npz"), "models are not trained here, but run forward"),
        (("zzz",), "there is no command 'zzz'; the commands are info, run, "),
        ((".",), "'.' is a file, not a command; put one before it: "),
    ],
)  # fmt: skip
def test_what_was_meant(run: Run, words: tuple[str, ...], message: str) -> None:
    assert message in wrong(run, *words)


@pytest.mark.parametrize("value", ["-1", "-.5", "- a", "-"])
def test_values_that_begin_with_a_dash_are_no_options(run: Run, value: str) -> None:
    assert run("info", "no.npz", "--vocabulary", value).err == ""
    assert "there is no option" not in run("info", "--vocabulary=--model", "no.npz").err
    assert "there is no option" not in run("info", "--", "--model").err


def test_a_file_with_a_near_name(run: Run) -> None:
    rb.RNN.init(3, 4, output_size=2).save("model.npz")
    Path("models").mkdir()
    np.save("input.npy", np.ones((4, 3)))

    def failed(*words: object) -> str:
        code, out, err = run(*words)
        assert (code, out, err.count("\n")) == (1, "", 1)
        return err

    for name in ("modle.npz", "Model.npz", "model.safetensors", "model"):
        start = f"rnn-backends: error: cannot use {name!r}: No such file or directory."
        assert failed("run", name, "input.npy") == f"{start} Did you mean 'model.npz'?\n"
    assert failed("convert", "./modle.npz", "c.npz").endswith("Did you mean 'model.npz'?\n")
    assert failed("run", "model.npz", f"{os.curdir}/inptu.npy").endswith("Did you mean 'input.npy'?\n")
    assert failed("run", "other.npz", "input.npy").endswith("'other.npz': No such file or directory.\n")
    assert failed("run", "no/model.npz", "input.npy").endswith("'no/model.npz': No such file or directory.\n")


def test_a_folder_for_a_file(run: Run) -> None:
    rb.RNN.init(3, 4).save("model.npz")
    Path("folder").mkdir()
    for words in (("folder", "x.npy"), ("model.npz", "folder")):
        _, _, err = run("run", *words)
        assert err == "rnn-backends: error: folder is a directory, not a regular file; name a file in it.\n"


@pytest.mark.parametrize("model", ["my model.npz", "my model.h5"])
@pytest.mark.parametrize("data", ["x.npy", "x.txt", "x.csv"])
def test_model_and_input_exchanged(run: Run, data: str, model: str) -> None:
    rb.RNN.init(3, 4).save("model.npz")
    Path("model.npz").rename(model)
    Path(data).write_text("1 2 3")
    code, out, err = run("run", data, model)
    assert (code, out) == (1, "")
    assert err.endswith(f" The model comes first: rnn-backends run '{model}' {data}\n")


def test_a_failure_that_is_no_exchange(run: Run) -> None:
    for words in (("a.npz", "b.npz"), ("a.pt", "b.npz"), ("a.npy", "b.npy"), ("a.pt", "b.txt")):
        assert "comes first" not in run("run", *words).err
    rb.RNN.init(3, 4).save("m.safetensors")
    Path("b.pt").write_text("no text, for there is no vocabulary")
    assert "comes first" not in run("run", "m.safetensors", "b.pt").err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "'gpu' is a device, not a backend (from option --backend). Write 'cupy', or 'torch:cuda' for torch."),
        ("cuda:1", "Write 'cupy:1', or 'torch:cuda:1' for torch."),
        ("CUPYY", "Did you mean 'cupy'?"),
        ("float64", "'float64' is a dtype, not a backend (from option --backend).\n"),
    ],
)
def test_backends_by_other_names(run: Run, name: str, message: str) -> None:
    rb.RNN.init(3, 4).save("model.npz")
    np.save("x.npy", np.ones((4, 3)))
    _, _, err = run("run", "model.npz", "x.npy", "--backend", name)
    assert message in err
