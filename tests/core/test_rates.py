"""Rate networks: cells whose output is not their state, of this package and of the user's own."""

from copy import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.backends.numpy import by_numpy
from rnn_backends.core.network import READS
from rnn_backends.core.recurrence import scan_layer
from rnn_backends.model import chunks
from rnn_backends.testing.cases import Draw

LENGTHS = [9, 4, 0]
MASK = np.array(
    [[1, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1], [1, 1, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1]], bool
)


@dataclass(frozen=True, eq=False)
class Currents:
    """A cell of the user's own that gives a square of its state."""

    weight_ih: Any
    weight_hh: Any

    @property
    def hidden_size(self) -> int:
        return int(self.weight_hh.shape[0])

    def project(self, x: Any) -> Any:
        return x @ self.weight_ih.T

    def step(self, projected: Any, h: Any) -> Any:
        return 0.5 * h + 0.5 * (projected + self.output(h) @ self.weight_hh.T)

    def output(self, states: Any) -> Any:
        return 0.25 * states * states


def own_cell(draw: Draw, input_size: int, hidden_size: int) -> Currents:
    cell = draw.cell(input_size, hidden_size)
    return Currents(cell.weight_ih, cell.weight_hh)


def walked(cell: Any, x: Any, h: Any, steps: Any, reverse: bool) -> tuple[Any, Any]:
    """Return the outputs and the last states of a cell on NumPy, sequence by sequence: the definition."""
    output, last = np.zeros((*x.shape[:2], h.shape[1])), h.copy()
    for b in range(x.shape[1]):
        length = int(steps["lengths"][b])
        for t in reversed(range(length)) if reverse else range(length):
            if steps["mask"][t, b]:
                last[b] = cell.step(cell.project(x[t, b][None]), last[b][None])[0]
            output[t, b] = cell.output(last[b][None])[0]
    return output, last


def stack(draw: Draw, kind: str) -> list[rb.Layer]:
    if kind == "own":
        return [
            rb.Layer(own_cell(draw, 4, 5), own_cell(draw, 4, 3)),
            rb.Layer(own_cell(draw, 8, 6), own_cell(draw, 8, 6)),
        ]
    options = {"leak": 0.25, "activation": "softplus"}
    first = rb.Layer(draw.rate_cell(4, 5, **options), draw.rate_cell(4, 3, **options))
    return [first, rb.Layer(draw.rate_cell(8, 6, **options), draw.rate_cell(8, 6, **options))]


@pytest.mark.parametrize("kind", ["own", "RateCell"])
@pytest.mark.parametrize("given", [(), ("lengths",), ("mask",), ("lengths", "mask")], ids="+".join)
def test_all_that_is_given_is_made_of_the_output(backend: str, kind: str, given: tuple[str, ...]) -> None:
    draw = Draw("float64", 1)
    layers, x, states = stack(draw, kind), draw.normal(9, 3, 4), draw.states(3, 5, 3, 6, 6)
    readout = rb.Linear(draw.normal(2, 12), activation="identity")
    arguments: dict[str, Any] = {name: {"lengths": LENGTHS, "mask": MASK}[name] for name in given}
    steps: dict[str, Any] = {"lengths": [9, 9, 9], "mask": np.ones((9, 3), bool)} | arguments
    output, held = x, iter(states)
    last: list[Any] = []
    for layer in layers:
        parts = [walked(cell, output, next(held), steps, reverse) for cell, reverse in layer.cells]
        output, last = np.concatenate([part for part, _ in parts], axis=-1), [*last, *(end for _, end in parts)]
    rnn = rb.RNN(layers, readout).to(backend, "float64")
    got, h_n = rnn(x, states, **arguments)
    close: Any = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(rb.to_numpy(got), output, **close)
    for theirs, ours in zip(h_n, last, strict=True):
        np.testing.assert_allclose(rb.to_numpy(theirs), ours, **close)
    np.testing.assert_allclose(rb.to_numpy(rnn.logits(x, states, **arguments)), output @ readout.weight.T, **close)
    taken = steps["mask"] & (np.arange(9)[:, None] < steps["lengths"])
    ends = np.concatenate(
        [cast(Any, cell).output(end) for (cell, _), end in zip(layers[-1].cells, last[-2:], strict=True)], -1
    )
    for reads in READS[1:]:
        wanted = np.zeros((3, 12))  # where there is no step, for the output is not the state
        for b in np.flatnonzero(taken.any(axis=0)):
            at = output[taken[:, b], b]
            wanted[b] = {"last": at[-1], "final": ends[b], "mean": at.mean(axis=0), "max": at.max(axis=0)}[reads]
        np.testing.assert_allclose(
            rb.to_numpy(rnn.last(x, states, reads=reads, **arguments)), wanted, err_msg=reads, **close
        )
        logits = rb.to_numpy(rnn.logits(x, states, reads=reads, **arguments))
        np.testing.assert_allclose(logits, wanted @ readout.weight.T, err_msg=reads, **close)


