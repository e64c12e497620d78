"""Keras 3: .keras and .weights.h5 files, and layers and models of a running Keras; Keras is not imported."""

import mmap
from math import inf
from pathlib import Path
from typing import Any, BinaryIO

from rnn_backends.core.layers import Network
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.archive import DAMAGE, Archive
from rnn_backends.formats.keras.activations import LINEAR
from rnn_backends.formats.keras.arrays import Arrays
from rnn_backends.formats.keras.hdf5 import SIGNATURE, File
from rnn_backends.formats.keras.layers import chain
from rnn_backends.formats.keras.live import LiveWeights, described, require_version
from rnn_backends.formats.keras.network import Plan, Weights, network, plan
from rnn_backends.formats.keras.weights import plan_of_weights
from rnn_backends.formats.names import short, shown
from rnn_backends.formats.native.description import LoadOptions, parse_json
from rnn_backends.formats.transposed import MAX_FOLDED

MAX_CONFIG = 2**20
_WEIGHTS = "model.weights.h5"


def read(path: Path, told: LoadOptions, go_backwards: bool | None = None, masking: bool | None = None) -> Network:
    """Read a network from a file; bfloat16 becomes float32, exactly."""
    _require_flag(masking)
    if path.suffix != ".keras" and not isinstance(go_backwards, bool):
        msg = (
            "weights alone do not tell whether a SimpleRNN goes backwards; pass go_backwards=False, or True if it was "
            f"made so; got {go_backwards!r}."
        )
        raise ArgumentError(msg)
    with path.open("rb") as file:
        try:
            if path.suffix == ".keras":
                _require_untold(told, go_backwards, "the file")
                return _read_archive(file, told, masking)
            return _read_weights(file, told, bool(go_backwards), masking)
        except FormatError as error:
            msg = f"{path}: {error}"
            raise FormatError(msg) from error
        except DAMAGE as error:
            msg = f"{path} is no {path.suffix} file, or is damaged: {short(error)}."
            raise FormatError(msg) from error


def from_object(
    source: Any, told: LoadOptions, go_backwards: bool | None = None, masking: bool | None = None
) -> Network:
    """Return the network of a layer or a model of a running Keras."""
    _require_flag(masking)
    _require_untold(told, go_backwards, "the model")
    return _network(described(source), LiveWeights(source), told, masking, inf)


def _network(held: Any, weights: Weights, told: LoadOptions, masking: bool | None, most: float) -> Network:
    found = plan(chain(held))
    if found.mask and not masking:
        msg = (
            f"the model itself leaves out the steps where {found.mask} is False; here a mask is an argument of each "
            f"call. Pass masking=True, and mask={found.mask} at each call."
        )
        raise FormatError(msg)
    return network(found, weights, _completed(found, told), most)


def _completed(found: Plan, told: LoadOptions) -> LoadOptions:
    """Return what is told, which must not be what the model tells; a Dense without an activation leaves it open."""
    return (
        told if found.activation == LINEAR else told.left_out("the model", {"readout_activation": found.activation[0]})
    )


def _read_archive(file: BinaryIO, told: LoadOptions, masking: bool | None) -> Network:
    if file.read(4) != b"PK\3\4":
        msg = "it is no zip file, as those of Keras 3 are, or is cut short."
        raise FormatError(msg)
    archive = Archive(file, "Keras", "save it again with Keras")
    if unknown := archive.members.keys() - {"metadata.json", "config.json", _WEIGHTS}:
        msg = f"it holds {shown(min(unknown))}, which Keras does not write for an RNN."
        raise FormatError(msg)
    metadata = parse_json(archive.bytes("metadata.json", MAX_CONFIG), "metadata.json")
    require_version(metadata.get("keras_version"))
    config = parse_json(archive.bytes("config.json", MAX_CONFIG), "config.json")
    start, size, _ = archive.require(_WEIGHTS)
    weights = Arrays(File(memoryview(archive.data)[start : start + size]))
    return _network(config, weights, told, masking, MAX_FOLDED)


def _read_weights(file: BinaryIO, told: LoadOptions, go_backwards: bool, masking: bool | None) -> Network:
    if file.read(len(SIGNATURE)) != SIGNATURE:
        msg = "it is no HDF5 file, or is cut short."
        raise FormatError(msg)
    arrays = Arrays(File(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    return network(plan_of_weights(arrays, told, go_backwards, masking), arrays, told, MAX_FOLDED)


def _require_flag(masking: object) -> None:
    if masking is not None and not isinstance(masking, bool):
        msg = f"`masking` must be True or False; got {masking!r}."
        raise ArgumentError(msg)


def _require_untold(told: LoadOptions, go_backwards: bool | None, source: str) -> None:
    if go_backwards is not None:
        msg = f"{source} tells which layers go backwards; leave `go_backwards` out."
        raise FormatError(msg)
    if told.activation is not None:
        msg = f"{source} tells the activation of its cells; leave `activation` out."
        raise FormatError(msg)
