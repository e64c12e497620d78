"""Random networks of the whole record against torch, which runs each sequence alone and without padding."""

import pytest
from hypothesis import given
from support.networks import MANY, Coverage, Drawn, networks, run

import rnn_backends as rb
from rnn_backends.backends.selection import parse

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def test_random_networks_agree_with_torch() -> None:
    pytest.importorskip("torch")
    from support.torch_networks import compare

    coverage, place = Coverage(), parse("numpy", "the test")

    @MANY
    @given(networks())
    def check(drawn: Drawn) -> None:
        coverage.add(drawn.options)
        results = run(rb.RNN.from_network(drawn.record.network, place), drawn.record)
        compare(drawn.record, results, TOLERANCE[drawn.options["dtype"]])

    check()
    coverage.require()
