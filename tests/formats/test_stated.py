"""Activations of several Linear: as a source records them, and as they are given."""

import pytest

import rnn_backends as rb
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.stated import stated

TANH, RELU, IDENTITY = rb.Activation("tanh"), rb.Activation("relu"), rb.Activation("identity")


def options(given: object) -> LoadOptions:
    return LoadOptions.given("torch", readout_activation=given)


def test_one_activation_is_that_of_the_last() -> None:
    assert stated("readout", [RELU, None], options("tanh")) == [RELU, TANH]


def test_several_are_in_the_order_of_their_linear() -> None:
    assert stated("readout", [None, None], options(("relu", "tanh"))) == [RELU, TANH]


@pytest.mark.parametrize("given", [("relu",), ("relu", "tanh", "tanh")])
def test_there_must_be_one_for_each(given: tuple[str, ...]) -> None:
    with pytest.raises(rb.ArgumentError, match=f"must have one activation for each Linear, 2; got {len(given)}"):
        stated("readout", [None, None], options(given))


def test_what_is_recorded_is_overruled_only_where_it_may_be() -> None:
    assert stated("readout", [RELU, IDENTITY], options("tanh"), overrule=True) == [RELU, TANH]
    with pytest.raises(rb.FormatError, match="records the activation of a readout; leave `readout_activation` out"):
        stated("readout", [RELU, IDENTITY], options("tanh"))
