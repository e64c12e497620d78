"""State dicts of torch as they are saved: alone, in checkpoints of many kinds, and of modules one by one."""

from collections.abc import Callable
from typing import Any

from fuzz import weights
from fuzz.cases import options
from fuzz.draws import Draw
from fuzz.pickles import Object, Pickler

_ONE_BY_ONE = ("fc.weight", "net.emb.weight", "net.rnn.weight_ih_l0")
State = dict[str, Any]


def state_dict(draw: Draw) -> tuple[Pickler, dict[str, Any]]:
    """Return the opcodes of a state dict, alone or in a checkpoint, and options."""
    held, given = weights.state_dict(draw)
    kind = draw.below(len(_KINDS) + 1)
    whole: Any = dict(held)
    if kind:
        whole = _KINDS[kind - 1](draw, whole)
    names = [*held, *(name for name in whole if isinstance(name, str))] if isinstance(whole, dict) else list(held)
    if kind and draw.once(4):
        given = {**given, "key": draw.pick(("model", "state_dict", "a", ("model", "net"), *_beginnings(names)))}
    if kind and draw.once(3):
        names += _ONE_BY_ONE if _KINDS[kind - 1] is _one_by_one else ()
        beside = [name for name in names if "." in name and name not in held] or names or ["rnn"]
        places = [draw.pick(beside).rpartition(".")[0] for _ in range(2)]
        given = {**given, "roles": {place: draw.pick(("ignore", "readout", "encoder")) for place in places}}
    given = options(draw, "weights", names, given)
    found = Pickler(draw)
    found.value(whole)
    found.found.append(b".")
    if draw.once(40):
        found.found.append(b"N")
    return found, given


def _beginnings(names: list[str]) -> list[str]:
    return [name.partition(".")[0] for name in names if "." in name]


def _optimizer(draw: Draw) -> State:
    state = {0: {"step": 3, "exp_avg": weights.tensor(draw, 4)}}
    return {"state": state, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}


def _again(draw: Draw, held: State) -> State:
    """Return arrays of the same names and shapes."""
    return {name: weights.tensor(draw, *each.shape) for name, each in held.items()}


def _of_training(draw: Draw, held: State) -> Any:
    log = draw.pick(("x" * 1100, "ok", ""))
    return {"epoch": 7, "state_dict": held, "optimizer": _optimizer(draw), "loss": 0.5, "log": log}


def _averaged(_: Draw, held: State) -> Any:
    return {"model": held, "ema": held, "args": Object("argparse Namespace", {"lr": 0.1})}


def _deep(draw: Draw, held: State) -> Any:
    whole: Any = {"net": held}
    for _ in range(draw.pick((0, 0, 0, 3, 20))):
        whole = draw.pick(({"a": whole}, [whole], (whole,)))
    return {"model": whole, "hyper_parameters": {"hidden_size": 4}, "other": draw.value()}


def _in_a_list(draw: Draw, held: State) -> Any:
    return [held, _optimizer(draw), Object("numpy ndarray", None)]


def _ordered(_: Draw, held: State) -> Any:
    return Object("collections OrderedDict", held, (), b"R")


def _with_more(draw: Draw, held: State) -> Any:
    """Return a state dict with values beside its arrays: facts, and what may have been an array."""
    more: dict[Any, Any] = {
        "epoch": 3,
        "_metadata": {"": {"version": 1}},
        "names": ["a"],
        draw.text(): draw.value(),
        5: 6,
    }
    for _ in range(draw.below(3)):
        begin = "log" if draw.once(2) else draw.pick(["rnn", *_beginnings(list(held))])
        own = draw.pick(
            (5, 0.5, [0.5, 1], ["a"], None, True, "x", Object("numpy ndarray", None), Object("torch x", None))
        )
        more[f"{begin}.{draw.pick(('scale', 'bias', 'weight_ih_l9', 'steps'))}"] = own
    return held | more


def _two(draw: Draw, held: State) -> Any:
    return {"a": held, "b": _again(draw, held)}


def _of_lists(draw: Draw, held: State) -> Any:
    return {name: each if draw.once(2) else [list(each.shape), 0.5] for name, each in held.items()}


def _with_another(draw: Draw, held: State) -> Any:
    return {**held, "inner": _again(draw, held)}


def _parted(__: Draw, held: State) -> Any:
    """Return the arrays by the first part of their names."""
    parts: dict[str, Any] = {}
    for name, each in held.items():
        begin, _, rest = name.partition(".")
        parts.setdefault(begin, {})[rest or "weight"] = each
    return parts


def _one_by_one(draw: Draw, _: State) -> Any:
    """Return state dicts of modules that were saved one by one: a network with a table before it, and what is after."""
    own: State = {}
    width = weights.module(draw, own, "emb", draw.pick(("embedding", "embedding", "linear")), 3, "f4")
    width = weights.recurrent(draw, own, "rnn", width, "f4")
    if draw.once(4):
        weights.module(draw, own, "out", "linear", width, "f4")
    beside: State = {"weight": weights.tensor(draw, 2, width), "bias": weights.tensor(draw, 2)}
    beside = {f"fc.{name}": each for name, each in beside.items()} if draw.once(4) else beside
    return {"net": own, draw.pick(("decoder", "criterion", "fc")): beside, "epoch": 3}


def _of_two_names(draw: Draw, held: State) -> Any:
    """Return a state dict of which a module has two names, as one has that is an attribute of two."""
    begin = draw.pick(["", *(name.rpartition(".")[0] for name in held)])
    own = {name: each for name, each in held.items() if name.rpartition(".")[0] == begin}
    other = draw.pick(("copy", "fc", "a.b", f"{begin}.1"))
    return held | {f"{other}.{name.rpartition('.')[2]}": each for name, each in own.items()}


_KINDS: tuple[Callable[[Draw, State], Any], ...] = (
    _of_training, _averaged, _deep, _in_a_list, _ordered, _with_more, _two, _of_lists, _with_another, _parted, _one_by_one,
    _of_two_names,
)  # fmt: skip
