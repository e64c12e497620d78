"""States of an unrolled graph: which sum and activation continues a layer, and which starts one.

A state is known by the step before it: the constants of both, the place of its input and that of the state that it
takes must be those of a recurrence, or the node is refused.
"""

from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.onnx.flow import Axis, Flow, Group, Input, Zeros, order_of
from rnn_backends.formats.onnx.interpreter import Call
from rnn_backends.formats.onnx.moments import of_chain
from rnn_backends.formats.onnx.states import decided
from rnn_backends.formats.onnx.steps import Chain, Given, Link, Moment, aligned


def next_state(call: Call, flow: Flow, activation: Any) -> Flow:
    """Return the state that a sum and an activation give, which continues a chain or starts one."""
    one, two = _alike(call, flow.content.terms)
    orders = ((one, two), (two, one))
    for x, before in orders:
        if _continues(x.content, before.content):
            return _next(flow, x, before, activation)
    for x, before in orders:
        if _follows_first(x.content, before.content):
            return _second(call, flow, x, before, activation)
    return _first(call, flow, activation)


def _alike(call: Call, terms: tuple[Flow, Flow]) -> tuple[Flow, Flow]:
    """Return terms of which neither is a first step that the other knows as a state."""
    one, two = terms
    for root in (one.content, two.content):
        chain = root.root if isinstance(root, Moment) else None
        if isinstance(chain, Chain):
            one, two = of_chain(call, one, chain), of_chain(call, two, chain)
    return one, two


def _continues(x: Any, before: Any) -> bool:
    """Return whether one term is the product of a state of a chain, and the other that of what the chain takes."""
    if not isinstance(x, Moment) or not isinstance(before, Moment) or not isinstance(before.root, Chain):
        return False
    chain: Chain = before.root
    alone = before.link is not None and before.link.parent is None
    return alone and x.root is chain.link.root and x.seq is chain.seq and _same_product(x.link, chain.link)


def _same_product(one: Link | None, other: Link) -> bool:
    return one is not None and one.parent is other.parent and one.weight is other.weight


def _follows_first(x: Any, before: Any) -> bool:
    """Return whether one term is the product of a state without a recurrent product, of what the other takes."""
    if not isinstance(x, Moment) or not isinstance(before, Moment) or before.link is None or x.root is not before.root:
        return False
    first = before.link.parent
    return first is not None and first.activation is not None and x.seq is before.seq and _same_product(x.link, first)


def _added(flow: Flow) -> tuple[Host, ...]:
    """Return all constants that a sum has."""
    parts = [term.content for term in flow.content.terms]
    found = [part.added if isinstance(part, Given) else part.link.added for part in parts]
    return (*found[0], *found[1], *flow.content.added)


def _weight_of(term: Flow) -> Host:
    content: Any = term.content
    weight: Host = content.weight if isinstance(content, Given) else content.link.weight
    return weight


def _next(flow: Flow, x: Flow, before: Flow, activation: Any) -> Flow:
    """Return the state after one of a chain, whose constants must be those of all."""
    chain: Chain = before.content.root
    number = chain.number_of(before.content.place) + 1
    if x.content.place != chain.place_of(number):
        msg = (
            f"step {x.content.place} takes the state of step {before.content.place}; in a recurrence each takes that "
            "of the step next to it."
        )
        raise FormatError(msg)
    added = _added(flow)
    differing = {
        "another recurrent weight": _weight_of(before) is not chain.weight,
        "another bias": sorted(map(id, added)) != sorted(map(id, chain.biases)),
        "another activation": activation != chain.activation,
    }
    if names := [name for name, differs in differing.items() if differs]:
        msg = f"step {x.content.place} has {' and '.join(names)} than the steps before it."
        raise FormatError(msg)
    chain.count = max(chain.count, number + 1)
    return _held(flow, chain, x, before, number)


def _second(call: Call, flow: Flow, x: Flow, before: Flow, activation: Any) -> Flow:
    """Return the second state of a chain whose first has no recurrent product, as a state of zeros has been folded."""
    content, first = x.content, before.content.link.parent
    places = (before.content.place, content.place)
    size = content.seq.size or 0
    if places not in {(0, 1), (size - 1, size - 2)}:
        msg = f"step {places[1]} takes the state of step {places[0]}, which has no state before it."
        raise FormatError(msg)
    if activation != first.activation:
        msg = f"step {places[1]} has another activation than the step before it."
        raise FormatError(msg)
    added = _added(flow)
    key = (id(first), places, id(_weight_of(before)), tuple(sorted(map(id, added))), activation)
    chains = call.graph.shared.chains
    if key not in chains:
        plain = call.graph.shared.changed(first, ())
        _account(call, plain)
        chains[key] = Chain(content.seq, plain, None, _batch(x), _weight_of(before), added, activation,
                            places != (0, 1), first)  # fmt: skip
        chains[key].count = 2
    return _held(flow, chains[key], x, before, 1)


