"""The languages of a million made-up names, by Dask on two processes of this machine.

python classify.py                           # a million, on two workers
python classify.py --count 100000 --kill     # one of the workers is killed half-way
"""

import argparse
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import dask
import numpy as np
import psutil
from distributed import Client, LocalCluster, as_completed

import rnn_backends as rb
from rnn_backends.dask import sent

FOLDER = Path(__file__).parents[1] / "deploy"
PART = 5000
"""The names of a task."""
STEP = 2_654_435_761
"""A prime: multiples of it, modulo a smaller number, are each of its remainders once before one is there again."""
VARIABLES = {"RNN_NUM_THREADS": 1, "MALLOC_TRIM_THRESHOLD_": 2**27, "MALLOC_MMAP_THRESHOLD_": 2**27}
"""The environment of workers: one thread each, which keeps the memory of a batch for the next one."""

Halves = tuple[list[str], list[str]]


class Done(NamedTuple):
    """A task that is done: of which names, in what process, from when to when, and the MiB that it then had."""

    start: int
    process: int
    begun: float
    ended: float
    processor: float
    """The seconds of processor time."""
    mib: float


class Run(NamedTuple):
    """What a cluster found, and how."""

    languages: Any
    done: list[Done]
    seconds: float
    killed: float | None
    """The time at which a worker was killed."""


def network() -> rb.RNN:
    """Return the network that knows the languages of family names."""
    return rb.load(FOLDER / "names.safetensors")


def halves() -> Halves:
    """Return beginnings and endings of family names."""
    lines = (FOLDER / "data" / "names.txt").read_text(encoding="utf-8").lower().splitlines()
    cut = [(name[:k], name[k:]) for _, name in map(str.split, lines) for k in range(2, len(name) - 1)]
    beginnings, endings = (sorted(set(each)) for each in zip(*cut, strict=True))
    return beginnings, endings


def made_up(start: int, stop: int, of_names: Halves) -> list[str]:
    """Return names, each the beginning of one and the ending of another; they depend on their numbers alone."""
    beginnings, endings = of_names
    pairs = np.arange(start, stop) * STEP % (len(beginnings) * len(endings))
    first, second = (each.tolist() for each in np.divmod(pairs, len(endings)))
    return [beginnings[i] + endings[k] for i, k in zip(first, second, strict=True)]


def classified(start: int, stop: int, of_names: Halves, sent: Any) -> tuple[Any, Done]:
    """Return the languages of some names; the task of a worker."""
    begun, before = time.time(), time.thread_time()
    languages = sent.rnn.predict_many(made_up(start, stop, of_names)).astype(np.uint8)
    processor, mib = time.thread_time() - before, psutil.Process().memory_info().rss / 2**20
    return languages, Done(start, os.getpid(), begun, time.time(), processor, mib)


def parts(count: int, size: int) -> list[tuple[int, int]]:
    """Return where each part of the names starts and stops."""
    return [(start, min(start + size, count)) for start in range(0, count, size)]


def shared(rnn: rb.RNN) -> tuple[Any, Any]:
    """Return what all tasks need, and is sent to each worker once: the halves of names, and the network."""
    return dask.delayed(halves)(), sent(rnn)


def tasks_of(count: int, given: tuple[Any, Any], size: int = PART) -> list[Any]:
    """Return the tasks for so many names, in parts of a size, given what they share."""
    return [dask.delayed(classified)(*part, *given) for part in parts(count, size)]


@contextmanager
def cluster(workers: int) -> Iterator[Client]:
    """Start processes of one thread each, and give the client of them."""
    variables = {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in VARIABLES.items()}
    processes = {"n_workers": workers, "threads_per_worker": 1, "processes": True}
    with (
        dask.config.set(variables),
        LocalCluster(**processes, dashboard_address=None, silence_logs=50) as made,
        Client(made) as client,
    ):
        client.wait_for_workers(workers)
        run(client, tasks_of(4 * workers, shared(network()), 1))  # which imports what a worker needs
        yield client


def run(client: Client, tasks: Sequence[Any], *, kill: bool = False) -> Run:
    """Run the tasks, and fetch results as soon as they are there, so that no worker need hold them."""
    begun, killed = time.time(), None
    found, done = {}, []
    for batch in as_completed(client.compute(tasks)).batches():
        for languages, task in client.gather(batch):
            found[task.start] = languages
            done.append(task)
        for future in batch:
            future.release()
        if kill and killed is None and len(done) >= len(tasks) // 2:
            os.kill(task.process, signal.SIGKILL)
            killed = time.time()
    return Run(np.concatenate([found[start] for start in sorted(found)]), done, time.time() - begun, killed)


