"""Random networks of the whole record against torch, which runs each sequence alone and without padding."""

import pytest
from networks import Drawn, each_network, run

import rnn_backends as rb
from rnn_backends.backends.selection import parse

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def test_random_networks_agree_with_torch() -> None:
    pytest.importorskip("torch")
    from torch_networks import compare

    place = parse("numpy", "the test")

    def check(drawn: Drawn) -> None:
        results = run(rb.RNN.from_network(drawn.record.network, place), drawn.record)
        compare(drawn.record, results, TOLERANCE[drawn.options["dtype"]])

    each_network(check)
