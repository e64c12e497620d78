"""Whether time grows in proportion to the number of short sequences, in one process and by Dask on two.

    python tests/benchmarks/million.py [--count 1000000] [--record examples/million/scaling.json] [--check]

The names and the network are those of examples/million.  Each figure is the median of some runs, on a cluster that has
run before.  A cluster of two workers, its scheduler and its client want three processors; beside the seconds, which
whatever else the machine does makes longer, there is the processor time of the workers and of the client, in whose
process the scheduler is.  With --check, fail where a slope of the logarithm of the time against that of the count is
not between 0.95 and 1.05; that of the seconds needs an idle machine.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "examples" / "million"))  # for workers, too

import classify
from classify import digest, halves, made_up, network, parts
from harness.machine import about
from harness.processes import answer
from memory import resident

import rnn_backends as rb
from rnn_backends.core.arrays import Host

COUNTS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
WORKERS, ROUNDS = 2, 5
PART = 1250
"""The names of a task, of which the least count has eight.

Dask gives tasks that need one model to the worker that has it, where there are no more than two for each thread.
"""
LARGE = 10_000
"""The names of a task of which there are to be few."""
LEAST, MOST = 0.95, 1.05


def texts(count: int, of_names: classify.Halves) -> Iterator[str]:
    """Return names part by part, as they might be read from files."""
    return chain.from_iterable(made_up(*part, of_names) for part in parts(count, LARGE))


def clock(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what a call returns, and the seconds and the processor time that it took."""
    begun, before = time.perf_counter(), time.process_time()
    found = call()
    return found, {"seconds": time.perf_counter() - begun, "processor": time.process_time() - before}


def medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {name: median(run[name] for run in runs) for name in runs[0]}


def rounds(count: int) -> range:
    """Return as many runs as a round has, more of those that are short."""
    return range(1 if count > 100_000 else 5)


def alone(count: int) -> dict[str, Any]:
    """Return what `predict_many` takes in one process, and by how many MiB it grows; the names are made on the way."""
    rnn, of_names = network(), halves()
    rnn.predict_many(texts(LARGE, of_names))
    before = resident("VmHWM")
    runs = [clock(lambda: rnn.predict_many(texts(count, of_names))) for _ in range(ROUNDS) for _ in rounds(count)]
    return {**medians([taken for _, taken in runs]), "mib": resident("VmHWM") - before, "digest": digest(runs[0][0])}


def one_by_one(count: int) -> float:
    """Return the processor time of a name in a loop that calls `predict` for each."""
    return classify.one_by_one(network(), count)


def made(count: int) -> tuple[float, float]:
    """Return the processor time to make a name, which is part of all times but that of the loop, and the mean length."""
    of_names = halves()
    length, taken = clock(lambda: sum(map(len, texts(count, of_names))))
    return taken["processor"] / count, length / count


def packed(count: int) -> float:
    """Return the processor time to pack a sequence of the flat form into a batch, and run nothing."""
    names = list(texts(count, halves()))
    values = np.frombuffer("".join(names).encode(), np.uint8).astype(np.int32)
    lengths = np.array(list(map(len, names)))
    _, taken = clock(lambda: sum(1 for _ in rb.batches(values, lengths=lengths)))
    return taken["processor"] / count


