"""Data of tensors in files beside the model's."""

import hashlib
from pathlib import Path
from typing import Any

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.source import Account, Source, opened

_KNOWN = {"location", "offset", "length", "checksum"}


class External:
    """The external data files of a model.

    Parameters
    ----------
    folder : Path
        The folder of the model, where the files must be.
    account : Account
        That of the model, which may take as much more as the size of each file allows.
    """

    def __init__(self, folder: Path, account: Account) -> None:
        self.folder, self.account = folder, account
        self.digests: dict[Path, str] = {}
        self.known: set[Path] = set()

    def numbers(self, tensor: Any, count: int, dtype: Any) -> Host:
        """Return the elements of a TensorProto, as many as its shape has."""
        name, nbytes = shown(tensor.name), count * dtype.itemsize
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries.keys() - _KNOWN or len(entries) != len(tensor.external_data) or not entries.get("location"):
            known = "a location, and at most offset, length and checksum"
            msg = f"the external data of {name} must have {known}; got {shown(', '.join(entries))}."
            raise FormatError(msg)
        path = _contained(self.folder, entries["location"])
        offset = _whole(name, entries.get("offset", "0"))
        length = _whole(name, entries.get("length", str(nbytes)))
        with opened(path) as file:
            if length != nbytes or offset + length > file.size:
                msg = (
                    f"the tensor {name} needs {nbytes} bytes; its external data are {length} from {offset} on in a "
                    f"file of {file.size}."
                )
                raise FormatError(msg)
            self._require_checksum(name, path, file, entries.get("checksum"))
            self.account.size += 0 if path in self.known else file.size
            self.known.add(path)
            self.account.take(f"the external data of {name}", "bytes", nbytes)
            return file.numbers(offset, count, dtype)

    def _require_checksum(self, name: str, path: Path, file: Source, wanted: str | None) -> None:
        """Check the checksum of a file, which is computed once."""
        if wanted is None:
            return
        if path not in self.digests:
            digest = hashlib.sha1(usedforsecurity=False)
            for block in file.blocks():
                digest.update(block)
            self.digests[path] = digest.hexdigest()
        if self.digests[path] != wanted.lower():
            msg = f"the external data of {name} do not have the checksum that the model states."
            raise FormatError(msg)


def _contained(folder: Path, location: str) -> Path:
    """Return the path of an external data file, which must be in the model's folder, and no link."""
    inner = Path(location)
    path = folder / inner
    inside = not inner.is_absolute() and "\\" not in location and "\0" not in location and ".." not in inner.parts
    steps = [folder.joinpath(*inner.parts[: n + 1]) for n in range(len(inner.parts))] if inside else []
    try:
        ordinary = inside and path.is_file() and not any(step.is_symlink() for step in steps)
    except OSError:  # of names that no file system has
        ordinary = False
    if not ordinary:
        msg = (
            f"the external data file {shown(location)} must be an ordinary file in the model's folder: no '..', no "
            "absolute path, no symbolic link."
        )
        raise FormatError(msg)
    return path


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        msg = f"offset and length of the external data of {name} must be whole numbers; got {shown(text)}."
        raise FormatError(msg)
    return int(text)
