"""Operators of an unrolled graph, whose steps are followed one by one: products, sums, activations and their stack.

A state is known by the step before it: the constants of both, the place of its input and that of the state that it
takes must be those of a recurrence, or the node is refused.
"""

import re
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx.flow import (
    Axis,
    Encoded,
    Fixed,
    Flow,
    Group,
    Input,
    Result,
    Stage,
    Tokens,
    Zeros,
    size_of,
)
from rnn_backends.formats.onnx.interpreter import Call
from rnn_backends.formats.onnx.scales import Affine
from rnn_backends.formats.onnx.steps import Beside, Chain, Given, Link, Moment, Summed, aligned, row_of

OF_STEPS = (Moment, Given, Summed, Beside)
_STATE = re.compile(r"(?:.*[./])?(?:h|hx|h_?0|h_?prev|h_?t|h_?in|hidden.*|.*_?state)", re.IGNORECASE)


def features_of(content: Moment) -> Group:
    """Return the axes of one row of one step."""
    root: Any = content.root.under if isinstance(content.root, Affine) else content.root
    if content.link is not None:
        return (content.link.output,)
    if isinstance(root, Input):
        return root.atoms[-1:]
    if isinstance(root, Chain):
        return (root.hidden,)
    return root.features if isinstance(root, Stage) else (root.features,)


def moment_of(call: Call, value: Any) -> Flow | None:
    """Return a flow that holds one step of a sequence as such; None of anything else."""
    content = value.content if isinstance(value, Flow) else None
    if isinstance(content, Moment):
        return Flow(content, value.axes)
    if isinstance(content, Input) and content.whole is not None and content.stop == (content.start or 0) + 1:
        return Flow(Moment(content.whole, content.whole.atoms[0], content.start or 0), value.axes)
    if not isinstance(content, Result) or content.stage is None or content.step is None:
        return None
    stage, link = content.stage, call.graph.shared.links_of(content.stage, content.linears)
    if stage.seq.size is None or value.axes[-1:] != (content.features,):
        return None
    found = Moment(stage, stage.seq, 0 if content.step == 0 else stage.seq.size - 1, link)
    return Flow(found, (*value.axes[:-1], features_of(found)))


def multiplied(call: Call, a: Any, b: Host, transposed: bool) -> Flow | None:
    """Return the product of one step, or of a state to start from; None of anything else."""
    known = isinstance(a, (np.ndarray, Zeros)) or (isinstance(a, Flow) and isinstance(a.content, (Beside, Fixed)))
    if not known and moment_of(call, a) is None:
        return None
    shared = call.graph.shared
    return _multiplied(call, a, shared.constant(b) if transposed else shared.made(("transposed",), b, np.transpose))


def _multiplied(call: Call, a: Any, weight: Host) -> Flow | None:
    shared = call.graph.shared
    if isinstance(a, Flow) and isinstance(a.content, Beside):
        return _halves(call, a, weight)
    if isinstance(a, (np.ndarray, Zeros)) or (isinstance(a, Flow) and isinstance(a.content, Fixed)):
        axes = _axes_of(a)
        if axes and size_of(axes[-1]) == weight.shape[1]:
            return Flow(Given(a, weight), (*axes[:-1], (Axis("output_size", weight.shape[0]),)))
        return None
    if (held := moment_of(call, a)) is None:
        return None
    content: Moment = held.content
    if held.axes[-1:] != (features_of(content),) or size_of(held.axes[-1]) not in {None, weight.shape[1]}:
        msg = f"its matrix, {weight.shape[::-1]}, must take the features of one step."
        raise FormatError(msg)
    link = shared.link(content.root, content.link, weight)
    return Flow(replace(content, link=link), (*held.axes[:-1], (link.output,)))


def _axes_of(state: Any) -> tuple[Group, ...]:
    """Return the axes of a state to start from; none where they are not known."""
    if isinstance(state, np.ndarray):
        return tuple(() if size == 1 else (Axis("constant", size),) for size in state.shape[:-1]) + tuple(
            (Axis("constant", size),) for size in state.shape[-1:]
        )
    return state.axes or ()


