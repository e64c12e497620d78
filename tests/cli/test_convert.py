"""The commands `convert` and `info MODEL`: what they tell of a file, and what they refuse to leave behind."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras_files as kf
import numpy as np
import pytest
from commands import Run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rnn_backends as rb
from rnn_backends import formats
from rnn_backends.backends.selection import parse
from rnn_backends.cli import contents, runtime
from rnn_backends.formats import WRITTEN

DATA = Path(__file__).parents[1] / "data"
SUFFIXES = (".npz", ".safetensors", ".onnx")


def model(**options: Any) -> rb.RNN:
    """Two layers, of which the second has cells that differ in all that cells can differ in."""
    first, second = rb.RNN.init(3, 4, num_layers=2, bidirectional=True, seed=5).layers
    forward, backward = (cell for cell, _ in second.cells)
    assert isinstance(forward, rb.Cell)
    assert isinstance(backward, rb.Cell)
    cells = (
        rb.Cell(forward.weight_ih, forward.weight_hh, None, "relu", clip=6.0, leak=0.5),
        rb.Cell(backward.weight_ih, backward.weight_hh, backward.bias, rb.Activation("leaky_relu", alpha=0.25)),
    )
    readout = rb.Linear(np.linspace(-1, 1, 16, dtype="f4").reshape(2, 8))
    return rb.RNN([first, rb.Layer(*cells)], readout, **options)


TABLE = """\
model       m.npz: 3 -> 4+4 -> 4+4 -> 2, 180 parameters
dtype       float32
input       (batch, seq_len, input_size), features or token ids
encoder     none
h_0         none
reads       steps
readout     8 -> 2, softmax, no bias
vocabulary  none
metadata    source: a paper
            licence: MIT

