"""The command `generate`: every option against `RNN.generate`, and what is seen in a terminal and in pipes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
from commands import Result, Run
from hypothesis import given
from hypothesis import strategies as st
from terminal import PROGRAM, Terminal

import rnn_backends as rb
from rnn_backends.cli import progress, writer
from rnn_backends.cli.generate import seeds
from rnn_backends.model.placed import Placed
from rnn_backends.model.rolling import roll_out
from rnn_backends.model.stops import Ending

CHARACTERS = "\n abé😀"
WORDS = ("...", "lord", "my", "the", "good", "night")
FOREVER = 10**12
"""A length that no test waits for."""
SHAKESPEARE = Path(__file__).parents[2] / "examples" / "shakespeare" / "shakespeare.safetensors"


def model(path: str = "m.npz", vocabulary: Any = CHARACTERS, **options: Any) -> rb.RNN:
    """Write a network over six tokens, of which the likeliest changes, and return it."""
    held = {"takes": "tokens", **options}
    drawn = rb.RNN.init(6, 8, num_layers=2, output_size=6, seed=6)
    readout = rb.Linear(8 * drawn.readout.weight, drawn.readout.bias, held.pop("activation", None))
    rnn = rb.RNN(drawn.layers, readout, vocabulary=vocabulary, **held)
    rnn.save(path)
    return rnn


def forecaster(path: str = "f.npz", dtype: str = "float32", **options: Any) -> rb.RNN:
    """Write a network that predicts its own three features, and return it."""
    held = {"takes": "features", **options}
    drawn = rb.RNN.init(3, 5, output_size=3, seed=4, dtype=dtype)
    readout = rb.Linear(drawn.readout.weight, drawn.readout.bias, held.pop("activation", "tanh"))
    rnn = rb.RNN(drawn.layers, readout, **held)
    rnn.save(path)
    return rnn


@pytest.fixture
def generate(run: Run) -> Run:
    """Call the command."""
    return partial(run, "generate")


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set what stdin holds."""
    return lambda data: monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(data)))


def records(result: Result) -> list[dict[str, Any]]:
    assert (result.code, result.err) == (0, "")
    return [json.loads(line) for line in result.out.splitlines()]


# What is drawn


def test_text_on_every_backend(generate: Run, backend: str) -> None:
    model()
    wanted = rb.load("m.npz", backend=backend).generate("ab\né", 60, seed=7)
    assert generate("m.npz", "ab\né", "--length", 60, "--seed", 7, "--backend", backend) == (0, wanted, "")
    assert set(wanted) == set(CHARACTERS)


SAMPLING: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 0.4},
    {"top_k": 2},
    {"top_p": 0.6},
    {"temperature": 1.5, "top_k": 4, "top_p": 0.9},
]


@pytest.mark.parametrize("vocabulary", [CHARACTERS, WORDS, None], ids=["characters", "words", "ids"])
def test_each_option_is_that_of_generate(generate: Run, vocabulary: Any) -> None:
    rnn = model(vocabulary=vocabulary)
    prompt, typed = (
        ([3, 1, 4], "3 1,4") if vocabulary is None else ("ab", "ab") if vocabulary == CHARACTERS else ("my lord",) * 2
    )
    found = []
    for options in SAMPLING:
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
        result = generate("m.npz", typed, "--seed", 7, *words)
        wanted = rnn.generate(prompt, 200, seed=7, **options)
        shown = wanted if isinstance(wanted, str) else " ".join(map(str, wanted)) + "\n"
        assert result == (0, shown, "")
        found.append(result.out)
    assert len(set(found)) == len(SAMPLING)


def test_token_ids_on_every_backend(generate: Run, backend: str) -> None:
    model(vocabulary=None)
    wanted = rb.to_numpy(rb.load("m.npz", backend=backend).generate([5], 30, seed=1)).tolist()
    result = generate("m.npz", "5", "--length", 30, "--seed", 1, "--backend", backend)
    assert result == (0, " ".join(map(str, wanted)) + "\n", "")


@pytest.mark.parametrize("length", [0, 1])
def test_the_shortest_results(generate: Run, length: int) -> None:
    rnn = model()
    assert generate("m.npz", "a", "--length", length, "--seed", 1).out == rnn.generate("a", length, seed=1)
    model(vocabulary=None)
    assert generate("m.npz", "1", "--length", 0, "--seed", 1).out == "\n"


def test_words_that_are_nothing_are_joined_too(generate: Run) -> None:
    rnn = model(vocabulary=("", *WORDS[1:]))
    wanted = rnn.generate("lord", 50, seed=2)
    assert "  " in wanted
    assert generate("m.npz", "lord", "--length", 50, "--seed", 2).out == wanted


