"""What a service answers to a list of sequences, and what it refuses; the same behind every server.

The body of a request is a JSON list: of texts for a network with a vocabulary, else of sequences, each a list of steps
and each step a list of features.  The answer is a list with an object for each.
"""

import json
import os
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np

import rnn_backends as rb

MODEL = os.environ.get("MODEL", str(Path(__file__).parents[1] / "deploy" / "names.safetensors"))
MOST_BYTES = 2**20
"""The largest body of a request."""
MOST_SEQUENCES = 256
MOST_STEPS = 1000
LARGEST = 1e4
"""Features are numbers up to this, positive or negative; NaN and infinity are none."""


class RefusedError(Exception):
    """A request that is the client's fault, with the status of its answer."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Predictor:
    """A network that reads each sequence as a whole, as what answers requests; safe to share between threads."""

    def __init__(self, rnn: rb.RNN) -> None:
        if rnn.reads == "steps":
            msg = "a network whose readout reads every step cannot be served; load it with reads='last' or another."
            raise ValueError(msg)
        self.rnn = rnn
        self.classes = rnn.metadata.get("classes", "").split()

    def answer(self, body: bytes) -> list[dict[str, Any]]:
        """Return the answers to the sequences in the body of a request, in their order."""
        sequences = decoded(body)
        if not sequences:
            return []
        try:
            return self.texts(sequences) if self.rnn.vocabulary else self.features(sequences)
        except (rb.ArgumentError, rb.DTypeError) as error:  # ShapeError and VocabularyError are ArgumentErrors
            raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error

    def texts(self, texts: list[Any]) -> list[dict[str, Any]]:
        """Return the answers to texts, which are written in small letters, as this network was trained."""
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                msg = f"`sequences[{place}]` must be a text, which this network reads; got a list."
                raise RefusedError(HTTPStatus.BAD_REQUEST, msg)
        return self.described([text.strip().lower() for text in texts], None)

    def features(self, sequences: list[Any]) -> list[dict[str, Any]]:
        """Return the answers to sequences of steps of features, of any lengths."""
        size = self.rnn.input_size or 0
        found: list[Any] = [np.empty((0, size)) if sequence == [] else sequence for sequence in sequences]
        steps, _ = rb.pad([sequence[:1] for sequence in found])  # before more is padded than one step of each
        if steps.shape[2:] != (size,):
            msg = f"each step of a sequence must be a list of {size} numbers; got steps of shape {steps.shape[2:]}."
            raise rb.ShapeError(msg)
        x, lengths = rb.pad(found, batch_first=self.rnn.batch_first)
        x = x.astype(np.float64)
        if not (np.abs(x) <= LARGEST).all():
            msg = f"features must be numbers from {-LARGEST:.0f} to {LARGEST:.0f}."
            raise RefusedError(HTTPStatus.BAD_REQUEST, msg)
        return self.described(x, lengths)

    def described(self, x: Any, lengths: Any) -> list[dict[str, Any]]:
        """Return the likeliest class of each sequence and all probabilities, or outputs where nothing is classified."""
        if not self.classes:
            return [{"outputs": row} for row in rb.to_numpy(self.rnn.logits(x, lengths=lengths)).tolist()]
        rows = rb.to_numpy(self.rnn.probabilities(x, lengths=lengths)).tolist()
        named = [dict(zip(self.classes, row, strict=True)) for row in rows]
        return [{"class": max(each, key=each.__getitem__), "probabilities": each} for each in named]


def decoded(body: bytes) -> list[Any]:
    """Return the list of sequences that the body of a request is, within the limits."""
    try:
        sequences = json.loads(body)
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, an integer of 5000 digits, lists in lists
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body must be JSON in UTF-8.") from error
    if not isinstance(sequences, list):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body must be a list of sequences.")
    if len(sequences) > MOST_SEQUENCES:
        msg = f"a request holds at most {MOST_SEQUENCES} sequences; got {len(sequences)}: send them in parts."
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, msg)
    for place, sequence in enumerate(sequences):
        if not isinstance(sequence, (str, list)):
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"`sequences[{place}]` must be a text or a list of steps.")
        if len(sequence) > MOST_STEPS:
            msg = f"a sequence has at most {MOST_STEPS} steps; `sequences[{place}]` has {len(sequence)}."
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, msg)
    return sequences
