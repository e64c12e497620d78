"""The operators that are read, by their names, and the nodes of a graph in an order in which they can be."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rnn_backends.formats.account import Account
from rnn_backends.formats.onnx import (
    affine,
    clips,
    constants,
    joins,
    linears,
    packed,
    parts,
    pooling,
    recurrent,
    repeated,
    shapes,
    splits,
)
from rnn_backends.formats.onnx.interpreter import Operator

_MODULES = (
    affine, clips, constants, joins, linears, packed, parts, pooling, recurrent, repeated, shapes, splits,
)  # fmt: skip
OPERATORS: Mapping[str, Operator] = {
    name: operator for module in _MODULES for name, operator in module.OPERATORS.items()
}


def in_order(nodes: Sequence[Any], known: Iterable[str], account: Account) -> Iterable[Any]:
    """Return nodes so that each comes after those that its inputs are of, as far as there is such an order.

    ONNX wants them so, and runtimes take them as they come: converters to float16 add their casts at the end.  One node
    at a time is an object of Python's, which takes more than what protobuf holds of it.
    """
    defined = set(known)
    if _is_ordered(nodes, defined):
        return nodes
    account.take("the order of its nodes", "fields", sum(len(node.input) + len(node.output) for node in nodes))
    return map(nodes.__getitem__, _order(nodes, defined))


def _order(nodes: Sequence[Any], defined: set[str]) -> list[int]:
    """Return the numbers of nodes in such an order, at the end those for which there is none."""
    waiting: dict[str, list[int]] = {}
    missing = [0] * len(nodes)
    for number, node in enumerate(nodes):
        for name in {each for each in node.input if each and each not in defined}:
            waiting.setdefault(name, []).append(number)
            missing[number] += 1
    ready, order = deque(number for number, count in enumerate(missing) if not count), []
    while ready:
        order.append(ready.popleft())
        for name in nodes[order[-1]].output:
            for number in waiting.pop(name, ()):
                missing[number] -= 1
                if not missing[number]:
                    ready.append(number)
    return [*order, *(number for number, count in enumerate(missing) if count)]


def _is_ordered(nodes: Iterable[Any], defined: set[str]) -> bool:
    """Return whether each node comes after those that it depends on."""
    made: set[str] = set()
    for node in nodes:
        if any(name and name not in defined and name not in made for name in node.input):
            return False
        made.update(node.output)
    return True
