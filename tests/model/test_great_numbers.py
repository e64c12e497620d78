"""Infinity, and numbers that a dtype has no room for, are results like others: nothing warns of them."""

from typing import Any

import numpy as np
import pytest

import rnn_backends as rb

pytestmark = pytest.mark.filterwarnings("error")

GREAT: dict[str, Any] = {
    "inf": np.inf, "-inf": -np.inf, "both": [np.inf, -np.inf, 1.0], "1e300": 1e300, "1e38": 1e38, "-3e38": -3e38, "1e5": 1e5,
    "nan": np.nan, "inf and nan": [np.inf, np.nan, 0.0], "largest": np.finfo(np.float64).max,
}  # fmt: skip
ACTIVATIONS = (
    "tanh",
    "relu",
    "elu",
    "softplus",
    "softsign",
    "identity",
    "hard_sigmoid",
    "sigmoid",
    "softmax",
    "leaky_relu",
)


def full(value: Any, *shape: int, dtype: str = "float64") -> Any:
    return np.broadcast_to(np.asarray(value, dtype), shape)


def use_all(rnn: rb.RNN, x: Any, h_0: Any = None) -> None:
    """Call every method that computes."""
    outputs, ids = int(rnn.readout.output_size), np.zeros(x.shape[:2], int)
    targets = np.minimum(ids, outputs - 1)
    rnn(x, h_0)
    rnn(x, h_0, lengths=[x.shape[0]] * x.shape[1])
    rnn(x, h_0, mask=np.ones(x.shape[:2], bool))
    rnn.trace(x, h_0)
    rnn.loss(x, targets, h_0)
    for method in (rnn.logits, rnn.probabilities, rnn.predict):
        method(x, h_0)
        for reads in ("last", "final", "mean", "max"):
            method(x, h_0, reads=reads)
    for reads in ("last", "mean", "max"):
        rnn.last(x, h_0, reads=reads)
    list(rnn.iter_probabilities(x, h_0))
    for name in ("__call__", "logits", "probabilities"):
        stream = rnn.stream(x.shape[1])
        stream.reset(h_0)
        for _ in range(2):
            getattr(stream, name)(x)


@pytest.mark.parametrize("name", GREAT)
def test_every_method_of_a_backend(name: str, backend: str) -> None:
    rnn = rb.RNN.init(3, 3, output_size=3, backend=backend)
    use_all(rnn, full(GREAT[name], 4, 2, 3))
    use_all(rnn, np.ones((4, 2, 3)), full(GREAT[name], 1, 2, 3))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", GREAT)
def test_every_dtype_of_numpy(name: str, dtype: str) -> None:
    rnn = rb.RNN.init(3, 3, output_size=3, num_layers=2, dtype=dtype)
    for given in ("float64", "float32", "longdouble") if "300" not in name and name != "largest" else ("float64",):
        use_all(rnn, full(GREAT[name], 4, 2, 3, dtype=given))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
def test_every_activation_of_cells_readouts_and_encoders(activation: str, value: float) -> None:
    drawn = rb.RNN.init(3, 3, output_size=3, activation=activation)
    readout = rb.Linear(drawn.readout.weight, drawn.readout.bias, activation)
    x = full(value, 4, 2, 3)
    for encoder in (None, rb.Linear(np.eye(3, dtype=np.float32) * 1e30, None, activation)):
        rnn = rb.RNN(drawn.layers, readout, encoder=encoder)
        rnn(x)
        rnn.probabilities(x)
        rnn.trace(x)
        rnn.stream(2).probabilities(x)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("library", ["jax", "torch"])
def test_other_libraries(library: str, dtype: str) -> None:
    pytest.importorskip(library)
    rnn = rb.RNN.init(3, 3, output_size=3, dtype=dtype, backend=library)
    for name in ("inf", "both", "1e300"):
        x = full(GREAT[name], 2, 1, 3)
        rnn(x)
        rnn.trace(x)
        rnn.probabilities(x)


def test_great_weights_become_infinite() -> None:
    cell = rb.Cell(np.full((4, 3), 1e300), np.zeros((4, 4)))
    for dtype in ("float32", "float16"):
        rnn = rb.RNN([cell]).to(dtype=dtype)
        assert np.isinf(rnn.placed.network.layers[0].forward.weight_ih).all()  # type: ignore[union-attr]
        rnn(np.zeros((2, 1, 3)))


def test_pure_functions() -> None:
    cells = [rb.Cell(np.ones((4, 3), np.float32), np.ones((4, 4), np.float32), activation="relu")]
    for value in (np.inf, -np.inf, np.float32(3e38)):
        x = np.full((5, 2, 3), value, np.float32)
        rb.forward(cells, x, lengths=np.array([5, 2]))
        rb.forward(cells, x[:, 0], mask=np.ones(5, bool))
        with np.errstate(all="ignore"):
            half = x.astype("f2")
        for logits in (x, half, np.stack([x, -x])[..., 0]):
            rb.cross_entropy(logits, np.zeros(logits.shape[:-1], int))
            rb.cross_entropy_grad(logits, np.zeros(logits.shape[:-1], int))


def test_results_are_those_of_ieee_754() -> None:
    rnn = rb.RNN(
        [rb.Cell(np.eye(3, dtype="f4"), np.zeros((3, 3), "f4"), activation="identity")],
        rb.Linear(np.eye(3, dtype="f4"), activation="identity"),
    )
    x = np.array([[[1e300, -1e300, 2.0]]])
    np.testing.assert_array_equal(rnn(x)[0].ravel()[:1], np.nan)  # inf * 0
    np.testing.assert_array_equal(rnn.stream()(x[:, :, ::-1] * 0), np.zeros((1, 1, 3)))
    half = rb.RNN([rb.Cell(np.eye(1), np.zeros((1, 1)), activation="identity")]).to(dtype="float16")
    assert half([[[70000.0]]])[0].item() == np.inf
    assert half([[[65504.0]]])[0].item() == 65504


def test_numpy_warns_again_after_a_call() -> None:
    rnn = rb.RNN.init(3, 3, output_size=3)
    use_all(rnn, full(np.inf, 4, 2, 3))
    with pytest.raises(RuntimeWarning):
        np.float32(3e38) * np.float32(10)
