"""Weights alone as Keras 2 writes them to .h5 files: its layers in order, each with the names of its arrays."""

import re

from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.keras.arrays import Arrays
from rnn_backends.formats.keras.items import Item
from rnn_backends.formats.keras.legacy import CELL, last, layers

_INERT = re.compile(
    r"(?:input|dropout|spatial_dropout1d|alpha_dropout|gaussian_dropout|gaussian_noise|activity_regularization)"
    r"(?:_[0-9]+)?|.*_input"
)
_OWNERS = {("kernel",): "dense", ("kernel", "bias"): "dense", ("embeddings",): "embedding"}


def listed_items(arrays: Arrays) -> tuple[list[Item], dict[str, list[str]]]:
    """Return the layers, and the places of the arrays of each layer and cell by its path."""
    items, places = [], dict[str, list[str]]()
    for name, paths in layers(arrays, ""):
        if not paths:
            if not _INERT.fullmatch(name):
                msg = f"the layer {shown(name)} has no weights, and may compute something; {way('keras_file')}."
                raise FormatError(msg)
            continue
        owners: dict[str, list[str]] = {}
        for path in paths:
            owners.setdefault(path.rpartition("/")[0], []).append(path)
        items.append(_item(name, owners))
        places |= owners
    _require_order(items)
    return items, places


def _item(name: str, owners: dict[str, list[str]]) -> Item:
    """Return a layer, whose arrays by the path of what owns them are those of cells, or of a Dense or an Embedding."""
    held = [tuple(map(last, paths)) for paths in owners.values()]
    if len(held) == 1 and held[0] in _OWNERS:
        return Item(_OWNERS[held[0]], next(iter(owners)))
    if all(each in (CELL, CELL[:2]) for each in held):
        ways = [("forward_" in path, "backward_" in path) for path in owners]
        if ways == [(True, False), (False, True)]:
            return Item("bidirectional", name, tuple(owners))
        if len(owners) == 1 or all("stacked_rnn_cells" in path for path in owners):
            return Item("simple_rnn", name, tuple(owners))
    got = listed(last(path) for paths in owners.values() for path in paths)
    msg = (
        f"the layer {shown(name)}, with the arrays {got}, is no SimpleRNN, Bidirectional, Dense or Embedding that "
        f"weights alone are enough for; {way('keras_file')}."
    )
    raise FormatError(msg)


def _require_order(items: list[Item]) -> None:
    ranks = ["e" if item.kind == "embedding" else "r" if item.cells else "d" for item in items]
    if not re.fullmatch("e?d*r+d*", "".join(ranks)):
        got = listed(item.path for item in items)
        msg = f"the layers must be Embedding or Dense, SimpleRNN or Bidirectional, and Dense, in this order; got {got}."
        raise FormatError(msg)