@pytest.mark.parametrize("reads", READS[1:])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("sides", ["f", "b", "fb"])
def test_reading_in_blocks_reads_the_output(
    monkeypatch: pytest.MonkeyPatch, sides: str, layers: int, reads: str
) -> None:
    draw = Draw("float64", 2)
    case = draw.case(shape=(40, 3, 4, 5), sides=sides, layers=layers, rates=True, leak=0.5, h_0=True)
    rnn, given = rb.RNN(case.layers), {"lengths": [40, 0, 23], "mask": draw.random.random((40, 3)) < 0.7}
    whole = rnn.last(case.x, case.h_0, reads=reads, **cast(Any, given))
    monkeypatch.setattr(chunks, "BUDGET", 4000)
    np.testing.assert_allclose(
        rnn.last(case.x, case.h_0, reads=reads, **cast(Any, given)), whole, rtol=1e-12, atol=1e-13
    )
    assert not whole[1].any()


@pytest.mark.parametrize("reads", READS)
def test_a_stream_gives_and_reads_the_output(backend: str, reads: str) -> None:
    draw = Draw("float64", 3)
    layers = draw.layers(
        "f", 2, 4, 5, rates=True, leak=draw.rounded(draw.random.uniform(0.25, 1, 5)), activation="sigmoid"
    )
    rnn = rb.RNN(layers, rb.Linear(draw.normal(2, 5)), reads=reads, h_0=draw.normal(2, 5)).to(backend, "float64")
    x = draw.normal(6, 3, 4)
    stream = rnn.stream(batch_size=3)
    nothing = rb.to_numpy(stream.logits(x[:0]))
    assert not nothing.any()  # of no step
    first = stream(x[:2])
    other = copy(stream)
    np.testing.assert_allclose(rb.to_numpy(first), rb.to_numpy(rnn(x)[0])[:2], rtol=1e-12)
    for each in (stream, other):
        logits = each.logits(x[2:])
        wanted = rb.to_numpy(rnn.logits(x))[2:] if reads == "steps" else rb.to_numpy(rnn.logits(x))
        np.testing.assert_allclose(rb.to_numpy(logits), wanted, rtol=1e-11)
        np.testing.assert_allclose(rb.to_numpy(each.state), rb.to_numpy(rnn(x)[1]), rtol=1e-11)


def test_a_cell_of_rates_takes_a_step_of_its_equation() -> None:
    draw = Draw("float64", 4)
    leak = draw.random.uniform(0.1, 1.0, 5)
    cell = draw.rate_cell(4, 5, leak=leak, activation="softplus")
    u, x = draw.normal(3, 4), draw.normal(3, 5)
    rates = np.log1p(np.exp(x))
    wanted = x + leak * (-x + rates @ cell.weight_hh.T + u @ cell.weight_ih.T + cell.bias)
    np.testing.assert_allclose(cell.step(cell.project(u), x), wanted, rtol=1e-12)
    np.testing.assert_allclose(cell.output(x), rates, rtol=1e-12)
    output, h_n = rb.RNN([cell])(u[:1], x[:1])
    np.testing.assert_allclose(h_n, wanted[:1], rtol=1e-12)
    np.testing.assert_allclose(output, np.log1p(np.exp(wanted[:1])), rtol=1e-12)


