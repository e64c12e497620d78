"""JAX: the projection of the whole sequence and `jax.lax.scan`, under `jax.jit`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from harness.contestant import Contestant
from harness.problem import Drawn
from rnn_backends.core.arrays import Host


def make(drawn: Drawn, threads: int) -> Contestant:
    """Return the contestant; XLA reads the number of threads from the environment, when it is imported."""
    del threads
    if drawn.problem.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    problem, lengths = drawn.problem, None if drawn.lengths is None else jnp.asarray(drawn.lengths)
    weights = [tuple(jnp.asarray(array) for array in arrays) for arrays in drawn.weights()]
    h_0 = jnp.zeros((problem.batch, problem.hidden_size), problem.dtype)

    def run(weights: Any, x: Any, h: Any) -> tuple[Any, Any]:
        walked = [
            _walk(cell, x, h, lengths, reverse, problem.leak)
            for cell, reverse in zip(weights, (False, True), strict=False)
        ]
        return jnp.concatenate([states for states, _ in walked], axis=-1), walked[0][1]

    compiled: Callable[..., tuple[Any, Any]] = jax.jit(run)
    if problem.step:
        return Contestant("jax", _step(compiled, weights, h_0))
    return Contestant("jax", lambda x: np.asarray(compiled(weights, x, h_0)[0].block_until_ready()))


def _step(run: Callable[..., tuple[Any, Any]], weights: Any, h_0: Any) -> Callable[[Host], Host]:
    h = h_0

    def step(x: Host) -> Host:
        nonlocal h
        states, h = run(weights, x, h)
        return np.asarray(states.block_until_ready())

    return step


def _walk(cell: Any, x: Any, h_0: Any, lengths: Any | None, reverse: bool, leak: float | None) -> tuple[Any, Any]:
    """Walk a cell through time; return the states (T, B, H), 0 beyond a length, and the last state."""
    w_ih, w_hh, bias = cell
    projected = (w_ih.T[x] if jnp.issubdtype(x.dtype, jnp.integer) else x @ w_ih.T) + bias

    def step(h: Any, inputs: tuple[Any, Any]) -> tuple[Any, Any]:
        t, projected_t = inputs
        new = jnp.tanh(h @ w_hh.T + projected_t)
        if leak is not None:
            new = (1.0 - leak) * h + leak * new
        if lengths is None:
            return new, new
        valid = (t < lengths)[:, None]
        return jnp.where(valid, new, h), jnp.where(valid, new, 0)

    h, states = jax.lax.scan(step, h_0, (jnp.arange(len(x)), projected), reverse=reverse)
    return states, h
