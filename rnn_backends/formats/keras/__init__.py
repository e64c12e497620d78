"""Keras 2 and 3: their files, and layers and models of a running Keras; Keras is not imported."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rnn_backends.core.messages import shown
from rnn_backends.core.network import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.archive import Archive
from rnn_backends.formats.arrays import ToHost
from rnn_backends.formats.json_text import parse_json
from rnn_backends.formats.keras.activations import by_name
from rnn_backends.formats.keras.alone import of_weights
from rnn_backends.formats.keras.arrays import Arrays
from rnn_backends.formats.keras.attributes import text
from rnn_backends.formats.keras.chain import chain
from rnn_backends.formats.keras.hdf5 import SIGNATURE, File
from rnn_backends.formats.keras.layers import Dialect, Part
from rnn_backends.formats.keras.legacy import OLDER, Older, of_model
from rnn_backends.formats.keras.live import LiveWeights, described
from rnn_backends.formats.keras.network import network
from rnn_backends.formats.keras.plan import plan
from rnn_backends.formats.keras.version import version_of
from rnn_backends.formats.keras.weights import Weights
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Source

_WEIGHTS = "model.weights.h5"
_MODEL = "model_config"
_KEPT = "model_weights"


def read(source: Source, options: LoadOptions, _: str) -> Network:
    """Read a network from a file; bfloat16 becomes float32, exactly."""
    begin = source.read(0, min(8, source.size))
    if begin[:4] == b"PK\3\4":
        return _read_archive(source, options)
    if begin != SIGNATURE:
        msg = "it is neither a zip file, as a .keras file is, nor an HDF5 file, or it is cut short."
        raise FormatError(msg)
    arrays = Arrays(File(source))
    if text(arrays.file, "", _MODEL) is not None:
        return _read_model(arrays, options)
    alone = of_weights(arrays, options)
    return network(alone.plan, alone.weights, _looked_up(options, alone.version), source.account)


def from_object(source: Any, options: LoadOptions, to_host: ToHost) -> Network:
    """Return the network of a layer or a model of a running Keras."""
    held, dialect = described(source)
    return _network(held, dialect, lambda _: LiveWeights(source, to_host), options, Account())


def _network(
    held: Any, dialect: Dialect, weights: Callable[[list[Part]], Weights], options: LoadOptions, account: Account
) -> Network:
    """Return the network of a model that is described."""
    options.require_left_out("the model", ("activation", "reads"))
    parts = chain(held, dialect)
    found = plan(parts)
    if not found.is_turned:
        options.require_left_out("the model", ("go_backwards",))
    if found.mask and not options.masking:
        msg = (
            f"the model itself leaves out the steps where {found.mask} is False; here a mask is an argument of each "
            f"call; {way('keras_masking', mask=found.mask)}."
        )
        raise FormatError(msg)
    return network(found, weights(parts), _looked_up(options, dialect.version), account)


def _looked_up(options: LoadOptions, version: int | None) -> LoadOptions:
    """Return the options with the activations that their names mean in a version of Keras, where it is known."""
    found: dict[str, Any] = {}
    for option in ("readout_activation", "encoder_activation"):
        given = getattr(options, option)
        if isinstance(given, tuple):
            found[option] = tuple(_unclipped(option, each, version) for each in given)
        elif given is not None:
            found[option] = _unclipped(option, given, version)
    return replace(options, **found)


def _unclipped(option: str, given: Callable[..., Any], version: int | None) -> Callable[..., Any]:
    function, clip = by_name(option, given, version)
    if clip is not None:
        msg = f"`{option}` cannot clip, as hard_tanh does."
        raise FormatError(msg)
    return function


def _read_archive(source: Source, options: LoadOptions) -> Network:
    archive = Archive(source, "Keras")
    if unknown := archive.members.keys() - {"metadata.json", "config.json", _WEIGHTS}:
        msg = f"it holds {shown(min(unknown))}, which Keras does not write for an RNN."
        raise FormatError(msg)
    metadata = parse_json(archive.read("metadata.json"), "metadata.json", source.account)
    version = version_of(metadata.get("keras_version"))
    config = parse_json(archive.read("config.json"), "config.json", source.account)
    arrays = Arrays(File(archive.part(_WEIGHTS)))
    weights: Weights = Older(arrays) if OLDER in arrays.file.group("") else arrays
    return _network(config, Dialect(version, version == 2), lambda _: weights, options, source.account)


def _read_model(arrays: Arrays, options: LoadOptions) -> Network:
    """Return the network of an HDF5 file of a whole model."""
    file, account = arrays.file, arrays.file.source.account
    version = version_of((text(file, "", "keras_version") or b"").decode("utf-8", "backslashreplace"))
    config = parse_json(text(file, "", _MODEL) or b"", _MODEL, account)
    return _network(config, Dialect(version, bare=True), lambda parts: of_model(arrays, _KEPT, parts), options, account)
