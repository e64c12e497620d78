"""A command in a terminal of its own, a pty, and in pipes."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAM = (sys.executable, "-m", "rnn_backends")
CONTROLLED = 'exec 9<>"$0" 9>&-; exec "$@"'
"""Has the terminal that the first process of a session opens control it, so that Ctrl-C reaches it."""
LIMIT = 60.0
"""The seconds after which a command that says nothing more has failed its test."""


def is_writing(folder: Path, process: int) -> bool:
    """Return whether a process has begun a file in a folder, where on Linux it has no name."""
    if list(folder.glob(".*.part")):
        return True
    opened = (each.readlink() for each in Path(f"/proc/{process}/fd").glob("*") if each.is_symlink())
    try:
        return any(each.parent == folder.resolve() and each.name.endswith("(deleted)") for each in opened)
    except OSError:  # one of them was closed
        return False


class Terminal:
    """A command whose streams are a terminal, but for those that are named, which are pipes.

    Parameters
    ----------
    *words : str
        The words after the program's name.
    program : iterable of str
        What is run, with the words after it.
    columns : int
        The width of the terminal.
    pipes : iterable of {"stdin", "stdout", "stderr"}
        Of the piped ones, `stdin` is empty and closed; the others are in `piped` after `finish`.
    cwd : path, optional
    **environment : str
        Variables beside those of this process.
    """

    def __init__(
        self,
        *words: object,
        program: Iterable[str] = PROGRAM,
        columns: int = 80,
        pipes: Iterable[str] = (),
        cwd: Path | None = None,
        **environment: str,
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        pipes = set(pipes)
        out, err = (subprocess.PIPE if name in pipes else theirs for name in ("stdout", "stderr"))
        stdin = subprocess.DEVNULL if "stdin" in pipes else theirs
        held = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            ["sh", "-c", CONTROLLED, os.ttyname(theirs), *program, *map(str, words)],
            stdin=stdin,
            stdout=out,
            stderr=err,
            cwd=cwd,
            env={**held, "TERM": "xterm", **environment},
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""
        self.piped = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        os.close(self._ours)

    def type(self, keys: str) -> None:
        """Send what is typed; "\\x03" is Ctrl-C, "\\x04" at the start of a line the end of the input."""
        os.write(self._ours, keys.encode())

    def wait_for(self, text: str) -> str:
        """Read until a text is shown, and return all that was shown; fail at the end of the command."""
        while text not in self.shown:
            assert self._read(), f"the command ended without {text!r}: {self.shown!r}"
        return self.shown

    def finish(self) -> int:
        """Read to the end and return the exit code; below 0 it is a signal."""
        end = time.monotonic() + LIMIT
        while self._read():
            assert time.monotonic() < end, f"the command did not end for {LIMIT} s"
        self.piped = "".join(
            pipe.read().decode() for pipe in (self.process.stdout, self.process.stderr) if pipe is not None
        )
        self.process.wait(LIMIT)
        return int(self.process.returncode)

    def _read(self) -> bool:
        """Read what is there, waiting for something; return whether the terminal is still used."""
        end = time.monotonic() + LIMIT
        while not select.select([self._ours], [], [], 0.05)[0]:
            assert time.monotonic() < end, f"nothing came for {LIMIT} s after {self.shown!r}"
            if self.process.poll() is not None and not select.select([self._ours], [], [], 0)[0]:
                return False
        try:
            found = os.read(self._ours, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.shown += found.decode(errors="replace")
        return bool(found)
