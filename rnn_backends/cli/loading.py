"""The model that a command is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnn_backends.model.loading import load
from rnn_backends.model.rnn import RNN


@dataclass(frozen=True, kw_only=True)
class Loading:
    """A model file named on the command line, and the options for it; see `rnn_backends.load`."""

    model: Path
    given: Mapping[str, Any]

    def load(self, backend: str | None) -> RNN:
        """Load the model."""
        return load(self.model, backend=backend, **self.given)
