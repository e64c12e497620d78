"""Numbers that are given as options, as Python's own."""

from math import inf

from rnn_backends.core.arrays import is_masked
from rnn_backends.core.messages import got
from rnn_backends.errors import ArgumentError


def finite_float(name: str, value: object) -> float:
    """Return a number as a Python float, which no array library promotes."""
    try:
        # NumPy makes a number of an array of one item, or of what is masked, and warns.
        is_one = not getattr(value, "ndim", 0) and not is_masked(value)
        number = float(value) if is_one else float("nan")  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if isinstance(value, (bool, str)) or not abs(number) < float("inf"):
        msg = f"`{name}` must be a finite number; got {got(value)}."
        raise ArgumentError(msg)
    return number


def positive_number(name: str, value: object, highest: float = inf) -> float:
    """Return an option as a number of Python's: a scalar of NumPy would promote the arrays."""
    number = finite_float(name, value)
    if not 0 < number <= highest:
        bound = "positive" if highest == inf else f"in 0 < {name} <= {highest:g}"
        msg = f"`{name}` must be {bound}; got {number}."
        raise ArgumentError(msg)
    return number
