"""The cross-entropy of logits against the ids of the right classes, and its gradient."""

from collections.abc import Sequence
from math import nan, prod

import numpy as np

from rnn_backends.core import checks
from rnn_backends.core.activations import Activation, softmax
from rnn_backends.core.arrays import (
    FLOATING,
    Array,
    ArrayArgument,
    array_namespace,
    as_indices,
    cast,
    device,
    dtype_name,
    is_integer,
    native,
    quiet,
    widen,
)
from rnn_backends.core.linear import Linear
from rnn_backends.core.messages import got, shown
from rnn_backends.core.parameters import require_dense
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError


def require_softmax(readout: Sequence[Linear]) -> None:
    """Check that the cross-entropy is the loss of a readout."""
    g2 = readout[-1].activation
    if getattr(g2, "name", None) not in {"softmax", "log_softmax"}:
        own = shown(g2.name) if isinstance(g2, Activation) else got(g2)
        msg = (
            f"loss is the cross-entropy of a softmax readout; g2 of this one is {own}. If it "
            "was trained as a softmax, load it with readout_activation='softmax', or give its Linear that activation."
        )
        raise ArgumentError(msg)


def cross_entropy(logits: ArrayArgument, targets: ArrayArgument) -> Array:
    """Return the mean of -log softmax(logits)[target], in nats, from logits and without overflow.

    Parameters
    ----------
    logits : array, shape (..., classes)
        The inputs of the softmax.
    targets : integer array, shape (...)
        The ids of the right classes.  On NumPy an id out of range is an error; on other libraries,
        which are not read, it makes the result NaN.

    Returns
    -------
    array, shape ()
        In the dtype of the logits; summed in float32 where that is float16 or bfloat16.

    Raises
    ------
    ShapeError, DTypeError
        Logits are not floating point, targets are not integers of their leading shape.
    ArgumentError
        A target in a NumPy array is out of range.
    BackendMismatchError, DeviceError
        The arrays belong to two libraries or devices.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> float(rb.cross_entropy(np.zeros((3, 2)), np.array([0, 1, 1])).round(4))
    0.6931
    """
    logits, targets = checked(logits, targets)
    with quiet():
        return cast(mean_of([sums_where(negative_log_likelihood(logits, targets), None)]), logits.dtype)


def cross_entropy_grad(logits: ArrayArgument, targets: ArrayArgument) -> Array:
    """Return the gradient of `cross_entropy` by the logits: (softmax - one-hot) / number of targets.

    Parameters
    ----------
    logits : array, shape (..., classes)
        The inputs of the softmax.
    targets : integer array, shape (...)
        The ids of the right classes, as of `cross_entropy`.

    Returns
    -------
    array, shape (..., classes)
        In the dtype of the logits.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError, BackendMismatchError, DeviceError
        As of `cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> rb.cross_entropy_grad(np.zeros((1, 2)), np.array([0]))
    array([[-0.5,  0.5]])
    """
    logits, targets = checked(logits, targets)
    with quiet():
        p = softmax(widen(logits))
        xp = array_namespace(p)
        gradient = xp.where(one_hot(targets, p), p - 1.0, p) / max(prod(targets.shape), 1)
        known = in_range(targets, logits.shape[-1])[..., None]
        return cast(xp.where(known, gradient, xp.full_like(gradient, nan)), logits.dtype)


def negative_log_likelihood(logits: Array, targets: Array, best: Array | None = None) -> Array:
    """Return -log softmax(logits)[target] for each target, (..., classes), (...) -> (...).

    `best` are the ids of the largest logits, where they are known, which spares NumPy a search.
    """
    z = widen(logits)
    xp, is_class = array_namespace(z), in_range(targets, z.shape[-1])
    if type(z) is np.ndarray and z.flags.c_contiguous:  # ids take a third of the time of a maximum over a short axis
        largest = _logits_of(index_of_largest(z) if best is None else best, z)
    else:
        largest = xp.max(z, axis=-1)
    total = xp.log(xp.sum(xp.exp(z - largest[..., None]), axis=-1))
    wanted = _logits_of(xp.where(is_class, targets, xp.zeros_like(targets)), z)
    nll = total - (wanted - largest)
    return xp.where(is_class, nll, xp.full_like(nll, nan))


