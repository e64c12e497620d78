"""How much faster two processes of `rnn-backends run --output-dir` are than one, on texts.

    python tests/benchmarks/many_files.py [--files 40] [--megabytes 4] [--states 256] [--rounds 5] [--check]

The runs of a round take turns, each into a new folder, and all must leave the same bytes.  The fastest run counts, as
whatever else the machine does makes it slower.  Beside the ratio of the whole commands, in which each starts and loads,
is that of the time between, which the command reports, and that of the processor time, which is 1 where a second
process costs nothing.  With --check, fail where the second is below 1.8; two idle processors are needed for that.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from harness.machine import about
from harness.processes import undisturbed

import rnn_backends as rb

TEXT = Path(__file__).parents[2] / "examples" / "shakespeare" / "the-tempest.txt"
JOBS, LEAST = (1, 2), 1.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--megabytes", type=float, default=4)
    parser.add_argument("--states", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in about().items() if isinstance(value, (str, int))))
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options)
        rounds = [measure(Path(folder)) for _ in range(options.rounds)]
    # of each number of processes, the least of each time
    one, two = ([min(times) for times in zip(*runs, strict=True)] for runs in zip(*rounds, strict=True))
    whole, between, busy = (first / second for first, second in zip(one, two, strict=True))
    print(f"--jobs 2 is {whole:.2f} times as fast as --jobs 1 in all, {between:.2f} times between start and end;")
    print(f"it takes {1 / busy:.2f} times the processor time")
    if options.check and between < LEAST:
        sys.exit(f"it is to be {LEAST} times at least; see --help")


def make(folder: Path, options: argparse.Namespace) -> None:
    """Write a model, and texts of which the largest is three times the smallest."""
    held = TEXT.read_text(encoding="utf-8")
    letters = "".join(sorted(set(held)))
    drawn = rb.RNN.init(len(letters), options.states, output_size=len(letters), seed=0)
    rb.RNN(drawn.layers, drawn.readout, vocabulary=letters).save(folder / "model.safetensors")
    (folder / "corpus").mkdir()
    mean = options.megabytes * 1e6 / options.files
    for index in range(options.files):
        size = int(mean * (0.5 + index / max(options.files - 1, 1)))
        text = (held * (size // len(held) + 2))[1000 * index % len(held) :][:size]
        (folder / "corpus" / f"{index:04}.txt").write_text(text, encoding="utf-8")


def measure(folder: Path) -> list[tuple[float, ...]]:
    """Return the seconds of each command, those that it reports, and those of the processors."""
    found, made = list[tuple[float, ...]](), []
    for jobs in JOBS:
        out = folder / "out"
        words = ["run", "model.safetensors", "corpus/*.txt", "--predictions", "--output-dir", "out", "--json"]
        command = [sys.executable, "-P", "-m", "rnn_backends", *words, "--jobs", str(jobs)]
        begun, before = perf_counter(), busy_seconds()
        done = subprocess.run(command, cwd=folder, env=undisturbed(), stdout=subprocess.PIPE, check=True)
        seconds = perf_counter() - begun
        found.append((seconds, json.loads(done.stdout)["seconds"], busy_seconds() - before))
        made.append({each.name: each.read_bytes() for each in out.iterdir()})
        shutil.rmtree(out)
    if made[0] != made[1]:
        sys.exit("the outputs of one process and of two differ")
    for jobs, (seconds, own, used) in zip(JOBS, found, strict=True):
        print(f"--jobs {jobs}: {seconds:.2f} s, {own:.2f} s between, {used:.2f} s of processors", flush=True)
    return found


def busy_seconds() -> float:
    """Return the processor time of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
