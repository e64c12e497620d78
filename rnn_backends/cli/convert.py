"""The command `convert`: a model file written in another format, and checked before it is there."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnn_backends.cli.contents import describe, lines
from rnn_backends.cli.loading import Loading
from rnn_backends.cli.reports import Row, aligned
from rnn_backends.cli.runtime import compare
from rnn_backends.core.arrays import Host
from rnn_backends.errors import WrongResultError
from rnn_backends.formats import WRITTEN
from rnn_backends.formats.files import tried
from rnn_backends.model.loading import load
from rnn_backends.model.rnn import RNN

SEQ_LEN, BATCH = 8, 3
_FAULT = "this is a fault of this package, please report it"


@dataclass(frozen=True, kw_only=True)
class Request(Loading):
    """Arguments of `convert`; an `argparse.ArgumentError` where they do not go together."""

    output: Path

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise argparse.ArgumentError(None, problem)

    def _problem(self) -> str | None:
        if self.output.suffix not in WRITTEN:
            hint = "; for torch, write rnn.to_torch() with torch.save" if self.output.suffix in {".pt", ".pth"} else ""
            return f"the suffix of OUT must be one of {', '.join(WRITTEN)}; got {str(self.output)!r}{hint}"
        if self.output.exists() and self.model.exists() and self.output.samefile(self.model):
            return f"OUT would overwrite IN, {str(self.model)!r}; choose another name"
        return None


def convert(request: Request) -> list[str]:
    """Convert a model file, and return the lines to print; a wrong file is not left behind."""
    rnn = request.load("numpy")
    with tried(request.output) as path:
        rnn.save(path)
        rows = [("written", f"{request.output}, {path.stat().st_size} bytes"), *_checks(request, rnn, path)]
    return [*lines(str(request.model), describe(rnn)), "", *aligned(rows)]


def _checks(request: Request, rnn: RNN, path: Path) -> Iterator[Row]:
    """Run what was read and what was written, each in all ways that there are here; raise where they differ."""
    x = random_input(rnn)
    require_same(rnn, load(path, backend="numpy"), x, f"{request.output}, read back,")
    yield (
        "read back",
        f"it gives the same bits as what was read from {request.model}, on random input of shape {x.shape}",
    )
    for name, file in ((request.model, request.model), (request.output, path)):
        if file.suffix == ".onnx":
            yield ("ONNX Runtime", compare(file, str(name)))


def random_input(rnn: RNN) -> Host:
    """Draw input for a model: token ids where it takes these alone, else features."""
    draw, size = np.random.default_rng(0), describe(rnn)["input_size"]
    shape = (BATCH, SEQ_LEN) if rnn.batch_first else (SEQ_LEN, BATCH)
    if rnn.takes == "tokens":
        return draw.integers(0, size, shape)
    return draw.standard_normal((*shape, size)).astype(rnn.dtype)


def require_same(first: RNN, second: RNN, x: Any, what: str) -> None:
    """Check that two models are made of the same, and compute the same bits."""
    if describe(first) != describe(second):
        held = zip(describe(first).items(), describe(second).values(), strict=True)
        name, one, other = next((name, one, other) for (name, one), other in held if one != other)
        msg = f"{what} has another {name}: {other!r:.200} and not {one!r:.200}; {_FAULT}."
        raise WrongResultError(msg)
    for name, one in _results(first, x).items():
        other = _results(second, x)[name]
        if one.tobytes() != other.tobytes():
            with np.errstate(all="ignore"):
                difference = np.abs(one.astype(np.float64) - other).max()
            msg = f"{what} gives other {name}, by as much as {difference:.2g}; {_FAULT}."
            raise WrongResultError(msg)


def _results(rnn: RNN, x: Any) -> dict[str, Host]:
    output, h_n = rnn(x)
    found = {"hidden states": output}
    if isinstance(h_n, tuple):
        found |= {f"last states of cell {index}": state for index, state in enumerate(h_n)}
    else:
        found["last states"] = h_n
    if rnn.readout is not None:
        found |= {"logits": rnn.logits(x), "probabilities": rnn.probabilities(x)}
    return found
