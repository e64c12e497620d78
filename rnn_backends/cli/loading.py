"""The model that a command is about."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnn_backends.cli.wording import as_options
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

    def proposal(self, error: Exception) -> "Proposal | None":
        """Return options that load the file, as refusals propose them; None without any."""
        given = dict(self.given)
        for _ in range(_MOST):
            more = {name: value for name, value in proposed(str(error)).items() if given.get(name) != value}
            if not more or not isinstance(error, RNNBackendError) or "ignore" in more.get("roles", {}).values():
                return None  # what computes is left out by no example
            roles = {**given.get("roles", {}), **more.get("roles", {})}
            given |= {**more, **({"roles": roles} if roles else {})}
            try:
                return Proposal(self.model, given, load(self.model, backend="numpy", **given).batch_first)
            except (RNNBackendError, OSError, MemoryError, TypeError) as other:
                error = other
        return None


@dataclass(frozen=True)
class Proposal:
    """Options that load a file, with examples for what it does not record."""

    model: Path
    given: Mapping[str, Any]
    batch_first: bool

    @property
    def line(self) -> str:
        """The line of Python that loads the file."""
        options = "".join(f", {name}={value!r}" for name, value in self.given.items())
        return f"rnn_backends.load({str(self.model)!r}{options})"

    @property
    def options(self) -> str:
        """What to add to a command."""
        return as_options(self.given)

    def note(self) -> str | None:
        """Return how x is read, where that is an example, too; None where the file or an option says it."""
        if "batch_first" in self.given:
            return None
        other = {"batch_first": not self.batch_first}
        try:
            load(self.model, backend="numpy", **{**self.given, **other})
        except (RNNBackendError, OSError, MemoryError):
            return None
        axes = "(batch, seq_len, ...)" if self.batch_first else "(seq_len, batch, ...)"
        python = f"batch_first={not self.batch_first}"
        return f"x is read as {axes}; add {python}, or {as_options(other)}, if the network was trained with that."
