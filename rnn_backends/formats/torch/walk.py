"""A torch module taken apart: the parts of it that compute, in the order of their registration."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from rnn_backends.core.messages import got, listed, shown
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.names import is_within
from rnn_backends.formats.torch.classes import (
    ACTIVATIONS,
    CONTAINERS,
    GATED,
    INERT,
    MODES,
    OUTPUTS,
    RECURRENT,
    base,
    computes_nothing,
    is_changed,
    is_of_torch,
    is_scripted,
    is_wrapper,
    qualified,
    require_no_hooks,
)
from rnn_backends.formats.torch.parts import FITTING, WHOLE, Part

Roles = Mapping[str, str]


def parts_of(module: Any, roles: Roles) -> list[Part]:
    """Return the parts of a module that compute, each of a class that is understood."""
    walk = _Walk(roles, has_cells=any(base(each).__name__ in RECURRENT for each in module.modules()))
    found = list(walk.parts(module, "", WHOLE))
    if unknown := [path for path in roles if path not in walk.paths]:
        known = listed(sorted(walk.paths - {""}))
        msg = f"`roles` must map paths of modules to roles; there is no {listed(unknown)}, but {known}."
        raise ArgumentError(msg)
    distinct: dict[Any, Part] = {}
    for part in found:
        # The same module twice, outside an nn.Sequential, is one that has two names.
        distinct.setdefault(part.path if part.chain is not None else id(part.module), part)
    return _in_given_order(list(distinct.values()), list(roles))


def require_known(module: Any, roles: Roles) -> None:
    """Check that all that computes in a module is understood, where its arrays are to be read by their names."""
    walk = _Walk(roles, has_cells=True)
    for path, each in module.named_modules():
        if not walk.is_looked_into(path, each):
            continue
        root = base(each).__name__
        if is_of_torch(each):
            if root not in (*CONTAINERS, *INERT):
                _part(path, root, each)
        elif not vars(each)["_modules"] and not any(True for _ in each.named_parameters()):
            part = Part(path, "code", type(each).__name__)
            msg = f"{part} is a class of your own, which is not looked into; {way('ignore', roles={path: 'ignore'})}."
            raise FormatError(msg)


def _in_given_order(parts: list[Part], keys: Sequence[str]) -> list[Part]:
    """Return the parts with those of one given role in the order in which `roles` gives it."""
    found = list(parts)
    for role in FITTING:
        places = [place for place, part in enumerate(parts) if part.role == role]
        ranked = sorted((parts[place] for place in places), key=lambda part: keys.index(str(_key(part.path, keys))))
        for place, part in zip(places, ranked, strict=True):
            found[place] = part
    return found


def _key(path: str, keys: Collection[str]) -> str | None:
    """Return the longest of some paths that leads to a module."""
    found = [key for key in keys if not key or is_within(path, key)]
    return max(found, key=len, default=None)


class _Walk:
    """A walk through a module."""

    def __init__(self, roles: Roles, *, has_cells: bool) -> None:
        self._roles, self._has_cells = roles, has_cells
        self._chains = count(WHOLE + 1)
        self.paths: set[str] = set()

    def parts(self, module: Any, path: str, chain: int | None) -> Iterator[Part]:
        """Yield the parts of a module; `chain` is that of the nn.Sequential it is in, or WHOLE of the whole."""
        self.paths.add(path)
        role = self._role(path)
        root, changed, is_torch = base(module).__name__, is_changed(module), is_of_torch(module)
        if not self.is_looked_into(path, module):
            return
        ignoring = self._ignoring(path)
        if is_torch and root not in CONTAINERS:
            yield _part(path, root, module)._replace(chain=chain if path else None, role=_fitting(path, root, role))
            return
        if not vars(module)["_modules"] and not is_torch:
            if any(True for _ in (*module.named_parameters(), *module.named_buffers())):
                msg = f"{shown(path)} is a {qualified(module)}, with arrays whose use is code{ignoring}."
                raise FormatError(msg)
        elif not is_wrapper(module):
            self._require_nothing_else(path, module)
        below = chain if is_wrapper(module) else None
        if root == "Sequential" and is_torch and not changed:
            below = next(self._chains) if chain is None else chain
        found = list(self._inside(module, path, below))
        if not found and not is_wrapper(module) and (changed or not is_torch):  # what it computes is code
            found = [Part(path, "code", type(module).__name__, chain=chain if path else None, module=module)]
        yield from found

    def is_looked_into(self, path: str, module: Any) -> bool:
        """Return whether a module takes part in what the network gives; it must be understood, and without hooks."""
        changed, is_torch = is_changed(module), is_of_torch(module)
        is_inert = base(module).__name__ in INERT and is_torch and not changed
        if self._is_left_out(path, self._role(path), module, is_inert=is_inert):
            return False
        _require_known(path, module, self._ignoring(path), changed=changed, is_torch=is_torch)
        require_no_hooks(path, module)
        return True

    def _ignoring(self, path: str) -> str:
        return f"; {way('ignore', roles={path: 'ignore'})}" if path and self._has_cells else ""

    def _inside(self, module: Any, path: str, chain: int | None) -> Iterator[Part]:
        for name, child in vars(module)["_modules"].items():
            if child is not None:
                yield from self.parts(child, f"{path}.{name}".lstrip("."), chain)

    def _is_left_out(self, path: str, role: str | None, module: Any, *, is_inert: bool) -> bool:
        """Return whether a module, with all in it, takes no part in what the network gives."""
        ignored = role == "ignore" and not self._has_roles_inside(path, module)
        if not (ignored or is_inert or computes_nothing(module)):
            return False
        if self._roles.get(path, "ignore") != "ignore":
            msg = f"`roles` gives {shown(path)} the role {got(self._roles[path])}; it computes nothing, and needs none."
            raise ArgumentError(msg)
        inside = (*module.named_modules(), *module.named_parameters(), *module.named_buffers())
        self.paths.update(f"{path}.{name}".lstrip(".") for name, _ in inside if name)
        return True

    def _has_roles_inside(self, path: str, module: Any) -> bool:
        """Return whether modules in a module may have roles of their own; a module without others holds none."""
        is_given = any(each.startswith(f"{path}.") for each in self._roles)
        return is_given and any(name for name, _ in module.named_modules())

    def _role(self, path: str) -> str | None:
        key = _key(path, self._roles)
        return None if key is None else self._roles[key]

    def _require_nothing_else(self, path: str, module: Any) -> None:
        """Check that a module of the user's holds no arrays of its own, whose use is not known."""
        own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        names = [f"{path}.{name}".lstrip(".") for name, _ in own]
        self.paths.update(names)
        if wrong := [name for name in names if self._role(name) != "ignore"]:
            advice = way("module_state", roles=dict.fromkeys(wrong, "ignore"))
            msg = f"{listed(wrong)} are arrays of the module's own, whose use is code; {advice}."
            raise FormatError(msg)


