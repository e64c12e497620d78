"""Ridge regression in closed form, from sums that are added up part by part, in operations of the array API standard.

    minimise  sum |y - W s - b|^2 + ridge |W|^2        (C_ss + ridge I) W^T = C_sy,   b = mean(y) - W mean(s)

C are sums of products of deviations from the means.  Those of two parts are joined by the formula of T. F. Chan,
G. H. Golub and R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979): no
large mean is subtracted from a large sum of squares, which would leave nothing of a small variance.
"""

from typing import NamedTuple

from rnn_backends.core.arrays import Array, array_namespace, device, where_valid


class Moments(NamedTuple):
    """The sums that a ridge regression needs of some states and targets."""

    count: Array
    """The number of steps, ()."""
    states: Array
    """The mean of the states, (width,)."""
    targets: Array
    """The mean of the targets, (output_size,)."""
    squares: Array
    """C_ss, (width, width)."""
    products: Array
    """C_sy, (width, output_size)."""

    @classmethod
    def of(cls, states: Array, targets: Array, valid: Array | None) -> "Moments":
        """Return those of states, (N, width), and targets, (N, output_size), where steps, (N,), are valid."""
        xp, place = array_namespace(states), device(states)
        if valid is None:
            count = xp.asarray(float(states.shape[0]), dtype=states.dtype, device=place)
        else:
            valid = valid[:, None]
            count = xp.sum(xp.astype(valid, states.dtype))
        least_one = _at_least_one(count)
        means = [xp.sum(where_valid(each, valid), axis=0) / least_one for each in (states, targets)]
        deviations = where_valid(states - means[0], valid)
        of_targets = where_valid(targets - means[1], valid)
        return cls(count, means[0], means[1], deviations.T @ deviations, deviations.T @ of_targets)

    def joined(self, other: "Moments") -> "Moments":
        """Return those of two parts together."""
        count = self.count + other.count
        states, targets = other.states - self.states, other.targets - self.targets
        part = other.count / _at_least_one(count)
        weighted = (self.count * part * states)[:, None]
        return Moments(
            count,
            self.states + part * states,
            self.targets + part * targets,
            self.squares + other.squares + weighted * states,
            self.products + other.products + weighted * targets,
        )


class Solution(NamedTuple):
    """The readout W s + b of the least error."""

    weight: Array
    """W, (output_size, width)."""
    bias: Array
    """b, (output_size,)."""
    eigenvalues: Array
    """Those of C_ss, (width,), the smallest first."""


def solved(moments: Moments, ridge: float) -> Solution:
    """Return the solution of a ridge regression.

    It is taken from the eigenvalues of C_ss, which cannot be negative but by rounding: one that is 0 with a ridge of 0
    makes the weights infinite, whatever the library does with singular matrices.
    """
    xp = array_namespace(moments.squares)
    values, vectors = xp.linalg.eigh(moments.squares)
    divisors = where_valid(values, values > 0) + ridge
    weights = vectors @ ((vectors.T @ moments.products) / divisors[:, None])
    return Solution(weights.T, moments.targets - moments.states @ weights, values)


def _at_least_one(count: Array) -> Array:
    """Return a number of steps, 1 for none, to divide by."""
    xp = array_namespace(count)
    return xp.where(count > 0, count, xp.ones_like(count))