def digest(languages: Any) -> str:
    """Return a digest of the languages of names."""
    return sha256(languages.astype(np.uint8).tobytes()).hexdigest()[:16]


def in_this_process(rnn: rb.RNN, count: int) -> tuple[dict[int, Any], float]:
    """Return the languages of the names of every tenth part, and the seconds of processor time for a name."""
    of_names, before = halves(), time.thread_time()
    found = {start: rnn.predict_many(made_up(start, stop, of_names)) for start, stop in parts(count, PART)[::10]}
    return found, (time.thread_time() - before) / sum(map(len, found.values()))


def one_by_one(rnn: rb.RNN, count: int = 1000) -> float:
    """Return the seconds of processor time for a name where `predict` is called for each."""
    names, before = made_up(0, count, halves()), time.thread_time()
    for name in names:
        rnn.predict(name)
    return (time.thread_time() - before) / count


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Return what a cluster found and took, and beside it this process alone, as JSON can hold it."""
    rnn, load = network(), os.getloadavg()[0]
    with cluster(options.workers) as client:
        found = run(client, tasks_of(options.count, shared(rnn)), kill=options.kill)
    mib = psutil.Process().memory_info().rss / 2**20
    sample, alone = in_this_process(rnn, options.count)
    shares = np.bincount(found.languages, minlength=len(rnn.metadata["classes"].split())) / options.count
    return {
        "names": options.count,
        "workers": options.workers,
        "load": round(load, 2),  # of the machine, before
        "seconds": round(found.seconds, 3),
        "microseconds": {  # of processor time for a name
            "a worker": round(1e6 * sum(task.processor for task in found.done) / options.count, 2),
            "predict_many": round(1e6 * alone, 2),
            "a loop of predict": round(1e6 * one_by_one(rnn), 2),
        },
        "sample": sum(map(len, sample.values())),
        "different": sum(int((found.languages[k : k + len(each)] != each).sum()) for k, each in sample.items()),
        "digest": digest(found.languages),
        "languages": dict(zip(rnn.metadata["classes"].split(), shares.round(4).tolist(), strict=True)),
        "client MiB": round(mib),
        **timeline(found),
    }


def timeline(found: Run) -> dict[str, Any]:
    """Return the tasks as columns, of processes by numbers and of seconds since the first began."""
    start = min(task.begun for task in found.done)
    number = {process: k for k, process in enumerate(dict.fromkeys(task.process for task in found.done))}
    return {
        "killed": None if found.killed is None else round(found.killed - start, 3),
        "tasks": {
            "process": [number[task.process] for task in found.done],
            "begun": [round(task.begun - start, 3) for task in found.done],
            "ended": [round(task.ended - start, 3) for task in found.done],
            "MiB": [round(task.mib) for task in found.done],
        },
    }


def report(known: dict[str, Any]) -> Iterator[str]:
    """Yield lines that say what was measured."""
    tasks, count = known["tasks"], known["names"]
    rate = count / known["seconds"] / known["workers"]
    yield f"{count:,} names, {len(tasks['process'])} tasks: {known['seconds']:.2f} s, {rate:,.0f} a second and worker"
    if known["killed"] is not None:
        yield f"a worker was killed at {known['killed']:.2f} s; {len(set(tasks['process']))} processes took part"
    of_one = ", ".join(f"{name} {spent:.1f}" for name, spent in known["microseconds"].items())
    yield f"processor time for a name, in microseconds: {of_one}"
    yield f"of {known['sample']:,} names this process finds {known['different']} other languages; {known['digest']}"
    yield f"most memory: {max(tasks['MiB'])} MiB of a worker, {known['client MiB']} MiB of this process"
    yield ", ".join(f"{language} {share:.0%}" for language, share in known["languages"].items())


def main(words: Sequence[str] | None = None) -> None:
    """Classify names, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="how many names; default: a million")
    parser.add_argument("--workers", type=int, default=2, help="how many processes; default: 2")
    parser.add_argument("--kill", action="store_true", help="kill a worker when half of the tasks are done")
    parser.add_argument("--record", type=Path, help="write what was measured into this file, in JSON")
    options = parser.parse_args(words)
    if min(options.count, options.workers) < 1:
        parser.error("--count and --workers must be at least 1")
    os.environ["RNN_NUM_THREADS"] = "1"  # of this process, as of each worker
    known = measured(options)
    print(*report(known), sep="\n")
    if options.record is not None:
        options.record.write_text(json.dumps(known) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
