"""The version of Keras that a model is of, on which the functions depend that its names mean."""

import re

from rnn_backends.core.messages import got
from rnn_backends.errors import FormatError

_VERSION = re.compile(r"([0-9]+)\.[0-9]+(?:[.-].*)?")


def version_of(held: object) -> int:
    """Return 2 or 3; any other version is refused."""
    match = _VERSION.fullmatch(held) if isinstance(held, str) else None
    if match is None or match[1] not in {"2", "3"}:
        msg = f"it must be of Keras 2 or 3; it is of version {got(held)}."
        raise FormatError(msg)
    return int(match[1])
