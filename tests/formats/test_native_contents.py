"""Files of this package: arrays, descriptions and options that make no network are refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_files import (
    SUFFIXES,
    Change,
    activation,
    assert_same,
    bare,
    description,
    drop,
    little_memory,
    put,
    refuse,
    unbiased,
    weights,
    write,
    zeros,
)
from numpy.typing import NDArray

import rnn_backends as rb


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"model{request.param}"


def torch_named() -> dict[str, NDArray[Any]]:
    held = bare()
    bias = held.pop("bias_l0")
    return held | {"bias_ih_l0": bias, "bias_hh_l0": bias[::-1] * 2}


def test_torchs_two_biases_are_added(path: Path) -> None:
    held = torch_named()
    rnn = rb.load(write(path, held), activation="relu")
    cell = rnn.layers[0].forward
    assert isinstance(cell, rb.Cell)
    assert cell.activation == rb.Activation("relu")
    np.testing.assert_array_equal(cell.weight_ih, held["weight_ih_l0"])
    np.testing.assert_array_equal(cell.weight_hh, held["weight_hh_l0"])
    np.testing.assert_array_equal(cell.bias, held["bias_ih_l0"] + held["bias_hh_l0"])
    rnn.save(path)
    assert_same(rb.load(path), rnn)


def test_a_state_dict_of_torch_computes_what_torch_does(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    module = torch.nn.RNN(2, 3, num_layers=2, bidirectional=True, nonlinearity="relu", dtype=torch.float64)
    path = tmp_path / "m.safetensors"
    save_file(module.state_dict(), path)
    x = np.random.default_rng(1).normal(size=(6, 2, 2))
    with torch.no_grad():
        wanted, wanted_h_n = module(torch.from_numpy(x))
    output, h_n = rb.load(path, activation="relu")(x)
    np.testing.assert_allclose(output, wanted.numpy(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(h_n, wanted_h_n.numpy(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("g2", ["softmax", "identity", "sigmoid"])
def test_a_readout_without_a_description_has_the_activation_that_is_given(path: Path, g2: str) -> None:
    rnn = rb.load(write(path, weights()), activation=rb.Activation("leaky_relu", 0.5), readout_activation=g2)
    assert rnn.readout is not None
    assert rnn.readout.activation == rb.Activation(g2)
    assert [layer.forward.activation for layer in rnn.layers if isinstance(layer.forward, rb.Cell)] == [
        rb.Activation("leaky_relu", 0.5)
    ] * 2


def test_the_activation_of_a_readout_is_not_guessed(path: Path) -> None:
    wanted = (
        r"do not record its activation, g2; pass readout_activation='softmax' if .*'identity' .* if it gives values"
    )
    refuse(write(path, weights(), None), wanted, activation="tanh", roles={"readout": "readout"})


def test_the_activation_is_needed_where_the_file_does_not_record_it(path: Path) -> None:
    refuse(write(path, torch_named()), r"weights alone do not record the activation .* pass .* activation='tanh'")


def test_a_file_that_records_the_activation_takes_no_other(path: Path) -> None:
    refuse(write(path, weights(), description()), "records the activation .* leave `activation` out", activation="tanh")


def test_an_unknown_activation_for_a_file_is_an_argument_error(path: Path) -> None:
    with pytest.raises(rb.ArgumentError, match=r"`activation` must be a callable or one of .*; got 'tahn'"):
        rb.load(write(path, torch_named()), activation="tahn")


WRONG_ARRAYS: dict[str, tuple[dict[str, NDArray[Any] | None], str]] = {
    "weight_ih is no matrix": ({"weight_ih_l0": zeros(6)}, "cell l0 .*`weight_ih` must be a matrix .* shape .6,"),
    "weight_ih is empty": ({"weight_ih_l0": zeros(3, 0)}, r"`weight_ih` must be a matrix .*\(3, 0\)"),
    "weight_hh is not square": ({"weight_hh_l0": zeros(3, 2)}, r"cell l0 .*`weight_hh` must .*\(3, 3\); got \(3, 2\)"),
    "weight_hh of layer 1": ({"weight_hh_l1": zeros(2, 2)}, r"cell l1 .*`weight_hh` must .*\(3, 3\); got \(2, 2\)"),
    "bias is a row": ({"bias_l0": zeros(1, 3)}, r"cell l0 .*`bias` must have shape .*; got \(1, 3\)"),
    "bias is one number": ({"bias_l0": zeros(1)}, r"`bias` must have shape .*; got \(1,\)"),
    "bias has no axis": ({"bias_l0": zeros()}, r"`bias` must have shape .*; got \(\)"),
    "layers do not fit": ({"weight_ih_l1": zeros(3, 2)}, r"`layers\[1\].forward` must take 3 features"),
    "readout does not fit": ({"readout.weight": zeros(2, 2)}, "readout must have shape .output_size, 3."),
    "readout.bias does not fit": ({"readout.bias": zeros(3)}, "bias` of a `Linear` must have shape .output_size,"),
    "two dtypes": ({"bias_l1": zeros(3, dtype="<f8")}, "all parameters must have one dtype"),
    "integers": ({"bias_l0": zeros(3, dtype="<i8")}, "`bias` must be one of float16, bfloat16, float32, float64; got"),
    "bytes": ({"bias_l0": zeros(3, dtype="|u1")}, "`bias` must be one of float16, bfloat16, float32, float64; got"),
    "no weight_hh": ({"weight_hh_l1": None}, "l1 must have weight_ih, weight_hh .*it has bias, weight_ih"),
    "no weight_ih": ({"weight_ih_l0": None}, "l0 must have weight_ih, weight_hh .*it has bias, weight_hh"),
    "no layer 0": (
        {"weight_ih_l0": None, "weight_hh_l0": None, "bias_l0": None},
        r"layers 0, 1, ... without a gap; there are 1\.",
    ),
    "readout.bias alone": ({"readout.weight": None}, "is a readout.bias but no readout.weight"),
    "one of two biases": ({"bias_ih_l0": zeros(3), "bias_l0": None}, "l0 must have .*it has bias_ih, weight_hh"),
    "three biases": ({"bias_ih_l0": zeros(3), "bias_hh_l0": zeros(3)}, "l0 must have .*it has bias, bias_hh, bias_ih"),
    "two biases that broadcast": (
        {"bias_l0": None, "bias_ih_l0": zeros(3), "bias_hh_l0": zeros(1)},
        "bias_ih_l0 and bias_hh_l0 must be alike",
    ),
    "two biases of two dtypes": (
        {"bias_l0": None, "bias_ih_l0": zeros(3), "bias_hh_l0": zeros(3, dtype="<f8")},
        "bias_ih_l0 and bias_hh_l0 must be alike",
    ),
    "an unknown array": ({"weight_hr_l0": zeros(3, 3)}, "'weight_hr_l0' is no parameter of an RNN"),
    "a number spelt twice": ({"weight_ih_l00": zeros(3, 2)}, "'weight_ih_l00' is no parameter"),
    "another kind of digit": ({"weight_ih_l\u0661": zeros(3, 2)}, r"'weight_ih_l\\u0661' is no parameter"),
    "a line break": ({"weight_ih_l0\n": zeros(3, 2)}, r"'weight_ih_l0\\n' is no parameter"),
}


UNDESCRIBED = {
    "weight_hh of layer 1": r"'readout' \(3 -> 2\) .* the RNN, which takes 2 features and gives 2;",
    "readout does not fit": r"'readout' \(2 -> 2\) .* the RNN, which takes 2 .* gives 3; pass roles=",
    "readout.bias does not fit": "'readout.bias'.* are those of a Linear whose bias or dtype does not fit",
    "readout.bias alone": "'readout.bias', .* is a bias without its weight",
    **dict.fromkeys(
        ["an unknown array", "a number spelt twice", "another kind of digit", "a line break"],
        "'weight_.*', of shape .* are those of a recurrent layer that is no",
    ),
}
"""What is said of some of them where no description names the arrays."""


@pytest.mark.parametrize("kind", WRONG_ARRAYS)
@pytest.mark.parametrize("described", [True, False])
def test_arrays_that_make_no_network_are_refused(path: Path, kind: str, described: bool) -> None:
    changes, match = WRONG_ARRAYS[kind]
    arrays = {name: array for name, array in (weights() | changes).items() if array is not None}
    if described:
        refuse(write(path, arrays, description()), match)
    else:
        match = UNDESCRIBED.get(kind, match)
        refuse(write(path, arrays), match, activation="tanh", readout_activation="softmax")


def test_a_gap_in_the_layers_is_refused(path: Path) -> None:
    arrays = {name.replace("_l1", "_l2"): array for name, array in weights().items()}
    refuse(
        write(path, arrays),
        r"layers 0, 1, ... without a gap; there are 0, 2\.",
        activation="tanh",
        readout_activation="softmax",
    )


def test_a_file_without_arrays_is_refused(path: Path) -> None:
    refuse(write(path, {}), "there is no recurrent network, .* among none", activation="tanh")


WRONG_DESCRIPTIONS: dict[str, tuple[Change, str]] = {
    "no version": (drop("format_version"), "format version None; this version of the package reads 1"),
    "a newer version": (
        put("format_version", value=4),
        "format version 4; this version of the package reads 1 to 3. A newer one has written it",
    ),
    "version true": (put("format_version", value=True), "format version True"),
    "version 1.0": (put("format_version", value=1.0), r"format version 1\.0"),
    "version as text": (put("format_version", value="1"), "format version '1'"),
    "no cells": (drop("cells"), r"description of the network lacks 'cells'"),
    "an unknown key": (put("residual", value=True), r"has unknown keys 'residual'"),
    "cells as list": (put("cells", value=[]), "'cells' of the description .* must be dict; got"),
    "a cell too few": (drop("cells", "l1"), r"cells lacks 'l1'"),
    "a cell too many": (put("cells", "l2", value={}), r"cells has unknown keys 'l2'"),
    "a cell as long text": (put("cells", "l1", value="t" * 5000), r"'l1' of cells must be dict; got 't{76}\.{4}$"),
    "a cell as text": (put("cells", "l1", value="tanh"), "'l1' of cells must be dict; got 'tanh'"),
    "a cell without clip": (drop("cells", "l1", "clip"), r"l1 lacks 'clip'"),
    "a cell with more": (put("cells", "l1", "gate", value=1), r"l1 has unknown keys 'gate'"),
    "clip as text": (put("cells", "l1", "clip", value="3"), "'clip' of l1 must be int or float or NoneType; got '3'"),
    "clip false": (put("cells", "l1", "clip", value=False), "'clip' of l1 must be int or float .*; got False"),
    "clip 0": (put("cells", "l1", "clip", value=0), "cell l1 is wrong: `clip` must be positive"),
    "clip NaN": (put("cells", "l1", "clip", value=float("nan")), "`clip` must be a finite number; got nan"),
    "clip beyond float": (put("cells", "l1", "clip", value=10**400), "cell l1 is wrong"),
    "leak 2": (put("cells", "l1", "leak", value=2), "`leak` must be in 0 < leak <= 1; got 2"),
    "leak as list": (put("cells", "l1", "leak", value=[0.5]), "'leak' of l1 must be int or float"),
    "activation as text": (put("cells", "l0", "activation", value="tanh"), "activation of l0 must be a JSON object"),
    "activation unknown": (activation("tahn"), "activation of l1 is wrong: .*one of identity, .*; got 'tahn'"),
    "activation of 5000": (
        activation("t" * 5000),
        "activation of l1 is wrong: .*one of identity, .*; got 't{76}\\.\\.\\.",
    ),
    "activation no text": (activation(["tanh"]), r"activation of l1 is wrong: .*; got list"),
    "activation null": (activation(None), "activation of l1 is wrong: .*; got None"),
    "alpha it has not": (activation("tanh", 1.0), "activation of l1 is wrong: .*'tanh' has no parameter `alpha`"),
    "alpha as text": (activation("elu", "1"), "activation of l1 is wrong: .*finite number; got '1'"),
    "alpha as object": (activation("elu", {}), "activation of l1 is wrong: .*finite number; got {}"),
    "alpha true": (activation("elu", True), "activation of l1 is wrong: .*finite number; got True"),
    "alpha infinite": (activation("elu", float("inf")), "activation of l1 is wrong: .*finite number; got inf"),
    "alpha beyond float": (activation("elu", 10**400), "activation of l1 is wrong"),
    "alpha missing": (activation("scaled_tanh", beta=1.0), "'scaled_tanh' needs `alpha`"),
    "beta dropped": (drop("cells", "l1", "activation", "beta"), r"activation of l1 lacks 'beta'"),
    "gamma": (put("cells", "l1", "activation", "gamma", value=1), r"activation of l1 has unknown keys 'gamma'"),
    "readout null": (
        put("readout", value=None),
        "must describe each Linear of its readout; it holds 1 and describes 0",
    ),
    "readout as text": (put("readout", value="softmax"), "activation of the readout must be a JSON object"),
    "readout unknown": (put("readout", "name", value="hardmax"), "activation of the readout is wrong: .*'hardmax'"),
    "batch_first as number": (put("batch_first", value=1), "'batch_first' of .* must be bool; got 1"),
    "batch_first null": (put("batch_first", value=None), "'batch_first' of .* must be bool; got None"),
    "vocabulary of numbers": (put("vocabulary", value=[1]), "the vocabulary must be a text or a list of texts"),
    "vocabulary with a double": (put("vocabulary", value="aa"), "`vocabulary` must hold each character once"),
    "metadata null": (put("metadata", value=None), "'metadata' of .* must be dict; got None"),
    "metadata not text": (put("metadata", "year", value=1990), "metadata must be text by name; got 'year': 1990"),
}


@pytest.mark.parametrize("kind", WRONG_DESCRIPTIONS)
def test_wrong_descriptions_are_refused(path: Path, kind: str) -> None:
    change, match = WRONG_DESCRIPTIONS[kind]
    held = description()
    change(held)
    refuse(write(path, weights(), held), match)


def test_a_description_of_a_readout_that_is_not_there_is_refused(path: Path) -> None:
    arrays = {name: array for name, array in weights().items() if "readout" not in name}
    refuse(write(path, arrays, description()), "must describe each Linear of its readout; it holds 0 and describes 1")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "description of the network is not valid JSON"),
        ("{", "description of the network is not valid JSON"),
        ("null", "description of the network must be a JSON object; got NoneType"),
        ("[1]", "description of the network must be a JSON object; got list"),
        ("1", "description of the network must be a JSON object; got int"),
        ('{"format_version": 1, "format_version": 1}', "not valid JSON: a key stands in it twice"),
        ('{"cells": {"l0": 1, "l\\u0030": 1}}', "not valid JSON: a key stands in it twice"),
        ("[" * 100_000, "description of the network would take 129 levels"),
        ('{"a":' * 100_000, "description of the network would take 129 levels"),
        ("9" * 5000, "description of the network is not valid JSON"),
    ],
    ids=lambda text: text[:20],
)
def test_descriptions_that_are_no_json_object_are_refused(path: Path, text: str, match: str) -> None:
    refuse(write(path, weights(), text), match)


def test_a_description_that_is_no_text_is_refused(tmp_path: Path) -> None:
    refuse(write(tmp_path / "m.npz", weights(), b'{"\xe9": 1}'), "description of the network is not valid JSON")


def test_biases_that_would_broadcast_to_terabytes_are_refused(path: Path) -> None:
    arrays = unbiased() | {"bias_ih_l0": zeros(1000, 1), "bias_hh_l0": zeros(1, 1000)}
    with little_memory():
        refuse(write(path, arrays), "bias_ih_l0 and bias_hh_l0 must be alike", activation="tanh")
