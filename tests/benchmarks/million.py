"""Run a million short sequences in one process and by Dask on two, one of which is killed, and print what it took.

python tests/benchmarks/million.py --count 100000
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import chain
from time import perf_counter
from typing import Any

import numpy as np
from harness.machine import about
from harness.processes import answer
from memory import resident

import rnn_backends as rb
from rnn_backends.core.arrays import Host

TOKENS, STATES, CLASSES, LONGEST = 64, 64, 8, 40
PART = 2500
"""The number of sequences of a partition."""
COUNTS = (10_000, 100_000, 1_000_000)
WORKERS, ROUNDS = 2, 5
"""The rounds of a measurement, of which the fastest counts: whatever else the machine does makes it slower."""
MEMORY = {f"distributed.nanny.pre-spawn-environ.MALLOC_{name}_THRESHOLD_": 2**27 for name in ("TRIM", "MMAP")}
"""Dask has workers give memory back whenever 64 KiB are free, and so ask the system for that of each batch anew."""


def network() -> rb.RNN:
    """Return a network that classifies sequences of token ids."""
    drawn = rb.RNN.init(TOKENS, STATES, output_size=CLASSES, backend="numpy")
    return rb.RNN(drawn.layers, drawn.readout, reads="last", takes="tokens")


def part(k: int, count: int = PART) -> list[Host]:
    """Return the sequences of a partition, as they might be read from a file."""
    random = np.random.default_rng(k)
    lengths = random.integers(1, LONGEST + 1, count)
    return np.split(random.integers(0, TOKENS, int(lengths.sum()), np.int32), np.cumsum(lengths)[:-1])


def predicted(k: int, count: int, sent: Any) -> Host:
    """Return the predictions for a partition; the task of a worker."""
    return np.asarray(sent.rnn.predict_many(part(k, count)))


def loaded(places: Sequence[int], count: int) -> list[Host]:
    """Return the sequences of a partition of a bag."""
    return list(chain.from_iterable(part(k, count) for k in places))


def packed(count: int) -> dict[str, Any]:
    """Return what it takes to pack sequences into batches and run nothing: of a list of arrays, and of the flat form."""
    sequences = part(0, count)
    values, lengths = np.concatenate(sequences), [len(each) for each in sequences]
    given: dict[str, tuple[Any, Any]] = {"list": (sequences, None), "flat": (values, lengths)}
    found = {}
    for name, (held, of_each) in given.items():
        begun = perf_counter()
        for _ in rb.batches(held, lengths=of_each):
            pass
        found[name] = perf_counter() - begun
    return found


def digest(ids: Host) -> str:
    """Return a digest of predictions."""
    return sha256(np.asarray(ids, np.int64).tobytes()).hexdigest()[:16]


def alone(count: int) -> dict[str, Any]:
    """Return what `predict_many` takes in one process, the sequences being made on the way."""
    rnn = network()
    rnn.predict_many(part(0))
    seconds = []
    for _ in range(ROUNDS):
        begun = perf_counter()
        ids = rnn.predict_many(chain.from_iterable(part(k) for k in range(count // PART)))
        seconds.append(perf_counter() - begun)
    return {"seconds": min(seconds), "digest": digest(ids), "mib": resident("VmHWM")}


def one_by_one(count: int) -> dict[str, Any]:
    """Return what a loop takes that calls `predict` for each sequence."""
    rnn = network()
    sequences = part(0, count)
    begun = perf_counter()
    for each in sequences:
        rnn.predict(each)
    return {"seconds": perf_counter() - begun}


def made(count: int) -> dict[str, Any]:
    """Return what it takes to make the sequences, which is part of all times but that of the loop."""
    begun = perf_counter()
    for k in range(count // PART):
        part(k)
    return {"seconds": perf_counter() - begun}


class Cluster:
    """A cluster of this machine: two workers of one thread each, with processes of their own."""

    def __init__(self) -> None:
        import dask
        from distributed import Client, LocalCluster

        self.begun = perf_counter()
        dask.config.set({"distributed.nanny.environ": {"RNN_NUM_THREADS": "1"}, **MEMORY})
        self.cluster = LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        )
        self.client = Client(self.cluster)
        self.client.wait_for_workers(WORKERS)
        self.started = perf_counter() - self.begun

    def predictions(self, count: int, *, kill: bool = False, of_bag: bool = False) -> tuple[Host, float]:
        """Return the predictions for so many sequences, and the seconds that they took.

        A partition is read and predicted in one task; or a bag is read, and predicted in tasks of their own.  A worker
        is killed, if one is to be, when half of the partitions are done.
        """
        import dask.bag as db
        from dask import delayed
        from distributed import as_completed

        import rnn_backends.dask as over

        size, begun = min(PART, count // WORKERS), perf_counter()
        places = range(count // size)
        if of_bag:
            bag = db.from_sequence(places, npartitions=len(places)).map_partitions(loaded, size)
            tasks = over.predict(network(), bag).map_partitions(np.array).to_delayed()
        else:
            rnn = over.sent(network())
            tasks = [delayed(predicted)(k, size, rnn) for k in places]
        futures = self.client.compute(tasks)
        for done, _ in enumerate(as_completed(futures), 1):
            if kill and done == len(futures) // 2:
                os.kill(min(self.client.run(os.getpid).values()), signal.SIGKILL)
        ids = np.concatenate(self.client.gather(futures))
        return ids, perf_counter() - begun

    def nothing(self, count: int = 2000) -> float:
        """Return the seconds that the cluster takes for a task that does nothing."""
        begun = perf_counter()
        self.client.gather(self.client.map(abs, range(count)))
        return (perf_counter() - begun) / count

    def peaks(self) -> list[float]:
        """Return the most MiB that each worker had, and this process."""
        self.client.wait_for_workers(WORKERS)
        return [*self.client.run(resident, "VmHWM").values(), resident("VmHWM")]

    def close(self) -> None:
        """End the workers."""
        self.client.close()
        self.cluster.close()


def by_dask(counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield what a cluster takes for each count, and for the last with a worker that is killed half-way."""
    cluster = Cluster()
    try:
        cluster.predictions(2 * PART)  # which imports what a worker needs
        rest = min(cluster.predictions(WORKERS)[1] for _ in range(ROUNDS))
        yield {"what": "start", "start": cluster.started, "rest": rest, "task": cluster.nothing()}
        for count in counts:
            runs = [cluster.predictions(count) for _ in range(ROUNDS)]
            seconds = min(seconds for _, seconds in runs)
            yield {
                "what": "Dask",
                "count": count,
                "seconds": seconds,
                "digest": digest(runs[-1][0]),
                "mib": cluster.peaks(),
            }
        for what in ("of_bag", "kill"):
            before = cluster.client.run(os.getpid)
            ids, seconds = cluster.predictions(counts[-1], **{what: True})
            found = {"count": counts[-1], "seconds": seconds, "digest": digest(ids), "mib": cluster.peaks()}
            assert (before != cluster.client.run(os.getpid)) == (what == "kill")
            yield {"what": {"of_bag": "Dask, a bag", "kill": "Dask, a worker killed"}[what], **found}
    finally:
        cluster.close()


