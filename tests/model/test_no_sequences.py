"""Many steps of no sequence: nothing is walked, and the results are of the right shape, dtype and device."""

from typing import Any

import numpy as np
import pytest
from own_cells import Sizeless

import rnn_backends as rb
from rnn_backends.core import recurrence

STEPS = 100_000
OPTIONS: dict[str, dict[str, Any]] = {
    "one layer": {}, "two layers": {"num_layers": 2}, "both directions": {"bidirectional": True}, "no kernel": {"activation": "elu"},
    "two layers, both directions": {"num_layers": 2, "bidirectional": True},
}  # fmt: skip
INPUTS = {"features": np.zeros((STEPS, 0, 3), np.float32), "ids": np.zeros((STEPS, 0), np.int32)}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Have the default walk take no more than a few steps of a call."""
    if "backend" in request.fixturenames:  # a module that is imported later would keep what is put in place
        rb.get_backend(request.getfixturevalue("backend").partition(":")[0])
    walk = recurrence.project

    def project(cell: Any, x: Any) -> Any:
        assert x.shape[0] <= 1, "it walks"
        return walk(cell, x)

    monkeypatch.setattr(recurrence, "project", project)


def given(rnn: rb.RNN) -> list[dict[str, Any]]:
    cells = len(rnn.placed.cells)
    more = {
        "lengths": np.zeros(0, int),
        "mask": np.ones((STEPS, 0), bool),
        "h_0": np.zeros((cells, 0, 4), np.float32),
    }
    return [{}, *({name: value} for name, value in more.items()), more]


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_method(options: dict[str, Any], kind: str, backend: str) -> None:
    rnn, x, targets = rb.RNN.init(3, 4, output_size=3, backend=backend, **options), INPUTS[kind], INPUTS["ids"]
    cells, width = len(rnn.placed.cells), 4 * (1 + rnn.placed.has_backward)
    for more in given(rnn):
        output, h_n = rnn(x, **more)
        found = {
            (STEPS, 0, width): [output],
            (cells, 0, 4): [h_n],
            (STEPS, 0, 3): [rnn.logits(x, **more), rnn.probabilities(x, **more)],
            (STEPS, 0): [rnn.predict(x, **more)],
            (0, width): [rnn.last(x, **more), rnn.last(x, reads="mean", **more), rnn.last(x, reads="max", **more)],
            (0, 3): [rnn.logits(x, reads=reads, **more) for reads in ("last", "final", "mean", "max")],
            (): [rnn.loss(x, targets, **more)],
        }
        for shape, arrays in found.items():
            for array in arrays:
                assert tuple(array.shape) == shape
                assert rnn.backend.owns(array)
                assert rnn.backend.device_of(array) == rnn.device
        assert np.isnan(rb.to_numpy(rnn.loss(x, targets, **more)))
        assert sum(chunk.shape[0] for chunk in rnn.iter_probabilities(x, **more)) == STEPS
        for array in rnn.trace(x, **more).values():
            assert tuple(array.shape[:2]) == (STEPS, 0)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_pure_function(options: dict[str, Any], kind: str, backend: str) -> None:
    rnn = rb.RNN.init(3, 4, backend=backend, **options)
    for more in given(rnn):
        own = {name: rnn.placed.to_device(name, value) for name, value in {"x": INPUTS[kind], **more}.items()}
        output, h_n = rb.forward(rnn.layers, own.pop("x"), **own)
        assert tuple(output.shape) == (STEPS, 0, 4 * (1 + rnn.placed.has_backward))
        assert tuple(h_n.shape) == (len(rnn.placed.cells), 0, 4)
        assert output.dtype == h_n.dtype == rnn.backend.dtype("float32")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_dtype_is_kept(dtype: str) -> None:
    rnn = rb.RNN.init(3, 4, num_layers=2, dtype=dtype, activation="elu")
    for array in (*rnn(INPUTS["features"]), rnn.last(INPUTS["ids"]), *rnn.trace(INPUTS["ids"]).values()):
        assert array.dtype == dtype
    output, h_n = rb.forward(rnn.layers, INPUTS["features"].astype(dtype))
    assert output.dtype == h_n.dtype == dtype
    output[...] = 1  # it is the caller's


def test_cells_of_several_sizes_and_of_the_users_own() -> None:
    drawn = rb.RNN.init(3, 4)
    uneven = rb.RNN([*drawn.layers, rb.Cell(np.ones((6, 4), "f4"), np.ones((6, 6), "f4"))])
    output, h_n = uneven(INPUTS["features"])
    assert (output.shape, [part.shape for part in h_n]) == ((STEPS, 0, 6), [(0, 4), (0, 6)])
    output, h_n = rb.RNN([Sizeless(np.ones((5, 3), "f4"))])(INPUTS["features"])
    assert (output.shape, h_n.shape) == ((STEPS, 0, 5), (1, 0, 5))
    with pytest.raises(rb.ShapeError, match="project of the cell must return an array"):
        rb.RNN([Sizeless(np.ones((5, 3), "f4").T[:3, 0])])(INPUTS["features"])


def test_batch_first_and_streams() -> None:
    rnn = rb.RNN(rb.RNN.init(3, 4, output_size=3).layers, batch_first=True)
    assert rnn(np.zeros((0, STEPS, 3)))[0].shape == (0, STEPS, 4)
    with pytest.raises(rb.ShapeError, match=r"must hold batch_size = 1 sequences; got 0 in shape \(0, 100000, 3\)"):
        rnn.stream()(np.zeros((0, STEPS, 3)))


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"lengths": [1]}, rb.ShapeError), ({"lengths": np.zeros(0)}, rb.DTypeError), ({"mask": np.ones((3, 0), bool)}, rb.ShapeError),
        ({"mask": np.ones((STEPS, 0))}, rb.DTypeError), ({"h_0": np.zeros((1, 1, 4))}, rb.ShapeError), ({"h_0": np.zeros((2, 0, 4))}, rb.ShapeError),
    ],
    ids=range(6),
)  # fmt: skip
def test_all_is_checked(more: dict[str, Any], error: type[Exception], backend: str) -> None:
    rnn = rb.RNN.init(3, 4, output_size=3, backend=backend)
    for method in (rnn, rnn.logits, rnn.trace, rnn.last):
        with pytest.raises(error):
            method(INPUTS["features"], **more)


def test_gradients_of_no_sequence_are_zeros() -> None:
    torch = pytest.importorskip("torch")
    weights = [torch.ones(shape, requires_grad=True) for shape in ((4, 3), (4, 4), (4,))]
    output, h_n = rb.forward([rb.Cell(*weights)], torch.zeros(STEPS, 0, 3))
    (output.sum() + h_n.sum()).backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in weights)