def test_the_environment_and_options_of_loading(generate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rnn = model(vocabulary=None, activation="identity")
    np.savez("weights.npz", **rnn.to_torch())  # type: ignore[arg-type]  # numpy has it so
    words = ["weights.npz", "--length", 9, "--seed", 1, "--activation", "tanh", "--readout-activation", "softmax"]
    wanted = rnn.generate([0, 1], 9, seed=1)
    assert generate(*words, "0 1", "--takes", "tokens").out.split() == [str(token) for token in wanted]
    spelt = generate(*words, "\n ", "--vocabulary", CHARACTERS)
    assert spelt.out == "".join(CHARACTERS[token] for token in wanted)
    monkeypatch.setenv("RNN_BACKEND", "nunpy")
    assert "environment variable RNN_BACKEND" in generate("weights.npz", "0", *words[1:], "--takes", "tokens").err
    assert "option --backend" in generate("weights.npz", "0", *words[1:], "--backend", "nunpy").err


# Seeds and counts


def test_a_seed_that_was_chosen_repeats_the_run(generate: Run) -> None:
    model()
    first = generate("m.npz", "a")
    seed = first.err.split()[2]
    assert first.err == f"rnn-backends: seed {seed} (repeat with --seed {seed})\n"
    assert generate("m.npz", "a", "--seed", seed) == (0, first.out, "")
    again = generate("m.npz", "a")
    assert again.out != first.out
    assert again.err != first.err


def test_no_seed_is_shown_where_it_is_not_wanted_or_nothing_is_drawn(generate: Run) -> None:
    model()
    assert generate("m.npz", "a", "--quiet").err == ""
    assert generate("m.npz", "a", "--temperature", 0).err == ""
    assert generate("m.npz", "a", "--stop", "x").err.count("seed") == 0


@pytest.mark.parametrize("seed", [0, 7, 2**70])
def test_seeds_depend_on_the_first_alone(seed: int) -> None:
    many = [*seeds(seed, 9)]
    assert many[0] == seed
    assert len(set(many)) == 9
    assert max(many[1:]) < 2**53
    assert all([*seeds(seed, count)] == many[:count] for count in range(1, 9))
    assert not set(seeds(seed + 1, 9)) & set(many)


def test_each_of_several_texts_is_drawn_with_its_own_seed(generate: Run) -> None:
    rnn = model()
    texts = [rnn.generate("ab", 30, seed=seed) for seed in seeds(7, 3)]
    found = generate("m.npz", "ab", "--length", 30, "--seed", 7, "--count", 3)
    assert found == (0, "\n---\n".join(texts), "")
    assert len(set(texts)) == 3


def test_each_of_several_results_has_a_line_of_ids(generate: Run) -> None:
    rnn = model(vocabulary=None)
    found = generate("m.npz", "5", "--length", 9, "--seed", 7, "--count", 3)
    wanted = [" ".join(map(str, rnn.generate([5], 9, seed=seed))) for seed in seeds(7, 3)]
    assert found == (0, "".join(f"{line}\n" for line in wanted), "")


def test_records_of_texts(generate: Run) -> None:
    rnn = model()
    found = records(generate("m.npz", "ab", "--length", 30, "--seed", 7, "--count", 2, "--json"))
    assert found == [
        {"prompt": "ab", "text": rnn.generate("ab", 30, seed=seed), "tokens": 30, "seed": seed, "stopped": "length"}
        for seed in seeds(7, 2)
    ]
    alone = records(generate("m.npz", "ab", "--length", 30, "--seed", found[1]["seed"], "--json"))
    assert alone == found[1:]


def test_records_of_ids_and_of_what_stopped_them(generate: Run) -> None:
    rnn = model(vocabulary=None)
    ids = rnn.generate([5, 0], 200, seed=7).tolist()
    end = next(place for place in range(10, 200) if ids[place : place + 2] not in pairs(ids[: place + 1]))
    stop = f"{ids[end]},{ids[end + 1]}"
    found = records(generate("m.npz", "5 0", "--seed", 7, "--stop", stop, "--json"))
    assert found == [{"prompt": [5, 0], "ids": ids[:end], "tokens": end, "seed": 7, "stopped": "stop"}]


def pairs(items: list[Any]) -> list[list[Any]]:
    return [items[place : place + 2] for place in range(len(items) - 1)]


# Stops

TOKENS = st.lists(st.integers(0, 2), max_size=12)
STOPS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=3)


