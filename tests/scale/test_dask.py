"""Models over the arrays and bags of Dask: the numbers of one process, whatever computes them."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends import dask as over
from rnn_backends.core.network import READS
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.records import linear

da = pytest.importorskip("dask.array")
db = pytest.importorskip("dask.bag")
dask = pytest.importorskip("dask")
METHODS = ("predict", "probabilities", "last")
SHAPE = (12, 10, 3)
LENGTHS = np.random.default_rng(1).integers(0, 13, 10)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


def model(sides: str = "f", **options: Any) -> rb.RNN:
    draw = Draw("float32", 3)
    h_0 = (*(draw.normal(5) for _ in sides), draw.normal(4))
    layers = [*draw.layers(sides, 1, 3, 5), *draw.layers("f", 1, 5 * len(sides), 4)]
    return rb.RNN(layers, linear(draw, 4, 6), h_0=h_0, **options)


def features() -> np.ndarray[Any, Any]:
    x = np.random.default_rng(0).standard_normal(SHAPE, np.float32)
    x.flags.writeable = False
    return x


def wanted(rnn: rb.RNN, method: str, x: Any, lengths: Any = None) -> Any:
    return getattr(rnn, method)(x, lengths=lengths)


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("time", [-1, 5, (1, 11), 4])
def test_blocks_give_what_one_process_gives(reads: str, batch_first: bool, time: Any) -> None:
    rnn = model(reads=reads, batch_first=batch_first)
    x = features().swapaxes(0, 1) if batch_first else features()
    blocks = da.from_array(x, chunks=(4, time, -1) if batch_first else (time, 4, -1))
    for method, lengths in product(METHODS, (None, LENGTHS, da.from_array(LENGTHS, chunks=3))):
        of_one = wanted(rnn, method, x, None if lengths is None else LENGTHS)
        found = getattr(over, method)(rnn, blocks, lengths=lengths)
        assert (found.shape, found.dtype, type(found._meta)) == (of_one.shape, of_one.dtype, np.ndarray)
        axis = 0 if of_one.ndim < 2 or method == "last" or reads != "steps" or batch_first else 1
        assert found.chunks[axis] == (4, 4, 2)
        computed = found.compute()
        assert (computed.shape, computed.dtype) == (of_one.shape, of_one.dtype)
        for place in np.ndindex(found.numblocks):
            block = found.blocks[place]
            assert block.compute().shape == block.shape
        np.testing.assert_allclose(computed, of_one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reads", READS)
def test_backward_cells_in_blocks_of_sequences(reads: str) -> None:
    rnn = model("fb", reads=reads)
    blocks = da.from_array(features(), chunks=(-1, 3, -1))
    for method in METHODS:
        np.testing.assert_allclose(
            getattr(over, method)(rnn, blocks, lengths=LENGTHS).compute(),
            wanted(rnn, method, features(), LENGTHS),
            rtol=1e-5,
            atol=1e-6,
        )


def test_one_sequence_and_token_ids() -> None:
    rnn = model()
    for time in (-1, 5):
        alone = da.from_array(features()[:, 0], chunks=(time, -1))
        np.testing.assert_allclose(
            over.probabilities(rnn, alone).compute(), rnn.probabilities(features()[:, 0]), rtol=1e-5, atol=1e-6
        )
        assert over.predict(rnn, alone, reads="mean").compute() == rnn.predict(features()[:, 0], reads="mean")
        ids = np.random.default_rng(0).integers(0, 3, (12, 10))
        np.testing.assert_array_equal(
            over.predict(rnn, da.from_array(ids, chunks=(time, 4))).compute(), rnn.predict(ids)
        )


def test_sizes_that_are_not_known() -> None:
    rnn, x = model(reads="last"), features()
    kept = np.arange(10) % 3 > 0
    blocks = da.from_array(x, chunks=(-1, 4, -1))[:, da.from_array(kept, chunks=4)]
    assert np.isnan(blocks.shape[1])
    np.testing.assert_allclose(
        over.probabilities(rnn, blocks).compute(), rnn.probabilities(x[:, kept]), rtol=1e-5, atol=1e-6
    )
    lengths = da.from_array(LENGTHS, chunks=4)[da.from_array(kept, chunks=4)]
    np.testing.assert_allclose(
        over.last(rnn, blocks, lengths=lengths).compute(),
        rnn.last(x[:, kept], lengths=LENGTHS[kept]),
        rtol=1e-5,
        atol=1e-6,
    )
    with pytest.raises(
        rb.ShapeError, match=r"`lengths` must have shape .*, in blocks as those of `x`, whose sizes are not known"
    ):
        over.last(rnn, blocks, lengths=LENGTHS[kept])


def test_bags() -> None:
    held = [np.random.default_rng(k).standard_normal((k % 7, 3), np.float32) for k in range(50)]
    bag = db.from_sequence(held, npartitions=4)
    for reads in READS:
        rnn = model("fb", reads=reads)
        for method in METHODS:
            found = getattr(over, method)(rnn, bag).compute(scheduler="sync")
            for one, of_one in zip(found, getattr(rnn, f"{method}_many")(held), strict=True):
                np.testing.assert_allclose(one, of_one, rtol=1e-5, atol=1e-6)
                is_id = method == "predict" and reads != "steps"
                assert type(one) is (int if is_id else np.ndarray)
    nothing = db.from_sequence(held, npartitions=2).filter(lambda _: False)
    assert over.predict(model(reads="last"), nothing).compute(scheduler="sync") == []


REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ({"chunks": (4, 4, -1)}, {"sides": "fb"}, rb.ShapeError, r"the time of `x` is in 3 blocks; call x.rechunk\(\{0: -1\}\) first"),
    ({"chunks": (-1, 4, 2)}, {}, rb.ShapeError, r"the features of `x` must be in one block; they are in 2. Call x.rechunk\(\{2: -1\}\) first"),
    ({"lengths": [1, 2]}, {}, rb.ShapeError, r"`lengths` must have shape \(batch,\) = \(10,\); got \(2,\)"),
    ({"lengths": [13] * 10}, {}, rb.ArgumentError, r"every length in `lengths` must be in 0..12; got 13 at \[0\]"),
    ({"lengths": [0.5] * 10}, {}, rb.DTypeError, "`lengths` must hold integers; got list of dtype float64"),
    ({"x": features()[..., :2]}, {}, rb.ShapeError, r"the last axis of `x` must be input_size = 3; got shape \(12, 10, 2\)"),
    ({"x": features() > 0}, {}, rb.DTypeError, "`x` must hold real numbers; got a Dask array of dtype bool"),
    ({"x": np.ma.array(features())}, {}, rb.DTypeError, r"must not be masked arrays, .*; call dask.array.ma.filled\(x, 0\) and give"),
    ({"reads": "first"}, {}, rb.ArgumentError, "`reads` must be one of"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "options", "error", "message"), REFUSED)
def test_what_is_refused_before_anything_is_computed(
    given: dict[str, Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    x = da.from_array(given.get("x", features()), chunks=given.get("chunks", (-1, 4, -1)))
    with pytest.raises(error, match=message):
        over.predict(
            model(**options), x, **{name: value for name, value in given.items() if name not in {"x", "chunks"}}
        )


def test_masked_blocks_that_are_filled() -> None:
    padding = np.broadcast_to((np.arange(12)[:, None] >= LENGTHS)[..., None], SHAPE)
    masked = da.from_array(np.ma.array(features(), mask=padding), chunks=(-1, 4, -1))
    found = over.last(model(), da.ma.filled(masked, 0), lengths=LENGTHS).compute()
    np.testing.assert_allclose(found, model().last(features(), lengths=LENGTHS), rtol=1e-5, atol=1e-6)


def test_blocks_of_a_device_are_refused() -> None:
    class Moved(np.ndarray[Any, Any]):
        """As an array of another library."""

    x = da.from_array(features(), chunks=(-1, 4, -1)).map_blocks(lambda block: block.view(Moved))
    with pytest.raises(rb.DTypeError, match=r"must be NumPy's; they are of Moved. Give them as they are before"):
        over.predict(model(), x)


def test_arguments_that_are_refused() -> None:
    rnn, x = model(), da.from_array(features(), chunks=(-1, 4, -1))
    with pytest.raises(rb.DTypeError, match="`x` must be a Dask array or bag; got ndarray of shape"):
        over.predict(rnn, features())
    with pytest.raises(rb.DTypeError, match="`rnn` must be a model, an RNN; got Array of shape"):
        over.predict(x, rnn)
    with pytest.raises(rb.ArgumentError, match="leave `lengths` out"):
        over.predict(rnn, db.from_sequence([[1]]), lengths=[1])
    with pytest.raises(rb.ArgumentError, match="last returns one vector"):
        over.last(rnn, x, reads="steps")
    with pytest.raises(rb.ArgumentError, match="needs a readout, and this model has none"):
        over.predict(rb.RNN(rnn.layers), x)
    with pytest.raises(rb.ArgumentError, match="of several outputs; this model has one"):
        over.predict(rb.RNN(rnn.layers, rb.Linear(np.ones((1, 4), np.float32), activation="sigmoid")), x)
    with pytest.raises(rb.ShapeError, match="`lengths` needs a batch of sequences"):
        over.predict(rnn, x[:, 0], lengths=[3])
    with pytest.raises(rb.ArgumentError, match=r"every length in `lengths` must be in 0..12; got 13"):
        over.predict(rnn, x.rechunk((5, -1, -1)), lengths=da.from_array(np.full(10, 13))).compute()
    noisy = rb.RNN(rnn.layers, rnn.readout, noise=rb.Noise(0.1))
    with pytest.raises(rb.ArgumentError, match=r"predict makes batches of its own here, .* take a model without noise"):
        over.predict(noisy, x)


def test_nothing_is_computed_beforehand() -> None:
    def fail(block: Any) -> Any:
        raise AssertionError(block)

    x = da.from_array(features(), chunks=(-1, 4, -1)).map_blocks(
        fail, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)
    )
    for method in METHODS:
        assert getattr(over, method)(model(), x).dtype == (np.int64 if method == "predict" else np.float32)


def test_the_graph_has_the_model_once_and_its_names_follow_from_the_content() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    large = rb.RNN.init(3, 300, output_size=2)
    x = da.from_array(features()[:, :1].repeat(64, axis=1), chunks=(-1, 1, -1))
    found = over.predict(large, x)
    assert found.name == over.predict(pickle.loads(pickle.dumps(large)), x).name
    assert found.name != over.predict(rb.RNN.init(3, 300, output_size=2, seed=1), x).name
    (graph,) = dask.optimize(found)
    weights = large.num_parameters * 4
    tasks = dict(graph.__dask_graph__())
    of_model = sum(len(cloudpickle.dumps(task)) > weights for task in tasks.values())
    assert of_model == 1
    assert len(tasks) >= 64


def test_blocks_are_of_numpy_on_every_backend(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rnn = model()
    monkeypatch.setenv("RNN_BACKEND", backend)
    x = da.from_array(features(), chunks=(5, 4, -1))
    for reads in READS:
        found = over.probabilities(rnn, x, lengths=LENGTHS, reads=reads).compute()
        assert type(found) is np.ndarray
        np.testing.assert_allclose(
            found, rnn.probabilities(features(), lengths=LENGTHS, reads=reads), rtol=1e-5, atol=1e-6
        )


def test_processes_and_a_cluster_give_the_same(tmp_path: Any) -> None:
    """In a Python of its own, for Dask and its cluster start threads and processes that outlive a test."""
    program = tmp_path / "cluster.py"
    program.write_text(CLUSTER, encoding="utf-8")
    pytest.importorskip("distributed")
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["same", "array_api_strict", "once", "same", "same"]


CLUSTER = """
import os
import dask, dask.array as da, dask.bag as db, numpy as np
import rnn_backends as rb, rnn_backends.dask

