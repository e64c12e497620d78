"""array-api-strict: the array API standard and nothing else, to test code against.

Its devices are simulated, but refuse the hidden transfers and mixtures that a GPU refuses.
"""

import array_api_strict as xp
import numpy as np
from array_api_strict import Device

from rnn_backends.backends.backend import Backend


def make() -> Backend:
    """Return the backend."""
    array_type = type(xp.asarray(0))
    return Backend(
        name="array_api_strict",
        xp=xp,
        owns=lambda array: isinstance(array, array_type),
        to_numpy=lambda array: np.asarray(xp.asarray(array, device=Device("CPU_DEVICE"), copy=True)),
        devices=lambda: {name: Device(name) for name in ("CPU_DEVICE", "device1", "device2")},
    )