@given(TOKENS, STOPS)
def test_results_end_before_a_stop_and_nothing_is_held_back_longer_than_it_must(
    tokens: list[int], stops: list[list[int]]
) -> None:
    def ended(count: int) -> int:
        """Return how many tokens of a stop the first ones end with, 0 for none."""
        return max((len(stop) for stop in stops if tokens[:count][-len(stop) :] == stop), default=0)

    def begun(count: int) -> int:
        beginnings = [stop[:size] for stop in stops for size in range(1, len(stop))]
        return max((len(each) for each in beginnings if tokens[:count][-len(each) :] == each), default=0)

    taken, ending = 0, Ending(stops)

    def source() -> Iterator[int]:
        nonlocal taken
        for token in tokens:
            assert len(found) == taken - begun(taken)
            taken += 1
            yield token

    found: list[int] = []
    for token in ending.before(source()):
        found += [token]
    last = next((count for count in range(1, len(tokens) + 1) if ended(count)), None)
    assert taken == (len(tokens) if last is None else last)
    assert found == (tokens if last is None else tokens[: last - ended(last)])
    assert ending.reason == ("length" if last is None else "stop")


def test_a_text_ends_before_any_of_several_stops(generate: Run) -> None:
    rnn = model()
    text = rnn.generate("ab", 200, seed=7)
    stops = [text[60:63], text[40:43], text[41:43]]
    end = min(text.find(stop) + len(stop) for stop in stops)
    longest = max((stop for stop in stops if text[:end].endswith(stop)), key=len)
    words = [word for stop in stops for word in ("--stop", stop)]
    assert end > len(longest)
    assert generate("m.npz", "ab", "--seed", 7, *words) == (0, text[: end - len(longest)], "")


def test_a_stop_of_words_is_not_one_of_characters(generate: Run) -> None:
    rnn = model(vocabulary=("a", "aa", "b", "ba", "ab", "c"))
    words = rnn.generate("c", 200, seed=4).split()
    end = pairs(words).index(["a", "b"])
    assert "a b" in " ".join(words[:end])  # of "aa b"
    assert generate("m.npz", "c", "--seed", 4, "--stop", " a  b ") == (0, " ".join(words[:end]), "")


def test_a_stop_may_end_all_at_once(generate: Run) -> None:
    rnn = model()
    first = rnn.generate("ab", 1, seed=7)
    assert generate("m.npz", "ab", "--seed", 7, "--stop", first) == (0, "", "")
    assert records(generate("m.npz", "ab", "--seed", 7, "--stop", first, "--json"))[0]["tokens"] == 0


# Prompts


@pytest.mark.parametrize(
    ("data", "prompt"), [("ab\n", "ab"), ("ab\r\n", "ab"), ("ab", "ab"), ("ab\n\n", "ab\n"), ("\na é\n", "\na é")]
)
def test_a_prompt_of_stdin_without_the_line_break_of_echo(generate: Run, stdin: Any, data: str, prompt: str) -> None:
    rnn = model()
    stdin(data.encode())
    assert generate("m.npz", "-", "--seed", 7) == (0, rnn.generate(prompt, 200, seed=7), "")
    stdin(data.encode())
    assert records(generate("m.npz", "-", "--seed", 7, "--json"))[0]["prompt"] == prompt


def test_a_text_without_prompt_begins_with_a_line_break(generate: Run) -> None:
    rnn = model()
    assert generate("m.npz", "--seed", 7) == (0, rnn.generate("\n", 200, seed=7), "")
    assert records(generate("m.npz", "--seed", 7, "--json"))[0]["prompt"] == "\n"


def test_a_prompt_may_stand_anywhere_and_begin_with_a_dash(generate: Run) -> None:
    rnn = model(vocabulary="-abcde")
    wanted = (0, rnn.generate("ab", 200, seed=7), "")
    assert generate("m.npz", "--seed", 7, "ab") == wanted
    assert generate("--seed", 7, "m.npz", "ab") == wanted
    assert generate("--quiet", "m.npz", "--seed", 7, "ab") == wanted
    assert generate("m.npz", "--seed", 7, "--", "-ab") == (0, rnn.generate("-ab", 200, seed=7), "")


def test_token_ids_of_stdin(generate: Run, stdin: Any) -> None:
    rnn = model(vocabulary=None)
    stdin(b" 3,1\n 4, 5\n")
    wanted = " ".join(map(str, rnn.generate([3, 1, 4, 5], 9, seed=7)))
    assert generate("m.npz", "-", "--length", 9, "--seed", 7).out == f"{wanted}\n"