layer  direction  kind  input size  hidden size  activation              clip  leak  bias  dtype
0      forward    Cell  3           4            tanh                    none  none  yes   float32
0      backward   Cell  3           4            tanh                    none  none  yes   float32
1      forward    Cell  8           4            relu                    6.0   0.5   no    float32
1      backward   Cell  8           4            leaky_relu(alpha=0.25)  none  none  yes   float32
"""


# The table


def test_info_tells_what_a_file_holds(run: Run) -> None:
    model(batch_first=True, metadata={"source": "a paper", "licence": "MIT"}).save("m.npz")
    assert run("info", "m.npz") == (0, TABLE, "")


def test_convert_tells_the_same_and_what_it_wrote(run: Run) -> None:
    rnn = model(batch_first=True, metadata={"source": "a paper", "licence": "MIT"})
    rnn.save("m.npz")
    code, out, err = run("convert", "m.npz", "m.safetensors")
    assert (code, err) == (0, "")
    size = Path("m.safetensors").stat().st_size
    assert out == (
        f"{TABLE}\nwritten    m.safetensors, {size} bytes\n"
        "read back  it gives the same bits as what was read from m.npz, on random input of shape (3, 8, 3)\n"
    )
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    np.testing.assert_array_equal(rb.load("m.safetensors").probabilities(x), rnn.probabilities(x))


def test_info_for_machines_has_the_same(run: Run) -> None:
    model(batch_first=True, metadata={"source": "a paper"}).save("m.npz")
    code, out, err = run("info", "m.npz", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    layers = found.pop("layers")
    readout = {
        "input_size": 8,
        "output_size": 2,
        "activation": {"name": "softmax", "alpha": None, "beta": None},
        "bias": False,
    }
    assert found == {
        "model": "m.npz",
        "reason": None,
        "parameters": 180,
        "dtype": "float32",
        "batch_first": True,
        "input_size": 3,
        "takes": None,
        "encoder": [],
        "h_0": None,
        "noise": None,
        "reads": "steps",
        "readout": readout,
        "head": [readout],
        "vocabulary": None,
        "unknown": None,
        "metadata": {"source": "a paper"},
    }
    assert [(cell["layer"], cell["direction"], cell["input_size"]) for cell in layers] == [
        (0, "forward", 3),
        (0, "backward", 3),
        (1, "forward", 8),
        (1, "backward", 8),
    ]
    assert layers[2] == {
        "layer": 1,
        "direction": "forward",
        "kind": "Cell",
        "input_size": 8,
        "hidden_size": 4,
        "activation": {"name": "relu", "alpha": None, "beta": None},
        "clip": 6.0,
        "leak": 0.5,
        "bias": False,
        "dtype": "float32",
    }
    assert layers[3]["activation"] == {"name": "leaky_relu", "alpha": 0.25, "beta": None}


def test_a_terminal_is_shown_no_control_characters(run: Run) -> None:
    rnn = rb.RNN.init(3, 4)
    notes = {"a\x1b[2J": "\x9b31m\u202e", "long": "y" * 5000}
    rb.RNN(rnn.layers, vocabulary="a\n\u009b", metadata=notes).save("m.npz")
    out = run("info", "m.npz").out
    rows = out.splitlines()
    assert all(row.isprintable() for row in rows)
    assert rows[2] == "input       (seq_len, batch), token ids"
    assert rows[6] == "readout     none"
    assert rows[7] == r"vocabulary  3 characters, 'a\n\x9b'"
    assert rows[8] == r"metadata    a\x1b[2J: \x9b31m\u202e"
    assert rows[9] == f"            long: {'y' * 194}..."
    assert json.loads(run("info", "m.npz", "--json").out)["metadata"] == notes


def test_columns_of_a_missing_bias_and_readout() -> None:
    found = contents.describe(rb.RNN.init(3, 4, bias=False))
    assert list(contents.lines("m", found))[-1].split()[-2:] == ["no", "float32"]
    assert contents.sizes(found) == "3 -> 4, 28 parameters"


# info of a file that cannot be read


def test_info_tells_in_one_line_why_a_file_cannot_be_read(run: Run) -> None:
    Path("damaged.npz").write_bytes(b"PK\x03\x04")
    Path("folder.npz").mkdir()
    Path("m.txt").write_text("hello")
    Path("layers.pt").write_bytes((DATA / "layers.pt").read_bytes())
    for name, reason in (
        ("damaged.npz", "damaged.npz is no .npz file, or is damaged: "),
        ("no.npz", "No such file or directory."),
        ("layer.pt", "No such file or directory. Did you mean 'layers.pt'?"),
        ("folder.npz", "folder.npz is a directory, not a regular file; name a file in it."),
        ("m.txt", "it is in none of the formats that are read: safetensors, .npz"),
        ("layers.pt", "weights alone do not record the activation of the cells"),
    ):
        code, out, err = run("info", name)
        assert (code, err) == (1, "")
        first, *rest = out.splitlines()
        assert first.startswith(f"model  {name}: cannot be read: {reason}")
        machines = run("info", name, "--json")
        told = json.loads(machines.out)
        assert (machines.code, machines.err) == (1, "")
        assert told.pop("model") == name
        assert told.pop("reason") == first.partition(": cannot be read: ")[2]
        assert told.keys() == {"line", "options", "note"}
        assert [line.rpartition(":  ")[2] for line in rest] == [text for text in told.values() if text]


def test_info_prints_the_options_that_read_a_file(run: Run) -> None:
    """Followed as they are printed, and with the other meaning of x that the note names."""
    for name in ("word_lm.pt", "linear_before_rnn.pt", "mlx.safetensors", "minchar.npz"):
        path = DATA / "cases" / name
        *_, options, note = run("info", path).out.splitlines()
        words = shlex.split(options.removeprefix("The same as options of a command:  "))
        assert words
        result = run("info", path, *words)
        assert (result.code, "(seq_len, batch" in result.out) == (0, True)
        assert note.startswith("x is read as (seq_len, batch, ...); add batch_first=True, or --batch-first, if ")
        assert "(batch, seq_len" in run("info", path, *words, "--batch-first").out
        assert run("convert", path, "c.npz", *words).code == 0


def test_info_says_no_more_of_x_than_is_open(run: Run) -> None:
    path = DATA / "cases" / "word_lm.pt"
    assert "x is read" not in run("info", path, "--batch-first").out
    Path("m.weights.h5").write_bytes(kf.hdf5(kf.cell_arrays("layers/simple_rnn")))
    note = json.loads(run("info", "m.weights.h5", "--json").out)["note"]
    assert note.startswith("x is read as (batch, seq_len, ...); add batch_first=False, or --no-batch-first, if ")


def test_info_prints_the_line_that_reads_a_file(run: Run) -> None:
    for name in ("word_lm.pt", "linear_before_rnn.pt", "mlx.safetensors", "minchar.npz"):
        line = json.loads(run("info", DATA / "cases" / name, "--json").out)["line"]
        assert line.startswith(f"rnn_backends.load({str(DATA / 'cases' / name)!r}, ")
        assert isinstance(eval(line, {"rnn_backends": rb}), rb.RNN)
    line = json.loads(run("info", DATA / "cases" / "word_lm.pt", "--activation", "relu", "--json").out)["line"]
    assert "activation='relu', readout_activation='softmax'" in line


def test_info_survives_a_file_that_fills_the_memory(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(formats, "read", fail)
    assert run("info", "m.npz") == (1, "model  m.npz: cannot be read: MemoryError\n", "")


@pytest.mark.parametrize(
    "option", [["--activation", "tanh"], ["--batch-first"], ["--readout-activation", "relu"], ["--no-residual"]]
)
def test_info_takes_options_of_a_model_with_a_model_only(run: Run, option: list[str]) -> None:
    code, out, err = run("info", *option)
    assert (code, out) == (2, "")
    name = option[0].replace("--no-", "--")
    assert err.startswith(f"rnn-backends info: error: {name} is an option for a MODEL; name its file. See ")


# What a file does not tell is told in the same words by all commands


def bare(path: str = "bare.npz", **options: Any) -> rb.RNN:
    """Write a file of torch's names, without what this package would add; return what it is of."""
    rnn = rb.RNN.init(3, 4, activation="relu", output_size=2, seed=4, **options)
    held: dict[str, Any] = {**rnn.to_torch()}
    np.savez(path, **held)
    return rnn


