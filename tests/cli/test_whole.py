"""The command `run` of models that read each sequence as a whole, and of models over words."""

import re
import sys
import tracemalloc
from collections.abc import Callable
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from commands import Run
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.cli import progress
from rnn_backends.cli.running import walk
from rnn_backends.core.forward import propagate
from rnn_backends.core.network import READS
from rnn_backends.model import chunks, placed, reading

WHOLE = [reads for reads in READS if reads != "steps"]
WORDS = ("the", "cat", "sat", "on", "<unk>")
TEXT = "the cat\nsat  on the mat on\n"
LENGTHS = [5, 0, 3, 1]


def model(path: str = "model.npz", *, bidirectional: bool = True, **options: Any) -> rb.RNN:
    """A model of two layers and four outputs, whose readout reads every step unless said otherwise."""
    drawn = rb.RNN.init(3, 5, num_layers=2, bidirectional=bidirectional, output_size=4, seed=2)
    rnn = rb.RNN(drawn.layers, options.pop("readout", drawn.readout), **options)
    rnn.save(path)
    return rnn


def word_model(path: str = "words.npz", outputs: int = len(WORDS), **options: Any) -> rb.RNN:
    drawn = rb.RNN.init(len(WORDS), 7, output_size=outputs, seed=3)
    rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary=WORDS, unknown="<unk>", **options)
    rnn.save(path)
    return rnn


