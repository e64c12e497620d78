"""Networks of live torch modules, without importing torch: modules are asked what they are."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.messages import listed, shown
from rnn_backends.core.network import Network
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.arrays import ToHost, declare
from rnn_backends.formats.batch_norm import of_torch
from rnn_backends.formats.description import Description
from rnn_backends.formats.folding import assembled
from rnn_backends.formats.made import Made, declared_of
from rnn_backends.formats.modules import require_numbers
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.scaling import Scaling, scaled
from rnn_backends.formats.stated import stated
from rnn_backends.formats.torch.parts import Applied, Part
from rnn_backends.formats.torch.plan import plan
from rnn_backends.formats.torch.walk import facts_of, parts_of
from rnn_backends.formats.torch.weights import ToMade, weights_of

_OF_STATE_DICTS = ("key", "names", "cell", "leak", "batch_norm_eps")


def is_module(source: Any) -> bool:
    """Return whether an object looks like a torch module."""
    if isinstance(source, type):
        return False
    return callable(getattr(source, "named_modules", None)) and callable(getattr(source, "state_dict", None))


def live(to_host: ToHost) -> ToMade:
    """Return the function that returns a tensor of torch's as an array that is read when it is asked for."""
    return lambda name, tensor: Made(*declare({name: tensor})[name], lambda: to_host(tensor))


def from_module(module: Any, options: LoadOptions, to_made: ToMade, account: Account | None = None) -> Network:
    """Return the network of NumPy arrays that a module is; the account is that of a file."""
    account = account or Account()
    for option in _OF_STATE_DICTS:
        if getattr(options, option) is not None:
            msg = f"`{option}` is an option of state dicts; of a module {way('leave_out', option=option)}."
            raise ArgumentError(msg)
    found = plan(parts_of(module, options.roles or {}), options)
    options = options.completed("the module", _facts(found.layers))
    takes_tokens = bool(found.encoder) and found.encoder[0].part.kind == "embedding"
    if takes_tokens:
        options = options.taking_tokens(found.encoder[0].part.path)
    arrays, activations = _cells(found.layers, to_made)
    for role, linears in (("encoder", found.encoder), ("readout", found.readout)):
        for place, linear in enumerate(linears):
            arrays |= _linear(f"{role}.{place}", linear, arrays["weight_hh_l0"].dtype, to_made, account)
    size = found.readout[-1].part.gives if found.readout else None
    description = Description(
        {place: {"activation": activation} for place, activation in activations.items()},
        stated("readout", [each.activation for each in found.readout], options, overrule=True, output_size=size),
        bool(options.batch_first),
        None,
        {},
        stated("encoder", [each.activation for each in found.encoder], options, overrule=True),
        options.reads or "steps",
        options.takes or "features",
    )
    return assembled(arrays, description, account)


def _facts(cells: Sequence[Part]) -> dict[str, Any]:
    """Return the facts that recurrent modules record and their weights do not."""
    facts = [facts_of(part.module) for part in cells]
    layouts = {batch_first for _, batch_first in facts if batch_first is not None}
    if len(layouts) > 1:
        msg = f"all nn.RNN must have one batch_first; those of {listed(part.path for part in cells)} differ."
        raise FormatError(msg)
    return {"activation": Activation(facts[0][0]), "batch_first": layouts.pop() if layouts else None}


def _weights(part: Part, to_made: ToMade) -> dict[str, Made]:
    """Return the weights of a part by their names in it; a file that is damaged may lack them."""
    held = weights_of(part.path, part.module, to_made)
    require_numbers(declared_of(held))
    prefix = f"{part.path}." if part.path else ""
    found = {name.removeprefix(prefix): array for name, array in held.items()}
    first = f"weight_hh{'_l0' if part.label == 'RNN' else ''}"
    wanted = {"rnn": (first,), "norm": ("running_mean", "running_var")}.get(part.kind, ("weight",))
    for name in wanted:
        if name not in found:
            msg = f"{part} has no {name}; it is damaged."
            raise FormatError(msg)
    return found


def _cells(parts: Sequence[Part], to_made: ToMade) -> tuple[dict[str, Made], dict[str, Activation]]:
    """Return the weights of the cells by their names in one stack of layers, and their activations by their places."""
    arrays: dict[str, Made] = {}
    activations: dict[str, Activation] = {}
    depth = 0
    for part in parts:
        held, activation = _weights(part, to_made), Activation(facts_of(part.module)[0])
        layers = getattr(part.module, "num_layers", 1)
        for layer in range(layers):
            for end in ("", "_reverse") if getattr(part.module, "bidirectional", False) else ("",):
                own, place = f"_l{layer}{end}" if part.label == "RNN" else "", f"l{depth + layer}{end}"
                activations[place] = activation
                for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    if f"{kind}{own}" in held:
                        arrays[f"{kind}_{place}"] = held[f"{kind}{own}"]
        depth += layers
    return arrays, activations


def _linear(name: str, applied: Applied, dtype: str, to_made: ToMade, account: Account) -> dict[str, Made]:
    """Return the weight and the bias of a Linear, or of what is one here, such as an embedding."""
    part = applied.part
    if part.kind == "identity":
        account.take(f"the identity at {part}", "bytes", part.gives**2 * np.dtype(dtype).itemsize)
        held = {"weight": Made(dtype, (part.gives, part.gives), lambda: np.eye(part.gives, dtype=dtype))}
    else:
        held = _weights(part, to_made)
    shape = held["weight"].shape
    before = _joined(_scaling(norm, shape, 1, to_made) for norm in applied.before)
    after = _joined(_scaling(norm, shape, int(part.kind == "embedding"), to_made) for norm in applied.after)
    weight, bias = held["weight"].turned() if part.kind == "embedding" else held["weight"], held.get("bias")
    if before or after:
        weight, bias = scaled(weight, bias, lambda: (before, after), name, account)
    found = {f"{name}.weight": weight, f"{name}.bias": bias}
    return {each: array for each, array in found.items() if array is not None}


def _joined(scalings: Iterable[Scaling]) -> list[Scaling]:
    """Return scalings one after the other as one, so that a weight is gone through once, whatever their number."""
    found: list[Scaling] = []
    for scaling in scalings:
        found[:] = [found[0].then(scaling)] if found else [scaling]
    return found


def _scaling(part: Part, shape: tuple[int, ...], axis: int, to_made: ToMade) -> Scaling:
    """Return what a BatchNorm does, whose features are those along an axis of a weight."""
    held = _weights(part, to_made)
    if len(shape) != 2 or any(array.shape != shape[axis : axis + 1] for array in held.values() if array.shape):
        msg = f"{part}, a BatchNorm, does not fit the weight beside it, of shape {shown(shape)}."
        raise FormatError(msg)
    return of_torch({local: array.make() for local, array in held.items()}, part.module.eps)
