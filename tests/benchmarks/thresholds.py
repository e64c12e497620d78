"""Thresholds of the figures, and whether they are reached."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cold_start
from harness.problem import Problem
from harness.timing import ratios

Sizes = tuple[int, int, int, int]
LARGE = ((64, 128, 256, 512), (64, 64, 512, 1024))
NUMBA_FACTORS = {(1000, 1, 64, 32): 8.0, (1000, 1, 64, 100): 4.0, (1000, 1, 128, 256): 2.0, (50, 8, 16, 32): 3.0}
COMPARED = ("sequences", "tokens", "bidirectional", "ragged", "step")


class Measured(NamedTuple):
    """A ratio that was measured: a competitor's time over that of this library on a backend."""

    part: str
    problem: Problem
    threads: int
    backend: str
    competitor: str
    ratio: float

    @property
    def sizes(self) -> Sizes:
        return (self.problem.seq_len, self.problem.batch, self.problem.input_size, self.problem.hidden_size)

    @property
    def where(self) -> str:
        return f"{self.problem}, {self.threads} thread{'s' * (self.threads > 1)}"


class Verdict(NamedTuple):
    """A threshold and the worst figure that it holds for."""

    what: str
    wanted: str
    found: str
    where: str
    is_met: bool | None

    @property
    def word(self) -> str:
        return {True: "yes", False: "**no**", None: "not measured"}[self.is_met]


Selects = Callable[[Measured], bool]


def measured_ratios(parts: dict[str, Any]) -> Iterator[Measured]:
    """Yield every ratio of every part."""
    for part, found in parts.items():
        for cell in found.get("cells", ()):
            problem = Problem(**cell["problem"])
            for backend in cell["ours"]:
                for name, quartiles in ratios(cell["seconds"], backend).items():
                    yield Measured(part, problem, cell["threads"], backend, name, quartiles.median)


def verdicts(parts: dict[str, Any]) -> Iterator[Verdict]:
    """Yield a verdict for each threshold."""
    found = list(measured_ratios(parts))
    for backend, competitor, what, least, selects in _thresholds():
        chosen = [one for one in found if (one.backend, one.competitor) == (backend, competitor) and selects(one)]
        worst = min(chosen, key=lambda one: one.ratio, default=None)
        wanted = f">= {least:g}"
        if worst is None:
            yield Verdict(what, wanted, "", "", None)
            continue
        below = sum(not one.ratio >= least for one in chosen)
        where = f"{worst.where} ({below} of {len(chosen)} below)" if below else worst.where
        yield Verdict(what, wanted, f"{worst.ratio:.2f}", where, not below)
    yield from _cold_start(parts.get("cold start"))


def _thresholds() -> Iterator[tuple[str, str, str, float, Selects]]:
    """Yield backend, competitor, a description, the least ratio, and a function that selects the cells it holds for."""
    yield "numpy", "onnxruntime", "numpy, against ONNX Runtime, everywhere", 1.0, _is_compared
    yield "numpy", "torch", "numpy, against torch, everywhere", 1.3, _is_compared
    for sizes in LARGE:
        yield "numpy", "product", f"numpy, part of the matrix product's speed, {sizes}", 0.85, _of_sizes(sizes)
    for sizes, factor in NUMBA_FACTORS.items():
        yield "numba", "onnxruntime", f"numba, against ONNX Runtime, {sizes}", factor, _of_sizes(sizes)
    yield "numba", "onnxruntime", "numba, against ONNX Runtime, elsewhere", 1.0, _is_elsewhere
    yield "numba", "numpy", "numba, against numpy, everywhere", 1.0, lambda _: True
    for backend in ("numpy", "numba"):
        yield backend, "onnxruntime", f"{backend}, a step of B=1, H=128, against ONNX Runtime", 1.0, _is_one_step
        yield backend, "textbook", f"{backend}, 8,000 tokens, H=100, against the text-book loop", 100.0, _is_text


def _is_compared(one: Measured) -> bool:
    return one.part in COMPARED


def _is_elsewhere(one: Measured) -> bool:
    return one.part in COMPARED and not (one.part == "sequences" and one.sizes in NUMBA_FACTORS)


def _is_one_step(one: Measured) -> bool:
    return one.part == "step" and one.problem.batch == 1 and one.problem.hidden_size == 128


def _is_text(one: Measured) -> bool:
    return one.part == "tokens" and one.sizes[2:] == (8000, 100)


def _of_sizes(sizes: Sizes) -> Selects:
    return lambda one: one.part == "sequences" and one.sizes == sizes


def _cold_start(found: dict[str, Any] | None) -> Iterator[Verdict]:
    """Yield the verdicts on new processes: our time over others'."""
    theirs = {} if found is None else ratios(found["seconds"], cold_start.OURS)
    for name, what, most in (
        (cold_start.ONNXRUNTIME, "cold start, times ONNX Runtime's", 1.0),
        (cold_start.NUMPY, "cold start, times that of `import numpy`", 1.35),
    ):
        if name not in theirs:
            yield Verdict(what, f"<= {most:g}", "", "", None)
            continue
        ratio = 1.0 / theirs[name].median
        yield Verdict(what, f"<= {most:g}", f"{ratio:.2f}", "", ratio <= most)
    if found is None:
        yield Verdict("import, beyond NumPy's", "<= 30 ms", "", "", None)
        return
    cost = found["import_seconds"] * 1e3
    yield Verdict("import, beyond NumPy's", "<= 30 ms", f"{cost:.1f} ms", "", cost <= 30.0)
