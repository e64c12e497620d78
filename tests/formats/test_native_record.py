"""The whole record in files of this package: arrays in any order, descriptions that do not fit."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from native_files import refuse, write

import rnn_backends as rb
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.records import linear

DRAW = Draw("float32", 3)
MODEL = rb.RNN(
    DRAW.uneven_layers(4, (5, 6), (3,)),
    [linear(DRAW, 3, 4, activation="relu"), linear(DRAW, 4, 2)],
    encoder=linear(DRAW, 7, 4),
    reads="last",
    h_0=[DRAW.normal(size) for size in (5, 6, 3)],
    vocabulary=["a", "b", "?", "d", "e", "f", "g"],
    unknown="?",
)


@pytest.fixture(params=[".safetensors", ".npz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"model{request.param}"


def held(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays and the description of a file that holds the model."""
    npz = path.with_name("held.npz")
    MODEL.save(npz)
    with np.load(npz) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, json.loads(arrays.pop("__rnn_backends__").tobytes())


def test_arrays_may_stand_in_any_order(path: Path) -> None:
    arrays, described = held(path)
    rnn = rb.load(write(path, dict(reversed(arrays.items())), described))
    ids = np.array([[0, 1], [3, 6]])
    np.testing.assert_array_equal(rnn.logits(ids), MODEL.logits(ids))
    assert (rnn.reads, rnn.takes, rnn.unknown, rnn.vocabulary) == ("last", "tokens", "?", MODEL.vocabulary)