def features(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(1).normal(size=(*shape, 3))


def read(rnn: rb.RNN, reads: str, x: NDArray[Any], length: int) -> NDArray[Any]:
    """What is read of one sequence, of its states at all steps; of no step, the initial state or 0."""
    output, h_n = rnn(x[:length])
    if not length:
        return np.zeros(output.shape[-1])
    results = {"last": lambda: output[-1], "mean": lambda: output.mean(axis=0), "max": lambda: output.max(axis=0)}
    return np.asarray(np.concatenate(list(h_n[-2:])) if reads == "final" else results[reads](), np.float64)


def probabilities(rnn: rb.RNN, states: NDArray[Any]) -> NDArray[Any]:
    logits = states @ np.asarray(rnn.readout.weight, np.float64).T + rnn.readout.bias
    raised = np.exp(logits)
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


# One output of each sequence


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("reads", WHOLE)
def test_one_output_and_one_target_of_each_sequence(run: Run, backend: str, reads: str, given: bool) -> None:
    rnn = model() if given else model(reads=reads)
    x, targets = features(5, 4), np.array([3, -1, 0, 2])  # that of the sequence without a step is not looked at
    wanted = probabilities(rnn, np.array([read(rnn, reads, x[:, b], n) for b, n in enumerate(LENGTHS)]))
    np.savez("x.npz", x=x, lengths=LENGTHS, targets=targets)
    words = ["run", "model.npz", "x.npz", "--backend", backend, *(["--reads", reads] if given else [])]
    result = run(*words, "--output", "y.npy")
    assert (result.code, result.err) == (0, "")
    assert result.rows["reads"].strip() == reads
    assert result.rows["output"].strip() == "y.npy: probabilities, shape (4, 4), float32"
    np.testing.assert_allclose(np.load("y.npy"), wanted, rtol=0, atol=1e-6)
    value, unit = result.rows["cross-entropy"].split()
    assert unit == "nats"
    assert float(value) == pytest.approx(-np.log(wanted[[0, 2, 3], [3, 0, 2]]).mean(), abs=2e-6)
    result = run(*words, "--output", "ids.npy", "--predictions")
    assert result.rows["output"].strip().startswith("ids.npy: predicted ids, shape (4,), int")
    np.testing.assert_array_equal(np.load("ids.npy"), wanted.argmax(axis=-1))


@pytest.mark.parametrize("reads", WHOLE)
def test_one_sequence_has_one_output(run: Run, backend: str, reads: str) -> None:
    rnn = model(batch_first=True)
    wanted = probabilities(rnn, read(rnn, reads, features(6), 6))
    np.savez("x.npz", x=features(6), targets=2)
    words = ["run", "model.npz", "x.npz", "--backend", backend, "--reads", reads, "--output", "y.npy"]
    result = run(*words)
    assert (result.code, result.err) == (0, "")
    assert float(result.rows["cross-entropy"].split()[0]) == pytest.approx(-np.log(wanted[2]), abs=2e-6)
    assert "batch" not in result.rows
    np.testing.assert_allclose(np.load("y.npy"), wanted, rtol=0, atol=1e-6)
    run(*words, "--predictions")
    written = np.load("y.npy")
    assert (written.shape, written.dtype.kind) == ((), "i")
    assert int(written) == wanted.argmax()


def test_the_steps_of_a_model_that_reads_the_last(run: Run) -> None:
    rnn = model(reads="last")
    np.savez("x.npz", x=features(5, 2), targets=np.zeros((5, 2), int))
    result = run("run", "model.npz", "x.npz", "--reads", "steps", "--output", "y.npy")
    assert "reads" not in result.rows
    np.testing.assert_array_equal(np.load("y.npy"), rnn.probabilities(features(5, 2), reads="steps"))
    assert "cross-entropy" in result.rows


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_model_without_readout_gives_what_is_read(run: Run, batch_first: bool) -> None:
    rnn = model(readout=None, batch_first=batch_first)
    x = features(5, 4).swapaxes(0, 1) if batch_first else features(5, 4)
    mask = np.arange(20).reshape(x.shape[:2]) % 3 > 0
    np.savez("x.npz", x=x, mask=mask)
    for reads in WHOLE:
        result = run("run", "model.npz", "x.npz", "--reads", reads, "--output", "y.npy")
        what = "hidden states (the model has no readout), shape (4, 10), float32"
        assert result.rows["output"].strip() == f"y.npy: {what}"
        np.testing.assert_array_equal(np.load("y.npy"), rnn.last(x, mask=mask, reads=reads))


def test_speed_and_sizes_are_those_of_all_steps(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model(batch_first=True)
    np.save("x.npy", features(4, 5))
    ticks = iter([0.0, 2.0, 9.0])
    monkeypatch.setattr(walk, "perf_counter", lambda: next(ticks))
    rows = run("run", "model.npz", "x.npy", "--reads", "max", "--lengths", 5, 0, 3, 0).rows
    assert [rows[name].strip() for name in ("sequence length", "batch", "time", "speed")] == [
        "5",
        "4",
        "2.000000 s",
        "4 steps/s",
    ]


@pytest.mark.parametrize("shape", [(0, 2), (0,), (3, 0)])
def test_no_step_and_no_sequence(run: Run, backend: str, shape: tuple[int, ...]) -> None:
    rnn = model()
    np.savez("x.npz", x=features(*shape), targets=np.zeros(shape[1:], int))
    words = ["--backend", backend, "--reads", "mean", "--output", "y.npy"]
    result = run("run", "model.npz", "x.npz", *words)
    assert (result.code, result.rows["cross-entropy"].strip()) == (0, "nan nats")
    wanted = np.broadcast_to(probabilities(rnn, np.zeros(10)), (*shape[1:], 4))
    np.testing.assert_allclose(np.load("y.npy"), wanted, rtol=0, atol=1e-6)


def test_reads_is_no_option_of_loading_here(run: Run) -> None:
    rnn = model("full.npz", bidirectional=False)
    with np.load("full.npz") as held:
        np.savez("bare.npz", **{name: held[name] for name in held.files if name != "__rnn_backends__"})
    np.save("x.npy", features(5, 2))
    words = ["bare.npz", "x.npy", "--activation", "tanh", "--readout-activation", "softmax"]
    assert run("run", *words, "--reads", "max", "--output", "y.npy").code == 0
    np.testing.assert_array_equal(np.load("y.npy"), rnn.probabilities(features(5, 2), reads="max"))
    code, out, err = run("run", *words, "--reads", "first")
    assert (code, out) == (2, "")
    assert "argument --reads: expected one of steps, last, final, mean, max; got 'first'" in err
    assert "leave --reads out" in run("convert", "full.npz", "c.npz", "--reads", "max").err


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 4), "`targets` must have shape (4,), one for each sequence, whose 'last' the readout reads; got (5, 4)."),
        ((), "`targets` must have shape (4,), one for each sequence, whose 'last' the readout reads; got ()."),
    ],
)
def test_targets_of_another_shape(run: Run, shape: tuple[int, ...], message: str) -> None:
    model(reads="last")
    np.savez("x.npz", x=features(5, 4), targets=np.zeros(shape, int))
    assert run("run", "model.npz", "x.npz", "--output", "y.npy") == (1, "", f"rnn-backends: error: x.npz: {message}\n")
    np.savez("x.npz", x=features(5, 4), targets=[0, 1, 4, 0])
    assert "every target in `targets` must be in 0..3; got 4 at [2]" in run("run", "model.npz", "x.npz").err
    model(readout=None)
    assert "loss needs a readout" in run("run", "model.npz", "x.npz", "--reads", "last").err
    assert not Path("y.npy").exists()


