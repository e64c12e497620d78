"""What the names in a pickle stand for: a dict, a tensor, or a placeholder; none of them is looked up."""

from dataclasses import dataclass
from typing import Any

from rnn_backends.errors import FormatError
from rnn_backends.formats.torch.tensors import Storage, Tensor, tensor_of

_DICTS = (("collections", "OrderedDict"), ("collections", "defaultdict"))
_TENSOR = ("torch._utils", "_rebuild_tensor_v2")
_PARAMETERS = (("torch._utils", "_rebuild_parameter"), ("torch._utils", "_rebuild_parameter_with_state"))
_STATEFUL = ("torch._tensor", "_rebuild_from_type_v2")
"""A function that sets attributes on the tensor that another one makes; the attributes are left out."""
_MOST = 8
"""The arguments of a function that are looked at; a tensor has 7."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name that stands for a class or a function of Python: a module and a name in it; it stays a name."""

    module: str
    name: str


class Opaque:
    """A placeholder for an object that is not made: the name of its class or function, and the state that it was given.

    Nothing of it is looked up by anything but `is`.  The two parts of its name are kept apart, so that a pickle that
    combines long ones makes none that is longer.
    """

    __slots__ = ("module", "name", "state")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name
        self.state: Any = None

    def __repr__(self) -> str:
        return f"<{self.module}.{self.name}>"


def applied(function: Any, arguments: Any) -> Any:
    """Return a dict or a tensor, of the few functions that are known by name, or a placeholder."""
    if type(function) is Global:
        # Of arguments without end, which a pickle may give time and again, only the first few are looked at.
        first, count = (arguments[:_MOST], len(arguments)) if type(arguments) is tuple else ((), 0)
        name = (function.module, function.name)
        match first:
            case _ if name in _DICTS and type(arguments) is tuple:
                return {}
            case Storage(), _, tuple(), tuple(), bool(), *more if name == _TENSOR:
                # The hooks of a backward pass, none, and what is to be done with the elements: conjugate, negate.
                is_plain = count < _MOST and more in ([{}], [{}, None], [{}, {}])
                require(is_plain, "has a tensor that is not plain")
                return tensor_of(*first[:4])
            case Tensor() as tensor, bool(), *_ if name in _PARAMETERS:
                return tensor
            case Global(module, own) as inner, _, tuple() as given, *_ if (name, module, own) == (_STATEFUL, *_TENSOR):
                return applied(inner, given)
        return Opaque(*name)
    require(type(function) is Opaque, "calls what is no function")
    return Opaque(function.module, function.name)


def require(holds: object, problem: str) -> None:
    """Refuse a pickle unless something holds."""
    if not holds:
        msg = f"its pickle {problem}; it is damaged, or not of torch.save."
        raise FormatError(msg)
