"""Random networks of the whole record against the float64 reference, and through files and pickles."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from support.networks import Drawn, each_network, run

import rnn_backends as rb
from rnn_backends.backends.selection import parse
from rnn_backends.core.layers import named_arrays
from rnn_backends.testing import Bounded, excess, reference_network
from rnn_backends.testing.networks import parts_of


def test_random_networks_agree_with_the_reference_and_survive_files(tmp_path: Path) -> None:
    place = parse("numpy", "the test")

    def check(drawn: Drawn) -> None:
        record = drawn.record
        rnn = rb.RNN.from_network(record.network, place)
        results = run(rnn, record)
        for name, bound in wanted(drawn).items():
            assert excess(results[name], bound) <= 1.0, name
        for suffix in (".safetensors", ".npz"):
            rnn.save(tmp_path / f"model{suffix}")
            assert_same(rb.load(tmp_path / f"model{suffix}"), rnn)
        assert_same(pickle.loads(pickle.dumps(rnn)), rnn)

    each_network(check)


def wanted(drawn: Drawn) -> dict[str, Bounded]:
    """Return the reference's results, by name, 0 beyond a length."""
    record = drawn.record
    expected = reference_network(*record, dtype=drawn.options["dtype"])
    assert expected.logits is not None
    assert expected.probabilities is not None
    results = {"output": expected.output, "logits": expected.logits, "probabilities": expected.probabilities}
    if drawn.options["reads"] == "steps" and record.lengths is not None:
        steps = np.arange(len(record.x))[:, None, None] < np.array(record.lengths)[None, :, None]
        for name in ("logits", "probabilities"):
            results[name] = Bounded(*(np.where(steps, part, 0.0) for part in results[name]))
    return results | {f"h_n[{k}]": part for k, part in enumerate(parts_of(expected.h_n))}


def assert_same(again: rb.RNN, rnn: rb.RNN) -> None:
    """Check that two models have the same parts, arrays and facts."""
    first, second = again.placed.network, rnn.placed.network
    for (name, array), (other, held) in zip(named_arrays(first), named_arrays(second), strict=True):
        assert name == other
        np.testing.assert_array_equal(array, held, err_msg=name)
    assert facts(again) == facts(rnn)


def facts(rnn: rb.RNN) -> dict[str, Any]:
    """Return all that a model holds beside its arrays."""
    network = rnn.placed.network
    cells: list[Any] = rnn.placed.cells
    return {
        "cells": [(cell.activation, cell.clip, type(cell.leak) if np.ndim(cell.leak) else cell.leak) for cell in cells],
        "linears": [[linear.activation for linear in part] for part in (network.encoder, network.readout)],
        "reads": network.reads,
        "takes": network.takes,
        "batch_first": network.batch_first,
        "vocabulary": network.vocabulary,
        "unknown": network.unknown,
        "metadata": dict(network.metadata),
        "h_0": type(network.h_0),
        "layers": len(network.layers),
        "sizes": [(cell.input_size, cell.hidden_size) for cell in cells],
    }
