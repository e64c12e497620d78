"""How a module that was saved whole is read: as a live one, or by the names of its arrays."""

from dataclasses import replace
from typing import Any

from rnn_backends.core.activations import Activation
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.torch.classes import MODES, RECURRENT, base
from rnn_backends.formats.torch.saved import Module
from rnn_backends.formats.torch.walk import facts_of, require_known

_NORMS = ("BatchNorm1d", "SyncBatchNorm")


def as_read(state: Any, options: LoadOptions) -> tuple[Any, LoadOptions]:
    """Return what is to be read of a network, and the options: of a module whose cells are code its arrays by name.

    Those are known by their names alone, or by those that are given, as the arrays of a state dict are.
    """
    if not isinstance(state, Module):
        return state, options
    cells = [module for module in state.modules() if base(module).__name__ in RECURRENT]
    if cells and options.names is None:
        return state, options
    require_known(state, options.roles or {})
    facts = {facts_of(cell) for cell in cells}
    eps = {vars(module)["eps"] for module in state.modules() if base(module).__name__ in _NORMS}
    for what, found in (("nn.RNN", facts), ("BatchNorm", eps)):
        if len(found) > 1:
            msg = f"its modules of {what} differ by more than arrays, of which `names` says nothing; "
            msg += f"{way('leave_out', option='names')}."
            raise FormatError(msg)
    if not cells:
        _require_recorded(state, options)
    else:
        options.require_left_out("the module in it", ("cell", "leak"))
    known: dict[str, Any] = {"batch_norm_eps": next(iter(eps), None)}
    for activation, batch_first in facts:
        known |= {"activation": Activation(activation), "batch_first": batch_first}
    arrays = state.state_dict()
    paths = {path for path, _ in state.named_modules()}
    roles = {
        key: role
        for key, role in (options.roles or {}).items()
        if key not in paths or any(name.startswith(f"{key}.") for name in arrays)  # others are spent
    }
    return arrays, replace(options.completed("the module in it", known), roles=roles or None)


def _require_recorded(state: Module, options: LoadOptions) -> None:
    """Check that the activation that is given is the one that a subclass of nn.RNN records."""
    for path, module in state.named_modules():
        mode = vars(module).get("mode")
        recorded = MODES.get(mode) if isinstance(mode, str) else None
        if recorded is not None and options.activation not in {None, Activation(recorded)}:
            name = shown(recorded)
            msg = f"{shown(path)} records the activation {name}; {way('recorded', activation=name)}."
            raise FormatError(msg)