def index_of_largest(logits: Array) -> Array:
    """Return the ids of the largest logits, the first of those that are equal; that of a NaN where there is one."""
    if type(logits) is np.ndarray:
        return logits.argmax(axis=-1)  # the function of NumPy takes five times as long for a few
    return array_namespace(logits).argmax(logits, axis=-1)


def _logits_of(ids: Array, z: Array) -> Array:
    """Return the logit of each id, (...), (..., classes) -> (...)."""
    xp = array_namespace(z)
    if prod(z.shape) >= 2**31:  # places of 32 bits, as JAX has them by default, would not reach all
        return xp.sum(xp.where(one_hot(ids, z), z, xp.zeros_like(z)), axis=-1)
    # Of a large vocabulary, a row for the one that is wanted would take most of the time.
    before = xp.arange(prod(ids.shape), device=device(z)) * z.shape[-1]
    places = before + xp.astype(xp.reshape(ids, (-1,)), before.dtype)
    return xp.reshape(xp.take(xp.reshape(z, (-1,)), places, axis=0), ids.shape)


def sums_where(values: Array, valid: Array | None) -> tuple[Array, Array]:
    """Return the sum of the valid values, and how many these are."""
    xp = array_namespace(values)
    if valid is None:
        valid = xp.ones_like(values) > 0.0
    counted = xp.where(valid, xp.ones_like(values), xp.zeros_like(values))
    return xp.sum(xp.where(valid, values, xp.zeros_like(values))), xp.sum(counted)


def mean_of(sums: Sequence[tuple[Array, Array]]) -> Array:
    """Return the mean from the `sums_where` of all parts; NaN where no value is valid."""
    xp = array_namespace(sums[0][0])
    total, count = sums[0]
    if len(sums) > 1:  # summed as an array is: one after the other, the roundings would add up
        total, count = (xp.sum(xp.stack(parts)) for parts in zip(*sums, strict=True))
    return total / xp.where(count > 0.0, count, xp.full_like(count, nan))


def one_hot(targets: Array, like: Array) -> Array:
    """Return booleans (..., classes), true at each target."""
    xp = array_namespace(like)
    classes = xp.arange(like.shape[-1], dtype=targets.dtype, device=device(like))
    return targets[..., None] == classes


def in_range(targets: Array, classes: int) -> Array:
    """Return for each target whether there is such a class."""
    return (targets >= 0) & (targets < classes)


def checked(logits: ArrayArgument, targets: ArrayArgument) -> tuple[Array, Array]:
    """Check that targets are arrays like the logits, fit them and are classes; return them to compute with."""
    checks.require_together([("logits", logits), ("targets", targets)])
    require_dense("logits", logits)
    require_dense("targets", targets)
    require_fitting(logits, targets)
    checks.require_range("targets", targets, logits.shape[-1], "target")
    return native(logits), as_indices(native(targets))


def require_fitting(logits: Array, targets: Array, reads: str = "steps") -> None:
    """Check the shapes and dtypes of logits and targets, one for each part of the output that is read."""
    if dtype_name(logits) not in FLOATING:
        msg = f"`logits` must be floating point; got {dtype_name(logits)}."
        raise DTypeError(msg)
    if len(logits.shape) == 0 or logits.shape[-1] == 0:
        msg = f"`logits` must have a last axis of at least one class; got shape {shown(tuple(logits.shape))}."
        raise ShapeError(msg)
    if not is_integer(targets):
        msg = f"`targets` must be integers; got {dtype_name(targets)}. Convert them to int64."
        raise DTypeError(msg)
    if tuple(targets.shape) != tuple(logits.shape[:-1]):
        what = "that of the logits without their last axis"
        if reads != "steps":
            what = f"one for each sequence, whose {shown(reads)} the readout reads"
        wanted = shown(tuple(logits.shape[:-1]))
        msg = f"`targets` must have shape {wanted}, {what}; got {shown(tuple(targets.shape))}."
        raise ShapeError(msg)
