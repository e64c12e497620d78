"""JAX: compiled, on the devices that JAX finds, with `jax.grad`."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnn_backends.backends.backend import Backend
from rnn_backends.core.arrays import Array, Host, cast, is_array, where_valid, widen
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import RecurrentCell, outputs_of
from rnn_backends.core.masking import zero_padding
from rnn_backends.core.rate import RateCell
from rnn_backends.core.recurrence import each_direction, project
from rnn_backends.core.sparse import Sparse

jax.tree_util.register_dataclass(
    Sparse, data_fields=("values", "columns", "order"), meta_fields=("parts", "shape", "num_entries")
)


def make() -> Backend:
    """Return the backend."""
    return Backend(
        name="jax",
        xp=jnp,
        owns=lambda array: isinstance(array, jax.Array),
        to_numpy=_to_numpy,
        # jnp.asarray may share the memory of the caller's array.
        asarray=lambda host, dtype, device: jnp.array(host, dtype=dtype, copy=True, device=device),
        devices=lambda: {f"{device.platform}:{device.id}": device for device in jax.devices()},
        dtypes=_dtypes,
        # On a GPU, JAX multiplies float32 in TF32 by default.
        on=lambda _: jax.default_matmul_precision("highest"),
        recurrence=each_direction(walk_cell),
    )


def walk_cell(
    cell: RecurrentCell, x: Array, h_0: Array, lengths: Array | None, reverse: bool
) -> tuple[Array, Array] | None:
    """Walk a cell through time in one compiled `jax.lax.scan`; see `rnn_backends.core.recurrence.CellRecurrence`."""
    if type(cell) is not Cell and type(cell) is not RateCell:
        return None
    leak, leaks = (None, cell.leak) if is_array(cell.leak) else (cell.leak, None)
    weights = (cell.weight_ih, cell.weight_hh, cell.bias, leaks)
    clips = {"clip": cell.clip} if isinstance(cell, Cell) else {}
    options = (type(cell), cell.activation, leak, *clips.items())
    walked: tuple[Array, Array] = _scan(options, reverse, weights, x, h_0, lengths)
    return walked


@partial(jax.jit, static_argnums=(0, 1))
def _scan(
    options: tuple[Any, ...], reverse: bool, weights: Any, x: Array, h_0: Array, lengths: Array | None
) -> tuple[Array, Array]:
    (*parameters, leaks), (kind, activation, leak, *others) = weights, options
    cell = kind(*parameters, activation, leak=leak if leaks is None else leaks, **dict(others))
    x, h_0, valid = zero_padding(x, h_0, lengths)

    def step(h: Array, inputs: tuple[Array, Array | None]) -> tuple[Array, Array]:
        projected_t, valid_t = inputs
        new = cast(cell.step(projected_t, widen(h)), h.dtype)
        h = new if valid_t is None else jnp.where(valid_t, new, h)
        return h, h

    last, states = jax.lax.scan(step, h_0, (project(cell, x), valid), reverse=reverse)
    return where_valid(outputs_of(cell, states), valid), last


def _dtypes() -> tuple[str, ...]:
    return ("float16", "bfloat16", "float32", *(["float64"] if jax.config.jax_enable_x64 else []))


def _to_numpy(array: Array) -> Host:
    return np.asarray(array.astype(jnp.float32) if array.dtype == jnp.bfloat16 else array)
