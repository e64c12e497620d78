"""The network of examples/decision: what its README.md states, on every backend, its program, and its fixed points.

With --gallery FOLDER, that of a copy of the folder, in which the network was trained again.
"""

import re
import subprocess
import sys
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb

SHIPPED = Path(__file__).parents[1] / "examples"
README = (SHIPPED / "decision" / "README.md").read_text(encoding="utf-8")
TABLE = [[float(cell) for cell in row] for row in re.findall(r"^\| ([\d.]+) %[^|]*\| ([\d.]+) % \| ([\d.]+) % \|", README, re.M)]
"""Coherence, right choices and those of an ideal observer, in percent."""
TAU, SIGMA_IN, SIGMA_REC = 100.0, 0.1, 0.15


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    return Path(request.config.getoption("--gallery") or SHIPPED).resolve() / "decision"


@pytest.fixture(scope="module")
def program(folder: Path) -> dict[str, Any]:
    """The functions of decide.py."""
    return run_path(str(folder / "decide.py"))


@pytest.fixture(scope="module")
def held(folder: Path) -> dict[str, Any]:
    """The arrays of the file, in float64."""
    with np.load(folder / "decision.npz") as arrays:
        return {name: array.astype("float64") for name, array in arrays.items()}


def choices(program: dict[str, Any], percent: float, count: int, **options: Any) -> Any:
    """Return whether the choices in trials of one coherence are right, as README.md counts them."""
    key = round(10 * percent)
    random = np.random.default_rng([99, key])
    side = random.choice((-1, 1), count)
    rnn = program["load"](seed=key, **options)
    z = rb.to_numpy(rnn.logits(program["trials"](side * percent / 100, random))[-1, ...])
    return np.sign(z[:, 0] - z[:, 1]) == side
