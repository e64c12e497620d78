"""Who this library is compared with; each takes NumPy arrays and gives NumPy arrays back.

What each one's fastest public way to run the problem is, is told in its file.  Token ids are projected by
picking rows of W_ih^T where the library can be told to (JAX); where its RNN takes features only (torch, ONNX
Runtime), an embedding layer holds these rows and the RNN's own W_ih is the identity: the same numbers, for
one more product of the hidden size, and no one-hot vectors as wide as the vocabulary.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from rnn_backends.commands.benchmark.contestant import AbsentError, Contestant
from rnn_backends.commands.benchmark.problem import Drawn

LIBRARIES = {
    "torch": ("torch",),
    "onnxruntime": ("onnxruntime", "onnx"),
    "jax": ("jax", "jaxlib"),
    "reservoirpy": ("reservoirpy",),
    "textbook": (),
    "product": (),
    "recurrent": (),
}
"""The distributions that each competitor needs, by its name."""

LIMITS = ("product", "recurrent")
"""Those that do less than the problem: their time divided by ours is the part of the limit that is reached."""


def prepare(name: str, drawn: Drawn, threads: int) -> Contestant:
    """Return a competitor that is ready to run a problem.

    Raises
    ------
    AbsentError
        It is not installed, or has no way to run the problem.
    """
    for distribution in LIBRARIES[name]:
        if distribution_version(distribution) is None:
            msg = f"not installed: pip install {distribution}"
            raise AbsentError(msg)
    module = import_module(f"{__name__}.{name}")
    make: Callable[[Drawn, int], Contestant] = module.make
    return make(drawn, threads)


def distribution_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
