"""Models whose blocks of time are run in several processes, of backends of their own."""

import pickle
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.backends.transfer import to_numpy
from rnn_backends.core.network import READS
from rnn_backends.dask.tasks import carried_on, finished, task_of
from rnn_backends.model.carried import Carried
from rnn_backends.model.shipped import Shipped
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.records import linear

STARTS = [(0, 5), (5, 6), (6, 12)]
LENGTHS = np.array([12, 0, 3, 5, 6, 11])


def model(**options: Any) -> rb.RNN:
    draw = Draw("float32", 3)
    layers = [*draw.layers("f", 1, 3, 5), *draw.layers("f", 1, 5, 4)]
    return rb.RNN(layers, linear(draw, 4, 6), h_0=(draw.normal(5), draw.normal(4)), **options)


def features() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal((12, 6, 3), np.float32)


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_each_block_may_run_on_another_backend(
    backend: str, monkeypatch: pytest.MonkeyPatch, reads: str, lengths: Any
) -> None:
    rnn, x = model(reads=reads), features()
    task = task_of("probabilities", rnn, None)
    shipped: Shipped = pickle.loads(pickle.dumps(Shipped(rnn)))
    for places in (("numpy", backend, "numpy", backend), (backend, "numpy", "numpy", "numpy")):
        states: Carried | None = None
        parts: list[Any] = []
        for (start, stop), place in zip(STARTS, places, strict=False):
            monkeypatch.setenv("RNN_BACKEND", place)
            part, states = carried_on(x[start:stop], lengths, states, shipped, task, 12)
            states = pickle.loads(pickle.dumps(states))
            parts.append(part)
        monkeypatch.setenv("RNN_BACKEND", places[-1])
        assert states is not None
        found = np.concatenate(parts) if reads == "steps" else finished(states, shipped, task)
        np.testing.assert_allclose(found, rnn.probabilities(x, lengths=lengths), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reads", ["last", "final", "mean", "max"])
def test_what_is_carried_is_on_the_host_and_stays(backend: str, reads: str) -> None:
    placed, x = model().to(backend).placed, features()
    first = Carried.begin(placed, reads).walk(placed, x[:5], LENGTHS)
    held = pickle.dumps(first)
    assert backend == "numpy" or placed.placement.backend.name.encode() not in held
    first.walk(placed, x[5:], LENGTHS)
    assert pickle.dumps(first) == held


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("reads", ["mean", "max"])
def test_half_precision_is_carried_as_it_is_read(backend: str, dtype: str, reads: str) -> None:
    if dtype not in rb.get_backend(backend).dtypes():
        pytest.skip(f"no {dtype} there")
    rnn, x = model(reads=reads).to(backend, dtype=dtype), features()
    shipped, task = Shipped(rnn), task_of("last", rnn, None)
    states = Carried.begin(rnn.placed, reads)
    for start, stop in STARTS:
        _, states = carried_on(x[start:stop], LENGTHS, states, shipped, task, 12)
    found = finished(states, shipped, task)
    np.testing.assert_allclose(found, to_numpy(rnn.last(x, lengths=LENGTHS)), rtol=1e-2, atol=1e-3)


def test_a_model_is_placed_where_it_arrives(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rnn = model()
    arrived: Shipped = pickle.loads(pickle.dumps(Shipped(rnn)))
    assert arrived.rnn.backend.name == "numpy"
    monkeypatch.setenv("RNN_BACKEND", backend)
    assert f"{arrived.rnn.backend.name}:{arrived.rnn.device}".startswith(backend)
    assert arrived.rnn is arrived.rnn
    monkeypatch.delenv("RNN_BACKEND")
    there = pickle.loads(pickle.dumps(Shipped(rnn.to(backend))))
    assert there.rnn.backend.name == backend.partition(":")[0]
