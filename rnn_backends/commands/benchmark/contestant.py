"""Who is timed, and the check that goes before it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_backends.arrays import Host
from rnn_backends.backends.transfer import to_numpy
from rnn_backends.commands.benchmark.problem import Drawn
from rnn_backends.errors import WrongResultError
from rnn_backends.model import RNN
from rnn_backends.parameters import named_arrays
from rnn_backends.testing.reference import excess


class AbsentError(Exception):
    """A competitor that does not run a problem; the message tells why."""


@dataclass(frozen=True)
class Contestant:
    """One who is timed.

    Parameters
    ----------
    name : str
    call : callable
        Takes an element of `Drawn.inputs`, and returns when the result is there.
    output : callable, optional
        Brings a result to the host, as the states (T, B, D * H); not timed.  None for what computes no
        states, a limit.
    place : callable, optional
        Brings an input to where the contestant computes; not timed.
    context : callable, optional
        Returns a context in which the calls are made; entering it is not timed.
    """

    name: str
    call: Callable[[Any], Any]
    output: Callable[[Any], Host] | None = np.asarray
    place: Callable[[Host], Any] = lambda x: x
    context: Callable[[], AbstractContextManager[Any]] = nullcontext


def ours(name: str, drawn: Drawn) -> Contestant:
    """Return this library on a backend, ``"name"`` or ``"name:device"``.

    Where arrays are not NumPy's, they are on the device before the clock starts and the results stay there;
    the clock stops when a value has come to the host, for a device is done no sooner.
    """
    rnn = RNN([drawn.layer]).to(name)
    problem, lengths = drawn.problem, None if drawn.lengths is None else np.asarray(drawn.lengths)
    stream = rnn.stream(problem.batch) if problem.step else None
    run: Callable[[Any], Any] = stream or (lambda x: rnn(x, lengths=lengths)[0])
    if all(isinstance(array, np.ndarray) for _, array in named_arrays(rnn.layers)):
        return Contestant(name, run)

    def call(x: Any) -> Any:
        output = run(x)
        to_numpy(output[(-1,) * output.ndim])
        return output

    def place(x: Host) -> Any:
        return rnn.backend.from_host(x, "int32" if problem.tokens else problem.dtype, rnn.device)

    return Contestant(name, call, to_numpy, place)


def check(contestants: Sequence[Contestant], drawn: Drawn) -> dict[str, float]:
    """Check that every contestant computes what the float64 reference does.

    Returns
    -------
    dict of str to float
        The largest error by contestant, in units of the bound on what rounding may cause.

    Raises
    ------
    WrongResultError
        It is more than 1: either's time would tell nothing about the other's.
    """
    return {one.name: _require_right(one, one.output, drawn) for one in contestants if one.output is not None}


def _require_right(contestant: Contestant, output: Callable[[Any], Host], drawn: Drawn) -> float:
    inputs = drawn.inputs if drawn.problem.step else drawn.inputs[:1]
    with contestant.context():
        results = [np.array(output(contestant.call(contestant.place(x)))) for x in inputs]
    error = excess(np.concatenate(results), drawn.wanted)
    if not error <= 1.0:
        msg = (
            f"{contestant.name} does not compute {drawn.problem}: it differs from the float64 reference by "
            f"{error:.3g} times the error bound. Nothing is timed; leave it out with --against."
        )
        raise WrongResultError(msg)
    return error
