"""Gather graphs.txt: the models of ONNX that tests make, as many as reach all lines that any of them does.

First the tests keep them: ``GATHERED=FOLDER pytest -p fuzz.gather tests/formats tests/cli -k onnx``; then, on Python 3.12 or later,
``python -m fuzz.gather FOLDER`` in tests/ writes the file.
"""

import base64
import hashlib
import lzma
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rnn_backends as rb
from fuzz import wire
from fuzz.lines import Line, Lines
from fuzz.onnx_files import DESCRIBING, GATHERED, REAL, real

_LARGEST = 2500
_ENTRY = 40
"""Bytes that one more model is worth."""
_OPTIONS: tuple[dict[str, Any], ...] = ({}, {"readout_activation": "identity"}, {"reads": "last"})


def pytest_configure() -> None:
    """Keep each model that is read, in memory or of a file."""
    from rnn_backends.formats import onnx

    reader: Any = onnx
    folder = Path(os.environ["GATHERED"])
    folder.mkdir(exist_ok=True)

    def keeping(inner: Callable[..., Any]) -> Callable[..., Any]:
        def read(model: Any, tensors: Any, *arguments: Any) -> Any:
            data = model.SerializeToString() if tensors.source is None else tensors.source.read(0, tensors.source.size)
            (folder / hashlib.sha256(data).hexdigest()).write_bytes(data)
            return inner(model, tensors, *arguments)

        return read

    # The second is of programs, and of the backend interface of ONNX, by which most tests compare numbers.
    reader.read_network, reader.read_graph = keeping(reader.read_network), keeping(reader.read_graph)


def _plain(data: bytes) -> bytes:
    """Return a model without what only describes it, but for the properties of this package."""
    model = wire.decoded(data)
    for kind, message in wire.messages_of(model):
        left_out = DESCRIBING.get(kind, frozenset()) - {14 if kind == "model" else 0}
        message[:] = [field for field in message if field.number not in left_out]
    return wire.encoded(model)


def _reached(data: bytes, path: Path, sight: Lines) -> frozenset[Line]:
    path.write_bytes(data)
    sight.again()
    for options in _OPTIONS:
        try:
            rb.load(path, **options)
        except rb.RNNBackendError:
            continue
    return frozenset(line for line in sight.taken() if line[0].startswith("onnx/"))


def main(folder: Path) -> None:
    sight, path = Lines(), folder / "case.onnx"
    sight.start()
    models = {_plain(each.read_bytes()) for each in folder.iterdir() if each.suffix != ".onnx"}
    reached = {data: _reached(data, path, sight) for data in models if len(data) < _LARGEST}
    left = set[Line]().union(*reached.values())
    for name in REAL:
        left -= _reached(wire.encoded(real(name)), path, sight)
    chosen = []
    while left:
        best = max(reached, key=lambda data: len(reached[data] & left) / (len(zlib.compress(data, 9)) + _ENTRY))
        chosen.append(best)
        left -= reached[best]
    whole = b"".join(struct.pack("<I", len(data)) + data for data in sorted(chosen, key=len))
    text = base64.b64encode(lzma.compress(whole, preset=9 | lzma.PRESET_EXTREME)).decode("ascii")
    GATHERED.write_text("".join(f"{text[at : at + 120]}\n" for at in range(0, len(text), 120)), encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
