"""Files of modules that were saved whole, as torch.save writes them, of the modules of `fake_torch`."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pt_files
from pt_files import dictionary, integer, plain, text

OWNERS = {
    "RNN": "rnn", "RNNCell": "rnn", "LSTM": "rnn", "Linear": "linear", "Embedding": "sparse", "BatchNorm1d": "batchnorm",
    "LayerNorm": "normalization", "GroupNorm": "normalization", "Dropout": "dropout", "Identity": "linear",
    "Sequential": "container", "ModuleList": "container", "CrossEntropyLoss": "loss",
}  # fmt: skip
"""The modules of torch.nn.modules that define classes; those of all others, activation."""


def name_of(module: Any) -> str:
    """Return the name of the class that torch.save would write."""
    kind = type(module)
    if not kind.__module__.startswith("torch.nn.modules."):
        return f"{kind.__module__} {kind.__name__}"
    return f"torch.nn.modules.{OWNERS.get(kind.__name__, 'activation')} {kind.__name__}"


def value(held: Any) -> bytes:
    """Return the opcodes of a plain value."""
    if held is None or isinstance(held, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[held]
    if isinstance(held, int):
        return integer(held)
    if isinstance(held, float):
        return b"G" + struct.pack(">d", held)
    if isinstance(held, dict):
        return (
            b"}(" + b"".join((text(k) if isinstance(k, str) else integer(k)) + value(v) for k, v in held.items()) + b"u"
        )
    return text(held) if isinstance(held, str) else bytes(held)


class Saved:
    """The file of a module; the same module twice is written once."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}
        self.memo: dict[int, bytes] = {}

    def module(self, module: Any) -> bytes:
        """Return the opcodes of a module with all in it."""
        if module is None:
            return b"N"
        if id(module) in self.memo:
            return self.memo[id(module)]
        arrays = {}
        for name, array in module._state.items():
            key = str(len(self.arrays))
            self.arrays[key] = np.asarray(array)
            arrays[name] = plain(key, self.arrays[key])
        children = {name: self.module(each) for name, each in module._modules.items()}
        own = {name: value(held) for name, held in vars(module).items() if name not in {"_state", "_modules"}}
        held = {"_parameters": dictionary(arrays), "_buffers": b"}", "_modules": dictionary(children), **own}
        put = len(self.memo)
        self.memo[id(module)] = b"j" + struct.pack("<I", put)
        owner, kind = name_of(module).split()
        return f"c{owner}\n{kind}\n".encode() + b")\x81" + dictionary(held) + b"br" + struct.pack("<I", put)

    def write(self, path: Path, opcodes: bytes) -> Path:
        """Write a file of a value, whose tensors are those of the modules."""
        return pt_files.write(path, pt_files.members(self.arrays, opcodes))


def saved(module: Any, path: Path) -> Path:
    """Write the file of a module."""
    file = Saved()
    return file.write(path, file.module(module))
