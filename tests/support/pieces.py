"""A long walk against the same walk in pieces."""

from typing import Any, cast

import rnn_backends as rb
from rnn_backends.testing.cases import Draw


def pieces_differ(seq_len: int, piece: int, batch: int = 2, hidden_size: int = 96, dtype: str = "float32") -> int:
    """Return how many numbers of a long walk differ, bit for bit, from those of the same walk in pieces.

    Of token ids, for a product of more inputs may be summed in another order.
    """
    draw = Draw(dtype, 0)
    rnn = rb.RNN([draw.cell(50, hidden_size)]).to("cupy")
    x = draw.random.integers(0, 50, (seq_len, batch))
    whole, h_n = map(rb.to_numpy, rnn(x))
    wrong, state = 0, cast(Any, None)
    for start in range(0, seq_len, piece):
        part, state = rnn(x[start : start + piece], state)
        wrong += int((rb.to_numpy(part) != whole[start : start + piece]).sum())
    return wrong + int((rb.to_numpy(state) != h_n).sum())
