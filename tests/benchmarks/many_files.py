"""How much faster two processes of `rnn-backends run --output-dir` are than one, on texts.

    python tests/benchmarks/many_files.py [--files 40] [--megabytes 4] [--states 256] [--rounds 3] [--check]

The runs of a round take turns, each into a new folder, and all must leave the same bytes.  Beside the ratio of the whole
commands, in which each starts and loads, is that of the time between, which the command reports.  With --check, fail
where the median of the latter is below 1.8; two idle processors are needed for that.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in about().items() if isinstance(value, (str, int))))
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options)
        rounds = [measure(Path(folder)) for _ in range(options.rounds)]
    whole, between = (median(one[part] / two[part] for one, two in rounds) for part in (0, 1))
    print(f"--jobs 2 is {whole:.2f} times --jobs 1 in all, and {between:.2f} times between start and end")
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


def measure(folder: Path) -> list[tuple[float, float]]:
    """Return the seconds of each command, and those that it reports."""
    found, made = [], []
    for jobs in JOBS:
        out = folder / "out"
        words = ["run", "model.safetensors", "corpus/*.txt", "--predictions", "--output-dir", "out", "--json"]
        command = [sys.executable, "-P", "-m", "rnn_backends", *words, "--jobs", str(jobs)]
        begun = perf_counter()
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **undisturbed()}, stdout=subprocess.PIPE, check=True
        )
        found.append((perf_counter() - begun, json.loads(done.stdout)["seconds"]))
        made.append({each.name: each.read_bytes() for each in out.iterdir()})
        shutil.rmtree(out)
    if made[0] != made[1]:
        sys.exit("the outputs of one process and of two differ")
    print(
        ", ".join(
            f"--jobs {jobs}: {all_:.2f} s, {own:.2f} s between" for jobs, (all_, own) in zip(JOBS, found, strict=True)
        )
    )
    return found


if __name__ == "__main__":
    main()
