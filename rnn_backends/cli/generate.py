"""The command `generate`: a model that runs on from a prompt, its tokens or values written as they come."""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from pathlib import Path
from secrets import randbelow
from typing import Any

import numpy as np

from rnn_backends.backends.selection import parse
from rnn_backends.backends.transfer import to_numpy
from rnn_backends.cli.loading import Loading
from rnn_backends.cli.mistakes import MODELS
from rnn_backends.cli.paths import is_same
from rnn_backends.cli.progress import progress
from rnn_backends.cli.prompts import Notation, misread, steps
from rnn_backends.cli.writer import Writer, written
from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown_path
from rnn_backends.model.placed import Placed
from rnn_backends.model.rolling import is_softmax, require_forecaster, roll_out
from rnn_backends.model.sampling import Sampler, drawn, require_language
from rnn_backends.model.stops import Ending

SEEDS = 2**32
"""The number of seeds, one of which is chosen where none is given: short ones, to be typed again."""


@dataclass(frozen=True, kw_only=True)
class Request(Loading):
    """Arguments of `generate`; an `argparse.ArgumentError` where one is out of range or they do not go together."""

    prompt: str | None = None
    length: int = 200
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: list[str] | None = None
    count: int = 1
    json: bool = False
    output: Path | None = None
    backend: str | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        if problem := self._out_of_range() or self._problem():
            raise argparse.ArgumentError(None, problem)

    def _out_of_range(self) -> str | None:
        checks: tuple[tuple[str, float | None, Callable[[Any], bool], str], ...] = (
            ("--length", self.length, lambda value: value >= 0, "at least 0"),
            ("--temperature", self.temperature, isfinite, "a finite number"),
            ("--temperature", self.temperature, lambda value: value >= 0, "at least 0"),
            ("--top-k", self.top_k, lambda value: value >= 1, "at least 1"),
            ("--top-p", self.top_p, lambda value: 0 < value <= 1, "above 0 and at most 1"),
            ("--seed", self.seed, lambda value: value >= 0, "at least 0"),
            ("--count", self.count, lambda value: value >= 1, "at least 1"),
        )
        for name, value, is_right, wanted in checks:
            if value is not None and not is_right(value):
                return f"{name} must be {wanted}; got {value if isinstance(value, int) else format(value, 'g')}"
        return None

    def _problem(self) -> str | None:
        if "" in (self.stop or ()):
            return "--stop must not be empty; leave it out to draw --length tokens"
        if self.count > 1 and self.temperature == 0:
            return (
                f"--count {self.count} would give the same result each time at --temperature 0; leave out one of them"
            )
        output = self.output
        if is_same(output, self.model):
            return f"--output would overwrite MODEL, '{shown_path(self.model)}'; choose another name"
        if output is not None and output.suffix in MODELS:
            return f"--output writes text, and '{shown_path(output)}' has the suffix of a model; choose another name"
        return None

    @property
    def sampling(self) -> dict[str, Any]:
        """The options of a `Sampler` that are given, but for the seed."""
        options = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        return {name: value for name, value in options.items() if value is not None}

    def require_no_sampling(self) -> None:
        """Check that no option is given that is for tokens alone."""
        options = {
            **self.sampling,
            "seed": self.seed,
            "stop": self.stop,
            "count": None if self.count == 1 else self.count,
        }
        for name, value in options.items():
            if value is not None:
                option = f"--{name.replace('_', '-')}"
                msg = f"{option} is for models that draw tokens, and this one continues values; leave it out"
                raise argparse.ArgumentError(None, msg)


def generate(request: Request, note: Callable[[str], None]) -> None:
    """Run on from the prompt, and write what comes as it comes; remarks go to `note` at once."""
    with written(request.output) as writer:
        if request.backend is not None:
            parse(request.backend, "option --backend")  # for errors that name what the user typed
        placed = request.load(request.backend).placed
        if not request.quiet and (remark := misread(request.prompt)):
            note(remark)
        if _is_forecaster(placed):
            _forecast(request, placed, writer)
        else:
            _draw(request, placed, writer, note)


def _is_forecaster(placed: Placed) -> bool:
    """Return whether a model is one of features; where nobody said, one whose readout is no softmax."""
    network = placed.network
    if network.takes is not None:
        return network.takes == "features"
    return bool(network.readout) and not is_softmax(network.readout[-1])


def _draw(request: Request, placed: Placed, writer: Writer, note: Callable[[str], None]) -> None:
    """Write the tokens that are drawn after the prompt, in as many results as are wanted."""
    require_language(placed)
    notation = Notation(placed.vocabulary, placed.network.readout[-1].output_size)
    prompt, ids = notation.prompt(request.prompt)
    if not request.quiet and (remark := notation.unknown(ids.tolist())):
        note(remark)
    stops = [notation.stop(text) for text in request.stop or ()]
    seed = randbelow(SEEDS) if request.seed is None else request.seed
    if request.seed is None and request.temperature != 0 and not request.quiet:
        note(f"seed {seed} (repeat with --seed {seed})")
    with _progress(request, "tokens") as report:
        for index, own in enumerate(seeds(seed, request.count)):
            ending = Ending(stops)
            tokens = islice(drawn(placed, ids, Sampler(**request.sampling, seed=own)), request.length)
            found = ending.before(_counted(tokens, report, index * request.length))
            if request.json:
                result = notation.result([*found])
                _write_line(writer, {"prompt": prompt, **result, "seed": own, "stopped": ending.reason})
                continue
            writer.write(notation.between if index else "")
            for piece in notation.spelt(found):
                writer.write(piece)
    writer.write("" if request.json else notation.end)


def seeds(seed: int, count: int) -> Iterator[int]:
    """Yield a seed for each result, the same for any number of them: the given one, then others that follow from it.

    Each has at most 53 bits, which every reader of JSON takes exactly.
    """
    yield seed
    root = np.random.SeedSequence(seed)
    for _ in range(count - 1):
        (other,) = root.spawn(1)
        yield int(other.generate_state(1, np.uint64)[0]) >> 11


def _forecast(request: Request, placed: Placed, writer: Writer) -> None:
    """Write the outputs after the prompt, one step a line."""
    require_forecaster(placed)
    request.require_no_sampling()
    x = steps(request.prompt, placed.network.readout[-1].output_size, placed.dtype)
    with _progress(request, "steps") as report:
        rows = _counted(map(to_numpy, islice(roll_out(placed, x), request.length)), report)
        if request.json:
            values = [_numbers(row) for row in rows]
            _write_line(writer, {"prompt": [_numbers(row) for row in x], "values": values, "steps": len(values)})
            return
        for row in rows:
            writer.write(",".join(map(str, row)) + "\n")


def _progress(request: Request, unit: str) -> AbstractContextManager[Callable[[int], None]]:
    """Return a report of how much is done, where the results themselves do not show it."""
    if request.output is None or str(request.output) == "-":
        return nullcontext(lambda _: None)
    return progress(request.output.name, request.length * request.count, unit, quiet=request.quiet)


def _counted(items: Iterable[Any], report: Callable[[int], None], done: int = 0) -> Iterator[Any]:
    """Yield each item, and report how many there were, after those that were done before."""
    for count, item in enumerate(items, done + 1):
        yield item
        report(count)


def _numbers(row: Host) -> list[float | None]:
    """Return numbers as JSON has them, as short as their dtype allows, and None for those that it lacks."""
    return [float(str(value)) if isfinite(value) else None for value in row]


def _write_line(writer: Writer, record: dict[str, Any]) -> None:
    writer.write(json.dumps(record) + "\n")
