"""Readouts that read each sequence as a whole: every call of a model, chunk by chunk, traced and differentiated."""

import copy
import tracemalloc
from collections.abc import Callable
from itertools import product
from typing import Any, cast

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.core.network import READS, Network
from rnn_backends.model import chunks, reading
from rnn_backends.testing import Record, excess, records, reference_network
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.records import linear

WHOLE = READS[1:]
RAGGED = [9, 0, 4]
SIDES = {
    "forward": ["f", "f"],
    "backward": ["b", "b"],
    "in turn": ["b", "f"],
    "both": ["fb"],
    "both, three layers": ["fb", "fb", "fb"],
}


def record(sides: str, reads: str, dtype: str = "float32", *, masked: bool = False) -> Record:
    draw, layers, size = Draw(dtype, 1), [], 4
    for which in SIDES[sides]:
        layers += draw.layers(which, 1, size, 5)
        size = 5 * len(which)
    mask = draw.random.random((9, 3)) < 0.6 if masked else None
    readout = linear(draw, size, 3)
    h_0 = draw.normal(sum(map(len, SIDES[sides])), 3, 5, scale=0.5)
    return Record(Network(tuple(layers), readout, reads=reads), draw.normal(9, 3, 4), h_0, RAGGED, mask)


def model(held: Record, backend: str, dtype: str = "float32", **options: Any) -> rb.RNN:
    network = held.network
    return rb.RNN(network.layers, network.readout, reads=network.reads, **options).to(backend, dtype)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("reads", WHOLE)
def test_blocks_give_what_the_whole_gives(
    backend: str, monkeypatch: pytest.MonkeyPatch, sides: str, reads: str
) -> None:
    if backend == "jax" and sides != "both":
        pytest.skip("JAX compiles each block for seconds")
    monkeypatch.setattr(reading, "AS_ONE", 1)
    for masked, block in product((False, True), (1, 2, 4, 9) if backend == "numpy" else (4,)):
        monkeypatch.setattr(chunks, "sizes", lambda *_, block=block, **__: (block, block))
        held = record(sides, reads, masked=masked)
        rnn, wanted = model(held, backend), reference_network(*held, dtype="float32")
        given: Any = {"lengths": held.lengths, "mask": held.mask}
        assert excess(rb.to_numpy(rnn.last(held.x, held.h_0, **given)), wanted.read) <= 1.0
        assert wanted.logits is not None
        assert excess(rb.to_numpy(rnn.logits(held.x, held.h_0, **given)), wanted.logits) <= 1.0


def test_what_torch_records_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    held = record("both, three layers", "mean")
    rnn, recorded = model(held, "torch"), list[int]()

    def keep(saved: Any) -> Any:
        recorded.append(saved.numel())
        return saved

    def loss() -> float:
        recorded.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
            return float(rnn.loss(torch.tensor(held.x, requires_grad=True), [0, 0, 1]).detach())

    whole, once = loss(), sum(recorded)
    monkeypatch.setattr(chunks, "BUDGET", 1)
    assert loss() == pytest.approx(whole, rel=1e-6)
    assert sum(recorded) == once > 0
    with torch.no_grad():
        assert loss() == pytest.approx(whole, rel=1e-6)
    assert not recorded


@pytest.mark.parametrize(("num_layers", "num_blocks"), [(1, 5), (2, 1)])
def test_layers_are_run_again_only_for_many_blocks(
    monkeypatch: pytest.MonkeyPatch, num_layers: int, num_blocks: int
) -> None:
    """Of few, all are run as one."""
    held, spans = record("both, three layers", "mean"), set()
    monkeypatch.setattr(chunks, "sizes", lambda *_, **__: (2, 2))
    monkeypatch.setattr(reading, "AS_ONE", 5)
    call = chunks.ChunkedCall(rb.RNN(held.network.layers[:num_layers]).placed, held.x)
    arguments = call.arguments

    def counted(start: int, stop: int) -> Any:
        spans.add((start, stop))
        return arguments(start, stop)

    monkeypatch.setattr(call, "arguments", counted)
    reading.summarize(call, "mean")
    assert len(spans - {(0, 1)}) == num_blocks


@pytest.mark.parametrize("reads", WHOLE)
def test_a_call_may_read_otherwise_than_the_model(backend: str, reads: str) -> None:
    held = record("both", "steps")
    rnn, other = model(held, backend), model(held._replace(network=record("both", reads).network), backend)
    given: Any = {"lengths": held.lengths}
    for method in ("logits", "probabilities", "predict"):
        found = getattr(rnn, method)(held.x, held.h_0, **given, reads=reads)
        np.testing.assert_array_equal(
            rb.to_numpy(found), rb.to_numpy(getattr(other, method)(held.x, held.h_0, **given)), method
        )
        steps = getattr(other, method)(held.x, held.h_0, **given, reads="steps")
        assert tuple(steps.shape[:2]) == (9, 3)
    assert other.reads == reads
    assert reads in repr(other)
    assert "reads" not in repr(rnn)