BAD_PROMPTS = [
    ("text", "abx", 1, "the character 'x' at line 1, column 3 is not in the model's vocabulary of 6 characters."),
    ("text", "", 2, "PROMPT is empty; give at least one character"),
    ("words", "my lady", 1, "the word 'lady', word 2 of the text, is not in the model's vocabulary of 6 words"),
    ("words", None, 2, "give a PROMPT of at least one word after MODEL, or - to read it from stdin"),
    ("words", " \n", 2, "PROMPT is empty; give at least one word"),
    ("ids", None, 2, "give a PROMPT of token ids, such as '3 1 4' after MODEL, or - to read it from stdin"),
    ("ids", " , ", 2, "PROMPT is empty; give token ids, such as '3 1 4'"),
    ("ids", "3 one", 1, "PROMPT must hold token ids between spaces or commas, for a model without vocabulary; got 'one'."),
    ("ids", "3 1.5", 1, "got '1.5'."),
    ("ids", "3 6", 1, "PROMPT must hold token ids in 0..5; got 6."),
    ("ids", "-1", 1, "PROMPT must hold token ids in 0..5; got -1."),
    ("ids", "9" * 30, 1, f"PROMPT must hold token ids in 0..5; got {'9' * 30}."),
    ("values", None, 2, "give a PROMPT of steps of 3 features after MODEL, or - to read it from stdin"),
    ("values", " \n;", 2, "PROMPT is empty; give steps of 3 features"),
    ("values", "1,2,3; 1,2", 1, "step 2 of PROMPT holds 2 numbers; give steps of 3 features, each on a line"),
    ("values", "1,2,3\n\n1,2,x", 1, "step 2 of PROMPT must hold numbers; got 'x'."),
    ("values", "1,2,1e39", 1, "PROMPT holds a number that is too large for float32, the dtype of the model."),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "prompt", "code", "message"), BAD_PROMPTS)
@pytest.mark.parametrize("source", ["words", "stdin"])
def test_prompts_that_the_model_cannot_take(
    generate: Run, stdin: Any, kind: str, prompt: str | None, code: int, message: str, source: str
) -> None:
    path = "m.npz"
    if kind == "values":
        path = "f.npz"
        forecaster()
    else:
        model(vocabulary={"text": CHARACTERS, "words": WORDS, "ids": None}[kind])
    words = [] if prompt is None else ["--", prompt]
    if prompt is not None and source == "stdin":
        stdin(f"{prompt}\n".encode())
        words = ["-"]
    result = generate(path, *words)
    assert (result.code, result.out) == (code, "")
    assert message in result.err.splitlines()[-1]
    assert code == 2 or len(result.err.splitlines()) == 1


def test_stdin_that_is_no_text_or_closed(generate: Run, stdin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model()
    stdin("abé".encode("latin-1"))
    found = generate("m.npz", "-")
    assert (found.code, found.out) == (1, "")
    assert found.err.startswith(
        "rnn-backends: error: stdin: it is not UTF-8 text: unexpected end of data at byte 2; convert"
    )
    stdin("\ufeffab".encode())
    assert generate("m.npz", "-", "--seed", 1).out == generate("m.npz", "ab", "--seed", 1).out
    monkeypatch.setattr(sys, "stdin", None)
    message = "rnn-backends: error: PROMPT is -, and stdin is closed; write the prompt itself.\n"
    assert generate("m.npz", "-") == (1, "", message)


# Wrong usage


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--temperature", "-1"], "--temperature must be at least 0; got -1"),
        (["--temperature", "nan"], "--temperature must be a finite number; got nan"),
        (["--temperature", "inf"], "--temperature must be a finite number; got inf"),
        (["--temperature", "hot"], "argument --temperature: expected a number, such as 0.5; got 'hot'"),
        (["--top-k", "0"], "--top-k must be at least 1; got 0"),
        (["--top-p", "0"], "--top-p must be above 0 and at most 1; got 0"),
        (["--top-p", "1.5"], "--top-p must be above 0 and at most 1; got 1.5"),
        (["--top-p", "nan"], "--top-p must be above 0 and at most 1; got nan"),
        (["--seed", "-1"], "--seed must be at least 0; got -1"),
        (["--length", "-1"], "--length must be at least 0; got -1"),
        (["--length", "2.5"], "argument --length: expected a whole number, such as 20; got '2.5'"),
        (["--count", "0"], "--count must be at least 1; got 0"),
        (["--count", "3", "--temperature", "0"], "--count 3 would give the same result each time at --temperature 0"),
        (["--stop", ""], "--stop must not be empty; leave it out to draw --length tokens"),
        (["--output", "./m.npz"], "--output would overwrite MODEL, 'm.npz'; choose another name"),
        (["and", "more"], "there is no place for 'more'"),
        (["--top", "3"], "--top"),
    ],
)
def test_wrong_usage(generate: Run, words: list[str], message: str) -> None:
    model()
    before = Path("m.npz").read_bytes()
    result = generate("m.npz", *words)
    assert (result.code, result.out) == (2, "")
    assert message in result.err.splitlines()[-1]
    assert Path("m.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("vocabulary", "stop", "code", "message"),
    [
        (CHARACTERS, "ax", 1, "--stop 'ax' is never drawn: the character 'x' is not in the model's vocabulary."),
        (WORDS, "good knight", 1, "is never drawn: the word 'knight' is not in the model's vocabulary."),
        (WORDS, " ", 1, "--stop must hold at least one word; got ' '"),
        (None, "6", 1, "--stop must hold token ids in 0..5; got 6."),
        (None, ",", 2, "--stop must hold at least one token id; got ','"),
    ],
)
def test_stops_that_cannot_be(generate: Run, vocabulary: Any, stop: str, code: int, message: str) -> None:
    model(vocabulary=vocabulary, unknown=WORDS[0] if vocabulary == WORDS else None)
    result = generate("m.npz", "0" if vocabulary is None else "my" if vocabulary == WORDS else "a", "--stop", stop)
    assert (result.code, result.out) == (code, "")
    assert message in result.err.splitlines()[-1]
    assert "repeat with" not in result.err


