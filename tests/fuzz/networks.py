"""Networks of modules of torch: what stands in them before, after and beside the RNN, in rows or by name."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fuzz import weights
from fuzz.cases import ROLES, options
from fuzz.draws import Draw
from fuzz.modules import NN, after, before, module, odd, own_cells, recurrent
from fuzz.pickles import Object, Pickler

_WRAPPERS = (
    "torch.optim.swa_utils AveragedModel", "torch.nn.parallel.data_parallel DataParallel", "torch._dynamo.eval_frame OptimizedModule",
)  # fmt: skip
_WHOLE = (
    "__main__ Net", f"{NN}.container Sequential", "my.nets Tagger", f"{NN}.container ModuleList", f"{NN}.container ModuleDict",
)  # fmt: skip
_NAMES = (("emb", "rnn", "fc", "out"), tuple("0123456789"), ("encoder", "rnn", "decoder", "head"))
_HEADS = (
    "l",
    "",
    "?",
    "lo",
    "lo",
    "lalo",
    "lnal",
    "ln",
    "ln",
    "lu",
    "lalu",
    "dlo",
    "nl",
    "cl",
    "lll",
    "???",
    "l" * 6,
    "l" * 11,
)
"""Parts after the RNN, of kinds by their first letters; ? is any."""
_FITTING: Mapping[str, Sequence[str]] = {
    "RNN": ("layers", "ignore"), "RNNCell": ("layers", "ignore"), "Linear": ("readout", "encoder", "ignore"),
    "Embedding": ("embedding", "encoder", "ignore"),
}  # fmt: skip
"""The roles that a module of a class can have; those of others are drawn from a few."""


def whole_file(draw: Draw) -> tuple[Pickler, dict[str, Any]]:
    """Return the opcodes of a module, or of a checkpoint that holds it, and options."""
    network = whole(draw)
    held: Any = network
    kind = draw.below(6)
    if kind == 1:
        held = {"model": held, "epoch": 3}
    elif kind == 2:
        held = [held, held]
    elif kind == 3:
        held = {"a": held, "b": whole(draw)}
    elif kind == 4:
        held = Object("pytorch_lightning.x Model", {"net": held, "hparams": {"lr": 0.1}})
    places = dict(_places(network, ""))
    given = _options(draw, places, {1: "model", 3: "a", 4: "net"}.get(kind))
    given = options(draw, "weights", [*(f"{path}.weight" for path in places if path), "rnn.weight_ih_l0"], given)
    found = Pickler(draw)
    found.value(held)
    found.found.append(b".")
    return found, given


def _places(held: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the paths of all modules of a network, each with its class."""
    if isinstance(held, Object) and isinstance(held.state, dict):
        yield path, held.name.rpartition(" ")[2]
        children = held.state.get("_modules")
        for name, child in children.items() if isinstance(children, dict) else ():
            yield from _places(child, f"{path}.{name}".lstrip("."))


def _options(draw: Draw, places: Mapping[str, str], inner: str | None) -> dict[str, Any]:
    """Return what a module may be loaded with: activations, roles that fit for the most part, a key, names."""
    found: dict[str, Any] = {} if draw.once(3) else {"readout_activation": "identity", "encoder_activation": "identity"}
    if draw.once(3):
        inside = [path for path in places if path] or [""]
        chosen = {draw.pick(inside) for _ in range(1 + draw.below(4))}
        roles = {path: draw.pick(_FITTING.get(places.get(path, ""), ("ignore", "readout"))) for path in sorted(chosen)}
        found["roles"] = {path: draw.pick(ROLES) if draw.once(6) else role for path, role in roles.items()}
    if "Elman" in places.values() or draw.once(8):
        found["activation"] = draw.pick(("tanh", "relu"))
    if draw.once(8):
        found["names"] = {draw.pick(("scale", "h0", "rnn.Whh", "x")): draw.pick(("h_0", "weight_hh_l0", "bias_l0"))}
    if draw.once(8):
        own = draw.pick([path for path in places if path] or ["rnn"])
        found["key"] = (inner, *draw.pick(((own,), own.split("."), ()))) if inner else draw.pick((own, "rnn"))
    return found


def whole(draw: Draw) -> Object:
    """Return a network of modules."""
    first, cells, last = _parts(draw)
    kind = draw.below(6)
    if kind == 1:
        first, last = _row(draw, first), _row(draw, last)
    elif kind == 2:
        cells, last = _row(draw, [*cells, *last]), []
    parts = [*first, *cells, *last]
    if draw.once(5) and parts:
        parts.append(draw.pick(parts))  # the same module twice
    if draw.once(6):
        parts.insert(draw.below(len(parts) + 1), odd(draw, 3))
    names = draw.pick(_NAMES)
    names = (*names, *(f"m{number}" for number in range(len(parts))))
    arrays = {"h0": weights.tensor(draw, *draw.pick(((1, 4), (2, 4), (1, 3))))} if draw.once(12) else {}
    children = dict(zip(names, parts, strict=False))
    found = module(draw, draw.pick(_WHOLE), arrays, children, own_arrays=draw.once(16))
    if len(parts) == 1 and draw.once(2):
        found = parts[0]
    if draw.once(8):
        found = module(draw, draw.pick(_WRAPPERS), {}, {"module": found})
    return found


def _row(draw: Draw, parts: list[Any]) -> list[Any]:
    """Return modules in one nn.Sequential."""
    if not parts:
        return []
    return [module(draw, f"{NN}.container Sequential", {}, {str(place): part for place, part in enumerate(parts)})]


def _parts(draw: Draw) -> tuple[list[Any], list[Any], list[Any]]:
    """Return modules that stand before the RNN, it, and those after it; most of them take what those before them give."""
    width = 3
    first, cells, last = list[Any](), list[Any](), list[Any]()
    for _ in range(draw.pick((0, 0, 1, 2))):
        part, width = before(draw, width)
        first.append(part)
    width += draw.once(12)
    make = own_cells if draw.once(6) else recurrent
    for _ in range(draw.pick((1, 1, 1, 1, 1, 2, 2, 0))):
        part, width = make(draw, width)
        cells.append(part)
    given = width
    for kind in draw.pick(_HEADS):
        part, width = after(draw, given if draw.once(12) else width, kind.strip("?"))
        last.append(part)
    return first, cells, last
