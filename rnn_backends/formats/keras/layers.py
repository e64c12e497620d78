"""Keras's configurations: a model as the chain of its layers, each of a class that is known.

A configuration is looked at, never deserialized: a class is a name that stands in the tables of this module.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from rnn_backends.core.messages import got, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.keras.activations import LAYERS as ACTIVATIONS

MODELS = {"Sequential", "Functional"}
RECURRENT = {"SimpleRNN", "RNN", "Bidirectional"}
# Layers that do nothing but in training.
INERT = {
    "InputLayer", "Identity", "Dropout", "SpatialDropout1D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "ActivityRegularization",
}  # fmt: skip
GATED = {"LSTM", "GRU", "LSTMCell", "GRUCell", "CuDNNLSTM", "CuDNNGRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"}
FOLDERS = {
    "SimpleRNN": "simple_rnn", "RNN": "rnn", "Bidirectional": "bidirectional", "Embedding": "embedding",
    "Dense": "dense", "TimeDistributed": "time_distributed", "Sequential": "sequential", "Functional": "functional",
    "SimpleRNNCell": "simple_rnn_cell", "BatchNormalization": "batch_normalization", "Normalization": "normalization",
}  # fmt: skip
"""The groups of the classes that hold weights; a second one of a class among its neighbours is ``dense_1``."""

_CELL = {"units", "activation", "use_bias", "dropout", "recurrent_dropout"}
_RUN = {"return_sequences", "return_state", "go_backwards", "stateful", "unroll", "zero_output_for_mask"}
_POOLING = {"data_format", "keepdims"}
OPTIONS = {
    "SimpleRNN": _CELL | _RUN, "SimpleRNNCell": _CELL, "RNN": {"cell", *_RUN}, "StackedRNNCells": {"cells"},
    "Bidirectional": {"merge_mode", "layer", "backward_layer"}, "TimeDistributed": {"layer"},
    "Embedding": {"input_dim", "output_dim", "mask_zero"}, "Masking": {"mask_value"},
    "Dense": {"units", "activation", "use_bias"}, "Activation": {"activation"}, "Softmax": {"axis"},
    "ReLU": {"max_value", "negative_slope", "threshold"}, "LeakyReLU": {"negative_slope"}, "ELU": {"alpha"},
    "BatchNormalization": {"axis", "momentum", "epsilon", "center", "scale", "synchronized", "renorm_momentum"},
    "Normalization": {"axis", "invert", "mean", "variance"}, "Rescaling": {"scale", "offset"},
    "GlobalAveragePooling1D": _POOLING, "GlobalMaxPooling1D": _POOLING, "Flatten": {"data_format"},
}  # fmt: skip
"""The options that are honoured, or known to change nothing of what is computed."""
OPTIONS_OF_2 = {
    "LeakyReLU": {"alpha"}, "ThresholdedReLU": {"theta"}, "Embedding": {"input_length", "sparse"},
    "StackedRNNCells": {"reverse_state_order"}, "SimpleRNN": {"implementation"}, "RNN": {"implementation"},
    "BatchNormalization": {"fused"}, "Bidirectional": {"implementation"},
}  # fmt: skip
_TRAINING = ("_initializer", "_regularizer", "_constraint")
_DTYPES = {"float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"}
_POLICIES = {"DTypePolicy", "Policy"}
_LISTED, _LONGEST = 8, 160
"""The most layers that a message names, and the most characters of their names."""
_ROOTS = {"keras", "tf_keras"}


class Dialect(NamedTuple):
    """A version of Keras, 2 or 3, and whether its configurations may be without the module of a class."""

    version: int
    bare: bool = False


class Part(NamedTuple):
    """A layer: the place of its weights in the file, its class and its configuration.

    Parameters
    ----------
    path, kind, config
    dialect : Dialect
    top : str
        The name of the layer of the whole model that it is, or that it is in.
    nest : str
        The place of the model that it is in.
    masked : bool, optional
        Whether it is given the mask of the steps; None where masks go by themselves from layer to layer.
    """

    path: str
    kind: str
    config: Mapping[str, Any]
    dialect: Dialect = Dialect(3)
    top: str = ""
    nest: str = ""
    masked: bool | None = None

    @property
    def name(self) -> str:
        """The name that its user gave it, for messages."""
        return got(self.config.get("name", self.kind))

    @property
    def version(self) -> int:
        """The version of Keras."""
        return self.dialect.version

    def inner(self, option: str, path: str) -> "Part":
        """Return a layer that this one holds."""
        return self.held(self.config.get(option), f"{self.path}/{path}")

    def held(self, described: Any, path: str) -> "Part":
        """Return a layer that this one holds, by its configuration."""
        return part(described, path, self.dialect)._replace(top=self.top, nest=self.nest, masked=self.masked)

    def flag(self, option: str, default: bool | None = None) -> bool:
        """Return an option that is true or false; Keras 2 may leave out one that has a default."""
        found = self.config.get(option, default if self.version == 2 else None)
        if not isinstance(found, bool):
            msg = f"`{option}` of {self.name} must be true or false; got {got(found)}."
            raise FormatError(msg)
        return found


def part(held: Any, path: str, dialect: Dialect) -> Part:
    """Return the layer that a configuration describes; a class or an option that is unknown is refused by name."""
    kind, config = (held.get("class_name"), held.get("config")) if isinstance(held, Mapping) else (None, None)
    if kind == "Model" and dialect.version == 2:
        kind = "Functional"  # as Keras 2 called it first
    if kind == "Sequential" and isinstance(config, list) and dialect.bare:
        config = {"layers": config}  # as the first Keras 2 wrote it
    if not isinstance(kind, str) or not isinstance(config, Mapping):
        msg = f"a layer must be described by its class_name and config; got {got(held)}."
        raise FormatError(msg)
    found = Part(path, kind, config, dialect)
    module, is_keras = held.get("module"), _is_keras(held, dialect)
    where = f"{found.name} is a {shown(kind if module is None and dialect.bare else f'{module}.{kind}')}"
    if is_keras and kind in GATED:
        msg = f"{where}, which has gates; this package runs vanilla RNNs, SimpleRNN."
        raise FormatError(msg)
    if is_keras and kind == "Lambda":
        msg = f"{where}, which is code; nothing in a model is executed."
        raise FormatError(msg)
    if not is_keras or kind not in {*MODELS, *INERT, *_options(dialect)}:
        is_own_model = not is_keras and not path
        known = "understood are keras's own layers that docs/coming_from.md lists"
        advice = f"with Keras, {way('keras_sequential')}" if is_own_model else known
        msg = f"{where}, which is not understood; {advice}."
        raise FormatError(msg)
    if kind in _options(dialect):
        _require_known(found)
    return found


def _is_keras(held: Mapping[str, Any], dialect: Dialect) -> bool:
    module, registered = held.get("module"), held.get("registered_name")
    if registered is not None and registered != held.get("class_name"):
        return False
    if module is None:
        return dialect.bare
    return isinstance(module, str) and (
        module.partition(".")[0] in _ROOTS or module.startswith("tensorflow.python.keras.")
    )


def _options(dialect: Dialect) -> Mapping[str, set[str]]:
    return OPTIONS if dialect.version == 3 else {**OPTIONS_OF_2, **OPTIONS}


def class_of(held: Any) -> str:
    """Return the class that a configuration names; empty if it names none."""
    kind = held.get("class_name") if isinstance(held, Mapping) else None
    return kind if isinstance(kind, str) else ""


def folders(path: str, layers: Sequence[Any]) -> list[str]:
    """Return the folders of the weights of neighbours: simple_rnn, simple_rnn_1, dense."""
    taken: dict[str, int] = {}
    found = []
    for layer in layers:
        folder = FOLDERS.get(class_of(layer), "?")
        number = taken.setdefault(folder, 0)
        taken[folder] += 1
        found.append(f"{path}/{folder}_{number}" if number else f"{path}/{folder}")
    return found


def _require_known(found: Part) -> None:
    known = OPTIONS.get(found.kind, set()) | {"name", "trainable", "dtype", "seed"}
    if found.version == 2:
        known |= OPTIONS_OF_2.get(found.kind, set()) | {"batch_input_shape", "input_dim", "input_shape"}
    for option, value in found.config.items():
        # A flag that is false, or no value, is one that does nothing.
        if value is not None and value is not False and option not in known and not str(option).endswith(_TRAINING):
            msg = f"{found.name}, a {found.kind}, has the option {shown(option)}, which is not understood."
            raise FormatError(msg)
    policy = found.config.get("dtype")
    if isinstance(policy, Mapping) and class_of(policy) in _POLICIES:
        policy = policy["config"].get("name") if isinstance(policy.get("config"), Mapping) else policy
    if policy is not None and not (isinstance(policy, str) and policy in _DTYPES):
        named = policy.get("class_name") if isinstance(policy, Mapping) else policy
        msg = f"{found.name} has the dtype policy {got(named)}; it must be one of {', '.join(sorted(_DTYPES))}."
        raise FormatError(msg)


def is_activation(found: Part) -> bool:
    """Return whether a layer applies an activation, and nothing else."""
    return found.kind in ACTIVATIONS


def outline(parts: Sequence[Part]) -> str:
    """Return the first of some layers, for a message, and how many more there are."""
    names = [f"{part.name} ({part.kind})" for part in parts[:_LISTED]]
    count = max(1, sum(length <= _LONGEST for length in accumulate(map(len, names))))
    more = f" and {len(parts) - count} more" if len(parts) > count else ""
    return ", ".join(names[:count]) + more or "none"
