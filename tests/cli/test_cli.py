"""The commands: every option, message and exit code, and their numbers against NumPy."""

import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO
from itertools import count
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from commands import Run
from numpy.typing import NDArray
from terminal import is_writing

import rnn_backends as rb
from rnn_backends.backends import registry
from rnn_backends.backends.backend import NEEDED_FUNCTIONS
from rnn_backends.backends.cpu_kernels.choice import kernels
from rnn_backends.backends.cpu_kernels.threads import thread_count
from rnn_backends.cli import info, loading, progress, reports
from rnn_backends.cli import run as run_module
from rnn_backends.cli.running import walk
from rnn_backends.core.forward import propagate
from rnn_backends.model import chunks as pieces
from rnn_backends.model import placed

VOCABULARY = "ab c\nö"
TEXT = "abba cab\nöc ab abc\nab\n"


def model(
    path: str = "model.npz", *, vocabulary: str | None = None, batch_first: bool = False, **options: Any
) -> rb.RNN:
    settings = {"num_layers": 2, "output_size": 4, "seed": 2, **options}
    drawn = rb.RNN.init(3, 5, **settings)
    rnn = rb.RNN(drawn.layers, drawn.readout, batch_first=batch_first, vocabulary=vocabulary)
    rnn.save(path)
    return rnn


def text_model(path: str = "model.npz", **options: Any) -> rb.RNN:
    size = len(VOCABULARY)
    settings = {"num_layers": 2, "output_size": size, "seed": 3, **options}
    drawn = rb.RNN.init(size, 7, **settings)
    rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary=VOCABULARY)
    rnn.save(path)
    return rnn


def write_text(text: str = TEXT, path: str = "input.txt") -> None:
    Path(path).write_bytes(text.encode())


def features(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(1).normal(size=(*shape, 3))


def reference_logits(rnn: rb.RNN, x: NDArray[Any], h_0: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """The logits of one sequence (seq_len, input_size) by a stack of forward tanh cells, in float64."""
    a = x.astype(np.float64)
    for index, layer in enumerate(rnn.layers):
        cell = layer.forward
        assert isinstance(cell, rb.Cell)
        wax, waa, ba = (np.asarray(array, np.float64) for array in (cell.weight_ih, cell.weight_hh, cell.bias))
        h, states = np.zeros(len(ba)) if h_0 is None else h_0[index], []
        for x_t in a:
            h = np.tanh(wax @ x_t + waa @ h + ba)
            states.append(h)
        a = np.array(states).reshape(len(a), len(ba))
    assert rnn.readout is not None
    return a @ np.asarray(rnn.readout.weight, np.float64).T + np.asarray(rnn.readout.bias, np.float64)


def nats(logits: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return np.asarray(-np.log(p[np.arange(len(targets)), targets]), np.float64)


def process(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, **options)


# The program


def test_the_module_is_the_program() -> None:
    done = process("-m", "rnn_backends", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"rnn-backends {rb.__version__}\n", "")
    failed = process("-m", "rnn_backends", "run", "no.npz", "no.npy")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "rnn-backends: error: cannot use 'no.npz': No such file or directory.\n"
    assert process("-m", "rnn_backends").returncode == 2


def test_help_runs_no_command_and_loads_none(run: Run) -> None:
    for words in (["--help"], ["run", "--help"], ["info", "--help"]):
        result = run(*words)
        assert result.code == 0
        assert result.out.startswith("usage: rnn-backends")
    script = """
import sys
from rnn_backends.cli.main import main
main(["run", "--help"])
sys.exit(bool({"rnn_backends.cli.run", "rnn_backends.cli.info", "torch", "jax", "cupy"} & sys.modules.keys()))
"""
    assert process("-c", script).returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["walk"], "rnn-backends: error: there is no command 'walk'; the commands are info, run, "),
        (["run"], "rnn-backends run: error: MODEL, INPUT are missing"),
        (["run", "m.npz", "x.npy", "--out", "y.npy"], "error: there is no option --out. Did you mean --output?"),
        (["info", "--js"], "error: there is no option --js. Did you mean --json?"),
        (
            ["run", "m.npz", "x.npy", "--lengths", "two"],
            "argument --lengths: expected whole numbers between commas, one for each sequence; got 'two'",
        ),
        (["run", "m.npz", "x.npy", "--lengths"], "argument --lengths: its value is missing"),
        (
            ["run", "m.npz", "x.npy", "--output", "y.h5"],
            (
                "the suffix of --output must be one of .txt, .npy, .csv, .tsv, .jsonl, .ndjson, .parquet; got 'y.h5'; or "
                "name the format by --to"
            ),
        ),
        (
            ["run", "m.npz", "x.npy", "--output", "y.txt"],
            "text can hold predictions only; add --predictions, or write .npy, .csv or .jsonl",
        ),
        (["run", "m.npz", "x.npy", "--output", "-"], "add --predictions, or --to csv"),
        (["run", "m.npz", "x.npy", "--to", "text"], "text can hold predictions only; add --predictions"),
        (
            ["run", "m.npz", "x.npy", "--to", "npz"],
            "argument --to: expected one of text, npy, csv, tsv, jsonl, parquet; got 'npz'. Did you mean npy?",
        ),
        (["run", "m.npz", "x.txt", "--lengths", "3"], "--lengths is for a batch of arrays, and the input is text"),
        (["run", "m.npz", "x.npy", "--lines"], "--lines is for text, and the input is npy; leave it out"),
        (["run", "m.npz", "x", "--id", "a"], "--id is for tables, and the input is text"),
        (["run", "m.npz", "x.npz", "--x", "a"], "--x is for tables, and the input is npz"),
        (["run", "m.npz", "-", "--from", "npy", "--targets", "a"], "--targets is for tables"),
    ],
)
def test_wrong_usage(run: Run, words: list[str], message: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("rnn-backends")
    assert message in line


def test_the_input_is_not_overwritten(run: Run) -> None:
    model()
    np.save("x.npy", features(4))
    before = Path("x.npy").read_bytes()
    Path("link.npy").symlink_to("x.npy")
    for name in ("x.npy", "./x.npy", "link.npy"):
        result = run("run", "model.npz", "x.npy", "--output", name)
        assert result.code == 2
        assert "--output would overwrite the input 'x.npy'; choose another name" in result.err
    assert Path("x.npy").read_bytes() == before


def test_traceback_is_shown_when_asked_for(run: Run) -> None:
    command = ["run", "no.npz", "no.npy"]
    assert len(run(*command).err.splitlines()) == 1
    for words in (["--traceback", *command], [*command, "--traceback"]):
        code, _, err = run(*words)
        assert code == 1
        assert err.startswith("Traceback (most recent call last):")
        assert err.endswith("rnn-backends: error: cannot use 'no.npz': No such file or directory.\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (rb.ArgumentError("two\n  lines"), "two lines"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (OSError(2, "No such file", "a", None, "b"), "cannot use 'b': No such file."),
        (MemoryError(), "MemoryError"),
        (RuntimeError("CUDA error: out of memory"), "CUDA error: out of memory"),
    ],
)
def test_failures_are_told_in_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(run_module, "run", fail)
    assert run("run", "m.npz", "x.npy") == (1, "", f"rnn-backends: error: {message}\n")


