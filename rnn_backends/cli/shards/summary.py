"""The report of the command `run` over many inputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path
from typing import Any

from rnn_backends.cli.reports import Row
from rnn_backends.cli.shards.crew import Answer
from rnn_backends.cli.shards.manifest import NAME
from rnn_backends.core.messages import shown_path


@dataclass(kw_only=True)
class Summary:
    """What became of the inputs."""

    model: Path
    folder: Path
    jobs: int
    facts: Answer
    """What a process says of the model."""
    inputs: int = 0
    left: list[str] = field(default_factory=list)
    """The outputs in the folder of other inputs or formats."""
    made: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """The reasons of failures, by input."""
    sequences: int = 0
    steps: int = 0
    """The steps of all outputs that are whole."""
    made_steps: int = 0
    """Those of them that were run."""
    judged: int = 0
    right: int = 0
    nats: float = 0.0
    seconds: float = 0.0

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add what the manifest has of an output, if it is whole."""
        if "failed" in entry:
            return
        self.sequences += entry["sequences"]
        self.steps += entry["steps"]
        if judged := entry.get("judged"):
            loss = entry["cross_entropy"]
            self.judged, self.right = self.judged + judged, self.right + entry["right"]
            self.nats += nan if loss is None else loss * judged

    @property
    def loss(self) -> float | None:
        """The cross-entropy over all that was judged, if it is a number."""
        return self.nats / self.judged if self.judged and isfinite(self.nats) else None

    @property
    def failure(self) -> str:
        """A sentence about all that failed."""
        count = f"{len(self.failed)} of {self.inputs} input{'s' if self.inputs > 1 else ''}"
        manifest = shown_path(self.folder / NAME)
        return f"{count} failed, for the reasons in '{manifest}'; the same command tries them again, and no others."

    def as_facts(self) -> dict[str, Any]:
        """Return all that is reported, as what JSON can hold."""
        names = ("parameters", "backend", "backend_version", "device", "dtype")
        return {
            "model": str(self.model),
            **{name: self.facts[name] for name in names},
            "jobs": self.jobs,
            "inputs": self.inputs,
            "made": self.made,
            "kept": self.kept,
            "failed": [{"input": path, "reason": reason} for path, reason in sorted(self.failed.items())],
            "left": self.left,
            "sequences": self.sequences,
            "steps": self.steps,
            "cross_entropy": self.loss,
            "accuracy": self.right / self.judged if self.judged else None,
            "seconds": self.seconds,
            "output_dir": str(self.folder),
        }

    def rows(self) -> list[Row]:
        """Return what is reported as rows for people."""
        facts = self.facts
        counts = f"{self.made} made, {self.kept} kept, {len(self.failed)} failed"
        return [
            ("model", f"{self.model}: {facts['sizes']}"),
            ("backend", f"{facts['backend']} {facts['backend_version'] or ''}".rstrip()),
            ("device", facts["device"]),
            ("dtype", facts["dtype"]),
            ("jobs", str(self.jobs)),
            ("inputs", f"{self.inputs}: {counts}"),
            ("time", f"{self.seconds:.6f} s"),
            *([("speed", f"{self.made_steps / max(self.seconds, 1e-9):.0f} steps/s")] if self.made else []),
            *([("cross-entropy", f"{self.loss:.6f} nats")] if self.loss is not None else []),
            *([("accuracy", f"{self.right / self.judged:.6f}, {self.right} of {self.judged}")] if self.judged else []),
            ("output", f"{self.folder}, whose {NAME} says what is whole"),
        ]
