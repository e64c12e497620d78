"""Activations of the Linears of an encoder or a readout: as a source records them, or as they are given."""

from collections.abc import Callable, Sequence
from typing import Any

from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.values import Activations

_EXAMPLES = {"encoder": "'relu'", "readout": "'softmax'"}


def stated(
    role: str,
    recorded: Sequence[Callable[..., Any] | None],
    options: LoadOptions,
    *,
    overrule: bool = False,
    output_size: int | None = None,
) -> list[Callable[..., Any]]:
    """Return the activations of the Linears of a role, all of which must be recorded or given.

    Parameters
    ----------
    role : {"encoder", "readout"}
    recorded : sequence of callable or None
        What the source records of each Linear, None where it leaves that open.
    options : LoadOptions
        Its ``encoder_activation`` or ``readout_activation``: that of the last Linear, or one for each.
    overrule : bool, default False
        Whether what is given replaces what is recorded, instead of being refused.
    output_size : int, optional
        That of the last one, for the advice: one output has no softmax.

    Raises
    ------
    FormatError
        One is open, or is given although it is recorded.
    ArgumentError
        The option has another number of activations than there are Linears.
    """
    option = f"{role}_activation"
    given: Activations | None = getattr(options, option)
    if given is not None and not recorded:
        msg = f"there are no weights of {_NAMES[role]}; {way('leave_out', option=option)}."
        raise FormatError(msg)
    found = list(recorded)
    for place, activation in _placed(option, given, len(found)).items():
        if found[place] is not None and not overrule:
            msg = f"the source records the activation of {_NAMES[role]}; {way('leave_out', option=option)}."
            raise FormatError(msg)
        found[place] = activation
    if None in found:
        raise FormatError(_open(role, found, output_size))
    return found  # type: ignore[return-value]  # none of them is None


def _placed(option: str, given: Activations | None, count: int) -> dict[int, Callable[..., Any]]:
    """Return the given activations by the place of their Linear."""
    if given is None:
        return {}
    if not isinstance(given, tuple):
        return {count - 1: given}
    if len(given) != count:
        msg = f"`{option}` must have one activation for each Linear, {count}; got {len(given)}."
        raise ArgumentError(msg)
    return dict(enumerate(given))


def example(role: str, inner: Sequence[Callable[..., Any] | None], output_size: int | None = None) -> str:
    """Return a value of the option that gives the activations of a role, in Python.

    Parameters
    ----------
    role : {"encoder", "readout"}
    inner : sequence of callable or None
        What is known of all Linears but the last.
    output_size : int, optional
        That of the last one: one output has no softmax.
    """
    last = "'sigmoid'" if role == "readout" and output_size == 1 else _EXAMPLES[role]
    names = [repr(str(getattr(each, "name", "relu"))) for each in inner]
    return f"({', '.join([*names, last])})" if inner else last


def _open(role: str, found: Sequence[Callable[..., Any] | None], output_size: int | None) -> str:
    """Return the refusal of Linears of which an activation is not known."""
    option, count = f"{role}_activation", len(found)
    wanted = example(role, found[:-1] if None in found[:-1] else (), output_size)
    advice = way(option, example=wanted, last=example(role, (), output_size))
    which = _NOUNS[role] if count == 1 else f"the {count} Linear {_PLACES[role]}"
    return f"the weights of {which} do not record {_FACTS[role]}; {advice}."


_NAMES = {"encoder": "an encoder", "readout": "a readout"}
_NOUNS = {"encoder": "a Linear before the RNN", "readout": "a readout"}
_PLACES = {"encoder": "before the RNN", "readout": "of a readout"}
_FACTS = {"encoder": "its activation", "readout": "its activation, g2"}
