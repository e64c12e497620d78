"""The parts of a measurement on the CPU: which problems, who takes part, under which conditions."""

import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from harness.machine import instructions
from harness.problem import GRID, STEP_GRID, Problem, Sizes
from harness.processes import OURS, Entrant

CALL: Sizes = (1, 1, 64, 32)
DTYPES = ("float32", "float64")
TEXT = 500
"""The length of a text, in tokens."""

WALK = "NumPy walk"
LIBRARIES = ("onnxruntime", "torch", "jax")
AVX512 = ("AVX512", "X86_V4")
"""How NumPy's names of what AVX2 lacks begin."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Questions that the same contestants are asked.

    `entrants` takes a number of threads; where `together` holds, all of several thread counts are timed in turn.
    """

    title: str
    text: str
    questions: Sequence[dict[str, Any]]
    entrants: Callable[[int], list[Entrant]]
    threads: tuple[int, ...] = (1, 2)
    seconds: float = 5.0
    rounds: int = 21
    is_busy: bool = False


def problems(shapes: Iterable[Sizes], dtypes: Iterable[str] = DTYPES, **options: Any) -> list[dict[str, Any]]:
    """Return problems as questions, by dtype and shape."""
    return [
        {"problem": asdict(Problem(seq_len=t, batch=b, input_size=i, hidden_size=h, dtype=dtype, **options))}
        for dtype in dtypes
        for t, b, i, h in shapes
    ]


def entrants(threads: int, *makers: str, kernel: str = "", variables: dict[str, str] | None = None) -> list[Entrant]:
    """Return this library, by a kernel that is named or by its own choice, and others, all under the same conditions."""
    common = variables or {}
    chosen = {"RNN_CPU_KERNEL": kernel} if kernel else {}
    found = [Entrant(OURS, "ours", threads, common | chosen)]
    for maker in makers:
        off = {"RNN_CPU_KERNEL": "off"} if maker == WALK else {}
        found.append(Entrant(maker, "ours" if maker == WALK else maker, threads, common | off))
    return found


def of_threads(threads: int) -> list[Entrant]:
    """Return this library with one thread and with more."""
    return [Entrant(OURS, "ours", threads), Entrant("1 thread", "ours", 1)]


def without_avx512() -> dict[str, str]:
    """Return variables that keep libraries from AVX-512; ONNX Runtime has none, and JAX's matrix products heed none."""
    return {
        "ATEN_CPU_CAPABILITY": "avx2",
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in instructions() if name.startswith(AVX512)),
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    }


def without_avx2() -> dict[str, str]:
    """Return variables that keep NumPy and its BLAS from what not every processor has."""
    return {"NPY_DISABLE_CPU_FEATURES": " ".join(instructions()), "OPENBLAS_CORETYPE": "Nehalem"}


EVERYBODY = (WALK, *LIBRARIES, "textbook", "product")
PARTS: dict[str, Part] = {
    "sequences": Part(
        title="Whole sequences",
        text="A call of the network with all steps of all sequences.",
        questions=problems(GRID),
        entrants=lambda threads: entrants(threads, *EVERYBODY),
    ),
    "avx2": Part(
        title="Without AVX-512",
        text="Ours with `RNN_CPU_KERNEL=avx2`, and the others as far as variables keep them from AVX-512, which of "
        "ONNX Runtime and the matrix products of JAX none does: those are ahead by twice the width.",
        questions=problems(GRID),
        entrants=lambda threads: entrants(
            threads, WALK, *LIBRARIES, "product", kernel="avx2", variables=without_avx512()
        ),
        seconds=3.0,
        rounds=11,
    ),
    "plain": Part(
        title="Plain C",
        text="Ours with `RNN_CPU_KERNEL=plain`, and the NumPy walk, both with a NumPy and an OpenBLAS that use none of "
        "the instructions which a processor may lack: where there are any, plain C is not chosen.",
        questions=problems(GRID),
        entrants=lambda threads: entrants(threads, WALK, kernel="plain", variables=without_avx2()),
        seconds=2.0,
        rounds=7,
    ),
    "threads": Part(
        title="Two threads against one",
        text="The time of ours with one thread, in units of that with two.",
        questions=problems(GRID),
        entrants=of_threads,
        threads=(2,),
        seconds=2.0,
    ),
    "busy": Part(
        title="Two threads against one on a busy machine",
        text="Likewise, while another process of normal priority keeps each processor busy.",
        questions=problems(GRID),
        entrants=of_threads,
        threads=(2,),
        seconds=6.0,
        rounds=41,
        is_busy=True,
    ),
    "calls": Part(
        title="A call, and a stream's steps",
        text="A call with one step (T=1), and a stream's calls step by step.",
        questions=[*problems([CALL]), *problems(STEP_GRID, step=True)],
        entrants=lambda threads: entrants(threads, WALK, *LIBRARIES),
        seconds=2.0,
    ),
    "variants": Part(
        title="Other inputs and cells",
        text="Token ids, both directions, sequences of different lengths, and leaky cells.",
        questions=[
            *problems([(1000, 1, 8000, 100)], tokens=True),
            *problems([(1000, 1, 64, 100), (128, 32, 128, 256)], bidirectional=True),
            *problems([(50, 8, 16, 32), (128, 32, 128, 256)], ragged=True),
            *problems([(1000, 1, 64, 100)], leak=0.3),
        ],
        entrants=lambda threads: entrants(threads, WALK, *LIBRARIES, "reservoirpy", "textbook", "product"),
        seconds=2.0,
        rounds=11,
    ),
    "generate": Part(
        title="Writing a text",
        text=f"`generate` with the network of `examples/shakespeare`, {TEXT} characters; bare: the arithmetic of the "
        "same characters in NumPy, with nothing checked and no option.",
        questions=[{"text": TEXT}],
        entrants=lambda threads: entrants(threads, "bare", WALK),
        threads=(1,),
    ),
}
ABSENT: dict[str, Callable[[], str | None]] = {
    "avx2": lambda: None if any(map(is_avx512, instructions())) else "this processor has no AVX-512: see above",
    "plain": lambda: None if platform.machine() in {"x86_64", "AMD64"} else "of x86 alone NumPy can be kept from more",
}
"""Why a part has no meaning here, None where it has."""


def is_avx512(name: str) -> bool:
    """Return whether a name of NumPy stands for an instruction set that AVX2 lacks."""
    return name.startswith(AVX512)


def quick(part: Part) -> Part:
    """Return a part that is done at once, and whose figures mean nothing."""
    tiny = partial(problems, [(20, 2, 8, 16)], ["float32"])
    small = {name: value for name, value in part.questions[-1].get("problem", {}).items() if name in OPTIONS}
    questions = [{"text": 5}] if "text" in part.questions[0] else tiny(**small)
    return replace(part, questions=questions, threads=part.threads[:1], seconds=1.0, rounds=2)


OPTIONS = ("tokens", "bidirectional", "ragged", "step", "leak")