@pytest.mark.parametrize("sides", ["f", "b", "fb"])
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("lengths", [False, True])
def test_numpy_in_place_gives_what_scan_gives(
    monkeypatch: pytest.MonkeyPatch, sides: str, batch: int, lengths: bool
) -> None:
    monkeypatch.setattr("rnn_backends.backends.numpy_walk.BLOCK", 400)  # several blocks
    draw = Draw("float64", 5)
    case = draw.case(shape=(30, batch, 4, 5), sides=sides, rates=True, leak=0.25, activation="elu", h_0=True)
    counts = draw.random.integers(0, 31, batch) if lengths else None
    (layer,), given = case.layers, (case.x, list(case.h_0), counts)
    (output, last), (wanted, end) = by_numpy(layer, *given), scan_layer(layer, *given)
    np.testing.assert_allclose(output, wanted, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(np.stack(list(last)), np.stack(list(end)), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("sides", ["f", "b", "fb"])
def test_a_trace_has_the_terms_of_rates(backend: str, sides: str) -> None:
    draw = Draw("float64", 6)
    case = draw.case(shape=(9, 3, 4, 5), sides=sides, layers=2, rates=True, leak=0.25, h_0=True)
    rnn = rb.RNN(case.layers, rb.Linear(draw.normal(2, 5 * len(sides)))).to(backend, "float64")
    given: Any = {"lengths": LENGTHS, "mask": MASK}
    steps = {name: rb.to_numpy(step) for name, step in rnn.trace(case.x, case.h_0, **given).items()}
    below, taken, ends = case.x, MASK & (np.arange(9)[:, None] < LENGTHS), iter(case.h_0)
    for k, layer in enumerate(case.layers):
        outputs = []
        for cell, reverse in cast(Any, layer.cells):
            names = ("input_product", "recurrent_product", "sum", "hidden_state", "output")
            found = {name: steps[f"{name}_l{k}{'_reverse' if reverse else ''}"] for name in names}
            h = next(ends)
            for t in reversed(range(9)) if reverse else range(9):
                now = {name: term[t] for name, term in found.items()}
                at = taken[t]
                np.testing.assert_allclose(now["input_product"][at], (below[t] @ cell.weight_ih.T)[at], rtol=1e-11)
                np.testing.assert_allclose(
                    now["recurrent_product"][at], (np.tanh(h) @ cell.weight_hh.T)[at], rtol=1e-11
                )
                total = now["input_product"] + now["recurrent_product"] + cell.bias
                np.testing.assert_allclose(now["sum"][at], total[at], rtol=1e-11)
                h = np.where(at[:, None], 0.75 * h + 0.25 * now["sum"], h)
                within = t < np.array(LENGTHS)
                np.testing.assert_allclose(now["hidden_state"], h * within[:, None], rtol=1e-11)
                np.testing.assert_allclose(now["output"], np.tanh(h) * within[:, None], rtol=1e-11)
                assert not any(now[name][~at].any() for name in names[:3])
            outputs.append(found["output"])
        below = np.concatenate(outputs, axis=-1)
    np.testing.assert_allclose(below, rb.to_numpy(rnn(case.x, case.h_0, **given)[0]), rtol=1e-11)
    np.testing.assert_allclose(steps["logits"], below @ rb.to_numpy(rnn.readout.weight).T, rtol=1e-11, atol=1e-14)


def test_a_trace_has_the_output_of_a_cell_of_ones_own(backend: str) -> None:
    draw = Draw("float64", 7)
    rnn = rb.RNN(stack(draw, "own")).to(backend, "float64")
    x = draw.normal(9, 3, 4)
    steps = {name: rb.to_numpy(step) for name, step in rnn.trace(x).items()}
    ends = ("l0", "l0_reverse", "l1", "l1_reverse")
    assert list(steps) == [f"{name}_{end}" for end in ends for name in ("hidden_state", "output")]
    for end in ends:
        np.testing.assert_allclose(steps[f"output_{end}"], 0.25 * steps[f"hidden_state_{end}"] ** 2, rtol=1e-12)
    output = np.concatenate([steps["output_l1"], steps["output_l1_reverse"]], axis=-1)
    np.testing.assert_allclose(output, rb.to_numpy(rnn(x)[0]), rtol=1e-12)


def test_an_output_must_keep_the_shape() -> None:
    class Half(Currents):
        def step(self, projected: Any, h: Any) -> Any:
            return projected + h

        def output(self, states: Any) -> Any:
            return states[..., :1]

    cell = own_cell(Draw("float64", 0), 4, 5)
    with pytest.raises(
        rb.ShapeError, match=r"output of the cell must return an array of .* \(2, 1, 5\); got ndarray of shape"
    ):
        rb.RNN([Half(cell.weight_ih, cell.weight_hh)])(np.ones((2, 1, 4)))


def test_a_cell_with_an_attribute_of_the_name_gives_its_states() -> None:
    @dataclass(frozen=True, eq=False)
    class Named:
        output: Any  # a matrix

        def project(self, x: Any) -> Any:
            return x @ self.output.T

        def step(self, projected: Any, h: Any) -> Any:
            return projected + h

    output, h_n = rb.RNN([Named(np.ones((1, 2)))])([[1.0, 2.0], [3.0, 4.0]])
    assert (output.ravel().tolist(), h_n.ravel().tolist()) == ([3.0, 10.0], [10.0])


@pytest.mark.parametrize(
    ("leak", "message"),
    [
        (0, "`leak` must be in 0 < leak <= 1; got 0"),
        (1.5, "`leak` must be in 0 < leak <= 1; got 1.5"),
        (None, "`leak` must be a finite number; got None"),
        (np.array([0.5, 2.0]), "every `leak` must be in 0 < leak <= 1; got 2.0"),
        (np.array([0.5]), r"`leak` must have shape \(hidden_size,\) = \(2,\)"),
    ],
)
def test_leaks_that_are_refused(leak: Any, message: str) -> None:
    with pytest.raises(rb.RNNBackendError, match=message):
        rb.RateCell(np.ones((2, 3)), np.eye(2), leak=leak)


def test_a_leak_must_be_given() -> None:
    with pytest.raises(TypeError, match="leak"):
        cast(Any, rb.RateCell)(np.ones((2, 3)), np.eye(2))


def test_a_cell_of_rates_shows_none_of_its_numbers() -> None:
    cell = rb.RateCell(np.ones((2, 3)), np.eye(2), activation="relu", leak=0.25)
    shown = "RateCell(input_size=3, hidden_size=2, activation=Activation(name='relu', alpha=None, beta=None), leak="
    assert repr(cell) == f"{shown}0.25)"
    assert repr(rb.RateCell(np.ones((2, 3)), np.eye(2), activation="relu", leak=np.ones(2))) == f"{shown}'one a unit')"


def test_a_sparse_matrix_of_rates(backend: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    draw = Draw("float64", 8)
    dense = draw.rate_cell(4, 30, leak=0.25, activation="relu")
    weight = np.where(draw.random.random((30, 30)) < 0.1, dense.weight_hh, 0.0)
    cells = [rb.RateCell(dense.weight_ih, w, dense.bias, "relu", leak=0.25) for w in (weight, sparse.csr_array(weight))]
    x = draw.normal(8, 3, 4)
    plain, held = (rb.RNN([cell]).to(backend, "float64")(x, lengths=[8, 3, 0])[0] for cell in cells)
    np.testing.assert_allclose(rb.to_numpy(held), rb.to_numpy(plain), rtol=1e-12, atol=1e-14)
