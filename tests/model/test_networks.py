"""Random networks of the whole record against the float64 reference, and through files and pickles."""

import pickle
from pathlib import Path

import numpy as np
from networks import Drawn, assert_same, each_network, run

import rnn_backends as rb
from rnn_backends.backends.selection import parse
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
    if drawn.options["reads"] != "steps":
        results["last"] = expected.read
    if drawn.options["reads"] == "steps" and record.lengths is not None:
        steps = np.arange(len(record.x))[:, None, None] < np.array(record.lengths)[None, :, None]
        for name in ("logits", "probabilities"):
            results[name] = Bounded(*(np.where(steps, part, 0.0) for part in results[name]))
    return results | {f"h_n[{k}]": part for k, part in enumerate(parts_of(expected.h_n))}