def backend_of(shipped):
    return shipped.rnn.backend.name

def place_of(k, shipped):
    return os.getpid(), id(shipped), id(shipped.rnn)

if __name__ == "__main__":
    from distributed import Client, LocalCluster
    rnn = rb.RNN.init(3, 4, num_layers=2, bidirectional=True, output_size=5)
    x = np.random.default_rng(0).standard_normal((7, 12, 3))
    blocks, of_one = da.from_array(x, chunks=(-1, 5, -1)), rnn.probabilities(x)
    found = rb.dask.probabilities(rnn, blocks).compute(scheduler="processes", num_workers=2)
    assert np.allclose(found, of_one, atol=1e-6)
    print("same")
    options = dict(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with dask.config.set({"distributed.nanny.environ": {"RNN_BACKEND": "array_api_strict"}}):
        with LocalCluster(**options) as cluster, Client(cluster) as client:
            argument = rb.dask.sent(rnn)
            print(client.compute(dask.delayed(backend_of)(argument)).result())
            tasks = [dask.delayed(place_of)(k, argument) for k in range(40)]
            places = set(client.gather(client.compute(tasks)))
            assert len(places) == len({process for process, _, _ in places}) == 2
            print("once")
            assert np.allclose(rb.dask.probabilities(rnn, blocks).compute(), of_one, atol=1e-6)
            print("same")
            forward = rb.RNN.init(3, 4, output_size=5)
            long = da.from_array(x, chunks=(2, 5, -1))
            for reads in ("steps", "mean", "last"):
                found = rb.dask.probabilities(forward, long, reads=reads).compute()
                assert np.allclose(found, forward.probabilities(x, reads=reads), atol=1e-6)
            print("same")
"""


def test_to_send_a_model_needs_no_arrays_of_dask() -> None:
    """Which take a second to import."""
    script = (
        "import sys, rnn_backends as rb, rnn_backends.dask\n"
        "rnn_backends.dask.sent(rb.RNN.init(3, 4))\n"
        "assert not {'dask.array', 'dask.bag', 'pandas'} & {*sys.modules}"
    )
    path = os.pathsep.join(filter(None, sys.path))
    subprocess.run([sys.executable, "-P", "-c", script], check=True, env={**os.environ, "PYTHONPATH": path})


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dask", "dask.array", "dask.bag"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ModuleNotFoundError, match=r"rnn_backends.dask needs dask.*: pip install 'rnn-backends\[dask\]'"
    ):
        over.predict(model(), None)
    monkeypatch.setitem(sys.modules, "dask.delayed", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rnn-backends\[dask\]'"):
        over.sent(model())
