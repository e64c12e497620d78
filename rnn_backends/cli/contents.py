"""A description of a model, as data and as text, for `info` and `convert`, and in short for `run`."""

from collections.abc import Iterable, Iterator
from typing import Any

from rnn_backends.backends.transfer import to_numpy
from rnn_backends.cli.reports import Row, aligned, columns, visible
from rnn_backends.core.arrays import is_array
from rnn_backends.core.linear import Linear
from rnn_backends.core.noise import Noise
from rnn_backends.model.rnn import RNN

MAX_SHOWN = 200
NONE = "none"


def describe(rnn: RNN) -> dict[str, Any]:
    """Return a description of a model, all but its numbers, as what JSON can hold."""
    network = rnn.placed.network
    head = [_linear(each) for each in network.readout]
    states = network.h_0 if isinstance(network.h_0, tuple) else (network.h_0,)
    return {
        "parameters": rnn.num_parameters,
        "dtype": rnn.dtype,
        "batch_first": rnn.batch_first,
        "input_size": rnn.input_size,
        "takes": rnn.takes,
        "encoder": [_linear(each) for each in network.encoder],
        "layers": [
            _cell(index, cell, "backward" if reverse else "forward", rnn.dtype)
            for index, layer in enumerate(rnn.layers)
            for cell, reverse in layer.cells
        ],
        "h_0": None if network.h_0 is None else [list(array.shape) for array in states],
        "noise": _noise(rnn.noise),
        "reads": rnn.reads,
        "readout": head[-1] if head else None,
        "head": head,
        "vocabulary": list(rnn.vocabulary) if isinstance(rnn.vocabulary, tuple) else rnn.vocabulary,
        "unknown": rnn.unknown,
        "metadata": dict(rnn.metadata),
    }


def lines(name: str, found: dict[str, Any]) -> Iterator[str]:
    """Yield a description for people: what holds of all, then a line for each cell."""
    facts = aligned(
        [
            ("model", f"{name}: {sizes(found)}"),
            ("dtype", found["dtype"]),
            ("input", _input(found)),
            *_several("encoder", map(_worded_linear, found["encoder"])),
            ("h_0", _initial_states(found["h_0"])),
            *([] if found["noise"] is None else [("noise", _worded_noise(found["noise"]))]),
            ("reads", found["reads"]),
            *_several("readout", map(_worded_linear, found["head"])),
            ("vocabulary", _vocabulary(found["vocabulary"], found["unknown"])),
            *_several("metadata", (_shown(f"{name}: {note}") for name, note in found["metadata"].items())),
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
    before, after = ([str(each["output_size"]) for each in found[part]] for part in ("encoder", "head"))
    steps = [str(found["input_size"]), *before, *map("+".join, layers.values()), *after]
    return f"{' -> '.join(steps)}, {found['parameters']} parameters"


def _cell(index: int, cell: Any, direction: str, dtype: str) -> dict[str, Any]:
    return {
        "layer": index,
        "direction": direction,
        "kind": type(cell).__name__,
        "input_size": cell.input_size,
        "hidden_size": cell.hidden_size,
        "activation": _activation(cell.activation),
        "clip": getattr(cell, "clip", None),
        "leak": _leak(cell.leak),
        "bias": cell.bias is not None,
        "dtype": dtype,
    }


def _linear(linear: Linear) -> dict[str, Any]:
    return {
        "input_size": linear.input_size,
        "output_size": linear.output_size,
        "activation": _activation(linear.activation),
        "bias": linear.bias is not None,
    }


def _leak(leak: Any) -> Any:
    """Return a leak as a number, or that of each unit as the least and the largest."""
    if not is_array(leak):
        return leak
    held = to_numpy(leak)
    return {"min": float(held.min()), "max": float(held.max())}


def _noise(noise: Noise | None) -> dict[str, Any] | None:
    """Return a noise as data, the deviations of each unit as the least and the largest."""
    if noise is None:
        return None
    std: Any = noise.std
    return {"std": {"min": min(std), "max": max(std)} if isinstance(std, tuple) else std, "seed": noise.seed}


def _worded_noise(noise: dict[str, Any]) -> str:
    std = noise["std"]
    return f"std {_worded(std) if isinstance(std, dict) else format(std, '.4g')}, seed {noise['seed']}"


def _activation(activation: Any) -> dict[str, Any]:
    return {"name": activation.name, "alpha": activation.alpha, "beta": activation.beta}


def _row(cell: dict[str, Any]) -> list[str]:
    return [_worded(value) for value in cell.values()]


def _worded(value: Any) -> str:
    if isinstance(value, dict) and "min" in value:
        return f"{value['min']:.4g} to {value['max']:.4g}"
    if isinstance(value, dict):
        given = [f"{key}={value[key]}" for key in ("alpha", "beta") if value[key] is not None]
        return f"{value['name']}({', '.join(given)})" if given else str(value["name"])
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NONE if value is None else str(value)


def _input(found: dict[str, Any]) -> str:
    axes = "batch, seq_len" if found["batch_first"] else "seq_len, batch"
    if found["takes"] == "tokens":
        return f"({axes}), token ids"
    return f"({axes}, input_size), features{'' if found['takes'] else ' or token ids'}"


def _worded_linear(linear: dict[str, Any]) -> str:
    bias = "bias" if linear["bias"] else "no bias"
    return f"{linear['input_size']} -> {linear['output_size']}, {_worded(linear['activation'])}, {bias}"


def _initial_states(shapes: list[list[int]] | None) -> str:
    if shapes is None:
        return NONE
    texts = [str(tuple(shape)) for shape in shapes]
    return f"one array, {texts[0]}" if len(shapes[0]) == 2 else f"one for each cell, {', '.join(texts)}"


def _vocabulary(vocabulary: str | list[str] | None, unknown: str | None) -> str:
    if vocabulary is None:
        return NONE
    if isinstance(vocabulary, str):
        found = f"{len(vocabulary)} characters, {_shown(repr(vocabulary))}"
    else:
        found = f"{len(vocabulary)} words, {_shown(', '.join(map(repr, vocabulary)))}"
    return found if unknown is None else f"{found}; unknown: {_shown(repr(unknown))}"


def _several(label: str, found: Iterable[str]) -> list[Row]:
    """Return a row for each of several things, of which the first has the label."""
    return [(label if index == 0 else "", text) for index, text in enumerate(list(found) or [NONE])]


def _shown(text: str) -> str:
    """Return a text of a file as a terminal can show it: in one line, without control characters, not too long."""
    text = visible(text)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
