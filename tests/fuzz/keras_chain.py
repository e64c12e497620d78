"""A grammar of rows of Keras's layers, whose arrays mostly fit each other."""

from collections.abc import Mapping
from typing import Any

from fuzz import weights
from fuzz.draws import Draw
from fuzz.keras_layers import Layer
from fuzz.weights import Tensor

_ACTIVATIONS = (
    "tanh", "relu", "linear", "sigmoid", "softmax", "hard_sigmoid", "elu", "relu6", "leaky_relu", "softplus", "softsign", "log_softmax",
    "celu", "hard_tanh", "gelu", None,
)  # fmt: skip
tensor = weights.tensor


def chain(draw: Draw) -> list[Layer]:
    """Return layers in a row whose arrays fit each other."""
    width, found = 3, list[Layer]()
    if draw.once(4):
        found.append(Layer("Masking", {"mask_value": 0.0}))
    for _ in range(draw.pick((0, 0, 1, 2))):
        layer, width = _before(draw, width)
        found.append(layer)
    count = draw.pick((1, 1, 2, 3, 0))
    for number in range(count):
        layer, width = _recurrent(draw, width, draw.pick((number < count - 1, number < count - 1, True, False)))
        found.append(layer)
        if draw.once(8):
            found.append(_norm(draw, width))
    pooling = draw.once(5)
    if pooling and not draw.once(3):
        found.append(_pooling(draw))
    for _ in range(draw.pick((1, 0, 2, 3))):
        layer, width = _after(draw, width)
        found.append(layer)
    if pooling and draw.once(3):
        found.append(_pooling(draw))
    if draw.once(50):
        found *= 12
    if draw.once(20):
        found.insert(
            draw.below(len(found) + 1),
            Layer(
                draw.pick(("Lambda", "LSTM", "GRU", "Conv1D", "Attention", "Masking", "ConvLSTM1D")),
                {"mask_value": 0.0},
            ),
        )
    return found


def _pooling(draw: Draw) -> Layer:
    kind = draw.pick(("GlobalAveragePooling1D", "GlobalMaxPooling1D", "Flatten"))
    order = draw.pick(("channels_last", "channels_last", "channels_last", "channels_first"))
    return Layer(kind, {"data_format": order, "keepdims": draw.once(6)})


def _activation(draw: Draw) -> Any:
    kind = draw.below(12)
    if kind == 0:
        name, config = draw.pick(list(_LAYERS.items()))
        own: Any = varied(draw, config) if draw.below(8) < 7 else draw.value()
        return {"module": draw.pick(("keras.layers", "x")), "class_name": name, "config": own}
    if kind == 1:
        return {"module": "builtins", "class_name": "function", "config": draw.pick(("relu", "my_function"))}
    return "tanh" if kind < 6 else draw.pick(_ACTIVATIONS)


_LAYERS: Mapping[str, Mapping[str, Any]] = {
    "ReLU": {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}, "LeakyReLU": {"negative_slope": 0.3, "alpha": 0.3},
    "ELU": {"alpha": 1.0}, "Softmax": {"axis": -1}, "ThresholdedReLU": {"theta": 1.0}, "Activation": {"activation": "tanh"},
}  # fmt: skip