def test_last_reads_the_last_step_unless_the_model_says_otherwise(backend: str) -> None:
    held = record("both", "steps")
    output, h_n = (rb.to_numpy(each) for each in model(held, backend)(held.x, held.h_0))
    last = rb.to_numpy(model(held, backend).last(held.x, held.h_0))
    np.testing.assert_allclose(last, output[-1], rtol=1e-5, atol=1e-6)
    final = rb.to_numpy(model(record("both", "final"), backend).last(held.x, held.h_0))
    np.testing.assert_allclose(final, np.concatenate(list(h_n), axis=-1), rtol=1e-5, atol=1e-6)
    single = rb.to_numpy(model(held, backend).last(held.x[:, 0], held.h_0[:, 0]))
    np.testing.assert_allclose(single, last[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reads", WHOLE)
def test_predictions_probabilities_and_loss_follow_from_the_logits(backend: str, reads: str) -> None:
    held = record("both, three layers", reads)
    rnn = model(held, backend)
    z = rb.to_numpy(rnn.logits(held.x, lengths=RAGGED)).astype(np.float64)
    p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(rb.to_numpy(rnn.probabilities(held.x, lengths=RAGGED)), p, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(rb.to_numpy(rnn.predict(held.x, lengths=RAGGED)), z.argmax(axis=-1))
    targets = np.array([2, -7, 1])  # that of a sequence without a step is not looked at
    loss = float(rb.to_numpy(rnn.loss(held.x, targets, lengths=RAGGED)))
    assert loss == pytest.approx(-np.log(p[[0, 2], [2, 1]]).mean(), rel=1e-5)
    mask = np.ones((9, 3), bool)
    mask[:4, 2] = False
    loss = float(rb.to_numpy(rnn.loss(held.x, [2, -7, -1], lengths=RAGGED, mask=mask)))
    z = rb.to_numpy(rnn.logits(held.x, lengths=RAGGED, mask=mask)).astype(np.float64)
    assert loss == pytest.approx(np.log(np.exp(z[0]).sum()) - z[0, 2], rel=1e-5)
    one = float(rb.to_numpy(rnn.loss(held.x[:, 0], 2)))
    assert one == pytest.approx(-np.log(p[0, 2]), rel=1e-5)


def test_the_loss_of_no_sequence_is_nan(backend: str) -> None:
    rnn = model(record("forward", "mean"), backend)
    assert np.isnan(float(rb.to_numpy(rnn.loss(np.ones((0, 2, 4), np.float32), [0, 99]))))
    assert np.isnan(float(rb.to_numpy(rnn.loss(np.ones((3, 2, 4), np.float32), [0, 1], lengths=[0, 0]))))


@pytest.mark.parametrize("reads", WHOLE)
def test_batch_first_and_no_batch_are_the_same_computation(reads: str) -> None:
    held = record("both", reads)
    wanted = model(held, "numpy").logits(held.x, held.h_0, lengths=RAGGED)
    swapped = model(held, "numpy", batch_first=True)
    np.testing.assert_allclose(swapped.logits(held.x.swapaxes(0, 1), held.h_0, lengths=RAGGED), wanted, atol=1e-6)
    mask = np.ones((9, 3), bool)
    masked = swapped.logits(held.x.swapaxes(0, 1), held.h_0, lengths=RAGGED, mask=mask.T)
    np.testing.assert_allclose(masked, wanted, atol=1e-6)
    single = model(held, "numpy").logits(held.x[:, 0], held.h_0[:, 0])
    np.testing.assert_allclose(single, wanted[0], atol=1e-6)


@pytest.mark.parametrize("reads", WHOLE)
def test_impossible_lengths_on_a_device_make_their_sequence_nan(reads: str) -> None:
    held = record("both", reads)
    rnn = model(held, "array_api_strict")
    lengths = rnn.backend.from_host(np.array([9, 10, -1]), "int32", rnn.device)
    found = np.isnan(rb.to_numpy(rnn.logits(held.x, held.h_0, lengths=lengths))).all(axis=-1)
    assert found.tolist() == [False, True, True]
    traced = rb.to_numpy(rnn.trace(held.x, held.h_0, lengths=lengths)["logits"])
    assert np.isnan(traced).all(axis=-1).tolist() == [False, True, True]


@pytest.mark.parametrize("reads", WHOLE)
def test_a_trace_holds_every_step_and_one_readout_a_sequence(backend: str, reads: str) -> None:
    held = record("both, three layers", reads)
    rnn = model(held, backend)
    steps = rnn.trace(held.x, held.h_0, lengths=RAGGED)
    assert tuple(steps["hidden_state_l2_reverse"].shape) == (9, 3, 5)
    wanted = rb.to_numpy(rnn.logits(held.x, held.h_0, lengths=RAGGED))
    np.testing.assert_allclose(rb.to_numpy(steps["logits"]), wanted, atol=1e-6)
    assert tuple(steps["probabilities"].shape) == (3, 3)
    assert tuple(rnn.trace(held.x[:, 0])["logits"].shape) == (3,)


@pytest.mark.parametrize("reads", WHOLE)
def test_a_stream_reads_all_steps_since_its_reset(backend: str, reads: str) -> None:
    held = record("forward", reads)
    rnn = model(held, backend)
    stream = rnn.stream(batch_size=3)
    for _ in range(2):
        for start, stop in ((0, 0), (0, 2), (2, 9)):
            found = rb.to_numpy(stream.logits(held.x[start:stop]))
            np.testing.assert_allclose(found, rb.to_numpy(rnn.logits(held.x[:stop])), atol=2e-6)
        stream.reset()
    stream(held.x[:4])  # a call without logits counts as well
    found = rb.to_numpy(stream.probabilities(held.x[4:]))
    np.testing.assert_allclose(found, rb.to_numpy(rnn.probabilities(held.x)), atol=2e-6)
    single = rnn.stream()
    assert tuple(single.logits(held.x[:, 0]).shape) == (3,)
    assert tuple(single.logits(held.x[:, :1]).shape) == (1, 3)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("reads", WHOLE)
def test_a_stream_and_its_copy_read_each_their_own(
    backend: str, reads: str, copied: Callable[[rb.Stream], rb.Stream]
) -> None:
    held = record("forward", reads)
    rnn = model(held, backend)
    stream = rnn.stream(batch_size=3)
    stream(held.x[:4])
    other = copied(stream)
    other(100 * held.x[:3])
    found = rb.to_numpy(stream.logits(held.x[4:]))
    np.testing.assert_allclose(found, rb.to_numpy(rnn.logits(held.x)), atol=2e-6)
    other.reset()
    np.testing.assert_allclose(rb.to_numpy(other.logits(held.x)), found, atol=2e-6)


@pytest.mark.parametrize(
    ("reads", "directions", "num_layers", "masked"),
    [("last", 1, 1, False), ("mean", 2, 1, False), ("max", 1, 1, True), ("last", 2, 2, False)],
)
def test_a_large_batch_is_read_in_little_memory(reads: str, directions: int, num_layers: int, masked: bool) -> None:
    """The states of all steps would be 125 MiB a direction and layer."""
    drawn = rb.RNN.init(32, 256, num_layers=num_layers, bidirectional=directions == 2, seed=1)
    encoder = rb.Linear(np.eye(32, dtype=np.float32), activation="tanh") if masked else None
    rnn, x = rb.RNN(drawn.layers, encoder=encoder), np.zeros((2000, 64, 32), np.float32)
    given: Any = {"lengths": np.full(64, 1999), "mask": np.ones((2000, 64), bool)} if masked else {}
    assert peak(lambda: rnn.last(x, reads=reads, **given)) < 40


@pytest.mark.sampled(3)
@pytest.mark.parametrize("sides", ["f", "b", "fb"])
@pytest.mark.parametrize("reads", WHOLE)
def test_no_more_than_a_block_of_steps_is_held(monkeypatch: pytest.MonkeyPatch, reads: str, sides: str) -> None:
    monkeypatch.setattr(chunks, "BUDGET", 2**18)
    draw = Draw("float32", 1)
    rnn = rb.RNN(draw.layers(sides, 2, 8, 32), linear(draw, 32 * len(sides), 3))
    x, targets = np.zeros((4000, 8, 8), np.float32), np.zeros(8, int)
    for call in (rnn.last, rnn.logits, rnn.predict, lambda x, reads: rnn.loss(x, targets, reads=reads)):
        assert peak(lambda call=call: call(x, reads=reads)) < 1.5  # type: ignore[misc]  # of 4 MiB a cell


def peak(call: Callable[[], object]) -> float:
    """Return the largest memory that a call takes, in MiB."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


X: Any = np.ones((9, 3, 4), np.float32)
REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda rnn: rnn.logits(X, reads="end"), rb.ArgumentError, "`reads` must be one of 'steps', 'last', 'final', 'mean', 'max'; got 'end'"),
    (lambda rnn: rb.RNN(rnn.layers, reads="end"), rb.ArgumentError, "`reads` must be one of 'steps', .*; got 'end'"),
    (lambda rnn: rb.RNN(rnn.layers, reads=cast(Any, None)), rb.ArgumentError, "`reads` must be one of 'steps', .*; got None"),
    (lambda rnn: rnn.last(X, reads="steps"), rb.ArgumentError, "`reads` must be 'last', 'final', 'mean' or 'max'"),
    (lambda rnn: rnn.last(X, reads="first"), rb.ArgumentError, "`reads` must be one of"),
    (lambda rnn: rnn.iter_probabilities(X), rb.ArgumentError, "iter_probabilities gives those of each step.*; call probabilities, or pass reads='steps'"),
    (lambda rnn: rnn.loss(X, np.zeros((9, 3), int)), rb.ShapeError, r"`targets` must have shape \(3,\), one for each sequence, whose 'mean' .*; got \(9, 3\)"),
    (lambda rnn: rnn.loss(X, [0, 1, 3]), rb.ArgumentError, r"every target in `targets` must be in 0..2; got 3 at \[2\]"),
    (lambda rnn: rnn.loss(X, [0.0, 1.0, 2.0]), rb.DTypeError, "`targets` must hold integers"),
    (lambda rnn: rnn.loss(X[:, 0], [0]), rb.ShapeError, r"`targets` must have shape \(\), one for each sequence"),
    (lambda rnn: rnn.loss(X, [0, 1, 2], reads="steps"), rb.ShapeError, r"`targets` must have shape \(9, 3\)"),
    (lambda rnn: rnn.generate([0], 3), rb.ArgumentError, "generate needs a model that predicts its own next token id"),
    (lambda rnn: rb.RNN(rnn.layers, rb.Linear(np.ones((4, 5), np.float32)), reads="max").generate([0], 3), rb.ArgumentError, "that of this model reads the 'max'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_calls_that_are_refused(call: Any, error: type[Exception], message: str) -> None:
    draw = Draw("float32", 0)
    rnn = rb.RNN(draw.layers("f", 1, 4, 5), linear(draw, 5, 3), reads="mean")
    with pytest.raises(error, match=message):
        call(rnn)


def test_steps_of_a_model_that_reads_sequences() -> None:
    rnn = model(record("forward", "final"), "numpy")
    parts = np.concatenate(list(rnn.iter_probabilities(X, reads="steps")))
    np.testing.assert_allclose(parts, rnn.probabilities(X, reads="steps"), atol=1e-6)


@pytest.mark.parametrize("reads", ["steps", "last", "final"])
def test_generated_text_does_not_depend_on_what_is_read(backend: str, reads: str) -> None:
    draw = Draw("float32", 3)
    layers, readout = draw.layers("f", 2, 4, 5), linear(draw, 5, 4)
    wanted = rb.RNN(layers, readout).generate([1, 2], 12, seed=4)
    found = rb.RNN(layers, readout, reads=reads).to(backend).generate([1, 2], 12, seed=4)
    assert rb.to_numpy(found).tolist() == rb.to_numpy(wanted).tolist()


@pytest.mark.parametrize("part", records("float64"))
def test_gradients_under_jax_are_those_of_torch(part: str, thorough: bool) -> None:
    """Of the loss by every array of the record, traced by jax.jit."""
    jax, torch = pytest.importorskip("jax"), pytest.importorskip("torch")
    if not thorough and part not in {"encoder and head", "uneven", "max, both directions"}:
        pytest.skip("JAX compiles for seconds")
    from rnn_backends.core.layers import named_arrays
    from rnn_backends.core.parameters import map_arrays

    held = records("float32")[part]
    names = [name for name, _ in named_arrays(held.network)]
    classes = held.network.readout[-1].output_size
    shape = held.x.shape[:2] if held.network.reads == "steps" else held.x.shape[1:2]
    targets = np.random.default_rng(0).integers(0, classes, shape)
    given: Any = {"lengths": held.lengths, "mask": held.mask}

    def loss(arrays: Any, backend: str) -> Any:
        place = rb.RNN.init(1, 1, backend=backend).placed.placement
        each = iter(arrays)
        network = map_arrays(lambda _: next(each), held.network)
        return rb.RNN.from_network(network, place).loss(held.x, targets, held.h_0, **given)

    arrays = [np.array(array) for _, array in named_arrays(held.network)]
    traced = jax.jit(jax.grad(lambda each: loss(each, "jax")))([jax.numpy.asarray(array) for array in arrays])
    leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
    loss(leaves, "torch").backward()
    for name, found, leaf in zip(names, traced, leaves, strict=True):
        np.testing.assert_allclose(np.asarray(found), leaf.grad.numpy(), rtol=1e-4, atol=1e-6, err_msg=name)
