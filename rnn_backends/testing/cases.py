"""Small networks and inputs, one for each feature that a backend must have."""

from typing import Any, NamedTuple

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer
from rnn_backends.core.rate import RateCell
from rnn_backends.core.sparse import Sparse

ACTIVATIONS = (
    Activation("identity"), Activation("tanh"), Activation("sigmoid"), Activation("relu"),
    Activation("affine", 0.5, 0.25), Activation("leaky_relu", 0.125), Activation("thresholded_relu", 0.25),
    Activation("clipped_relu", 0.375), Activation("scaled_tanh", 0.75, 1.25), Activation("hard_sigmoid"),
    Activation("elu", 0.75), Activation("softsign"), Activation("softplus"),
)  # fmt: skip


class Case(NamedTuple):
    """A network of NumPy arrays, and the arguments of a call.

    Parameters
    ----------
    layers : list of Layer
    x : numpy.ndarray, shape (seq_len, batch, input_size), or token ids, shape (seq_len, batch)
    h_0 : numpy.ndarray, shape (num_cells, batch, hidden_size), optional
        Of cells of several sizes a list of one array (batch, hidden_size) for each.
    lengths : list of int, optional
    mask : boolean numpy.ndarray, shape (seq_len, batch), optional

    Examples
    --------
    >>> from rnn_backends.testing import cases
    >>> case = cases("float32")["lengths"]
    >>> case.x.shape, case.lengths
    ((7, 3, 4), [7, 0, 3])
    """

    layers: list[Layer]
    x: Host
    h_0: Any = None
    lengths: list[int] | None = None
    mask: Host | None = None


