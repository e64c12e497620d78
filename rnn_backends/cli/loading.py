"""The model that a command is about."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnn_backends.errors import FormatError, RNNBackendError
from rnn_backends.formats.advice import proposed
from rnn_backends.model.loading import load
from rnn_backends.model.rnn import RNN

_MOST = 8
"""The most options that a file is tried with."""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """A model file named on the command line, and the options for it; see `rnn_backends.load`."""

    model: Path
    given: Mapping[str, Any]

    def load(self, backend: str | None, reads: str | None = None) -> RNN:
        """Load the model; where the file leaves open what its readout reads, with what the call reads."""
        try:
            return load(self.model, backend=backend, **self.given)
        except FormatError as error:
            if reads is None or "reads" not in proposed(str(error)):
                raise
        return replace(self, given=dict(self.given, reads=reads)).load(backend)

    def line(self, error: Exception) -> str | None:
        """Return the line of Python that loads the file, with options that refusals propose; None without one."""
        given = dict(self.given)
        for _ in range(_MOST):
            more = {name: value for name, value in proposed(str(error)).items() if given.get(name) != value}
            if not more or not isinstance(error, RNNBackendError) or "ignore" in more.get("roles", {}).values():
                return None  # what computes is left out by no example
            roles = {**given.get("roles", {}), **more.get("roles", {})}
            given |= {**more, **({"roles": roles} if roles else {})}
            try:
                load(self.model, backend="numpy", **given)
            except (RNNBackendError, OSError, MemoryError, TypeError) as other:
                error = other
            else:
                options = "".join(f", {name}={value!r}" for name, value in given.items())
                return f"rnn_backends.load({str(self.model)!r}{options})"
        return None
