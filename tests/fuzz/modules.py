"""Modules of torch as they are saved whole: their classes, states and hooks, in each other and shared."""

from collections.abc import Mapping
from typing import Any

from fuzz import weights
from fuzz.draws import Draw
from fuzz.pickles import Object, Pickler

_NN = "torch.nn.modules"
_ACTIVATIONS: Mapping[str, Mapping[str, Any]] = {
    "Tanh": {}, "ReLU": {"inplace": False}, "Sigmoid": {}, "Softmax": {"dim": -1}, "LogSoftmax": {"dim": 2}, "Softmax2": {"dim": 1}, "Softmax0": {"dim": None},
    "LeakyReLU": {"negative_slope": 0.1}, "ELU": {"alpha": 1.0}, "Softplus": {"beta": 1, "threshold": 20}, "Softsign": {},
    "Hardsigmoid": {}, "Threshold": {"threshold": 0.5, "value": 0}, "GELU": {}, "PReLU": {}, "Hardtanh": {},
}  # fmt: skip
_HOOKS = (
    "torch.nn.utils.weight_norm WeightNorm", "torch.nn.utils.spectral_norm SpectralNorm", "__main__ hook",
    "torch.nn.utils.prune L1Unstructured",
)  # fmt: skip
_WRAPPERS = (
    "torch.optim.swa_utils AveragedModel", "torch.nn.parallel.data_parallel DataParallel", "torch._dynamo.eval_frame OptimizedModule",
)  # fmt: skip


def whole(draw: Draw) -> Object:
    """Return a network of modules."""
    width, parts = 3, []
    for _ in range(draw.pick((0, 0, 1, 2))):
        part, width = _before(draw, width)
        parts.append(part)
    for _ in range(draw.pick((1, 1, 1, 2, 0))):
        part, width = _recurrent(draw, width)
        parts.append(part)
    for _ in range(draw.pick((1, 0, 2, 3))):
        part, width = _after(draw, width)
        parts.append(part)
    if draw.once(4) and parts:
        parts.append(draw.pick(parts))  # the same module twice
    if draw.once(8):
        parts.insert(draw.below(len(parts) + 1), _odd(draw, width))
    names = draw.pick(
        (
            ("emb", "rnn", "fc", "out", "x", "y", "z", "v", "w"),
            tuple("012345678"),
            ("encoder", "rnn", "decoder", "head", "e", "f", "g", "h", "i"),
        )
    )
    children = dict(zip(names, parts, strict=False))
    kind = draw.pick(
        (
            "__main__ Net",
            f"{_NN}.container Sequential",
            "my.nets Tagger",
            f"{_NN}.container ModuleList",
            f"{_NN}.container ModuleDict",
        )
    )
    found = module(draw, kind, {}, children, own_arrays=draw.once(16))
    if len(parts) == 1 and draw.once(2):
        found = parts[0]
    if draw.once(8):
        found = module(draw, draw.pick(_WRAPPERS), {}, {"module": found})
    return found


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
    held = dict(arrays)
    if own_arrays:
        held["scale"] = weights.tensor(draw, 4)
    state: dict[str, Any] = {
        "training": draw.once(2),
        "_parameters": held,
        "_buffers": {},
        "_modules": dict(children),
        **facts,
    }
    kind = draw.below(40)
    if kind == 1:
        state["_forward_pre_hooks"] = {0: _hook(draw)}
    elif kind == 2:
        state["_forward_hooks"] = {draw.number() % 100: _hook(draw) for _ in range(1 + draw.below(3))}
    elif kind == 3 and state:
        state[draw.pick(list(state))] = draw.value()
    elif kind == 4 and state:
        del state[draw.pick(list(state))]
    elif kind == 5:
        state[draw.pick(("forward", "_call_impl", "permute_hidden", "extra"))] = _hook(draw)
    elif kind == 6:
        state["_buffers"] = {"mask": weights.tensor(draw, 4), "steps": None}
    elif kind == 7 and held:
        held[draw.pick(list(held))] = draw.value()
    return Object(name, state)


def _hook(draw: Draw) -> Object:
    state = {
        "name": draw.pick(("weight", "weight_hh_l0", 3)),
        "dim": draw.pick((0, 1, -1, None)),
        "n_power_iterations": 1,
        "eps": 1e-12,
    }
    return Object(draw.pick(_HOOKS), draw.pick((state, state, None, 5)))