def test_outputs_that_there_are_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (placed, reading):
        monkeypatch.setattr(module, "propagate", lambda *_, **__: pytest.fail("the network was run in vain"))
    np.save("x.npy", features(4))
    drawn = rb.RNN.init(3, 5, output_size=4)
    rb.RNN(drawn.layers, rb.Linear(np.ones((1, 5), "f4"), activation="sigmoid")).save("one.npz")
    for reads in ("steps", "last"):
        err = run("run", "one.npz", "x.npy", "--output", "y.npy", "--predictions", "--reads", reads).err
        assert "--predictions writes the likeliest of several outputs, and this model has one; leave it out." in err
    assert not list(Path().glob("y.*"))


# In little memory, timed and reported as it goes


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("reads", WHOLE)
def test_no_more_than_a_block_of_steps_is_held(
    run: Run, monkeypatch: pytest.MonkeyPatch, reads: str, bidirectional: bool
) -> None:
    rnn = rb.RNN.init(40, 4, output_size=3, bidirectional=bidirectional)
    rnn.save("model.npz")
    x = np.random.default_rng(0).normal(size=(20_000, 1, 40))
    np.save("x.npy", x)
    monkeypatch.setattr(chunks, "BUDGET", 2**18)
    words = ["run", "model.npz", "x.npy", "--reads", reads, "--output", "y.npy"]
    run(*words)  # what is imported at first is not counted
    tracemalloc.start()
    try:
        assert run(*words).code == 0
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20 < x.nbytes / 3
    finally:
        tracemalloc.stop()
    monkeypatch.setattr(chunks, "BUDGET", 2**24)
    np.testing.assert_allclose(np.load("y.npy"), rnn.probabilities(x, reads=reads), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("bidirectional", "done"), [(False, [6, 12, 18, 20, 20]), (True, [3, 6, 9, 10, 11, 14, 17, 20, 20])]
)
def test_progress_of_a_walk_through_blocks(
    run: Run, monkeypatch: pytest.MonkeyPatch, bidirectional: bool, done: list[int]
) -> None:
    drawn = rb.RNN.init(3, 7, output_size=4, bidirectional=bidirectional)
    drawn.save("model.npz")
    np.save("x.npy", features(20))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(chunks, "BUDGET", 6 * 4 * (3 + 7 * (1 + bidirectional)))  # six steps of features and states
    monkeypatch.setattr(progress, "monotonic", count().__next__)  # each look at the clock is a second later
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(sys.modules, "tqdm", None)
    err = run("run", "model.npz", "x.npy", "--reads", "mean").err
    assert [int(percentage) for percentage in re.findall(r"\rx\.npy: +(\d+)% ", err)] == [5 * step for step in done]


