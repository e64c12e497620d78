"""`reservoir`: a network of random weights that stay as they are, of which a readout alone is fitted."""

from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.backends.selection import select
from rnn_backends.backends.transfer import as_host
from rnn_backends.core.arrays import ArrayLike, Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer
from rnn_backends.core.messages import got, shown
from rnn_backends.core.network import Network
from rnn_backends.core.numbers import finite_float
from rnn_backends.core.parameters import require_sizes
from rnn_backends.core.sparse import Sparse
from rnn_backends.errors import ArgumentError, DTypeError
from rnn_backends.model.init import LARGEST_NUMBER, require_integer, uniform
from rnn_backends.model.rnn import RNN


def reservoir(
    input_size: int,
    hidden_size: int,
    *,
    spectral_radius: float = 0.9,
    density: float = 0.1,
    input_scaling: ArrayLike = 1.0,
    bias_scaling: ArrayLike = 1.0,
    leak: ArrayLike = 1.0,
    activation: Any = "tanh",
    seed: int = 0,
    dtype: Any = "float64",
    backend: str | None = None,
) -> RNN:
    """Make the random layer of an echo state network, whose weights stay as they are.

    `RNN.fit_readout` adds the readout.  The weights are drawn by NumPy, and are the same on every backend: all
    uniformly between -1 and 1, then those of W_aa scaled to the spectral radius, those of W_ax and b_a by their
    scalings, and all rounded to `dtype`.

    Parameters
    ----------
    input_size, hidden_size : int
        The numbers of features and of units.
    spectral_radius : float, default 0.9
        The largest absolute value of the eigenvalues of W_aa: the larger, the longer the memory.
    density : float, default 0.1
        The part of the entries of W_aa that are not zero, 0 < density <= 1: the same number of them in each row,
        density * hidden_size rounded and at least one, in columns that are drawn.  Where that is not all, the matrix is
        held sparse.
    input_scaling : float or array, shape (input_size,), default 1.0
        The largest weight of the input, or of each feature.
    bias_scaling : float or array, shape (hidden_size,), default 1.0
        The largest bias, or that of each unit; 0 for none.
    leak : float or array, shape (hidden_size,), default 1.0
        As of `Cell`: the part of a state that is new at each step, 1 for all of it.
    activation : str, Activation or callable, default "tanh"
    seed : int, default 0
    dtype : str or dtype, default "float64"
        As for `RNN.to`.  A readout that is fitted to float32 is less exact by far, as its weights are large.
    backend : str, optional
        ``"name"`` or ``"name:device"``; by default chosen as for `RNN.init`.

    Returns
    -------
    RNN
        Of one layer without a readout, that takes features, integers too.  Its `metadata` have a note ``reservoir`` of
        what it was made with, as arguments in Python.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError, RNNBackendError
        An option has an impossible value.
    ModuleNotFoundError
        It has more than 1000 units, and scipy, which finds the spectral radius of those, is not installed.

    Notes
    -----
    The defaults follow M. Lukoševičius, "A Practical Guide to Applying Echo State Networks" (2012), section 3: a
    spectral radius a little below 1, weights of one size, and a bias, without which the states would be an odd
    function of the input.  All of `spectral_radius`, `input_scaling` and `leak` are worth a search.

    Of a matrix of more than 1000 rows ARPACK finds the spectral radius, which takes some 10 s at 20,000.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> rnn = rb.reservoir(1, 100, spectral_radius=0.8, leak=0.5, seed=1)
    >>> states, _ = rnn(np.sin(np.arange(50.0))[:, None])
    >>> states.shape
    (50, 100)
    >>> rnn.metadata["reservoir"].partition(", spectral_radius")[0]
    'input_size=1, hidden_size=100'
    """
    placement = select(backend)
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        require_integer(name, size, 1)
    require_integer("seed", seed, 0, LARGEST_NUMBER)
    radius = finite_float("spectral_radius", spectral_radius)
    if radius <= 0:
        msg = f"`spectral_radius` must be positive; got {got(spectral_radius)}."
        raise ArgumentError(msg)
    entries = _entries_of_row(density, hidden_size)
    scaling = _each("input_scaling", input_scaling, "input_size", input_size)
    bias = _each("bias_scaling", bias_scaling, "hidden_size", hidden_size)
    leaks = _each("leak", leak, "hidden_size", hidden_size)
    generator = np.random.default_rng(seed)
    weight_ih = uniform(generator, 1.0, hidden_size, input_size) * scaling
    biases = uniform(generator, 1.0, hidden_size) * bias
    weight_hh: Any = scaled(_drawn(generator, hidden_size, entries), radius)
    cell = Cell(
        weight_ih,
        weight_hh,
        biases if biases.any() else None,
        activation,
        leak=None if np.ndim(leaks) == 0 and leaks == 1 else leaks,
    )
    made: dict[str, Any] = {
        "input_size": input_size,
        "hidden_size": hidden_size,
        "spectral_radius": radius,
        "density": float(density),
    }
    made |= {"input_scaling": scaling, "bias_scaling": bias, "leak": leaks, "activation": cell.activation}
    rnn = RNN.from_network(Network((Layer(cell),), takes="features"), placement, dtype)
    made |= {"seed": int(seed), "dtype": rnn.dtype}
    return rnn.replace(metadata={"reservoir": ", ".join(f"{name}={_noted(value)}" for name, value in made.items())})


