"""Keras 3: .keras and .weights.h5 files, and layers and models of a running Keras; Keras is not imported."""

from pathlib import Path
from typing import Any

from rnn_backends.core.network import Network
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.archive import Archive
from rnn_backends.formats.arrays import ToHost
from rnn_backends.formats.json_text import parse_json
from rnn_backends.formats.keras.activations import LINEAR
from rnn_backends.formats.keras.arrays import Arrays
from rnn_backends.formats.keras.hdf5 import File
from rnn_backends.formats.keras.layers import chain
from rnn_backends.formats.keras.live import LiveWeights, described, require_version
from rnn_backends.formats.keras.network import Plan, Weights, network, plan
from rnn_backends.formats.keras.weights import plan_of_weights
from rnn_backends.formats.names import shown
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Account, Source, opened

RECORDED = ("go_backwards", "activation")
_WEIGHTS = "model.weights.h5"


def read(source: Source, options: LoadOptions, path: Path) -> Network:
    """Read a network from a file; bfloat16 becomes float32, exactly."""
    with opened(path) as source:
        if path.suffix == ".keras":
            options.require_left_out("the file", RECORDED)
            return _read_archive(source, options)
        if options.go_backwards is None:
            msg = (
                "weights alone do not record whether a SimpleRNN goes backwards; pass go_backwards=False, or True if "
                "it was made so."
            )
            raise ArgumentError(msg)
        arrays = Arrays(File(source))
        return network(plan_of_weights(arrays, options), arrays, options, source.account)


def from_object(source: Any, options: LoadOptions, to_host: ToHost) -> Network:
    """Return the network of a layer or a model of a running Keras."""
    options.require_left_out("the model", RECORDED)
    return _network(described(source), LiveWeights(source, to_host), options, Account())


def _network(held: Any, weights: Weights, options: LoadOptions, account: Account) -> Network:
    found = plan(chain(held))
    if found.mask and not options.masking:
        msg = (
            f"the model itself leaves out the steps where {found.mask} is False; here a mask is an argument of each "
            f"call. Pass masking=True, and mask={found.mask} at each call."
        )
        raise FormatError(msg)
    return network(found, weights, _completed(found, options), account)


def _completed(found: Plan, options: LoadOptions) -> LoadOptions:
    """Return the options with the readout's activation, unless a Dense without one leaves that open."""
    if found.activation == LINEAR:
        return options
    return options.completed("the model", {"readout_activation": found.activation[0]})


def _read_archive(source: Source, options: LoadOptions) -> Network:
    if source.read(0, min(4, source.size)) != b"PK\3\4":
        msg = "it is no zip file, as those of Keras 3 are, or is cut short."
        raise FormatError(msg)
    archive = Archive(source, "Keras")
    if unknown := archive.members.keys() - {"metadata.json", "config.json", _WEIGHTS}:
        msg = f"it holds {shown(min(unknown))}, which Keras does not write for an RNN."
        raise FormatError(msg)
    metadata = parse_json(archive.read("metadata.json"), "metadata.json", source.account)
    require_version(metadata.get("keras_version"))
    config = parse_json(archive.read("config.json"), "config.json", source.account)
    return _network(config, Arrays(File(archive.part(_WEIGHTS))), options, source.account)
