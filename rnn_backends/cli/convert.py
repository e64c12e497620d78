"""The command `convert`: a model file written in another format, and checked before it is there."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnn_backends import formats
from rnn_backends.backends.selection import select
from rnn_backends.cli.contents import describe, lines
from rnn_backends.cli.loading import Loading
from rnn_backends.cli.paths import is_same
from rnn_backends.cli.reports import Row, aligned
from rnn_backends.cli.runtime import compare
from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown, shown_path
from rnn_backends.errors import WrongResultError
from rnn_backends.formats import WRITTEN
from rnn_backends.formats.advice import way
from rnn_backends.formats.files import replaced
from rnn_backends.formats.source import Source, opened
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
            hint = f"; {way('torch_save')}" if self.output.suffix in {".pt", ".pth"} else ""
            return f"the suffix of OUT must be one of {', '.join(WRITTEN)}; got '{shown_path(self.output)}'{hint}"
        if is_same(self.output, self.model):
            return f"OUT would overwrite IN, '{shown_path(self.model)}'; choose another name"
        return None


def convert(request: Request) -> list[str]:
    """Convert a model file, and return the lines to print; a wrong file is not left behind."""
    rnn = request.load("numpy")
    with replaced(request.output) as file:
        formats.write_to(file, rnn.placed.on_host(), str(request.output))
        file.seek(0)
        rows = list(_checks(request, rnn, file.read()))
    return [*lines(str(request.model), describe(rnn)), "", *aligned(rows)]


def _checks(request: Request, rnn: RNN, written: bytes) -> Iterator[Row]:
    """Run what was read and what was written, each in all ways that there are here; raise where they differ."""
    x, name = random_input(rnn), str(request.output)
    yield ("written", f"{name}, {len(written)} bytes")
    again = RNN.from_network(formats.read_from(Source.of(written), name), select("numpy"))
    require_same(rnn, again, x, f"{shown_path(name)}, read back,")
    yield (
        "read back",
        f"it gives the same bits as what was read from {request.model}, on random input of shape {x.shape}",
    )
    if request.model.suffix == ".onnx":
        with opened(request.model) as source:
            yield ("ONNX Runtime", compare(source, str(request.model)))
    if request.output.suffix == ".onnx":
        yield ("ONNX Runtime", compare(Source.of(written), name))


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
        msg = f"{what} has another {name}: {shown(other)} and not {shown(one)}; {_FAULT}."
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