def test_models_that_cannot_feed_themselves(generate: Run) -> None:
    drawn = rb.RNN.init(6, 8, output_size=6)
    own = "needs a model that predicts its own next"
    cases = {
        f"generate {own} token id; this one takes one of 6 token ids and has no readout.": [
            rb.RNN(drawn.layers, takes="tokens"),
        ],
        f"generate {own} token id; this one takes 6 inputs and has no readout.": [rb.RNN(drawn.layers)],
        f"generate {own} token id; this one takes 6 inputs and has 5 outputs.": [rb.RNN.init(6, 8, output_size=5)],
        "generate needs a readout of each step or of the last; that of this model reads the 'mean'.": [
            rb.RNN(drawn.layers, drawn.readout, reads="mean", takes="tokens"),
        ],
        "generate needs a network without backward cells, which start at the end of a sequence.": [
            rb.RNN.init(6, 8, output_size=6, bidirectional=True),
        ],
        f"a free run {own} features; this one takes 6 features and has no readout.": [
            rb.RNN(drawn.layers, takes="features"),
        ],
        f"a free run {own} features; this one takes 6 features and has 5 outputs.": [
            rb.RNN(drawn.layers, rb.Linear(np.ones((5, 8), np.float32), activation="tanh"), takes="features"),
        ],
        "a free run needs a readout of each step or of the last; that of this model reads the 'max'.": [
            rb.RNN(drawn.layers, rb.Linear(drawn.readout.weight, activation="tanh"), reads="max", takes="features"),
        ],
    }
    for message, rnns in cases.items():
        for rnn in rnns:
            rnn.save("m.npz")
            assert generate("m.npz") == (1, "", f"rnn-backends: error: {message}\n")


def test_a_softmax_over_features_and_the_way_out(generate: Run) -> None:
    rnn = model(vocabulary=None, takes="features")
    np.savez("weights.npz", **rnn.to_torch())  # type: ignore[arg-type]  # numpy has it so
    wanted = rb.RNN(rnn.layers, rnn.readout, takes="tokens").generate([0], 5, seed=1)
    options = ["0", "--length", 5, "--seed", 1]
    loading = ["weights.npz", "--activation", "tanh", "--readout-activation", "softmax"]
    for words in (["m.npz"], loading):
        result = generate(*words, *options)
        assert (result.code, result.out) == (1, "")
        assert (
            "of a softmax; to draw token ids it must be made or loaded with --takes tokens, for `generate`"
            in result.err
        )
    assert generate(*loading, *options, "--takes", "tokens").out.split() == [str(token) for token in wanted]


def test_what_a_model_is_that_does_not_say(generate: Run) -> None:
    model(vocabulary=None, takes=None)
    assert len(generate("m.npz", "0", "--quiet", "--length", 3).out.split()) == 3
    forecaster(takes=None)
    assert len(generate("f.npz", "0 0 0", "--length", 3).out.splitlines()) == 3
    result = generate("f.npz", "0", "--takes", "tokens", "--length", 3, "--quiet")
    assert {*result.out.split()} <= {"0", "1", "2"}


