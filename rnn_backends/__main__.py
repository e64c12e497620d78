"""``python -m rnn_backends``, and ``rnn-backends``: the commands."""

import os
import sys

from rnn_backends.cli.signals import ENDED
from rnn_backends.startup import without_traceback


def program() -> int:
    """Run a command as all that this process does, and return its exit code."""
    without_traceback()
    from rnn_backends.cli.main import main  # which Ctrl-C may end already

    code = main()
    if code > ENDED:  # libraries whose imports were interrupted may crash as Python ends
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(program())