def test_faults_of_the_program_are_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("run", "m.npz", "x.npy")


def test_an_interrupt_leaves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        assert is_writing(Path(), os.getpid())
        raise KeyboardInterrupt

    model()
    np.save("x.npy", features(4))
    monkeypatch.setattr(placed, "propagate", interrupt)
    assert run("run", "model.npz", "x.npy", "--output", "y.npy") == (130, "", "rnn-backends: interrupted\n")
    assert sorted(path.name for path in Path().iterdir()) == ["model.npz", "x.npy"]


# Fast, for info would load every library otherwise.
FEW = "import sys; sys.modules.update(torch=None, jax=None, cupy=None); from rnn_backends.cli.main import main; sys.exit(main())"


@pytest.mark.parametrize("words", [["info"], ["--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_early_is_no_error(words: list[str], unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", FEW, *words],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 1 or (words == ["--help"] and unbuffered)  # there, argparse itself ignores it


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told_once(unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", FEW, "info"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 1
    assert done.stderr == "rnn-backends: error: stdout cannot be written: No space left on device.\n"


def test_stdout_that_cannot_spell_a_file_name(tmp_path: Path) -> None:
    np.save(tmp_path / "ö.npy", features(4))
    model(str(tmp_path / "model.npz"))
    words = ["-m", "rnn_backends", "run", "model.npz", "ö.npy"]
    done = process(*words, cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "\\xf6.npy" in done.stdout


def test_rows_are_aligned() -> None:
    assert list(reports.aligned([("a", "1"), ("long", "2"), ("", "")])) == ["a     1", "long  2", "      "]
    assert list(reports.aligned([])) == []


# Text


@pytest.mark.parametrize("path", ["model.npz", "model.safetensors"])
def test_bits_per_character(run: Run, backend: str, path: str) -> None:
    rnn = text_model(path)
    write_text()
    result = run("run", path, "input.txt", "--backend", backend)
    assert (result.code, result.err) == (0, "")
    ids = np.array([VOCABULARY.index(character) for character in TEXT])
    logits = reference_logits(rnn, np.eye(len(VOCABULARY))[ids[:-1]])
    wanted = nats(logits, ids[1:]).mean() / np.log(2)
    assert float(result.rows["bits per character"]) == pytest.approx(wanted, abs=2e-6)


def test_what_run_tells_of_text(run: Run) -> None:
    text_model()
    write_text()
    result = run("run", "model.npz", "input.txt")
    rows = {name: value.strip() for name, value in result.rows.items()}
    seconds, bits = rows.pop("time"), rows.pop("bits per character")
    speed, unit = rows.pop("speed").split()
    assert float(bits) > 0
    assert seconds.endswith(" s")
    assert unit == "characters/s"
    assert int(speed) == pytest.approx((len(TEXT) - 1) / float(seconds.removesuffix(" s")), rel=0.01)
    assert rows == {
        "model": "model.npz: 6 -> 7 -> 7 -> 6, 251 parameters",
        "backend": f"numpy {np.__version__}",
        "device": "cpu",
        "dtype": "float32",
        "input": "input.txt",
        "sequence length": str(len(TEXT) - 1),
    }
    assert len({len(line) - len(line[20:].lstrip()) for line in result.out.splitlines()}) == 1


def test_the_mean_is_taken_in_float64(run: Run) -> None:
    """In float16, in which the model is, it would be off in the fourth digit."""
    rnn = text_model("half.npz", dtype="float16")
    write_text()
    ids = np.array([VOCABULARY.index(character) for character in TEXT])
    wanted = nats(np.asarray(rnn.logits(ids[:-1]), np.float64), ids[1:]).mean() / np.log(2)
    result = run("run", "half.npz", "input.txt")
    assert float(result.rows["bits per character"]) == pytest.approx(wanted, abs=1e-6)
    assert result.rows["dtype"].strip() == "float16"


def test_a_log_softmax_readout_counts_too(run: Run) -> None:
    rnn = text_model()
    assert rnn.readout is not None
    write_text()
    wanted = run("run", "model.npz", "input.txt").rows["bits per character"]
    log_readout = rb.Linear(rnn.readout.weight, rnn.readout.bias, "log_softmax")
    rb.RNN(rnn.layers, log_readout, vocabulary=VOCABULARY).save("log.npz")
    assert run("run", "log.npz", "input.txt").rows["bits per character"] == wanted


def test_backward_cells_see_what_they_predict(run: Run) -> None:
    text_model(bidirectional=True)
    write_text()
    result = run("run", "model.npz", "input.txt")
    assert result.code == 0
    assert result.err == (
        "rnn-backends: the model has backward cells, which see the characters that they are to predict\n"
    )
    assert "6 -> 7+7 -> 7+7 -> 6, " in result.rows["model"]


def test_progress_is_for_terminals(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    text_model()
    write_text()
    monkeypatch.setattr(pieces, "BUDGET", 6 * 4 * (1 + 7 + 7))  # six steps of ids and states
    monkeypatch.setattr(progress, "monotonic", count().__next__)  # each look at the clock is a second later
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert run("run", "model.npz", "input.txt").err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    result = run("run", "model.npz", "input.txt")
    shown = [
        f"input.txt: {100 * done / 23:3.0f}% {size}/23.0 ["  # bytes, of 22 characters
        for done, size in [(6, "6.00"), (13, "13.0"), (19, "19.0"), (23, "23.0")]
    ]
    drawn = [line for line in result.err.split("\r") if line.strip()]
    assert [line[: len(wanted)] for line, wanted in zip(drawn, shown, strict=True)] == shown
    assert all(line.rstrip().endswith(" B/s]") for line in drawn)
    assert result.out.startswith("model ")
    np.save("none.npy", np.zeros(0, int))
    assert run("run", "model.npz", "none.npy").err == ""

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(placed, "propagate", fail)
    assert (
        run("run", "model.npz", "input.txt").err == "rnn-backends: error: input.txt takes more memory than there is.\n"
    )


def test_the_network_runs_once_and_the_clock_until_a_value_is_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    def logged(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            events.append(name)
            return result

        return call

    text_model()
    write_text()
    monkeypatch.setattr(placed, "propagate", logged("forward", propagate))
    monkeypatch.setattr(walk, "perf_counter", logged("clock", perf_counter))
    monkeypatch.setattr(walk, "to_numpy", logged("to_numpy", rb.to_numpy))
    assert run("run", "model.npz", "input.txt", "--output", "p.npy").code == 0
    assert events[:4] == ["clock", "forward", "to_numpy", "clock"]
    assert events.count("forward") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "text must have at least 2 characters, one to predict the other; 'input.txt' has 0."),
        (b"a", "text must have at least 2 characters, one to predict the other; 'input.txt' has 1."),
        (b"ab\xff", "input.txt: it is not UTF-8 text: invalid start byte at byte 2; convert it, for example by `iconv"),
        (b"ab\xc3", "input.txt: it is not UTF-8 text: unexpected end of data at byte 2; convert it"),
        ("ab".encode("utf-16"), "input.txt: it is UTF-16 text; convert it, for example by `iconv -f UTF-16 -t UTF-8`."),
        (b"ab\nabXa", "the character 'X' at line 2, column 3 is not in the model's vocabulary of 6 characters"),
        (b"ab\r\nab", "the character '\\r' at line 1, column 3 is not in the model's vocabulary"),
    ],
)
def test_text_that_cannot_be_read(run: Run, content: bytes, message: str) -> None:
    text_model()
    Path("input.txt").write_bytes(content)
    code, out, err = run("run", "model.npz", "input.txt", "--output", "y.npy")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("rnn-backends: error: ")
    assert message in err
    assert not Path("y.npy").exists()


def test_models_that_cannot_take_text(run: Run) -> None:
    write_text()
    model()
    assert "text needs a model with a vocabulary, and this one has none" in run("run", "model.npz", "input.txt").err
    rnn = text_model()
    assert rnn.readout is not None
    sigmoid = rb.Linear(rnn.readout.weight, rnn.readout.bias, "sigmoid")
    rb.RNN(rnn.layers, sigmoid, vocabulary=VOCABULARY).save("sigmoid.npz")
    result = run("run", "sigmoid.npz", "input.txt")
    assert result.code == 1
    assert "loss is the cross-entropy of a softmax readout; g2 of this one is 'sigmoid'." in result.err


# Arrays


def test_one_sequence_of_features(run: Run, backend: str) -> None:
    model()
    np.save("x.npy", features(6))
    result = run("run", "model.npz", "x.npy", "--backend", backend)
    assert (result.code, result.err) == (0, "")
    assert result.rows["sequence length"].strip() == "6"
    assert "batch" not in result.rows
    assert "cross-entropy" not in result.rows
    assert result.rows["speed"].endswith(" steps/s")


@pytest.mark.parametrize("batch_first", [False, True])
def test_cross_entropy_over_the_valid_steps(run: Run, backend: str, batch_first: bool) -> None:
    rnn, lengths = model(batch_first=batch_first), [5, 0, 3, 1]
    x, targets = features(5, 4), np.random.default_rng(2).integers(0, 4, size=(5, 4))
    h_0 = np.random.default_rng(3).normal(size=(2, 4, 5))
    valid = [
        nats(reference_logits(rnn, x[:length, b], h_0[:, b]), targets[:length, b]) for b, length in enumerate(lengths)
    ]
    padding = np.arange(5)[:, None] >= np.array(lengths)
    targets[padding], x[padding] = -1, np.nan
    if batch_first:
        x, targets = x.swapaxes(0, 1), targets.T
    np.savez("all.npz", x=x, targets=targets, h_0=h_0, lengths=lengths)
    np.savez("part.npz", x=x, targets=targets, h_0=h_0)
    result = run("run", "model.npz", "all.npz", "--backend", backend)
    same = run("run", "model.npz", "part.npz", "--backend", backend, "--lengths", *lengths)
    assert (
        same.rows["cross-entropy"]
        == run("run", "model.npz", "part.npz", "--backend", backend, "--lengths", ",".join(map(str, lengths))).rows[
            "cross-entropy"
        ]
    )
    assert (result.code, result.err) == (0, "")
    value, unit = result.rows["cross-entropy"].split()
    assert unit == "nats"
    assert float(value) == pytest.approx(np.concatenate(valid).mean(), abs=2e-6)
    assert same.rows["cross-entropy"] == result.rows["cross-entropy"]
    assert [result.rows[name].strip() for name in ("sequence length", "batch")] == ["5", "4"]


def test_speed_counts_the_valid_steps(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model()
    np.save("x.npy", features(5, 4))
    ticks = iter([0.0, 2.0, 9.0] * 2)
    monkeypatch.setattr(walk, "perf_counter", lambda: next(ticks))
    assert run("run", "model.npz", "x.npy").rows["speed"].strip() == "10 steps/s"
    assert run("run", "model.npz", "x.npy", "--lengths", 5, 0, 3, 0).rows["speed"].strip() == "4 steps/s"


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_mask_in_a_file(run: Run, monkeypatch: pytest.MonkeyPatch, batch_first: bool) -> None:
    rnn, x, mask = model(batch_first=batch_first), features(5, 4), np.arange(20).reshape(5, 4) % 3 > 0
    if batch_first:
        x, mask = x.swapaxes(0, 1), mask.T
    np.savez("x.npz", x=x, mask=mask)
    ticks = iter([0.0, 2.0, 9.0] * 2)
    monkeypatch.setattr(walk, "perf_counter", lambda: next(ticks))
    assert run("run", "model.npz", "x.npz", "--output", "y.npy").rows["speed"].strip() == "6 steps/s"
    np.testing.assert_array_equal(np.load("y.npy"), rnn.probabilities(x, mask=mask))
    assert run("run", "model.npz", "x.npz", "--lengths", 5, 0, 3, 0).rows["speed"].strip() == "2 steps/s"


def test_cross_entropy_without_lengths_and_of_ids(run: Run) -> None:
    rnn = model()
    ids, targets = np.array([0, 2, 1, 1]), np.array([3, 0, 1, 2])
    np.savez("ids.npz", x=ids, targets=targets)
    result = run("run", "model.npz", "ids.npz")
    wanted = nats(reference_logits(rnn, np.eye(3)[ids]), targets).mean()
    assert float(result.rows["cross-entropy"].split()[0]) == pytest.approx(wanted, abs=2e-6)


def test_no_valid_step_has_no_mean(run: Run, backend: str) -> None:
    model()
    np.savez("none.npz", x=features(2, 1), targets=[[0], [0]], lengths=[0])
    assert run("run", "model.npz", "none.npz", "--backend", backend).rows["cross-entropy"].strip() == "nan nats"
    np.savez("empty.npz", x=features(0, 2), targets=np.zeros((0, 2), int))
    result = run("run", "model.npz", "empty.npz", "--backend", backend)
    assert (result.code, result.rows["cross-entropy"].strip()) == (0, "nan nats")
    assert result.rows["speed"].strip() == "0 steps/s"


def npy(array: Any) -> bytes:
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(*, skip: int = 0, **arrays: Any) -> bytes:
    file = BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()[: -skip or None]


def member(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 64


def zipped(name: str, content: bytes) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


HUGE = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000, 3)}"
X = np.ones((4, 2, 3))
BAD_INPUTS = {
    "empty file": ("x.npy", b"", "x.npy: it is empty"),
    "other file": ("x.npy", b"text " * 9, "'x.npy' must be in version 1.0 or 2.0 of the .npy format"),
    "cut short": ("x.npy", npy(X)[:-1], "x.npy: 'x.npy' declares <f8 of shape (4, 2, 3), but holds 191 bytes"),
    "zip as npy": ("x.npy", npz(x=X), "'x.npy' must be in version 1.0 or 2.0 of the .npy format"),
    "open header": (
        "x.npy",
        member(b"{'descr': '<f8', (\n"),
        "the header of 'x.npy' is not that of an array of numbers",
    ),
    "odd dtype": (
        "x.npy",
        member(b"{'descr': ',8', 'fortran_order': False, 'shape': (3,)}"),
        "'x.npy' has dtype ',8'; it must be one of |b1, |i1",
    ),
    "odd header": ("x.npy", member(b"{'descr': 01}"), "the header of 'x.npy' is not that of an array of numbers"),
    "too large": ("x.npy", member(HUGE), "'x.npy' declares <f8 of shape (1000000000000000, 3), but holds 64 bytes"),
    "pickle": ("x.npy", npy(np.array([{}])), "'x.npy' has dtype '|O'; it must be one of"),
    "text array": ("x.npy", npy(np.array(["a"])), "'x.npy' has dtype '<U1'; it must be one of"),
    "wrong shape": ("x.npy", npy(X[..., :2]), "the last axis of `x` must be input_size = 3; got shape (4, 2, 2)"),
    "scalar": ("x.npy", npy(1.0), "`x` must have shape (seq_len, batch, input_size) or"),
    "id": ("x.npy", npy([0, 3]), "every token id in `x` must be in 0..2; got 3 at [1]"),
    "npy as npz": ("x.npz", npy(X), "x.npz is no .npz file, or is damaged: File is not a zip file"),
    "zip cut short": ("x.npz", npz(x=X, skip=9), "x.npz is no .npz file, or is damaged: "),
    "damaged member": ("x.npz", npz(x=X).replace(npy(X)[-16:], b"!" * 16), "the checksum of 'x.npy' is wrong"),
    "pickled member": ("x.npz", npz(x=np.array([{}])), "'x.npy' has dtype '|O'; it must be one of"),
    "odd member": ("x.npz", zipped("x.npy", member(b"(")), "the header of 'x.npy' is not that of an array of numbers"),
    "no x": ("x.npz", npz(h_0=X), "x.npz: it must hold the input as x; it holds 'h_0'."),
    "nothing": ("x.npz", npz(), "x.npz: it must hold the input as x; it holds none."),
    "unknown": (
        "x.npz",
        npz(x=X, y=X, z=X),
        "x.npz: it holds 'y', 'z', which run does not know; it reads x, h_0, lengths, mask, targets.",
    ),
    "h_0": (
        "x.npz",
        npz(x=X, h_0=np.ones((2, 3, 5))),
        "`h_0` must have shape (num_cells, batch, hidden_size) = (2, 2, 5)",
    ),
    "mask": ("x.npz", npz(x=X, mask=[True]), "`mask` must have shape (seq_len, batch) = (4, 2), as `x`; got (1,)"),
    "lengths": ("x.npz", npz(x=X, lengths=[4, 5]), "every length in `lengths` must be in 0..4; got 5 at [1]"),
    "lengths dtype": (
        "x.npz",
        npz(x=X, lengths=[4.0, 1.0]),
        "`lengths` must hold integers; got ndarray of dtype float64",
    ),
    "targets shape": (
        "x.npz",
        npz(x=X, targets=[0]),
        "`targets` must have shape (4, 2), that of the logits without their last axis; got (1,)",
    ),
    "targets dtype": ("x.npz", npz(x=X, targets=X[..., 0]), "`targets` must hold integers; got ndarray of dtype float"),
    "target": ("x.npz", npz(x=X[:1], targets=[[0, 4]]), "every target in `targets` must be in 0..3; got 4 at [0, 1]"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
@pytest.mark.parametrize("words", [[], ["--output", "y.npy"]])
def test_inputs_that_cannot_be_used(run: Run, case: str, words: list[str]) -> None:
    name, content, message = BAD_INPUTS[case]
    model()
    Path(name).write_bytes(content)
    code, out, err = run("run", "model.npz", name, *words)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("rnn-backends: error: ")
    assert message in err
    assert sorted(path.name for path in Path().iterdir()) == ["model.npz", name]


def test_files_that_are_not_there(run: Run) -> None:
    model()
    np.save("x.npy", features(4))
    Path("folder.npy").mkdir()
    for names, missing in ((("no.npz", "x.npy"), "no.npz"), (("model.npz", "no.npy"), "no.npy")):
        result = run("run", *names)
        assert result == (1, "", f"rnn-backends: error: cannot use {missing!r}: No such file or directory.\n")
    assert run("run", "model.npz", "no.txt").err.startswith("rnn-backends: error: cannot use 'no.txt': ")
    assert run("run", "model.npz", "folder.npy").err.startswith(
        "rnn-backends: error: folder.npy is a directory, not a regular file"
    )
    Path("model.dat").write_bytes(b"hello" * 9)
    assert "it is in none of the formats that are read: safetensors, .npz" in run("run", "model.dat", "x.npy").err
    os.mkfifo("pipe.txt")  # nobody writes to it
    assert run("run", "model.npz", "pipe.txt").err.startswith(
        "rnn-backends: error: 'pipe.txt' is a FIFO; give - for the input, and pipe it in."
    )


def test_lengths_twice_or_without_a_batch(run: Run) -> None:
    model()
    np.savez("x.npz", x=features(4, 2), lengths=[4, 1])
    result = run("run", "model.npz", "x.npz", "--lengths", 4, 1, "--output", "y.npy")
    assert (result.code, result.out) == (2, "")
    assert "--lengths is given, and 'x.npz' holds `lengths` too; leave out one of them" in result.err
    np.save("x.npy", features(4))
    result = run("run", "model.npz", "x.npy", "--lengths", 4)
    assert result.code == 1
    assert "`lengths` needs a batch of sequences" in result.err


def test_activation_for_files_that_do_not_tell(run: Run) -> None:
    rnn = model(num_layers=1, activation="relu")
    with np.load("model.npz") as held:
        np.savez("bare.npz", **{name: held[name] for name in held.files if name != "__rnn_backends__"})
    np.save("x.npy", features(4))
    result = run("run", "bare.npz", "x.npy")
    assert result.code == 1
    assert "weights alone do not record the activation" in result.err
    told = ["--activation", "relu"]
    assert "the weights of a readout do not record its activation" in run("run", "bare.npz", "x.npy", *told).err
    told += ["--readout-activation", "softmax"]
    assert run("run", "bare.npz", "x.npy", *told, "--output", "y.npy").code == 0
    np.testing.assert_array_equal(np.load("y.npy"), rnn.probabilities(features(4)))
    assert "--activation must be one of identity, " in run("run", "bare.npz", "x.npy", "--activation", "rely").err
    assert "leave --activation out" in run("run", "model.npz", "x.npy", "--activation", "relu").err
    told[-1] = "identity"
    result = run("run", "bare.npz", "x.npy", *told, "--output", "y.npy")
    assert result.rows["output"].strip() == "y.npy: logits (the readout has no activation), shape (4, 4), float32"
    np.testing.assert_array_equal(np.load("y.npy"), rnn.logits(features(4)))


# The output


def test_output_holds_the_probabilities(run: Run, backend: str) -> None:
    rnn = model().to(backend)
    np.savez("x.npz", x=features(5, 2), lengths=[5, 2])
    result = run("run", "model.npz", "x.npz", "--backend", backend, "--output", "y.npy")
    assert (result.code, result.err) == (0, "")
    assert result.rows["output"].strip() == "y.npy: probabilities, shape (5, 2, 4), float32"
    written = np.load("y.npy")
    np.testing.assert_array_equal(written, rb.to_numpy(rnn.probabilities(features(5, 2), lengths=[5, 2])))
    np.testing.assert_allclose(written.sum(axis=-1), np.arange(5)[:, None] < [5, 2], atol=1e-6)


def test_output_holds_the_predictions(run: Run, backend: str) -> None:
    rnn = model().to(backend)
    np.save("x.npy", features(5, 2))
    words = ["run", "model.npz", "x.npy", "--backend", backend, "--output", "y.npy", "--predictions"]
    result = run(*words)
    assert result.rows["output"].strip().startswith("y.npy: predicted ids, shape (5, 2), int")
    np.testing.assert_array_equal(np.load("y.npy"), rb.to_numpy(rnn.predict(features(5, 2))))


def test_output_holds_the_hidden_states_of_a_model_without_readout(run: Run, backend: str) -> None:
    rnn, h_0 = model(output_size=None).to(backend), np.full((2, 2, 5), 0.5)
    np.savez("x.npz", x=features(5, 2), h_0=h_0, lengths=[0, 3])
    result = run("run", "model.npz", "x.npz", "--backend", backend, "--output", "y.npy")
    assert result.rows["output"].strip() == "y.npy: hidden states (the model has no readout), shape (5, 2, 5), float32"
    assert result.rows["model"].strip() == "model.npz: 3 -> 5 -> 5, 100 parameters"
    np.testing.assert_array_equal(np.load("y.npy"), rb.to_numpy(rnn(features(5, 2), h_0, lengths=[0, 3])[0]))


def test_output_holds_the_predicted_characters(run: Run) -> None:
    rnn = text_model()
    write_text()
    result = run("run", "model.npz", "input.txt", "--output", "y.txt", "--predictions")
    ids = np.array([VOCABULARY.index(character) for character in TEXT])
    wanted = "".join(VOCABULARY[index] for index in rnn.predict(ids[:-1]))
    assert Path("y.txt").read_bytes() == wanted.encode()
    assert result.rows["output"].strip() == f"y.txt: {len(TEXT) - 1} predicted characters"
    np.save("ids.npy", ids[:-1])
    assert run("run", "model.npz", "ids.npy", "--output", "same.txt", "--predictions").code == 0
    assert Path("same.txt").read_bytes() == wanted.encode()


def test_outputs_that_the_model_cannot_give(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("the network was run in vain")

    monkeypatch.setattr(placed, "propagate", refuse)
    np.save("x.npy", features(4))
    model(output_size=None)
    result = run("run", "model.npz", "x.npy", "--output", "y.npy", "--predictions")
    assert result.code == 1
    assert "--predictions needs a readout, and this model has none" in result.err
    assert not list(Path().glob("y.*"))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("no/y.npy", "cannot be written: there is no folder 'no'."),
        ("model.npz/y.npy", "cannot be written: Not a directory."),
        ("y.npy", "is no ordinary file, and cannot be replaced by one; choose another name."),
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_any_work(
    run: Run, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    model()
    np.save("x.npy", features(4))
    Path("y.npy").mkdir()
    monkeypatch.setattr(loading, "load", lambda *_, **__: pytest.fail("the model was loaded in vain"))
    result = run("run", "model.npz", "x.npy", "--output", path)
    assert result == (1, "", f"rnn-backends: error: {path!r} {reason}\n")
    assert list(Path("y.npy").iterdir()) == []


def test_an_output_is_replaced_whole_or_left_as_it_was(run: Run) -> None:
    rnn = model()
    np.save("x.npy", features(4))
    Path("y.npy").write_bytes(b"before")
    assert run("run", "no.npz", "x.npy", "--output", "y.npy").code == 1
    assert Path("y.npy").read_bytes() == b"before"
    assert run("run", "model.npz", "x.npy", "--output", "y.npy").code == 0
    np.testing.assert_array_equal(np.load("y.npy"), rnn.probabilities(features(4)))


# The backend


def test_the_environment_chooses_the_backend(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model()
    np.save("x.npy", features(4))
    monkeypatch.setenv("RNN_BACKEND", "array_api_strict:device1")
    result = run("run", "model.npz", "x.npy")
    assert result.code == 0
    assert result.rows["backend"].strip().startswith("array_api_strict ")
    assert result.rows["device"].strip() == "device1"
    assert run("run", "model.npz", "x.npy", "--backend", "numpy").rows["device"].strip() == "cpu"


def test_a_backend_that_there_is_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model()
    np.save("x.npy", features(4))
    code, out, err = run("run", "model.npz", "x.npy", "--backend", "nunpy")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "unknown backend 'nunpy' (from option --backend)." in err
    assert "Did you mean 'numpy'?" in err
    result = run("run", "model.npz", "x.npy", "--backend", "numpy:gpu")
    assert result.code == 1
    assert "the backend 'numpy' has no device 'gpu'" in result.err
    monkeypatch.setenv("RNN_BACKEND", "nunpy")
    code, out, err = run("run", "model.npz", "x.npy", "--output", "y.npy")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "unknown backend 'nunpy' (from environment variable RNN_BACKEND)." in err
    assert not Path("y.npy").exists()


# info


@pytest.fixture
def few_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy, array-api-strict, and a CuPy that is not installed; quick to load, whatever is installed."""
    names = ("numpy", "array_api_strict", "cupy")
    monkeypatch.setattr(info, "list_backends", lambda: dict.fromkeys(names, "built in"))
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "rnn_backends.backends.cupy", raising=False)
    monkeypatch.delitem(registry._backends, "cupy", raising=False)


@pytest.mark.usefixtures("few_backends")
def test_info_for_machines(run: Run) -> None:
    code, out, err = run("info", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["rnn_backends"], found["numpy"]) == (rb.__version__, np.__version__)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["platform"]
    assert found["RNN_BACKEND"] is None
    assert found["default"] == {"backend": "numpy", "device": "cpu", "reason": None}
    assert found["backends"]["numpy"] == {
        "origin": "built in",
        "works": True,
        "version": np.__version__,
        "devices": ["cpu"],
        "reason": None,
        "install": None,
    }
    assert found["backends"]["array_api_strict"]["devices"] == ["CPU_DEVICE", "device1", "device2"]
    cupy = found["backends"]["cupy"]
    assert (cupy["works"], cupy["version"], cupy["devices"]) == (False, None, [])
    assert cupy["reason"].startswith("the backend 'cupy' needs the package 'cupy', which is not installed.")
    assert cupy["install"] == registry.BUILTIN["cupy"].install


@pytest.mark.usefixtures("few_backends")
def test_info_for_people(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run("info")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line[:12].strip() for line in lines[:7]] == [
        "rnn_backends",
        "Python",
        "platform",
        "NumPy",
        "RNN_BACKEND",
        "CPU kernel",
        "",
    ]
    assert lines[4].endswith("  not set: models are placed on numpy (cpu)")
    assert lines[7].split(maxsplit=3)[3] == f"works, version {np.__version__}, on cpu"
    assert lines[8].endswith(", on CPU_DEVICE, device1, device2")
    assert lines[9].startswith("cupy (built in)")
    assert lines[9].endswith(f"  not installed: {registry.BUILTIN['cupy'].install}")
    monkeypatch.setenv("RNN_BACKEND", "array_api_strict:device2")
    assert "'array_api_strict:device2': models are placed on array_api_strict (device2)" in run("info").out


@pytest.mark.usefixtures("few_backends")
@pytest.mark.parametrize("value", ["nunpy", "numpy:gpu", "cupy", ":"])
def test_info_tells_of_an_invalid_environment(run: Run, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RNN_BACKEND", value)
    code, out, err = run("info", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["RNN_BACKEND"] == value
    assert found["default"]["backend"] is None
    assert "environment variable RNN_BACKEND" in found["default"]["reason"]
    assert found["backends"]["numpy"]["works"]
    code, out, err = run("info")
    assert (code, err) == (0, "")
    assert f"{value!r}: {found['default']['reason']}" in out


@pytest.mark.usefixtures("few_backends")
@pytest.mark.parametrize("error", [OSError("libcuda is missing"), rb.DeviceError("gone"), KeyError()])
def test_info_survives_broken_libraries(run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail() -> dict[str, Any]:
        raise error

    made = rb.Backend(name="broken", xp=np, owns=lambda _: False, to_numpy=np.asarray, devices=fail)
    monkeypatch.setattr(info, "list_backends", lambda: {"broken": "a package 1.0", "numpy": "built in"})
    with rb.register_backend(made):
        code, out, err = run("info", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)["backends"]
    assert found["broken"]["origin"] == "a package 1.0"
    told = f"cannot list its devices: {type(error).__name__}: {' '.join(str(error).split())}"
    assert found["broken"]["reason"].endswith(told.strip())
    assert found["numpy"]["works"]


@pytest.mark.usefixtures("few_backends")
def test_info_of_a_library_without_a_version(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = rb.Backend(
        name="mine",
        xp=SimpleNamespace(**{name: getattr(np, name) for name in NEEDED_FUNCTIONS}),
        owns=lambda _: False,
        to_numpy=np.asarray,
        devices=lambda: {"here": 0, "there": 1},
    )
    monkeypatch.setattr(info, "list_backends", lambda: {"mine": "registered by this process"})
    with rb.register_backend(made):
        assert run("info").out.endswith("mine (registered by this process)  works, on here, there\n")


@pytest.mark.usefixtures("few_backends")
@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("kernel", ["off", *kernels()])
def test_info_names_the_cpu_kernel(run: Run, monkeypatch: pytest.MonkeyPatch, kernel: str, threads: str) -> None:
    monkeypatch.setenv("RNN_CPU_KERNEL", kernel)
    monkeypatch.setenv("RNN_NUM_THREADS", threads)
    thread_count.cache_clear()
    shown = kernel if kernels() and kernel != "off" else "off, by RNN_CPU_KERNEL" if kernels() else "not built"
    found = json.loads(run("info", "--json").out)["cpu_kernel"]
    assert found == {"state": shown, "threads": int(threads), "reason": None}
    assert (
        run("info").out.splitlines()[5].split(maxsplit=2)[2]
        == f"{shown}; threads: {threads}{'' if kernels() else info.BUILDING}"
    )
    thread_count.cache_clear()


@pytest.mark.usefixtures("few_backends")
@pytest.mark.parametrize(("variable", "value"), [("RNN_CPU_KERNEL", "sse9"), ("RNN_NUM_THREADS", "many")])
def test_info_of_a_wrong_variable_of_the_cpu_kernel(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    thread_count.cache_clear()
    code, out, err = run("info", "--json")
    found = json.loads(out)["cpu_kernel"]
    assert (code, err, found["state"], found["threads"]) == (0, "", None, None)
    assert variable in found["reason"]
    assert value in found["reason"]
    assert run("info").out.splitlines()[5].split(maxsplit=2)[2] == found["reason"]


def test_info_lists_every_backend() -> None:
    done = process("-c", FEW, "info", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)["backends"]
    assert found.keys() >= registry.BUILTIN.keys()
    works = {"numpy": True, "cupy": False, "torch": False, "jax": False, "array_api_strict": True}
    assert {name: found[name]["works"] for name in works} == works
