"""The answers of a service to a list of sequences, and its refusals; the same behind every server.

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
LOWER_CASE = os.environ.get("LOWER_CASE", "0" if "MODEL" in os.environ else "1") == "1"
"""Whether texts are stripped and put in lower case: as the default network was trained, and not every other."""
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

    def __init__(self, rnn: rb.RNN, *, lower_case: bool = False) -> None:
        self.rnn = rnn
        self.lower_case = lower_case
        self.classes = rnn.metadata.get("classes", "").split()
        self.require_served()

    def require_served(self) -> None:
        """Check that every request can be answered, before there is one."""
        rnn, classes = self.rnn, self.classes
        if rnn.readout is None:
            msg = "a network without a readout cannot be served; give it one, whose outputs are the answer."
        elif rnn.reads == "steps":
            msg = "a network whose readout reads every step cannot be served; make it with reads='last' or another."
        elif rnn.vocabulary is None and rnn.takes == "tokens":
            msg = "a network of tokens needs a vocabulary to be served; make it with vocabulary=."
        elif rnn.vocabulary is None and rnn.input_size is None:
            msg = "a network whose cell states no input_size cannot be served; give the cell one."
        elif classes and len(classes) != outputs_of(rnn):
            msg = f"the metadata must name a class for each output; got {len(classes)} for {outputs_of(rnn)}."
        elif len(set(classes)) < len(classes):
            msg = f"the classes of the metadata must differ; got {' '.join(classes)}."
        else:
            return
        raise ValueError(msg)

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
        """Return the answers to texts."""
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                msg = f"`sequences[{place}]` must be a text, which this network reads; got a list."
                raise RefusedError(HTTPStatus.BAD_REQUEST, msg)
        return self.described([text.strip().lower() for text in texts] if self.lower_case else texts, None)

    def features(self, sequences: list[Any]) -> list[dict[str, Any]]:
        """Return the answers to sequences of steps of features, of any lengths."""
        size = self.rnn.input_size or 0
        for place, sequence in enumerate(sequences):
            require_steps(f"sequences[{place}]", sequence, size)  # NumPy pads each text of a list to the longest
        arrays = [np.array(sequence, np.float64).reshape(-1, size) for sequence in sequences]
        return self.described(*rb.pad(arrays, batch_first=self.rnn.batch_first))

    def described(self, x: Any, lengths: Any) -> list[dict[str, Any]]:
        """Return the likeliest class of each sequence and all probabilities, or outputs where nothing is classified."""
        call = self.rnn.probabilities if self.classes else self.rnn.logits
        rows = rb.to_numpy(call(x, lengths=lengths))
        if not np.isfinite(rows).all():  # the network's fault: features are finite
            place = int(np.isfinite(rows).all(axis=1).argmin())
            msg = f"the outputs for `sequences[{place}]` are not finite; look for NaN or infinity in the weights."
            raise FloatingPointError(msg)
        if not self.classes:
            return [{"outputs": row} for row in rows.tolist()]
        named = [dict(zip(self.classes, row, strict=True)) for row in rows.tolist()]
        return [{"class": max(each, key=each.__getitem__), "probabilities": each} for each in named]


def outputs_of(rnn: rb.RNN) -> int:
    """Return the number of outputs, those of the last part of a readout of several."""
    last = rnn.readout[-1] if isinstance(rnn.readout, tuple) else rnn.readout
    return int(last.output_size)


def require_steps(name: str, sequence: Any, size: int) -> None:
    """Check that a sequence is a list of lists of as many numbers as there are features, within the limits."""
    if isinstance(sequence, str):
        msg = f"`{name}` must be a list of steps, which this network reads; got a text."
        raise RefusedError(HTTPStatus.BAD_REQUEST, msg)
    for place, step in enumerate(sequence):
        if not isinstance(step, list) or len(step) != size:
            got = f"{len(step)} items" if isinstance(step, list) else "no list"
            msg = f"`{name}[{place}]` must be a list of {size} numbers; got {got}."
            raise RefusedError(HTTPStatus.BAD_REQUEST, msg)
        if not all(type(each) in {int, float} and -LARGEST <= each <= LARGEST for each in step):  # no bool, no NaN
            msg = f"`{name}[{place}]` must hold numbers from {-LARGEST:.0f} to {LARGEST:.0f}."
            raise RefusedError(HTTPStatus.BAD_REQUEST, msg)


def decoded(body: bytes) -> list[Any]:
    """Return the list of sequences that the body of a request is, within the limits."""
    try:
        sequences = json.loads(body.decode("utf-8"))  # of bytes, json.loads would take UTF-16 too
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
