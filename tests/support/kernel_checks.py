"""What the tests of the kernels' own checks share; the stand-in for CuPy must be installed."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import standin
from gpu_walks import module

from rnn_backends.backends.cuda_kernels import verdicts

Plant = Callable[..., None]
"""A fixture that changes the text of a kernel: the file, what stands in it, and what takes its place."""
FLOAT32 = np.dtype("float32")
LAST_BIT = ("words.cu", "store_relaxed(to, x);", "store_relaxed(to, (T)(x & ~(T)1));")
"""A fault that makes `grid` differ from `sweep` in the last bit of a state."""


def selfcheck() -> Any:
    return module("selfcheck")


def trusted(regime: str, dtype: str = "float32") -> bool:
    return bool(module("trust").trusted(regime, np.dtype(dtype)))


def another_process() -> None:
    """Forget what a process remembers."""
    module("trust")._verdicts.clear()
    module("trust").place.cache_clear()
    forget_kernels()
    standin.RawKernel.launches.clear()


def forget_kernels() -> None:
    """Choose and compile again."""
    module("choices").choices_of.cache_clear()
    module("device").compiled.cache_clear()


def held() -> dict[str, Any]:
    """Return what is kept, by kernel and dtype."""
    return {key.split(", ")[-2]: value for key, value in everything().items()}


def everything() -> dict[str, Any]:
    """Return all that is kept, oldest first."""
    files = sorted((verdicts.folder() / verdicts.FOLDER).glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    return {key: value for file in files for key, value in json.loads(file.read_text()).items()}


def distrust(*regimes: str) -> None:
    for regime in regimes:
        verdicts.keep(module("trust").key_of(regime, "float32", 0), "it was planted")
