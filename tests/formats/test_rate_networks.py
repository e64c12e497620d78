"""Rate networks of others: weights alone whose cells are a class and a leak, as PsychRNN and programs write them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ways import follow

import rnn_backends as rb
from rnn_backends.testing.cases import Draw

NAMES = {
    "init_state": "h_0", "W_in": "weight_ih_l0", "W_rec": "weight_hh_l0", "b_rec": "bias_l0",
    "W_out": "readout.weight", "b_out": "readout.bias",
}  # fmt: skip
BESIDE = ("Dale_rec", "Dale_out", "input_connectivity", "rec_connectivity", "output_connectivity")
ALPHA = 0.2


def written(path: Path, dale_ratio: float | None) -> dict[str, Any]:
    """Write what PsychRNN's save does: np.savez of its weights, the effective ones, and of all that they were made of."""
    draw = Draw("float32", 1)
    signs = np.diag(np.array([1, 1, 1, -1, -1], np.float32))
    w_in, w_rec, w_out = draw.normal(5, 3), draw.normal(5, 5), draw.normal(2, 5)
    if dale_ratio is not None:
        w_in, w_rec, w_out = abs(w_in), abs(w_rec) @ signs, abs(w_out) @ np.maximum(signs, 0)
    held: dict[str, Any] = {
        "init_state": draw.normal(1, 5), "W_in": w_in, "W_rec": w_rec, "W_out": w_out, "b_rec": draw.normal(5),
        "b_out": draw.normal(2), "Dale_rec": signs, "Dale_out": np.maximum(signs, 0),
        "input_connectivity": np.ones((5, 3), np.float32), "rec_connectivity": np.ones((5, 5), np.float32),
        "output_connectivity": np.ones((2, 5), np.float32),
    }  # fmt: skip
    np.savez(path, **held, dale_ratio=np.array(dale_ratio))  # of None, which it writes too, an array of objects
    return held


def psychrnn(held: dict[str, Any], x: Any) -> tuple[Any, Any]:
    """Return outputs and states by the equations of PsychRNN's Basic without noise, (batch, steps, features)."""
    state, outputs, states = np.repeat(held["init_state"], len(x), axis=0).astype(np.float64), [], []
    for t in range(x.shape[1]):
        total = np.maximum(state, 0) @ held["W_rec"].T + x[:, t] @ held["W_in"].T + held["b_rec"]
        state = (1 - ALPHA) * state + ALPHA * total
        states.append(state)
        outputs.append(np.maximum(state, 0) @ held["W_out"].T + held["b_out"])
    return np.stack(outputs, axis=1), np.stack(states, axis=1)


def options(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "names": NAMES, "roles": dict.fromkeys(BESIDE, "ignore"), "cell": "RateCell", "leak": ALPHA,
        "activation": "relu", "readout_activation": "identity", "batch_first": True,
    }  # fmt: skip
    return {name: value for name, value in (given | changes).items() if value is not None}


