"""Notations of weights other than torch's, by their names.

Known are waa wax wya ba by and Whh Wxh Why bh by of the text-books, whose vectors are columns, and Wxh Whh bias of MLX.
"""

from collections.abc import Iterator

from rnn_backends.core.messages import listed
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.names import Declared

_NOTATIONS = (
    {"wax": "weight_ih_l0", "waa": "weight_hh_l0", "ba": "bias_l0", "wya": "weight", "by": "bias"},
    {"wxh": "weight_ih_l0", "whh": "weight_hh_l0", "bh": "bias_l0", "why": "weight", "by": "bias"},
    {"wxh": "weight_ih_l0", "whh": "weight_hh_l0", "bias": "bias_l0"},
)
_ROWS = {
    "wx": "weight_ih_l0.T", "wh": "weight_hh_l0.T", "b": "bias_l0", "w_vocab": "readout.weight.T",
    "b_vocab": "readout.bias", "w_embed": "embedding.weight",
}  # fmt: skip
"""CS231n's notation, whose vectors are rows: too short to be known for sure, and so only named in a message."""
COLUMNS = {"ba", "bh", "by"}
"""The biases of the text-books, which may stand as columns."""


def require_columns(declared: Declared) -> None:
    """Check that names are of no notation whose vectors are rows, where names or shapes show it."""
    rows = {name: _ROWS[name.lower()] for name in declared if name.lower() in _ROWS}
    if {"wx", "wh"} <= {name.lower() for name in rows}:
        msg = f"{listed(rows)} are not torch's names; if vectors are rows there, {way('names', names=rows)}."
        raise FormatError(msg)
    known = dict(notations(declared))
    shapes = {local: declared[name][1] for name, (_, _, local) in known.items()}
    size = shapes.get("weight_hh_l0", ())[:1]
    turned = (
        len(shapes.get("weight_ih_l0", ())) == 2 and shapes["weight_ih_l0"][:1] != size == shapes["weight_ih_l0"][1:]
    )
    readout = shapes.get("weight", ())
    turned = turned or (len(readout) == 2 and readout[1:] != size == readout[:1])
    names = {name: f"{'readout.' * (kind == 'linear')}{local}" for name, (_, kind, local) in known.items()}
    given = {name: own if "bias" in own else f"{own}.T" for name, own in names.items()}
    biases = [shape for local, shape in shapes.items() if "bias" in local]
    if turned or any(len(shape) == 2 and shape[1] > 1 for shape in biases):
        msg = f"{listed(given)} are of a text-book, but their vectors are no columns; {way('names', names=given)}."
        raise FormatError(msg)
    matrices = [shape for local, shape in shapes.items() if "bias" not in local]
    is_book = {name.rpartition(".")[2].lower() for name in known} & {*COLUMNS, "why", "wya"}
    if is_book and all(shape[:1] == shape[1:] for shape in matrices) and not any(len(shape) == 2 for shape in biases):
        msg = (
            f"{listed(given)} are of a text-book and square, and do not record whether vectors are rows or columns; "
            f"{way('names_of_rows', names=given)}."
        )
        raise FormatError(msg)


def notations(declared: Declared) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield the names of a text-book's or of MLX, each with its prefix, kind and local name."""
    groups: dict[str, dict[str, str]] = {}
    for name in declared:
        prefix, _, leaf = name.rpartition(".")
        groups.setdefault(prefix, {})[leaf.lower()] = name
    for prefix, leaves in groups.items():
        found = [
            notation
            for notation in _NOTATIONS
            if {leaf for leaf, local in notation.items() if local.startswith("weight_")} <= leaves.keys()
        ]
        notation = max(found, key=lambda each: len(each.keys() & leaves.keys()), default={})
        for leaf, name in leaves.items():
            if (local := notation.get(leaf)) is None:
                continue
            yield name, (prefix, "linear" if local in {"weight", "bias"} else "layers", local)
