"""Many threads over models, streams, `use_backend`, loads and saves: each result is the one that it is alone."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnn_backends as rb

THREADS = 16
STRICT = "array_api_strict"
Array = NDArray[Any]
Work = Callable[[int], None]


def made(seed: int) -> rb.RNN:
    """Return a model unlike those of other seeds, some of them large enough for several threads of the CPU kernel."""
    size = (4, 12, 40)[seed % 3]
    rnn = rb.RNN.init(3, size, num_layers=1 + seed % 2, output_size=2, seed=seed)
    return rb.RNN(rnn.layers, rnn.readout, reads=("steps", "last", "mean")[seed % 3], metadata={"seed": str(seed)})


def given(seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=(9 + seed % 4, 2 + seed % 3, 3)).astype("f4")


def same(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(rb.to_numpy(found), wanted, atol=1e-5, rtol=1e-5)


class Alone:
    """Models, and what they give when nothing else is computed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.models = folder, [made(seed) for seed in range(6)]
        self.inputs = [given(seed) for seed in range(6)]
        self.outputs = [rnn(x)[0] for rnn, x in zip(self.models, self.inputs, strict=True)]
        self.logits = [rnn.logits(x) for rnn, x in zip(self.models, self.inputs, strict=True)]
        self.files = [folder / f"{k}{suffix}" for k, suffix in enumerate((".safetensors", ".npz", ".safetensors"))]
        for rnn, path in zip(self.models, self.files, strict=False):
            rnn.save(path)

    def computes(self, number: int) -> None:
        k = number % 6
        same(self.models[k](self.inputs[k])[0], self.outputs[k])
        same(self.models[k].logits(self.inputs[k]), self.logits[k])

    def streams(self, number: int) -> None:
        k = number % 6
        x, stream = self.inputs[k], self.models[k].stream(batch_size=self.inputs[k].shape[1])
        cut = 1 + number % (len(x) - 1)
        same(np.concatenate([stream(x[:cut]), stream(x[cut:])]), self.outputs[k])

    def shares_a_model(self, number: int) -> None:
        """Give one model inputs of many sizes, which it prepares its calls for."""
        x = given(number)
        same(self.models[1](x)[0], self.models[1].to("numpy", dtype="float64")(x.astype("f8"))[0])

    def loads(self, number: int) -> None:
        k = number % 3
        same(rb.load(self.files[k])(self.inputs[k])[0], self.outputs[k])

    def saves(self, number: int) -> None:
        """Write over a file that others load; it is that of the same model."""
        k = number % 3
        self.models[k].save(self.files[k])

    def saves_one_of_two(self, number: int) -> None:
        """Write one of two models to a file, which then holds one of them."""
        path, k = self.folder / "either.npz", number % 2
        self.models[k].save(path)
        found = rb.load(path)
        seed = int(found.metadata["seed"])
        assert seed in {0, 1}
        same(found(self.inputs[seed])[0], self.outputs[seed])

    def chooses(self, number: int) -> None:
        k, name = number % 6, (STRICT, "numpy")[number % 2]
        with rb.use_backend(name):
            rnn = rb.RNN.init(3, 4, seed=k)
            assert rnn.backend.name == name
            with rb.use_backend("numpy"):
                assert rb.RNN.init(2, 2).backend.name == "numpy"
            assert rb.get_backend().name == name
        assert rb.get_backend().name == "numpy"

    def moves(self, number: int) -> None:
        k = number % 6
        moved = self.models[k].to(STRICT).to("numpy", dtype="float64").to("numpy", dtype="float32")
        same(moved(self.inputs[k])[0], self.outputs[k])

    def works(self) -> list[Work]:
        return [
            self.computes,
            self.streams,
            self.shares_a_model,
            self.loads,
            self.saves,
            self.saves_one_of_two,
            self.chooses,
            self.moves,
        ]


def together(works: list[Work], rounds: int) -> None:
    """Run pieces of work on all threads at once, in another order on each; the first error is raised."""
    start = threading.Barrier(THREADS)

    def run(thread: int) -> None:
        start.wait(timeout=60)
        for number in range(rounds):
            works[(thread * 5 + number * 3) % len(works)](thread + number)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(run, thread) for thread in range(THREADS)]:
            done.result(timeout=600)


@pytest.fixture(name="rounds")
def _rounds(thorough: bool) -> int:
    return 400 if thorough else 16


@pytest.fixture(name="alone")
def _alone(tmp_path: Path) -> Iterator[Alone]:
    yield Alone(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix not in {".npz", ".safetensors"}], "something is left"


def test_all_that_is_done_on_many_threads_is_right(alone: Alone, rounds: int) -> None:
    together(alone.works(), rounds)


@pytest.mark.parametrize("name", ["computes", "streams", "shares_a_model", "loads", "saves_one_of_two", "chooses"])
def test_one_kind_of_work_on_many_threads_is_right(alone: Alone, rounds: int, name: str) -> None:
    together([getattr(alone, name)], rounds)


def test_a_stream_may_go_from_thread_to_thread(alone: Alone) -> None:
    x = alone.inputs[3]
    stream = alone.models[3].stream(batch_size=x.shape[1])
    with ThreadPoolExecutor(THREADS) as pool:
        found = [pool.submit(stream, x[t : t + 1]).result() for t in range(len(x))]
    same(np.concatenate(found), alone.outputs[3])


def test_errors_on_one_thread_are_none_on_another(alone: Alone, rounds: int) -> None:
    def is_wrong(number: int) -> None:
        with pytest.raises(rb.RNNBackendError):
            alone.models[number % 6](np.ones((2, 2, 9)))
        with pytest.raises(rb.RNNBackendError), rb.use_backend("nonsense"):
            pass
        with pytest.raises(rb.FormatError):
            rb.load(Path(__file__))

    together([is_wrong, alone.computes, alone.streams, alone.loads], rounds)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the processors of a thread are Linux's")
def test_threads_on_one_processor_take_turns(alone: Alone, rounds: int) -> None:
    whole = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(whole)})
    try:
        together([alone.computes, alone.streams], rounds)
    finally:
        os.sched_setaffinity(0, whole)
