"""What both programs of examples/serve share: the networks that they serve, and what they look at before padding."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import prediction
import pytest

import rnn_backends as rb

FORECAST = rb.load(Path(__file__).parents[1] / "examples" / "deploy" / "forecast.safetensors")


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        (
            [[[0] * 400] * 1000, *[[[0] * 400]] * 255],
            r"`sequences\[0\]\[0\]` must be a list of 5 numbers; got 400 items",
        ),
        ([[["a" * 50_000, 1, 1, 1, 1], *[[1] * 5] * 998]], r"`sequences\[0\]\[0\]` must hold numbers"),
        ([[*[[1] * 5] * 998, [1, 1, 1, 1, "1" * 50_000]]], r"`sequences\[0\]\[998\]` must hold numbers"),
    ],
    ids=["wide", "a long text first", "a long text last"],
)
def test_what_a_step_holds_is_looked_at_before_an_array_is_made(sequences: list[Any], message: str) -> None:
    """Padded, the wide steps would take 800 MB; as an array of NumPy, a list with the text 950 MiB."""
    body = json.dumps(sequences, separators=(",", ":")).encode()
    assert len(body) <= prediction.MOST_BYTES
    served = prediction.Predictor(FORECAST)
    tracemalloc.start()
    with pytest.raises(prediction.RefusedError, match=message):
        served.answer(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


def small(*, outputs: int = 2, classes: str = "", **options: Any) -> rb.RNN:
    readout = rb.Linear(np.ones((outputs, 3), np.float32), activation="sigmoid")
    metadata = {"classes": classes} if classes else {}
    return rb.RNN(rb.RNN.init(2, 3).layers, readout, reads="last", metadata=metadata, **options)


@pytest.mark.parametrize(
    ("rnn", "message"),
    [
        (rb.RNN.init(3, 4), "a network without a readout"),
        (rb.RNN.init(3, 4, output_size=2), "reads every step cannot be served; make it with reads='last'"),
        (small(takes="tokens"), "a network of tokens needs a vocabulary"),
        (small(classes="a b c"), "a class for each output; got 3 for 2"),
        (small(classes="no yes", outputs=1), "a class for each output; got 2 for 1"),
        (small(classes="a a"), "the classes of the metadata must differ; got a a."),
    ],
    ids=["no readout", "steps", "tokens", "classes", "one output", "twice"],
)
def test_a_network_that_cannot_answer_is_not_served(rnn: rb.RNN, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prediction.Predictor(rnn)


def test_texts_are_put_in_lower_case_where_the_network_was_trained_so() -> None:
    served = prediction.Predictor(small(vocabulary="AB"))
    assert len(served.answer(b'["ABBA"]')) == 1
    wanted = "the character 'a' at line 1, column 4 is not in the model's vocabulary of 2 characters."
    with pytest.raises(prediction.RefusedError, match=wanted):
        served.answer(b'["ABBa"]')
    lower = prediction.Predictor(small(vocabulary="ab"), lower_case=True)
    assert lower.answer(b'[" ABBA "]') == lower.answer(b'["abba"]')
