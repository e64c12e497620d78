"""The stages in their order: which processes each starts, given what the stages before it found."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gpu_stages import names
from gpu_stages.findings import RIGHT, Findings
from gpu_stages.processes import Job
from gpu_stages.sizes import SIZES, Shape, Sizes

PYTHON = sys.executable
TOOLS = ("memcheck", "racecheck")
SANITIZER = "compute-sanitizer"
WHOLE = ("block", "grid")
"""The kernels that take all steps in one launch."""

Batch = Sequence[Job]
"""What is run at once."""


@dataclass(frozen=True)
class Context:
    """What a stage may depend on."""

    findings: Findings
    sizes_name: str
    folder: Path
    absent: frozenset[str]
    processors: int

    @property
    def sizes(self) -> Sizes:
        """How much is done."""
        return SIZES[self.sizes_name]

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels that are looked at."""
        return self.sizes.kernels or tuple(names.kernels("plan").REGIMES)

    def passed(self, stage: str) -> set[str]:
        """Return the jobs of a stage that ended well."""
        return {job for job, code in self.findings.codes(stage).items() if code == RIGHT}

    def stage(self, module: str, *words: Any) -> list[str]:
        """Return the command of a module of this folder, which appends to the findings."""
        return [PYTHON, "-m", f"gpu_stages.{module}", str(self.findings.path), *map(str, words)]


class Stage(NamedTuple):
    """A stage: its name, the seconds of all of it and of each batch, and what yields the batches as it goes."""

    name: str
    seconds: float
    batch_seconds: float
    batches: Callable[[Context], Iterator[Batch]]


def by(kernel: str) -> dict[str, str]:
    """Return the environment that chooses a kernel, without TF32."""
    return {"RNN_CUPY_KERNEL": kernel, "CUPY_TF32": "0"}


def about(context: Context) -> Iterator[Batch]:
    """Yield what names the device and the versions."""
    smi = [Job("nvidia-smi", ["nvidia-smi"])] if shutil.which("nvidia-smi") else []
    yield [*smi, Job("versions", context.stage("about"))]


def smoke(context: Context) -> Iterator[Batch]:
    """Yield a process a kernel, for one ragged case in each dtype, and for `grid` one that is for tensor cores."""
    sizes = context.sizes
    yield [
        Job(name, context.stage("check", "smoke", name, "--dtype", *sizes.dtypes, *shapes(sizes, name)), by(name))
        for name in (*context.kernels, names.OFF)
    ]


def shapes(sizes: Sizes, name: str) -> list[Any]:
    """Return the options for the shapes of a kernel's first cases."""
    return ["--shape", *sizes.smoke, *(["--shape", *sizes.tensor] if name == "grid" else [])]


def features(context: Context) -> Iterator[Batch]:
    """Yield a process for each kernel and dtype, for every feature."""
    alive, every = context.passed("smoke"), context.sizes.every
    yield [
        Job(f"{name} {dtype}", context.stage("check", "features", name, "--dtype", dtype, "--every", every), by(name))
        for name in (*context.kernels, names.OFF)
        for dtype in context.sizes.dtypes
        if name in alive
    ]


def stress(context: Context) -> Iterator[Batch]:
    """Yield a process for each kernel that takes all steps in a launch, for a million of them."""
    alive = context.passed("smoke")
    chosen = [name for name in WHOLE if name in alive]
    yield [Job(name, context.stage("stress", name, context.sizes_name), by(name)) for name in chosen]


def selfcheck(context: Context) -> Iterator[Batch]:
    """Yield the comparison of grid with sweep, which nothing runs beside but its own traffic."""
    if {"grid", "sweep"} <= context.passed("smoke"):
        yield [Job("grid", context.stage("selfcheck", context.sizes_name), {"CUPY_TF32": "0"})]


def constants(context: Context) -> Iterator[Batch]:
    """Yield what compiles for all kernels at once, then the measurement of each alone."""
    alive = [name for name in context.kernels if name in context.passed("smoke")]
    command = {name: context.stage("constants", name, context.sizes_name) for name in alive}
    tf32 = {"CUPY_TF32": "0"}
    yield [Job(f"compile {name}", [*command[name], "0"], tf32) for name in alive]
    for name in alive:
        yield [Job(name, [*command[name], str(context.sizes.rounds)], tf32)]


def bench(context: Context) -> Iterator[Batch]:
    """Yield a process a shape: against everybody, and without the kernels where that failed."""
    page, right = names.page(), context.passed("features")
    for row, shapes in context.sizes.bench.items():
        dtype = page.ROWS[row].dtype
        able = [name for name in context.kernels if f"{name} {dtype}" in right]
        for shape in shapes:
            with_kernels = bench_job(context, dtype, shape, page.COMPARED, able)
            yield [with_kernels]
            if able and with_kernels.name not in context.passed("bench"):
                yield [bench_job(context, dtype, shape, page.COMPARED, [])]


def bench_job(context: Context, dtype: str, shape: Shape, others: Sequence[str], able: Sequence[str]) -> Job:
    """Return the process of `bench` for a shape, against others and some kernels, named in its own name."""
    name = f"{dtype} {' '.join(map(str, shape))} with {', '.join(able) or 'no kernels'}"
    result = context.folder / "bench.json"
    budget = ["--rounds", "7", "--seconds", context.sizes.seconds, "--threads", min(8, context.processors)]
    words = ["--backend", "cupy", "--dtype", dtype, "--shape", *shape, *budget]
    words += ["--against", *others, *able, "--json", result]
    return Job(name, [PYTHON, *names.BENCH, *map(str, words)], {"CUPY_TF32": "0"}, result)


def tools(context: Context) -> Iterator[Batch]:
    """Yield a process for each tool of compute-sanitizer and kernel, for one small case in each dtype."""
    sanitizer = shutil.which(SANITIZER)
    if sanitizer is None:
        context.findings.add(stage="tools", missing=f"{SANITIZER} is not on PATH; it comes with the CUDA toolkit")
        return
    shape, dtypes = context.sizes.tools, context.sizes.dtypes
    alive = [name for name in context.kernels if name in context.passed("smoke")]
    yield [
        Job(
            f"{tool} {name}",
            [sanitizer, "--tool", tool, "--error-exitcode", "9",
             *context.stage("check", "tools", name, "--dtype", *dtypes, "--shape", *shape)],
            by(name),
        )
        for tool in TOOLS
        for name in alive
    ]  # fmt: skip


def rest(context: Context) -> Iterator[Batch]:
    """Yield the tests that need pytest: waiting, streams, DLPack, spills, and the conformance class."""
    if without := [module for module in names.TESTING if module in context.absent]:
        context.findings.add(stage="rest", missing=f"{', '.join(without)}: pytest runs nothing without")
        return
    pytest = [
        PYTHON,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "filterwarnings=",
        "--backend",
        "cupy",
        "--checkout",
    ]
    chosen = {
        "waiting": (names.GPU_TESTS, context.sizes.waiting),
        "conformance": (names.CONFORMANCE_TESTS, context.sizes.conformance),
    }
    yield [Job(name, [*pytest, file, "-k", words], {"CUPY_TF32": "0"}) for name, (file, words) in chosen.items()]


STAGES = (
    Stage("about", 30, 30, about),
    Stage("smoke", 45, 45, smoke),
    Stage("features", 75, 75, features),
    Stage("stress", 45, 45, stress),
    Stage("selfcheck", 45, 45, selfcheck),
    Stage("constants", 90, 30, constants),
    Stage("bench", 190, 45, bench),
    Stage("tools", 60, 60, tools),
    Stage("rest", 60, 60, rest),
)