# Forecasters

STEPS = "0.25,-0.5 1;  .125, 0,1e-3 "


def free_run(rnn: rb.RNN, length: int) -> np.ndarray[Any, Any]:
    """Return the outputs that follow the steps, each read off a run over all that there is up to it."""
    x = np.array([[0.25, -0.5, 1], [0.125, 0, 1e-3]], rnn.dtype)
    for _ in range(length):
        last = rb.to_numpy(rnn.probabilities(x, reads="steps"))[-1:]
        x = np.concatenate([x, last])
    return x[2:]


@pytest.mark.parametrize("reads", ["steps", "last", "final"])
@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_a_free_run_on_every_backend(generate: Run, backend: str, reads: str, activation: str) -> None:
    forecaster(reads=reads, activation=activation)
    rnn = rb.load("f.npz", backend=backend)
    result = generate("f.npz", STEPS, "--length", 20, "--backend", backend)
    assert (result.code, result.err) == (0, "")
    found = np.loadtxt(StringIO(result.out), delimiter=",", ndmin=2)
    np.testing.assert_allclose(found, free_run(rnn, 20), rtol=0, atol=1e-5)
    assert len({*found[:, 0]}) > 10


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_values_are_read_back_as_they_were(generate: Run, dtype: str) -> None:
    rnn = forecaster(dtype=dtype)
    result = generate("f.npz", STEPS, "--length", 3)
    found = np.array([line.split(",") for line in result.out.splitlines()], dtype)
    np.testing.assert_array_equal(found[0], next(roll_out(rnn.placed, [[0.25, -0.5, 1], [0.125, 0, 1e-3]])))
    assert [[str(value) for value in row] for row in found] == [line.split(",") for line in result.out.splitlines()]
    (record,) = records(generate("f.npz", STEPS, "--length", 3, "--json"))
    assert record["steps"] == 3
    assert [",".join(map(str, row)) for row in record["values"]] == result.out.splitlines()
    assert record["prompt"][0] == [0.25, -0.5, 1]


def test_steps_of_stdin_and_batch_first(generate: Run, stdin: Any) -> None:
    forecaster("b.npz", batch_first=True)
    forecaster()
    wanted = generate("f.npz", STEPS, "--length", 5).out
    stdin(b"0.25,-0.5,1\r\n0.125\t0 0.001\r\n")
    assert generate("f.npz", "-", "--length", 5) == (0, wanted, "")
    assert generate("b.npz", STEPS, "--length", 5) == (0, wanted, "")


def test_values_that_are_no_numbers_stay_so(generate: Run) -> None:
    forecaster(activation="identity")
    assert generate("f.npz", "nan,0,0", "--length", 1).out == "nan,nan,nan\n"
    assert records(generate("f.npz", "nan,0,inf", "--length", 1, "--json")) == [
        {"prompt": [[None, 0, None]], "values": [[None] * 3], "steps": 1}
    ]


@pytest.mark.parametrize(
    "words",
    [["--temperature", 1], ["--top-k", 1], ["--top-p", 1], ["--seed", 0], ["--stop", "a"], ["--count", 2]],
    ids=lambda words: words[0],
)
def test_options_of_draws_are_refused_by_name(generate: Run, words: list[Any]) -> None:
    forecaster()
    result = generate("f.npz", "0,0,0", *words)
    assert (result.code, result.out) == (2, "")
    message = f"{words[0]} is for models that draw tokens, and this one continues values; leave it out"
    assert message in result.err.splitlines()[-1]
    assert generate("f.npz", "0,0,0", "--count", 1, "--length", 1, "--quiet").code == 0


# Where it is written


@pytest.mark.parametrize("count", [1, 2])
def test_a_file_holds_what_stdout_shows(generate: Run, count: int) -> None:
    model()
    words = ["m.npz", "ab", "--seed", 7, "--count", count]
    wanted = generate(*words).out
    assert generate(*words, "--output", "out.txt") == (0, "", "")
    assert Path("out.txt").read_bytes() == wanted.encode()
    assert generate(*words, "--output", "-") == (0, wanted, "")
    assert not Path("-").exists()


