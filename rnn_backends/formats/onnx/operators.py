"""The operators that are read, by their names, and the nodes of a graph in an order in which they can be."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from rnn_backends.formats.onnx import (
    affine,
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
from rnn_backends.formats.source import Account

OPERATORS: Mapping[str, Operator] = {
    name: operator
    for module in (affine, constants, joins, linears, packed, parts, pooling, recurrent, repeated, shapes, splits)
    for name, operator in module.OPERATORS.items()
}


def in_order(nodes: Iterable[Any], known: Iterable[str], account: Account) -> Iterable[Any]:
    """Return nodes so that each comes after those that its inputs are of, as far as there is such an order.

    ONNX wants them so, and runtimes take them as they come: converters to float16 add their casts at the end.
    """
    found, defined = list(nodes), set(known)
    if _is_ordered(found, defined):
        return found
    account.take("the order of its nodes", "fields", sum(len(node.input) + len(node.output) for node in found))
    waiting: dict[str, list[int]] = {}
    missing = [0] * len(found)
    for number, node in enumerate(found):
        for name in {each for each in node.input if each and each not in defined}:
            waiting.setdefault(name, []).append(number)
            missing[number] += 1
    ready, order = deque(number for number, count in enumerate(missing) if not count), []
    while ready:
        node = found[ready.popleft()]
        order.append(node)
        for name in node.output:
            for number in waiting.pop(name, ()):
                missing[number] -= 1
                if not missing[number]:
                    ready.append(number)
    return [*order, *(node for node, count in zip(found, missing, strict=True) if count)]


def _is_ordered(nodes: list[Any], defined: set[str]) -> bool:
    """Return whether each node comes after those that it depends on; their outputs are added to what is defined."""
    made: set[str] = set()
    for node in nodes:
        if any(name and name not in defined and name not in made for name in node.input):
            return False
        made.update(node.output)
    return True
