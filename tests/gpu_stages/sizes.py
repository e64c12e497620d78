"""How much each stage does: on a GPU, and where only the script is tried."""

from typing import NamedTuple

ELSEWHERE = ("flashrnn",)
"""Packages that few have."""
Shape = tuple[int, int, int, int]
"""Steps, sequences, features and states."""


class Stress(NamedTuple):
    """A long walk and its pieces, and how many shorter ones of other sizes follow it."""

    seq_len: int
    piece: int
    others: int
    other_len: int


class Sizes(NamedTuple):
    """What the stages do, in the order of the stages; the figures of a small one mean nothing."""

    kernels: tuple[str, ...] | None
    """Those looked at beside the equation as written; None for all."""
    dtypes: tuple[str, ...]
    smoke: Shape
    tensor: Shape
    """What `grid` multiplies on tensor cores, in 16 bits."""
    every: int
    """Of the features, each so-manieth."""
    stress: Stress
    selfcheck: tuple[tuple[str, Shape], ...]
    plans: int
    """How many plans of `grid` each of those shapes is walked by."""
    traffic: int
    """The bytes that are copied, again and again, meanwhile."""
    helpers: int
    """How many processes compile at once, and how many compute references, if there are so many processors."""
    lengths: tuple[int, int]
    constants: tuple[tuple[int, int], ...]
    """hidden_size and batch."""
    half: tuple[tuple[int, int], ...]
    """The same in 16 bits, for both forms of `grid`."""
    call: Shape
    """A short call, of which the host's time is measured."""
    rounds: int
    bench: dict[str, tuple[Shape, ...]]
    """Shapes by row of the goals in tests/benchmarks/gpu_goals.py, which gives the dtype."""
    more: dict[str, tuple[Shape, ...]] | None
    """Those of the stage `more`; None for all of the goals."""
    against: tuple[str, ...]
    """Who is measured on them, beside this library and its kernels; of the packages in ELSEWHERE, those installed."""
    seconds: float
    """After which no round begins, for each shape and clock."""
    answer_seconds: float
    """The most that a contestant may take to be ready, or for a sample."""
    tools: Shape
    tools_tensor: Shape
    """What `grid` multiplies on tensor cores there, in 16 bits."""
    sparse: tuple[tuple[Shape, int], ...]
    """What is walked with sparse and dense weights, and the entries of a row."""
    waiting: str
    """The tests that pytest chooses of those that only a GPU can pass."""
    conformance: str
    """Those of the conformance class."""


FULL = Sizes(
    kernels=None,
    dtypes=("float32", "float64", "float16", "bfloat16"),
    smoke=(9, 3, 5, 96),
    tensor=(9, 65, 5, 520),
    every=1,
    stress=Stress(1_000_000, 1000, 20, 2000),
    selfcheck=(
        ("float32", (4096, 5, 9, 70)),
        ("float32", (4096, 16, 64, 512)),
        ("float32", (4096, 4, 64, 1024)),
        ("float64", (4096, 4, 32, 256)),
        ("float16", (4096, 8, 64, 512)),
        ("bfloat16", (4096, 5, 7, 300)),
        ("float16", (1024, 64, 64, 1024)),
        ("bfloat16", (4096, 65, 7, 264)),
    ),
    plans=2,
    traffic=256 * 2**20,
    helpers=16,
    lengths=(128, 448),
    constants=(
        *((size, 1) for size in (32, 64, 128, 192, 256, 288, 384, 512, 768, 1024, 2048)),
        *((size, 16) for size in (128, 256, 512, 1024, 2048)),
        (128, 132), (256, 132), (1024, 64),
    ),
    half=((512, 16), (2048, 16), (512, 64), (1024, 64)),
    call=(8, 1, 32, 64),
    rounds=7,
    bench={
        "H <= 64": ((512, 1, 64, 32),),
        "H = 128": ((512, 32, 128, 128),),
        "H = 192 to 256": ((512, 132, 128, 256),),
        "256 < H <= 384": ((512, 32, 128, 288), (512, 1, 128, 384)),
        "H = 512 to 1024": ((256, 16, 256, 512), (256, 1, 256, 1024), (256, 16, 256, 1024)),
        "H = 1024, B = 64": ((256, 64, 256, 1024),),
        "H = 2048": ((256, 16, 256, 2048),),
        "float16": ((512, 16, 256, 512), (512, 64, 256, 1024)),
        "float64": ((256, 16, 128, 512),),
        "H = 1536, B >= 64": ((256, 64, 256, 1536),),
        "T <= 32": ((8, 1, 32, 64),),
    },
    more=None,
    against=("torch", "torch-tf32", "flashrnn", "off", "product", "copy"),
    seconds=0.5,
    answer_seconds=45.0,
    tools=(4, 3, 5, 40),
    tools_tensor=(3, 33, 5, 264),
    sparse=(((64, 1, 3, 3000), 10), ((64, 64, 3, 3000), 10), ((64, 1, 3, 20_000), 10)),
    waiting="waits or stream or torch or spilled or (tensor and grid)",
    conformance="",
)  # fmt: skip

QUICK = Sizes(
    kernels=None,
    dtypes=("float32", "float16"),
    smoke=(4, 3, 5, 40),
    tensor=(3, 17, 3, 96),
    every=100,
    stress=Stress(24, 7, 1, 12),
    selfcheck=(("float32", (12, 5, 9, 70)), ("bfloat16", (5, 17, 3, 96))),
    plans=1,
    traffic=2**16,
    helpers=2,
    lengths=(3, 9),
    constants=((16, 2), (24, 1)),
    half=((96, 17),),
    call=(2, 1, 2, 8),
    rounds=1,
    bench={"H <= 64": ((40, 2, 3, 4),)},
    more={"T <= 32": ((4, 1, 2, 3),), "float64": ((5, 2, 3, 4),), "float16": ((3, 17, 3, 96),)},
    against=("torch", "flashrnn", "off", "copy"),
    seconds=0.0,
    answer_seconds=60.0,
    tools=(3, 3, 2, 20),
    tools_tensor=(3, 17, 3, 96),
    sparse=(((40, 2, 3, 4), 2),),
    waiting="(spilled or numba) and off",
    conformance="record",
)
SIZES = {"full": FULL, "quick": QUICK}
