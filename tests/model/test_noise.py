"""Noise: the numbers that are drawn for it, where they are added, and that nothing else decides them."""

import pickle
from copy import copy
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.backends import transfer
from rnn_backends.core.network import READS
from rnn_backends.model import chunks
from rnn_backends.model.carried import Carried
from rnn_backends.testing.cases import Draw

NOISE = rb.Noise([0.5, 0.0, 0.25, 0.125, 1.0], seed=2**70)
LENGTHS = [9, 4, 0]
MASK = np.array(
    [[1, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1], [1, 1, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1]], bool
)
CLOSE: Any = {"rtol": 1e-11, "atol": 1e-13}


def drawn(noise: rb.Noise, cell: int, seq_len: int, batch: int, size: int) -> Any:
    """Return the numbers by the formula of the documentation."""
    found = np.empty((seq_len, batch, size))
    for t in range(seq_len):
        for b in range(batch):
            source = np.random.Philox(np.random.SeedSequence(noise.seed, spawn_key=(cell,)))
            jumped = source.jumped(b * 2**64 + t)
            found[t, b] = np.random.Generator(jumped).standard_normal(size) * np.asarray(noise.std)
    return found


def layers_of(sides: str, rates: bool, count: int = 2, dtype: str = "float64") -> list[rb.Layer]:
    options: dict[str, Any] = {"rates": True, "leak": 0.5} if rates else {"clip": 0.75, "leak": 0.5}
    return Draw(dtype, 1).layers(sides, count, 4, 5, activation="sigmoid", **options)


