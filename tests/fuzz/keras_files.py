"""Files of Keras 2 and 3: a grammar of layers, and the arrays that they have where their files hold them."""

from typing import Any

from fuzz import hdf5, jsons, weights, zips
from fuzz import keras_layers as kl
from fuzz.cases import Case, options
from fuzz.draws import Draw, damaged
from fuzz.hdf5_groups import grouped
from fuzz.keras_chain import chain
from fuzz.keras_layers import Layer
from fuzz.weights import Tensor, changed
from rnn_backends import Activation

_FOLDERS = {
    "SimpleRNN": "simple_rnn", "RNN": "rnn", "Bidirectional": "bidirectional", "Embedding": "embedding", "Dense": "dense",
    "TimeDistributed": "time_distributed", "Sequential": "sequential", "Functional": "functional", "LSTM": "lstm", "GRU": "gru",
    "BatchNormalization": "batch_normalization", "Normalization": "normalization", "Masking": "masking", "Dropout": "dropout",
}  # fmt: skip
_GIVEN = {"go_backwards": False, "readout_activation": "linear"}


def _model(draw: Draw, version: int, depth: int = 0) -> tuple[Any, list[tuple[str, Layer]]]:
    """Return the configuration of a model, and its layers by the folders of their arrays."""
    layers = chain(draw)
    held: list[Any] = []
    placed: list[tuple[str, Layer]] = []
    taken: dict[str, int] = {}
    for layer in layers:
        folder = _FOLDERS.get(layer.kind, layer.kind.lower())
        number = taken.setdefault(folder, 0)
        taken[folder] += 1
        placed.append((f"layers/{folder}_{number}" if number else f"layers/{folder}", layer))
        held.append(layer.described(version, number))
    if depth == 0 and draw.once(8):
        inner, more = _model(draw, version, 1)
        held.append(inner)
        placed += [
            (f"layers/{'sequential' if inner['class_name'] == 'Sequential' else 'functional'}/{path}", layer)
            for path, layer in more
        ]
    if draw.once(3):
        return kl.functional(draw, held, version), placed
    if version == 2 and draw.once(6):
        return {"class_name": "Sequential", "config": held}, placed
    first = kl.described("InputLayer", version, 0, {"name": "input"})
    return kl.described("Sequential", version, 0, {"name": "model", "layers": [first, *held]}), placed


def _options(draw: Draw, base: dict[str, Any]) -> dict[str, Any]:
    """Return options, in which an activation is seldom a record and no name."""
    found = options(draw, "keras", [], base)
    if "activation" in found and draw.once(6):
        found["activation"] = Activation("elu", 0.5)
    return found


def archive(draw: Draw) -> Case:
    """Return a .keras file."""
    version = draw.pick((3, 3, 3, 2))
    config, placed = _model(draw, version)
    arrays = {f"{path}/{own}": array for path, layer in placed for own, array in layer.folders().items()}
    if version == 2 and draw.once(2):
        arrays = {
            path.replace("layers/", "_layer_checkpoint_dependencies/", 1): array for path, array in arrays.items()
        }
    arrays |= {"optimizer/vars/0": weights.tensor(draw, 1)} if draw.once(6) else {}
    if draw.once(3):
        arrays = changed(draw, arrays)
    held = hdf5.Writer(draw).whole(grouped(arrays, {}))
    metadata = {"keras_version": kl.version(draw, version), "date_saved": "2024"}
    text = jsons.written(draw, jsons.changed(draw, config) if draw.once(2) else config)
    members = [
        ("metadata.json", jsons.written(draw, jsons.changed(draw, metadata) if draw.once(8) else metadata)),
        ("config.json", text),
    ]
    members.append(("model.weights.h5", damaged(draw, held) if draw.once(20) else held))
    if draw.once(30):
        members.append(draw.pick((("assets/vocabulary.txt", b"a\nb"), ("x.py", b""))))
    given = _options(draw, {} if draw.once(3) else {"masking": True})
    whole = zips.written(draw, members, deflated=draw.once(12))
    return Case(".keras", damaged(draw, whole) if draw.once(30) else whole, given)