def _arrays(draw: Draw, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    code = draw.pick(("f4", "f4", "f4", "f2", "bf16", "f8"))
    found: dict[str, Any] = {name: weights.tensor(draw, *shape, code=code) for name, shape in shapes.items()}
    return dict(weights.changed(draw, found)) if draw.once(8) else found


def _recurrent(draw: Draw, width: int) -> tuple[Object, int]:
    size = draw.pick((4, 3))
    if draw.once(6):
        shapes = {"weight_ih": (size, width), "weight_hh": (size, size), "bias_ih": (size,), "bias_hh": (size,)}
        own_facts: dict[str, Any] = {
            "input_size": width,
            "hidden_size": size,
            "bias": True,
            "nonlinearity": draw.pick(("tanh", "relu", 5)),
        }
        return module(draw, f"{_NN}.rnn RNNCell", _arrays(draw, shapes), {}, **own_facts), size
    layers, both = draw.pick((1, 2)), draw.once(4)
    sides, given = (("", "_reverse") if both else ("",)), width
    shapes = {}
    for layer in range(layers):
        for side in sides:
            shapes |= {f"weight_ih_l{layer}{side}": (size, given), f"weight_hh_l{layer}{side}": (size, size)}
            shapes |= {f"bias_ih_l{layer}{side}": (size,), f"bias_hh_l{layer}{side}": (size,)}
        given = size * len(sides)
    facts: dict[str, Any] = {
        "mode": draw.pick(("RNN_TANH", "RNN_RELU", "LSTM")), "input_size": width, "hidden_size": size, "num_layers": layers, "bias": True,
        "batch_first": draw.once(2), "dropout": 0.0, "bidirectional": both, "proj_size": 0,
    }  # fmt: skip
    return module(draw, f"{_NN}.rnn RNN", _arrays(draw, shapes), {}, **facts), given


def _linear(draw: Draw, width: int) -> tuple[Object, int]:
    size = draw.pick((2, 3, 4))
    shapes = {"weight": (size, width), "bias": (size,)}
    if draw.once(10):
        shapes = {"weight_g": (size, 1), "weight_v": (size, width), "bias": (size,)}
    elif draw.once(10):
        shapes = {"weight_orig": (size, width), "weight_u": (size,), "weight_v": (width,), "bias": (size,)}
    facts: dict[str, Any] = {"in_features": width, "out_features": size}
    if "weight_u" in shapes and not draw.once(4):
        facts["_forward_pre_hooks"] = {0: Object(_HOOKS[1], {"name": "weight", "dim": draw.pick((0, 1)), "eps": 1e-12})}
    return module(draw, f"{_NN}.linear Linear", _arrays(draw, shapes), {}, **facts), size


def _before(draw: Draw, width: int) -> tuple[Object, int]:
    kind = draw.below(4)
    if kind == 0:
        facts: dict[str, Any] = {
            "num_embeddings": 5,
            "embedding_dim": width,
            "padding_idx": None,
            "max_norm": draw.pick((None, None, 1.0)),
        }
        return module(draw, f"{_NN}.sparse Embedding", _arrays(draw, {"weight": (5, width)}), {}, **facts), width
    return _linear(draw, width) if kind == 1 else _after(draw, width)


def _after(draw: Draw, width: int) -> tuple[Object, int]:
    kind = draw.below(6)
    if kind == 2:
        name = draw.pick(list(_ACTIVATIONS))
        return module(draw, f"{_NN}.activation {name.rstrip('02')}", {}, {}, **_ACTIVATIONS[name]), width
    if kind == 3:
        shapes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (width,))
        facts: dict[str, Any] = {
            "num_features": width,
            "eps": 1e-5,
            "momentum": 0.1,
            "affine": True,
            "track_running_stats": draw.pick((True, True, False)),
        }
        return module(draw, f"{_NN}.batchnorm BatchNorm1d", _arrays(draw, shapes), {}, **facts), width
    if kind == 4:
        return module(draw, f"{_NN}.dropout Dropout", {}, {}, p=0.5), width
    if kind == 5:
        inner, width = _after(draw, width)
        name = draw.pick((f"{_NN}.container Sequential", "__main__ Block", "my.x Head"))
        return module(draw, name, {}, {"0": inner, "1": module(draw, f"{_NN}.activation ReLU", {}, {})}), width
    return _linear(draw, width)


def _odd(draw: Draw, width: int) -> Any:
    """Return a module that is not read, or is no module."""
    name = draw.pick((
        f"{_NN}.rnn LSTM", f"{_NN}.loss CrossEntropyLoss", f"{_NN}.normalization LayerNorm", "torchmetrics.x Accuracy",
        "torch.jit._script ScriptModule", "__main__ Attention", "torch.nn.parameter UninitializedParameter", f"{_NN}.x Conv1d",
        f"{_NN}.linear LazyLinear", f"{_NN}.rnn GRUCell",
    ))  # fmt: skip
    arrays = {"weight": weights.tensor(draw, width)} if draw.once(2) else {}
    return draw.pick((module(draw, name, arrays, {}), None, 5, {"a": 1}, Object(name, None)))


def opcodes(draw: Draw) -> Pickler:
    """Return the opcodes of a module, or of a checkpoint that holds it."""
    found = Pickler(draw)
    held: Any = whole(draw)
    kind = draw.below(6)
    if kind == 1:
        held = {"model": held, "epoch": 3}
    elif kind == 2:
        held = [held, held]
    elif kind == 3:
        held = {"a": held, "b": whole(draw)}
    elif kind == 4:
        held = Object("pytorch_lightning.x Model", {"net": held, "hparams": {"lr": 0.1}})
    found.value(held)
    found.found.append(b".")
    return found