def _halves(call: Call, beside: Flow, weight: Host) -> Flow:
    """Return the sum that one matrix gives of an input and a state side by side."""
    shared, parts = call.graph.shared, beside.content.parts
    sizes = [size_of(axes[-1]) if (axes := _axes_of(part)) else None for part in parts]
    cut = sizes[0] if sizes[1] is None or sizes[0] is not None else weight.shape[1] - sizes[1]
    if cut is None or not 0 < cut < weight.shape[1] or sizes[1] not in {None, weight.shape[1] - cut}:
        msg = f"its matrix, {weight.shape[::-1]}, does not take {sizes} features side by side."
        raise FormatError(msg)
    halves = (
        shared.made(("columns", 0, cut), weight, lambda whole: whole[:, :cut]),
        shared.made(("columns", cut, None), weight, lambda whole: whole[:, cut:]),
    )
    terms = [_product(call, part, half) for part, half in zip(parts, halves, strict=True)]
    return summed(call, terms[0], terms[1])


def _product(call: Call, part: Any, weight: Host) -> Flow:
    """Return the product of one of two arrays side by side."""
    content = part.content if isinstance(part, Flow) else None
    if isinstance(content, (Input, Encoded, Tokens)) and getattr(content, "whole", None) is None:
        part = _of_one_step(call, part)
    if (found := _multiplied(call, part, weight)) is None:
        msg = "it must take one step of the input and a state, side by side."
        raise FormatError(msg)
    return found


def _of_one_step(call: Call, flow: Flow) -> Flow:
    """Return what has one step alone, or no axis of steps, as that step of a sequence."""
    content, shared = flow.content, call.graph.shared
    if isinstance(content, Result):
        if content.stage is None or content.step is not None or content.pooled or content.stage.seq.size != 1:
            return flow
        root, seq = content.stage, content.stage.seq
    else:
        root = content.source if isinstance(content, Encoded) else content
        atoms = root.ids.content.atoms if isinstance(root, Tokens) else root.atoms[:-1]
        held = {axis for group in flow.axes for axis in group}
        lost = [axis for axis in atoms if axis.size == 1 and axis not in held]
        seq = lost[0] if len(lost) == 1 else shared.one
    found = Moment(root, seq, 0, shared.links_of(root, getattr(content, "linears", ())))
    kept = tuple(() if group == (seq,) else group for group in flow.axes[:-1])
    return Flow(found, (*kept, features_of(found)))


def beside(call: Call, parts: tuple[Any, ...]) -> Flow | None:
    """Return one step of an input and a state, side by side; None of anything else."""
    known = (np.ndarray, Zeros)
    flows = [part for part in parts if isinstance(part, Flow)]
    is_step = any(moment_of(call, part) is not None for part in flows)
    inputs = all(isinstance(part.content, (Input, Encoded, Tokens)) and len(part.axes) == 2 for part in flows)
    if len(parts) != 2 or not flows or not (is_step or inputs):
        return None
    if not all(isinstance(part, known) or isinstance(part.content, (Input, Encoded, Tokens, Fixed, Moment, Result)) for part in parts):  # fmt: skip
        return None
    axes = flows[0].axes
    return Flow(Beside(parts), (*axes[:-1], (Axis("features"),)))


def summed(call: Call, a: Flow, b: Flow) -> Flow:
    """Add what comes of the input and what comes of the state before."""
    one, two = _term(call, a), _term(call, b)
    if one is None or two is None or not any(isinstance(term.content, Moment) for term in (one, two)):
        msg = "it adds two arrays that depend on the input; only what a step takes and its state can be added."
        raise FormatError(msg)
    rank = max(len(one.axes), len(two.axes))
    padded = [(*((),) * (rank - len(term.axes)), *term.axes) for term in (one, two)]
    return Flow(Summed((one, two)), tuple(first or second for first, second in zip(*padded, strict=True)))


def _term(call: Call, flow: Flow) -> Flow | None:
    """Return a flow as a term of a sum."""
    if isinstance(flow.content, Given):
        return flow
    if isinstance(flow.content, Encoded) or (isinstance(flow.content, Result) and flow.content.stage is not None):
        flow = _of_one_step(call, flow)
    found = moment_of(call, flow)
    link = None if found is None else found.content.link
    return found if link is not None and link.activation is None else None


