"""The blocks of Python of docs/gpu.md: arrays of torch and of Numba, streams, and a call that is captured."""

import re
from pathlib import Path
from typing import Any

import numpy as np

import rnn_backends as rb

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"


def run(*, has_numba: bool = True) -> dict[str, Any]:
    """Run the blocks in order, compare what they compute with NumPy, and return all names."""
    names: dict[str, Any] = {}
    wanted = rb.RNN.init(16, 32)
    ones = wanted(np.ones((10, 4, 16), np.float32))[0]
    of_torch, of_numba, streams, captured = re.findall(
        r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    exec(compile(of_torch, PAGE, "exec"), names)
    np.testing.assert_allclose(names["output"].get(), ones, atol=1e-5)
    if has_numba:
        names["output"] = None
        exec(compile(of_numba, PAGE, "exec"), names)
        np.testing.assert_allclose(names["z"].copy_to_host(), ones, atol=1e-5)
    exec(compile(streams, PAGE, "exec"), names)
    np.testing.assert_allclose(names["total"].get(), ones.sum(), rtol=1e-4)
    exec(compile(captured, PAGE, "exec"), names)
    for name, right in zip(("output", "h_n"), wanted(np.full((10, 4), 5)), strict=True):
        np.testing.assert_allclose(names[name].get(), right, atol=1e-5)
    return names
