"""A model as the chain of its layers: those of Sequential models in order, others as they feed each other."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rnn_backends.core.messages import got, listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.keras.layers import MODELS, Dialect, Part, class_of, folders

_MAX_DEPTH = 16
_NEUTRAL = {"training": (None, False)}
"""Values of options of a call that change nothing, beside None."""
_LARGEST = 1e30
_MASKS = {"NotEqual", "Any"}
"""Operations of which Keras 3 makes the mask of a Masking or an Embedding, beside the chain."""


class Fed(NamedTuple):
    """The inputs of a layer of a functional model: the names of the layer before it, and of what makes its mask."""

    source: str
    mask: str | None


def chain(held: Any, dialect: Dialect) -> list[Part]:
    """Return the layers of a layer or of a model, from its input to its output."""
    return _chain(held, Part("", "", {}, dialect), 0)


def _chain(held: Any, outer: Part, depth: int) -> list[Part]:
    """Return the layers of a model in another, or a layer alone; `outer` holds their place."""
    found = outer.held(held, outer.path)
    if found.kind not in MODELS:
        return [] if found.kind == "InputLayer" else [found]
    layers = found.config.get("layers")
    if not isinstance(layers, Sequence) or isinstance(layers, str) or depth > _MAX_DEPTH:
        msg = f"{found.name} must have a list of layers, and at most {_MAX_DEPTH} models in each other."
        raise FormatError(msg)
    places = folders(f"{outer.path}/layers".lstrip("/"), layers)
    rows = [(layer, folder, outer.masked) for layer, folder in zip(layers, places, strict=True)]
    if found.kind != "Sequential":
        rows = _ordered(found, rows)
    nest = outer.path and f"{outer.path}/"
    return [
        each
        for layer, folder, masked in rows
        for each in _chain(
            layer,
            outer._replace(path=folder, top=outer.top or _name(layer), nest=nest, masked=masked),
            depth + 1,
        )
    ]


def _name(layer: Any) -> str:
    """Return the name of a layer, by which files of Keras 2 hold its weights."""
    config = layer.get("config") if isinstance(layer, Mapping) else None
    name = config.get("name") if isinstance(config, Mapping) else None
    return name if isinstance(name, str) else ""


def _ordered(model: Part, rows: list[tuple[Any, str, bool | None]]) -> list[tuple[Any, str, bool | None]]:
    """Return the layers of a functional model, each of which must be fed by the one before and by nothing else."""
    by_name = {_text(row[0], "name"): row for row in rows}
    masks = {name: layer for name, (layer, *_) in by_name.items() if _makes_masks(layer, model.dialect)}
    (first, last) = (_ends(model, option) for option in ("input_layers", "output_layers"))
    if first not in by_name or by_name[first][0].get("class_name") != "InputLayer":
        msg = f"the input of {model.name} must be an InputLayer; {shown(first)} is none."
        raise FormatError(msg)
    names, fed = [last], dict[str, Fed]()
    while names[-1] != first and names[-1] in by_name and len(names) < len(rows):
        fed[names[-1]] = _fed_by(names[-1], by_name[names[-1]][0], model.version)
        names.append(fed[names[-1]].source)
    if {*names} != by_name.keys() - masks or names[-1] != first:
        others = listed(sorted(by_name.keys() - masks - {*names}))
        msg = (
            f"the layers of {model.name} must be one chain from its input to its output; beside it there are {others}."
        )
        raise FormatError(msg)
    made = {_mask_of(by_name[name][0], fed[name].source) for name in names[:-1]} - {None}
    ordered = []
    for name in names[-2::-1]:
        layer, folder, outer = by_name[name]
        mask = fed[name].mask
        if mask is not None and (mask not in masks or _recipe(mask, masks) not in made):
            msg = f"{shown(name)} is called with a mask that no Masking or Embedding of the chain makes."
            raise FormatError(msg)
        is_explicit = model.version == 3 and masks
        ordered.append((layer, folder, mask is not None or bool(outer) if is_explicit else outer))
    return ordered


def _makes_masks(layer: Mapping[str, Any], dialect: Dialect) -> bool:
    module = layer.get("module")
    is_own = dialect.bare if module is None else isinstance(module, str) and module.startswith("keras.src.ops.")
    return is_own and class_of(layer) in _MASKS


def _mask_of(layer: Mapping[str, Any], source: str) -> tuple[str, float, bool] | None:
    """Return how the mask of a layer is made: of which layer's output, unequal to what, whether of all features."""
    config = layer.get("config")
    config = config if isinstance(config, Mapping) else {}
    if layer.get("class_name") == "Embedding" and config.get("mask_zero") is True:
        return source, 0.0, False
    if layer.get("class_name") == "Masking" and _is_number(config.get("mask_value")):
        return source, float(config["mask_value"]), True
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) < _LARGEST