TOLD = ("--activation", "relu", "--batch-first", "--readout-activation", "sigmoid")


@pytest.mark.parametrize("command", ["info", "run", "convert"])
def test_every_command_takes_what_a_file_does_not_tell(run: Run, command: str) -> None:
    rnn = bare()
    np.save("x.npy", np.ones((2, 5, 3)))
    words = {"info": [], "run": ["x.npy", "--output", "y.npy"], "convert": ["c.npz"]}[command]
    result = run(command, "bare.npz", *words, *TOLD)
    assert (result.code, result.err) == (0, "")
    assert rnn.readout is not None
    wanted = rb.RNN(rnn.layers, rb.Linear(rnn.readout.weight, rnn.readout.bias, "sigmoid"), batch_first=True)
    if command == "run":
        np.testing.assert_array_equal(np.load("y.npy"), wanted.probabilities(np.ones((2, 5, 3))))
    else:
        assert "\ninput       (batch, seq_len, input_size), features\n" in result.out
        assert "\nreadout     4 -> 2, sigmoid, bias\n" in result.out
        assert " relu " in result.out
    if command == "convert":
        np.testing.assert_array_equal(
            rb.load("c.npz").probabilities(np.ones((2, 5, 3))), wanted.probabilities(np.ones((2, 5, 3)))
        )
    switched = ["--no-batch-first" if word == "--batch-first" else word for word in TOLD]
    assert ("(seq_len, batch, input_size)" in run("info", "bare.npz", *switched).out) is True


@pytest.mark.parametrize("command", ["run", "convert"])
def test_options_that_a_file_tells_or_that_are_wrong(run: Run, command: str) -> None:
    model().save("m.npz")
    bare()
    np.save("x.npy", np.ones((5, 2, 3)))
    last = {"run": "x.npy", "convert": "c.npz"}[command]
    for name, option, message in (
        (
            "m.npz",
            ["--activation", "relu"],
            "m.npz: the file records the activation of its cells; leave --activation out.",
        ),
        ("m.npz", ["--no-batch-first"], "m.npz: the file records which axis is the batch; leave --batch-first out."),
        ("bare.npz", ["--activation", "rely"], "got 'rely'. Did you mean 'relu'?"),
        (
            "bare.npz",
            ["--residual"],
            "--residual is an option of Flax's parameters, not of this package's files; leave --residual out.",
        ),
        ("bare.npz", [], "weights alone do not record the activation of the cells"),
    ):
        code, out, err = run(command, name, last, *option)
        assert (code, out) == (1, "")
        assert message in err
    assert not Path("c.npz").exists()


