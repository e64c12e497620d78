"""Contestants, and the check of their results before they are timed."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from harness.problem import Drawn
from rnn_backends.backends.transfer import to_numpy
from rnn_backends.core.arrays import Host
from rnn_backends.errors import WrongResultError
from rnn_backends.model.rnn import RNN


class AbsentError(Exception):
    """A competitor that does not run a problem; the message gives the reason."""


@dataclass(frozen=True)
class Contestant:
    """A library, or a limit, that is timed.

    Parameters
    ----------
    name : str
    call : callable
        Takes an element of `Drawn.inputs`, and returns when the result is there; on a GPU, when the work for it
        is launched.
    output : callable, optional
        Brings a result to the host, as the states (T, B, D * H); not timed.  None for a limit,
        which computes no states.
    place : callable, optional
        Brings an input to the device of the contestant; not timed.
    context : callable, optional
        Returns a context in which the calls are made; entering it is not timed.
    poison : callable, optional
        Overwrites a result, before its memory is used again; not timed.
    allowed : float, default 1
        Largest error, in units of the bound; more for a contestant that rounds more.
    """

    name: str
    call: Callable[[Any], Any]
    output: Callable[[Any], Host] | None = np.asarray
    place: Callable[[Host], Any] = lambda x: x
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    poison: Callable[[Any], object] = lambda _: None
    allowed: float = 1.0


def ours(drawn: Drawn) -> Contestant:
    """Return this library on the CPU, as it is installed."""
    rnn = RNN([drawn.layer]).to("numpy")
    problem, lengths = drawn.problem, None if drawn.lengths is None else np.asarray(drawn.lengths)
    stream = rnn.stream(problem.batch) if problem.step else None
    return Contestant("ours", stream or (lambda x: rnn(x, lengths=lengths)[0]))


def ours_on_gpu(name: str, drawn: Drawn) -> Contestant:
    """Return this library on a backend that is on a GPU: inputs, lengths and results are there, and stay.

    A result of a stream, which may be its state, is not overwritten.
    """
    problem = drawn.problem
    rnn = RNN([drawn.layer]).to(name, problem.dtype)
    place = partial(_placed, rnn, "int32" if problem.tokens else problem.dtype)
    if problem.step:
        return Contestant(name, rnn.stream(problem.batch), to_numpy, place)
    lengths = None if drawn.lengths is None else _placed(rnn, "int32", np.asarray(drawn.lengths))
    return Contestant(name, lambda x: rnn(x, lengths=lengths)[0], to_numpy, place, poison=fill_with_nan)


def _placed(rnn: RNN, dtype: str, host: Host) -> Any:
    return rnn.backend.from_host(host, dtype, rnn.device)


def fill_with_nan(output: Any) -> None:
    """Overwrite an array of CuPy, or of torch."""
    (output.fill_ if hasattr(output, "fill_") else output.fill)(np.nan)


def check(contestants: Sequence[Contestant], drawn: Drawn) -> dict[str, float]:
    """Check every contestant against the float64 reference, for each of the inputs.

    Returns
    -------
    dict of str to float
        The largest error by contestant, in units of the bound on rounding.

    Raises
    ------
    WrongResultError
        It is more than is allowed, so that times would not compare.
    """
    return {one.name: _require_right(one, one.output, drawn) for one in contestants if one.output is not None}


def _require_right(contestant: Contestant, output: Callable[[Any], Host], drawn: Drawn) -> float:
    error = largest_error(contestant, output, drawn)
    if not error <= contestant.allowed:
        bounds = (
            "the error bound" if contestant.allowed == 1.0 else f"the error bound, more than {contestant.allowed:g}"
        )
        msg = (
            f"{contestant.name} does not compute {drawn.problem}: it differs from the float64 reference by "
            f"{error:.3g} times {bounds}. Nothing is timed; leave it out with --against."
        )
        raise WrongResultError(msg)
    return error


def largest_error(contestant: Contestant, output: Callable[[Any], Host], drawn: Drawn) -> float:
    """Return the largest error of a contestant's outputs for all inputs, in units of the bound on rounding."""
    with contestant.context():
        results = []
        for x in drawn.inputs:
            result = contestant.call(contestant.place(x))
            results.append(np.array(output(result)))
            contestant.poison(result)
    if drawn.problem.step:
        results = [np.concatenate(results)]
    return max(drawn.excess(result, turn) for turn, result in enumerate(results))
