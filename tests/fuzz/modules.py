"""Modules of torch as they are saved whole: their classes, states and hooks, and the parts that networks have."""

from collections.abc import Mapping, Sequence
from typing import Any

from fuzz import weights
from fuzz.draws import Draw
from fuzz.pickles import Object

NN = "torch.nn.modules"
_ACTIVATIONS: Mapping[str, Mapping[str, Any]] = {
    "Tanh": {}, "ReLU": {"inplace": False}, "Sigmoid": {}, "Softmax": {"dim": -1}, "LogSoftmax": {"dim": 2}, "Softmax2": {"dim": 1}, "Softmax0": {"dim": None},
    "LeakyReLU": {"negative_slope": 0.1}, "ELU": {"alpha": 1.0}, "Softplus": {"beta": 1, "threshold": 20}, "Softsign": {},
    "Hardsigmoid": {}, "Threshold": {"threshold": 0.5, "value": 0}, "GELU": {}, "PReLU": {}, "Hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "ReLU6": {"min_val": 0.0, "max_val": 6.0},
}  # fmt: skip
_OUTPUTS = ("Softmax", "Sigmoid", "LogSoftmax", "Softmax2", "Softmax0")
_UNKNOWN = ("GELU", "Hardtanh")
_HOOKS = (
    "torch.nn.utils.weight_norm WeightNorm", "torch.nn.utils.spectral_norm SpectralNorm", "__main__ hook",
    "torch.nn.utils.prune L1Unstructured",
)  # fmt: skip
_ODD = (
    f"{NN}.rnn LSTM", f"{NN}.loss CrossEntropyLoss", f"{NN}.normalization LayerNorm", "torchmetrics.x Accuracy",
    "torch.jit._script ScriptModule", "__main__ Attention", "torch.nn.parameter UninitializedParameter", f"{NN}.x Conv1d",
    f"{NN}.linear LazyLinear", f"{NN}.rnn GRUCell",
)  # fmt: skip
_METHODS = ("forward", "_call_impl", "permute_hidden", "extra")


def module(
    draw: Draw,
    name: str,
    arrays: Mapping[str, Any],
    children: Mapping[str, Any],
    *,
    own_arrays: bool = False,
    **facts: Any,
) -> Object:
    """Return a module; now and then it has hooks, facts of another kind, or lacks something."""
    draw = _seldom(draw)
    held = dict(arrays)
    if own_arrays:
        held["scale"] = weights.tensor(draw, 4)
    state: dict[str, Any] = {
        "training": draw.once(2), "_parameters": held, "_buffers": {}, "_modules": dict(children), **facts,
    }  # fmt: skip
    kind = draw.below(40)
    if kind == 1:
        state["_forward_pre_hooks"] = {0: _hook(draw)}
    elif kind == 2:
        state["_forward_hooks"] = {draw.number() % 100: _hook(draw) for _ in range(1 + draw.below(3))}
    elif kind == 3:
        state[draw.pick(list(state))] = draw.value()
    elif kind == 4:
        del state[draw.pick(list(state))]
    elif kind == 5:
        state[draw.pick(_METHODS)] = _hook(draw)
    elif kind == 6:
        state["_buffers"] = {"mask": weights.tensor(draw, 4), "steps": None}
    elif kind in {7, 9} and held:
        held[draw.pick(list(held))] = draw.value()
    elif kind == 8:
        state["_modules"] |= {draw.pick((None, True, 5, 0.5, "")): draw.pick((None, 5, odd(draw, 3)))}
    return Object(name, state)


def _hook(draw: Draw) -> Object:
    state = {
        "name": draw.pick(("weight", "weight_hh_l0", 3)),
        "dim": draw.pick((0, 1, -1, None)),
        "n_power_iterations": 1,
        "eps": 1e-12,
    }
    return Object(draw.pick(_HOOKS), draw.pick((state, state, None, 5)))


def _seldom(draw: Draw) -> Draw:
    """Return choices, which are the first of each in most cases, so that few bytes make a whole network."""
    return draw if draw.once(4) else Draw(b"")


