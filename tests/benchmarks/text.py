"""How `rnn-backends run` copes with a long text: its time beside that of the network alone, and its memory.

    python tests/benchmarks/text.py [--megabytes 100] [--rounds 3] [--states 64] [--check]

The network alone is `RNN.loss` of token ids that are in memory, in a process of its own; the command's time is less that
of a run over two characters, its memory what it takes beyond that of such a run.  With --check, fail where the command
takes over 5 % more time, or over 128 MiB beside a piece of the input, or if encoding takes over 1.5 s or 64 MiB.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import rnn_backends as rb
from rnn_backends.cli.running.streams import PIECE, reading
from rnn_backends.model.vocabulary import Encoder

MIB = 2**20
TEXT = Path(__file__).parents[2] / "examples" / "shakespeare" / "the-tempest.txt"
MOST_RATIO, MOST_BYTES, MOST_SECONDS, MOST_ENCODED = 1.05, 128 * MIB + PIECE, 1.5, 64 * MIB


WATCHED = """
import re, sys
from rnn_backends.cli.main import main
code = main()
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""
"""The command, and the largest memory of its process in KiB; what the system gives to a parent counts its own, too."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--states", type=int, default=64)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--alone", nargs=2, metavar=("MODEL", "TEXT"), help=argparse.SUPPRESS)
    parser.add_argument("--encode", nargs=2, metavar=("MODEL", "TEXT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(network_alone(*options.alone))
    elif options.encode:
        print(*encoding(*options.encode))
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), options)


def network_alone(model: str, text: str) -> float:
    """Return the seconds of the network over the token ids of a text."""
    rnn = rb.load(model)
    vocabulary = rnn.placed.vocabulary
    assert vocabulary is not None
    ids = vocabulary.encode(Path(text).read_text(encoding="utf-8"))
    x, targets = ids[:-1], ids[1:]
    rnn.loss(x[:1000], targets[:1000])
    start = time.perf_counter()
    rnn.loss(x, targets)
    return time.perf_counter() - start


def encoding(model: str, text: str) -> tuple[float, int]:
    """Return the seconds of reading and encoding a text, and the bytes that it takes."""
    vocabulary = rb.load(model).placed.vocabulary
    assert vocabulary is not None
    encoder = Encoder(vocabulary)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with reading(Path(text)) as reader:
        for piece in reader.texts():
            encoder.encode(piece)
    seconds = time.perf_counter() - start
    return seconds, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def command(model: Path, text: Path) -> tuple[float, int]:
    """Return the seconds and the largest memory of the command, in a process of its own."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-c", WATCHED, "run", model, text, "--quiet"], capture_output=True, check=True
    )
    return time.perf_counter() - start, 1024 * int(done.stderr)


def compare(folder: Path, options: argparse.Namespace) -> None:
    held = TEXT.read_text(encoding="utf-8")
    letters = "".join(sorted(set(held)))
    drawn = rb.RNN.init(len(letters), options.states, output_size=len(letters))
    model, text, short = folder / "model.npz", folder / "text.txt", folder / "short.txt"
    rb.RNN(drawn.layers, drawn.readout, vocabulary=letters).save(model)
    size = options.megabytes * 10**6
    text.write_text((held * (size // len(held) + 1))[:size], encoding="utf-8")
    short.write_text(held[:2], encoding="utf-8")
    asked = [sys.executable, __file__]
    seconds, taken = map(float, subprocess.run([*asked, "--encode", model, text], stdout=-1, check=True).stdout.split())
    ratios, peaks = [], []
    for _ in range(options.rounds):
        alone = float(subprocess.run([*asked, "--alone", model, text], stdout=-1, check=True).stdout)
        start, least = command(model, short)
        whole, most = command(model, text)
        ratios.append((whole - start) / alone)
        peaks.append(most - least)
        print(f"network {alone:.2f} s, command {whole - start:.2f} s and {start:.2f} s to start, {most / MIB:.0f} MiB")
    ratio, peak = median(ratios), median(peaks)
    print(
        f"{options.megabytes} MB, {options.states} states: command / network {ratio:.3f}, {peak / MIB:.0f} MiB more than"
    )
    print(f"a short text; read and encoded in {seconds:.2f} s and {taken / MIB:.0f} MiB")
    limits = [ratio <= MOST_RATIO, peak <= MOST_BYTES, seconds <= MOST_SECONDS, taken <= MOST_ENCODED]
    if options.check and not all(limits):
        sys.exit("a limit is exceeded; see --help")


if __name__ == "__main__":
    main()
