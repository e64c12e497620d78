"""The readers that are fuzzed: what makes their files, and the modules that are theirs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import rnn_backends
from fuzz import flax_files, keras_files, native, onnx_files, torch_files
from fuzz.cases import Case
from fuzz.draws import Draw

FORMATS = Path(rnn_backends.__file__).parent / "formats"


class Reader(NamedTuple):
    """What makes a case of bytes, the packages that it needs, and the modules that are its own, by their paths."""

    generate: Callable[[Draw], Case]
    modules: tuple[str, ...]
    needs: tuple[str, ...] = ()


def _keras(draw: Draw) -> Case:
    return draw.pick((keras_files.archive, keras_files.alone, keras_files.whole))(draw)


READERS: Mapping[str, Reader] = {
    "safetensors": Reader(native.safetensors, ("native/safetensors", "json_text", "description", "assembly")),
    "npz": Reader(native.npz, ("native/npz", "npy")),
    "torch": Reader(torch_files.generate, ("torch/",)),
    "flax": Reader(flax_files.generate, ("flax/",), ("msgpack",)),
    "keras": Reader(_keras, ("keras/",)),
    "onnx": Reader(onnx_files.generate, ("onnx/",), ("onnx",)),
}
SHARED = "shared"
"""The modules of no reader alone."""


def owner_of(module: str) -> str:
    """Return the reader whose module it is, by its path without a suffix in rnn_backends/formats."""
    for name, reader in READERS.items():
        if any(module == each or (each.endswith("/") and module.startswith(each)) for each in reader.modules):
            return name
    return SHARED


def modules() -> dict[str, Path]:
    """Return all modules of rnn_backends.formats by their paths in it, without suffixes."""
    return {str(path.relative_to(FORMATS).with_suffix("")): path for path in sorted(FORMATS.rglob("*.py"))}
