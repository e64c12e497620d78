"""The format of a file, by its first bytes; its suffix is a hint, for bytes that do not show it."""

import re

from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.source import Source, suffix_of

SUFFIXES = {
    ".safetensors": "native.safetensors", ".npz": "native.npz", ".onnx": "onnx", ".pt": "torch.pt", ".pth": "torch.pt",
    ".ckpt": "torch.pt", ".bin": "torch.pt", ".tar": "torch.pt", ".msgpack": "flax.msgpack", ".keras": "keras",
    ".h5": "keras", ".hdf5": "keras",
}  # fmt: skip
"""The modules that read files, by the suffix that these mostly have; a name begins with that of a framework."""
FORMATS = tuple(sorted(set(SUFFIXES.values())))
ZIP, _HDF5 = b"PK\3\4", b"\x89HDF\r\n\x1a\n"
_OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
_PICKLE = re.compile(rb"\x80[\x02-\x05]", re.DOTALL)
_ONNX = re.compile(rb"\x08[\x01-\x1f][\x12\x1a\x22\x2a\x32\x3a\x42]", re.DOTALL)
_MESSAGE_PACK = re.compile(rb"(?:[\x81-\x8f]|\xde..|\xdf....)[\xa0-\xbf\xd9-\xdb]", re.DOTALL)
HEAD = 512


def format_of(source: Source, path: str) -> str:
    """Return the module that reads a file."""
    source.require_content()
    head = source.look(0, min(HEAD, source.size))
    found = _by_content(head, source.size)
    if found is not None:
        return found
    if _PICKLE.match(head):
        msg = f"it is a pickle, a program, and nothing in a file is executed; {way('pickle')}."
        raise FormatError(msg)
    if (suffix := suffix_of(path)) in SUFFIXES:
        return SUFFIXES[suffix]
    msg = (
        "it is in none of the formats that are read: safetensors, .npz, .onnx, torch's .pt, Flax's .msgpack, Keras's "
        f".keras and .h5; it begins with {shown(head[:8])}."
    )
    raise FormatError(msg)


def is_of_old_torch(head: bytes) -> bool:
    """Return whether a file is of torch before 1.6."""
    return head.startswith(_OLD_TORCH) or head[257:262] == b"ustar"


def _by_content(head: bytes, size: int) -> str | None:
    """Return the module for the first bytes of a file; None where they show no format."""
    if head.startswith(ZIP):
        return _of_zip(head)
    if head.startswith(_HDF5):
        return "keras"
    if is_of_old_torch(head):
        return "torch.pt"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return "native.safetensors"
    if _ONNX.match(head):
        return "onnx"
    return "flax.msgpack" if _MESSAGE_PACK.match(head) else None


def _of_zip(head: bytes) -> str | None:
    """Return the module for a zip file, by the name of its first member."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if name.endswith(b".npy"):
        return "native.npz"
    if name in {b"metadata.json", b"config.json", b"model.weights.h5"}:
        return "keras"
    return "torch.pt" if re.search(rb"/(?:data\.pkl|byteorder|version|\.format_version|data/[0-9]+)$", name) else None
