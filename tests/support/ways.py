"""Ways out of a refusal, followed: to a loaded network, whose numbers are right."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.formats.advice import WAYS, proposed

LONGEST = 400


def refused(key: str, call: Callable[[], object]) -> str:
    """Return the message of a call that must be refused with a way out."""
    with pytest.raises((rb.FormatError, rb.ArgumentError, OSError)) as caught:
        call()
    message = str(caught.value)
    pattern = ".*".join(map(re.escape, re.split(r"\{[a-z_]+\}", WAYS[key])))
    assert re.search(pattern, message), f"{message!r} does not have the way out {key!r}: {WAYS[key]!r}"
    assert len(re.sub(r"^/\S*: ", "", message)) <= LONGEST, message
    return message


def follow(
    key: str,
    load: Callable[..., rb.RNN],
    wanted: Any,
    result: Callable[[rb.RNN], Any],
    *,
    then: Callable[[], rb.RNN] | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> rb.RNN:
    """Check that a call is refused with a way out, which leads to a network with the wanted numbers; return it.

    Parameters
    ----------
    key : str
        The id of the way, in `rnn_backends.formats.advice.WAYS`.
    load : callable
        Takes the options that the message names, or none.
    wanted : array
        The numbers, by the framework itself or by the equation.
    result : callable
        Returns the same of the network.
    then : callable, optional
        Follows the way where it is no option to add: to leave one out, another file or another call.
    """
    message = refused(key, load)
    rnn = load(**proposed(message)) if then is None else then()
    np.testing.assert_allclose(np.asarray(result(rnn)), np.asarray(wanted), rtol=rtol, atol=atol)
    return rnn
