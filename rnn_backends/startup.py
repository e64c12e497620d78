"""The start of a command, which imports all that it needs before a word is read: Ctrl-C ends it without a traceback."""

import sys

_PROGRAM = "rnn-backends"
_ENDS = (".exe", ".py", "-script", ".pyw")


def is_command() -> bool:
    """Return whether this process runs a command of this package, as far as the words say that it was started by."""
    words, first = sys.orig_argv, getattr(sys, "argv", [""])[:1]
    if first == ["-m"]:  # it is looked for
        return ["-m", __package__] in [words[place : place + 2] for place in range(len(words))]
    name = "".join(first).replace("\\", "/").rpartition("/")[2].lower()
    for end in _ENDS:
        name = name.removesuffix(end)
    return name == _PROGRAM


def without_traceback() -> None:
    """Have Ctrl-C before and after the commands end this process at once, for Python would show a traceback."""
    import signal  # programs that import the package need none of it

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if is_command():
    without_traceback()
