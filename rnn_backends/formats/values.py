"""Values that callers give for options, checked by the kind of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, TypeAlias

from rnn_backends.core.activations import as_activation
from rnn_backends.core.affine import AffineCell
from rnn_backends.core.cell import Cell
from rnn_backends.core.messages import got, shown
from rnn_backends.core.network import READS, TAKES
from rnn_backends.core.numbers import positive_number
from rnn_backends.core.parameters import require_choice, require_flag
from rnn_backends.core.rate import RateCell
from rnn_backends.errors import ArgumentError

Kind = Literal[
    "activation", "activations", "cell", "flag", "key", "leak", "number", "paths", "reads", "takes", "texts",
    "vocabulary",
]  # fmt: skip
KINDS: Mapping[str, type[AffineCell]] = {kind.__name__: kind for kind in (Cell, RateCell)}
"""The classes of the cells that a file can hold."""
CHOICES: Mapping[str, Sequence[str]] = {"cell": tuple(KINDS), "reads": READS, "takes": TAKES}
ROLES = ("embedding", "encoder", "layers", "readout", "ignore")
"""The roles that a module of a state dict can have."""

Activations: TypeAlias = Callable[..., Any] | tuple[Callable[..., Any], ...]
"""An activation, of the last of several Linear, or one for each of them."""


@dataclass(frozen=True)
class Named:
    """An activation by the name that a framework gives it, whose meaning its format looks up."""

    name: str

    def __call__(self, z: Any) -> Any:
        """Refuse to be applied: what it means depends on the source."""
        msg = f"the activation {shown(self.name)} of a framework was not looked up"
        raise TypeError(msg)


_NAMING = ("keras", "flax")
"""Formats with activations of their own, which may differ from those of the same names here."""


def checked(name: str, kind: Kind, value: Any, form: str) -> Any:
    """Return the value of an option of this kind, for a format; another than it can have is refused."""
    if kind == "flag":
        require_flag(name, value)
    if kind in CHOICES:
        require_choice(name, value, CHOICES[kind])
    if kind in _CHECKS:
        wanted, holds = _CHECKS[kind]
        if not holds(value):
            msg = f"`{name}` must be {wanted}; got {got(value)}."
            raise ArgumentError(msg)
    if kind == "leak":
        return positive_number(name, value, 1)
    if name == "roles":
        for role in value.values():
            require_choice(name, role, ROLES)
    if kind == "activations" and isinstance(value, (list, tuple)):
        return tuple(_activation(name, each, form) for each in value)
    if kind == "key" and isinstance(value, str):
        return (value,)
    return _activation(name, value, form) if kind in {"activation", "activations"} else value


def _activation(name: str, value: Any, form: str) -> Callable[..., Any]:
    if form in _NAMING and isinstance(value, str):
        return Named(value)
    try:
        return as_activation(value)
    except ArgumentError as error:
        if name == "activation":
            raise
        msg = str(error).replace("`activation`", f"`{name}`")
        raise ArgumentError(msg) from error


def _is_text_by_text(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(text, str) for item in value.items() for text in item)


def _is_key(value: Any) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return bool(parts) and all(isinstance(part, str) for part in parts)


def _is_eps(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0.0 <= value < 1.0  # type: ignore[operator]  # Real has these


_CHECKS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "texts": ("a mapping of str to str", _is_text_by_text),
    "key": ("a str, or a tuple of them for what is nested", _is_key),
    "number": ("a number from 0 to below 1", _is_eps),
}