@pytest.mark.parametrize("dale_ratio", [None, 0.6])
def test_a_file_of_psychrnn(tmp_path: Path, backend: str, dale_ratio: float | None) -> None:
    path = tmp_path / "weights.npz"
    held = written(path, dale_ratio)
    x = Draw("float32", 2).normal(4, 9, 3)
    outputs, states = psychrnn(held, x)
    given = options()
    if dale_ratio is not None:  # without, there is no array of numbers
        with pytest.raises(rb.FormatError, match=r"pass roles=\{'dale_ratio': 'ignore'\}"):
            rb.load(path, **given)
        given["roles"] |= {"dale_ratio": "ignore"}
    rnn = rb.load(path, **given, backend=backend)
    np.testing.assert_allclose(rb.to_numpy(rnn.probabilities(x)), outputs, rtol=1e-4, atol=1e-5)
    rates, last = map(rb.to_numpy, rnn(x))
    np.testing.assert_allclose(rates, np.maximum(states, 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last[0], states[:, -1], rtol=1e-4, atol=1e-5)
    cell: Any = rnn.layers[0].forward
    if dale_ratio is not None:
        assert rb.dale_signs(cell).tolist() == [1, 1, 1, -1, -1]
    saved = tmp_path / "native.safetensors"
    rnn.save(saved)
    np.testing.assert_array_equal(rb.to_numpy(rb.load(saved, backend=backend)(x)[0]), rates)


@pytest.mark.parametrize("kind", [None, "Cell"])
def test_a_leak_of_cells(tmp_path: Path, kind: str | None) -> None:
    held = written(tmp_path / "weights.npz", None)
    rnn = rb.load(tmp_path / "weights.npz", **options(cell=kind))
    x = Draw("float32", 3).normal(4, 9, 3)
    cell = rb.Cell(held["W_in"], held["W_rec"], held["b_rec"], "relu", leak=ALPHA)
    wanted = rb.RNN([cell], h_0=held["init_state"], batch_first=True)(x)[0]
    np.testing.assert_allclose(rnn(x)[0], wanted, rtol=1e-5, atol=1e-6)
    from_arrays = rb.from_torch({name: held[name] for name in NAMES}, **options(cell=kind, roles=None))
    np.testing.assert_array_equal(from_arrays(x)[0], rnn(x)[0])


def test_the_leak_of_rates_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    held = written(path, None)
    x = Draw("float32", 4).normal(4, 9, 3)
    cell = rb.RateCell(held["W_in"], held["W_rec"], held["b_rec"], "relu", leak=0.1)
    wanted = rb.RNN([cell], h_0=held["init_state"], batch_first=True)(x)[0]
    follow("leak", lambda **more: rb.load(path, **(options(leak=None) | more)), wanted, lambda rnn: rnn(x)[0])


def test_a_leak_by_unit_is_an_array(tmp_path: Path) -> None:
    held = written(tmp_path / "weights.npz", None)
    tau = np.linspace(0.1, 0.9, 5, dtype=np.float32)
    np.savez(tmp_path / "own.npz", **{name: held[name] for name in NAMES}, alphas=tau)
    names = NAMES | {"alphas": "leak_l0"}
    rnn = rb.load(tmp_path / "own.npz", **options(names=names, roles=None, leak=None) | {"cell": "Cell"})
    cell: Any = rnn.layers[0].forward
    np.testing.assert_array_equal(cell.leak, tau)
    with pytest.raises(rb.FormatError, match="the cell l0 has two leaks, leak_l0 and one for all units"):
        rb.load(tmp_path / "own.npz", **options(names=names, roles=None))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a class of another name": ({"cell": "LSTM"}, "`cell` must be one of 'Cell', 'RateCell'; got 'LSTM'"),
    "a leak of 0": ({"leak": 0}, "`leak` must be in 0 < leak <= 1; got 0.0"),
    "a leak of 2": ({"leak": 2}, "`leak` must be in 0 < leak <= 1; got 2.0"),
    "a leak that is text": ({"leak": "0.2"}, "`leak` must be a finite number; got '0.2'"),
    "a leak of NaN": ({"leak": np.nan}, "`leak` must be a finite number; got nan"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_options_that_are_refused(tmp_path: Path, kind: str) -> None:
    written(tmp_path / "weights.npz", None)
    changes, message = WRONG[kind]
    with pytest.raises(rb.ArgumentError, match=message):
        rb.load(tmp_path / "weights.npz", **options(**changes))


@pytest.mark.parametrize("option", [{"cell": "RateCell"}, {"leak": 0.5}], ids=["cell", "leak"])
def test_a_file_that_records_them_refuses_them(tmp_path: Path, option: dict[str, Any]) -> None:
    rb.RNN.init(3, 4).save(tmp_path / "own.npz")
    with pytest.raises(rb.FormatError, match=f"the file records .*; leave `{next(iter(option))}` out"):
        rb.load(tmp_path / "own.npz", **option)


CELL = rb.RateCell(np.ones((3, 2), np.float32), np.ones((3, 3), np.float32), leak=0.5)
PLAIN = rb.Cell(np.ones((3, 2), np.float32), np.ones((3, 3), np.float32))
NOT_WRITTEN: dict[str, tuple[rb.RNN, str]] = {
    "rates": (rb.RNN([CELL]), "has no RateCell, which l0 of the model is"),
    "noise": (rb.RNN([PLAIN], noise=rb.Noise(0.1)), "has no noise, and this model has"),
}


@pytest.mark.parametrize("kind", NOT_WRITTEN)
def test_rates_and_noise_are_no_rnn_of_others(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("onnx")
    rnn, message = NOT_WRITTEN[kind]
    x = Draw("float32", 5).normal(4, 2, 2)

    def as_native() -> rb.RNN:
        rnn.save(tmp_path / "model.npz")
        return rb.load(tmp_path / "model.npz")

    def to_onnx() -> rb.RNN:
        rnn.save(tmp_path / "model.onnx")
        return rnn

    def to_torch() -> rb.RNN:
        rnn.to_torch()
        return rnn

    for write in (to_onnx, to_torch):
        follow("save_as", write, rnn(x)[0], lambda found: found(x)[0], then=as_native)
        with pytest.raises(rb.FormatError, match=message):
            write()
    assert not (tmp_path / "model.onnx").exists()
