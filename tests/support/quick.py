"""Other frameworks on JAX without its compiler, which takes longer for a new shape than all else that a test does."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest


@contextmanager
def quick_keras(keras: Any) -> Iterator[None]:
    """Have Keras draw its initial weights with NumPy and, on JAX, take its operations one by one."""
    is_jax = keras.backend.backend() == "jax"
    draw = np.random.default_rng(0)

    def drawn(_: Any, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.convert_to_tensor(draw.uniform(-0.4, 0.4, shape), dtype)

    with pytest.MonkeyPatch.context() as patch, sys.modules["jax"].disable_jit() if is_jax else nullcontext():
        for kind in ("VarianceScaling", "RandomUniform", "Orthogonal"):
            patch.setattr(getattr(keras.initializers, kind), "__call__", drawn)
        yield


@contextmanager
def quick_row(request: pytest.FixtureRequest) -> Iterator[None]:
    """Do so for a test of a line about Keras."""
    row = getattr(request.node, "callspec", None) and request.node.callspec.params.get("row")
    is_keras = getattr(row, "section", None) == "Keras"
    with quick_keras(pytest.importorskip("keras")) if is_keras else nullcontext():
        yield


def drawn_parameters(module: Any, x: Any) -> Any:
    """Parameters of a module of Flax's linen, of the shapes that it would initialize."""
    import jax

    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    return jax.tree.map(lambda held: draw.uniform(-0.4, 0.4, held.shape).astype(held.dtype), shapes)
