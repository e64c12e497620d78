"""Names that are nearly right: what was meant is in the message."""

from collections.abc import Callable
from typing import Any

import array_api_strict
import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.core.near import did_you_mean, nearest


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LAST", "last"),
        ("lats", "last"),
        (" final ", "final"),
        ("Batch_First", "batch-first"),
        ("zzz", None),
        ("", None),
    ],
)
def test_nearest(name: str, meant: str | None) -> None:
    choices = ("last", "final", "batch-first")
    assert nearest(name, choices) == meant
    assert did_you_mean(name, choices) == ("" if meant is None else f" Did you mean {meant!r}?")


def test_options_with_a_near_choice() -> None:
    rnn = rb.RNN.init(3, 4, output_size=2)
    x = np.ones((5, 3))
    with pytest.raises(rb.ArgumentError, match=r"got 'Last'\. Did you mean 'last'\?$"):
        rnn.logits(x, reads="Last")
    with pytest.raises(rb.ArgumentError, match=r"got 'token'\. Did you mean 'tokens'\?$"):
        rb.RNN(rnn.layers, takes="token")
    with pytest.raises(rb.ArgumentError, match=r"'max'; got 1\.$"):
        rnn.logits(x, reads=1)  # type: ignore[arg-type]  # it is wrong


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("float64")])
def test_a_dtype_is_no_backend(dtype: Any) -> None:
    rnn = rb.RNN.init(3, 4)
    wanted = r" is a dtype, not a backend \(from argument backend=\)\. Write dtype='float64'\.$"
    calls: tuple[Callable[[], object], ...] = (lambda: rnn.to(dtype), lambda: rb.RNN.init(3, 4, backend=dtype))
    for call in calls:
        with pytest.raises(rb.UnknownBackendError, match=wanted):
            call()
    with pytest.raises(rb.UnknownBackendError, match=r" is a dtype, not a backend \(from use_backend\(\)\)\.$"):
        rb.use_backend(dtype).__enter__()


def test_the_dtype_to_convert_to_is_named() -> None:
    rnn = rb.RNN.init(3, 4, dtype="float64", backend="array_api_strict")
    x = array_api_strict.ones((5, 3), dtype=array_api_strict.float32)
    wanted = r"`x` must be float64, as the parameters are; got float32\. Convert it to float64\."
    with pytest.raises(rb.DTypeError, match=wanted):
        rnn(x)
    single, double = np.ones((4, 3), np.float32), np.ones((4, 4))
    with pytest.raises(rb.DTypeError, match=r"Convert `\S*weight_hh` to float32\."):
        rb.RNN([rb.Cell(single, double)])
    with pytest.raises(rb.DTypeError, match=r"`weight_ih` must be one of .*; got int64\. Convert it to float32\."):
        rb.RNN([rb.Cell(single.astype(np.int64), double)])
