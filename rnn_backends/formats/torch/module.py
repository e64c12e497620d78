"""Networks of live torch modules, without importing torch: modules are asked what they are."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import listed, shown
from rnn_backends.core.network import Network
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.arrays import ToHost, declare
from rnn_backends.formats.assembly import assemble
from rnn_backends.formats.batch_norm import of_torch
from rnn_backends.formats.description import Description
from rnn_backends.formats.folding import folded
from rnn_backends.formats.modules import require_numbers
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.scaling import Scaling, multiplied_in
from rnn_backends.formats.source import Account
from rnn_backends.formats.stated import stated
from rnn_backends.formats.torch.parts import Applied, Part
from rnn_backends.formats.torch.plan import plan
from rnn_backends.formats.torch.walk import facts_of, parts_of
from rnn_backends.formats.torch.weights import weights_of

_OF_STATE_DICTS = ("key", "names", "batch_norm_eps")


def is_module(source: Any) -> bool:
    """Return whether an object looks like a torch module."""
    if isinstance(source, type):
        return False
    return callable(getattr(source, "named_modules", None)) and callable(getattr(source, "state_dict", None))


def from_module(module: Any, options: LoadOptions, to_host: ToHost, account: Account | None = None) -> Network:
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
    arrays, activations = _cells(found.layers, to_host)
    for role, linears in (("encoder", found.encoder), ("readout", found.readout)):
        for place, linear in enumerate(linears):
            arrays |= _linear(f"{role}.{place}", linear, arrays["weight_hh_l0"].dtype, to_host, account)
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
    return folded(assemble(declare(arrays), description, arrays.__getitem__), account)


def _facts(cells: Sequence[Part]) -> dict[str, Any]:
    """Return the facts that recurrent modules record and their weights do not."""
    facts = [facts_of(part.module) for part in cells]
    layouts = {batch_first for _, batch_first in facts if batch_first is not None}
    if len(layouts) > 1:
        msg = f"all nn.RNN must have one batch_first; those of {listed(part.path for part in cells)} differ."
        raise FormatError(msg)
    return {"activation": Activation(facts[0][0]), "batch_first": layouts.pop() if layouts else None}


def _weights(part: Part, to_host: ToHost) -> dict[str, Host]:
    """Return the weights of a part by their names in it; a file that is damaged may lack them."""
    declared, read = weights_of(part.path, part.module, to_host)
    require_numbers(declared)
    prefix = f"{part.path}." if part.path else ""
    found = {name.removeprefix(prefix): read(name) for name in declared}
    first = f"weight_hh{'_l0' if part.label == 'RNN' else ''}"
    wanted = {"rnn": (first,), "norm": ("running_mean", "running_var")}.get(part.kind, ("weight",))
    for name in wanted:
        if name not in found:
            msg = f"{part} has no {name}; it is damaged."
            raise FormatError(msg)
    return found


def _cells(parts: Sequence[Part], to_host: ToHost) -> tuple[dict[str, Host], dict[str, Activation]]:
    """Return the weights of the cells by their names in one stack of layers, and their activations by their places."""
    arrays: dict[str, Host] = {}
    activations: dict[str, Activation] = {}
    depth = 0
    for part in parts:
        held, activation = _weights(part, to_host), Activation(facts_of(part.module)[0])
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


def _linear(name: str, applied: Applied, dtype: Any, to_host: ToHost, account: Account) -> dict[str, Host]:
    """Return the weight and the bias of a Linear, or of what is one here, such as an embedding."""
    part = applied.part
    if part.kind == "identity":
        account.take(f"the identity at {part}", "bytes", part.gives**2 * np.dtype(dtype).itemsize)
    held = _weights(part, to_host) if part.kind != "identity" else {"weight": np.eye(part.gives, dtype=dtype)}
    before = _joined(_scaling(norm, held["weight"], 1, to_host) for norm in applied.before)
    axis = int(part.kind == "embedding")
    after = _joined(_scaling(norm, held["weight"], axis, to_host) for norm in applied.after)
    weight: Any = held["weight"].T if part.kind == "embedding" else held["weight"]
    bias: Any = held.get("bias")
    if before or after:
        exact = multiplied_in(weight, bias, before, after)
        with np.errstate(all="ignore"):
            weight, bias = (each.astype(weight.dtype) for each in exact)
    found = {f"{name}.weight": weight, f"{name}.bias": bias}
    return {each: array for each, array in found.items() if array is not None}


def _joined(scalings: Iterable[Scaling]) -> list[Scaling]:
    """Return scalings one after the other as one, so that a weight is gone through once, whatever their number."""
    found: list[Scaling] = []
    for scaling in scalings:
        found[:] = [found[0].then(scaling)] if found else [scaling]
    return found


def _scaling(part: Part, weight: Host, axis: int, to_host: ToHost) -> Scaling:
    """Return what a BatchNorm does, whose features are those along an axis of a weight."""
    held = _weights(part, to_host)
    if weight.ndim != 2 or any(array.shape != weight.shape[axis : axis + 1] for array in held.values() if array.ndim):
        msg = f"{part}, a BatchNorm, does not fit the weight beside it, of shape {shown(weight.shape)}."
        raise FormatError(msg)
    return of_torch(held, part.module.eps)