def varied(draw: Draw, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with one of them changed, now and then."""
    found = dict(config)
    if draw.once(3):
        deep = _nested("tanh", draw.pick((2, 3, 5)))
        number = {"class_name": "__numpy__", "config": {"value": 0.3, "dtype": "float32"}}
        found[draw.pick(list(found))] = draw.pick(
            (0.5, 0.0, 6.0, 1, [-1], None, number, number, _nested("tanh", 1), deep)
        )
        if draw.once(2):
            found[draw.pick(list(found))] = draw.pick((0.5, 6.0))
    return found


def _nested(name: Any, depth: int) -> Any:
    """Return the configuration of Activation layers in each other."""
    return (
        {"module": "keras.layers", "class_name": "Activation", "config": {"activation": _nested(name, depth - 1)}}
        if depth
        else name
    )


def _cell(draw: Draw, width: int, size: int, code: str, biased: bool) -> dict[str, Tensor]:
    found = {"kernel": tensor(draw, width, size, code=code), "recurrent_kernel": tensor(draw, size, size, code=code)}
    return found | ({"bias": tensor(draw, size, code=code)} if biased else {})


def _simple(draw: Draw, size: int, biased: bool, **more: Any) -> dict[str, Any]:
    found = {"units": size, "activation": _activation(draw), "use_bias": biased, "dropout": 0.0, **more}
    if draw.once(20):
        found[
            draw.pick(("dtype", "unroll", "stateful", "trainable", "odd", "kernel_initializer", "zero_output_for_mask"))
        ] = draw.pick((True, False, "float16", {"class_name": "DTypePolicy", "config": {"name": "float32"}}, 3))
    return found


def _recurrent(draw: Draw, width: int, sequences: bool) -> tuple[Layer, int]:
    size, biased, code = draw.pick((4, 3)), draw.below(6) > 0, draw.pick(("f4", "f4", "f2", "bf16", "f8"))
    run = {
        "return_sequences": sequences,
        "return_state": False,
        "go_backwards": draw.once(10),
        "stateful": draw.once(40),
        "unroll": draw.once(8),
        "zero_output_for_mask": draw.once(4),
    }
    kind = draw.below(10)
    if kind == 1:
        sides = {
            side: Layer("SimpleRNN", _simple(draw, size, biased, **run) | {"go_backwards": side == "backward_layer"})
            for side in ("layer", "backward_layer")
        }
        arrays = {f"{side}_layer/cell": _cell(draw, width, size, code, biased) for side in ("forward", "backward")}
        kind = draw.below(24)
        if kind < 4:
            del sides["backward_layer"]
        elif kind == 5:
            sides["layer"].config["go_backwards"] = True
        elif kind == 6:
            sides["backward_layer"].config["return_sequences"] = not sequences
        elif 7 <= kind < 10:
            sides[draw.pick(list(sides))] = Layer("Dense", {"units": size, "activation": "tanh", "use_bias": biased})
        return Layer(
            "Bidirectional", {"merge_mode": draw.pick(("concat", "concat", "concat", "sum", None))}, arrays, sides
        ), 2 * size
    if kind == 2:
        cell = Layer(draw.pick(("SimpleRNNCell", "SimpleRNNCell", "LSTMCell")), _simple(draw, size, biased))
        if draw.once(2):
            return Layer("RNN", run, {"cell": _cell(draw, width, size, code, biased)}, {"cell": cell}), size
        held = [cell.described(3, 0) for _ in range(draw.pick((2, 1, 0)))]
        stack = Layer("StackedRNNCells", {"cells": held})
        arrays = {
            f"cell/cells/{'gru' if draw.once(6) else 'simple_rnn'}_cell{f'_{k}' if k else ''}": _cell(
                draw, width if k == 0 else size, size, code, biased
            )
            for k in range(len(held))
        }
        return Layer("RNN", run, arrays, {"cell": stack}), size
    return Layer(
        "SimpleRNN", _simple(draw, size, biased, **run), {"cell": _cell(draw, width, size, code, biased)}
    ), size


def _dense(draw: Draw, width: int) -> tuple[Layer, int]:
    size, biased = draw.pick((2, 3, 4)), draw.below(4) > 0
    config = {"units": size, "activation": draw.pick(("linear", _activation(draw))), "use_bias": biased}
    own = {"kernel": tensor(draw, width, size), **({"bias": tensor(draw, size)} if biased else {})}
    if draw.once(6):
        return Layer("TimeDistributed", {}, {"layer": own}, {"layer": Layer("Dense", config)}), size
    if draw.once(12):
        inner = _norm(draw, width)
        return Layer("TimeDistributed", {}, {"layer": inner.arrays.get("", {})}, {"layer": inner}), width
    return Layer("Dense", config, {"": own}), size


def _norm(draw: Draw, width: int) -> Layer:
    kind, wide = draw.below(3), width + 1 if draw.once(20) else width
    if kind == 1:
        config: dict[str, Any] = {
            "axis": draw.pick((-1, [-1], None, [2], 1)),
            "invert": draw.once(4),
            "mean": draw.pick((None, None, 0.5, [[0.1] * width])),
            "variance": draw.pick((None, [[1.0] * width])),
        }
        own = {name: tensor(draw, wide) for name in ("mean", "variance")} | {
            "count": tensor(draw, code="i8" if draw.once(2) else "f4")
        }
        return Layer("Normalization", config, {"": own} if config["mean"] is None else {})
    if kind == 2:
        return Layer(
            "Rescaling",
            {
                "scale": draw.pick((0.5, [0.5] * width, [[0.5] * width], "x")),
                "offset": draw.pick((0.0, [0.25] * width)),
            },
        )
    config = {
        "axis": draw.pick((-1, [2], 1)),
        "momentum": 0.99,
        "epsilon": 1e-3,
        "center": draw.below(4) > 0,
        "scale": draw.below(4) > 0,
    }
    own = {name: tensor(draw, wide) for name, option in (("gamma", "scale"), ("beta", "center")) if config[option]}
    return Layer(
        "BatchNormalization",
        config,
        {"": own | {name: tensor(draw, width) for name in ("moving_mean", "moving_variance")}},
    )


def _before(draw: Draw, width: int) -> tuple[Layer, int]:
    kind = draw.below(5)
    if kind == 0:
        return Layer(
            "Embedding",
            {"input_dim": 5, "output_dim": width, "mask_zero": draw.once(2)},
            {"": {"embeddings": tensor(draw, 5, width)}},
        ), width
    if kind == 1:
        return Layer("Masking", {"mask_value": draw.pick((0.0, 1, "x", None))}), width
    return _dense(draw, width) if kind == 2 else (_norm(draw, width), width) if kind == 3 else _after(draw, width)


def _after(draw: Draw, width: int) -> tuple[Layer, int]:
    kind = draw.below(7)
    if kind == 1:
        name, config = draw.pick(list(_LAYERS.items()))
        return Layer(
            name, {**config, "activation": _activation(draw)} if name == "Activation" else varied(draw, config)
        ), width
    if kind == 2:
        return Layer(draw.pick(("Dropout", "Identity", "GaussianNoise", "SpatialDropout1D")), {"rate": 0.5}), width
    if kind == 3:
        return _norm(draw, width), width
    return _dense(draw, width)