def test_the_clock_stops_when_a_value_is_there_and_the_network_runs_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def logged(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            events.append(name)
            return result

        return call

    model(reads="last")
    np.savez("x.npz", x=features(5, 2), targets=[1, 2])
    monkeypatch.setattr(placed, "propagate", logged("forward", propagate))
    monkeypatch.setattr(walk, "logits_of_whole", logged("logits", reading.logits_of_whole))
    monkeypatch.setattr(walk, "perf_counter", logged("clock", perf_counter))
    monkeypatch.setattr(walk, "to_numpy", logged("to_numpy", rb.to_numpy))
    assert run("run", "model.npz", "x.npz", "--output", "p.npy").code == 0
    assert events[:6] == ["clock", "forward", "to_numpy", "logits", "to_numpy", "clock"]
    assert events.count("forward") == 1


# Text


@pytest.mark.parametrize("reads", WHOLE)
def test_text_that_is_read_as_a_whole(run: Run, reads: str) -> None:
    drawn = rb.RNN.init(4, 7, output_size=2, seed=3)
    rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary="ab c", reads=reads)
    rnn.save("model.npz")
    lines = ["abba cab", "", "a"]
    for end in ("", "\n"):  # as an editor leaves it
        Path("input.txt").write_text("\n".join(lines) + end)
        result = run("run", "model.npz", "input.txt", "--output", "y.npy")
        assert (result.code, result.err) == (0, "")
        np.testing.assert_allclose(np.load("y.npy"), rnn.probabilities(lines), rtol=1e-6)
        np.testing.assert_allclose(np.load("y.npy")[0], rnn.probabilities(lines[0]), rtol=1e-6)
    assert (result.rows["sequence length"].strip(), result.rows["sequences"].strip()) == ("up to 8", "3")
    assert result.rows["speed"].endswith(" characters/s")
    assert not [name for name in result.rows if name.startswith(("bits", "cross"))]
    result = run("run", "model.npz", "input.txt")
    assert result.rows["likeliest ids"].split() == [str(index) for index in rnn.predict(lines)]
    Path("input.txt").write_text("a\n" * 21)
    assert run("run", "model.npz", "input.txt").rows["likeliest ids"].split()[20:] == ["..."]
    Path("input.txt").write_text("")
    err = run("run", "model.npz", "input.txt").err
    assert (
        err
        == "rnn-backends: error: text must have at least one line, each a sequence of its own; 'input.txt' is empty.\n"
    )


def test_text_needs_no_softmax_where_nothing_is_to_be_predicted(run: Run) -> None:
    drawn = rb.RNN.init(4, 7, bidirectional=True)
    rnn = rb.RNN(drawn.layers, rb.Linear(np.ones((1, 14), "f4"), activation="sigmoid"), vocabulary="ab c", reads="max")
    rnn.save("model.npz")
    Path("input.txt").write_text("abba cab")
    result = run("run", "model.npz", "input.txt", "--output", "y.npy")
    assert (result.code, result.err) == (0, "")
    np.testing.assert_allclose(np.load("y.npy")[0], rnn.probabilities("abba cab"), rtol=1e-6)
    shown = run("run", "model.npz", "input.txt").rows["outputs"]
    assert float(shown) == pytest.approx(float(rnn.probabilities("abba cab")[0]), rel=1e-5)


def test_bits_per_word(run: Run, backend: str) -> None:
    rnn = word_model()
    Path("input.txt").write_text(TEXT)
    result = run("run", "words.npz", "input.txt", "--backend", backend)
    assert (result.code, result.err) == (0, "")
    ids = np.array([0, 1, 2, 3, 0, 4, 3])  # mat is unknown
    p = np.asarray(rnn.probabilities(ids[:-1]), np.float64)
    wanted = -np.log2(p[np.arange(6), ids[1:]]).mean()
    assert float(result.rows["bits per word"]) == pytest.approx(wanted, abs=2e-6)
    assert result.rows["sequence length"].strip() == "6"
    assert result.rows["speed"].endswith(" words/s")


