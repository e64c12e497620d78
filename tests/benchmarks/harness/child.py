"""The process of a contestant, `python -m harness.child MAKER THREADS`: a line of JSON in, a line of JSON out.

A question, a problem with a file of its right outputs or a text, is answered with the error of the result, or the reason
for which there is none; null is answered with the seconds of a call.
"""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from typing import Any

import numpy as np

from harness.competitors import LIBRARIES, distribution_version, prepare, text
from harness.contestant import AbsentError, Contestant, check, ours
from harness.machine import stay_on
from harness.problem import Drawn, Problem
from harness.timing import host_clock
from rnn_backends.backends.cpu_kernels import choice
from rnn_backends.cli.reports import one_line
from rnn_backends.core.arrays import Host
from rnn_backends.errors import RNNBackendError, WrongResultError
from rnn_backends.testing.reference import Bounded

Ready = tuple[Contestant, Sequence[Host]]


def main() -> None:
    """Answer each line of stdin."""
    maker, threads, out = sys.argv[1], int(sys.argv[2]), sys.stdout
    stay_on(threads)
    ready: Ready | None = None
    sample: Callable[[], float] | None = None
    with redirect_stdout(sys.stderr), suppress(KeyboardInterrupt):  # libraries print, too
        for line in sys.stdin:
            question = json.loads(line)
            if question is not None:
                ready = sample = None  # no two questions are held at once
                reply, ready = answered(maker, question, threads)
            else:
                assert ready is not None
                sample = sample or host_clock(*ready)
                reply = {"seconds": sample()}
            print(json.dumps(reply), file=out, flush=True)


def answered(maker: str, question: dict[str, Any], threads: int) -> tuple[dict[str, Any], Ready | None]:
    """Return the answer to a question, and the contestant with its inputs if it runs it."""
    try:
        if "text" in question:
            contestant, excess = text.make(maker, question["text"])
            inputs = [np.empty(0)]
        else:
            with np.load(question["outputs"]) as outputs:
                drawn = Drawn.of(Problem(**question["problem"]), Bounded(outputs["value"], outputs["error"]))
            contestant = ours(drawn) if maker == "ours" else prepare(maker, drawn, threads)
            excess, inputs = check([contestant], drawn).get(contestant.name, 0.0), drawn.inputs
    except WrongResultError as error:
        return {"raised": type(error).__name__, "message": one_line(error)}, None
    except (AbsentError, RNNBackendError) as error:  # not installed, no kernel of that name, no such RNN
        return {"absent": one_line(error)}, None
    versions = {name: distribution_version(name) for name in ("numpy", *LIBRARIES.get(maker, ()))}
    kernel = choice.state() if maker == "ours" else None
    return {"excess": excess, "versions": versions, "kernel": kernel}, (contestant, inputs)


if __name__ == "__main__":
    main()
