"""The command `run`: a model run once over arrays, text or a table, with its speed and its loss.

Text, and the sequences of lines and tables, are run as they are read: of the input and of the results no more is held
than a piece, however long they are.  Of one sequence in a table, and of a text that backward cells read, all steps are.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from shutil import copyfileobj
from typing import BinaryIO

from rnn_backends.backends.selection import parse
from rnn_backends.cli.running.job import Job
from rnn_backends.cli.running.report import Report
from rnn_backends.cli.running.request import Request
from rnn_backends.cli.writer import Stdout, TextFile, written
from rnn_backends.formats.files import replaced, temporary


def run(request: Request, note: Callable[[str], None]) -> Report:
    """Run a model, and return what is to be reported; remarks go to `note` at once."""
    with _opened(request) as file:
        if request.backend is not None:
            parse(request.backend, "option --backend")  # for errors that name what the user typed
        rnn = request.load(request.backend, request.reads)
        return Job(request, rnn, file, note).run()


@contextmanager
def _opened(request: Request) -> Iterator[BinaryIO | None]:
    """Open the output, if there is to be one, so that nothing is computed in vain."""
    if not request.is_written:
        yield None
    elif request.output is not None and not request.is_to_stdout:
        with replaced(request.output) as file:
            yield file
    elif request.output_format == "npy":  # whose header is written last
        with written(None), temporary() as file:
            yield file
            file.seek(0)
            copyfileobj(file, Stdout())
    else:
        with written(None) as writer:
            yield TextFile(writer) if sys.stdout.isatty() else Stdout()
