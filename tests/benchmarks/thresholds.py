"""The limits of the figures, and whether they are reached."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import cold_start
import memory
from harness.problem import Problem, Sizes
from harness.processes import OURS, titled
from harness.timing import Quartiles, ratios
from parts import CALL, LIBRARIES, WALK

from rnn_backends.backends.cpu_kernels import choice

Parts = dict[str, Any]
"""What was measured, by the name of the part."""
Found = Iterator[tuple[str, float]]
"""Where a figure was measured, and the figure."""

OF_ONNXRUNTIME: dict[Sizes, float] = {
    (1000, 1, 64, 32): 6.0,
    (1000, 1, 64, 100): 3.5,
    (1000, 1, 128, 256): 2.0,
    (50, 8, 16, 32): 4.0,
}
LARGE: tuple[Sizes, ...] = ((128, 32, 128, 256), (64, 128, 256, 512), (64, 64, 512, 1024))
SPLIT: tuple[Sizes, ...] = (*LARGE, (256, 1, 512, 1024))
"""The shapes that two threads must share."""


@dataclass(frozen=True)
class Limit:
    """A limit of some figures: the least that each may be, or the most."""

    what: str
    bound: float
    figures: Callable[[Parts], Found]
    part: str
    is_most: bool = False
    unit: str = ""

    @property
    def wanted(self) -> str:
        """The limit in words."""
        return f"{'<=' if self.is_most else '>='} {self.bound:.3g}{self.unit}"

    def is_met(self, figure: float) -> bool:
        """Return whether a figure, if it is a number, reaches the limit."""
        return figure <= self.bound if self.is_most else figure >= self.bound


@dataclass(frozen=True)
class Verdict:
    """A limit and its figures."""

    limit: Limit
    found: list[tuple[str, float]]

    @property
    def missed(self) -> list[tuple[str, float]]:
        """The figures that do not reach the limit."""
        return [(where, figure) for where, figure in self.found if not self.limit.is_met(figure)]

    @property
    def worst(self) -> tuple[str, float]:
        """The figure next to the limit, or furthest behind it."""
        return (max if self.limit.is_most else min)(self.found, key=lambda one: one[1])

    def lines(self) -> Iterator[str]:
        """Yield a line for each figure that does not reach the limit."""
        for where, figure in self.missed:
            yield f"{self.limit.what}: {figure:.3g}{self.limit.unit} instead of {self.limit.wanted}; {where}"


def verdicts(parts: Parts) -> list[Verdict]:
    """Return a verdict for each limit, without figures where none was measured."""
    return [Verdict(limit, list(limit.figures(parts))) for limit in limits()]


def limits() -> Iterator[Limit]:
    """Yield all limits."""
    for part, title in (("sequences", ""), ("avx2", "without AVX-512, ")):
        of = partial(of_part, part)
        for name in LIBRARIES:
            yield Limit(f"{title}against {name}, float32", 1.0, of(name, dtype="float32"), part)
        for sizes, least in OF_ONNXRUNTIME.items():
            yield Limit(f"{title}against onnxruntime, {sizes}", least, of("onnxruntime", [sizes]), part)
        yield Limit(f"{title}part of the product's speed, float32", 0.9, of("product", LARGE, "float32"), part)
        for name in LIBRARIES[1:]:
            yield Limit(f"{title}against {name}, float64", 1.0, of(name, dtype="float64"), part)
    yield Limit("plain C against the NumPy walk", 1.0, of_part("plain", WALK), "plain")
    yield Limit("two threads against one, large", 1.3, of_part("threads", "1 thread", SPLIT), "threads")
    for part, title in (("threads", ""), ("busy", ", all processors busy")):
        yield Limit(f"two threads against one{title}", 1 / 1.05, of_part(part, "1 thread"), part)
    calls = partial(of_part, "calls", "onnxruntime")
    yield Limit("a call at T=1, H=32, against onnxruntime", 2.0, calls([CALL]), "calls")
    yield Limit("a stream's step at H=128, against onnxruntime", 1.0, calls([(100, 1, 128, 128)]), "calls")
    yield Limit("generate, against the bare arithmetic", 1 / 1.5, of_part("generate", "bare"), "generate")
    yield from _limits_of_memory_and_start()
    yield from _limits_of_errors()


def _limits_of_memory_and_start() -> Iterator[Limit]:
    start = partial(partial, of_cold_start)
    yield Limit("cold start, times `import numpy`", 1.35, start(cold_start.NUMPY), "cold start", is_most=True)
    yield Limit("cold start, times onnxruntime", 1.0, start(cold_start.ONNXRUNTIME), "cold start", is_most=True)
    yield Limit("import beyond NumPy's", 30.0, of_import, "cold start", is_most=True, unit=" ms")
    yield Limit("memory of predict", 200.0, partial(of_memory, ("predict",)), "memory", is_most=True, unit=" MiB")
    yield Limit("memory of a call", 64.0, partial(of_memory, memory.LIMITED), "memory", is_most=True, unit=" MiB")


def _limits_of_errors() -> Iterator[Limit]:
    for measure, figure, bound in (("rms", "median", 1.0), ("rms", "worst", 1.25), ("largest", "median", 1.0)):
        what = f"error over torch's, {measure}, {figure} of the networks"
        yield Limit(what, bound, partial(of_errors, measure, figure), "accuracy", is_most=True)


def of_part(part: str, other: str, shapes: Iterable[Sizes] | None = None, dtype: str = "") -> Callable[[Parts], Found]:
    """Return a function that yields a contestant's ratios to ours in a part, of some shapes and one dtype, or of all."""
    chosen = None if shapes is None else set(shapes)

    def figures(parts: Parts) -> Found:
        for cell in parts.get(part, {}).get("cells", ()):
            if "problem" in cell and (
                (chosen is not None and sizes_of(cell) not in chosen) or dtype not in {"", cell["problem"]["dtype"]}
            ):
                continue
            found = ratios(cell["seconds"], OURS)
            if other in found:
                yield where(cell), found[other].median

    return figures


def sizes_of(cell: dict[str, Any]) -> Sizes:
    """Return the sizes of a problem."""
    problem = Problem(**cell["problem"])
    return problem.seq_len, problem.batch, problem.input_size, problem.hidden_size


def where(cell: dict[str, Any]) -> str:
    """Return the problem of a cell, or its text, and the threads in words."""
    return f"{titled(cell)}, {cell['threads']} thread{'s' * (cell['threads'] > 1)}"


def of_cold_start(other: str, parts: Parts) -> Found:
    """Yield our time in units of another process's."""
    seconds = parts.get("cold start", {}).get("seconds", {})
    if other in seconds:
        yield "", ratios(seconds, other)[cold_start.OURS].median


def of_import(parts: Parts) -> Found:
    """Yield the milliseconds of the import."""
    if "cold start" in parts:
        yield "", parts["cold start"]["import_seconds"] * 1e3


def of_memory(calls: tuple[str, ...], parts: Parts) -> Found:
    """Yield the MiB of some calls."""
    for call in calls if "memory" in parts else ():
        yield f"{call}, {parts['memory']['steps']} steps", parts["memory"]["mib"][call]


def of_errors(measure: str, figure: str, parts: Parts) -> Found:
    """Yield the median of the ratios of errors, or the worst, by kernel and activation; the NumPy walk has no limit."""
    for kernel, found in parts.get("accuracy", {}).get("ratios", {}).items():
        for activation, by_measure in found.items() if kernel != choice.OFF else ():
            ratio = by_measure[measure]
            value = Quartiles.of(ratio).median if figure == "median" else max(ratio)
            yield f"{activation}, {kernel}", value
