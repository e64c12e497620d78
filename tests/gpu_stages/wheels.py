"""Fetch wheels of what `gpu_first.py` needs and a bare machine lacks: `python -m gpu_stages.wheels DIR`, with a network.

They are for --wheels DIR of `gpu_first.py` there, each with what it depends on.  CuPy and torch, which bring gigabytes, and
NumPy, which came with them, are expected to be there.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gpu_stages.names import NEEDING, OPTIONAL, REQUIRED

THERE = ("cupy", "torch", "numpy")
"""The modules of which no wheel is fetched."""
PYTHON, PLATFORMS = "3.12", ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def wanted() -> list[str]:
    """Return the distributions of all other modules."""
    distributions = {**REQUIRED, **{module: distribution for module, (distribution, _) in OPTIONAL.items()}}
    return [distribution for module, distribution in distributions.items() if module not in THERE]


def command(distribution: str, folder: Path, python: str, platforms: Sequence[str]) -> list[str]:
    """Return the command of pip that fetches the wheel of a distribution for another machine."""
    machine = [word for platform in platforms for word in ("--platform", platform)]
    python_words = ["--python-version", python, "--implementation", "cp", *machine]
    return [
        sys.executable, "-m", "pip", "download", "--only-binary=:all:", *python_words, "--dest", str(folder),
        *(["--no-deps"] if distribution not in NEEDING else []), distribution,
    ]  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=Path, help="where they go; it is made if it is not there")
    parser.add_argument("--python", default=PYTHON, metavar="VERSION", help=f"of that machine; default: {PYTHON}")
    parser.add_argument("--platform", nargs="+", default=PLATFORMS, help=f"default: {' '.join(PLATFORMS)}")
    given = parser.parse_args(words)
    given.folder.mkdir(parents=True, exist_ok=True)
    failed = [
        distribution
        for distribution in wanted()
        if subprocess.run(command(distribution, given.folder, given.python, given.platform), check=False).returncode
    ]
    if failed:
        print(f"not fetched: {', '.join(failed)}; see above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
