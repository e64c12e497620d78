"""Keras's configurations: a model as the chain of its layers, each of a class that is known.

A configuration is looked at, never deserialized: a class is a name that stands in the tables of this module.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rnn_backends.errors import FormatError
from rnn_backends.formats.keras.activations import LAYERS as ACTIVATIONS
from rnn_backends.formats.names import listed, shown, shown_value

MODELS = {"Sequential", "Functional"}
RECURRENT = {"SimpleRNN", "RNN", "Bidirectional"}
# Layers that do nothing but in training.
INERT = {
    "InputLayer", "Identity", "Dropout", "SpatialDropout1D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "ActivityRegularization",
}  # fmt: skip
GATED = {"LSTM", "GRU", "LSTMCell", "GRUCell", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"}
FOLDERS = {
    "SimpleRNN": "simple_rnn", "RNN": "rnn", "Bidirectional": "bidirectional", "Embedding": "embedding",
    "Dense": "dense", "TimeDistributed": "time_distributed", "Sequential": "sequential", "Functional": "functional",
    "SimpleRNNCell": "simple_rnn_cell",
}  # fmt: skip
"""The groups of the classes that hold weights; a second one of a class among its neighbours is ``dense_1``."""

_CELL = {"units", "activation", "use_bias", "dropout", "recurrent_dropout"}
_RUN = {"return_sequences", "return_state", "go_backwards", "stateful", "unroll", "zero_output_for_mask"}
OPTIONS = {
    "SimpleRNN": _CELL | _RUN, "SimpleRNNCell": _CELL, "RNN": {"cell", *_RUN}, "StackedRNNCells": {"cells"},
    "Bidirectional": {"merge_mode", "layer", "backward_layer"}, "TimeDistributed": {"layer"},
    "Embedding": {"input_dim", "output_dim", "mask_zero"}, "Masking": {"mask_value"},
    "Dense": {"units", "activation", "use_bias"}, "Activation": {"activation"}, "Softmax": {"axis"},
    "ReLU": {"max_value", "negative_slope", "threshold"}, "LeakyReLU": {"negative_slope"}, "ELU": {"alpha"},
}  # fmt: skip
"""The options that are honoured, or known to change nothing of what is computed."""
_TRAINING = ("_initializer", "_regularizer", "_constraint")
_DTYPES = {"float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"}
_MAX_DEPTH = 16
_NEUTRAL = {"training": (None, False)}
"""Values of options of a call that change nothing, beside None."""


class Part(NamedTuple):
    """A layer: the place of its weights in the file, its class and its configuration."""

    path: str
    kind: str
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name that its user gave it, for messages."""
        return shown_value(self.config.get("name", self.kind))

    def inner(self, option: str, path: str) -> "Part":
        """Return a layer that this one holds."""
        return part(self.config.get(option), f"{self.path}/{path}")

    def flag(self, option: str) -> bool:
        """Return an option that is true or false."""
        found = self.config.get(option)
        if not isinstance(found, bool):
            msg = f"`{option}` of {self.name} must be true or false; got {shown_value(found)}."
            raise FormatError(msg)
        return found


def part(held: Any, path: str) -> Part:
    """Return the layer that a configuration describes; a class or an option that is unknown is refused by name."""
    kind, config = (held.get("class_name"), held.get("config")) if isinstance(held, Mapping) else (None, None)
    if not isinstance(kind, str) or not isinstance(config, Mapping):
        msg = f"a layer must be described by its class_name and config; got {shown_value(held)}."
        raise FormatError(msg)
    found = Part(path, kind, config)
    module, registered = held.get("module"), held.get("registered_name")
    is_keras = (
        isinstance(module, str) and module.partition(".")[0] == "keras" and (registered is None or registered == kind)
    )
    where = f"{found.name} is a {shown(f'{module}.{kind}')}"
    if is_keras and kind in GATED:
        msg = f"{where}, which has gates; this package runs vanilla RNNs, SimpleRNN."
        raise FormatError(msg)
    if is_keras and kind == "Lambda":
        msg = f"{where}, which is code; nothing in a model is executed. Take it out."
        raise FormatError(msg)
    if not is_keras or kind not in {*MODELS, *INERT, *OPTIONS}:
        known = ", ".join(sorted({*MODELS, *INERT, *OPTIONS}))
        msg = f"{where}, which is not understood; understood are keras's own {known}."
        raise FormatError(msg)
    if kind in OPTIONS:
        _require_known(found)
    return found


def chain(held: Any, path: str = "", depth: int = 0) -> list[Part]:
    """Return the layers that compute, of a layer or of a model, from its input to its output."""
    found = part(held, path)
    if found.kind not in MODELS:
        return [found] if found.kind not in INERT else []
    layers = found.config.get("layers")
    if not isinstance(layers, Sequence) or isinstance(layers, str) or depth > _MAX_DEPTH:
        msg = f"{found.name} must have a list of layers, and at most {_MAX_DEPTH} models in each other."
        raise FormatError(msg)
    ordered = list(zip(layers, folders(f"{path}/layers".lstrip("/"), layers), strict=True))
    if found.kind == "Functional":
        ordered = _ordered(found, ordered)
    return [each for layer, folder in ordered for each in chain(layer, folder, depth + 1)]


