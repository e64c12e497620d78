"""A description of a model, as data and as text, for `info` and `convert`, and in short for `run`."""

from collections.abc import Iterator
from typing import Any

from rnn_backends.cli.reports import Row, aligned, columns
from rnn_backends.model.rnn import RNN

MAX_SHOWN = 200
NONE = "none"


def describe(rnn: RNN) -> dict[str, Any]:
    """Return a description of a model, all but its numbers, as what JSON can hold."""
    readout = rnn.readout
    return {
        "parameters": rnn.num_parameters,
        "dtype": rnn.dtype,
        "batch_first": rnn.batch_first,
        "layers": [
            _cell(index, cell, "backward" if reverse else "forward", rnn.dtype)
            for index, layer in enumerate(rnn.layers)
            for cell, reverse in layer.cells
        ],
        "readout": readout
        and {
            "input_size": int(readout.weight.shape[1]),
            "output_size": readout.output_size,
            "activation": _activation(readout.activation),
            "bias": readout.bias is not None,
        },
        "vocabulary": rnn.vocabulary,
        "metadata": dict(rnn.metadata),
    }


def lines(name: str, found: dict[str, Any]) -> Iterator[str]:
    """Yield a description for people: what holds of all, then a line for each cell."""
    facts = aligned(
        [
            ("model", f"{name}: {sizes(found)}"),
            ("dtype", found["dtype"]),
            ("input", _input(found)),
            ("readout", _readout(found["readout"])),
            ("vocabulary", _vocabulary(found["vocabulary"])),
            *_metadata(found["metadata"]),
        ]
    )
    yield from (*facts, "")
    head = ("layer", "direction", "kind", "input size", "hidden size", "activation", "clip", "leak", "bias", "dtype")
    yield from columns([head, *map(_row, found["layers"])])


def sizes(found: dict[str, Any]) -> str:
    """Return the sizes from the input to the output, and how many parameters there are, in a few words."""
    layers: dict[int, list[str]] = {}
    for cell in found["layers"]:
        layers.setdefault(cell["layer"], []).append(str(cell["hidden_size"]))
    steps = [str(found["layers"][0]["input_size"]), *map("+".join, layers.values())]
    if found["readout"] is not None:
        steps.append(str(found["readout"]["output_size"]))
    return f"{' -> '.join(steps)}, {found['parameters']} parameters"


def _cell(index: int, cell: Any, direction: str, dtype: str) -> dict[str, Any]:
    return {
        "layer": index,
        "direction": direction,
        "kind": type(cell).__name__,
        "input_size": cell.input_size,
        "hidden_size": cell.hidden_size,
        "activation": _activation(cell.activation),
        "clip": cell.clip,
        "leak": cell.leak,
        "bias": cell.bias is not None,
        "dtype": dtype,
    }


def _activation(activation: Any) -> dict[str, Any]:
    return {"name": activation.name, "alpha": activation.alpha, "beta": activation.beta}


def _row(cell: dict[str, Any]) -> list[str]:
    return [_worded(value) for value in cell.values()]


def _worded(value: Any) -> str:
    if isinstance(value, dict):
        given = [f"{key}={value[key]}" for key in ("alpha", "beta") if value[key] is not None]
        return f"{value['name']}({', '.join(given)})" if given else str(value["name"])
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NONE if value is None else str(value)


def _input(found: dict[str, Any]) -> str:
    axes = "batch, seq_len" if found["batch_first"] else "seq_len, batch"
    return f"({axes}, input_size)" if found["vocabulary"] is None else f"({axes}), token ids"


def _readout(readout: dict[str, Any] | None) -> str:
    if readout is None:
        return NONE
    bias = "bias" if readout["bias"] else "no bias"
    return f"{readout['input_size']} -> {readout['output_size']}, {_worded(readout['activation'])}, {bias}"


def _vocabulary(vocabulary: str | None) -> str:
    return NONE if vocabulary is None else f"{len(vocabulary)} characters, {_shown(repr(vocabulary))}"


def _metadata(metadata: dict[str, str]) -> list[Row]:
    notes = [_shown(f"{name}: {note}") for name, note in metadata.items()] or [NONE]
    return [("metadata" if index == 0 else "", note) for index, note in enumerate(notes)]


def _shown(text: str) -> str:
    """Return a text of a file as a terminal can show it: in one line, without control characters, not too long."""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