def slope(counts: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the slope of log time against log count."""
    return float(np.polyfit(np.log(counts), np.log(seconds), 1)[0]) if len(counts) > 1 else float("nan")


def run(most: int) -> Iterator[str]:
    """Yield the lines that say what was measured, as it is measured."""
    counts = [count for count in COUNTS if count < most] + [most]
    yield ", ".join(f"{name} {value}" for name, value in about().items() if isinstance(value, (str, int)))
    yield f"{TOKENS} tokens, {STATES} states, {CLASSES} classes, lengths 1..{LONGEST}, float32"
    plain = answer("million", f"one_by_one({PART})", threads=1)["seconds"] / PART
    yield f"a loop of predict: {1e6 * plain:.1f} us a sequence"
    singles = [answer("million", f"alone({count})", threads=1) for count in counts]
    making = answer("million", f"made({counts[-1]})", threads=1)["seconds"] / counts[-1]
    yield f"of all times below, to make a sequence: {1e6 * making:.2f} us"
    packing = answer("million", f"packed({counts[-1]})", threads=1)
    per = {name: 1e6 * found / counts[-1] for name, found in packing.items()}
    yield f"batches alone: {per['list']:.2f} us a sequence of a list of arrays, {per['flat']:.2f} us of the flat form"
    for count, found in zip(counts, singles, strict=True):
        each = 1e6 * found["seconds"] / count
        yield f"predict_many, one thread, {count:>9,}: {each:6.2f} us a sequence, {found['mib']:.0f} MiB, {found['digest']}"
    seconds = [found["seconds"] for found in singles]
    yield f"predict_many: slope {slope(counts, seconds):.3f}"
    yield from of_cluster(counts, singles)


def of_cluster(counts: Sequence[int], singles: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the cluster beside those of one process."""
    rest, seconds = 0.0, []
    for found in by_dask(counts):
        if found["what"] == "start":
            rest = found["rest"]
            yield f"Dask: {found['start']:.1f} s to start {WORKERS} workers; {1e3 * rest:.0f} ms of a run of nothing"
            yield f"Dask: {1e6 * found['task']:.0f} us a task of nothing"
            continue
        of_one = singles[counts.index(found["count"])]
        core = 1e6 * found["seconds"] * WORKERS / found["count"]
        ratio = core / (1e6 * of_one["seconds"] / found["count"])
        same = "the same" if found["digest"] == of_one["digest"] else f"OTHER: {found['digest']}"
        if found["what"] == "Dask":
            seconds.append(found["seconds"])
        peaks = ", ".join(f"{mib:.0f}" for mib in found["mib"])
        yield (
            f"{found['what']}, {found['count']:>9,}: {found['seconds']:.2f} s, {core:6.2f} us a sequence and core, "
            f"{ratio:.2f} times predict_many; MiB of workers and client: {peaks}; {same}"
        )
    yield f"Dask: slope {slope(counts, seconds):.3f}; {slope(counts, [each - rest for each in seconds]):.3f} without a run of nothing"


def main(words: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=max(COUNTS), help=f"a multiple of {PART}; default: {max(COUNTS)}")
    count = parser.parse_args(words).count
    if count < PART or count % PART:
        parser.error(f"--count must be a multiple of {PART}")
    for line in run(count):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