def walked(layers: list[rb.Layer], x: Any, noise: rb.Noise, given: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Return the output of a network and the last states, with the equation written out: the definition."""
    steps: dict[str, Any] = {"lengths": [len(x)] * x.shape[1], "mask": np.ones(x.shape[:2], bool)} | given
    last: list[Any] = []
    for layer in layers:
        outputs = []
        for cell, reverse in cast(Any, layer.cells):
            seq_len, batch, _ = x.shape
            numbers = drawn(noise, len(last), seq_len, batch, cell.hidden_size)
            h, output = np.zeros(numbers.shape[1:]), np.zeros(numbers.shape)
            for b, length in enumerate(steps["lengths"]):
                for t in reversed(range(length)) if reverse else range(length):
                    before = cell.activate(h[b]) if isinstance(cell, rb.RateCell) else h[b]
                    total = cell.weight_hh @ before + cell.weight_ih @ x[t, b] + cell.bias + numbers[t, b]
                    if isinstance(cell, rb.Cell):
                        total = cell.activate(np.clip(total, -0.75, 0.75))
                    if steps["mask"][t, b]:
                        h[b] = 0.5 * h[b] + 0.5 * total
                    output[t, b] = cell.activate(h[b]) if isinstance(cell, rb.RateCell) else h[b]
            outputs.append(output)
            last.append(h)
        x = np.concatenate(outputs, axis=-1)
    return x, last


@pytest.mark.parametrize("rates", [False, True])
@pytest.mark.parametrize("sides", ["f", "b", "fb"])
@pytest.mark.parametrize("given", [(), ("lengths",), ("mask",), ("lengths", "mask")], ids="+".join)
def test_the_numbers_are_added_to_the_sums(backend: str, rates: bool, sides: str, given: tuple[str, ...]) -> None:
    layers, x = layers_of(sides, rates), Draw("float64", 2).normal(9, 3, 4)
    arguments: dict[str, Any] = {name: {"lengths": LENGTHS, "mask": MASK}[name] for name in given}
    output, last = walked(layers, x, NOISE, arguments)
    got, h_n = rb.RNN(layers, noise=NOISE).to(backend, "float64")(x, **arguments)
    np.testing.assert_allclose(rb.to_numpy(got), output, **CLOSE)
    np.testing.assert_allclose(rb.to_numpy(h_n), np.stack(last), **CLOSE)


@pytest.mark.parametrize("rates", [False, True])
@pytest.mark.parametrize("sides", ["f", "b", "fb"])
def test_a_trace_has_the_noise_in_its_sums(backend: str, rates: bool, sides: str) -> None:
    layers, x = layers_of(sides, rates), Draw("float64", 3).normal(9, 3, 4)
    rnn = rb.RNN(layers, noise=NOISE).to(backend, "float64")
    steps = {name: rb.to_numpy(step) for name, step in rnn.trace(x, lengths=LENGTHS, mask=MASK).items()}
    taken, cell_index = (MASK & (np.arange(9)[:, None] < LENGTHS))[..., None], 0
    for k, layer in enumerate(layers):
        for cell, reverse in cast(Any, layer.cells):
            end = f"l{k}_reverse" if reverse else f"l{k}"
            numbers = drawn(NOISE, cell_index, 9, 3, 5) * taken
            np.testing.assert_allclose(steps[f"noise_{end}"], numbers, **CLOSE)
            total = steps[f"input_product_{end}"] + steps[f"recurrent_product_{end}"] + (cell.bias + numbers) * taken
            np.testing.assert_allclose(steps[f"sum_{end}"], total, **CLOSE)
            cell_index += 1
    top = [
        steps[f"{'output' if rates else 'hidden_state'}_l1{end}"] for end in ("", "_reverse") if f"sum_l1{end}" in steps
    ]
    output = rb.to_numpy(rnn(x, lengths=LENGTHS, mask=MASK)[0])
    np.testing.assert_allclose(np.concatenate(top, axis=-1), output, **CLOSE)


@pytest.mark.parametrize("rates", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_differ_by_their_rounding_alone(rates: bool, dtype: str) -> None:
    layers, x = layers_of("fb", rates), Draw("float64", 4).normal(20, 3, 4)
    wide, rnn = rb.RNN(layers, noise=NOISE), rb.RNN(layers, noise=NOISE).to(dtype=dtype)
    assert rnn.noise == NOISE
    output, h_n = rnn(x)
    assert (str(output.dtype), str(h_n.dtype)) == (dtype, dtype)
    np.testing.assert_allclose(output, wide(x)[0], atol={"float16": 0.02, "float32": 1e-5, "float64": 1e-12}[dtype])


def test_a_single_sequence_is_the_first_of_a_batch(backend: str) -> None:
    x = Draw("float64", 5).normal(9, 3, 4)
    rnn = rb.RNN(layers_of("fb", True), rb.Linear(np.ones((2, 10))), noise=NOISE).to(backend, "float64")
    for reads in READS:
        whole, alone = rnn.logits(x, reads=reads), rnn.logits(x[:, 0], reads=reads)
        first = rb.to_numpy(whole)[:, 0] if reads == "steps" else rb.to_numpy(whole)[0]
        np.testing.assert_allclose(rb.to_numpy(alone), first, **CLOSE)


def test_other_sequences_padding_and_the_order_of_axes_change_nothing(backend: str) -> None:
    x = Draw("float64", 6).normal(9, 3, 4)
    layers = layers_of("fb", True)
    rnn = rb.RNN(layers, noise=NOISE).to(backend, "float64")
    whole = rb.to_numpy(rnn(x)[0])
    np.testing.assert_allclose(rb.to_numpy(rnn(x[:, :2])[0]), whole[:, :2], **CLOSE)
    padded = np.concatenate([x, np.full((4, 3, 4), np.nan)])
    output = rb.to_numpy(rnn(padded, lengths=[9, 9, 9])[0])
    np.testing.assert_allclose(output[:9], whole, **CLOSE)
    assert not output[9:].any()
    turned = rb.RNN(layers, noise=NOISE, batch_first=True).to(backend, "float64")
    np.testing.assert_allclose(rb.to_numpy(turned(x.swapaxes(0, 1))[0]).swapaxes(0, 1), whole, **CLOSE)
    assert (np.abs(whole[:, 0] - rb.to_numpy(rnn(x[:, [1, 0, 2]])[0])[:, 1]) > 1e-3).any()  # they are of the place


@pytest.mark.sampled(3)
@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("sides", ["f", "b", "fb"])
@pytest.mark.parametrize("is_masked", [False, True])
def test_chunks_change_nothing(
    monkeypatch: pytest.MonkeyPatch, backend: str, sides: str, reads: str, is_masked: bool
) -> None:
    draw = Draw("float64", 7)
    layers, x, targets = layers_of(sides, True), draw.normal(40, 3, 4), draw.random.integers(0, 3, (40, 3))
    rnn = rb.RNN(layers, rb.Linear(draw.normal(3, 5 * len(sides))), reads=reads, noise=NOISE).to(backend, "float64")
    given: Any = {"lengths": [40, 23, 1], "mask": draw.random.random((40, 3)) < 0.7} if is_masked else {}
    goals = targets if reads == "steps" else targets[0]

    def results() -> dict[str, Any]:
        output, h_n = rnn(x, **given)
        found = {"output": output, "h_n": h_n, "logits": rnn.logits(x, **given), "loss": rnn.loss(x, goals, **given)}
        if reads == "steps":
            chunked = [rb.to_numpy(part) for part in rnn.iter_probabilities(x, **given)]
            found |= {"iter_probabilities": np.concatenate(chunked), "probabilities": rnn.probabilities(x, **given)}
        else:
            found |= {"last": rnn.last(x, **given)}
        return {name: rb.to_numpy(array) for name, array in found.items()}

    whole = results()
    if reads == "steps":
        np.testing.assert_allclose(whole["iter_probabilities"], whole["probabilities"], **CLOSE)
    if reads == "final":
        ends = whole["h_n"][-len(sides) :]
        np.testing.assert_allclose(whole["last"], np.concatenate(list(1 / (1 + np.exp(-ends))), axis=-1), **CLOSE)
    monkeypatch.setattr(chunks, "BUDGET", 4000)
    for name, array in results().items():
        np.testing.assert_allclose(array, whole[name], err_msg=name, **CLOSE)


def test_no_more_is_drawn_at_once_than_a_block(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    """Of long sequences the noise of a block is held, whatever the backend."""
    rnn = rb.RNN(layers_of("f", True), noise=NOISE).to(backend, "float64")
    x, drawn_at_once = np.ones((300, 2, 4)), []
    registered = type(rnn.placed).noise

    def noise(*arguments: Any) -> Any:
        found: Any = registered(*arguments)
        drawn_at_once.append(sum(int(np.prod(part.shape)) * 8 for part in found))
        return found

    monkeypatch.setattr(type(rnn.placed), "noise", noise)
    rnn(x)
    monkeypatch.setattr(chunks, "BUDGET", 8000)
    rnn(x)
    whole, *blocks = drawn_at_once
    assert (whole, sum(blocks)) == (300 * 2 * 10 * 8, whole)
    assert max(blocks) <= 8000


def test_the_sizes_of_a_streams_chunks_change_nothing(backend: str) -> None:
    draw = Draw("float64", 8)
    rnn = rb.RNN(layers_of("f", True), rb.Linear(draw.normal(3, 5)), noise=NOISE).to(backend, "float64")
    x = draw.normal(9, 2, 4)
    whole, stream = rb.to_numpy(rnn(x)[0]), rnn.stream(batch_size=2)
    for cuts in ([0, 9], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 4, 4, 9]):
        stream.reset()
        parts = [rb.to_numpy(stream(x[start:stop])) for start, stop in pairwise(cuts)]
        np.testing.assert_allclose(np.concatenate(parts), whole, **CLOSE)
    stream.reset()
    stream(x[:4])
    other = copy(stream)
    for each in (stream, other):
        np.testing.assert_allclose(rb.to_numpy(each(x[4:])), whole[4:], **CLOSE)
    with pytest.raises(rb.ShapeError):
        other(x[:, :, :2])
    other.reset()
    np.testing.assert_allclose(rb.to_numpy(other.logits(x)), rb.to_numpy(rnn.logits(x)), **CLOSE)


@pytest.mark.parametrize("reads", READS)
def test_what_is_carried_from_block_to_block_has_the_noise_of_its_steps(reads: str) -> None:
    draw = Draw("float64", 12)
    rnn = rb.RNN(layers_of("f", True), rb.Linear(draw.normal(3, 5)), reads=reads, noise=NOISE)
    x, carried, found = draw.normal(9, 2, 4), Carried.begin(rnn.placed, reads), []
    for start, stop in ((0, 4), (4, 5), (5, 9)):
        if reads == "steps":
            part, carried = carried.each(rnn.placed, "probabilities", x[start:stop], None)
            found.append(part)
        else:
            carried = carried.walk(rnn.placed, x[start:stop], None)
    got = np.concatenate(found) if reads == "steps" else carried.result(rnn.placed, "probabilities")
    np.testing.assert_allclose(got, rnn.probabilities(x), **CLOSE)


@pytest.mark.parametrize("reads", READS)
def test_a_pickle_of_a_stream_goes_on_where_its_state_begins_anew(backend: str, reads: str) -> None:
    draw = Draw("float64", 13)
    rnn = rb.RNN(layers_of("f", False), rb.Linear(draw.normal(3, 5)), reads=reads, noise=NOISE).to(backend, "float64")
    x, stream = draw.normal(9, 2, 4), rnn.stream(batch_size=2)
    stream.logits(x[:4])
    wanted = rb.to_numpy(rnn.logits(x))
    wanted = wanted[4:] if reads == "steps" else wanted
    resumed = pickle.loads(pickle.dumps(stream))
    np.testing.assert_allclose(rb.to_numpy(resumed.logits(x[4:])), wanted, **CLOSE)
    state = rb.to_numpy(stream.state)
    stream.reset(state)
    np.testing.assert_allclose(rb.to_numpy(stream(x[4:])), rb.to_numpy(rnn(x[4:], state)[0]), **CLOSE)


def test_a_refused_chunk_leaves_the_noise_where_it_was() -> None:
    rnn = rb.RNN(layers_of("f", False), noise=NOISE)
    x, stream = Draw("float64", 9).normal(6, 1, 4), rnn.stream()
    stream(x[:2])
    with pytest.raises(rb.ShapeError):
        stream(x[:, :, :3])
    np.testing.assert_allclose(stream(x[2:]), rnn(x)[0][2:], **CLOSE)


def test_text_is_generated_with_the_noise_of_its_steps() -> None:
    draw = Draw("float64", 10)
    cell = draw.rate_cell(3, 5, leak=0.5)
    rnn = rb.RNN([cell], rb.Linear(draw.normal(3, 5)), vocabulary="abc", noise=rb.Noise(3.0, seed=1))
    text = "ab" + rnn.generate("ab", 30, temperature=0)
    for count in range(2, len(text)):
        assert "abc"[int(rnn.predict(text[:count])[-1])] == text[count]
    assert text[2:] != rb.RNN([cell], rnn.readout, vocabulary="abc").generate("ab", 30, temperature=0)


def test_seeds_cells_units_steps_and_sequences_have_numbers_of_their_own() -> None:
    zero = rb.Cell(np.zeros((50, 1)), np.zeros((50, 50)), activation="identity")
    both = rb.Layer(zero, zero)

    def numbers(seed: int) -> Any:
        return rb.RNN([both], noise=rb.Noise(2.0, seed=seed))(np.zeros((200, 10, 1)))[0]

    first, again, other = numbers(0), numbers(0), numbers(1)
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(np.concatenate([first.ravel(), other.ravel()]))) == 2 * first.size
    # Of 200,000 numbers the mean is within 5 standard errors, and so is the variance.
    assert abs(first.mean()) < 5 * 2 / np.sqrt(first.size)
    assert abs(first.var() / 4 - 1) < 5 * np.sqrt(2 / first.size)
    flat = first.reshape(200, -1)
    assert abs(np.corrcoef(flat[:-1].ravel(), flat[1:].ravel())[0, 1]) < 5 / np.sqrt(first.size)
    assert abs(np.corrcoef(first[..., :50].ravel(), first[..., 50:].ravel())[0, 1]) < 5 / np.sqrt(first.size / 2)


def test_no_noise_is_that_of_deviation_0() -> None:
    x, layers = Draw("float64", 11).normal(9, 3, 4), layers_of("fb", True)
    np.testing.assert_allclose(rb.RNN(layers, noise=rb.Noise(0))(x)[0], rb.RNN(layers)(x)[0], **CLOSE)


def test_the_noise_goes_with_the_model() -> None:
    rnn = rb.RNN(layers_of("f", False), noise=NOISE)
    x = np.ones((4, 2, 4))
    for other in (pickle.loads(pickle.dumps(rnn)), rnn.to("array_api_strict")):
        assert other.noise == NOISE
        np.testing.assert_allclose(rb.to_numpy(other(x)[0]), rnn(x)[0], **CLOSE)
    assert "noise=(std 0 to 1, seed" in repr(rnn)


def test_nothing_is_drawn_for_no_sequence_and_no_step(backend: str) -> None:
    rnn = rb.RNN(layers_of("fb", True), rb.Linear(np.ones((2, 10))), noise=NOISE).to(backend, "float64")
    for shape in ((0, 3, 4), (5, 0, 4), (0, 0, 4)):
        output, h_n = rnn(np.zeros(shape))
        assert (tuple(output.shape), tuple(h_n.shape)) == ((*shape[:2], 10), (4, shape[1], 5))


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "a number": (0.1, rb.ArgumentError, r"`noise` must be a Noise, such as Noise\(0.1, seed=1\); got 0.1"),
    "a std of another size": (rb.Noise([0.1] * 4), rb.ShapeError, r"one for each of 5 units of layers\[0\].forward; got 4"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_model_takes(kind: str) -> None:
    noise, error, message = REFUSED[kind]
    with pytest.raises(error, match=message):
        rb.RNN(layers_of("f", True), noise=noise)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "negative": ({"std": -0.1}, rb.ArgumentError, "`std` of a Noise must be at least 0; got -0.1"),
    "one negative": ({"std": [0.1, -0.2]}, rb.ArgumentError, "`std` of a Noise must be at least 0; got -0.2"),
    "NaN": ({"std": np.nan}, rb.ArgumentError, "`std` of a `Noise` must be a finite number; got nan"),
    "a matrix": ({"std": np.ones((2, 2))}, rb.ShapeError, r"must be a number, or have shape \(hidden_size,\); got \(2, 2\)"),
    "a seed that is a float": ({"std": 1, "seed": 1.0}, rb.ArgumentError, r"integer from 0 to 2\*\*256 - 1; got 1.0"),
    "a seed too large": ({"std": 1, "seed": 2**256}, rb.ArgumentError, r"integer from 0 to 2\*\*256 - 1; got"),
    "a negative seed": ({"std": 1, "seed": -1}, rb.ArgumentError, "got -1"),
    "a seed that is true": ({"std": 1, "seed": True}, rb.ArgumentError, "got True"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_noise(kind: str) -> None:
    given, error, message = WRONG[kind]
    with pytest.raises(error, match=message):
        rb.Noise(**given)


def test_deviations_must_be_on_the_host() -> None:
    there = transfer.to_numpy(np.ones(2))
    xp = rb.get_backend("array_api_strict").xp
    with pytest.raises(rb.DTypeError, match="`std` of a Noise must be on the host, where it is drawn"):
        rb.Noise(xp.asarray(there))


def test_a_cell_of_ones_own_has_no_sum_to_add_to() -> None:
    class Mine:
        hidden_size = 3

        def project(self, x: Any) -> Any:
            return x

        def step(self, projected: Any, h: Any) -> Any:
            return projected + h

    with pytest.raises(
        rb.ArgumentError, match=r"added to the sums of Cell and RateCell; layers\[0\].forward is another"
    ):
        rb.RNN([Mine()], noise=rb.Noise(0.1))
