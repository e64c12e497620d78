"""Measure this library on the CPU against others, and write docs/benchmarks/cpu.md and cpu.svg.

python tests/benchmarks/cpu.py                               # everything, a quarter of an hour on two cores
python tests/benchmarks/cpu.py step "cold start" --work DIR  # these parts; the page holds all parts in DIR
python tests/benchmarks/cpu.py --quick                       # tries it; the figures mean nothing
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import cold_start
import cpu_page
from harness.machine import processors

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"
SHAPE = Path(__file__).with_name("shape.py")
BOTH_DTYPES = ["--dtype", "float32", "float64"]
COLD_START = "cold start"


def shapes(*sizes: str) -> list[str]:
    return [word for shape in sizes for word in ("--shape", *shape.split())]


FULL = {
    "sequences": BOTH_DTYPES,
    "tokens": ["--tokens", *BOTH_DTYPES],
    "bidirectional": ["--bidirectional", *shapes("1000 1 64 100", "50 8 16 32", "128 32 128 256")],
    "ragged": ["--ragged", *shapes("50 8 16 32", "128 32 128 256", "64 128 256 512")],
    "step": ["--step", *BOTH_DTYPES],
    "leaky": ["--leak", "0.3", *shapes("1000 1 64 100", "1000 1 128 256"), *BOTH_DTYPES],
}
QUICK = {
    "sequences": shapes("50 8 16 32", "100 1 64 100"),
    "tokens": ["--tokens", *shapes("50 1 500 32")],
    "bidirectional": ["--bidirectional", *shapes("20 4 8 16")],
    "ragged": ["--ragged", *shapes("20 4 8 16")],
    "step": ["--step", *shapes("20 1 32 32")],
    "leaky": ["--leak", "0.3", *shapes("50 1 8 16")],
}


def measured(name: str, work: Path, quick: bool) -> dict[str, Any]:
    """Measure one part, write it to the work folder as JSON, and return it."""
    path = work / f"{name.replace(' ', '_')}.json"
    if name == COLD_START:
        found = cold_start.measure(rounds=2 if quick else 25)
        path.write_text(json.dumps(found), encoding="utf-8")
        return found
    threads = [str(count) for count in (1, 2)[: 1 if quick else processors()]]
    budget = ["--rounds", "2", "--seconds", "1"] if quick else ["--rounds", "21", "--seconds", "3"]
    options = (QUICK if quick else FULL)[name]
    words = [*options, "--threads", *threads, *budget]
    subprocess.run([sys.executable, SHAPE, *words, "--json", path], check=True, stdout=subprocess.DEVNULL)
    found = json.loads(path.read_text(encoding="utf-8"))
    found["command"] = " ".join(["python tests/benchmarks/shape.py", *words])
    path.write_text(json.dumps(found), encoding="utf-8")
    return dict(found)


def kept(work: Path, names: list[str]) -> dict[str, Any]:
    """Return the parts that were measured, in this call or an earlier one, in their order."""
    paths = {name: work / f"{name.replace(' ', '_')}.json" for name in names}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


def main() -> int:
    names = [*FULL, COLD_START]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(names)}; default: all")
    parser.add_argument("--quick", action="store_true", help="tiny shapes and few rounds, written to the work folder")
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder that keeps the measurements; default: none")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of cpu.md and cpu.svg; default: docs")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(names):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        output = arguments.output or (work if arguments.quick else DOCS)
        for folder in (work, output):
            folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.parts or names:
            start = perf_counter()
            print(f"measuring {name}", file=sys.stderr, flush=True)
            measured(name, work, arguments.quick)
            print(f"measured {name} in {perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        cpu_page.write(kept(work, names), output)
    print(f"wrote {output / 'cpu.md'}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
