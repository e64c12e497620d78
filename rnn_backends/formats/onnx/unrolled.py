"""Operators of an unrolled graph, whose steps are followed one by one: products, sums and activations."""

from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx.chains import next_state
from rnn_backends.formats.onnx.flow import (
    Axis,
    Encoded,
    Fixed,
    Flow,
    Group,
    Input,
    Result,
    Tokens,
    Zeros,
    size_of,
    stated,
)
from rnn_backends.formats.onnx.interpreter import Call
from rnn_backends.formats.onnx.moments import features_of, moment_of
from rnn_backends.formats.onnx.shared import row_of
from rnn_backends.formats.onnx.steps import Beside, Chain, Given, Moment, Summed

OF_STEPS = (Moment, Given, Summed, Beside)


def multiplied(call: Call, a: Any, b: Host, transposed: bool) -> Flow | None:
    """Return the product of one step, or of a state to start from; None of anything else."""
    a = as_state(call, a)
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
        msg = f"its matrix, {shown(weight.shape[::-1])}, must take the features of one step."
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
        msg = f"its matrix, {shown(weight.shape[::-1])}, does not take {stated(sizes)} features side by side."
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
    root: Any
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
    parts = tuple(as_state(call, part) for part in parts)
    flows = [part for part in parts if isinstance(part, Flow)]
    if len(flows) == len(parts) and all(_is_last(part.content) for part in flows):
        return None  # the last states of two layers
    is_step = any(moment_of(call, part) is not None for part in flows)
    inputs = all(isinstance(part.content, (Input, Encoded, Tokens)) and len(part.axes) == 2 for part in flows)
    if len(parts) != 2 or not flows or not (is_step or inputs):
        return None
    if not all(isinstance(part.content, (Input, Encoded, Tokens, Fixed, Moment, Result)) for part in flows):
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
    content, shared = flow.content, call.graph.shared
    if isinstance(content, Moment) and content.link is not None and content.link.activation is None:
        held = content.link.added
    elif isinstance(content, (Given, Summed)):
        held = content.added
    else:
        msg = "a constant can be added only after the product of a step, before its activation."
        raise FormatError(msg)
    if not isinstance(constant, np.ndarray):
        msg = "only constants can be added to a step, and what comes of its input and its state to each other."
        raise FormatError(msg)
    row, axes = row_of(shared, constant, size_of(flow.axes[-1]) or 0, flow.axes)
    call.graph.account.take("the constants that its steps add", "items", len(held) + 1)
    if isinstance(content, Moment) and content.link is not None:
        return Flow(replace(content, link=shared.changed(content.link, (*held, row))), axes)
    return Flow(replace(content, added=(*held, row)), axes)


def activated(call: Call, flow: Flow, activation: Any) -> Flow:
    """Apply an activation to one step: that of a Linear, or that of a recurrence, which gives its next state."""
    content, shared = flow.content, call.graph.shared
    if isinstance(content, Moment) and content.link is not None and content.link.activation is None:
        link = shared.changed(content.link, activation=activation)
        return Flow(replace(content, link=link), flow.axes)
    if isinstance(content, Moment) and isinstance(content.root, Chain) and content.link is None:
        # What is applied to a state is applied to what a Linear gives of it that is an identity.
        call.graph.account.take("the identity that its activation follows", "bytes", content.root.weight.nbytes)
        weight = shared.made(("identity",), content.root.weight, lambda held: np.eye(len(held), dtype=held.dtype))
        link = shared.changed(shared.link(content.root, None, weight), activation=activation)
        return Flow(replace(content, link=link), (*flow.axes[:-1], (link.output,)))
    if not isinstance(content, Summed):
        msg = "it can only be the activation of a Linear or of a step of a recurrence."
        raise FormatError(msg)
    return next_state(call, flow, activation)


def as_state(call: Call, value: Any) -> Any:
    """Return a sum that is used as it is as the state of a cell without an activation."""
    if isinstance(value, Flow) and isinstance(value.content, Summed):
        return call.graph.shared.state_of(value, lambda: next_state(call, value, Activation("identity")))
    return value


def _is_last(content: Any) -> bool:
    """Return whether a step is the last state of a layer."""
    if not isinstance(content, Moment) or not isinstance(content.root, Chain):
        return False
    chain = content.root
    return chain.count == chain.seq.size and chain.number_of(content.place) + 1 == chain.count
