"""Constants and Linears of a graph by value, so that comparing the steps of an unrolled one is comparing objects."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.onnx.flow import Axis, Encoded, Flow, Group, Input, Product, Tokens, outlined, size_of
from rnn_backends.formats.onnx.scales import Affine, composed, effective
from rnn_backends.formats.onnx.steps import Chain, Link
from rnn_backends.formats.source import BLOCK

_BOUND = 8
"""Units in the last place that the rows of a product may differ by, of which exporters fold those of one state."""


class Shared:
    """Constants and Linears of a graph by value, each found once."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._known: dict[Any, tuple[Any, Any]] = {}
        self._by_value: dict[Any, Host] = {}
        self.links: dict[Any, Link] = {}
        self.chains: dict[Any, Chain] = {}
        self.one = Axis("steps", 1)
        self.roles: dict[int, str] | None = None

    def sorted_axis(self, axis: Axis, lengths: str) -> Axis:
        """Return the axis of sorted sequences, one for each of the input and each order."""
        if (key := ("sorted", axis, lengths)) not in self._known:
            self._known[key] = (axis, Axis(axis.name, axis.size, axis, lengths))
        held: Axis = self._known[key][1]
        return held

    def tokens(self, ids: Input, count: int) -> Tokens:
        """Return the one-hot vectors of the token ids of an input, whose steps are taken before an embedding."""
        if (key := ("tokens", ids, count)) not in self._known:
            flow = Flow(ids, tuple((axis,) for axis in ids.atoms))
            self._known[key] = (ids, Tokens(flow, Axis("features", count)))
        held: Tokens = self._known[key][1]
        return held

    def affine(self, root: Any, factor: Host, shift: Host) -> Affine:
        """Return a sequence that is scaled and shifted, whose steps are taken before."""
        factor, shift = self.constant(factor), self.constant(shift)
        under, first = (root.under, root.scale) if isinstance(root, Affine) else (root, None)
        if (key := (root, id(factor), id(shift))) not in self._known:
            self._known[key] = (root, Affine(under, composed(first, factor, shift)))
        held: Affine = self._known[key][1]
        return held

    def encoded(self, root: Any, linears: tuple[Product, ...]) -> Encoded:
        """Return what Linears give of a sequence, one object for the two directions of a layer that take it."""
        if (key := ("encoded", root, *map(id, linears))) not in self._known:
            held, source = linears, root
            if isinstance(root, Affine):
                held, source = (replace(linears[0], before=root.scale), *linears[1:]), root.under
            # The Linears are kept, so that no others can have their ids.
            self._known[key] = (linears, Encoded(source, held))
        found: Encoded = self._known[key][1]
        return found

    def constant(self, array: Host) -> Host:
        """Return the first constant that is equal to an array."""
        if id(array) not in self._known:
            self._account.take("comparing its constants", "bytes", array.nbytes + 64)
            value = (array.dtype.str, array.shape, sha256(np.ascontiguousarray(array).data).digest())
            # The array is kept, so that no other can have its id.
            self._known[id(array)] = (array, self._by_value.setdefault(value, array))
        held: Host = self._known[id(array)][1]
        return held

    def made(self, key: Sequence[Any], array: Host, make: Any) -> Host:
        """Return a constant that is made of another, once."""
        own = self.constant(array)
        if (name := (id(own), *key)) not in self._known:
            self._known[name] = (own, self.constant(make(own)))
        held: Host = self._known[name][1]
        return held

    def state_of(self, flow: Flow, make: Callable[[], Flow]) -> Flow:
        """Return what a flow becomes, made once, as any number of nodes may take it."""
        if (key := (id(flow), "state")) not in self._known:
            self._known[key] = (flow, make())
        held: Flow = self._known[key][1]
        return held

    def link(
        self, root: Any, parent: Link | None, weight: Host, added: Sequence[Host] = (), activation: Any = None,
        output: Axis | None = None,
    ) -> Link:  # fmt: skip
        """Return the Linear that applies shared constants to what another gives, one object for all steps."""
        plain = (id(root), id(parent), id(weight))
        key = (*plain, tuple(sorted(map(id, added))), activation)
        if key not in self.links:
            self._account.take("the products of its steps", "items", 1 + len(added))
            if (own := self.links.get((*plain, (), None))) is None:
                axis = output or Axis("output_size", weight.shape[0])
                own = self.links[*plain, (), None] = Link(root, parent, weight, axis)
            self.links[key] = Link(root, parent, weight, own.output, tuple(added), activation)
        return self.links[key]

    def changed(self, link: Link, added: Sequence[Host] | None = None, activation: Any = None) -> Link:
        """Return a Linear with other constants after its product, or an activation."""
        return self.link(link.root, link.parent, link.weight, link.added if added is None else added, activation)

    def links_of(self, root: Any, products: tuple[Product, ...]) -> Link | None:
        """Return the Linears of all steps as those of one."""
        if (name := (id(products), "links")) in self._known:
            known: Link | None = self._known[name][1]
            return known
        self._account.take("the products of its steps", "items", len(products))
        found: Link | None = None
        for each in products:
            own, bias = effective(each)
            added = () if bias is None else (self.constant(bias),)
            weight = self.constant(own)
            found = self.link(root, found, weight, (), None, each.output)
            if added or each.activation is not None:
                found = self.changed(found, added, each.activation)
        self._known[name] = (products, found)
        return found

    def products(self, link: Link | None) -> tuple[Product, ...]:
        """Return the Linears of all steps that those of one stand for, each made once."""
        found: list[Product] = []
        for each in self.path(link):
            if (key := (id(each), "product")) not in self._known:
                self._account.take("the biases of its products", "bytes", 8 * each.weight.shape[0])
                bias = total(each.added, each.weight.dtype)
                self._known[key] = (each, Product(each.weight, each.output, bias, each.activation))
            found.append(self._known[key][1])
        return tuple(found)

    def path(self, link: Link | None) -> list[Link]:
        """Return the Linears of a step, the first of them first."""
        found: list[Link] = []
        while link is not None:
            found.append(link)
            link = link.parent
        self._account.take("the products of its steps", "items", len(found))
        return found[::-1]


