"""The records of a network: what they show of themselves, and arrays and options that they refuse."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from own_cells import Own

import rnn_backends as rb
from rnn_backends.core.network import Network
from rnn_backends.testing.cases import Draw

CELL = Draw("float32", 0).cell(3, 4)
X = np.zeros((5, 2, 3), np.float32)


def test_records_show_sizes_and_no_numbers() -> None:
    readout = rb.Linear(np.ones((2, 4), np.float32))
    assert repr(readout) == "Linear(input_size=4, output_size=2, activation=None)"
    layer = rb.Layer(CELL, Own(np.ones((4, 3), np.float32)))
    assert repr(layer) == "Layer(forward=Cell(input_size=3, hidden_size=4), backward=Own(hidden_size=4))"
    network = Network((rb.Layer(CELL),), readout, vocabulary="abc")
    shown = "Layer(forward=Cell(input_size=3, hidden_size=4), backward=None)"
    held = "Linear(input_size=4, output_size=2, activation='softmax')"
    assert repr(network) == f"Network(layers=({shown},), readout=({held},), encoder=())"
    activation = "Activation(name='tanh', alpha=None, beta=None)"
    assert repr(CELL) == f"Cell(input_size=3, hidden_size=4, activation={activation}, clip=None, leak=None)"


BAD_CELLS = [
    (lambda: rb.Cell(np.ones((4, 3)), np.ones((4, 5))), rb.ShapeError, r"`weight_hh` must have shape .* = \(4, 4\); got \(4, 5\)"),
    (lambda: rb.Cell(np.ones((4, 3)), np.ones((3, 3))), rb.ShapeError, r"`weight_ih` must have shape .* = \(3, 4\); it is transposed"),
    (lambda: rb.Linear(np.ones((1, 5)), activation="softmax"), rb.ArgumentError, "a softmax over one output is 1 whatever the input"),
    (lambda: rb.RNN([CELL], rb.Linear(np.ones((1, 4), np.float32))), rb.ArgumentError, "a softmax over one output is 1 whatever the input"),
    (lambda: rb.Cell(np.ones(3), np.ones((4, 4))), rb.ShapeError, r"`weight_ih` must be a matrix with no empty axis; got shape \(3,\)"),
    (lambda: rb.Cell(np.ones((0, 3)), np.ones((0, 0))), rb.ShapeError, r"`weight_ih` must be a matrix with no empty axis"),
    (lambda: rb.Cell(np.ones((4, 3)), np.ones((4, 4)), np.ones(3)), rb.ShapeError, r"`bias` must have shape .* = \(4,\); got \(3,\)"),
    (lambda: rb.Cell(cast(Any, [[1.0]]), np.ones((1, 1))), rb.DTypeError, "`weight_ih` must be an array; got list"),
    (lambda: rb.Cell(np.ma.ones((4, 3)), np.ones((4, 4))), rb.DTypeError, "`weight_ih` must not be a masked array"),
    (lambda: rb.Cell(np.ones((4, 3), int), np.ones((4, 4))), rb.DTypeError, "`weight_ih` must be one of float16, .*; got int64"),
    (lambda: replace(CELL, clip=0), rb.ArgumentError, "`clip` must be positive; got 0.0"),
    (lambda: replace(CELL, clip=float("nan")), rb.ArgumentError, "`clip` must be a finite number; got nan"),
    (lambda: replace(CELL, leak=1.5), rb.ArgumentError, "`leak` must be in 0 < leak <= 1; got 1.5"),
    (lambda: replace(CELL, leak=np.full(3, 0.5, np.float32)), rb.ShapeError, r"`leak` must have shape \(hidden_size,\) = \(4,\); got \(3,\)"),
    (lambda: replace(CELL, leak=np.array([0.5, 1.0, 0.0, 1.0], np.float32)), rb.ArgumentError, "every `leak` must be in 0 < leak <= 1; got 0.0"),
    (lambda: replace(CELL, leak=np.ones(4, int)), rb.DTypeError, "`leak` must be one of float16"),
    (lambda: replace(CELL, clip=cast(Any, np.ones(4))), rb.ArgumentError, "`clip` must be a finite number"),
    (lambda: replace(CELL, leak=cast(Any, "0.5")), rb.ArgumentError, "`leak` must be a finite number; got '0.5'"),
    (lambda: replace(CELL, activation="linear"), rb.ArgumentError, "Did you mean 'identity'?"),
    (lambda: replace(CELL, activation="gelu"), rb.ArgumentError, r"got 'gelu'\.$"),
    (lambda: replace(CELL, activation="tanhh"), rb.ArgumentError, "must be a callable or one of identity, tanh.*Did you mean 'tanh'?"),
    (lambda: replace(CELL, activation=cast(Any, 3)), rb.ArgumentError, "`activation` must be a callable or one of"),
    (lambda: rb.Activation("scaled_tanh", 1.0), rb.ArgumentError, "'scaled_tanh' needs `beta`, which has no default"),
    (lambda: rb.Activation("clipped_relu"), rb.ArgumentError, "'clipped_relu' needs `alpha`, which has no default"),
    (lambda: rb.Activation("clipped_relu", 0.0), rb.ArgumentError, "`alpha` of the activation `clipped_relu` must be positive; got 0.0"),
    (lambda: rb.Activation("clipped_relu", -1), rb.ArgumentError, "`alpha` of the activation `clipped_relu` must be positive; got -1.0"),
    (lambda: rb.Activation("clipped_relu", 6, 1), rb.ArgumentError, "'clipped_relu' has no parameter `beta`"),
    (lambda: rb.Activation("tanh", beta=1.0), rb.ArgumentError, "'tanh' has no parameter `beta`"),
    (lambda: rb.Activation("elu", float("inf")), rb.ArgumentError, "`alpha` of the activation `elu` must be a finite number"),
    (rb.Layer, rb.ArgumentError, "a Layer needs a cell"),
    (lambda: rb.Layer(backward=cast(Any, np.ones(3))), rb.ArgumentError, "`backward` of a Layer must have the methods project and step"),
    (lambda: rb.RNN([]), rb.ArgumentError, "`layers` must be a list of at least one Cell or Layer"),
    (lambda: rb.RNN(cast(Any, CELL)), rb.ArgumentError, "`layers` must be a list of at least one Cell or Layer; got Cell.*Write .cell. for a single one"),
    (lambda: rb.forward([], X), rb.ArgumentError, "`layers` must be a list of at least one Cell or Layer"),
    (lambda: rb.RNN([CELL, CELL]), rb.ShapeError, r"`layers\[1\].forward` must take 4 features.*takes 3"),
    (lambda: rb.RNN([rb.Layer(CELL, CELL), Draw("float32", 0).cell(4, 4)]), rb.ShapeError, "must take 8 features"),
    (lambda: rb.RNN([rb.Layer(CELL, Draw("float32", 0).cell(3, 5)), CELL]), rb.ShapeError, r"`layers\[1\].forward` must take 9 features"),
    (lambda: rb.RNN([CELL, Draw("float64", 0).cell(4, 4)]), rb.DTypeError, "all parameters must have one dtype; got float32"),
    (lambda: rb.RNN([CELL], rb.Linear(np.ones((2, 5), np.float32))), rb.ShapeError, r"readout must have shape \(output_size, 4\)"),
    (lambda: rb.Linear(np.ones((2, 5)), np.ones(3)), rb.ShapeError, r"`bias` of a `Linear` .* = \(2,\); got \(3,\)"),
    (lambda: replace(CELL, clip=10**400), rb.ArgumentError, "`clip` must be a finite number; got an integer of some 401 digits"),
    (lambda: rb.RNN([CELL], batch_first=cast(Any, "no")), rb.ArgumentError, "`batch_first` must be True or False; got 'no'"),
    (lambda: rb.RNN([CELL], vocabulary=cast(Any, [1])), rb.ArgumentError, "`vocabulary` must be a text, .* or a list of words; got list of other things"),
    (lambda: rb.RNN([CELL], vocabulary=cast(Any, 3)), rb.ArgumentError, "`vocabulary` must be a text, .* or a list of words; got 3"),
    (lambda: rb.RNN([CELL], metadata=cast(Any, {"a": 1})), rb.ArgumentError, "`metadata` must be texts by name; got dict"),
    (lambda: rb.RNN([CELL], vocabulary="aba"), rb.ArgumentError, "`vocabulary` must hold each character once"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), BAD_CELLS)
def test_networks_that_are_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
@pytest.mark.parametrize("weights", ["float32", "float64"])
def test_the_dtype_that_is_advised_for_initial_states_is_taken(dtype: str, weights: str) -> None:
    layers = rb.RNN.init(3, 4, dtype=weights).layers
    for given in (np.ones((1, 4), dtype), (np.ones(4, dtype),)):
        with pytest.raises(rb.DTypeError, match=r"`h_0(\[0\])?`. Convert `h_0(\[0\])?` to float\d\d\.$") as caught:
            rb.RNN(layers, h_0=given)
        advised = str(caught.value).rpartition(" to ")[2].rstrip(".")
        assert advised == weights
        rb.RNN(layers, h_0=np.ones((1, 4), advised))
