"""Arguments that all importers take."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from rnn_backends.backends.transfer import to_numpy
from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host, dtype_name

Activated: TypeAlias = str | Activation | Callable[[Any], Any]
"""An activation: its name, the record of one, or a function."""


def to_host(array: Any) -> Host:
    """Return an array of any library as one of NumPy; bfloat16 becomes float32, exactly."""
    found = to_numpy(array)
    return found.astype(np.float32) if dtype_name(found) == "bfloat16" else found
