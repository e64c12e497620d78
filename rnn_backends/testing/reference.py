"""The float64 reference: the equations step by step, with a bound on the error of rounding.

The bound is a running error analysis (N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd
ed., sections 3.1 and 3.3).  A sum of n products, in whatever order, is off by at most gamma_n = n u / (1 -
n u) times the sum of the products' magnitudes, u being the unit roundoff of the dtype that it is summed in,
which is float32 for float16 and bfloat16; the error that the state brings along is added through abs(W_hh);
an activation stretches an error by at most its Lipschitz constant and adds a few roundoffs of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnn_backends.core.activations import Activation
from rnn_backends.core.affine import AffineCell
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer, RecurrentCell, as_layers
from rnn_backends.core.messages import got
from rnn_backends.core.rate import RateCell
from rnn_backends.core.sparse import Sparse
from rnn_backends.testing.entries import Entries

Float64: TypeAlias = NDArray[np.float64]

ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
ACTIVATION_ROUNDOFFS = 4


class Bounded(NamedTuple):
    """Values, and a bound on the distance of a right result from each.

    Parameters
    ----------
    value, error : numpy.ndarray of float64, of one shape

    Examples
    --------
    >>> import numpy as np
    >>> from rnn_backends.testing import Bounded, excess
    >>> wanted = Bounded(np.array([1.0, 2.0]), np.array([0.5, 0.5]))
    >>> excess([1.25, 2.0], wanted)
    0.5
    """

    value: Float64
    error: Float64


class Weights(NamedTuple):
    """W_ih^T, W_hh^T and the bias of a cell in float64, their magnitudes, and the terms of the sums of W_hh."""

    value: tuple[Float64, Any, Float64]
    magnitude: tuple[Float64, Any, Float64]
    terms: int

    @classmethod
    def of(cls, cell: AffineCell) -> "Weights":
        """Return those of a cell."""
        w_ih, w_hh = np.asarray(cell.weight_ih, np.float64).T, cell.weight_hh
        w_hh = Entries.of(w_hh) if isinstance(w_hh, Sparse) else np.asarray(w_hh, np.float64).T
        bias = np.zeros(cell.hidden_size) if cell.bias is None else np.asarray(cell.bias, np.float64)
        terms = w_hh.terms if isinstance(w_hh, Entries) else cell.hidden_size
        return cls((w_ih, w_hh, bias), (abs(w_ih), abs(w_hh), abs(bias)), terms)


class Precision(NamedTuple):
    """The unit roundoffs of the dtype of sums and of the dtype of results."""

    summed: float
    stored: float

    @classmethod
    def of(cls, dtype: str) -> "Precision":
        """Return those of a dtype; that of the reference itself comes on top."""
        summed = max(ROUNDOFF["float64"], min(ROUNDOFF[dtype], ROUNDOFF["float32"]))
        return cls(summed + ROUNDOFF["float64"], ROUNDOFF[dtype] + ROUNDOFF["float64"])


# name: the function of z, alpha and beta, and its Lipschitz constant
FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., float]]] = {
    "identity": (lambda z, _, __: z, lambda *_: 1.0),
    "tanh": (lambda z, _, __: np.tanh(z), lambda *_: 1.0),
    "sigmoid": (lambda z, _, __: 0.5 + 0.5 * np.tanh(0.5 * z), lambda *_: 0.25),
    "relu": (lambda z, _, __: np.maximum(z, 0.0), lambda *_: 1.0),
    "affine": (lambda z, alpha, beta: alpha * z + beta, lambda alpha, _: abs(alpha)),
    "leaky_relu": (lambda z, alpha, _: np.where(z < 0, alpha * z, z), lambda alpha, _: max(1.0, abs(alpha))),
    "thresholded_relu": (lambda z, alpha, _: z * (z > alpha), lambda *_: 1.0),
    "clipped_relu": (lambda z, alpha, _: np.clip(z, 0.0, alpha), lambda *_: 1.0),
    "scaled_tanh": (lambda z, alpha, beta: alpha * np.tanh(beta * z), lambda alpha, beta: abs(alpha * beta)),
    "hard_sigmoid": (lambda z, alpha, beta: np.clip(alpha * z + beta, 0.0, 1.0), lambda alpha, _: abs(alpha)),
    "elu": (
        lambda z, alpha, _: np.where(z < 0, alpha * np.expm1(np.minimum(z, 0.0)), z),
        lambda alpha, _: max(1.0, abs(alpha)),
    ),
    "softsign": (lambda z, _, __: z / (1.0 + np.abs(z)), lambda *_: 1.0),
    "softplus": (lambda z, _, __: np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z))), lambda *_: 1.0),
}  # fmt: skip


def reference(
    layers: Sequence[Layer | RecurrentCell],
    x: Any,
    h_0: Any = None,
    lengths: Any = None,
    mask: Any = None,
    dtype: str = "float64",
) -> tuple[Bounded, Any]:
    """Run a network of cells in float64, and bound the error of a run in a dtype.

    Parameters
    ----------
    layers : sequence of Cell, RateCell or Layer
        Of NumPy arrays, with activations of the table.
    x : numpy.ndarray or Bounded, shape (seq_len, batch, input_size), or integers (seq_len, batch)
    h_0 : numpy.ndarray, shape (num_cells, batch, hidden_size), or one array (batch, hidden_size) a cell, optional
    lengths : sequence of int, optional
    mask : boolean numpy.ndarray, shape (seq_len, batch), optional
    dtype : {"float64", "float32", "float16", "bfloat16"}, default "float64"
        The dtype of the run to be judged; the arguments must be exact in it.

    Returns
    -------
    output, h_n : Bounded
        As `rnn_backends.forward` returns them; of cells of several sizes, h_n is a tuple.

    Raises
    ------
    TypeError
        A cell is of another class, or its activation is a function of one's own.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> from rnn_backends.testing import cases, excess, reference
    >>> case = cases("float32")["bidirectional"]
    >>> output, h_n = reference(*case, dtype="float32")
    >>> excess(rb.RNN(case.layers)(case.x, case.h_0)[0], output) <= 1.0
    True
    """
    inputs = x if isinstance(x, Bounded) else Bounded(np.asarray(x), np.zeros(x.shape))
    precision, (seq_len, batch) = Precision.of(dtype), inputs.value.shape[:2]
    lengths = [seq_len] * batch if lengths is None else lengths
    final: list[Bounded] = []
    for layer in as_layers(layers):
        outputs = []
        for cell, reverse in layer.cells:
            if not isinstance(cell, (Cell, RateCell)):
                msg = f"the reference knows the equations of Cell and RateCell only; got {type(cell).__name__}."
                raise TypeError(msg)
            given = Bounded(*np.zeros((2, seq_len, batch, cell.hidden_size)))
            last = Bounded(*np.zeros((2, batch, cell.hidden_size)))
            if h_0 is not None:
                last.value[:] = h_0[len(final)]
            weights = Weights.of(cell)
            for t in reversed(range(seq_len)) if reverse else range(seq_len):
                valid = np.arange(batch)[np.asarray(lengths) > t]
                taken = valid if mask is None else valid[mask[t, valid]]
                x_t = Bounded(inputs.value[t, taken], inputs.error[t, taken])
                h = Bounded(last.value[taken], last.error[taken])
                last.value[taken], last.error[taken] = one_step(cell, weights, x_t, h, precision)
                given.value[t, valid], given.error[t, valid] = output_of(cell, last, valid, precision)
            outputs.append(given)
            final.append(last)
        inputs = Bounded(*(np.concatenate(parts, axis=-1) for parts in zip(*outputs, strict=True)))
    if len({last.value.shape for last in final}) > 1:
        return inputs, tuple(final)
    return inputs, Bounded(*(np.stack(parts) for parts in zip(*final, strict=True)))


def output_of(cell: Cell | RateCell, last: Bounded, valid: Any, precision: Precision) -> Bounded:
    """Return what a cell gives of the states of some sequences: themselves, or rates of them."""
    state = Bounded(last.value[valid], last.error[valid])
    return state if isinstance(cell, Cell) else rates_of(cell, state, precision)


def rates_of(cell: RateCell, state: Bounded, precision: Precision) -> Bounded:
    """Return the rates of states, rounded to the dtype of results."""
    value, error = activated(cell.activation, state, precision)
    return Bounded(value, error + precision.stored * abs(value))


def one_step(cell: Cell | RateCell, weights: Weights, x: Bounded, h: Bounded, precision: Precision) -> Bounded:
    """Take one step of time for some sequences, the equation with its error."""
    before, size = h, x.value.shape[-1]
    if isinstance(cell, RateCell):
        h = activated(cell.activation, h, precision)
    (w_ih, w_hh, bias), (abs_ih, abs_hh, abs_bias), terms = weights
    if x.value.dtype.kind in "iu":  # a token id picks a row of W_ih^T
        products, abs_products, input_error, size = w_ih[x.value], abs_ih[x.value], np.zeros(h.value.shape), 1
    else:
        products, abs_products, input_error = x.value @ w_ih, (abs(x.value) + x.error) @ abs_ih, x.error @ abs_ih
    z = h.value @ w_hh + products + bias
    magnitude = (abs(h.value) + h.error) @ abs_hh + abs_products + abs_bias
    gamma = (size + terms + 3) * precision.summed
    error = h.error @ abs_hh + input_error + gamma / (1.0 - gamma) * magnitude
    a = Bounded(z, error)
    if isinstance(cell, Cell):
        z = z if cell.clip is None else np.clip(z, -cell.clip, cell.clip)
        a = activated(cell.activation, Bounded(z, error), precision)
    if cell.leak is not None:
        leak = np.asarray(cell.leak, np.float64)
        value = (1.0 - leak) * before.value + leak * a.value
        error = (1.0 - leak) * before.error + leak * a.error
        a = Bounded(value, error + 4 * precision.summed * (abs(before.value) + abs(a.value)))
    return Bounded(a.value, a.error + precision.stored * abs(a.value))


def activated(activation: Any, z: Bounded, precision: Precision) -> Bounded:
    """Apply an activation of the table to values and their errors."""
    if not isinstance(activation, Activation):
        msg = f"the reference knows the activations of the table only; got {got(activation)}."
        raise TypeError(msg)
    function, lipschitz = FUNCTIONS[activation.name]
    value, stretch = (
        function(z.value, activation.alpha, activation.beta),
        lipschitz(activation.alpha, activation.beta),
    )
    own = ACTIVATION_ROUNDOFFS * precision.summed * (np.maximum(abs(value), 1.0) + stretch * abs(z.value))
    error = stretch * z.error + own
    if activation.name == "thresholded_relu":  # it jumps, where the error may carry z over the threshold
        error = np.where(abs(z.value - (activation.alpha or 0.0)) <= z.error, abs(z.value) + error, error)
    return Bounded(value, error)


def excess(actual: Any, wanted: Bounded) -> float:
    """Return the largest error of an array in units of the bound: at most 1 if the array is right.

    Parameters
    ----------
    actual : array_like
        On the host.
    wanted : Bounded

    Returns
    -------
    float
        Infinite if shapes differ or NaN is where it should not be.

    Examples
    --------
    >>> import numpy as np
    >>> from rnn_backends.testing import Bounded, excess
    >>> excess([np.nan], Bounded(np.array([1.0]), np.array([0.5])))
    inf
    """
    actual = np.asarray(actual, np.float64)
    if actual.shape != wanted.value.shape or (np.isnan(actual) != np.isnan(wanted.value)).any():
        return float("inf")
    wrong = np.abs(actual - wanted.value)
    wrong = np.where((actual == wanted.value) | np.isnan(wanted.value), 0.0, wrong)
    ratio = np.divide(wrong, wanted.error, out=np.where(wrong > 0, np.inf, 0.0), where=wanted.error > 0)
    return float(ratio.max(initial=0.0))