def alone(draw: Draw) -> Case:
    """Return a .weights.h5 file of Keras 3, or of Keras 2: groups by class, in no order."""
    version = draw.pick((3, 3, 2))
    activation = draw.pick(("tanh", "tanh", "tanh", "hard_sigmoid"))
    _, placed = _model(draw, version)
    arrays = {f"{path}/{own}": array for path, layer in placed for own, array in layer.folders().items()}
    attributes: dict[str, Any] = {}
    if version == 3:
        attributes = {path.rpartition("/")[0]: {"name": draw.pick(("vars", "simple_rnn", ""))} for path in arrays}
    elif draw.once(2):
        arrays = {
            path.replace("layers/", "_layer_checkpoint_dependencies/", 1): array for path, array in arrays.items()
        }
    if draw.once(6):
        arrays[
            draw.pick(("optimizer/vars/0", "my_model/layers/x", "layers/lstm/cell/vars/0", "layers/dropout/vars/0"))
        ] = weights.tensor(draw, 3)
    if draw.once(3):
        arrays = changed(draw, arrays)
    return _h5(draw, arrays, attributes, activation)


def _h5(
    draw: Draw,
    arrays: dict[str, Tensor],
    attributes: dict[str, Any],
    activation: str = "tanh",
    *,
    is_model: bool = False,
) -> Case:
    whole = hdf5.Writer(draw).whole(grouped(arrays, attributes))
    masking = draw.pick(({}, {"masking": False}, {"masking": True}))
    given = _options(draw, {} if is_model and not draw.once(3) else {**_GIVEN, "activation": activation, **masking})
    return Case(".h5", damaged(draw, whole) if draw.once(16) else whole, given)


def whole(draw: Draw) -> Case:
    """Return an .h5 file of a whole model, or of its weights, in the layout of Keras 2."""
    version, is_model = draw.pick((2, 2, 3)), draw.pick((True, False))
    config, placed = _model(draw, version)
    root = "model_weights" if is_model else ""
    arrays: dict[str, Tensor] = {}
    attributes: dict[str, dict[str, Any]] = {}
    tops: list[str] = []
    for number, (_, layer) in enumerate(placed):
        top = layer.name_of(number) if draw.once(30) else layer.name
        group = f"{root}/{top}".lstrip("/")
        own = layer.listed()
        names = attributes.setdefault(group, {}).setdefault("weight_names", [])
        for name, array in own.items():
            deep = "a/" * draw.pick((1, 70)) if draw.once(60) else ""
            path = f"{deep}{layer.name}/{name}{draw.pick((':0', ':0', ''))}"
            names.append(path)
            arrays[f"{group}/{path}"] = array
        tops.append(top)
    if draw.once(8):
        group = draw.pick(list(attributes) or [""])
        attributes.setdefault(group, {})[draw.pick(("weight_names", "weight_names0", "x"))] = draw.pick(
            ([], ["a", "a"], ["b" * 3000], "kernel:0", ["é"])
        )
    listed: Any = draw.pick((tops, tops, tops, tops, [*tops, *tops], tops[::-1], []))
    attributes.setdefault(root, {})
    if draw.once(10):
        attributes[root] |= {"layer_names0": listed[:1], "layer_names1": listed[1:]}
    else:
        attributes[root]["layer_names"] = listed
    versions = {"keras_version": kl.version(draw, version), "backend": "tensorflow"}
    attributes.setdefault("", {}).update({} if draw.once(12) else versions)
    if is_model:
        text = jsons.written(draw, jsons.changed(draw, config) if draw.once(3) else config)
        held = text.decode("utf-8", "replace")
        attributes[""]["model_config"] = [held, held] if draw.once(30) else held
    if draw.once(4):
        arrays = changed(draw, arrays)
    return _h5(draw, arrays, attributes, is_model=is_model)
