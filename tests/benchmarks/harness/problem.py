"""A problem to be timed: sizes and options, and the arrays that are drawn for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.reference import Bounded, excess, reference

Sizes = tuple[int, int, int, int]
"""Steps, sequences, features and states."""

GRID: tuple[Sizes, ...] = (
    (1000, 1, 64, 32),
    (1000, 1, 64, 100),
    (1000, 1, 128, 256),
    (50, 8, 16, 32),
    (128, 32, 128, 256),
    (64, 128, 256, 512),
    (64, 64, 512, 1024),
    (256, 1, 512, 1024),
)
STEP_GRID: tuple[Sizes, ...] = ((100, 1, 64, 32), (100, 1, 128, 128), (100, 1, 128, 256), (100, 8, 128, 128))

SOURCES = 8
COPIES = 3


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A network of one layer and its input, by their sizes.

    `tokens` makes token ids of the input, and a vocabulary of `input_size`.  `ragged` gives sequences of
    lengths from a quarter of `seq_len` up to all of it.  `step` runs the sequences in calls of one step.
    """

    seq_len: int
    batch: int
    input_size: int
    hidden_size: int
    dtype: str = "float32"
    tokens: bool = False
    bidirectional: bool = False
    ragged: bool = False
    step: bool = False
    leak: float | None = None

    def __str__(self) -> str:
        features = f"V={self.input_size}" if self.tokens else f"I={self.input_size}"
        sizes = f"T={self.seq_len} B={self.batch} {features} H={self.hidden_size} {self.dtype}"
        options = [name for name in ("bidirectional", "ragged", "step") if getattr(self, name)]
        leak = [] if self.leak is None else [f"leak={self.leak}"]
        return " ".join([sizes, *options, *leak])


@dataclass(frozen=True, eq=False)
class Drawn:
    """The arrays of a problem, and its right result.

    The batch holds few different sequences, each of them several times, so that the slow float64 reference
    covers all of it.  abs(W_hh) has rows that sum to 0.8: no error grows with time.
    """

    problem: Problem
    layer: Layer
    sources: Host
    source_lengths: list[int] | None
    known: Bounded | None = None

    @classmethod
    def of(cls, problem: Problem, known: Bounded | None = None) -> "Drawn":
        """Draw the arrays of a problem, the same each time; its right result may be known from another time."""
        count = min(max(problem.batch, COPIES), SOURCES)
        case = Draw(problem.dtype, 0).case(
            shape=(problem.seq_len, count, problem.input_size, problem.hidden_size),
            sides="fb" if problem.bidirectional else "f",
            tokens=problem.tokens,
            leak=problem.leak,
        )
        shortest = max(1, problem.seq_len // 4)
        lengths = [int(length) for length in np.linspace(problem.seq_len, shortest, count)]
        return cls(problem, case.layers[0], case.x, lengths if problem.ragged else None, known)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells, forward before backward."""
        return tuple(cell for cell, _ in self.layer.cells if isinstance(cell, Cell))

    @property
    def lengths(self) -> list[int] | None:
        """The lengths of the sequences of the batch, if they differ."""
        return None if self.source_lengths is None else [self.source_lengths[source] for source in self._order(0)]

    @cached_property
    def x(self) -> Host:
        """The input, (T, B, I) or token ids (T, B)."""
        return self._input(0)

    @cached_property
    def inputs(self) -> list[Host]:
        """The inputs of calls, in turn: the batch in other orders, so that no result is right again; or its steps."""
        if self.problem.step:
            return [np.ascontiguousarray(self.x[t : t + 1]) for t in range(self.problem.seq_len)]
        return [self._input(turn) for turn in range(COPIES)]

    @property
    def wanted(self) -> Bounded:
        """The outputs for `x`, (T, B, D * H), and how far from them a right result may be."""
        return Bounded(*(values[:, self._order(0)] for values in self.source_outputs))

    def excess(self, output: Host, turn: int) -> float:
        """Return the largest error of the outputs for the input of a turn, in units of the bound."""
        order, (value, error) = self._order(turn), self.source_outputs
        if output.shape[1:2] != order.shape:
            return float("inf")
        return max(excess(output[:, b], Bounded(value[:, k], error[:, k])) for b, k in enumerate(order))

    @cached_property
    def source_outputs(self) -> Bounded:
        """The outputs of the different sequences, by the slow reference unless they are known."""
        lengths, dtype = self.source_lengths, self.problem.dtype
        return self.known or reference([self.layer], self.sources, lengths=lengths, dtype=dtype)[0]

    def weights(self) -> Iterator[tuple[Host, Host, Host]]:
        """Yield W_ih, W_hh and the bias of each cell."""
        for cell in self.cells:
            bias = np.zeros_like(cell.weight_hh[0]) if cell.bias is None else cell.bias
            yield cell.weight_ih, cell.weight_hh, bias

    def feature_weights(self) -> Iterator[tuple[Host, Host, Host]]:
        """Yield the weights of an RNN that takes `token_rows` where the input is token ids."""
        for index, (w_ih, w_hh, bias) in enumerate(self.weights()):
            size = self.problem.hidden_size
            picked = np.eye(size, self.feature_size, index * size, w_hh.dtype)
            yield picked if self.problem.tokens else w_ih, w_hh, bias

    @property
    def feature_size(self) -> int:
        """The input size of such an RNN."""
        return len(self.cells) * self.problem.hidden_size if self.problem.tokens else self.problem.input_size

    @property
    def token_rows(self) -> Host:
        """W_ih^T of the cells side by side, (V, D * H), of which a token picks a row."""
        return np.concatenate([cell.weight_ih.T for cell in self.cells], axis=1)

    def _input(self, turn: int) -> Host:
        return np.ascontiguousarray(self.sources[:, self._order(turn)])

    def _order(self, turn: int) -> Any:
        """Return the source of each sequence of the batch; where lengths differ, theirs is the only order."""
        first = 0 if self.problem.ragged else turn
        return (first + np.arange(self.problem.batch)) % self.sources.shape[1]