def shifted(call: Call, flow: Flow, constant: Host) -> Flow:
    """Add a constant to one step."""
    content = flow.content
    if isinstance(content, Moment) and (content.link is None or content.link.activation is not None):
        msg = "a constant can be added only after the product of a step, before its activation."
        raise FormatError(msg)
    if not isinstance(content, (Moment, Given, Summed)) or not isinstance(constant, np.ndarray):
        msg = "a constant can be added only after the product of a step."
        raise FormatError(msg)
    shared = call.graph.shared
    row, axes = row_of(shared, constant, size_of(flow.axes[-1]) or 0, flow.axes)
    held = content.link.added if isinstance(content, Moment) and content.link is not None else content.added
    call.graph.account.take("the constants that its steps add", "items", len(held) + 1)
    if isinstance(content, Moment):
        content = replace(content, link=shared.changed(content.link, (*held, row)))
    else:
        content = replace(content, added=(*held, row))
    return Flow(content, axes)


def activated(call: Call, flow: Flow, activation: Any) -> Flow:
    """Apply an activation to one step: that of a Linear, or that of a recurrence, which gives its next state."""
    content = flow.content
    if isinstance(content, Moment) and content.link is not None and content.link.activation is None:
        link = call.graph.shared.changed(content.link, activation=activation)
        return Flow(replace(content, link=link), flow.axes)
    if not isinstance(content, Summed):
        msg = "it can only be the activation of a Linear or of a step of a recurrence."
        raise FormatError(msg)
    return _state(call, flow, activation)


def _state(call: Call, flow: Flow, activation: Any) -> Flow:
    """Return the state that a sum and an activation give, which continues a chain or starts one."""
    one, two = flow.content.terms
    orders = ((one, two), (two, one))
    for x, before in orders:
        if _continues(x.content, before.content):
            return _next(call, flow, x, before, activation)
    for x, before in orders:
        if _follows_first(x.content, before.content):
            return _second(call, flow, x, before, activation)
    return _first(call, flow, activation)


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
    weight: Host = term.content.weight if isinstance(term.content, Given) else term.content.link.weight
    return weight


def _next(call: Call, flow: Flow, x: Flow, before: Flow, activation: Any) -> Flow:
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
        chains[key] = Chain(content.seq, plain, None, _batch(x), _weight_of(before), added, activation,
                            places != (0, 1), first)  # fmt: skip
        chains[key].count = 2
    return _held(flow, chains[key], x, before, 1)


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
        msg = f"the recurrent weight must be {(own.shape[0], own.shape[0])}; got {recurrent.shape}."
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
        msg = "it takes single steps of an axis whose size is not known; export with that size."
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
    return (content.name, content.start, content.stop) if isinstance(content, Input) else content


def _readings(call: Call, terms: tuple[Flow, Flow]) -> list[tuple[Flow, Flow]]:
    """Return what may be a step and a state to start from, the likelier first where either of two inputs may be it."""
    found = []
    for x, other in (terms, terms[::-1]):
        if not isinstance(x.content, Moment):
            continue
        before = other if isinstance(other.content, Given) else _as_given(call, other)
        if before is not None and before.content.weight.shape == (x.content.link.weight.shape[0],) * 2:
            found.append((x, before))
    if len(found) == 2:
        names = [bool(_STATE.fullmatch(before.content.state.content.name)) for _, before in found]
        if names[0] != names[1]:
            return [found[0 if names[0] else 1]]
        found.sort(key=lambda each: -(each[0].content.seq.size or 0))
    return found


def _as_given(call: Call, term: Flow) -> Flow | None:
    """Return the product of an input as that of a state to start from; None where it is none."""
    content: Moment = term.content
    root, link = content.root, content.link
    if not isinstance(root, Input) or "float" not in root.dtype or link is None or link.parent is not None:
        return None
    state: Any = root
    if content.seq is root.atoms[0]:
        part = (Axis(f"{root.name}[0]", 1), *root.atoms[1:])
        state = Input(root.name, part, root.dtype, content.place, content.place + 1, root)
    elif content.seq is not call.graph.shared.one:
        return None
    axes = (*term.axes[:-1], root.atoms[-1:])
    return Flow(Given(Flow(state, axes), link.weight, link.added), term.axes)