class Crowd:
    """A cluster that is measured; what all tasks share is held there."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.shared = client.persist(list(classify.shared(network())))

    def run(self, count: int, size: int, *, kill: bool = False) -> tuple[Host, dict[str, float]]:
        """Return the languages of names, and what it took to find them."""
        before = self.client.run(time.process_time)
        found, taken = clock(lambda: classify.run(self.client, classify.tasks_of(count, self.shared, size), kill=kill))
        spent = [value - before.get(place, 0.0) for place, value in self.client.run(time.process_time).items()]
        return found.languages, {
            "seconds": taken["seconds"],
            "tasks": sum(task.processor for task in found.done),
            "workers": sum(spent),
            "client": taken["processor"],
        }

    def several(self, counts: Sequence[int], size: int) -> list[dict[str, Any]]:
        """Return the medians of several runs of each count, in turn: what else the machine does meets all of them."""
        found = [{"digest": digest(self.run(count, size)[0]), **self.peaks()} for count in counts]
        runs: list[list[dict[str, float]]] = [[] for _ in counts]
        for _ in range(ROUNDS):
            for count, taken in zip(counts, runs, strict=True):
                taken += [self.run(count, size)[1] for _ in rounds(count)]
        return [{**medians(taken), **known} for taken, known in zip(runs, found, strict=True)]

    def killed(self, count: int, size: int) -> dict[str, Any]:
        """Return what a run takes of whose workers one is killed."""
        languages, taken = self.run(count, size, kill=True)
        self.client.wait_for_workers(WORKERS)
        return {**taken, "digest": digest(languages), **self.peaks()}

    def of_bag(self, count: int, size: int) -> dict[str, Any]:
        """Return what a bag takes, whose parts are made and predicted in tasks of their own."""
        import dask.bag as db

        import rnn_backends.dask

        def found() -> Host:
            given = parts(count, size)
            bag = db.from_sequence(given, npartitions=len(given)).map_partitions(names_of, self.shared[0])
            tasks = rnn_backends.dask.predict(network(), bag).map_partitions(np.array).to_delayed()
            return np.concatenate(self.client.gather(self.client.compute(tasks)))

        before = self.client.run(time.process_time)
        languages, taken = clock(found)
        spent = [value - before[place] for place, value in self.client.run(time.process_time).items()]
        figures = {"seconds": taken["seconds"], "workers": sum(spent), "client": taken["processor"]}
        return {**figures, "digest": digest(languages), **self.peaks()}

    def peaks(self) -> dict[str, float]:
        """Return the most MiB that a worker ever had, and this process, in which the scheduler is."""
        return {"worker mib": max(self.client.run(resident, "VmHWM").values()), "client mib": resident("VmHWM")}

    def nothing(self, count: int = 2000) -> dict[str, float]:
        """Return the seconds that a task takes that does nothing, and the processor time of client and scheduler."""
        _, taken = clock(lambda: self.client.gather(self.client.map(abs, range(count))))
        return {name: spent / count for name, spent in taken.items()}


def names_of(given: Sequence[tuple[int, int]], of_names: Any) -> list[str]:
    """Return the names of a partition of a bag."""
    return [name for part in given for name in made_up(*part, of_names)]


def slope(counts: Sequence[int], times: Sequence[float]) -> float:
    """Return the slope of the logarithm of the time against that of the count."""
    return float(np.polyfit(np.log(counts), np.log(times), 1)[0]) if len(counts) > 1 else float("nan")


def measured(most: int, note: Callable[[str], None]) -> dict[str, Any]:
    """Return what was measured, as JSON can hold it, and write lines of it on the way."""
    counts = [count for count in COUNTS if count < most] + [most]
    record: dict[str, Any] = {"about": about(), "counts": counts, "part": PART, "large": LARGE, "workers": WORKERS}
    note(", ".join(f"{name} {value}" for name, value in record["about"].items()))
    making, record["letters"] = answer("million", f"made({most})", threads=1)
    each = record["microseconds"] = {
        "a loop of predict": 1e6 * answer("million", "one_by_one(2000)", threads=1),
        "made": 1e6 * making,
        "packed": 1e6 * answer("million", f"packed({most})", threads=1),
    }
    note("microseconds a name: " + ", ".join(f"{name} {value:.2f}" for name, value in each.items()))
    record["predict_many"] = []
    for count in counts:
        record["predict_many"].append(answer("million", f"alone({count})", threads=1))
        note(in_words("predict_many", count, record["predict_many"][-1], 1))
    of_cluster(counts, record, note)
    record["slopes"] = slopes(record)
    note("slopes: " + ", ".join(f"{name} {value:.3f}" for name, value in record["slopes"].items()))
    return record


def of_cluster(counts: Sequence[int], record: dict[str, Any], note: Callable[[str], None]) -> None:
    """Measure a cluster."""
    most = counts[-1]
    with classify.cluster(WORKERS) as client:
        crowd = Crowd(client)
        (record["run of nothing"],) = crowd.several([4 * WORKERS], 1)
        record["task of nothing"] = crowd.nothing()
        note(in_words("a run of nothing", 4 * WORKERS, record["run of nothing"], WORKERS))
        note(
            "a task of nothing, in ms: " + ", ".join(f"{k} {1e3 * v:.2f}" for k, v in record["task of nothing"].items())
        )
        record["Dask"] = crowd.several(counts, PART)
        for count, found in zip(counts, record["Dask"], strict=True):
            note(in_words("Dask", count, found, WORKERS))
        (record["Dask, large"],) = crowd.several([most], LARGE)
        record["Dask, bag"], record["Dask, killed"] = crowd.of_bag(most, LARGE), crowd.killed(most, LARGE)
        for name in ("large", "bag", "killed"):
            note(in_words(f"Dask, {name}", most, record[f"Dask, {name}"], WORKERS))
    others = [*zip(record["predict_many"], record["Dask"], strict=True)]
    others += [(record["predict_many"][-1], record[f"Dask, {name}"]) for name in ("large", "bag", "killed")]
    assert all(one["digest"] == found["digest"] for one, found in others), "the languages of a process are others"


def in_words(name: str, count: int, found: dict[str, Any], cores: int) -> str:
    """Return a line about some runs."""
    core = 1e6 * found["seconds"] * cores / count
    others = ", ".join(
        f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in found.items()
    )
    return f"{name}, {count:>9,}: {core:6.2f} us a name and core; {others}"


def slopes(record: dict[str, Any]) -> dict[str, float]:
    """Return the slopes of the times that were measured for each count."""
    counts = record["counts"]
    taken = {
        "predict_many": [run["seconds"] for run in record["predict_many"]],
        "predict_many, processor time": [run["processor"] for run in record["predict_many"]],
        "Dask": [run["seconds"] for run in record["Dask"]],
        "Dask, processor time of tasks": [run["tasks"] for run in record["Dask"]],
        "Dask, processor time of workers": [run["workers"] for run in record["Dask"]],
        "Dask, processor time of all": [run["workers"] + run["client"] for run in record["Dask"]],
    }
    return {name: slope(counts, times) for name, times in taken.items()}


def main(words: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=max(COUNTS), help=f"the largest count; default: {max(COUNTS)}")
    parser.add_argument("--record", type=Path, help="write what was measured to this file, in JSON")
    parser.add_argument("--check", action="store_true", help=f"fail where a slope is not in {LEAST}..{MOST}")
    options = parser.parse_args(words)
    if options.count < 1:
        parser.error("--count must be at least 1")
    record = measured(options.count, lambda line: print(line, flush=True))
    if options.record is not None:
        options.record.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(options.check and not all(LEAST <= value <= MOST for value in record["slopes"].values()))


if __name__ == "__main__":
    sys.exit(main())
