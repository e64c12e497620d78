"""Tables for the command `run`, and what is read of those that it writes."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rnn_backends as rb

LENGTHS = {"a": 4, "b": 1, "c": 3}


def model(**options: Any) -> rb.RNN:
    drawn = rb.RNN.init(2, 5, output_size=options.pop("outputs", 3), seed=1)
    rnn = rb.RNN(drawn.layers, options.pop("readout", drawn.readout), **options)
    rnn.save("model.npz")
    return rnn


def features() -> dict[str, NDArray[Any]]:
    draw = np.random.default_rng(0).normal
    return {name: draw(size=(length, 2)).astype("f4") for name, length in LENGTHS.items()}


def write_csv(path: str = "x.csv", delimiter: str = ",", **columns: Any) -> None:
    with Path(path).open("w", newline="") as file:
        rows = csv.writer(file, delimiter=delimiter)
        rows.writerow(["left", "id", "right", *columns])
        for name, x in features().items():
            for step, (left, right) in enumerate(x.tolist()):
                rows.writerow([left, name, right, *(values[name][step] for values in columns.values())])


def read_csv(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def loss_in(report: str) -> float:
    (line,) = [line for line in report.splitlines() if line.startswith("cross-entropy")]
    return float(line.split()[1])
