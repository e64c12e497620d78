"""The weights of a torch module as its eval() computes them; the module is left as it is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.effective import effective, spectral_norm
from rnn_backends.formats.made import Made

ToMade: TypeAlias = Callable[[str, Any], Made]
"""A function that returns a tensor by its name as an array that is read when it is asked for."""

_PLAIN = ("_WeightNorm", "_Orthogonal")
"""Parametrizations of torch that are the same in training, and change nothing."""


def weights_of(path: str, module: Any, to_made: ToMade) -> dict[str, Made]:
    """Return what a module without children holds, by its paths in the whole."""
    held = {name: tensor.detach() for name, tensor in (*module.named_parameters(), *module.named_buffers())}
    for name, members in _parametrizations(module).items():
        value = _parametrized(f"{path}.{name}".lstrip("."), module, name, members, to_made)
        held = {each: array for each, array in held.items() if not each.startswith(f"parametrizations.{name}.")}
        held[name] = value
    for hook in vars(module).get("_forward_pre_hooks", {}).values():
        if type(hook).__module__ == "torch.nn.utils.spectral_norm":
            # u and v alone do not record the axis, and the array that the hook has left may be an old one.
            parts = [to_made(part, held.pop(f"{hook.name}_{part}")) for part in ("orig", "u", "v")]
            held[hook.name] = _normed(parts, hook.dim)
    named = {f"{path}.{name}".lstrip("."): array for name, array in held.items()}
    return effective({name: each if isinstance(each, Made) else to_made(name, each) for name, each in named.items()})


def _normed(parts: Sequence[Made], axis: int) -> Made:
    weight, u, v = parts
    return Made(weight.dtype, weight.shape, lambda: spectral_norm(weight, u.make(), v.make(), axis), is_new=True)


def _parametrizations(module: Any) -> Mapping[str, list[Any]]:
    """Return what is registered by torch.nn.utils.parametrize, by the name of the weight."""
    lists = vars(module).get("_modules", {}).get("parametrizations")
    return {} if lists is None else {name: list(each.children()) for name, each in lists.named_children()}


def _parametrized(path: str, module: Any, name: str, members: list[Any], to_made: ToMade) -> Any:
    """Return a weight that is parametrized."""
    kinds = [
        type(member).__name__ if type(member).__module__ == "torch.nn.utils.parametrizations" else ""
        for member in members
    ]
    if all(kind in _PLAIN or not member.training for kind, member in zip(kinds, members, strict=True)):
        return getattr(module, name).detach()
    original = getattr(module.parametrizations, name).original
    if kinds == ["_SpectralNorm"] and original.ndim == 2:
        # Read from the module, it would take a step of the power iteration, which changes its buffers.
        held = (original.detach(), *(members[0].get_buffer(each) for each in ("_u", "_v")))
        return _normed([to_made(path, each) for each in held], members[0].dim)
    msg = f"{shown(path)} is parametrized by code that may give another weight in training; {way('module_eval')}."
    raise FormatError(msg)
