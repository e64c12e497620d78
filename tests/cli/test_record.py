"""The commands `info` and `convert` of all that a network may hold."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run

import rnn_backends as rb
from rnn_backends import formats
from rnn_backends.cli import contents
from rnn_backends.core.network import READS, Network


def draw(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("f4")


def cell(size: int, hidden: int, **options: Any) -> rb.Cell:
    return rb.Cell(draw(hidden, size), draw(hidden, hidden), draw(hidden), **options)


def uneven(**options: Any) -> rb.RNN:
    """Cells of several sizes, an encoder and a head of two each, words, and an initial state."""
    layers = [rb.Layer(cell(6, 3, leak=np.array([0.1, 0.5, 0.9], "f4")), cell(6, 4)), rb.Layer(cell(7, 5))]
    head = [rb.Linear(draw(8, 5), activation="relu"), rb.Linear(draw(4, 8), draw(4))]
    encoder = [rb.Linear(draw(9, 4), activation="tanh"), rb.Linear(draw(6, 9), draw(6))]
    held = {"h_0": (draw(3), draw(4), draw(5)), "vocabulary": ["the", "cat", "s\x1bt", "<unk>"], "unknown": "<unk>"}
    return rb.RNN(layers, head, **{"encoder": encoder, "reads": "mean", "batch_first": True, **held, **options})


def even(**options: Any) -> rb.RNN:
    readout = rb.Linear(draw(2, 8), activation="sigmoid")
    return rb.RNN([rb.Layer(cell(3, 4), cell(3, 4)), rb.Layer(cell(8, 4), cell(8, 4))], readout, **options)


TABLE = """\
model       m.npz: 4 -> 9 -> 6 -> 3+4 -> 5 -> 8 -> 4, 326 parameters
dtype       float32
input       (batch, seq_len), token ids
encoder     4 -> 9, tanh, no bias
            9 -> 6, identity, bias
h_0         one for each cell, (3,), (4,), (5,)
reads       mean
readout     5 -> 8, relu, no bias
            8 -> 4, softmax, bias
vocabulary  4 words, 'the', 'cat', 's\\x1bt', '<unk>'; unknown: '<unk>'
metadata    none

