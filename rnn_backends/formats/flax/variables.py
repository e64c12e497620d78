"""The collections of variables of Flax: the parameters, and what stands beside them and computes with them."""

from collections.abc import Iterator, Mapping
from sys import getsizeof
from typing import Any, NamedTuple

from rnn_backends.core.arrays import dtype_name, is_array
from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way

MAX_PATH = 500
"""The most characters of the path of a mapping."""
WANTED = "parameters of Flax, a mapping of mappings of arrays, are wanted"
STATISTICS = "batch_stats"
_COPIES = 4
"""How many times a path is held, in whole or in parts."""
_NOTHING = {"opt_state", "step", "intermediates", "perturbations", "losses", "metrics", STATISTICS}
"""Entries that compute nothing, and the one that is refused where it belongs to the network."""


class Variables(NamedTuple):
    """Parameters, and the statistics of the modules that they are of.

    Parameters
    ----------
    params : Any
    statistics : tuple
        Trees of the same modules, of a collection ``batch_stats`` each; those of other modules are left out.
    """

    params: Any
    statistics: tuple[Any, ...] = ()

    def entered(self, part: str) -> "Variables":
        """Return what there is of a part; ``params`` is a collection, which statistics do not repeat."""
        trees = [tree for tree in self.statistics if isinstance(tree, Mapping)]
        below = [tree.get(part, tree if part == "params" else None) for tree in trees]
        own = None if part == STATISTICS else self.params.get(STATISTICS)
        return Variables(self.params[part], (*below, own))

    def statistics_by_path(self, account: Account) -> list[str]:
        """Return the paths of the statistics of the network's modules, without counts."""
        trees = [tree for tree in self.statistics if isinstance(tree, Mapping)]
        return [kept(path, account) for tree in trees for path, value in leaves(tree) if is_float(value)]


def variables_of(tree: Any, key: tuple[str, ...] | None) -> Variables:
    """Return the parameters in a tree: those of `key`, or of ``params`` where there is one."""
    found = Variables(tree)
    for part in key or ():
        if not isinstance(found.params, Mapping) or part not in found.params:
            there = listed(found.params) if isinstance(found.params, Mapping) else "no names"
            msg = f"`key` must be the names on the way to the parameters; there is no {shown(part)} among {there}."
            raise FormatError(msg)
        found = found.entered(part)
    while isinstance(found.params, Mapping) and isinstance(found.params.get("params"), Mapping):
        _require_one(found.params, is_given=key is not None)
        found = found.entered("params")
    if not isinstance(found.params, Mapping):
        msg = f"{WANTED}; got {'an array' if is_array(found.params) else type(found.params).__name__}."
        raise FormatError(msg)
    return found


def _require_one(tree: Mapping[Any, Any], *, is_given: bool) -> None:
    """Check that beside parameters there are none of another network, and no collection that is not known."""
    params = tree["params"]
    others = {name: part for name, part in tree.items() if name not in _NOTHING}
    alike = [name for name, part in others.items() if _is_alike(part, params)]
    if len(alike) > 1:
        msg = f"the tree holds several networks, in {listed(alike)}; {way('key', key=repr(alike[0]))}."
        raise FormatError(msg)
    for name, part in others.items():
        if not is_given and name != "params" and (path := _of_modules(part, params)):
            msg = (
                f"beside 'params' there is {shown(name)}, whose {shown(path)} may be of a module of the network; "
                f"{way('flax_collection', key=repr('params'))}."
            )
            raise FormatError(msg)


def _of_modules(part: Any, params: Mapping[Any, Any]) -> str | None:
    """Return the path of an array that a collection has for a module of the parameters, if there is one."""
    if not isinstance(part, Mapping):
        return None
    pairs = ((name, module, params.get(name)) for name, module in part.items())
    own = {name: module for name, module, of in pairs if isinstance(module, Mapping) and isinstance(of, Mapping)}
    return next((path for path, value in leaves(own) if is_float(value)), None)


def _is_alike(part: Any, params: Mapping[Any, Any]) -> bool:
    """Return whether a part has the arrays of the parameters by name, as averages of them have."""
    while isinstance(part, Mapping) and part.keys() == {"params"}:
        part = part["params"]
    while params.keys() == {"params"} and isinstance(params["params"], Mapping):
        params = params["params"]
    if not isinstance(part, Mapping) or not params or part.keys() != params.keys():
        return False
    waiting: list[tuple[Any, Any]] = [(part, params)]
    while waiting:
        one, other = waiting.pop()
        if isinstance(one, Mapping) != isinstance(other, Mapping):
            return False
        if isinstance(one, Mapping):
            if one.keys() != other.keys():
                return False
            waiting += [(one[name], other[name]) for name in one]
    return True


def is_float(value: Any) -> bool:
    """Return whether a value is an array of floating point, or of complex numbers."""
    return is_array(value) and dtype_name(value).startswith(("float", "bfloat", "complex"))


def leaves(tree: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what stands at the ends of a tree, each with its path, which is made as it is asked for."""
    waiting: list[tuple[str, Iterator[tuple[Any, Any]]]] = [("", iter(tree.items()))]
    while waiting:
        place, parts = waiting[-1]
        name, value = next(parts, (None, waiting))
        if value is waiting:
            waiting.pop()
            continue
        path = f"{place}/{name}" if place else str(name)
        if isinstance(value, Mapping):
            if len(path) > MAX_PATH:
                msg = f"the tree goes deeper than any network's, at {shown(path)}."
                raise FormatError(msg)
            waiting.append((path, iter(value.items())))
        else:
            yield path, value


def kept(path: str, account: Account) -> str:
    """Return a path that is kept, once it is accounted."""
    account.take("the paths in its tree", "bytes", _COPIES * getsizeof(path))
    return path
