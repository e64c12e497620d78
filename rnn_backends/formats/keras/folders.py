"""Weights alone in a group for each layer, named by its class: which of them there are, and which feeds which."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.keras.arrays import Arrays
from rnn_backends.formats.keras.items import Item
from rnn_backends.formats.keras.legacy import OLDER
from rnn_backends.formats.names import require_no_gates
from rnn_backends.formats.options import LoadOptions

_LAYER = re.compile(r"(embedding|simple_rnn|rnn|bidirectional|dense|time_distributed)(?:_([1-9][0-9]{0,3}))?")
_CELL = re.compile(r"simple_rnn_cell(?:_([1-9][0-9]{0,3}))?")
_INERT = re.compile(
    r"(?:input_layer|identity|dropout|spatial_dropout1_?d|alpha_dropout|gaussian_dropout|gaussian_noise|"
    r"activity_regularization)(?:_[0-9]+)?"
)
_TOP = {OLDER, "layers", "vars", "optimizer", "metrics", "compile_metrics", "loss_tracker"}
_READ = "SimpleRNN, RNN and Bidirectional, Embedding and Dense"
_MOST = 64
"""The most orders that are looked at."""
_LAYERS = 32
"""The most layers of which an order is looked for."""


def in_folders(arrays: Arrays) -> list[list[Item]]:
    """Return the layers, class by class, in the order that they have in their class."""
    file = arrays.file
    if unknown := file.group("").keys() - _TOP:
        msg = (
            f"it holds {listed(sorted(unknown))} beside layers, as models that are a class of their own do, which do "
            f"not record what feeds what; with Keras, {way('keras_sequential')}."
        )
        raise FormatError(msg)
    found: dict[str, dict[int, Item]] = {}
    root = OLDER if OLDER in file.group("") else "layers"
    for name in file.group(root):
        if match := _LAYER.fullmatch(name):
            found.setdefault(match[1], {})[int(match[2] or 0)] = _item(arrays, match[1], f"{root}/{name}")
        elif not _INERT.fullmatch(name):
            msg = f"it holds {shown(name)}; weights alone are enough for {_READ}; {way('keras_file')}."
            raise FormatError(msg)
    if (count := sum(map(len, found.values()))) > _LAYERS:
        most = max(found, key=lambda kind: len(found[kind]))
        msg = (
            f"it holds {count} layers, {len(found[most])} of them {shown(most)}, and weights alone do not record which "
            f"feeds which; that is looked for among at most {_LAYERS}; {way('keras_file')}."
        )
        raise FormatError(msg)
    return [[item for _, item in sorted(held.items())] for held in found.values()]


def in_order(classes: Sequence[Sequence[Item]], arrays: Arrays, options: LoadOptions) -> list[Item]:
    """Return the layers in the one order in which each takes what the one before gives.

    Where there are several, the caller's options say which Dense come before and after the recurrent layers, as the
    activations of both are given.
    """
    found: list[list[Item]] = []
    if any(item.cells for items in classes for item in items):
        sized = [[Sized(item, *_widths(item, arrays)) for item in items] for items in classes]
        found = list(islice(_Readings(sized, arrays).all((0,) * len(sized), None, 0), _MOST))
    meant = found
    if 1 < len(found) < _MOST:
        meant = [items for items in found if _are_meant(items, options)]
    if len(meant) != 1:
        got = listed(sorted(item.path.partition("/")[2] for items in classes for item in items))
        why = "do not show which feeds which" if found else f"are not of {_READ} that take what the one before gives"
        # The activations show the order where only one has so many Dense before and after.
        is_open = 1 < len(found) < _MOST and len({_are_before(items) for items in found}) == len(found)
        out = way("keras_order") if is_open else way("keras_file")
        msg = f"the names and shapes of its layers, {got}, {why}; {out}."
        raise FormatError(msg)
    return meant[0]


def _are_before(items: Sequence[Item]) -> tuple[int, int]:
    """Return how many Dense come before and after the recurrent layers."""
    kinds = ["r" if item.cells else item.kind for item in items]
    first = kinds.index("r")
    return kinds[:first].count("dense"), kinds[first:].count("dense")


def _are_meant(items: Sequence[Item], options: LoadOptions) -> bool:
    """Return whether there are as many Dense in each place as activations are given for it."""
    given = (options.encoder_activation, options.readout_activation)
    return all(
        count == len(each) if isinstance(each, tuple) else (count > 0) == (each is not None)
        for count, each in zip(_are_before(items), given, strict=True)
    )


class Sized(NamedTuple):
    """A layer, and how many features it takes, None of token ids, and gives."""

    item: Item
    takes: int | None
    gives: int


class _Readings:
    """The orders of the layers: encoder, recurrent layers and readout, each class in its own order."""

    def __init__(self, classes: list[list[Sized]], arrays: Arrays) -> None:
        self.classes, self.arrays = classes, arrays
        self.barren = set[tuple[tuple[int, ...], int | None, int]]()

    def all(self, taken: tuple[int, ...], width: int | None, phase: int) -> Iterator[list[Item]]:
        """Yield the orders of what is left, given what comes next and whether a recurrent layer, or a readout, was."""
        self.arrays.file.count()
        if all(count == len(items) for count, items in zip(taken, self.classes, strict=True)):
            yield []
            return
        state, is_barren = (taken, width, phase), True
        if state in self.barren:
            return
        for k, items in enumerate(self.classes):
            if taken[k] == len(items):
                continue
            sized = items[taken[k]]
            is_first = not any(taken)
            after = (2 if phase else 0) if not sized.item.cells else 1 if phase < 2 else None
            fits = is_first if sized.takes is None else is_first or sized.takes == width
            if after is None or not fits:
                continue
            for rest in self.all((*taken[:k], taken[k] + 1, *taken[k + 1 :]), sized.gives, after):
                is_barren = False
                yield [sized.item, *rest]
        if is_barren:
            self.barren.add(state)


def _item(arrays: Arrays, kind: str, path: str) -> Item:
    if kind == "time_distributed":
        return Item("dense", f"{path}/layer")
    if kind == "bidirectional":
        return Item(kind, path, tuple(f"{path}/{side}_layer/cell" for side in ("forward", "backward")))
    if kind == "rnn" and "cells" in arrays.file.group(f"{path}/cell"):
        held = {name: _CELL.fullmatch(name) for name in arrays.file.group(f"{path}/cell/cells")}
        if not held or not all(held.values()):
            msg = f"the cells of {shown(path)} must be SimpleRNNCells; there are {listed(sorted(held))}."
            raise FormatError(msg)
        numbers = sorted((int(match[1] or 0), name) for name, match in held.items() if match is not None)
        return Item(kind, path, tuple(f"{path}/cell/cells/{name}" for _, name in numbers))
    return Item(kind, path, (f"{path}/cell",) if kind in {"simple_rnn", "rnn"} else ())


def _widths(item: Item, arrays: Arrays) -> tuple[int | None, int]:
    """Return how many features a layer takes and gives."""
    shapes = [_matrix(arrays, f"{path}/vars/0") for path in item.cells or (item.path,)]
    for path in item.cells:
        require_no_gates(f"{path}/vars/1", arrays.declared(f"{path}/vars/1")[1][::-1])
    gives = sum(shape[1] for shape in shapes) if item.kind == "bidirectional" else shapes[-1][1]
    return None if item.kind == "embedding" else shapes[0][0], gives


def _matrix(arrays: Arrays, path: str) -> tuple[int, int]:
    _, shape = arrays.declared(path)
    if len(shape) != 2:
        msg = f"{shown(path)} must have two axes; its shape is {shown(shape)}."
        raise FormatError(msg)
    return shape[0], shape[1]