def _noted(value: Any) -> str:
    """Return an option as it is written in Python, an activation of one's own by its type."""
    if isinstance(value, np.ndarray):
        return str(value.tolist())
    return shown(getattr(value, "name", None) or got(value)) if callable(value) else got(value)


def scaled(matrix: Host | Sparse, radius: float) -> Host | Sparse:
    """Return a square matrix times the number that makes its spectral radius the given one."""
    from rnn_backends.model.radius import spectral_radius  # most programs make no reservoir

    found = spectral_radius(matrix)
    if not found:
        msg = "a matrix whose spectral radius is 0, as of zeros alone, cannot be scaled to another; take another seed."
        raise ArgumentError(msg)
    factor = radius / found
    if not isinstance(matrix, Sparse):
        return matrix * factor
    return replace(matrix, values=matrix.values * factor)


def _drawn(generator: "np.random.Generator", size: int, entries: int) -> Host | Sparse:
    """Draw a square matrix with so many entries in each row, as a sparse one where that is not all of them."""
    values = uniform(generator, 1.0, size, entries)
    if entries == size:
        return values
    columns = np.empty((size, entries), np.int32)
    for row in columns:
        row[:] = generator.choice(size, entries, replace=False, shuffle=False)
    columns.sort(axis=1)
    return Sparse.from_csr(values.ravel(), columns.ravel(), np.arange(size + 1) * entries, (size, size))


def _entries_of_row(density: float, size: int) -> int:
    """Return the number of entries of each row."""
    part = finite_float("density", density)
    if not 0 < part <= 1:
        msg = (
            "`density` must be in 0 < density <= 1, for W_aa of zeros alone has no spectral radius to scale; got "
            f"{got(density)}."
        )
        raise ArgumentError(msg)
    return max(1, round(part * size))


def _each(name: str, value: Any, axis: str, size: int) -> float | Host:
    """Return an option that is one number, or one for each unit or feature."""
    host = as_host(name, value)
    if not isinstance(host, np.ndarray):
        msg = f"`{name}` must be a number or an array of NumPy; got {got(value)}."
        raise DTypeError(msg)
    if host.ndim:
        require_sizes(name, host.shape, f"({axis},)", (size,))
    if not (np.isfinite(host) & (host >= 0)).all():
        msg = f"`{name}` must be finite and at least 0; got {got(value)}."
        raise ArgumentError(msg)
    return host.astype(np.float64) if host.ndim else float(host)
