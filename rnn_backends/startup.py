"""The start of a command, which imports all that it needs before a word is read: Ctrl-C ends it without a traceback."""

import sys

_PROGRAMS = ("rnn-backends", "rnn-backends.exe")


def is_command() -> bool:
    """Return whether this process was started as a command of this package, by its program or ``python -m``.

    What a program writes to `sys.argv` later, or what words it is given itself, makes no difference; where it cannot be
    told, it is none.
    """
    words = sys.orig_argv
    if "-m" in words and getattr(sys, "argv", None) and sys.argv[0] == "-m":  # while Python looks for the module
        return words[words.index("-m") + 1 :][:1] == [__package__]
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    steps = str(file).replace("\\", "/").split("/")
    return steps[-1] in _PROGRAMS or steps[-2:] == [_PROGRAMS[1], "__main__.py"]


def without_traceback() -> None:
    """Have Ctrl-C before and after the commands end this process at once, for Python would show a traceback."""
    import signal  # programs that import the package need none of it

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if is_command():
    without_traceback()
