"""The stages in their order: which processes each starts, given what the stages before it found."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import NamedTuple

from gpu_stages import names
from gpu_stages.bench import cells_of, left, shapes_of, untried
from gpu_stages.constants import HALF
from gpu_stages.context import PYTHON, TF32, Batch, Context, by, shapes
from gpu_stages.processes import Job
from gpu_stages.tools import tools

SPARSE = 15.0
"""The seconds that sparse weights may take."""
PREPARING = 40.0
"""The seconds after which a stage measures, whether or not all is compiled."""


class Stage(NamedTuple):
    """A stage: its name, the most seconds of all of it and of each batch, and what yields the batches as it goes.

    `planned` is what a call has for it, where that is less: it ends as soon as its processes do.
    """

    name: str
    seconds: float
    batch_seconds: float
    batches: Callable[[Context], Iterator[Batch]]
    planned: float = inf


def about(context: Context) -> Iterator[Batch]:
    """Yield what names the device and the versions."""
    smi = [Job("nvidia-smi", ["nvidia-smi"])] if shutil.which("nvidia-smi") else []
    yield [*smi, Job("versions", context.stage("about"), again=True)]  # another call may be on another machine


def smoke(context: Context) -> Iterator[Batch]:
    """Yield a process a kernel, for one ragged case in each dtype, and for `grid` one that is for tensor cores."""
    sizes = context.sizes
    yield [
        Job(
            name,
            context.stage("check", "smoke", name, "--dtype", *sizes.dtypes, *shapes(name, sizes.smoke, sizes.tensor)),
            by(name),
        )
        for name in (*context.kernels, names.OFF)
    ]


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
    chosen = [name for name in names.WHOLE if name in alive]
    yield [Job(name, context.stage("stress", name, context.sizes_name), by(name)) for name in chosen]


def selfcheck(context: Context) -> Iterator[Batch]:
    """Yield the package's own checks, then the comparison of grid with sweep beside nothing but its own traffic.

    The first, whose verdicts are not there yet: the stages before it choose their kernel themselves.
    """
    alive = context.passed("smoke")
    yield [
        Job(f"{name}: own check", context.stage("trust", name, *context.sizes.dtypes), TF32)
        for name in context.kernels
        if name in alive
    ]
    if {"grid", "sweep"} <= alive:
        yield [Job("grid: beside traffic", context.stage("selfcheck", context.sizes_name), TF32)]


def preparing(context: Context, part: str, kernels: Sequence[str]) -> Batch:
    """Return processes that compile what a stage needs, and compute what is right, a share each, before it measures."""
    count = min(context.processors, context.sizes.helpers)
    kinds = {"compile": (count, TF32)} if kernels else {}
    if part != "constants":  # which are not checked, and compare with nobody
        kinds |= {"reference": (count, {"OPENBLAS_NUM_THREADS": "1"})}
        kinds |= {"torch": (1, TF32)} if context.is_torch_cold else {}
    return [
        Job(
            f"{kind} {number} of {shares} for {part}, {', '.join(kernels)}",
            context.stage("prepare", context.sizes_name, part, kind, number, shares, context.folder, *kernels),
            environment,
            again=True,  # on another machine, CuPy's files are not there
            seconds=PREPARING,
        )
        for kind, (shares, environment) in kinds.items()
        for number in range(shares)
    ]


def constants(context: Context) -> Iterator[Batch]:
    """Yield what compiles for all kernels, then the measurement of each alone, and of `grid` in 16 bits."""
    alive = [name for name in context.kernels if name in context.passed("smoke")]
    wanted = [*alive, *([HALF] if "grid" in alive else [])]
    if any(name not in context.passed("constants") for name in wanted):
        yield preparing(context, "constants", alive)
    for name in wanted:
        yield [Job(name, context.stage("constants", name, context.sizes_name), TF32)]


def bench(context: Context) -> Iterator[Batch]:
    """Yield the measurement of the shapes that matter most."""
    return measuring(context, "bench")


def more(context: Context) -> Iterator[Batch]:
    """Yield the measurement of all others."""
    return measuring(context, "more")


def measuring(context: Context, part: str) -> Iterator[Batch]:
    """Yield what prepares for some shapes, and a process that measures those that are left.

    It starts those of the contestants.  Another goes on where one has ended, without the shape that ended it if it
    measured none.  What fails is not tried again in this call.
    """
    able = [name for name in context.kernels if name in context.passed("smoke")]
    every, wanted = shapes_of(part, context.sizes), left(context.findings, part, context.sizes, able)
    if wanted:
        yield preparing(context, part, able)
    while wanted:
        before, places = len(cells_of(context.findings)), ",".join(str(every.index(asked)) for asked in wanted)
        command = context.stage("bench", context.sizes_name, part, context.folder, places, *able)
        word = f"{part}: {len(wanted)} shapes, with {', '.join(able) or 'no kernels'}"
        yield [Job(word, command, TF32, again=True)]  # a shape may be left once more
        rest = untried(wanted, cells_of(context.findings)[before:])
        wanted = rest if len(rest) < len(wanted) else wanted[1:]


def rest(context: Context) -> Iterator[Batch]:
    """Yield sparse weights, alone as they are timed, and the tests that need pytest.

    Those are of waiting, streams, DLPack, spills, and the conformance class.
    """
    yield [Job("sparse", context.stage("sparse", context.sizes_name), TF32, seconds=SPARSE)]
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
    yield [Job(name, [*pytest, file, "-k", words], TF32) for name, (file, words) in chosen.items()]


STAGES = (
    Stage("about", 60, 60, about, planned=20),
    Stage("smoke", 60, 60, smoke, planned=25),
    Stage("features", 50, 50, features),
    Stage("stress", 40, 40, stress),
    Stage("selfcheck", 35, 35, selfcheck),
    Stage("constants", 55, 25, constants),
    Stage("bench", 165, 165, bench),
    Stage("tools", 60, 60, tools),
    Stage("rest", 30, 30, rest),
    Stage("more", 300, 300, more),
)
"""In a first call, as long as all but the last are planned to take, they give verdicts and the table of the goals; a second
measures what is left.  Nothing runs without the first two, which may therefore take longer where a machine is slow to
start; the last stages of the call then have less time, and what they have none for is named as not run."""
