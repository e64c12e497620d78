"""Which model a command is about."""

from dataclasses import dataclass
from pathlib import Path

from rnn_backends.model.loading import load
from rnn_backends.model.rnn import RNN


@dataclass(frozen=True, kw_only=True)
class Loading:
    """A model file that the command line names, and what it tells of it; see `rnn_backends.load`."""

    model: Path
    activation: str | None = None
    batch_first: bool | None = None
    readout_activation: str | None = None
    residual: bool | None = None
    go_backwards: bool | None = None
    masking: bool | None = None

    def load(self, backend: str | None) -> RNN:
        """Load the model."""
        return load(
            self.model,
            backend=backend,
            activation=self.activation,
            batch_first=self.batch_first,
            readout_activation=self.readout_activation,
            residual=self.residual,
            go_backwards=self.go_backwards,
            masking=self.masking,
        )