def _recipe(name: str, masks: Mapping[str, Mapping[str, Any]]) -> tuple[str, float, bool] | None:
    """Return how a mask is made by operations, as by `_mask_of`; None if otherwise."""
    layer, over = masks[name], False
    try:
        if layer["class_name"] == "Any":
            (node,) = layer["inbound_nodes"]
            (tensor,) = node["args"]
            if layer["config"].get("axis") != -1 or layer["config"].get("keepdims"):
                return None
            layer, over = masks[tensor["config"]["keras_history"][0]], True
        (node,) = layer["inbound_nodes"]
        tensor, value = node["args"]
        source, value = tensor["config"]["keras_history"][0], float(value)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return (source, value, over) if layer["class_name"] == "NotEqual" and isinstance(source, str) else None


def _ends(model: Part, option: str) -> str:
    """Return the name of the one layer that is a model's input or output."""
    held = model.config.get(option)
    if isinstance(held, (list, tuple)) and len(held) == 1:
        (held,) = held
    if not isinstance(held, (list, tuple)) or len(held) != 3 or [*held[1:]] != [0, 0] or not isinstance(held[0], str):
        msg = f"{model.name} must have one input and one output, the first that its layer gives; got {got(held)}."
        raise FormatError(msg)
    name: str = held[0]
    return name


def _fed_by(name: str, layer: Mapping[str, Any], version: int) -> Fed:
    """Return what a layer is called with, which must be the output of one layer alone."""
    try:
        (node,) = layer["inbound_nodes"]
        if version == 3:
            (tensor,) = node["args"]
            source, *place = tensor["config"]["keras_history"]
            options = dict(node["kwargs"])
        else:
            ((source, *place, options),) = node
            options = dict(options)
    except (LookupError, TypeError, ValueError) as error:
        msg = f"{shown(name)} must be called once, with the output of one layer."
        raise FormatError(msg) from error
    mask = options.pop("mask", None)
    given = [option for option, value in options.items() if value not in _NEUTRAL.get(option, (None,))]
    # A model that is a layer has a node of its own, before the one of this call.
    if len(place) != 2 or not isinstance(place[0], int) or place[1] != 0 or given or not isinstance(source, str):
        what = f"the option {shown(given[0])}" if given else "another"
        msg = f"{shown(name)} must be called with the first output of one layer alone; it is called with {what}."
        raise FormatError(msg)
    return Fed(source, None if mask is None else _source_of(mask))


def _source_of(mask: Any) -> str:
    """Return the name of the operation that makes a mask; empty if it is none."""
    try:
        name = mask["config"]["keras_history"][0]
    except (LookupError, TypeError):
        return ""
    return name if isinstance(name, str) else ""


def _text(held: Any, option: str) -> str:
    found = held.get(option) if isinstance(held, Mapping) else None
    if not isinstance(found, str):
        msg = f"each layer of a functional model must have a {option}; got {got(found)}."
        raise FormatError(msg)
    return found