layer  direction  kind  input size  hidden size  activation  clip  leak        bias  dtype
0      forward    Cell  6           3            tanh        none  0.1 to 0.9  yes   float32
0      backward   Cell  6           4            tanh        none  none        yes   float32
1      forward    Cell  7           5            tanh        none  none        yes   float32
"""


def test_info_shows_the_whole_record(run: Run) -> None:
    uneven().save("m.npz")
    assert run("info", "m.npz") == (0, TABLE, "")


def test_info_for_machines_has_the_whole_record(run: Run) -> None:
    uneven().save("m.npz")
    found = json.loads(run("info", "m.npz", "--json").out)
    assert {name: found[name] for name in ("input_size", "takes", "reads", "h_0", "vocabulary", "unknown")} == {
        "input_size": 4,
        "takes": "tokens",
        "reads": "mean",
        "h_0": [[3], [4], [5]],
        "vocabulary": ["the", "cat", "s\x1bt", "<unk>"],
        "unknown": "<unk>",
    }
    linears = {
        part: [
            (each["input_size"], each["output_size"], each["activation"]["name"], each["bias"]) for each in found[part]
        ]
        for part in ("encoder", "head")
    }
    assert linears == {
        "encoder": [(4, 9, "tanh", False), (9, 6, "identity", True)],
        "head": [(5, 8, "relu", False), (8, 4, "softmax", True)],
    }
    assert found["readout"] == found["head"][-1]
    assert [(each["hidden_size"], each["leak"]) for each in found["layers"]] == [
        (3, {"min": pytest.approx(0.1), "max": pytest.approx(0.9)}),
        (4, None),
        (5, None),
    ]


@pytest.mark.parametrize(
    ("options", "row"),
    [
        ({}, "input       (seq_len, batch, input_size), features or token ids"),
        ({"takes": "features"}, "input       (seq_len, batch, input_size), features"),
        ({"takes": "tokens"}, "input       (seq_len, batch), token ids"),
        ({"vocabulary": "abc"}, "vocabulary  3 characters, 'abc'"),
        ({"vocabulary": "abc", "unknown": "b"}, "vocabulary  3 characters, 'abc'; unknown: 'b'"),
        ({"vocabulary": ["w" * 150, "x" * 150]}, f"vocabulary  2 words, '{'w' * 150}', '{'x' * 45}..."),
        ({"h_0": draw(4, 4)}, "h_0         one array, (4, 4)"),
        ({}, "h_0         none"),
        ({"reads": "final"}, "reads       final"),
        ({}, "readout     8 -> 2, sigmoid, no bias"),
        ({}, "encoder     none"),
        ({"encoder": rb.Linear(draw(3, 7))}, "encoder     7 -> 3, identity, no bias"),
        ({"encoder": rb.Linear(draw(3, 7))}, "model       m.npz: 7 -> 3 -> 4+4 -> 4+4 -> 2, 205 parameters"),
    ],
)
def test_a_row_of_info(run: Run, options: dict[str, Any], row: str) -> None:
    even(**options).save("m.npz")
    assert row in run("info", "m.npz").out.splitlines()


def test_a_head_is_null_where_there_is_none(run: Run) -> None:
    rb.RNN([cell(3, 4)]).save("m.npz")
    found = json.loads(run("info", "m.npz", "--json").out)
    assert [found[name] for name in ("readout", "head", "encoder", "h_0")] == [None, [], [], None]


def test_reads_and_takes_of_weights_alone(run: Run) -> None:
    state: dict[str, Any] = {**rb.RNN.init(3, 4, output_size=2).to_torch()}
    np.savez("bare.npz", **state)
    words = [
        "bare.npz",
        "--activation",
        "tanh",
        "--readout-activation",
        "softmax",
        "--reads",
        "max",
        "--takes",
        "tokens",
    ]
    rows = run("info", *words).out.splitlines()
    assert "reads       max" in rows
    assert "input       (seq_len, batch), token ids" in rows
    assert run("convert", words[0], "c.npz", *words[1:]).code == 0
    assert (rb.load("c.npz").reads, rb.load("c.npz").takes) == ("max", "tokens")
    words[words.index("max")] = "first"
    err = run("convert", words[0], "d.npz", *words[1:]).err
    assert "'first'" in err
    assert "steps, last, final, mean, max" in err
    assert run("info", "--reads", "max").code == 2


def test_run_reads_what_it_is_given_of_a_graph_that_leaves_it_open(run: Run) -> None:
    onnx = pytest.importorskip("onnx")
    rb.RNN([cell(3, 4)], rb.Linear(draw(2, 4)), reads="last").save("m.onnx")
    model = onnx.load("m.onnx")
    (take,) = (node for node in model.graph.node if node.op_type == "Gather")
    (place,) = (tensor for tensor in model.graph.initializer if tensor.name == take.input[1])
    place.CopyFrom(onnx.numpy_helper.from_array(np.array(0), place.name))
    del model.metadata_props[:]
    onnx.save(model, "first.onnx")
    x = draw(6, 2, 3)
    np.save("x.npy", x)
    assert "pass --reads steps" in run("run", "first.onnx", "x.npy").err
    assert "pass --reads steps" in run("run", "first.onnx", "x.npy", "--reads", "last").err
    assert run("run", "first.onnx", "x.npy", "--reads", "steps", "--output", "y.npy").code == 0
    np.testing.assert_allclose(np.load("y.npy"), rb.load("m.onnx").probabilities(x, reads="steps"), rtol=1e-5)
    assert run("run", "m.onnx", "x.npy", "--reads", "steps").code == 0
    assert "rnn_backends.load('first.onnx', reads='steps')" in run("info", "first.onnx").out


# convert


MODELS: dict[str, Callable[[], rb.RNN]] = {
    "uneven": uneven,
    "without readout": lambda: rb.RNN([cell(3, 4), cell(4, 2)], h_0=(draw(4), draw(2))),
    "tokens": lambda: rb.RNN([cell(3, 4)], encoder=rb.Linear(draw(3, 50)), takes="tokens", reads="final"),
    "features": lambda: even(takes="features", batch_first=True),
    "initial state": lambda: even(h_0=draw(4, 4), reads="last"),
    "characters": lambda: even(vocabulary="abc", unknown="c"),
    "encoder of features": lambda: even(encoder=[rb.Linear(draw(5, 7), draw(5), "relu"), rb.Linear(draw(3, 5))]),
    "wide": lambda: even(reads="max").to(dtype="float64"),
    "half": lambda: even(reads="mean", h_0=draw(4, 4)).to(dtype="float16"),
} | {reads: lambda reads=reads: even(reads=reads) for reads in READS}


@pytest.mark.parametrize("name", MODELS)
def test_any_model_becomes_any_native_format_and_back(run: Run, name: str) -> None:
    rnn = MODELS[name]()
    rnn.save("a.npz")
    for first, second in (("a.npz", "b.safetensors"), ("b.safetensors", "c.npz")):
        code, out, err = run("convert", first, second)
        assert (code, err) == (0, "")
        assert f"it gives the same bits as what was read from {first}, on random input of shape (" in out
        assert contents.describe(rb.load(second)) == contents.describe(rnn)
    shape = (3, 8) if rnn.batch_first else (8, 3)
    assert f"of shape {shape if rnn.takes == 'tokens' else (*shape, rnn.input_size)}\n" in out


LOST: dict[str, tuple[Callable[[Any], Network], str]] = {
    "reads": (lambda held: replace(held, reads="max"), "another reads: 'max' and not 'mean'"),
    "takes": (
        lambda held: replace(held, vocabulary=None, unknown=None, takes=None),
        "another takes: None and not 'tok",
    ),
    "unknown": (lambda held: replace(held, unknown=None), "another unknown: None and not '<unk>'"),
    "vocabulary": (
        lambda held: replace(held, vocabulary=(*held.vocabulary[1:], "the")),
        "another vocabulary: ['cat', ",
    ),
    "h_0": (lambda held: replace(held, h_0=None), "another parameters: 314 and not 326"),
    "head": (lambda held: replace(held, readout=(rb.Linear(draw(4, 5)),)), "another parameters: "),
    "activation": (
        lambda held: replace(held, encoder=(activated(held.encoder[0]), held.encoder[1])),
        "another encoder: ",
    ),
    "states": (
        lambda held: replace(held, h_0=(*held.h_0[:2], held.h_0[2] * 2)),
        "gives other hidden states, by as much",
    ),
    "leak": (lambda held: leaking(held, 0.2, 0.5, 0.9), "another layers: "),
    "a leak between": (lambda held: leaking(held, 0.1, 0.6, 0.9), "gives other hidden states, by as much"),
}


def activated(linear: rb.Linear) -> rb.Linear:
    return replace(linear, activation="relu")


def leaking(held: Network, *leak: float) -> Network:
    first = held.layers[0]
    assert isinstance(first.forward, rb.Cell)
    changed = rb.Layer(replace(first.forward, leak=np.array(leak, "f4")), first.backward)
    return replace(held, layers=(changed, *held.layers[1:]))


@pytest.mark.parametrize("name", LOST)
def test_what_is_lost_of_a_record_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    change, message = LOST[name]
    uneven().save("m.npz")
    write = formats.write_to
    monkeypatch.setattr(formats, "write_to", lambda file, network, path: write(file, change(network), path))
    code, out, err = run("convert", "m.npz", "c.npz")
    assert (code, out) == (1, "")
    assert f"c.npz, read back, {'has ' if message.startswith('another') else ''}{message}" in err
    assert "this is a fault of this package" in err
    assert not Path("c.npz").exists()


def test_the_last_states_of_each_cell_count(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the cells below make no difference to the outputs of a last layer of zeros."""
    top = rb.Cell(np.zeros((2, 4), "f4"), np.zeros((2, 2), "f4"))
    rnn = rb.RNN([cell(3, 4), top], readout=rb.Linear(draw(2, 2)))
    rnn.save("m.npz")
    write = formats.write_to
    below = replace(cell(3, 4), bias=draw(4) * 2)
    other = replace(rnn.placed.network, layers=(rb.Layer(below), rb.Layer(top)))
    monkeypatch.setattr(formats, "write_to", lambda file, _, path: write(file, other, path))
    err = run("convert", "m.npz", "c.npz").err
    assert "c.npz, read back, gives other last states of cell 0, by as much as " in err
