"""Long sequences in pieces of time: the same results as in one, and memory that does not grow with them."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.cli import main as cli
from rnn_backends.core import checks
from rnn_backends.core.cell import Cell
from rnn_backends.core.forward import propagate
from rnn_backends.core.losses import mean_of
from rnn_backends.model import chunks, placed
from rnn_backends.model.placed import Placed
from rnn_backends.testing.cases import Case, Draw
from rnn_backends.testing.reference import ROUNDOFF, Bounded, excess, reference

OUTPUTS, STEPS = 40, 11
MIB = 2**20
# By steps: one each; three, in stretches of six where there is a batch of three; all at once.
BUDGETS = {"steps": 1, "pieces": 3 * OUTPUTS * 3 * 4, "whole": 2**24}


def cases(dtype: str) -> dict[str, Case]:
    draw, shape = Draw(dtype, 0), (STEPS, 3, 4, 5)
    made = {
        "forward": draw.case(shape=shape, layers=2, h_0=True),
        "ragged": draw.case(shape=shape, layers=2, lengths=[STEPS, 0, 4]),
        "ragged, from a state": draw.case(shape=shape, layers=2, h_0=True, lengths=[7, 6, 3]),
        "pieces of nothing but padding": draw.case(shape=shape, h_0=True, lengths=[2, 0, 1]),
        "no valid step": draw.case(shape=shape, lengths=[0, 0, 0]),
        "tokens": draw.case(shape=shape, tokens=True, h_0=True),
        "ragged tokens": draw.case(shape=shape, layers=3, tokens=True, lengths=[5, STEPS, 0]),
        "backward": draw.case(shape=shape, sides="b", layers=2, h_0=True),
        "two directions, ragged": draw.case(shape=shape, sides="fb", layers=2, h_0=True, lengths=[7, 0, STEPS]),
        "leak and clip": draw.case(shape=shape, leak=0.25, clip=0.5),
        "one sequence": draw.case(shape=(STEPS, 1, 4, 5), layers=2),
        "no sequence": draw.case(shape=(STEPS, 0, 4, 5)),
        "no step": draw.case(shape=(0, 3, 4, 5), layers=2, h_0=True, lengths=[0, 0, 0]),
    }
    for case in made.values():
        if case.lengths is not None:  # what padding holds must not matter
            beyond = np.arange(len(case.x))[:, None] >= case.lengths
            case.x[beyond] = -1 if case.x.dtype.kind == "i" else np.nan
    return made


def readout_of(case: Case, dtype: str) -> rb.Linear:
    draw = Draw(dtype, 1)
    return rb.Linear(draw.normal(OUTPUTS, 5 * len(case.layers[0].cells)), draw.normal(OUTPUTS))


def bounded_logits(case: Case, readout: rb.Linear, dtype: str) -> Bounded:
    """W_ya a + b_y, which is what a cell without memory gives, with the error of the states on top."""
    states, _ = reference(*case, dtype=dtype)
    memory = np.zeros((OUTPUTS, OUTPUTS), readout.weight.dtype)
    cell = Cell(readout.weight, memory, readout.bias, activation="identity")
    value, error = reference([cell], states.value, None, case.lengths, dtype=dtype)[0]
    return Bounded(value, error + states.error @ abs(readout.weight.astype(np.float64)).T)


def model(case: Case, backend: str, dtype: str = "float32", **options: Any) -> rb.RNN:
    return rb.RNN(case.layers, readout_of(case, dtype), **options).to(backend, dtype)


def budget(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(chunks, "BUDGET", BUDGETS[name])


@pytest.mark.parametrize("size", BUDGETS)
def test_pieces_give_what_the_whole_gives(
    backend: str, monkeypatch: pytest.MonkeyPatch, size: str, thorough: bool
) -> None:
    """Logits within the bound on rounding; ids, probabilities and loss as the logits have it."""
    budget(monkeypatch, size)
    for dtype in rb.get_backend(backend).dtypes():
        for name, case in cases(dtype).items():
            is_sample = name in {"ragged, from a state", "two directions, ragged"}
            # On JAX each length is compiled anew; "pieces" has the other dtypes.
            if backend != "numpy" and size == "steps" and not (is_sample and dtype == "float32"):
                continue
            if dtype != "float32" and not (is_sample and size != "whole"):
                continue
            if backend == "jax" and not (thorough or (is_sample and dtype == "float32")):
                continue
            rnn, readout, what = model(case, backend, dtype), readout_of(case, dtype), f"{name}, {dtype}"
            wanted = bounded_logits(case, readout, dtype)
            arguments: Any = (case.x, case.h_0)
            valid = np.arange(len(case.x))[:, None] < (case.lengths or [len(case.x)] * case.x.shape[1])
            logits = rb.to_numpy(rnn.logits(*arguments, lengths=case.lengths))
            assert excess(logits, wanted) <= 1.0, what
            z = logits.astype(np.float64)
            ids = rb.to_numpy(rnn.predict(*arguments, lengths=case.lengths))
            np.testing.assert_array_equal(ids, np.where(valid, logits.argmax(axis=-1), -1), what)
            p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
            parts = [rb.to_numpy(part) for part in rnn.iter_probabilities(*arguments, lengths=case.lengths)]
            close = 8 * ROUNDOFF[dtype]
            for got in (rb.to_numpy(rnn.probabilities(*arguments, lengths=case.lengths)), np.concatenate(parts)):
                np.testing.assert_allclose(got, np.where(valid[..., None], p, 0), rtol=close, atol=close, err_msg=what)
            targets = np.random.default_rng(2).integers(0, OUTPUTS, valid.shape)
            terms = -np.log(np.take_along_axis(p, targets[..., None], -1))[..., 0][valid]
            targets[~valid] = -1
            loss = rnn.loss(case.x, targets, case.h_0, lengths=case.lengths)
            assert loss.dtype == rnn.backend.dtype(dtype)
            mean = terms.mean() if terms.size else np.nan
            assert float(rb.to_numpy(loss)) == pytest.approx(mean, rel=4 * close, nan_ok=True), what


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("steps", {"ragged": [1] * 11, "two directions, ragged": [1] * 11, "no step": [0]}),
        ("pieces", {"ragged": [3, 3, 3, 2], "two directions, ragged": [3, 3, 3, 2], "one sequence": [9, 2]}),
        ("whole", {"ragged": [11], "no sequence": [11], "backward": [11]}),
    ],
)
def test_the_sizes_decide_how_long_a_piece_is(
    monkeypatch: pytest.MonkeyPatch, name: str, sizes: dict[str, list[int]]
) -> None:
    budget(monkeypatch, name)
    stretches: list[int] = []

    def counted(layers: Any, x: Any, *others: Any) -> Any:
        stretches.append(len(x))
        return propagate(layers, x, *others)

    monkeypatch.setattr(placed, "propagate", counted)
    for feature, lengths in sizes.items():
        case = cases("float32")[feature]
        stretches.clear()
        parts = model(case, "numpy").iter_probabilities(case.x, case.h_0, lengths=case.lengths)
        assert [len(part) for part in parts] == lengths
        if feature == "ragged" and name == "pieces":  # the states are smaller than the logits, and counted twice
            assert stretches == [3, 3, 3, 2]
        if "directions" in feature:
            assert stretches == [11]


def test_half_and_double_precision_count_as_they_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    budget(monkeypatch, "pieces")
    for dtype, wanted in (("float16", [3, 3, 3, 2]), ("float32", [3, 3, 3, 2]), ("float64", [1] * 11)):
        case = cases(dtype)["forward"]
        assert [len(part) for part in model(case, "numpy", dtype).iter_probabilities(case.x)] == wanted


@pytest.mark.parametrize("size", ["steps", "pieces"])
@pytest.mark.parametrize("sides", ["f", "fb"])
def test_batch_first_and_unbatched(backend: str, monkeypatch: pytest.MonkeyPatch, size: str, sides: str) -> None:
    case = Draw("float32", 3).case(shape=(STEPS, 3, 4, 5), sides=sides, layers=2, h_0=True, lengths=[4, STEPS, 0])
    assert case.h_0 is not None
    rnn, swapped = model(case, backend), model(case, backend, batch_first=True)
    targets = np.random.default_rng(4).integers(0, OUTPUTS, (STEPS, 3))
    ids = np.random.default_rng(5).integers(0, 4, (STEPS, 3))
    wanted = rb.to_numpy(rnn.probabilities(case.x, case.h_0, lengths=case.lengths))
    single = rb.to_numpy(rnn.probabilities(case.x[:, 1], case.h_0[:, 1]))
    loss = float(rnn.loss(case.x, targets, case.h_0, lengths=case.lengths))
    of_ids = rb.to_numpy(rnn.predict(ids, lengths=case.lengths))
    budget(monkeypatch, size)
    x, count = case.x.swapaxes(0, 1), len(list(chunks.spans(0, STEPS, 1 if size == "steps" else 3)))
    parts = [rb.to_numpy(part) for part in swapped.iter_probabilities(x, case.h_0, lengths=case.lengths)]
    assert len(parts) == count
    close: Any = {"rtol": 0, "atol": 8 * ROUNDOFF["float32"]}
    np.testing.assert_allclose(np.concatenate(parts, axis=1).swapaxes(0, 1), wanted, **close)
    assert float(swapped.loss(x, targets.T, case.h_0, lengths=case.lengths)) == pytest.approx(loss, rel=1e-6)
    np.testing.assert_array_equal(rb.to_numpy(swapped.predict(ids.T, lengths=case.lengths)).T, of_ids)
    for layout in (rnn, swapped):
        got = [rb.to_numpy(part) for part in layout.iter_probabilities(case.x[:, 1], case.h_0[:, 1])]
        np.testing.assert_allclose(np.concatenate(got), single, **close)
        one = rb.to_numpy(layout.probabilities(case.x[:, 1].tolist(), case.h_0[:, 1].tolist()))
        np.testing.assert_allclose(one, single, **close)


@pytest.mark.parametrize("sides", ["f", "fb"])
def test_arrays_on_the_device_are_cut_there(backend: str, monkeypatch: pytest.MonkeyPatch, sides: str) -> None:
    """Impossible lengths, which are not read there, make NaN of their sequences in every piece."""
    case = Draw("float32", 6).case(shape=(STEPS, 3, 4, 5), sides=sides, layers=2, h_0=True)
    rnn = model(case, backend)
    is_read = rnn.backend.xp is np
    lengths = [4, 11, 0] if is_read else [4, 12, -1]
    place, device = rnn.backend, rnn.device
    x, h_0 = (place.from_host(np.asarray(array), "float32", device) for array in (case.x, case.h_0))
    n = place.from_host(np.array(lengths), "int32", device)
    wanted = rb.to_numpy(rnn.probabilities(x, h_0, lengths=n))
    assert np.isnan(wanted[:, 1]).all() != is_read
    budget(monkeypatch, "pieces")
    parts = list(rnn.iter_probabilities(x, h_0, lengths=n))
    assert [len(rb.to_numpy(part)) for part in parts] == [3, 3, 3, 2]
    assert all(place.owns(part) and place.device_of(part) == device for part in parts)
    got = np.concatenate([rb.to_numpy(part) for part in parts])
    np.testing.assert_allclose(got, wanted, rtol=0, atol=8 * ROUNDOFF["float32"])
    ids = place.from_host(np.zeros((STEPS, 3)), "int32", device)
    assert float(rnn.loss(ids, ids)) == pytest.approx(float(rnn.loss(np.zeros((STEPS, 3), int), ids)))


def test_iterators_do_not_disturb_each_other(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    budget(monkeypatch, "pieces")
    depth: list[int] = []

    @contextmanager
    def entered(_: Placed) -> Iterator[None]:
        depth.append(1)
        yield
        depth.pop()

    case = cases("float32")["forward"]
    rnn = model(case, backend)
    wanted = rb.to_numpy(rnn.probabilities(case.x, case.h_0))
    monkeypatch.setattr(Placed, "on_device", entered)
    both: tuple[list[Any], list[Any]] = ([], [])
    for parts in zip(rnn.iter_probabilities(case.x, case.h_0), rnn.iter_probabilities(case.x, case.h_0), strict=True):
        assert not depth, "the caller's code runs in the context of the device"
        for held, part in zip(both, parts, strict=True):
            held.append(rb.to_numpy(part))
    for held in both:
        np.testing.assert_allclose(np.concatenate(held), wanted, rtol=0, atol=1e-5)


# Errors


X, IDS = np.zeros((STEPS, 2, 4)), np.zeros((STEPS, 2), int)
WRONG = IDS.copy()
WRONG[-1, 1] = OUTPUTS
LAST = rf"got 40 at \[{STEPS - 1}, 1\]"
REFUSED: list[tuple[Callable[[rb.RNN], object], type[Exception], str]] = [
    (lambda rnn: rnn.predict(WRONG), rb.ArgumentError, f"every token id in `x` must be in 0..3; {LAST}"),
    (lambda rnn: rnn.loss(WRONG, IDS), rb.ArgumentError, f"every token id in `x` must be in 0..3; {LAST}"),
    (lambda rnn: rnn.loss(X, WRONG), rb.ArgumentError, f"every target in `targets` must be in 0..39; {LAST}"),
    (lambda rnn: rnn.loss(X, IDS[1:]), rb.ShapeError, r"`targets` must have shape \(11, 2\), that of the logits without their last axis; got \(10, 2\)"),
    (lambda rnn: rnn.loss(X, IDS + 0.5), rb.DTypeError, "`targets` must hold integers; got ndarray of dtype float64"),
    (lambda rnn: rnn.iter_probabilities(WRONG), rb.ArgumentError, LAST),
    (lambda rnn: rnn.iter_probabilities(X[..., :3]), rb.ShapeError, "last axis of `x` must be input_size = 4"),
    (lambda rnn: rnn.iter_probabilities(X, np.zeros((1, 3, 5))), rb.ShapeError, "`h_0` must have shape"),
    (lambda rnn: rnn.iter_probabilities(X, lengths=[1, 12]), rb.ArgumentError, r"`lengths` must be in 0..11; got 12 at \[1\]"),
    (lambda rnn: rb.RNN(rnn.layers).iter_probabilities(X), rb.ArgumentError, "iter_probabilities needs a readout, and this"),
    (lambda rnn: rb.RNN(rnn.layers, rb.Linear(rnn.readout.weight[:1, :], activation="sigmoid")).predict(X), rb.ArgumentError, "predict returns the largest of several outputs"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_errors_come_before_any_product(
    backend: str,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[rb.RNN], object],
    error: type[Exception],
    message: str,
) -> None:
    budget(monkeypatch, "steps")
    monkeypatch.setattr(placed, "propagate", lambda *_: pytest.fail("the network was run in vain"))
    with pytest.raises(error, match=message):
        call(model(Draw("float32", 0).case(shape=(STEPS, 2, 4, 5)), backend))


def test_targets_of_another_library_are_refused() -> None:
    other = rb.get_backend("array_api_strict").from_host(IDS, "int32", "CPU_DEVICE")
    with pytest.raises(rb.BackendMismatchError, match=r"`targets` is of array_api_strict .* but the model is on numpy"):
        model(Draw("float32", 0).case(shape=(STEPS, 2, 4, 5)), "numpy").loss(X, other)


@pytest.mark.parametrize("block", [1, 4, 7, 2**18])
def test_the_first_id_out_of_range_is_named_whatever_the_block(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """The first in the order in which the array holds them, padding left out."""
    monkeypatch.setattr(checks, "BLOCK", block)
    ids = np.zeros((6, 2), int)
    ids[1, 0] = ids[3, 1] = ids[4, 0] = 9

    def named(ids: NDArray[Any], lengths: Any, batch_first: bool, mask: Any = None) -> str:
        with pytest.raises(rb.ArgumentError) as refused:
            checks.require_ids("x", ids, 9, "token id", lengths, mask, batch_first)
        return str(refused.value).rpartition(" at ")[2]

    assert named(ids, None, False) == "[1, 0]."
    assert named(ids, np.array([1, 6]), False) == "[3, 1]."
    assert named(ids[2:], None, False) == "[1, 1]."
    assert named(ids[2:].T, None, True) == "[0, 2]."
    assert named(ids.T, np.array([1, 6]), True) == "[1, 3]."
    mask = np.arange(6)[:, None] > 2
    assert named(ids, None, False, np.broadcast_to(mask, (6, 2))) == "[3, 1]."
    assert named(ids.T, np.array([6, 3]), True, np.broadcast_to(mask.T, (2, 6))) == "[0, 4]."
    assert named(ids[:, 1], None, True) == named(ids[:, 1], None, False) == "[3]."
    checks.require_ids("x", ids, 9, "token id", np.array([1, 3]), None, False)
    checks.require_ids("x", ids[:0], 9, "token id", None, None, False)


# Memory


def peak(work: Callable[[], Any]) -> float:
    """The most that is held at once, and was not before, in MiB; less what is returned."""
    tracemalloc.start()
    try:
        result = work()
        return (tracemalloc.get_traced_memory()[1] - getattr(result, "nbytes", 0)) / MIB
    finally:
        tracemalloc.stop()


def long_model(**options: Any) -> rb.RNN:
    return rb.RNN.init(8000, 8, output_size=8000, **options)


def drain(parts: Iterator[Any]) -> None:
    for _ in parts:
        pass


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("method", ["predict", "loss", "iter_probabilities"])
def test_memory_does_not_grow_with_time(method: str, bidirectional: bool) -> None:
    """8000 outputs at 2200 steps would be 67 MiB, and several times that with the arrays made of them."""
    rnn, ids = long_model(bidirectional=bidirectional), np.random.default_rng(0).integers(0, 8000, 2200)
    calls: dict[str, Callable[[NDArray[Any]], Any]] = {
        "predict": rnn.predict,
        "loss": lambda x: rnn.loss(x, x),
        "iter_probabilities": lambda x: drain(rnn.iter_probabilities(x)),
    }
    short, long = (peak(partial(calls[method], x)) for x in (ids[:1100], ids))
    assert long < 130
    assert long - short < 2


def test_memory_does_not_grow_with_the_time_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rnn = long_model(dtype="float64").to(dtype="float32")
    rnn.save("model.npz")
    rb.RNN(rnn.layers).save("states.npz")
    ids = np.random.default_rng(0).integers(0, 8000, 2200).astype(np.int32)
    peaks = []
    for seq_len in (1100, 2200):
        np.save("x.npy", ids[:seq_len])
        np.savez("x.npz", x=ids[:seq_len], targets=ids[:seq_len])
        for words in ("model.npz x.npy", "model.npz x.npz --predictions"):
            command = ["run", *words.split(), "--output", "y.npy"]
            peaks.append(peak(partial(cli.main, command)))
    assert max(peaks) < 150
    assert peaks[2] - peaks[0] < 2
    assert peaks[3] - peaks[1] < 2
    np.testing.assert_array_equal(np.load("y.npy"), rnn.predict(ids))


RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "converted": ({}, {"dtype": "float64"}),
    "two layers": ({"num_layers": 2}, {}),
    "two layers of ids": ({"num_layers": 2}, {"dtype": "int64"}),
    "an encoder": ({"encoder": rb.Linear(np.eye(8, dtype=np.float32))}, {}),
    "lengths": ({}, {"lengths": [8000, 7000, 10, 0, 3]}),
    "a mask": ({}, {"mask": True}),
    "batch first": ({"num_layers": 2, "batch_first": True}, {}),
    "one sequence": ({"num_layers": 2}, {"batch": 0}),
    "initial states": ({"num_layers": 2}, {"h_0": True}),
    "features apart": ({}, {"apart": True}),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_holds_little_beside_input_and_output(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options, given = RUNS[name]
    options = {"num_layers": 1, "encoder": None, "batch_first": False, **options}
    given = {"dtype": "float32", "batch": 5, **given}
    layers = rb.RNN.init(8, 32, num_layers=options["num_layers"]).layers
    rnn = rb.RNN(layers, encoder=options["encoder"], batch_first=options["batch_first"])
    draw, batch = np.random.default_rng(0), [given["batch"]] if given["batch"] else []
    is_ids = given["dtype"] == "int64"
    drawn = draw.integers(8, size=(8000, *batch)) if is_ids else draw.normal(size=(8000, *batch, 8))
    x = drawn.astype(given["dtype"]).swapaxes(0, 1) if rnn.batch_first else drawn.astype(given["dtype"])
    x = np.repeat(x, 2, axis=-1)[..., ::2] if "apart" in given else x
    call: dict[str, Any] = {
        "lengths": given.get("lengths"),
        "mask": draw.random((8000, 5)) < 0.5 if "mask" in given else None,
        "h_0": draw.normal(size=(2, 5, 32)).astype(np.float32) if "h_0" in given else None,
    }
    wanted = rnn(x, **call)  # at once
    monkeypatch.setattr(chunks, "BUDGET", 2**18)
    found = rnn(x, **call)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert peak(lambda: rnn(x, **call)[0]) < 0.95  # beside the output; the input is 1.2 MiB, the states of a layer 4.9


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_memory_map_is_not_copied_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    monkeypatch.setattr(chunks, "BUDGET", 2**18)
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", dtype, (30_000, 1, 40))
    x[:] = np.random.default_rng(0).normal(size=x.shape)
    rnn = rb.RNN.init(40, 4, output_size=3)
    held = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert peak(lambda: rnn.predict(held)) < 2 < x.nbytes / MIB
    assert peak(lambda: rnn.loss(held[:, 0], np.zeros(len(x), np.uint8))) < 2
    np.testing.assert_array_equal(rnn.predict(held), rnn.predict(np.array(x)))


def test_ids_of_a_memory_map_are_checked_without_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.int64, (4_000_000,))
    ids[-1] = 40
    monkeypatch.setattr(placed, "propagate", lambda *_: pytest.fail("the network was run in vain"))
    rnn = rb.RNN.init(40, 4, output_size=3)

    def refused() -> None:
        with pytest.raises(rb.ArgumentError, match=r"got 40 at \[3999999\]"):
            rnn.iter_probabilities(np.load(tmp_path / "x.npy", mmap_mode="r"))

    assert peak(refused) < 4 < ids.nbytes / MIB


# The command


@pytest.mark.parametrize("size", ["steps", "pieces", "whole"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_run_writes_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str, batch_first: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    compare_runs(cases("float32"), "numpy", monkeypatch, size, batch_first)


@pytest.mark.parametrize("batch_first", [False, True])
def test_run_on_every_backend(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_first: bool) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = cases("float32")
    few = {name: drawn[name] for name in ("ragged, from a state", "two directions, ragged", "tokens", "no step")}
    compare_runs(few, backend, monkeypatch, "pieces", batch_first)


def compare_runs(
    drawn: dict[str, Case], backend: str, monkeypatch: pytest.MonkeyPatch, size: str, batch_first: bool
) -> None:
    """Run each case by the command, in chunks, and in Python at once."""
    for name, case in drawn.items():
        made = rb.RNN(case.layers, readout_of(case, "float32"), batch_first=batch_first)
        made.save("model.npz")
        rb.RNN(case.layers, batch_first=batch_first).save("states.npz")
        rnn = made.to(backend)
        arrays = {"x": case.x.swapaxes(0, 1) if batch_first else case.x, "h_0": case.h_0}
        arrays |= {"lengths": None if case.lengths is None else np.array(case.lengths)}
        call: Any = {name: array for name, array in arrays.items() if array is not None}
        np.savez("x.npz", **call)
        budget(monkeypatch, "whole")
        wanted = [
            rnn.probabilities(**call),
            rnn.predict(**call),
            rb.RNN(rnn.layers, batch_first=batch_first)(**call)[0],
        ]
        budget(monkeypatch, size)
        words = [["model.npz"], ["model.npz", "--predictions"], ["states.npz"]]
        for (model_name, *options), result in zip(words, wanted, strict=True):
            command = ["run", model_name, "x.npz", "--backend", backend, "--output", "y.npy", *options]
            assert cli.main(command) == 0
            got, whole = np.load("y.npy"), rb.to_numpy(result)
            np.save("whole.npy", whole)
            assert got.dtype == whole.dtype
            assert Path("y.npy").stat().st_size == Path("whole.npy").stat().st_size
            np.testing.assert_allclose(got, whole, rtol=0, atol=8 * ROUNDOFF["float32"], err_msg=name)


def test_run_sums_the_loss_of_all_pieces(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    case = cases("float32")["ragged"]
    rnn, targets = model(case, "numpy"), np.random.default_rng(2).integers(0, OUTPUTS, (STEPS, 3))
    rnn.save("model.npz")
    np.savez("x.npz", x=case.x, lengths=np.array(case.lengths), targets=targets)
    wanted = float(rnn.loss(case.x, targets, lengths=case.lengths))
    budget(monkeypatch, "pieces")
    assert cli.main(["run", "model.npz", "x.npz", "--backend", backend]) == 0
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert float(rows["cross-entropy"].split()[0]) == pytest.approx(wanted, abs=2e-6)


def test_run_writes_text_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = rb.RNN.init(4, 5, output_size=4, seed=1)
    rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary="abö\n")
    rnn.save("model.npz")
    Path("input.txt").write_bytes("abö\nabba\nöö".encode())
    wanted = "".join("abö\n"[index] for index in rnn.predict("abö\nabba\nö"))
    monkeypatch.setattr(chunks, "BUDGET", 3 * 16)
    assert cli.main(["run", "model.npz", "input.txt", "--output", "y.txt", "--predictions"]) == 0
    assert Path("y.txt").read_bytes() == wanted.encode()


def test_run_reads_its_input_as_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rnn = rb.RNN.init(40, 4, output_size=3)
    rnn.save("model.npz")
    np.save("x.npy", np.random.default_rng(0).normal(size=(20_000, 1, 40)))
    np.save("f.npy", np.asfortranarray(np.load("x.npy")))
    monkeypatch.setattr(chunks, "BUDGET", 2**18)
    cli.main(["run", "model.npz", "x.npy"])  # what is imported at first is not counted
    assert peak(lambda: cli.main(["run", "model.npz", "x.npy", "--output", "y.npy"])) < 3
    assert cli.main(["run", "model.npz", "f.npy", "--output", "z.npy"]) == 0
    np.testing.assert_allclose(np.load("y.npy"), np.load("z.npy"), rtol=0, atol=8 * ROUNDOFF["float32"])


# Automatic differentiation


def test_gradients_flow_through_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    case, gradients = cases("float64")["ragged, from a state"], []
    targets = np.random.default_rng(2).integers(0, OUTPUTS, (STEPS, 3))
    for name in ("whole", "steps"):
        budget(monkeypatch, name)
        h_0 = torch.tensor(case.h_0, requires_grad=True)
        model(case, "torch", "float64").loss(case.x, targets, h_0, lengths=case.lengths).backward()
        gradients.append(h_0.grad.numpy())
    assert abs(gradients[0]).max() > 1e-3
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-12, atol=1e-15)


def test_what_jax_traces_is_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunks would be unrolled into one program, whose memory the compiler plans."""
    jax = pytest.importorskip("jax")
    case, runs = Draw("float32", 0).case(shape=(3, 3, 4, 5), lengths=[3, 0, 2]), []
    rnn, targets = model(case, "jax"), np.random.default_rng(2).integers(0, OUTPUTS, (3, 3))
    wanted = float(model(case, "numpy").loss(case.x, targets, lengths=case.lengths))

    def counted(*arguments: Any) -> Any:
        runs.append(1)
        return propagate(*arguments)

    monkeypatch.setattr(placed, "propagate", counted)
    budget(monkeypatch, "steps")
    h_0 = jax.numpy.zeros((1, 3, 5), dtype="float32")
    traced = jax.jit(lambda h: rnn.loss(case.x, targets, h, lengths=case.lengths))(h_0)
    assert len(runs) == 1
    assert float(traced) == pytest.approx(wanted, rel=1e-6)
    weight = jax.jit(lambda x: model_of(x, rnn).loss(case.x, targets, lengths=case.lengths))(rnn.readout.weight)
    assert len(runs) == 2
    assert float(weight) == pytest.approx(wanted, rel=1e-6)
    # Arrays that are no tracers are cut; nothing is computed here, for JAX compiles each operation.
    monkeypatch.setattr(placed, "propagate", lambda _, x, state, *others: (x, state))
    call = chunks.ChunkedCall(rb.RNN(rnn.layers).placed, case.x, h_0)
    assert list(call.each(lambda chunk: chunk.start)) == [0, 1, 2]


def model_of(weight: Any, rnn: rb.RNN) -> rb.RNN:
    assert rnn.readout is not None
    return rb.RNN(rnn.layers, rb.Linear(weight, rnn.readout.bias))


def test_the_mean_of_many_parts_is_as_exact_as_that_of_one() -> None:
    """Added one after the other, 0.1 would be off in the fifth digit."""
    parts = [(np.float32(0.1), np.float32(1))] * 100_000
    assert float(mean_of(parts)) == pytest.approx(0.1, rel=1e-6)
