"""Layers that a kernel of the CPU, or NumPy, walks through time, against the float64 reference."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.backends import numpy as numpy_backend
from rnn_backends.backends.cpu_kernels import choice
from rnn_backends.core.arrays import Host
from rnn_backends.testing import excess, reference
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.reference import Bounded

DTYPES = ("float32", "float64")
COMPILED = choice.kernels()
EACH_COMPILED = pytest.mark.parametrize("kernel", COMPILED)
EACH_KERNEL = pytest.mark.parametrize("kernel", [*COMPILED, choice.OFF])
EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES)


@contextmanager
def only(kernel: str) -> Iterator[None]:
    """Have a kernel, or NumPy where it is off, and nothing else walk layers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(choice.VARIABLE, kernel)
        if kernel != choice.OFF:
            patch.setattr(numpy_backend, "by_numpy", None)
        yield


class Walk(NamedTuple):
    """A layer and what it is walked with."""

    layer: rb.Layer
    x: Host
    h_0: Sequence[Host]
    lengths: Host | None = None

    def walked(self) -> tuple[Host, list[Host]]:
        """Return the output and the last states."""
        found: Any = numpy_backend.Walk()(self.layer, self.x, self.h_0, self.lengths)
        return found[0], list(found[1])

    def by(self, kernel: str) -> tuple[Host, list[Host]]:
        """Return the output and the last states of one kernel; not from several threads at once."""
        with only(kernel):
            return self.walked()

    def excess(self, output: Host, last: Sequence[Host]) -> float:
        """Return the largest error, in units of the bound on rounding."""
        ends = None if self.lengths is None else self.lengths.tolist()
        wanted, h_n = reference([self.layer], self.x, list(self.h_0), ends, dtype=self.h_0[0].dtype.name)
        if not isinstance(h_n, Bounded):
            parts = h_n
        else:
            parts = [Bounded(value, error) for value, error in zip(h_n.value, h_n.error, strict=True)]
        return max(excess(output, wanted), *(excess(*pair) for pair in zip(last, parts, strict=True)))

    def check(self, kernel: str) -> Host:
        """Return the output, which must be right; nothing beyond a length, and the last states among all, by their bits."""
        output, last = self.by(kernel)
        assert self.excess(output, last) <= 1.0, self
        seq_len, batch = self.x.shape[:2]
        ends = [seq_len] * batch if self.lengths is None else self.lengths.tolist()
        column = 0
        for state, h_0, (_, reverse) in zip(last, self.h_0, self.layer.cells, strict=True):
            part = output[:, :, column : column + h_0.shape[1]]
            column += h_0.shape[1]
            for b, end in enumerate(ends):
                assert not output[end:, b].any()
                np.testing.assert_array_equal(state[b], part[0 if reverse else end - 1, b] if end else h_0[b])
        return output


def drawn(
    dtype: str, shape: tuple[int, int, int, int], sides: str = "f", ragged: bool = False, ids: str = "", **options: Any
) -> Walk:
    """Return a layer of the given directions for (seq_len, batch, input_size, hidden_size), and its arguments."""
    seq_len, batch, input_size, hidden_size = shape
    draw = Draw(dtype, sum(shape))
    (layer,) = draw.layers(sides, 1, input_size, hidden_size, **options)
    x = draw.normal(seq_len, batch, input_size)
    if ids:
        x = draw.random.integers(0, input_size, (seq_len, batch)).astype(ids)
    lengths = draw.random.integers(0, seq_len + 1, batch) if ragged else None
    return Walk(layer, x, draw.states(batch, *[hidden_size] * len(sides)), lengths)
