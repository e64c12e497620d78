"""The competitors of this library; on the CPU, each takes NumPy arrays and gives NumPy arrays back.

Each runs a problem in its fastest public way, described in its file.  Token ids are projected by
picking rows of W_ih^T where the library can (JAX); where its RNN takes features only (torch, ONNX
Runtime), an embedding layer holds these rows and the RNN's own W_ih is the identity: the same numbers, for
one more product of the hidden size, and no one-hot vectors as wide as the vocabulary.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from harness.contestant import AbsentError, Contestant
from harness.problem import Drawn
from rnn_backends.backends.cuda_kernels.plan import REGIMES

if TYPE_CHECKING:
    from harness.gpu import Gpu

LIBRARIES = {
    "torch": ("torch",),
    "onnxruntime": ("onnxruntime", "onnx"),
    "jax": ("jax", "jaxlib"),
    "reservoirpy": ("reservoirpy",),
    "textbook": (),
    "product": (),
}
"""The distributions that each competitor needs on the CPU, by its name."""

ON_GPU = {
    "torch": ("torch",),
    "torch-tf32": ("torch",),
    "flashrnn": ("flashrnn", "torch"),
    "off": (),
    **dict.fromkeys(REGIMES, ()),
    "product": (),
    "copy": (),
}
"""Those that a competitor on a GPU needs, beside CuPy."""

BY_DEFAULT_ON_GPU = ("torch", "off", "product", "copy")

LIMITS = ("product", "copy")
"""Those that do less than the problem: their time divided by ours is the part of the limit that is reached."""


def prepare(name: str, drawn: Drawn, threads: int, gpu: "Gpu | None" = None) -> Contestant:
    """Return a competitor that is ready to run a problem, on the CPU or a GPU.

    Raises
    ------
    AbsentError
        It is not installed, or has no way to run the problem.
    """
    for distribution in (LIBRARIES if gpu is None else ON_GPU)[name]:
        if distribution_version(distribution) is None:
            msg = f"not installed: pip install {distribution}"
            raise AbsentError(msg)
    module = import_module(f"{__name__}.{name if gpu is None else 'on_gpu'}")
    made: Contestant = module.make(drawn, threads) if gpu is None else module.make(name, drawn, gpu)
    return made


def distribution_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
