"""Weights that torch computes of others at each call: normalised, or pruned by a mask.

`effective` puts them in the place of those that a state dict holds: of ``weight_hh_l0_g`` and ``weight_hh_l0_v``, of
``parametrizations.weight_hh_l0.original0`` and ``original1``, of ``weight_orig`` and ``weight_mask`` and so on.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.made import Index, Made, closed, declared_of, in_tiles, of_array
from rnn_backends.formats.names import Declared

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


def effective(arrays: Mapping[str, Made]) -> dict[str, Made]:
    """Return the arrays of a state dict, with each weight that is computed in the place of its parts.

    None of them takes more memory than the part that has its shape, in whose place it is computed.

    Raises
    ------
    FormatError
        A parametrization is of another kind, which its names do not record.
    """
    made = _made(arrays)
    for name, how in made.items():
        _require_shapes(name, how, declared_of(arrays))
    owners = {part: name for name, how in made.items() for part in how.of}
    found: dict[str, Made] = {}
    for name, array in arrays.items():
        # Each stands where the first of its parts did: the order of names says what is applied first.
        owner = owners.get(name, name)
        if owner not in found:
            found[owner] = _computed(owner, made[owner], arrays) if owner in made else array
    return found


def weight_norm(g: Host, v: Made) -> Host:
    """Return g v / |v|, the norm being over all axes but that of g."""
    axes = tuple(axis for axis, _ in enumerate(v.shape) if g.ndim == 0 or g.shape[axis] == 1)
    found = v.own()
    outer = next((axis for axis in range(found.ndim) if axis not in axes), None)

    def place(index: Index) -> Index:
        return tuple(slice(None) if axis in axes else part for axis, part in enumerate(index))

    with np.errstate(all="ignore"):  # as in torch, where a norm is 0
        total = np.zeros([1 if axis in axes else size for axis, size in enumerate(found.shape)])
        for index, part in in_tiles(found, outer):
            wide = part.astype(np.float64)
            total[place(index)] += (wide * wide).sum(axis=axes, keepdims=True)
        scale = g.astype(np.float64) / np.sqrt(total)
        for index, part in in_tiles(found):
            part[...] = part.astype(np.float64) * scale[place(index)]
    return closed(found)


def spectral_norm(weight: Made, u: Host, v: Host, axis: int = 0) -> Host:
    """Return W / (u W v), the rows of W being along an axis, as torch computes it where nothing is trained."""
    found = weight.own()
    left, right = u.astype(np.float64), v.astype(np.float64)
    with np.errstate(all="ignore"):
        rows = np.moveaxis(found, axis, 0).reshape(found.shape[axis], -1)
        norm = _times(left, rows) @ right
        for _, part in in_tiles(found):
            part[...] = part.astype(np.float64) / norm
    return closed(found)


def pruned(weight: Made, mask: Made) -> Host:
    """Return a weight where a mask is 1, and 0 elsewhere."""
    found = weight.own()
    with np.errstate(all="ignore"):
        for index, part in mask.parts():
            found[index] *= part.astype(found.dtype)
    return closed(found)


def _times(left: Host, matrix: Host) -> Host:
    """Return a vector times a matrix, in float64."""
    found = np.empty(matrix.shape[1])
    for (rows, columns), part in in_tiles(matrix, 1):
        product = left[rows] @ part.astype(np.float64)
        found[columns] = found[columns] + product if rows.start else product
    return found


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


def _computed(name: str, how: _Made, arrays: Mapping[str, Made]) -> Made:
    """Return a weight that is computed of its parts, when it is asked for."""
    parts = [arrays[part] for part in how.of]
    shaped = arrays[how.shaped]

    def make() -> Host:
        if how.kind == "weight_norm":
            return weight_norm(parts[0].make(), shaped)
        if how.kind == "pruned":
            return pruned(*parts)
        u, v = (part.make() for part in parts[1:])
        whole = of_array(shaped.own())._replace(is_new=True)
        return spectral_norm(whole, u, v, _rows(name, whole.make(), u, v))

    return Made(shaped.dtype, shaped.shape, make, is_new=True)


def _rows(name: str, weight: Host, u: Host, v: Host) -> int:
    """Return which axis of a matrix a spectral norm takes for its rows, which a square one does not record.

    A power iteration leaves u along W v, or v along the transposed W u, which distinguishes one from the other.
    """
    if weight.shape[0] != weight.shape[1]:
        return 0 if u.shape[0] == weight.shape[0] else 1
    left, right = (each.astype(np.float64) for each in (u, v))
    with np.errstate(all="ignore"):
        products = [(_times(right, rows.T), _times(left, rows)) for rows in (weight, weight.T)]
        if np.isclose(products[0][1] @ right, products[1][1] @ right, rtol=1e-6, atol=0):
            return 0
        along = [max(_cosine(onto_u, left), _cosine(onto_v, right)) for onto_u, onto_v in products]
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