def _arrays(draw: Draw, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    draw = _seldom(draw)
    code = draw.pick(("f4", "f4", "f4", "f2", "bf16", "f8"))
    found: dict[str, Any] = {name: weights.tensor(draw, *shape, code=code) for name, shape in shapes.items()}
    return dict(weights.changed(draw, found)) if draw.once(8) else found


def recurrent(draw: Draw, width: int) -> tuple[Object, int]:
    """Return an nn.RNN, an nn.RNNCell, or a class of somebody's own with their arrays; and what it gives."""
    size = draw.pick((4, 3))
    if draw.once(6):
        shapes = {"weight_ih": (size, width), "weight_hh": (size, size), "bias_ih": (size,), "bias_hh": (size,)}
        way = draw.pick(("tanh", "relu", *["tanh"] * 8, 5))
        own_facts: dict[str, Any] = {"input_size": width, "hidden_size": size, "bias": True, "nonlinearity": way}
        return module(draw, f"{NN}.rnn RNNCell", _arrays(draw, shapes), {}, **own_facts), size
    layers, both = draw.pick((1, 2)), draw.once(4)
    sides, given = (("", "_reverse") if both else ("",)), width
    shapes = {}
    for layer in range(layers):
        for side in sides:
            shapes |= {f"weight_ih_l{layer}{side}": (size, given), f"weight_hh_l{layer}{side}": (size, size)}
            shapes |= {f"bias_ih_l{layer}{side}": (size,), f"bias_hh_l{layer}{side}": (size,)}
        given = size * len(sides)
    facts: dict[str, Any] = {
        "mode": draw.pick(("RNN_TANH", "RNN_RELU", *["RNN_TANH"] * 8, "LSTM")), "input_size": width, "hidden_size": size, "num_layers": layers, "bias": True,
        "batch_first": draw.once(2), "dropout": 0.0, "bidirectional": both, "proj_size": 0,
    }  # fmt: skip
    return module(draw, f"{NN}.rnn RNN", _arrays(draw, shapes), {}, **facts), given


def own_cells(draw: Draw, width: int) -> tuple[Object, int]:
    """Return cells of a class of somebody's own, whose arrays are known by their names alone; and what they give."""
    shapes = {"weight_ih_l0": (4, width), "weight_hh_l0": (4, 4), "bias_ih_l0": (4,), "bias_hh_l0": (4,)}
    if draw.once(3):
        shapes = {"Wxh": (4, width), "Whh": (4, 4), "bh": (4,)}
    facts: dict[str, Any] = draw.pick(({}, {"mode": "RNN_TANH"}, {"mode": "RNN_RELU"}, {"mode": 5}))
    return module(draw, "my.cells Elman", _arrays(draw, shapes), {}, **facts), 4


def linear(draw: Draw, width: int) -> tuple[Object, int]:
    """Return a Linear, with its weight or with what that is computed from; and what it gives."""
    size = draw.pick((2, 3, 4))
    shapes = {"weight": (size, width), "bias": (size,)}
    if draw.once(10):
        shapes = {"weight_g": (size, 1), "weight_v": (size, width), "bias": (size,)}
    elif draw.once(10):
        shapes = {"weight_orig": (size, width), "weight_u": (size,), "weight_v": (width,), "bias": (size,)}
    facts: dict[str, Any] = {"in_features": width, "out_features": size}
    if "weight_u" in shapes and not draw.once(4):
        facts["_forward_pre_hooks"] = {0: Object(_HOOKS[1], {"name": "weight", "dim": draw.pick((0, 1)), "eps": 1e-12})}
    return module(draw, f"{NN}.linear Linear", _arrays(draw, shapes), {}, **facts), size


def before(draw: Draw, width: int) -> tuple[Object, int]:
    """Return what may stand before the RNN, and what it gives."""
    kind = draw.below(4)
    if kind == 0:
        most = 1.0 if draw.once(12) else None
        facts: dict[str, Any] = {"num_embeddings": 5, "embedding_dim": width, "padding_idx": None, "max_norm": most}
        return module(draw, f"{NN}.sparse Embedding", _arrays(draw, {"weight": (5, width)}), {}, **facts), width
    return linear(draw, width) if kind == 1 else after(draw, width)


def after(draw: Draw, width: int, kind: str = "") -> tuple[Object, int]:
    """Return what may stand after the RNN, of a kind by its first letter or of any, and what it gives."""
    kind = kind or draw.pick("llllandbc")
    if kind in {"a", "o", "u"}:
        return activation(draw, {"o": _OUTPUTS, "u": _UNKNOWN}.get(kind, (*_ACTIVATIONS,))), width
    if kind == "n":
        return norm(draw, width + draw.once(4)), width
    if kind == "d":
        return module(draw, f"{NN}.dropout Dropout", {}, {}, p=0.5), width
    if kind == "b":
        inner, width = after(draw, width)
        name = draw.pick((f"{NN}.container Sequential", "__main__ Block", "my.x Head"))
        return module(draw, name, {}, {"0": inner, "1": module(draw, f"{NN}.activation ReLU", {}, {})}), width
    return (code(draw), width) if kind == "c" else linear(draw, width)


def activation(draw: Draw, names: Sequence[str]) -> Object:
    name = draw.pick(names)
    return module(draw, f"{NN}.activation {name.rstrip('02')}", {}, {}, **_ACTIVATIONS[name])


def norm(draw: Draw, width: int) -> Object:
    shapes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (width,))
    facts: dict[str, Any] = {
        "num_features": width, "eps": draw.pick((1e-5, 1e-5, 1e-3)), "momentum": 0.1, "affine": True,
        "track_running_stats": not draw.once(12),
    }  # fmt: skip
    return module(
        draw, f"{NN}.batchnorm {draw.pick(('BatchNorm1d', 'SyncBatchNorm'))}", _arrays(draw, shapes), {}, **facts
    )


def code(draw: Draw) -> Object:
    """Return a class of somebody's own, as one that selects from what an nn.RNN gives; seldom it holds an array."""
    arrays = {"w": weights.tensor(draw, 4)} if draw.once(6) else {}
    return module(draw, "__main__ Last", arrays, {})


def odd(draw: Draw, width: int) -> Any:
    """Return a module that is not read, or is no module."""
    name = draw.pick(_ODD)
    arrays = {"weight": weights.tensor(draw, width)} if draw.once(2) else {}
    held = module(draw, name, arrays, {})
    return draw.pick((held, held, held, held, None, 5, {"a": 1}, Object(name, None)))