def test_residual_is_told_of_a_msgpack_file(run: Run, msgpack: Any) -> None:
    draw = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        held = draw.normal(size=shape).astype("f4")
        return msgpack.ExtType(1, msgpack.packb((shape, "float32", held.tobytes())))

    tree = {"i": {"kernel": array(3, 4), "bias": array(4)}, "h": {"kernel": array(4, 4)}}
    Path("m.msgpack").write_bytes(msgpack.packb(tree))
    assert "pass --no-residual, or --residual if" in run("convert", "m.msgpack", "c.npz", "--activation", "tanh").err
    assert run("convert", "m.msgpack", "c.npz", "--activation", "tanh", "--residual").code == 0
    assert run("convert", "m.msgpack", "d.npz", "--activation", "tanh", "--no-residual").code == 0
    residual, plain = (rb.load(name).layers[0].forward for name in ("c.npz", "d.npz"))
    assert isinstance(residual, rb.Cell)
    assert isinstance(plain, rb.Cell)
    np.testing.assert_allclose(residual.weight_hh - plain.weight_hh, np.eye(4), atol=1e-6)


def test_masking_is_told_of_a_keras_file(run: Run) -> None:
    arrays = {**kf.cell_arrays("layers/simple_rnn"), "layers/embedding/vars/0": np.ones((7, 3), "f4")}
    kf.write(Path("m.keras"), [kf.embedding(mask_zero=True), kf.simple_rnn()], arrays)
    Path("m.weights.h5").write_bytes(kf.hdf5(arrays))
    told = ("--activation", "tanh", "--no-go-backwards")
    options: tuple[str, ...]
    for name, options in (("m.keras", ()), ("m.weights.h5", told)):
        assert "--masking" in run("convert", name, "c.npz", *options).err
        assert run("convert", name, "c.npz", *options, "--masking").code == 0
        assert rb.load("c.npz").metadata["keras mask"].startswith("x != 0; ")
    assert run("convert", "m.weights.h5", "d.npz", *told, "--no-masking").code == 0
    assert "keras mask" not in rb.load("d.npz").metadata


# What convert refuses


def test_wrong_usage_of_convert(run: Run) -> None:
    model().save("m.npz")
    before = Path("m.npz").read_bytes()
    Path("link.npz").symlink_to("m.npz")
    for out, message in (
        ("c.csv", f"the suffix of OUT must be one of {', '.join(WRITTEN)}; got 'c.csv'"),
        (
            "c.pt",
            f"the suffix of OUT must be one of {', '.join(WRITTEN)}; got 'c.pt'; for torch, make tensors of rnn.to_torch() by torch.from_numpy, and write them with torch.save",
        ),
        ("m.npz", "OUT would overwrite IN, 'm.npz'; choose another name"),
        ("./m.npz", "OUT would overwrite IN, 'm.npz'; choose another name"),
        ("link.npz", "OUT would overwrite IN, 'm.npz'; choose another name"),
    ):
        code, told, err = run("convert", "m.npz", out)
        assert (code, told) == (2, "")
        assert err == f"rnn-backends convert: error: {message}. See `rnn-backends convert --help`.\n"
    assert Path("m.npz").read_bytes() == before
    assert run("convert", "m.npz").code == 2


def test_files_that_cannot_be_read_or_written(run: Run) -> None:
    assert run("convert", "no.npz", "c.npz") == (
        1,
        "",
        "rnn-backends: error: cannot use 'no.npz': No such file or directory.\n",
    )
    model().save("m.npz")
    Path("folder.npz").mkdir()
    Path("m.txt").write_text("hello")
    for out, reason in (
        ("no/c.npz", "cannot be written: there is no folder 'no'."),
        ("m.npz/c.npz", "cannot be written: Not a directory."),
        ("folder.npz", "is no ordinary file, and cannot be replaced by one; choose another name."),
    ):
        assert run("convert", "m.npz", out) == (1, "", f"rnn-backends: error: {out!r} {reason}\n")


def test_an_output_that_is_there_is_replaced_through_its_link_and_keeps_its_mode(run: Run) -> None:
    model().save("m.npz")
    Path("there.npz").write_bytes(b"before")
    Path("there.npz").chmod(0o640)
    Path("link.npz").symlink_to("there.npz")
    assert run("convert", "m.npz", "link.npz").code == 0
    assert Path("link.npz").is_symlink()
    assert Path("there.npz").stat().st_mode & 0o777 == 0o640
    assert contents.describe(rb.load("there.npz")) == contents.describe(model())