def _require_known(path: str, module: Any, ignoring: str, *, changed: bool, is_torch: bool) -> None:
    """Check that a module is of a class that is understood, or holds such modules."""
    root = base(module).__name__
    where = f"{shown(path) if path else 'the module'} is a {qualified(module)}"
    if is_scripted(module):
        msg = f"{where}, a program, which is not looked into; {way('module_scripted')}."
        raise FormatError(msg)
    own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    if any(type(each).__name__ in {"UninitializedParameter", "UninitializedBuffer"} for _, each in own):
        msg = f"{where}, whose weights have no shape yet; {way('module_lazy')}."
        raise FormatError(msg)
    if is_torch and root in GATED:
        msg = f"{where}, which has gates; this package runs vanilla RNNs, nn.RNN and nn.RNNCell{ignoring}."
        raise FormatError(msg)
    known = (*RECURRENT, *ACTIVATIONS, *CONTAINERS, *INERT, *_KINDS)
    is_owned = type(module).__module__.partition(".")[0] == "torch" and not is_wrapper(module)
    if root not in known and (is_torch or is_owned):
        msg = (
            f"{where}, which is not understood; understood are {', '.join(RECURRENT)}, Embedding, Linear, BatchNorm1d, "
            f"{', '.join(OUTPUTS)}, ReLU and the like, Dropout{ignoring}."
        )
        raise FormatError(msg)
    if is_torch and root not in CONTAINERS and changed:
        msg = f"{where}, which computes something else than torch's {root}, by code that is not looked into{ignoring}."
        raise FormatError(msg)


def _fitting(path: str, root: str, role: str | None) -> str | None:
    """Return a role that a module is given, which must be one of its kind."""
    kind = _KINDS.get(root, "activation")
    if role is not None and kind not in FITTING[role]:
        fitting = [each for each, kinds in FITTING.items() if kind in kinds]
        msg = (
            f"`roles` gives {shown(path)}, a {root}, the role {got(role)}; it can have {', '.join(fitting)} or ignore."
        )
        raise ArgumentError(msg)
    return role


_KINDS = {
    "RNN": "rnn", "RNNCell": "rnn", "Linear": "linear", "Embedding": "embedding",
    "BatchNorm1d": "norm", "SyncBatchNorm": "norm",
}  # fmt: skip


def _part(path: str, root: str, module: Any) -> Part:
    """Return what a module of torch records of itself."""
    if root in RECURRENT:
        width = module.hidden_size * (2 if root == "RNN" and module.bidirectional else 1)
        return Part(path, "rnn", root, module.input_size, width, module=module)
    if root == "Linear":
        return Part(path, "linear", root, module.in_features, module.out_features, module=module)
    if root == "Embedding":
        if module.max_norm is not None:
            msg = f"the embedding {shown(path)} has max_norm, which changes its rows as they are used."
            raise FormatError(msg)
        return Part(path, "embedding", root, module.num_embeddings, module.embedding_dim, module=module)
    if _KINDS.get(root) == "norm":
        if not module.track_running_stats:
            msg = f"{shown(path)} is a {root} with track_running_stats=False, which has no mean of its own."
            raise FormatError(msg)
        return Part(path, "norm", root, module.num_features, module.num_features, module=module)
    axis = module.dim if root in {"Softmax", "LogSoftmax"} else -1
    return Part(path, "activation", root, activation=ACTIVATIONS[root](module), axis=axis, module=module)


def facts_of(module: Any) -> tuple[str, bool | None]:
    """Return the activation of an nn.RNN or an nn.RNNCell, and whether the batch is its first axis, if it says so."""
    if hasattr(module, "mode"):
        return MODES[module.mode], bool(module.batch_first)
    return str(module.nonlinearity), None
