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
                return Proposal(self.model, given, load(self.model, backend="numpy", **given))
            except (RNNBackendError, OSError, MemoryError, TypeError) as other:
                error = other
        return None


@dataclass(frozen=True)
class Proposal:
    """Options that load a file, with examples for what it does not record."""

    model: Path
    given: Mapping[str, Any]
    rnn: RNN
    """The model that they make of it."""

    @property
    def line(self) -> str:
        """The line of Python that loads the file."""
        options = "".join(f", {name}={value!r}" for name, value in self.given.items())
        return f"rnn_backends.load({str(self.model)!r}{options})"

    @property
    def options(self) -> str:
        """The words to add to a command."""
        return as_options(self.given)

    def note(self) -> str | None:
        """Return how x and the steps are read, where that is an example, too; None where something says it."""
        batch_first = self.rnn.batch_first
        axes = "x is read as (batch, seq_len, ...)" if batch_first else "x is read as (seq_len, batch, ...)"
        notes = [self._other(axes, "the network was trained with that", "batch_first", not batch_first)]
        if self.rnn.readout is not None and self.rnn.reads == "steps":
            notes.append(self._other("every step is read", "one output is for each sequence", "reads", "last"))
        return "; ".join(filter(None, notes)) + "." if any(notes) else None

    def _other(self, fact: str, reason: str, name: str, value: Any) -> str | None:
        """Return a fact and the option for another one; None where that option is given, or the file says it."""
        if name in self.given:
            return None
        other = {name: value}
        try:
            load(self.model, backend="numpy", **{**self.given, **other})
        except (RNNBackendError, OSError, MemoryError):
            return None
        return f"{fact}; add {name}={value!r}, or {as_options(other)}, if {reason}"