def total(constants: Sequence[Host], dtype: Any) -> Host | None:
    """Return the sum of the constants after a product, rounded once; None where there is none."""
    if not constants:
        return None
    with np.errstate(all="ignore"):
        rounded: Host = summed(constants).astype(dtype)
    return rounded


def summed(constants: Iterable[Host]) -> Host:
    """Return the sum of constants in float64, of which one at a time is held."""
    rest = iter(constants)
    found: Host = next(rest).astype(np.float64)
    for each in rest:
        found += each
    return found


def row_of(shared: Shared, constant: Host, outputs: int, axes: Sequence[Group]) -> tuple[Host, tuple[Group, ...]]:
    """Return a constant that is added to each row of one step, (outputs,), and the axes of the sum."""
    fits = constant.dtype.kind == "f" and constant.ndim > 0 and constant.shape[-1] == outputs and outputs > 0
    leading = constant.shape[:-1]
    found: tuple[Group, ...] = (*((),) * max(len(leading) - len(axes) + 1, 0), *axes)
    sizes = [size_of(group) for group in found[:-1]][len(found) - 1 - len(leading) :]
    if not fits or any(own not in {1, size} for own, size in zip(leading, sizes, strict=True)):
        names = outlined(axes)
        msg = f"a constant of shape {shown(constant.shape)} does not fit to one step, {names}."
        raise FormatError(msg)
    return shared.made(("row",), constant, _row), found


def _row(constant: Host) -> Host:
    rows = constant.reshape(-1, constant.shape[-1])
    step = max(1, BLOCK // rows.shape[1])  # so that not all of them is ever held in float64
    with np.errstate(all="ignore"):
        spread = np.max([abs(rows[i : i + step].astype(np.float64) - rows[0]).max() for i in range(0, len(rows), step)])
        scale = float(np.finfo(rows.dtype).eps) * float(abs(rows[0]).max())
    if len(rows) > 1 and not spread <= _BOUND * scale:
        msg = "it adds a constant that differs from sequence to sequence, or starts from such a state."
        raise FormatError(msg)
    row: Host = rows[0]
    return row
