"""Weights that torch computes of others at each call: normalised, or pruned by a mask.

`effective` puts them in the place of those that a state dict holds: of ``weight_hh_l0_g`` and ``weight_hh_l0_v``, of
``parametrizations.weight_hh_l0.original0`` and ``original1``, of ``weight_orig`` and ``weight_mask`` and so on.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.names import Declared
from rnn_backends.formats.source import Account

_HOOKED = re.compile(r"(.*\.)?((?:weight|bias)[^.]*)_(g|v|orig|mask|u)", re.S)
_PARAMETRIZED = re.compile(r"(.*\.)?parametrizations\.([^.]+)\.(.+)", re.S)

Kind = Literal["weight_norm", "spectral_norm", "pruned"]
Parts = Mapping[str, str]
_HOOKS: Mapping[frozenset[str], Kind] = {
    frozenset("gv"): "weight_norm",
    frozenset({"orig", "u", "v"}): "spectral_norm",
    frozenset({"orig", "mask"}): "pruned",
}
_PARAMETRIZATIONS: Mapping[frozenset[str], Kind] = {
    frozenset({"original0", "original1"}): "weight_norm",
    frozenset({"original", "0._u", "0._v"}): "spectral_norm",
}
_PARTS: Mapping[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "weight_norm": (("g", "v"), ("original0", "original1")),
    "spectral_norm": (("orig", "u", "v"), ("original", "0._u", "0._v")),
    "pruned": (("orig", "mask"), ()),
}


class _Made(NamedTuple):
    """An array that is computed: how, and the names of what it is computed of."""

    kind: Kind
    of: tuple[str, ...]

    @property
    def shaped(self) -> str:
        """The name of the one that has its shape and dtype."""
        return self.of[1] if self.kind == "weight_norm" else self.of[0]


def effective(
    declared: Declared, read: Callable[[str], Host], account: Account | None = None
) -> tuple[Declared, Callable[[str], Host]]:
    """Return what is declared, with each weight that is computed in the place of its parts, and how it is read.

    Parameters
    ----------
    declared : mapping of str to dtype and shape
        Of a state dict.
    read : callable
        Returns an array by its name.
    account : Account, optional
        Asked before a weight is computed.

    Raises
    ------
    FormatError
        A parametrization is of another kind, which its names do not record.
    """
    made = _made(declared)
    for name, how in made.items():
        _require_shapes(name, how, declared)
    owners = {part: name for name, how in made.items() for part in how.of}
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, what in declared.items():
        # Each stands where the first of its parts did: the order of names says what is applied first.
        owner = owners.get(name, name)
        found.setdefault(owner, declared[made[owner].shaped] if owner in made else what)

    def read_effective(name: str) -> Host:
        if name not in made:
            return read(name)
        how = made[name]
        if account is not None:
            account.take(f"the weight {shown(name)}", "bytes", 8 * prod(declared[how.shaped][1]))
        return _computed(name, how.kind, [read(part) for part in how.of])

    return found, read_effective


def weight_norm(g: Host, v: Host) -> Host:
    """Return g v / |v|, the norm being over all axes but that of g."""
    axes = tuple(axis for axis in range(v.ndim) if g.ndim == 0 or g.shape[axis] == 1)
    with np.errstate(all="ignore"):  # as in torch, where a norm is 0
        wide = v.astype(np.float64)
        norm = np.sqrt((wide * wide).sum(axis=axes, keepdims=True))
        scaled: Host = wide * (g.astype(np.float64) / norm)
        return scaled.astype(v.dtype)


def spectral_norm(weight: Host, u: Host, v: Host, axis: int = 0) -> Host:
    """Return W / (u W v), the rows of W being along an axis, as torch computes it where nothing is trained."""
    with np.errstate(all="ignore"):
        wide = weight.astype(np.float64)
        rows: Host = np.moveaxis(wide, axis, 0).reshape(weight.shape[axis], -1)
        scaled: Host = wide / (u.astype(np.float64) @ rows @ v.astype(np.float64))
        return scaled.astype(weight.dtype)


def pruned(weight: Host, mask: Host) -> Host:
    """Return a weight where a mask is 1, and 0 elsewhere."""
    kept: Host = weight * mask.astype(weight.dtype)
    return kept


def _made(declared: Iterable[str]) -> dict[str, _Made]:
    """Return how each weight is made that is computed."""
    names = set(declared)
    found: dict[str, _Made] = {}
    for pattern, kinds, column in ((_HOOKED, _HOOKS, 0), (_PARAMETRIZED, _PARAMETRIZATIONS, 1)):
        groups: dict[str, dict[str, str]] = {}
        for name in declared:
            if match := pattern.fullmatch(name):
                groups.setdefault(f"{match[1] or ''}{match[2]}", {})[match[3]] = name
        for name, parts in groups.items():
            kind = kinds.get(frozenset(parts))
            if kind is not None and name not in names:
                found[name] = _Made(kind, tuple(parts[part] for part in _PARTS[kind][column]))
            elif column == 1:
                msg = (
                    f"{shown(name)} is parametrized by {listed(parts.values())}, which do not record how it is "
                    f"computed; {way('effective_parametrization')}."
                )
                raise FormatError(msg)
    return found


def _require_shapes(name: str, how: _Made, declared: Declared) -> None:
    """Check that the parts of a weight fit one another."""
    dtypes, shapes = zip(*(declared[part] for part in how.of), strict=True)
    if how.kind == "weight_norm":
        size, whole = shapes
        axes = [axis for axis, length in enumerate(size) if length != 1]
        fits = size == () or (
            len(size) == len(whole) and len(axes) <= 1 and all(size[axis] == whole[axis] for axis in axes)
        )
    elif how.kind == "pruned":
        fits, dtypes = shapes[0] == shapes[1], dtypes[:1]
    else:
        whole, rows, columns = shapes
        fits = len(whole) == 2 and len(rows) == len(columns) == 1 and {rows + columns, columns + rows} >= {whole}
    if not fits or len(set(dtypes)) > 1:
        parts = ", ".join(f"{shown(part)} {declared[part][0]} of shape {declared[part][1]}" for part in how.of)
        msg = f"{shown(name)} cannot be computed of {parts}: they do not fit one another."
        raise FormatError(msg)


def _computed(name: str, kind: Kind, parts: list[Any]) -> Host:
    if kind == "weight_norm":
        return weight_norm(*parts)
    if kind == "pruned":
        return pruned(*parts)
    weight, u, v = parts
    return spectral_norm(weight, u, v, _rows(name, weight, u, v))


def _rows(name: str, weight: Host, u: Host, v: Host) -> int:
    """Return which axis of a matrix a spectral norm takes for its rows, which a square one does not record.

    A power iteration leaves u along W v, or v along the transposed W u, which distinguishes one from the other.
    """
    if weight.shape[0] != weight.shape[1]:
        return 0 if u.shape[0] == weight.shape[0] else 1
    wide, left, right = (each.astype(np.float64) for each in (weight, u, v))
    with np.errstate(all="ignore"):
        if np.isclose(left @ wide @ right, right @ wide @ left, rtol=1e-6, atol=0):
            return 0
        along = [max(_cosine(rows @ right, left), _cosine(rows.T @ left, right)) for rows in (wide, wide.T)]
    axis = int(np.argmax(along))
    if not 1 - along[1 - axis] > 10 * (1 - along[axis]):  # NaN, too
        msg = (
            f"{shown(name)} has a spectral norm, of which u and v do not record whether it is of the matrix or of "
            f"its transpose; {way('effective_parametrization')}."
        )
        raise FormatError(msg)
    return axis


def _cosine(a: Host, b: Host) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