def change(described: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return described | changes


IDENTITY = {"name": "identity", "alpha": None, "beta": None}
REFUSED: dict[str, tuple[Any, str]] = {
    "a head of fewer": (lambda a, d: (a, change(d, readout=d["readout"][:1])), "must describe each Linear of its readout; it holds 2 and describes 1"),
    "no encoder": (lambda a, d: (a, change(d, encoder=[])), "must describe each Linear of its encoder; it holds 1 and describes 0"),
    "an encoder that is not there": (lambda a, d: (without(a, "encoder"), d), "it holds 0 and describes 1"),
    "a gap in the head": (lambda a, d: ({("readout.2." + n[10:] if n.startswith("readout.1.") else n): v for n, v in a.items()}, d), "there must be readout.weight, or readout.0.weight, readout.1.weight and so on"),
    "one Linear and several": (lambda a, d: (a | {"readout.weight": a["readout.1.weight"]}, d), "there must be readout.weight, or readout.0.weight"),
    "a bias alone": (lambda a, d: (without(a, "readout.1.weight"), d), "there is a readout.1.bias but no readout.1.weight"),
    "a head that does not fit": (lambda a, d: (a | {"readout.1.weight": np.ones((2, 5), np.float32)}, d), r"`weight` of readout\[1\] must have shape \(output_size, 4\)"),
    "an encoder that does not fit": (lambda a, d: (a | {"encoder.weight": np.ones((3, 7), np.float32), "encoder.bias": np.ones(3, np.float32)}, d), "`encoder` must give 4 features, as many as the first layer takes; it gives 3"),
    "one initial state missing": (lambda a, d: (without(a, "h_0_l0_reverse"), d), "there must be h_0, or each of .*, or none of them; there is 'h_0_l0', 'h_0_l1'"),
    "initial states of other sizes": (lambda a, d: (a | {"h_0_l1": np.ones(4, np.float32)}, d), "`h_0` of a model must have shape"),
    "reads of another name": (lambda a, d: (a, change(d, reads="end")), "'reads' of the description .* must be one of 'steps', .*; got 'end'"),
    "takes of another name": (lambda a, d: (a, change(d, takes="ids")), "'takes' of the description .* must be one of 'tokens', 'features', None; got 'ids'"),
    "features with a vocabulary": (lambda a, d: (a, change(d, takes="features")), "`takes` must be 'tokens' of a model with a vocabulary"),
    "unknown that is no item": (lambda a, d: (a, change(d, unknown="zebra")), "`unknown` must be an item of the vocabulary"),
    "a word twice": (lambda a, d: (a, change(d, vocabulary=["a"] * 7, unknown=None)), "`vocabulary` must hold each word once"),
    "two leaks": (lambda a, d: (a | {"leak_l1": np.full(3, 0.5, np.float32)}, change(d, cells=d["cells"] | {"l1": d["cells"]["l1"] | {"leak": 0.5}})), "the cell l1 has two leaks"),
    "a leak of 2": (lambda a, d: (a | {"leak_l1": np.full(3, 2.0, np.float32)}, d), "every `leak` must be in 0 < leak <= 1; got 2.0"),
    "a leak of another size": (lambda a, d: (a | {"leak_l1": np.full(4, 0.5, np.float32)}, d), r"`leak` must have shape \(hidden_size,\) = \(3,\)"),
    "a readout that is no list": (lambda a, d: (a, change(d, readout=IDENTITY)), "'readout' of .* must be list; got dict"),
    "a kind of another name": (lambda a, d: (a, in_cell(d, kind="Gate")), "'kind' of l1 must be one of 'Cell', 'RateCell'; got 'Gate'"),
    "a kind that is no text": (lambda a, d: (a, in_cell(d, kind=2)), "'kind' of l1 must be str; got 2"),
    "rates without a leak": (lambda a, d: (without(a, "leak_l1"), in_cell(d, kind="RateCell")), "the cell l1 is wrong: it is a RateCell and has no leak"),
    "rates with a clip": (lambda a, d: (a, in_cell(d, kind="RateCell", clip=2)), "the cell l1 is wrong: it is a RateCell and has a clip"),
    "rates of a leak of 2": (lambda a, d: (without(a, "leak_l1"), in_cell(d, kind="RateCell", leak=2)), "the cell l1 is wrong: `leak` must be in 0 < leak <= 1; got 2.0"),
    "a noise of numbers": (lambda a, d: (a, change(d, noise=0.1)), "'noise' of the description .* must be dict or NoneType; got 0.1"),
    "a noise without a seed": (lambda a, d: (a, change(d, noise={"std": 0.1})), "the noise lacks 'seed'"),
    "a noise of negative std": (lambda a, d: (a, change(d, noise={"std": -0.1, "seed": 0})), "the noise is wrong: `std` of a Noise must be at least 0; got -0.1"),
    "a noise of texts": (lambda a, d: (a, change(d, noise={"std": ["a"], "seed": 0})), "the noise is wrong: `std` of a `Noise` must be a finite number; got 'a'"),
    "a noise of lists of lists": (lambda a, d: (a, change(d, noise={"std": [[0.1]], "seed": 0})), "the noise is wrong: `std` of a `Noise` must be a finite number; got list"),
    "a noise of a great number": (lambda a, d: (a, change(d, noise={"std": 10**400, "seed": 0})), "the noise is wrong: `std` of a `Noise` must be a finite number"),
    "a noise of other sizes": (lambda a, d: (a, change(d, noise={"std": [0.1] * 7, "seed": 0})), r"have one for each of \d units of layers\[0\].forward; got 7"),
    "a noise of a negative seed": (lambda a, d: (a, change(d, noise={"std": 0.1, "seed": -1})), "the noise is wrong: `seed` of a Noise must be an integer from 0 to"),
    "a noise of a seed that is true": (lambda a, d: (a, change(d, noise={"std": 0.1, "seed": True})), "'seed' of the noise must be int; got True"),
}  # fmt: skip


def in_cell(described: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Change what is said of the cell l1."""
    return change(described, cells=described["cells"] | {"l1": described["cells"]["l1"] | changes})


def without(arrays: dict[str, Any], start: str) -> dict[str, Any]:
    return {name: array for name, array in arrays.items() if not name.startswith(start)}


@pytest.mark.parametrize("kind", REFUSED)
def test_files_that_are_refused(path: Path, kind: str) -> None:
    made, match = REFUSED[kind]
    refuse(write(path, *made(*held(path))), match)


@pytest.mark.parametrize("leak", [0.25, np.array([0.25, 0.5, 1.0], np.float32)], ids=["one leak", "leak by unit"])
def test_rates_and_noise_are_kept(path: Path, leak: Any) -> None:
    noise = rb.Noise([0.5, 0.0, 0.1], seed=2**100)
    cells: list[Any] = [
        DRAW.rate_cell(4, 3, leak=leak, activation=rb.Activation("leaky_relu", 0.25)),
        DRAW.cell(3, 3, leak=0.5),
    ]
    rnn = rb.RNN(cells, h_0=DRAW.normal(2, 3), noise=noise)
    rnn.save(path)
    found = rb.load(path)
    rates, plain = (cast(Any, layer.forward) for layer in found.layers)
    assert (type(rates), rates.activation, type(plain)) == (rb.RateCell, rb.Activation("leaky_relu", 0.25), rb.Cell)
    np.testing.assert_array_equal(rates.leak, leak)
    assert (found.noise, found.to(dtype="float64").noise) == (noise, noise)
    x = DRAW.normal(5, 2, 4)
    for theirs, ours in zip(found(x), rnn(x), strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_a_file_of_version_2_has_cells_of_one_kind_and_no_noise(path: Path) -> None:
    arrays, described = held(path)
    cells = {
        place: {name: value for name, value in cell.items() if name != "kind"}
        for place, cell in described["cells"].items()
    }
    old = {name: value for name, value in described.items() if name != "noise"} | {"format_version": 2, "cells": cells}
    found = rb.load(write(path, arrays, old))
    assert (found.noise, {type(cell) for layer in found.layers for cell, _ in layer.cells}) == (None, {rb.Cell})
    refuse(write(path, arrays, old | {"noise": None}), "unknown keys 'noise'")
    refuse(write(path, arrays, old | {"cells": described["cells"]}), "unknown keys 'kind'")


def test_what_a_file_records_is_not_asked_for(path: Path) -> None:
    MODEL.save(path)
    options: list[dict[str, Any]] = [{"reads": "last"}, {"takes": "tokens"}]
    for option in options:
        with pytest.raises(rb.FormatError, match=f"the file records .*; leave `{next(iter(option))}` out"):
            rb.load(path, **option)


def test_what_a_file_takes_may_be_given_where_it_is_not_recorded(path: Path) -> None:
    rb.RNN(DRAW.layers("f", 1, 4, 5)).save(path)
    assert (rb.load(path).takes, rb.load(path, takes="features").takes) == (None, "features")
    assert rb.load(path, takes="features")([[0, 1, 0, 1]])[0].shape == (1, 5)


def test_weights_alone_take_features_by_default(path: Path) -> None:
    arrays = {"weight_ih_l0": np.ones((4, 3), np.float32), "weight_hh_l0": np.eye(4, dtype=np.float32)}
    write(path, arrays)
    assert rb.load(path, activation="tanh").takes == "features"
    rnn = rb.load(path, activation="tanh", takes="tokens", reads="mean")
    assert (rnn.takes, rnn.reads) == ("tokens", "mean")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"takes": "ids"}, "`takes` must be one of 'tokens', 'features'"),
        ({"reads": "end"}, "`reads` must be one of 'steps', "),
    ]
    for option, match in wrong:
        with pytest.raises(rb.ArgumentError, match=match):
            rb.load(path, activation="tanh", **option)


def test_a_state_dict_refuses_by_name_what_it_cannot_say() -> None:
    with pytest.raises(
        rb.FormatError, match=r"cannot say an encoder, initial states of its own, cells of several sizes, a head"
    ):
        MODEL_FORWARD.to_torch()
    with pytest.raises(rb.FormatError, match=r"nn\.RNN has no leak"):
        rb.RNN([DRAW.cell(3, 4, leak=np.full(4, 0.5, np.float32))]).to_torch()


MODEL_FORWARD = rb.RNN(
    DRAW.uneven_layers(4, (5,), (3,)),
    [linear(DRAW, 3, 4), linear(DRAW, 4, 2)],
    encoder=linear(DRAW, 7, 4),
    h_0=[DRAW.normal(5), DRAW.normal(3)],
)
