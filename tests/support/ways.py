"""Ways out of a refusal, followed: to a loaded network, whose numbers are right."""

import re
import shlex
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.cli.parser import parse
from rnn_backends.cli.wording import as_words, spelled
from rnn_backends.formats.advice import WAYS, proposed
from rnn_backends.formats.options import OPTIONS

LONGEST = 400
PYTHON = re.compile(rf"\b(?:{'|'.join(OPTIONS)})=(?!=)|`(?:{'|'.join(OPTIONS)})`")
"""Options as Python spells them."""


def refused(key: str, call: Callable[[], object]) -> str:
    """Return the message of a call that must be refused with a way out."""
    with pytest.raises((rb.FormatError, rb.ArgumentError, OSError)) as caught:
        call()
    message = str(caught.value)
    pattern = ".*".join(map(re.escape, re.split(r"\{[a-z_]+\}", WAYS[key])))
    assert re.search(pattern, message), f"{message!r} does not have the way out {key!r}: {WAYS[key]!r}"
    assert len(re.sub(r"^/\S*: ", "", message)) <= LONGEST, message
    require_same_on_the_command_line(message)
    return message


def require_same_on_the_command_line(message: str) -> None:
    """Check that a message of a command has the options of one of the library, and that they are read as the same."""
    shown = spelled(message)
    assert not PYTHON.search(re.sub(r"'[^']*'", "", shown)), shown
    for name, value in proposed(message).items():
        if name in OPTIONS:  # another is of a call of a framework
            words = as_words(name, value)
            assert shlex.join(words) in shown
            given = parse(["info", "file", *words]).given[name]
            assert repr(_plain(given)) == repr(_plain(value))


def _plain(value: Any) -> Any:
    """Return a value without what its spelling cannot show: the types of sequences, and one name in one."""
    if isinstance(value, (list, tuple)):
        return _plain(value[0]) if len(value) == 1 else [_plain(each) for each in value]
    return value


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