@pytest.mark.parametrize(("path", "words"), [("m.npz", ["ab", "--seed", 7, "--count", 2]), ("f.npz", ["0,0,0"])])
def test_progress_is_that_of_a_file(
    generate: Run, monkeypatch: pytest.MonkeyPatch, path: str, words: list[Any]
) -> None:
    monkeypatch.setattr(progress, "PLAIN", 0.0)
    model()
    forecaster()
    options = [path, *words, "--length", 4]
    lines = generate(*options, "--output", "out.txt").err.splitlines()
    total, unit = (8, "tokens") if path == "m.npz" else (4, "steps")
    shares = [f"rnn-backends: out.txt: {100 * done / total:.0f}% of {total}.00 {unit}," for done in range(1, total + 1)]
    assert len(lines) == total
    assert all(line.startswith(share) for line, share in zip(lines, shares, strict=True))
    assert generate(*options, "--output", "out.txt", "--json").err.count("\n") == total
    for others in (["--output", "out.txt", "--quiet"], ["--output", "-"], []):
        assert generate(*options, *others).err == ""


def test_a_file_is_written_whole_or_not_at_all(generate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model()
    Path("out.txt").write_text("before")
    logits, calls = Placed.logits.func, 0  # type: ignore[attr-defined]

    def interrupted(placed: Placed) -> Any:
        def each(states: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > 50:
                raise KeyboardInterrupt
            return logits(placed)(states)

        return each

    monkeypatch.setattr(Placed, "logits", property(interrupted))
    result = generate("m.npz", "ab", "--seed", 7, "--output", "out.txt")
    assert result == (130, "", "rnn-backends: interrupted\n")
    assert Path("out.txt").read_text() == "before"
    assert sorted(path.name for path in Path().iterdir()) == ["m.npz", "out.txt"]
    assert "'no/out.txt' cannot be written" in generate("no.npz", "ab", "--output", "no/out.txt").err


def test_a_reader_that_is_no_terminal_is_given_what_there_is_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream(StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed = len(self.getvalue())

    now = 100.0
    monkeypatch.setattr(writer, "monotonic", lambda: now)
    stream = Stream()
    found = writer.Writer(stream)
    found.write("a")
    assert stream.flushed == 0
    now += writer.WAIT * 1.5
    found.write("b")
    assert stream.flushed == 2
    found.write("c")
    assert stream.flushed == 2
    found.close_line()
    assert stream.getvalue() == "abc"


# Terminals and pipes


def test_a_terminal_ends_with_a_line_break_and_a_pipe_as_the_text_does(tmp_path: Path) -> None:
    rnn = model(str(tmp_path / "m.npz"))
    for seed in (1, 2, 3, 4):
        wanted = rnn.generate("ab", 20, seed=seed)
        words = ["generate", "m.npz", "ab", "--length", 20, "--seed", seed]
        with Terminal(*words, cwd=tmp_path) as terminal:
            assert terminal.finish() == 0
            end = "" if wanted.endswith("\n") else "\n"
            assert terminal.shown == (wanted + end).replace("\n", "\r\n")
        with Terminal(*words, cwd=tmp_path, pipes=["stdout"]) as terminal:
            assert terminal.finish() == 0
            assert (terminal.shown, terminal.piped) == ("", wanted)


def test_lines_end_once_on_a_terminal(tmp_path: Path) -> None:
    model(str(tmp_path / "m.npz"), vocabulary=None)
    with Terminal("generate", "m.npz", "1", "--length", 3, "--seed", 1, cwd=tmp_path) as terminal:
        assert terminal.finish() == 0
        assert terminal.shown.count("\n") == 1


def test_a_prompt_that_is_typed(tmp_path: Path) -> None:
    rnn = model(str(tmp_path / "m.npz"), vocabulary="abcdef")
    with Terminal("generate", "m.npz", "-", "--length", 9, "--seed", 1, cwd=tmp_path) as terminal:
        terminal.type("fade\n\x04")
        assert terminal.finish() == 0
        assert terminal.shown.splitlines()[-1] == rnn.generate("fade", 9, seed=1)


def test_what_is_drawn_is_seen_before_the_end_and_ctrl_c_ends_it_on_a_line_of_its_own(tmp_path: Path) -> None:
    rnn = model(str(tmp_path / "m.npz"), vocabulary="abcdef")
    wanted = rnn.generate("a", 50, seed=1)
    with Terminal("generate", "m.npz", "a", "--length", FOREVER, "--seed", 1, cwd=tmp_path) as terminal:
        assert terminal.wait_for(wanted).startswith(wanted)
        terminal.type("\x03")
        assert terminal.finish() == 130
        assert terminal.shown.endswith("\r\nrnn-backends: interrupted\r\n")
        assert terminal.shown.count("\n") == 2


def test_each_token_reaches_a_terminal_at_once(tmp_path: Path) -> None:
    wanted = model(str(tmp_path / "m.npz"), vocabulary="abcdef").generate("a", 5, seed=1)
    words = ["generate", "m.npz", "a", "--length", 5, "--seed", 1]
    program = (sys.executable, "-c", WAITING)
    with Terminal(*words, program=program, cwd=tmp_path, PYTHONUNBUFFERED="") as terminal:
        assert terminal.wait_for(wanted[:3]) == wanted[:3]
        terminal.type("\n")
        assert terminal.finish() == 0
        assert terminal.shown.split() == [wanted[:3], wanted[3:]]


WAITING = """
import sys
from rnn_backends.cli.main import main
from rnn_backends.model.sampling import Sampler
draw, calls = Sampler.__call__, []
def waiting(self, logits):
    calls.append(0)
    if len(calls) == 4:
        sys.stdin.readline()
    return draw(self, logits)
Sampler.__call__ = waiting
sys.exit(main())
"""
"""The program, of which the fourth token waits for a line that is typed."""


def test_control_characters_do_not_reach_a_terminal(tmp_path: Path) -> None:
    rnn = model(str(tmp_path / "m.npz"), vocabulary="\x1b\x07\ta\u202e\n")
    text = rnn.generate("a", 40, seed=1)
    assert set(text) == set("\x1b\x07\ta\u202e\n")
    words = ["generate", "m.npz", "a", "--length", 40, "--seed", 1]
    with Terminal(*words, cwd=tmp_path) as terminal:
        assert terminal.finish() == 0
        shown = text.replace("\x1b", r"\x1b").replace("\x07", r"\x07").replace("\u202e", r"\u202e")
        assert terminal.shown.replace("\r\n", "\n").rstrip("\n") == shown.rstrip("\n")
    with Terminal(*words, cwd=tmp_path, pipes=["stdout"]) as terminal:
        assert terminal.finish() == 0
        assert terminal.piped == text


def process(folder: Path, *words: object, **options: Any) -> subprocess.Popen[bytes]:
    held = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
    return subprocess.Popen([*PROGRAM, "generate", *map(str, words)], cwd=folder, **held)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path, unbuffered: str) -> None:
    wanted = model(str(tmp_path / "m.npz")).generate("ab", 100, seed=1).encode()[:100]
    words = ["m.npz", "ab", "--length", FOREVER, "--seed", 1]
    with process(tmp_path, *words, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        found = b""
        while len(found) < 100:
            found += os.read(running.stdout.fileno(), 100 - len(found))
        running.stdout.close()
        assert running.wait(60) == 1
        assert (found, running.stderr.read()) == (wanted, b"")


def test_head_takes_what_it_wants(tmp_path: Path) -> None:
    wanted = model(str(tmp_path / "m.npz"), vocabulary="abcdef").generate("a", 100, seed=1)
    script = f'"$@" generate m.npz a --length {FOREVER} --seed 1 | head -c 100'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, wanted, "")


def test_stdout_that_is_closed_or_full(tmp_path: Path) -> None:
    model(str(tmp_path / "m.npz"))
    for place, message in {
        ">&-": "rnn-backends: error: stdout is closed; name a file with --output.\n",
        ">/dev/full": "rnn-backends: error: stdout cannot be written: No space left on device.\n",
    }.items():
        if place == ">/dev/full" and not Path("/dev/full").exists():
            continue
        for length in (5, 100000):
            script = f'"$@" generate m.npz a --length {length} --seed 1 {place}'
            done = subprocess.run(["sh", "-c", script, "sh", *PROGRAM], cwd=tmp_path, capture_output=True, check=False)
            assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", message)


def test_a_seed_is_never_shown_on_stdout(tmp_path: Path) -> None:
    model(str(tmp_path / "m.npz"))
    script = '"$@" generate m.npz a --length 5 2>&-'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, len(done.stdout)) == (0, 5)


def test_stdout_that_cannot_spell_a_character(tmp_path: Path) -> None:
    text = model(str(tmp_path / "m.npz")).generate("ab", 60, seed=1)
    with process(
        tmp_path, "m.npz", "ab", "--length", 60, "--seed", 1, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    ) as run:
        out, err = run.communicate()
    assert (run.returncode, out, err) == (0, text.encode("ascii", "backslashreplace"), b"")


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="the examples are not here")
def test_a_trained_model(generate: Run) -> None:
    rnn = rb.load(SHAKESPEARE)
    start = monotonic()
    found = generate(SHAKESPEARE, "ROMEO:\n", "--seed", 3, "--temperature", 0.7)
    assert found == (0, rnn.generate("ROMEO:\n", 200, temperature=0.7, seed=3), "")
    assert monotonic() - start < 60
