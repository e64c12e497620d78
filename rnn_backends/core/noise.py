"""`Noise`: Gaussian numbers that are added to what a cell sums, and the cell that adds them.

They are drawn elsewhere (`rnn_backends.model.draws`): here is what is said of them, and where they are added.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rnn_backends.core.affine import AffineCell
from rnn_backends.core.arrays import Array, ArrayArgument, array_namespace, is_array
from rnn_backends.core.layers import Layer, RecurrentCell, outputs_of, sizes
from rnn_backends.core.messages import got, shown
from rnn_backends.core.numbers import finite_float
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError

LARGEST = 2**256 - 1
"""The largest seed."""

Deviations: TypeAlias = float | tuple[float, ...]
"""A standard deviation of all units, or one of each."""


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of a model: numbers that are added to the argument of every sum, in every cell and at every step.

    With n<t> ~ N(0, std^2), independent in time and from unit to unit, `Cell` gives
    (1 - leak) a<t-1> + leak g1(W_aa a<t-1> + W_ax x<t> + b_a + n<t>), where the clip is of the whole argument, and
    `RateCell` (1 - leak) x<t-1> + leak (W_aa g1(x<t-1>) + W_ax u<t> + b_a + n<t>).

    Parameters
    ----------
    std : float or numpy.ndarray or sequence of float, shape (hidden_size,)
        The standard deviation, at least 0: one for all units, or one for each unit of every cell.
    seed : int, default 0
        Another seed is another run of the noise: a model with one always draws the same numbers.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError
        A standard deviation is negative or no finite number, or the seed is no integer from 0 to 2**256 - 1.

    Notes
    -----
    The numbers of cell k (counted as in `h_0`: layer by layer, forward before backward) for sequence b of a batch at
    step t are those of NumPy's Philox generator, whose counter has a range of its own for each of them:

    ``Generator(Philox(SeedSequence(seed, spawn_key=(k,))).jumped(b * 2**64 + t)).standard_normal(hidden_size) * std``

    So sequence b has the same numbers at its step t on every backend, in whatever chunks the steps come, with whatever
    padding, lengths, mask and other sequences.  The numbers of a step that a mask leaves out are not
    used.  They are drawn on the host in float64, rounded to the dtype that the model computes in, and moved to its
    device.  The bits of a generator stay the same in all versions of NumPy; how normal numbers are made of them may
    change.

    Each number takes some 40 ns of one processor, most of them for drawing it.  So on NumPy a run of 32 sequences takes
    12 times what it takes without noise at 100 units, and 4 times at 500, as ``python tests/benchmarks/noise.py``
    measured.

    Stochastic differential equations tau dx = (-x + ...) dt + sqrt(2 tau) sigma dW, in steps of dt by the method of
    Euler and Maruyama, add sqrt(2 leak) sigma N(0, 1) to x: that is ``std = sqrt(2 / leak) * sigma``.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> cell = rb.RateCell(np.zeros((2, 1)), np.zeros((2, 2)), leak=0.5)
    >>> rnn = rb.RNN([cell], noise=rb.Noise(0.1, seed=3))
    >>> rnn.noise
    Noise(std=0.1, seed=3)
    >>> a, b = rnn(np.zeros((4, 1, 1)))[0], rnn(np.zeros((4, 1, 1)))[0]
    >>> bool(a.any()), bool((a == b).all())
    (True, True)
    """

    std: Deviations
    seed: int = 0

    if TYPE_CHECKING:  # what is given is checked, what is held is computed with

        def __init__(self, std: float | ArrayArgument | Sequence[float], seed: int = 0) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "std", _deviations(self.std))
        seed = self.seed
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed <= LARGEST:
            msg = f"`seed` of a Noise must be an integer from 0 to 2**256 - 1; got {got(seed)}."
            raise ArgumentError(msg)
        object.__setattr__(self, "seed", int(seed))

    def __repr__(self) -> str:
        std = f"of {len(self.std)} units" if isinstance(self.std, tuple) else self.std
        return f"Noise(std={std}, seed={self.seed})"


def _deviations(value: Any) -> Deviations:
    """Return standard deviations as numbers of Python's, which are on no device."""
    if is_array(value) and not isinstance(value, (np.ndarray, np.generic)):
        msg = f"`std` of a Noise must be on the host, where it is drawn; got {got(value)}. Convert it by to_numpy."
        raise DTypeError(msg)
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        if isinstance(value, np.ndarray) and value.ndim != 1:
            msg = f"`std` of a Noise must be a number, or have shape (hidden_size,); got {shown(value.shape)}."
            raise ShapeError(msg)
        return tuple(_deviation(each) for each in value)
    return _deviation(value)


def _deviation(value: object) -> float:
    number = finite_float("std` of a `Noise", value)
    if number < 0:
        msg = f"`std` of a Noise must be at least 0; got {number}."
        raise ArgumentError(msg)
    return number


def require_noise(noise: object, layers: Sequence[Layer]) -> None:
    """Check that a noise is one, and that all cells are such as it is defined for, and of its size."""
    if not isinstance(noise, Noise):
        msg = f"`noise` must be a Noise, such as Noise(0.1, seed=1); got {got(noise)}."
        raise ArgumentError(msg)
    for index, layer in enumerate(layers):
        for cell, reverse in layer.cells:
            name = f"layers[{index}].{'backward' if reverse else 'forward'}"
            if not isinstance(cell, AffineCell):
                msg = f"`noise` is added to the sums of Cell and RateCell; {name} is another, {sizes(cell)}."
                raise ArgumentError(msg)
            if isinstance(noise.std, tuple) and len(noise.std) != cell.hidden_size:
                msg = (
                    f"`std` of the noise must be a number, or have one for each of {cell.hidden_size} units of {name}; "
                    f"got {len(noise.std)}."
                )
                raise ShapeError(msg)


@dataclass(frozen=True, eq=False, repr=False)
class NoisyCell:
    """A cell with the numbers that are added to its sums in one walk; no kernel knows it: `scan` walks it, or NumPy.

    Parameters
    ----------
    cell : Cell or RateCell
    numbers : array, shape (seq_len, batch, hidden_size)
    """

    cell: RecurrentCell
    numbers: Array

    @property
    def hidden_size(self) -> int:
        """The width of the state."""
        return int(self.numbers.shape[-1])

    def project(self, x: Array) -> Array:
        """Return W_ax x<t> + b_a + n<t> for the rows of all steps and sequences."""
        seq_len, batch, size = self.numbers.shape
        xp = array_namespace(self.numbers)
        return self.cell.project(x) + xp.reshape(self.numbers, (seq_len * batch, size))

    def step(self, projected: Array, h: Array) -> Array:
        """Take one step of time, as the cell does."""
        return self.cell.step(projected, h)

    def output(self, states: Array) -> Array:
        """Return what the cell gives of its states."""
        return outputs_of(self.cell, states)


def with_noise(layers: tuple[Layer, ...], noise: Sequence[Array] | None) -> tuple[Layer, ...]:
    """Return layers whose cells add numbers, one array (seq_len, batch, hidden_size) for each cell; None adds none."""
    if noise is None:
        return layers
    numbers = iter(noise)
    return tuple(_noisy(layer, list(islice(numbers, len(layer.cells)))) for layer in layers)


def _noisy(layer: Layer, numbers: Sequence[Array]) -> Layer:
    cells = zip(layer.cells, numbers, strict=True)
    return Layer(**{"backward" if reverse else "forward": NoisyCell(cell, part) for (cell, reverse), part in cells})
