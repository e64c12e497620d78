"""Weights alone, which record their layers by names, and nothing else; what they leave open must be given.

Files of Keras 3, and ``.weights.h5`` files of Keras 2, record the class of each layer and its number among those of its
class, so that shapes must show which feeds which.  Keras 2's own ``.h5`` files record the order.
"""

from typing import NamedTuple

from rnn_backends.core.messages import shown
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.keras.activations import LINEAR, Activated, by_name
from rnn_backends.formats.keras.arrays import Arrays
from rnn_backends.formats.keras.attributes import names, text
from rnn_backends.formats.keras.folders import in_folders, in_order
from rnn_backends.formats.keras.items import Item
from rnn_backends.formats.keras.legacy import OLDER, Renamed
from rnn_backends.formats.keras.listed import listed_items
from rnn_backends.formats.keras.plan import NOT_ZERO, LinearPart, Plan
from rnn_backends.formats.keras.recurrent import CellPart, Recurrent
from rnn_backends.formats.keras.version import version_of
from rnn_backends.formats.keras.weights import Weights
from rnn_backends.formats.options import LoadOptions


class Alone(NamedTuple):
    """The plan of weights alone, where its arrays are, and the version of Keras, None where it is not recorded."""

    plan: Plan
    weights: Weights
    version: int | None


def of_weights(arrays: Arrays, options: LoadOptions) -> Alone:
    """Return the layers in their places."""
    if options.go_backwards is None:
        msg = f"weights alone do not record whether a SimpleRNN goes backwards; {way('go_backwards')}."
        raise ArgumentError(msg)
    if options.activation is None:
        msg = f"weights alone do not record the activation of the cells; {way('activation')}."
        raise FormatError(msg)
    weights: Weights = arrays
    if names(arrays.file, "", "layer_names") is not None:
        version: int | None = version_of((text(arrays.file, "", "keras_version") or b"2.0").decode("ascii", "replace"))
        items, places = listed_items(arrays)
        weights = Renamed(arrays, places)
    else:
        items = in_order(in_folders(arrays), arrays, options)
        # Keras 2 gives these groups no name.
        noted = text(arrays.file, f"{(items[0].cells or [items[0].path])[0]}/vars", "name")
        version = 2 if OLDER in arrays.file.group("") else None if noted is None else 3
    activated = by_name("activation", options.activation, version)
    return Alone(_plan(items, weights, activated, options), weights, version)


def _plan(items: list[Item], weights: Weights, activated: Activated, options: LoadOptions) -> Plan:
    plan = Plan()
    for item in items:
        if item.cells:
            cells = [CellPart(path, activated, weights.count(path) == 3) for path in item.cells]
            sides = (cells[:1], cells[1:]) if item.kind == "bidirectional" else (cells, [])
            sides = sides[::-1] if options.go_backwards and item.kind != "bidirectional" else sides
            plan.layers.append(Recurrent(shown(item.path), *sides, None))
        else:
            is_table = item.kind == "embedding"
            biased = weights.count(item.path) == 2
            linear = LinearPart(item.path, LINEAR if is_table else None, biased, is_table)
            (plan.readout if plan.layers else plan.encoder).append(linear)
    if not plan.readout and plan.layers[-1].both:
        msg = f"weights alone do not record how the last Bidirectional merges its directions; {way('keras_file')}."
        raise FormatError(msg)
    _require_masking(plan.embedding, options.masking)
    plan.mask = NOT_ZERO if options.masking else ""
    return plan


def _require_masking(embedding: str | None, masking: bool | None) -> None:
    if embedding is not None and masking is None:
        msg = (
            f"weights alone do not record whether an Embedding has mask_zero; {way('keras_mask_zero', mask=NOT_ZERO)}."
        )
        raise FormatError(msg)
    if embedding is None and masking:
        msg = f"there is no Embedding, which alone could mask steps here; {way('leave_out', option='masking')}."
        raise FormatError(msg)