@pytest.mark.parametrize("target", ["nowhere", "there.onnx"])
def test_the_suffix_is_that_of_the_link_not_of_what_it_leads_to(run: Run, target: str) -> None:
    model().save("m.npz")
    Path("link.npz").symlink_to(target)
    assert run("convert", "m.npz", "link.npz").code == 0
    assert contents.describe(rb.load("link.npz")) == contents.describe(model())


def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(run: Run) -> None:
    pytest.importorskip("onnx")
    model().save("m.npz")
    Path("c.onnx").write_bytes(b"before")
    code, out, err = run("convert", "m.npz", "c.onnx")
    assert (code, out) == (1, "")
    assert err == (
        "rnn-backends: error: the cell l1 has a leak, which ONNX's RNN has not; save the model as .safetensors or .npz.\n"
    )
    assert Path("c.onnx").read_bytes() == b"before"


def spoil(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """Have what is written hold something else than what is given."""
    write = formats.write_to
    monkeypatch.setattr(formats, "write_to", lambda file, network, path: write(file, change(network), path))


def changed(network: Any, **options: Any) -> Any:
    cell = network.layers[0].forward
    held = {name: getattr(cell, name) for name in ("weight_ih", "weight_hh", "bias", "activation", "clip", "leak")}
    layers = (rb.Layer(rb.Cell(**held | options), network.layers[0].backward), *network.layers[1:])
    return rb.RNN(layers, network.readout, batch_first=network.batch_first).placed.network


@pytest.mark.parametrize("there", [False, True])
def test_a_file_that_computes_something_else_is_not_left_there(
    run: Run, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    model().save("m.npz")
    if there:
        Path("c.npz").write_bytes(b"before")
    spoil(monkeypatch, lambda held: changed(held, weight_hh=np.ascontiguousarray(held.layers[0].forward.weight_hh.T)))
    code, out, err = run("convert", "m.npz", "c.npz")
    assert (code, out) == (1, "")
    assert err.startswith("rnn-backends: error: c.npz, read back, gives other hidden states, by as much as ")
    assert err.endswith("; this is a fault of this package, please report it.\n")
    assert Path("c.npz").exists() == there
    assert not there or Path("c.npz").read_bytes() == b"before"


def test_the_last_bit_counts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model().save("m.npz")

    def nudged(held: Any) -> Any:
        (readout,) = held.readout
        weight = np.array(readout.weight)
        weight[0, 0] = np.nextafter(weight[0, 0], np.float32(2))
        return replace(held, readout=rb.Linear(weight, readout.bias))

    spoil(monkeypatch, nudged)
    assert "c.npz, read back, gives other logits, by as much as " in run("convert", "m.npz", "c.npz").err


def test_an_option_that_is_lost_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rb.RNN(model().layers, model().readout, metadata={"source": "a paper"}).save("m.npz")
    spoil(monkeypatch, lambda held: rb.RNN(held.layers, held.readout).placed.network)
    err = run("convert", "m.npz", "c.npz").err
    assert "c.npz, read back, has another metadata: {} and not {'source': 'a paper'}; this is a fault" in err
    spoil(monkeypatch, lambda held: changed(held, clip=100.0))
    assert "c.npz, read back, has another layers: " in run("convert", "m.npz", "c.npz").err


def test_convert_runs_on_numpy_whatever_the_environment_says(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model().save("m.npz")
    monkeypatch.setenv("RNN_BACKEND", "nunpy")
    assert run("convert", "m.npz", "c.npz").code == 0
    assert run("info", "m.npz").out.startswith("model       m.npz: 3 -> ")


# Every pair of formats


def networks() -> st.SearchStrategy[rb.RNN]:
    @st.composite
    def draw_network(draw: st.DrawFn) -> rb.RNN:
        size = draw(st.integers(1, 5))
        rnn = rb.RNN.init(
            size,
            draw(st.integers(1, 5)),
            num_layers=draw(st.integers(1, 3)),
            bidirectional=draw(st.booleans()),
            activation=draw(st.sampled_from(["tanh", "relu", "softsign", rb.Activation("elu", alpha=0.25)])),
            bias=draw(st.booleans()),
            output_size=draw(st.none() | st.integers(2, 4)),
            seed=draw(st.integers(0, 99)),
            dtype=draw(st.sampled_from(["float32", "float64", "float16"])),
        )
        readout = rnn.readout
        if readout is not None:
            readout = rb.Linear(readout.weight, readout.bias, draw(st.sampled_from(["softmax", "sigmoid", "identity"])))
        vocabulary = draw(st.sampled_from([None, "abcde"[:size]]))
        return rb.RNN(rnn.layers, readout, batch_first=draw(st.booleans()), vocabulary=vocabulary, metadata={"a": "b"})

    return draw_network()


@pytest.mark.parametrize("first", SUFFIXES)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rnn=networks())
def test_any_format_becomes_any_other(run: Run, first: str, rnn: rb.RNN) -> None:
    if first == ".onnx":
        pytest.importorskip("onnx")
    rnn.save(f"from{first}")
    for last in SUFFIXES if first == ".onnx" else SUFFIXES[:2]:
        code, out, err = run("convert", f"from{first}", f"to{last}")
        assert (code, err) == (0, "")
        assert contents.describe(rb.load(f"to{last}")) == contents.describe(rnn)
        assert f"it gives the same bits as what was read from from{first}, on random input of shape (" in out
        for (name, one), (_, other) in zip(weights(rnn), weights(rb.load(f"to{last}")), strict=True):
            assert one.tobytes() == other.tobytes(), name


def weights(rnn: rb.RNN) -> list[tuple[str, Any]]:
    from rnn_backends.core.layers import named_arrays

    return list(named_arrays(rnn.placed.network))


@pytest.mark.parametrize("name", ["layers.pt", "cell.pth", "bfloat16.pt", "float16.pt", "float64.pt", "views.pt"])
def test_files_of_torch(run: Run, name: str) -> None:
    assert run("convert", DATA / name, "c.npz", "--activation", "tanh").code == 0
    source = rb.load(DATA / name, activation="tanh")
    x = np.random.default_rng(0).normal(size=(4, 2, contents.describe(source)["layers"][0]["input_size"]))
    np.testing.assert_array_equal(rb.load("c.npz")(x)[0], source(x)[0])


# ONNX Runtime


def test_without_onnx_runtime_it_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    rb.RNN.init(3, 4).save("m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    out = run("convert", "m.onnx", "c.npz").out
    assert out.splitlines()[-1] == "ONNX Runtime  is not installed, so m.onnx was not run by it"


@pytest.fixture(scope="session")
def onnxruntime() -> Any:
    pytest.importorskip("onnx")
    return pytest.importorskip("onnxruntime")


FILES = sorted(path.name for path in DATA.glob("torch_*.onnx"))


@pytest.mark.parametrize("name", FILES)
def test_whatever_a_graph_takes_is_drawn_in_sizes_that_fit(name: str) -> None:
    onnx = pytest.importorskip("onnx")
    from rnn_backends.formats.onnx import read_program
    from rnn_backends.formats.source import opened
    from rnn_backends.model.program import run_program

    model = onnx.load(DATA / name)
    with opened(DATA / name) as source:
        program = read_program(source)
    inputs = runtime.random_inputs(program)
    assert inputs.keys() == {info.name for info in model.graph.input}
    for info in model.graph.input:
        declared = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        assert all(want in {0, size} for want, size in zip(declared, inputs[info.name].shape, strict=True))
    found = run_program(program, inputs, parse("numpy", "the tests"))
    exact = run_program(program, inputs, parse("numpy", "the tests"), "float64")
    for one, other in zip(found, exact, strict=True):
        assert (one.dtype.name, other.dtype.name) == ("float32", "float64")
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_onnx_runtime_runs_what_torch_exported(run: Run, onnxruntime: Any, name: str) -> None:
    code, out, err = run("convert", DATA / name, "c.onnx")
    assert (code, err) == (0, "")
    first, second = out.splitlines()[-2:]
    for row, file in ((first, DATA / name), (second, "c.onnx")):
        label, told = row.split("  ", 1)
        assert label == "ONNX Runtime"
        start = f"{onnxruntime.__version__} runs {file}: it differs by at most "
        assert told.startswith(start)
        assert float(told.removeprefix(start)) < 1e-5


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rnn=networks())
def test_onnx_runtime_runs_what_is_written(run: Run, onnxruntime: Any, rnn: rb.RNN) -> None:
    rnn.save("m.npz")
    code, out, err = run("convert", "m.npz", "m.onnx")
    assert (code, err) == (0, "")
    found = "runs m.onnx: it differs by at most " if rnn.dtype != "float64" else "cannot run m.onnx: "
    assert out.splitlines()[-1].startswith(f"ONNX Runtime  {onnxruntime.__version__} {found}")


@pytest.mark.parametrize("side", ["source", "target"])
def test_what_onnx_runtime_computes_otherwise_is_refused(
    run: Run, onnxruntime: Any, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """It takes 0 for the defaults of Affine, which are 1 and 0."""
    import onnx

    rb.RNN.init(3, 4, activation="affine").save("m.onnx")
    made = onnx.load("m.onnx")
    (node,) = [node for node in made.graph.node if node.op_type == "RNN"]
    for name in ("activation_alpha", "activation_beta"):
        node.attribute.remove(next(held for held in node.attribute if held.name == name))
    if side == "source":
        onnx.save(made, "m.onnx")
        code, out, err = run("convert", "m.onnx", "c.npz")
    else:
        rb.load("m.onnx").save("m.npz")
        monkeypatch.setattr(formats, "write_to", lambda file, *_: file.write(made.SerializeToString()))
        code, out, err = run("convert", "m.npz", "c.onnx")
    assert (code, out) == (1, "")
    assert "ONNX Runtime computes another 'output' of this graph than this package: " in err
    assert "docs/onnx.md lists where ONNX Runtime leaves the specification" in err
    assert not list(Path().glob("c.*"))


def test_bfloat16_inputs_are_none_that_numpy_has(run: Run, onnxruntime: Any) -> None:
    import onnx
    from onnx import TensorProto, helper

    names = {"W": [1, 4, 3], "R": [1, 4, 4]}
    graph = helper.make_graph(
        [helper.make_node("RNN", ["x", "W", "R"], ["y"], hidden_size=4)],
        "rnn",
        [helper.make_tensor_value_info("x", TensorProto.BFLOAT16, ["t", "b", 3])],
        [helper.make_tensor_value_info("y", TensorProto.BFLOAT16, None)],
        [helper.make_tensor(name, TensorProto.BFLOAT16, shape, np.full(np.prod(shape), 0.25)) for name, shape in names.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)]), "m.onnx")
    out = run("convert", "m.onnx", "c.npz").out
    assert out.splitlines()[-1] == (
        f"ONNX Runtime  {onnxruntime.__version__} cannot run m.onnx: its input 'x' is bfloat16, which NumPy has not."
    )


@pytest.mark.parametrize(
    ("wrong", "allowed"), [(0.0, True), (2e-5, True), (1e-4, False), (np.nan, False), (np.inf, False)]
)
def test_differences_that_rounding_does_not_explain(wrong: float, allowed: bool) -> None:
    """They are judged by our own error, 1e-6 here, of which 64 are allowed."""
    exact = np.array([1.0, -2.0])
    ours, theirs = exact + np.array([0.0, 1e-6]), exact + np.array([wrong, 0.0])
    if allowed:
        assert runtime._difference(("y", theirs, ours, exact)) == abs(theirs - ours).max()
        return
    with pytest.raises(
        rb.WrongResultError, match=r"another 'y' of this graph than this package: .* where rounding explains 6.4e-05"
    ):
        runtime._difference(("y", theirs, ours, exact))


@pytest.mark.parametrize(("dtype", "roundoff"), [("float16", 2.0**-11), ("float32", 2.0**-24)])
def test_where_ours_is_exact_some_roundings_are_allowed(dtype: str, roundoff: float) -> None:
    exact = np.array([0.5])
    near, far = (np.asarray(exact + n * roundoff, dtype) for n in (32, 128))
    assert runtime._difference(("y", near, exact.astype(dtype), exact)) == 32 * roundoff
    with pytest.raises(rb.WrongResultError):
        runtime._difference(("y", far, exact.astype(dtype), exact))


def test_what_both_call_infinite_or_nan_is_no_difference() -> None:
    held = np.array([np.inf, np.nan, -np.inf])
    assert runtime._difference(("y", held, held, held)) == 0.0


def test_converting_imports_no_framework() -> None:
    script = """
import sys
from rnn_backends.cli.main import main
code = main(sys.argv[1:])
sys.exit(code or bool({"torch", "jax", "onnx", "onnxruntime", "flax", "keras"} & sys.modules.keys()))
"""
    words = [sys.executable, "-c", script, "info", str(DATA / "layers.pt"), "--activation", "tanh"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("model ")
