"""The situation of a case: where its file lies, which function reads it, and what happens to it in the meantime.

It is drawn after the file, so that the choices of a file mean the same without it.
"""

import errno
import inspect
import os
import socket
from collections.abc import Callable, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple, Self

import rnn_backends as rb
from fuzz.draws import Draw
from fuzz.sound import load
from rnn_backends.errors import ArgumentError, FileMemoryError, FormatError
from rnn_backends.formats import source

_IN_FOLDERS = ("saved_model.pb", "_METADATA", "model.npz")
PLACES = ("nothing", "FIFO", "socket", "no name", *_IN_FOLDERS)
"""What is in the place of the file: nothing, a file of another kind, or a folder with such a file in it."""
CALLS: Mapping[str, Callable[..., Any]] = {
    "from_keras": rb.from_keras,
    "from_flax": rb.from_flax,
    "from_onnx": rb.from_onnx,
}
EVENTS = ("fails", "takes all memory", "is emptied", "becomes shorter", "is written to", "becomes longer", "is lost")
"""What happens to the file at one of the readings."""
_SUFFIXES = (".dat", "", ".npz", ".h5", ".PT", ".onnx")


class Situation(NamedTuple):
    """Where a file lies, with which suffix if not its own, the function that reads it, and what happens when."""

    place: str = ""
    suffix: str | None = None
    call: str = ""
    is_new: bool = False
    is_alone: bool = False
    event: str = ""
    at: int = 0


PLAIN = Situation()
ALL = (
    PLAIN,
    Situation(is_new=True),
    *(Situation(place=each) for each in PLACES),
    *(Situation(call=each) for each in CALLS),
    *(Situation(event=each) for each in EVENTS),
)
"""One of each kind."""


def drawn(draw: Draw) -> Situation:
    """Return the plain situation, mostly, or another."""
    kind = draw.below(256)
    if 1 <= kind <= len(PLACES):
        return Situation(place=PLACES[kind - 1])
    if 16 <= kind < 20:
        return Situation(is_new=True)
    if 20 <= kind < 24:
        return Situation(is_alone=True)
    if 32 <= kind < 40:
        return Situation(suffix=draw.pick(_SUFFIXES))
    if 64 <= kind < 80:
        return Situation(call=draw.pick(list(CALLS)))
    if 96 <= kind < 128:
        return Situation(event=draw.pick(EVENTS), at=draw.pick((0, 1, 2, 3, 5, 9, 20)))
    return PLAIN


def placed(folder: Path, suffix: str, place: str) -> Path:
    """Return the path of what is in the place of a file, which is made if it is not there."""
    if place == "no name":
        return folder / f"case\0{suffix}"
    path = folder / f"{place.replace('.', '')}{suffix}"
    if path.exists() or place == "nothing":
        return path
    if place == "FIFO":
        os.mkfifo(path)
    elif place == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path.mkdir()
        (path / place).touch()
    return path


def named(path: Path, situation: Situation, error: Exception) -> str:
    """Return what a message must have in it: the path, as far as it can be printed and the function is given one."""
    if situation.call and isinstance(error, ArgumentError):  # of an option, before a file is looked at
        return ""
    return str(path.parent if situation.place == "no name" else path)


def called(path: Path, options: Mapping[str, Any], situation: Situation) -> None:
    """Read a file by the function of a situation, with those of the options that it has."""
    if not situation.call:
        load(path, dict(options))
        return
    function = CALLS[situation.call]
    known = inspect.signature(function).parameters
    given = {name: value for name, value in options.items() if name in known}
    function(str(path), **({"activation": "tanh"} | given if "activation" in known else given))


class Event:
    """What happens to a file at one of the readings, while this is entered."""

    def __init__(self, situation: Situation, path: Path) -> None:
        self.situation, self.path, self.left = situation, path, situation.at
        self.file = path.stat().st_ino if situation.event else 0

    @property
    def has_happened(self) -> bool:
        return self.left < 0

    def __enter__(self) -> Self:
        own: Any = source
        self.before, event = own.FileIO, self

        class File(FileIO):
            def fileno(self) -> int:
                found = super().fileno()
                event.reading(found, of="is lost")
                return found

            def readinto(self, buffer: Any, /) -> int:
                event.reading(super().fileno())
                return super().readinto(buffer)

        if self.situation.event:
            own.FileIO = File
        return self

    def __exit__(self, *_: object) -> None:
        own: Any = source
        own.FileIO = self.before

    def reading(self, descriptor: int, of: str = "") -> None:
        """Have it happen, if it is its turn at this reading: that of the state for one event, of bytes for others."""
        event = self.situation.event
        if (event == "is lost") != bool(of) or os.fstat(descriptor).st_ino != self.file:
            return
        self.left -= 1
        if self.left != -1:
            return
        if event in {"fails", "is lost"}:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if event == "takes all memory":
            raise MemoryError
        with self.path.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            if event in {"is written to", "becomes longer"}:
                file.seek(0 if event == "is written to" else size)
                file.write(b"\1")
            else:
                file.truncate(0 if event == "is emptied" else size // 2)

    def problem_of(self, error: Exception | None) -> str:
        """Return what is wrong with a loaded model, or with an error of a kind that a sound file does not have."""
        situation = self.situation
        if error is None:
            wrong = self.has_happened or bool(situation.place)
            return f"it was loaded, although the file {situation.event or situation.place}" if wrong else ""
        wanted: type[Exception] = FormatError
        if situation.place == "nothing":
            wanted = FileNotFoundError
        elif self.has_happened and situation.event in {"fails", "is lost"}:
            wanted = OSError
        elif self.has_happened and situation.event == "takes all memory":
            wanted = FileMemoryError
        elif not (situation.place or self.has_happened):
            return "" if isinstance(error, (FormatError, ArgumentError)) else "it is none of ours"
        return "" if isinstance(error, wanted) else f"it is no {wanted.__name__}"