def folders(path: str, layers: Sequence[Any]) -> list[str]:
    """Return the folders of the weights of neighbours: simple_rnn, simple_rnn_1, dense."""
    taken: dict[str, int] = {}
    found = []
    for layer in layers:
        kind = layer.get("class_name") if isinstance(layer, Mapping) else None
        folder = FOLDERS.get(kind, "?") if isinstance(kind, str) else "?"
        number = taken.setdefault(folder, 0)
        taken[folder] += 1
        found.append(f"{path}/{folder}_{number}" if number else f"{path}/{folder}")
    return found


def _require_known(found: Part) -> None:
    known = OPTIONS[found.kind] | {"name", "trainable", "dtype", "seed"}
    for option, value in found.config.items():
        if value is not None and option not in known and not str(option).endswith(_TRAINING):
            msg = f"{found.name}, a {found.kind}, has the option {shown(option)}, which is not understood."
            raise FormatError(msg)
    policy = found.config.get("dtype")
    if isinstance(policy, Mapping) and policy.get("class_name") == "DTypePolicy":
        policy = policy["config"].get("name") if isinstance(policy.get("config"), Mapping) else policy
    if policy is not None and not (isinstance(policy, str) and policy in _DTYPES):
        named = policy.get("class_name") if isinstance(policy, Mapping) else policy
        msg = f"{found.name} has the dtype policy {shown_value(named)}; it must be one of {', '.join(sorted(_DTYPES))}."
        raise FormatError(msg)


def _ordered(model: Part, layers: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Return the layers of a functional model, each of which must be fed by the one before and by nothing else."""
    by_name = {_text(layer, "name"): (layer, folder) for layer, folder in layers}
    (first, last) = (_ends(model, option) for option in ("input_layers", "output_layers"))
    if by_name.get(first, ({}, ""))[0].get("class_name") != "InputLayer":
        msg = f"the input of {model.name} must be an InputLayer; {shown(first)} is none."
        raise FormatError(msg)
    names = [last]
    while names[-1] != first and names[-1] in by_name and len(names) < len(layers):
        names.append(_fed_by(names[-1], by_name[names[-1]][0]))
    if len({*names} & by_name.keys()) != len(layers) or names[-1] != first:
        others = listed(sorted(by_name.keys() - {*names}))
        msg = (
            f"the layers of {model.name} must be one chain from its input to its output; beside it there are {others}."
        )
        raise FormatError(msg)
    return [by_name[name] for name in names[-2::-1]]


def _ends(model: Part, option: str) -> str:
    """Return the name of the one layer that is a model's input or output."""
    held = model.config.get(option)
    if isinstance(held, (list, tuple)) and len(held) == 1:
        (held,) = held
    if not isinstance(held, (list, tuple)) or len(held) != 3 or [*held[1:]] != [0, 0] or not isinstance(held[0], str):
        msg = (
            f"{model.name} must have one input and one output, the first that its layer gives; got {shown_value(held)}."
        )
        raise FormatError(msg)
    name: str = held[0]
    return name


def _fed_by(name: str, layer: Mapping[str, Any]) -> str:
    """Return the name of the layer whose output is all that a layer is called with."""
    try:
        (node,) = layer["inbound_nodes"]
        (tensor,) = node["args"]
        source, *place = tensor["config"]["keras_history"]
        options = dict(node["kwargs"])
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{shown(name)} must be called once, with the output of one layer."
        raise FormatError(msg) from error
    given = [option for option, value in options.items() if value not in _NEUTRAL.get(option, (None,))]
    if given == ["mask"]:
        msg = (
            f"{shown(name)} is called with a mask, which a functional model computes beside its chain of layers. If a "
            "Masking or an Embedding(mask_zero=True) makes it, give or save keras.Sequential(model.layers) instead."
        )
        raise FormatError(msg)
    if place != [0, 0] or given or not isinstance(source, str):
        what = f"the option {shown(given[0])}" if given else "another"
        msg = f"{shown(name)} must be called with the first output of one layer alone; it is called with {what}."
        raise FormatError(msg)
    return source


def _text(held: Any, option: str) -> str:
    found = held.get(option) if isinstance(held, Mapping) else None
    if not isinstance(found, str):
        msg = f"each layer of a functional model must have a {option}; got {shown_value(found)}."
        raise FormatError(msg)
    return found


def is_activation(found: Part) -> bool:
    """Return whether a layer applies an activation, and nothing else."""
    return found.kind in ACTIVATIONS
