"""The name that was meant by one that there is not; imported where a message needs it."""

from collections.abc import Iterable
from difflib import get_close_matches

from rnn_backends.core.messages import shown

LONGEST = 80
"""The most characters of a name that may be a misspelling; to compare longer ones takes its time."""


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that is spelled nearly as a name, None where none is; case and dashes make no difference."""
    if len(name) > LONGEST:
        return None
    plain = {_plain(choice): choice for choice in choices}
    found = get_close_matches(_plain(name), plain, n=1)
    return plain[found[0]] if found else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return a question after the choice that is near to a name, with a space before it; nothing where none is."""
    guess = nearest(name, choices)
    return "" if guess is None else f" Did you mean {shown(guess)}?"


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-")
