"""Random networks of the whole record, with how often each value of each option, and each pair of values, was drawn."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import rnn_backends as rb
from rnn_backends.core.layers import Layer, named_arrays
from rnn_backends.core.network import READS, Network
from rnn_backends.testing import Record
from rnn_backends.testing.cases import ACTIVATIONS, Draw
from rnn_backends.testing.records import linear

OPTIONS: dict[str, tuple[Any, ...]] = {
    "layers": (1, 2, 3),
    "sides": ("f", "b", "fb"),
    "sizes": ("even", "uneven"),
    "activation": tuple(activation.name for activation in ACTIVATIONS),
    "bias": (True, False),
    "clip": (None, 0.5),
    "leak": (None, "number", "by unit"),
    "encoder": (0, 1, 2),
    "readout": (1, 2),
    "g2": ("softmax", "log_softmax", "sigmoid", "identity"),
    "reads": READS,
    "takes": (None, "tokens", "features"),
    "vocabulary": (None, "characters", "words"),
    "h_0": ("zeros", "of the model", "of the call", "of both"),
    "lengths": (False, True),
    "mask": (False, True),
    "batch_first": (False, True),
    "dtype": ("float32", "float64"),
}
IMPOSSIBLE = {(("takes", "features"), ("vocabulary", kind)) for kind in ("characters", "words")} | {
    (("takes", None), ("vocabulary", kind)) for kind in ("characters", "words")
}
"""Pairs that cannot be: a vocabulary means tokens."""
VOCABULARIES: dict[Any, Any] = {None: None, "characters": "abcde", "words": ["the", "<unk>", "sea", "a", "king"]}
INPUT_SIZE, SEQ_LEN, BATCH, CLASSES = 5, 4, 3, 3


class Drawn(NamedTuple):
    """A network with the arguments of a call, time first, and the options that it was drawn with."""

    record: Record
    options: dict[str, Any]


DRAWN_FROM = OPTIONS | {"vocabulary": (None, None, None, "characters", "words")}  # it decides on `takes` too


def drawn_from_seed(seed: int, **fixed: tuple[Any, ...]) -> Drawn:
    """Return a network whose options are drawn by a seed, for Hypothesis repeats the choices that it makes itself."""
    random = np.random.default_rng(seed)
    chosen = {name: values[random.integers(len(values))] for name, values in (DRAWN_FROM | fixed).items()}
    return made(chosen, seed)


def made(chosen: dict[str, Any], seed: int) -> Drawn:
    """Return a network of these options; its numbers are drawn from a seed."""
    if chosen["vocabulary"] is not None and chosen["takes"] == "features":
        chosen = chosen | {"vocabulary": None}
    elif chosen["vocabulary"] is not None:
        chosen = chosen | {"takes": "tokens"}
    draw = Draw(chosen["dtype"], seed)
    encoder, width = [], INPUT_SIZE
    for index in range(chosen["encoder"]):
        encoder.append(linear(draw, width, 4 - index, chosen["bias"], ("identity", "tanh")[index]))
        width = 4 - index
    layers = recurrent(draw, chosen, width)
    sizes = [getattr(cell, "hidden_size", 0) for layer in layers for cell, _ in layer.cells]
    readout, width = [], sum(getattr(cell, "hidden_size", 0) for cell, _ in layers[-1].cells)
    for _ in range(chosen["readout"] - 1):
        readout.append(linear(draw, width, 6, chosen["bias"], "relu"))
        width = 6
    readout.append(linear(draw, width, CLASSES, chosen["bias"], chosen["g2"]))
    states = [draw.normal(size, scale=0.5) for size in sizes]
    network = Network(
        tuple(layers),
        readout,
        encoder=encoder,
        reads=chosen["reads"],
        takes=chosen["takes"],
        h_0=states if chosen["h_0"] in {"of the model", "of both"} else None,
        batch_first=chosen["batch_first"],
        vocabulary=VOCABULARIES[chosen["vocabulary"]],
        unknown={"words": "<unk>", "characters": "e"}.get(chosen["vocabulary"]),
        metadata={"source": "drawn"},
    )
    return Drawn(Record(network, *arguments(draw, chosen, sizes)), chosen)


def recurrent(draw: Draw, chosen: dict[str, Any], width: int) -> list[Layer]:
    """Return the layers of a network."""
    layers, size = [], 4
    activation = next(each for each in ACTIVATIONS if each.name == chosen["activation"])
    for _ in range(chosen["layers"]):
        cells = []
        for _ in chosen["sides"]:
            size = size + 1 if chosen["sizes"] == "uneven" else 4
            leak: Any = draw.rounded(draw.random.uniform(0.25, 1.0, size)) if chosen["leak"] == "by unit" else None
            leak = 0.75 if chosen["leak"] == "number" else leak
            options = {"activation": activation, "clip": chosen["clip"], "leak": leak}
            cells.append(draw.cell(width, size, chosen["bias"], **options))
        layers.append(Layer(*cells) if chosen["sides"] != "b" else Layer(backward=cells[0]))
        width = sum(cell.hidden_size for cell in cells)
    return layers


def arguments(draw: Draw, chosen: dict[str, Any], sizes: list[int]) -> Iterator[Any]:
    """Yield the arguments of a call: x, h_0, lengths and mask."""
    is_ids = chosen["takes"] == "tokens" or (chosen["takes"] is None and draw.random.random() < 0.5)
    shape = (SEQ_LEN, BATCH)
    x = draw.random.integers(0, INPUT_SIZE, shape) if is_ids else draw.normal(*shape, INPUT_SIZE)
    lengths = (
        draw.random.permutation([SEQ_LEN, 0, int(draw.random.integers(1, SEQ_LEN))]) if chosen["lengths"] else None
    )
    mask = draw.random.random(shape) < 0.6 if chosen["mask"] else None
    taken = np.ones(shape, bool) if lengths is None else np.arange(SEQ_LEN)[:, None] < lengths
    x[~(taken if mask is None else taken & mask)] = -1 if is_ids else np.nan  # which nothing looks at
    yield x
    given = [draw.normal(BATCH, size, scale=0.5) for size in sizes]
    states: Any = given if len(set(sizes)) > 1 else np.stack(given)
    yield states if chosen["h_0"] in {"of the call", "of both"} else None
    yield None if lengths is None else lengths.tolist()
    yield mask


def each_network(check: Callable[[Drawn], None], *, examples: int = 1500, **fixed: tuple[Any, ...]) -> None:
    """Call a function with random networks, the same in every run, of some options with fewer values.

    All values, and all pairs of them, are tried often enough, or it fails.
    """
    coverage = Coverage(**fixed)

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32 - 1))
    def counted(seed: int) -> None:
        drawn = drawn_from_seed(seed, **fixed)
        coverage.add(drawn.options)
        check(drawn)

    counted()
    coverage.require()


class Coverage:
    """A count of the values of options, and of pairs of them, that were tried."""

    def __init__(self, **fixed: tuple[Any, ...]) -> None:
        self._values, self._pairs, self._options = Counter[Any](), Counter[Any](), OPTIONS | fixed

    def add(self, options: dict[str, Any]) -> None:
        """Count a network."""
        self._values.update(options.items())
        self._pairs.update(combinations(options.items(), 2))

    def require(self, values: int = 50, pairs: int = 5) -> None:
        """Check that each value and each pair was tried often enough."""
        held = [(name, value) for name, each in self._options.items() for value in each]
        rare = {item: self._values[item] for item in held if self._values[item] < values}
        assert not rare, rare
        possible = [pair for pair in combinations(held, 2) if pair[0][0] != pair[1][0] and pair not in IMPOSSIBLE]
        few = {pair: self._pairs[pair] for pair in possible if self._pairs[pair] < pairs}
        assert not few, few


def run(rnn: rb.RNN, record: Record) -> dict[str, Any]:
    """Return the results of all calls of a model, time first, on the host."""
    x, mask = record.x, record.mask
    if rnn.batch_first:
        x, mask = x.swapaxes(0, 1), None if mask is None else mask.T
    given: Any = {"h_0": record.h_0, "lengths": record.lengths, "mask": mask}
    output, h_n = rnn(x, **given)
    results = {
        "output": output,
        "logits": rnn.logits(x, **given),
        "probabilities": rnn.probabilities(x, **given),
        "last": rnn.last(x, **given),
        **{f"h_n[{k}]": part for k, part in enumerate(h_n)},
    }
    found = {name: rb.to_numpy(result) for name, result in results.items()}
    for name in ("output", "logits", "probabilities"):
        if rnn.batch_first and found[name].ndim == 3:
            found[name] = found[name].swapaxes(0, 1)
    return found


def assert_same(again: rb.RNN, rnn: rb.RNN) -> None:
    """Check that two models have the same parts, arrays and facts."""
    first, second = again.placed.network, rnn.placed.network
    for (name, array), (other, held) in zip(named_arrays(first), named_arrays(second), strict=True):
        assert name == other
        np.testing.assert_array_equal(array, held, err_msg=name)
    assert facts(again) == facts(rnn)


def facts(rnn: rb.RNN) -> dict[str, Any]:
    """Return all that a model holds beside its arrays."""
    network = rnn.placed.network
    cells: list[Any] = rnn.placed.cells
    return {
        "cells": [(cell.activation, cell.clip, type(cell.leak) if np.ndim(cell.leak) else cell.leak) for cell in cells],
        "linears": [[linear.activation for linear in part] for part in (network.encoder, network.readout)],
        "reads": network.reads,
        "takes": network.takes,
        "batch_first": network.batch_first,
        "vocabulary": network.vocabulary,
        "unknown": network.unknown,
        "metadata": dict(network.metadata),
        "h_0": type(network.h_0),
        "layers": len(network.layers),
        "sizes": [(cell.input_size, cell.hidden_size) for cell in cells],
    }