class Draw:
    """Draws networks and inputs, exact in a dtype; W_hh is never symmetric."""

    def __init__(self, dtype: str, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.dtype = dtype

    def normal(self, *shape: int, scale: float = 1.0) -> Host:
        """Return normal numbers, rounded to the dtype (bfloat16 in a float32 array)."""
        return self.rounded(self.random.normal(size=shape) * scale)

    def rounded(self, drawn: Host) -> Host:
        """Return numbers that are exact in the dtype."""
        if self.dtype != "bfloat16":
            return drawn.astype(self.dtype)
        return (drawn.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)

    def cell(
        self, input_size: int, hidden_size: int, bias: bool = True, density: float | None = None, **options: Any
    ) -> Cell:
        """Return a cell that forgets: with the rows of abs(W_hh) summing to about 0.8, no error grows with time.

        Of a cell with a `density` W_hh is sparse, and about that part of it is stored.
        """
        w_ih = self.normal(hidden_size, input_size, scale=input_size**-0.5)
        w_hh: Any = self.normal(hidden_size, hidden_size, scale=hidden_size**-0.5)
        w_hh = self.rounded(w_hh * (0.8 / abs(w_hh.astype(np.float64)).sum(axis=1, keepdims=True)))
        if density is not None:
            w_hh = self.sparse(w_hh, density)
        return Cell(w_ih, w_hh, self.normal(hidden_size, scale=0.5) if bias else None, **options)

    def sparse(self, matrix: Host, density: float) -> Sparse:
        """Return a matrix of which about a part is stored: of one row all, of another nothing, and a few zeros."""
        stored: Any = self.random.random(matrix.shape) < density
        stored[self.random.integers(len(matrix))] = True
        if len(matrix) > 1:
            stored[self.random.integers(len(matrix))] = False
        rows, columns = np.nonzero(stored)
        values = np.where(self.random.random(len(rows)) < 0.1, 0, matrix[rows, columns]).astype(matrix.dtype)
        starts = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
        return Sparse.from_csr(values, columns, starts, (len(matrix), len(matrix)))

    def rate_cell(self, input_size: int, hidden_size: int, **options: Any) -> RateCell:
        """Return a cell of rates with the weights of `cell`."""
        leak = options.pop("leak")
        drawn = self.cell(input_size, hidden_size, **options)
        return RateCell(drawn.weight_ih, drawn.weight_hh, drawn.bias, drawn.activation, leak=leak)

    def layers(
        self, sides: str, count: int, input_size: int, hidden_size: int, *, rates: bool = False, **options: Any
    ) -> list[Layer]:
        """Return layers that run "f"orward, "b"ackward or both."""
        widths, cell = [input_size, *[len(sides) * hidden_size] * (count - 1)], self.rate_cell if rates else self.cell
        return [
            Layer(*(cell(width, hidden_size, **options) if side in sides else None for side in "fb"))
            for width in widths
        ]

    def states(self, batch: int, *sizes: int) -> list[Host]:
        """Return initial states of cells of several sizes."""
        return [self.normal(batch, size, scale=0.5) for size in sizes]

    def uneven_layers(self, input_size: int, *sizes: tuple[int, ...]) -> list[Layer]:
        """Return layers of the given hidden sizes, of two a layer that runs in both directions."""
        found = []
        for held in sizes:
            found.append(Layer(*(self.cell(input_size, size) for size in held)))
            input_size = sum(held)
        return found

    def case(
        self,
        *,
        shape: tuple[int, int, int, int] = (7, 3, 4, 5),
        sides: str = "f",
        layers: int = 1,
        h_0: bool = False,
        lengths: list[int] | None = None,
        masked: bool = False,
        tokens: bool = False,
        **options: Any,
    ) -> Case:
        """Return a case of (seq_len, batch, input_size, hidden_size)."""
        seq_len, batch, input_size, hidden_size = shape
        x = self.normal(seq_len, batch, input_size)
        if tokens:
            x = self.random.integers(0, input_size, (seq_len, batch))
        state = self.normal(layers * len(sides), batch, hidden_size, scale=0.5) if h_0 else None
        mask = self.random.random((seq_len, batch)) < 0.6 if masked else None
        return Case(self.layers(sides, layers, input_size, hidden_size, **options), x, state, lengths, mask)


def cases(dtype: str, seed: int = 0) -> dict[str, Case]:
    """Return a case for each feature of a backend, by the feature's name.

    Parameters
    ----------
    dtype : {"float64", "float32", "float16", "bfloat16"}
        All numbers are exact in it; those of bfloat16 are in float32 arrays.
    seed : int, default 0

    Returns
    -------
    dict of str to Case

    Examples
    --------
    >>> from rnn_backends.testing import cases
    >>> sorted(cases("float32"))[:3]
    ['B = 0', 'B = 1', 'B = 1, long']
    """
    draw, ragged = Draw(dtype, seed), [7, 0, 3]
    made = {f"activation {act.name}": draw.case(layers=2, h_0=True, activation=act) for act in ACTIVATIONS}
    leak = draw.rounded(draw.random.uniform(0.25, 1.0, 5))
    made |= {
        "three layers": draw.case(layers=3),
        "no bias": draw.case(bias=False),
        "reverse": draw.case(sides="b", layers=2, h_0=True),
        "bidirectional": draw.case(sides="fb", layers=2, h_0=True),
        "lengths": draw.case(layers=2, lengths=ragged),
        "lengths, reverse": draw.case(sides="b", h_0=True, lengths=ragged),
        "lengths, bidirectional": draw.case(sides="fb", layers=3, h_0=True, lengths=ragged),
        "mask": draw.case(layers=2, masked=True),
        "mask, reverse": draw.case(sides="b", h_0=True, masked=True),
        "mask, ragged, bidirectional": draw.case(sides="fb", layers=2, h_0=True, lengths=ragged, masked=True),
        "mask, tokens, clip and leak": draw.case(tokens=True, clip=0.5, leak=0.75, h_0=True, masked=True),
        "initial state": draw.case(h_0=True),
        "clip": draw.case(clip=0.375, h_0=True),
        "leak": draw.case(leak=0.25, h_0=True),
        "leak by unit": draw.case(leak=leak, sides="fb", h_0=True),
        "clip and leak by unit, ragged": draw.case(clip=0.5, leak=leak, h_0=True, lengths=ragged),
        "uneven layers": Case(draw.uneven_layers(4, (5,), (3,), (6,)), draw.normal(7, 3, 4), None, ragged),
        "uneven directions": Case(
            draw.uneven_layers(4, (5, 3), (2, 6)), draw.normal(7, 3, 4), draw.states(3, 5, 3, 2, 6), ragged
        ),
        "mask, uneven": Case(
            draw.uneven_layers(4, (5, 3), (2, 6)), draw.normal(7, 3, 4), mask=draw.random.random((7, 3)) < 0.6
        ),
        "clip and leak, ragged": draw.case(clip=0.5, leak=0.75, sides="fb", h_0=True, lengths=ragged),
        "tokens": draw.case(tokens=True),
        "tokens, ragged, bidirectional": draw.case(tokens=True, sides="fb", layers=2, lengths=ragged),
        "T = 0": draw.case(shape=(0, 3, 4, 5), sides="fb", layers=2, h_0=True),
        "B = 0": draw.case(shape=(7, 0, 4, 5), sides="fb", layers=2),
        "B = 1": draw.case(shape=(7, 1, 4, 5), layers=2),
        "B = 1, long": draw.case(shape=(70, 1, 4, 5), sides="fb", h_0=True),
        "B = 1, long, no bias": draw.case(shape=(70, 1, 4, 5), bias=False),
        "B = 1, long, tokens, clip and leak": draw.case(shape=(70, 1, 4, 5), tokens=True, clip=0.5, leak=0.75),
        "hidden size 1": draw.case(shape=(7, 3, 4, 1), sides="fb", layers=2, h_0=True),
        "I = H": draw.case(shape=(7, 3, 5, 5), h_0=True),
        "wide": draw.case(shape=(9, 4, 65, 96), layers=2, h_0=True),
        "long": draw.case(shape=(200, 2, 3, 16), h_0=True),
        "sparse": draw.case(shape=(7, 3, 4, 9), layers=2, h_0=True, density=0.3),
        "sparse, ragged, bidirectional": draw.case(
            shape=(7, 3, 4, 9), sides="fb", layers=2, h_0=True, lengths=ragged, density=0.3
        ),
        "sparse, mask, tokens, clip and leak": draw.case(
            shape=(7, 3, 4, 9), tokens=True, clip=0.5, leak=0.75, h_0=True, masked=True, density=0.3
        ),
        "sparse, wide, B = 1": draw.case(shape=(70, 1, 3, 200), h_0=True, density=0.05),
    }
    made |= {
        "rates": draw.case(rates=True, layers=2, h_0=True, leak=0.25),
        "rates, relu, no bias": draw.case(rates=True, h_0=True, leak=0.5, activation="relu", bias=False),
        "rates, leak by unit, ragged, bidirectional": draw.case(
            rates=True, sides="fb", layers=2, h_0=True, leak=leak, lengths=ragged, activation="softplus"
        ),
        "rates, tokens, mask, reverse": draw.case(
            rates=True, sides="b", h_0=True, leak=0.75, tokens=True, masked=True, activation="sigmoid"
        ),
        "rates, mask, ragged, bidirectional": draw.case(
            rates=True, sides="fb", h_0=True, leak=0.25, lengths=ragged, masked=True
        ),
        "rates, T = 0": draw.case(shape=(0, 3, 4, 5), rates=True, sides="fb", layers=2, leak=0.5),
        "rates, B = 0": draw.case(shape=(7, 0, 4, 5), rates=True, layers=2, leak=0.5),
        "rates, B = 1, long": draw.case(shape=(70, 1, 4, 5), rates=True, leak=0.25, h_0=True),
    }
    return made