@pytest.mark.parametrize("steps", [1, 4, 100])
def test_predicted_words_have_one_space_between(run: Run, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    rnn = word_model()
    Path("input.txt").write_text(TEXT)
    wanted = " ".join(WORDS[index] for index in rnn.predict([0, 1, 2, 3, 0, 4]))
    monkeypatch.setattr(chunks, "BUDGET", steps * 4 * (1 + 7))
    result = run("run", "words.npz", "input.txt", "--output", "y.txt", "--predictions")
    assert result.rows["output"].strip() == "y.txt: 6 predicted words"
    assert Path("y.txt").read_text() == wanted
    np.save("none.npy", np.zeros(0, int))
    assert run("run", "words.npz", "none.npy", "--output", "y.txt", "--predictions").code == 0
    assert Path("y.txt").read_bytes() == b""


def test_words_that_cannot_be_read(run: Run) -> None:
    word_model()
    drawn = rb.RNN.init(2, 7, output_size=2, bidirectional=True)
    rb.RNN(drawn.layers, drawn.readout, vocabulary=["a", "b"]).save("known.npz")
    Path("input.txt").write_text(" the\n")
    err = run("run", "words.npz", "input.txt").err
    assert err == "rnn-backends: error: text must have at least 2 words, one to predict the other; 'input.txt' has 1.\n"
    Path("input.txt").write_text("a b a mat")
    assert (
        "the word 'mat', word 4 of the text, is not in the model's vocabulary"
        in run("run", "known.npz", "input.txt").err
    )
    Path("input.txt").write_text("a b a")
    err = run("run", "known.npz", "input.txt").err
    assert err == "rnn-backends: the model has backward cells, which see the words that they are to predict\n"


def test_a_model_that_does_not_predict_its_input(run: Run) -> None:
    """As one that gives each word one of three tags."""
    rnn = word_model(outputs=3)
    Path("input.txt").write_text(TEXT)
    result = run("run", "words.npz", "input.txt", "--output", "y.npy")
    assert (result.code, "bits per word" in result.rows) == (0, False)
    np.testing.assert_allclose(np.load("y.npy"), rnn.probabilities(TEXT), rtol=1e-6)
    assert run("run", "words.npz", "input.txt", "--reads", "last", "--output", "y.npy").code == 0
    wanted = rnn.probabilities(TEXT.splitlines(), reads="last")
    np.testing.assert_allclose(np.load("y.npy"), wanted, rtol=1e-6)


# Other inputs of the record


def test_initial_states_of_cells_of_several_sizes(run: Run) -> None:
    draw = np.random.default_rng(0)

    def cell(size: int, hidden: int) -> rb.Cell:
        weights = draw.normal(size=(hidden, size)), draw.normal(size=(hidden, hidden))
        return rb.Cell(*weights, draw.normal(size=hidden))

    rnn = rb.RNN([rb.Layer(cell(3, 4), cell(3, 2)), rb.Layer(cell(6, 5))])
    rnn.save("model.npz")
    h_0: dict[str, Any] = {
        f"h_0_{place}": draw.normal(size=(2, size)) for place, size in (("l1", 5), ("l0_reverse", 2), ("l0", 4))
    }
    np.savez("x.npz", x=features(5, 2), **h_0)
    assert run("run", "model.npz", "x.npz", "--output", "y.npy").code == 0
    states = [h_0[f"h_0_{place}"] for place in ("l0", "l0_reverse", "l1")]
    np.testing.assert_array_equal(np.load("y.npy"), rnn(features(5, 2), states)[0])
    del h_0["h_0_l0"]
    np.savez("x.npz", x=features(5, 2), **h_0)
    err = run("run", "model.npz", "x.npz").err
    assert "there must be h_0, or each of 'h_0_l0', 'h_0_l0_reverse', 'h_0_l1', or none of them; there is " in err
    np.savez("x.npz", x=features(5, 2), h_0_l2=h_0["h_0_l1"])
    assert "it holds 'h_0_l2', which run does not know" in run("run", "model.npz", "x.npz").err
    np.savez("x.npz", x=features(5, 2), h_0=np.ones((3, 2, 4)))
    assert (
        "`h_0` must be a tuple of one array (batch, hidden_size) for each cell" in run("run", "model.npz", "x.npz").err
    )


def test_integers_are_numbers_of_a_model_that_takes_features(run: Run) -> None:
    rnn = model(takes="features")
    x = np.arange(24).reshape(4, 2, 3)
    np.save("x.npy", x)
    result = run("run", "model.npz", "x.npy", "--output", "y.npy")
    assert (result.rows["batch"].strip(), result.rows["sequence length"].strip()) == ("2", "4")
    np.testing.assert_array_equal(np.load("y.npy"), rnn.probabilities(x.astype("f4")))
