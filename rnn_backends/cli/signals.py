"""Signals that end a command: they unwind it like an exception, so that nothing half-written stays behind."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader
from time import monotonic
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
ENDED = 128
"""The number to which that of a signal is added for an exit code."""
AGAIN_SECONDS, SAME_SECONDS = 0.01, 1.0
"""A signal that follows another within this time is the same wish, and does not disturb what the first one undoes."""
_NATIVE_IMPORTS = (ExtensionFileLoader.create_module.__code__, ExtensionFileLoader.exec_module.__code__)


class Ended(BaseException):
    """A signal has come; `code` is the exit code for it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.code = ENDED + number


class _Handler:
    def __init__(self) -> None:
        self.is_open = True
        self._hook = sys.unraisablehook
        self._last = float("-inf")

    def __call__(self, number: int, frame: FrameType | None) -> None:
        before, self._last = self._last, monotonic()
        if not self.is_open or self._last - before <= SAME_SECONDS:
            return
        if _is_in_native_import(frame):
            self._come_again(number)
            return
        raise Ended(number)

    def lost(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Have the signal come again whose exception was ignored, as in a callback of the garbage collector."""
        if not isinstance(unraisable.exc_value, Ended):
            self._hook(unraisable)
        elif self.is_open:
            self._come_again(unraisable.exc_value.number)

    def _come_again(self, number: int) -> None:
        self._last = float("-inf")
        threading.Timer(AGAIN_SECONDS, signal.raise_signal, [number]).start()


def _is_in_native_import(frame: FrameType | None) -> bool:
    """Return whether an extension module is being initialised, whose C++ an exception may crash."""
    while frame is not None and frame.f_code not in _NATIVE_IMPORTS:
        frame = frame.f_back
    return frame is not None


@contextmanager
def raised() -> Iterator[None]:
    """Have signals raise `Ended` in a block, but those that this process ignores; afterwards all is as it was.

    At the end of the block, and in threads other than the main one, which cannot handle any, nothing is raised.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler, hook = _Handler(), sys.unraisablehook
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: held for number, held in before.items() if held is not None and held != signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, handler)
        sys.unraisablehook = handler.lost
        yield
    finally:
        handler.is_open = False
        sys.unraisablehook = hook
        for number, held in before.items():
            signal.signal(number, held)
