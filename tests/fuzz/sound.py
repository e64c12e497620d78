"""Sound files and their options, which tests damage in ways of their own, and the loading of one file under watch."""

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rnn_backends as rb
from fuzz.watch import MEMORY, require_sound_message, watched

HERE = Path(__file__).parents[1]
DATA = HERE / "data"


def array_of_msgpack(array: NDArray[Any]) -> bytes:
    """Return an array as flax.serialization.to_bytes has it, for shapes below 128 and up to 65535 bytes."""
    shape = bytes([0x90 + array.ndim, *array.shape])
    data: bytes = b"\xc5" + struct.pack(">H", array.nbytes) + array.tobytes()
    inner = b"\x93" + shape + bytes([0xA0 + len(array.dtype.name)]) + array.dtype.name.encode() + data
    return b"\xc8" + struct.pack(">H", len(inner)) + b"\1" + inner


def flax_file() -> bytes:
    """Return a file of the parameters of one SimpleCell, and a Dense."""
    kernels = [array_of_msgpack(np.full(shape, 0.5, "f4")) for shape in ((3, 4), (4, 4), (4,), (4, 2))]
    cell = b"\x82\xa1i\x82\xa6kernel" + kernels[0] + b"\xa4bias" + kernels[2] + b"\xa1h\x81\xa6kernel" + kernels[1]
    return b"\x81\xa6params\x82\xa4cell" + cell + b"\xa7Dense_0\x81\xa6kernel" + kernels[3]


def options_of(path: Path) -> dict[str, Any]:
    """Return the options that a file of weights alone does not record."""
    if path.suffix not in {".pt", ".pth", ".msgpack", ".h5"}:
        return {}
    more = {".msgpack": {"residual": False}, ".h5": {"go_backwards": False}}.get(path.suffix, {})
    return {"activation": "tanh", "readout_activation": "identity", **more}


def load(path: Path, given: dict[str, Any]) -> rb.RNN:
    """Load a file, without the options that it records, or that are of another format than its content is now."""
    options = dict(given)
    while True:
        try:
            return rb.load(path, **options)
        except (rb.FormatError, rb.ArgumentError) as error:
            left_out = [name for name in options if f"leave `{name}` out" in str(error)]
            if not left_out:
                raise
            options.pop(left_out[0])


def outcome(path: Path, data: bytes) -> str:
    """Load a file, and tell whether it was loaded or refused; anything else is an error."""
    path.write_bytes(data)
    tracemalloc.start()
    said = ""
    try:
        with watched():
            load(path, options_of(path))
    except rb.FormatError as error:
        said = str(error)
    finally:
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    require_sound_message(said, path)
    assert taken <= len(data) + MEMORY, f"{taken} bytes of memory were taken for {len(data)}"
    return "refused" if said else "loaded"