def _account(call: Call, link: Link) -> None:
    """Account for a layer and for those below it, which are looked at one after the other."""
    depth = link.root.depth if isinstance(link.root, Chain) else 0
    call.graph.account.take("its layers on each other", "depth", 1 + depth)
    call.graph.account.take("its layers", "items", 16)


def _batch(x: Flow) -> Group:
    groups = [group for group in x.axes[:-1] if group]
    if len(groups) > 1:
        msg = "a step must have the axes of sequences and features alone."
        raise FormatError(msg)
    return groups[0] if groups else ()


def _held(flow: Flow, chain: Chain, x: Flow, before: Flow, number: int) -> Flow:
    """Return the flow of a state of a chain."""
    _require_square(chain.weight, _weight_of(x))
    loose = isinstance(before.content, Given)
    leading = aligned(x.axes, before.axes, loose)
    leading = (*((),) * (len(flow.axes) - 1 - len(leading)), *leading)
    return Flow(Moment(chain, chain.seq, chain.place_of(number)), (*leading, (chain.hidden,)))


def _require_square(recurrent: Host, own: Host) -> None:
    if recurrent.shape != (own.shape[0], own.shape[0]):
        msg = f"the recurrent weight must be {shown((own.shape[0], own.shape[0]))}; got {shown(recurrent.shape)}."
        raise FormatError(msg)


def _first(call: Call, flow: Flow, activation: Any) -> Flow:
    """Return the first state of a chain, from a state that the graph multiplies by the recurrent weight."""
    readings = _readings(call, flow.content.terms)
    if not readings:
        msg = (
            "it adds what is neither a step of a sequence and the state of the step before it, nor a step and a state "
            "to start from."
        )
        raise FormatError(msg)
    (x, before), *others = readings
    place, size = x.content.place, x.content.seq.size
    if size is None:
        msg = f"it takes single steps of an axis whose size is not known; {way('onnx_sizes')}."
        raise FormatError(msg)
    if place not in {0, size - 1}:
        msg = f"step {place} starts from a given state, which only the first of {size} steps does."
        raise FormatError(msg)
    added, given = _added(flow), before.content
    key = (id(x.content.link), x.content.seq, place, _name_of(call, given.state), id(given.weight),
           tuple(sorted(map(id, added))), activation)  # fmt: skip
    chains = call.graph.shared.chains
    if key not in chains:
        plain = call.graph.shared.changed(x.content.link, ())
        _account(call, plain)
        chains[key] = Chain(x.content.seq, plain, given, _batch(x), given.weight, added, activation, place != 0)
        chains[key].is_open = bool(others)
    return _held(flow, chains[key], x, before, 0)


def _name_of(call: Call, state: Any) -> Any:
    """Return what is equal for equal states to start from."""
    if isinstance(state, Zeros):
        return "zeros"
    if isinstance(state, np.ndarray):
        return id(call.graph.shared.constant(state))
    content = state.content
    return (
        (content.name, content.start, content.stop, order_of(content.atoms)) if isinstance(content, Input) else content
    )


def _readings(call: Call, terms: tuple[Flow, Flow]) -> list[tuple[Flow, Flow]]:
    """Return what may be a step and a state to start from, the likelier first where either of two inputs may be it."""
    found: list[tuple[Flow, Flow]] = []
    for x, other in (terms, terms[::-1]):
        if not isinstance(x.content, Moment):
            continue
        before = other if isinstance(other.content, Given) else _as_given(call, other)
        if before is not None and before.content.weight.shape == (len(_weight_of(x)),) * 2:
            found.append((x, before))
    return decided(call, found) if len(found) == 2 else found


def _as_given(call: Call, term: Flow) -> Flow | None:
    """Return the product of an input as that of a state to start from; None where it is none."""
    content: Moment = term.content
    root, link = content.root, content.link
    if not isinstance(root, Input) or "float" not in root.dtype or link is None or link.parent is not None:
        return None
    state: Any = root
    if content.seq is root.atoms[0]:
        part = (Axis(f"{shown(root.name)[1:-1]}[0]", 1), *root.atoms[1:])
        state = Input(root.name, part, root.dtype, content.place, content.place + 1, root)
    elif content.seq is not call.graph.shared.one:
        return None
    axes = (*term.axes[:-1], root.atoms[-1:])
    return Flow(Given(Flow(state, axes), link.weight, link.added), term.axes)
