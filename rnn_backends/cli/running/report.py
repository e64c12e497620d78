"""The report of the command `run`: sizes, place, speed, loss, and the output."""

from dataclasses import dataclass
from math import isfinite, log
from pathlib import Path
from typing import Any

from rnn_backends.cli.contents import describe, sizes
from rnn_backends.cli.info import library_version
from rnn_backends.cli.reports import Row
from rnn_backends.cli.running.array_outputs import AnyOutput, ArrayOutput, RowsOutput, WholeOutput
from rnn_backends.cli.running.text_outputs import Shown, TextOutput
from rnn_backends.cli.running.walk import Walk
from rnn_backends.model.rnn import RNN

_WHAT = {
    "logits": "logits (the readout has no activation)",
    "hidden states": "hidden states (the model has no readout)",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """The facts of a run."""

    model: Path
    input: Path
    target: str | None
    """The name of the output."""
    rnn: RNN
    walk: Walk
    output: AnyOutput | None
    unit: str
    """The name of a step: a step, a character or a word."""
    is_next: bool
    """Whether each character or word of a text was to predict the next one."""
    read_as: str
    """The part of the input that is x, and how it is read."""
    is_array: bool
    """Whether the input was an array."""
    is_batch: bool
    """Whether there were several sequences."""

    def facts(self) -> dict[str, Any]:
        """Return all that is reported, as what JSON can hold."""
        rnn, walk, loss = self.rnn, self.walk, self.walk.loss()
        loss = loss if loss is not None and isfinite(loss) else None  # JSON has no word for NaN
        return {
            "model": str(self.model),
            "parameters": rnn.num_parameters,
            "backend": rnn.backend.name,
            "backend_version": library_version(rnn.backend),
            "device": rnn.device,
            "dtype": rnn.dtype,
            "input": str(self.input),
            "read_as": self.read_as,
            "reads": walk.reads,
            "unit": self.unit,
            "sequences": walk.sequences,
            "longest": walk.longest,
            "steps": walk.steps,
            "unknown": walk.unknown,
            "seconds": walk.seconds,
            "steps_per_second": self._speed,
            "cross_entropy": loss,
            **({f"bits_per_{self.unit}": None if loss is None else loss / log(2)} if self.is_next else {}),
            "accuracy": walk.right / walk.judged if walk.judged else None,
            "output": self.target,
            **({"results": self.output.results} if isinstance(self.output, Shown) else {}),
        }

    def rows(self) -> list[Row]:
        """Return what is reported as rows for people."""
        rnn, walk = self.rnn, self.walk
        up_to, several = ("", "batch") if self.is_array or not self.is_batch else ("up to ", "sequences")
        return [
            ("model", f"{self.model}: {sizes(describe(rnn))}"),
            ("backend", f"{rnn.backend.name} {library_version(rnn.backend) or ''}".rstrip()),
            ("device", rnn.device),
            ("dtype", rnn.dtype),
            ("input", str(self.input) if self.read_as == "text" else f"{self.input}, {self.read_as}"),
            *([("reads", walk.reads)] if walk.reads != "steps" else []),
            ("sequence length", f"{up_to}{walk.longest}"),
            *([(several, str(walk.sequences))] if self.is_batch else []),
            ("time", f"{walk.seconds:.6f} s"),
            ("speed", f"{self._speed:.0f} {self.unit}s/s"),
            *self._results(),
        ]

    @property
    def _speed(self) -> float:
        return self.walk.steps / max(self.walk.seconds, 1e-9)

    @property
    def _what(self) -> str:
        """The contents of the output, where it does not name them."""
        what, output = self.walk.what, self.output
        if isinstance(output, TextOutput):
            return ""
        if what != "predictions":
            return f"{_WHAT.get(what, what)}, "
        return f"{'predicted ids' if isinstance(output, (ArrayOutput, WholeOutput, RowsOutput)) else what}, "

    def _results(self) -> list[Row]:
        walk, rows = self.walk, list[Row]()
        loss = walk.loss()
        if walk.unknown:
            rows.append(("unknown", f"{walk.unknown} of {walk.items} {self.unit}s"))
        if loss is not None:
            per = f"bits per {self.unit}", f"{loss / log(2):.6f}"
            rows.append(per if self.is_next else ("cross-entropy", f"{loss:.6f} nats"))
            if not self.is_next and walk.judged:
                rows.append(("accuracy", f"{walk.right / walk.judged:.6f}, {walk.right} of {walk.judged}"))
        if isinstance(self.output, Shown):
            rows.append((self.output.label, str(self.output)))
        elif self.output is not None:
            rows.append(("output", f"{self.target}: {self._what}{self.output}"))
        return rows
