"""Start processes while other threads compute: python children.py METHOD DURING COUNT; prints what became of each."""

import json
import multiprocessing
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import rnn_backends as rb

SECONDS = 120
"""After which a child is taken to hang."""


def given(seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=(30, 4, 3)).astype("f4")


def results(rnn: rb.RNN, x: Any, path: str) -> list[Any]:
    """Return what a process can do with a model: compute, stream, read, write, move."""
    stream = rnn.stream(batch_size=x.shape[1])
    loaded = rb.load(path)
    with rb.use_backend("numpy"):
        other = rb.RNN.init(3, 40, seed=5)
    return [rnn(x)[0], rnn.logits(x), stream(x), loaded(x)[0], other(x)[0]]


def child(connection: Any, rnn: rb.RNN, x: Any, path: str) -> None:
    connection.send(results(rnn, x, path))
    connection.close()


def busy(during: str, rnn: rb.RNN, folder: Path, stop: threading.Event) -> Callable[[], None]:
    """Return what a thread does until it is stopped."""
    x = given(1)
    path = folder / f"own{threading.get_ident()}.npz"
    rnn.save(path)
    stream = rnn.stream(batch_size=4)
    works: dict[str, Callable[[], Any]] = {
        "models": lambda: rnn(x), "streams": lambda: stream(x), "loads": lambda: rb.load(path), "saves": lambda: rnn.save(path),
        "threads": lambda: rb.RNN.init(3, 40, backend="numpy")(x),
    }  # fmt: skip

    def run() -> None:
        while not stop.is_set():
            works[during]()

    return run


def main(method: str, during: str, count: int) -> None:
    context: Any = multiprocessing.get_context(method)
    rnn, stop = rb.RNN.init(3, 40, num_layers=2, output_size=2, seed=3), threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "m.safetensors"))
        rnn.save(path)
        threads = [threading.Thread(target=busy(during, rnn, Path(folder), stop)) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            found = [_child(context, rnn, given(number), path) for number in range(count)]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    print(json.dumps(found))


def _child(context: Any, rnn: rb.RNN, x: Any, path: str) -> str:
    """Start a process and wait for it."""
    mine, other = context.Pipe()
    process = context.Process(target=child, args=(other, rnn, x, path))
    process.start()
    other.close()
    try:
        if not mine.poll(SECONDS):
            return "hangs"
        found = mine.recv()
    except EOFError:
        return "ended"
    finally:
        process.join(SECONDS if mine.closed else 5)
        if process.is_alive():
            process.kill()
            process.join()
    wanted = results(rnn, x, path)
    same = all(np.allclose(got, right, atol=1e-5) for got, right in zip(found, wanted, strict=True))
    return "right" if same and process.exitcode == 0 else f"wrong, exit code {process.exitcode}"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
