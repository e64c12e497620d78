"""Data of tensors in files beside the model's, each opened once for the whole load."""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.onnx.kept import Kept
from rnn_backends.formats.source import Source, opened

_KNOWN = {"location", "offset", "length", "checksum"}
_LONGEST = 1000
"""The most characters of the name of a file in the folder."""
_FILES = 512
"""The most files, which are all open at the same time."""
_HASHED = 2**24
"""Bytes of a file without tensors that may be hashed all the same, beside as many as its tensors have."""


class _Beside:
    """A file beside the model's, and which of its bytes were read."""

    def __init__(self, location: str, source: Source) -> None:
        self.location, self.source = location, source
        self.checksums: dict[str, str] = {}
        self._starts: list[int] = []
        self._ends: list[int] = []

    def fresh(self, start: int, end: int) -> int:
        """Return how many bytes of a part were not read before; from now on they were."""
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        known = sum(self._ends[first:last]) - sum(self._starts[first:last])
        begin, stop = min([start, *self._starts[first:last]]), max([end, *self._ends[first:last]])
        self._starts[first:last], self._ends[first:last] = [begin], [stop]
        return stop - begin - known

    @property
    def nbytes(self) -> int:
        """The number of bytes that were read."""
        return sum(self._ends) - sum(self._starts)


class External:
    """The external data files of a model, made by `beside`.

    Parameters
    ----------
    folder : Path
        The folder of the model, where the files must be.
    account : Account
        That of the model, which may take as much more as the bytes that are read of the files allow.
    stack : ExitStack
        Closes the files, and checks that none has changed.
    """

    def __init__(self, folder: Path, account: Account, stack: ExitStack) -> None:
        self.folder, self.account = folder, account
        self._stack = stack
        self._files: dict[Path, _Beside] = {}
        self._current: _Beside | None = None

    def numbers(self, tensor: Any, count: int, dtype: Any, kept: Kept) -> Host:
        """Return the elements of a TensorProto, as many as its shape has."""
        name, nbytes = shown(tensor.name), count * dtype.itemsize
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries.keys() - _KNOWN or len(entries) != len(tensor.external_data) or not entries.get("location"):
            known = "a location, and at most offset, length and checksum"
            msg = f"the external data of {name} must have {known}; got {listed(entries)}."
            raise FormatError(msg)
        offset = _whole(name, entries.get("offset", "0"))
        length = _whole(name, entries.get("length", str(nbytes)))
        file = self._opened(entries["location"])
        if length != nbytes or offset + length > file.source.size:
            msg = (
                f"the tensor {name} needs {nbytes} bytes; its external data are {length} from {offset} on in "
                f"{shown(file.location)}, a file of {file.source.size}."
            )
            raise FormatError(msg)
        if (checksum := entries.get("checksum")) is not None:
            file.checksums.setdefault(checksum.lower(), name)
        self.account.size += file.fresh(offset, offset + length)
        kept.take(f"the external data of {name}", nbytes)
        self._current = file
        found = file.source.numbers(offset, count, dtype)
        self._current = None
        return found

    def require_checksums(self) -> None:
        """Check the checksums of all files, each of which is read through once."""
        for file in self._files.values():
            if not file.checksums:
                continue
            if file.source.size > _HASHED + 2 * file.nbytes:
                msg = (
                    f"the file {shown(file.location)} has {file.source.size} bytes, of which the model uses "
                    f"{file.nbytes}, and a checksum of all of them; {way('onnx_checksum')}."
                )
                raise FormatError(msg)
            self._current = file
            digest = hashlib.sha1(usedforsecurity=False)
            for block in file.source.blocks():
                digest.update(block)
            self._current = None
            found = digest.hexdigest()
            for wanted, name in file.checksums.items():
                if wanted != found:
                    msg = f"the external data of {name} do not have the checksum that the model states."
                    raise FormatError(msg)

    def _opened(self, location: str) -> _Beside:
        """Return a file, which stays open, so that another that takes its place is not read."""
        if len(location) > _LONGEST:
            raise FormatError(_elsewhere(location))
        if (inner := Path(location)) in self._files:
            return self._files[inner]
        if len(self._files) == _FILES:
            msg = f"its tensors are in more than {_FILES} files, where one is enough; {way('onnx_one_file')}."
            raise FormatError(msg)
        context = opened(_contained(self.folder, location))
        found = _Beside(location, context.__enter__())

        def close(kind: Any, error: BaseException | None, trace: TracebackType | None) -> bool:
            # Only an error that came while a file was read is one about it.
            return bool(context.__exit__(*((kind, error, trace) if self._current is found else (None, None, None))))

        self._stack.push(close)
        self._files[inner] = found
        return found


@contextmanager
def beside(folder: Path, account: Account) -> Iterator[External]:
    """Give the external data files of a model, which are checked and closed at the end."""
    with ExitStack() as stack:
        external = External(folder, account, stack)
        yield external
        external.require_checksums()


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
        raise FormatError(_elsewhere(location))
    return path


def _elsewhere(location: str) -> str:
    return (
        f"the external data file {shown(location)} must be an ordinary file in the model's folder: no '..', no "
        "absolute path, no symbolic link."
    )


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        msg = f"offset and length of the external data of {name} must be whole numbers; got {shown(text)}."
        raise FormatError(msg)
    return int(text)
