"""Steps of an unrolled graph as the layers that they are: all of them in a stack, or the last alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.onnx.flow import Flow, Group, Input, Result, Stage, Zeros
from rnn_backends.formats.onnx.interpreter import Call
from rnn_backends.formats.onnx.moments import features_of, moment_of, of_chain
from rnn_backends.formats.onnx.node import Options
from rnn_backends.formats.onnx.recurrent import placed
from rnn_backends.formats.onnx.shared import summed, total
from rnn_backends.formats.onnx.steps import REFUSED, Chain, Flipped, Link, Moment, Summed
from rnn_backends.formats.onnx.unrolled import as_state

_BOUND = 64
"""The units in the last place that may be left of the numbers that a folded state is solved for."""


def stacked(call: Call, parts: Sequence[Any], place: int) -> Flow | None:
    """Return all steps of a sequence, which are joined on an axis in order; None of other arrays."""
    if not any(isinstance(part, Flow) and isinstance(part.content, (Moment, Summed)) for part in parts):
        return None
    found = [moment_of(call, as_state(call, part)) for part in parts]
    flows = [flow for flow in found if flow is not None]
    if len(flows) < len(parts):
        return None
    chain = next((flow.content.root for flow in flows if isinstance(flow.content.root, Chain)), None)
    flows = [flow if chain is None else of_chain(call, flow, chain) for flow in flows]
    first: Moment = flows[0].content
    if any((flow.content.root, flow.content.link) != (first.root, first.link) for flow in flows):
        return None
    numbers, size = [flow.content.place for flow in flows], first.seq.size or 0
    if len(numbers) != size or numbers not in ([*range(size)], [*range(size)][::-1]):
        if isinstance(first.root, Chain) and len(flows) == 1:
            return None
        msg = f"it joins the steps {_short(numbers)} of a sequence of {size}; all must be there, in their order."
        raise FormatError(msg)
    if any(flow.axes != flows[0].axes for flow in flows) or place >= len(flows[0].axes):
        msg = "the steps that it joins have different axes."
        raise FormatError(msg)
    axes = list(flows[0].axes)
    axes[place] = (first.seq, *axes[place])
    whole = Flow(_whole(call, first), tuple(axes))
    return whole if numbers[0] == 0 else Flow(Flipped(whole, first.seq), whole.axes)


def _short(numbers: Sequence[int]) -> str:
    """Return the first of many numbers as a text."""
    return ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")


def _whole(call: Call, content: Moment) -> Any:
    """Return all steps of what one step was taken of."""
    shared = call.graph.shared
    linears = shared.products(content.link)
    root: Any = settled(call, content.root) if isinstance(content.root, Chain) else content.root
    if not isinstance(root, Stage):
        return shared.encoded(root, linears) if linears else root
    call.graph.kept.copied("the weights of its products", sum(each.weight.nbytes for each in linears))
    last: Group = (linears[-1].output,) if linears else root.features
    return Result((root.seq, *root.batch, *last), root, linears=linears)


def settled(call: Call, chain: Chain) -> Stage:
    """Return the layer of a chain, all of whose steps must be there."""
    if chain.stage is not None:
        return chain.stage
    if chain.count != chain.seq.size:
        msg = f"the graph computes {chain.count} of {chain.seq.size} steps; only a layer that takes all can be read."
        raise FormatError(msg)
    if chain.is_open and chain.seq.size == 1:
        msg = f"which of its two inputs is the state would be a guess; {way('onnx_hx')}."
        raise FormatError(msg)
    link = chain.link
    below = _whole(call, Moment(link.root, chain.seq, 0, link.parent))
    root = link.root
    x = Flow(below, ((chain.seq,), chain.batch, features_of(Moment(root, chain.seq, 0, link.parent))))
    hidden_size = chain.weight.shape[0]
    found = Options((chain.reverse,), (chain.activation,), None, hidden_size, 0)
    bias = total(chain.biases, chain.weight.dtype)
    b = None if bias is None else np.concatenate([bias, np.zeros_like(bias)])[None]
    initial, own = _start(call, chain)
    made = placed(call, found, x, (link.weight[None], chain.weight[None], b), None, initial)
    chain.stage = replace(made, hidden=chain.hidden, h_0=made.h_0 if own is None else (own[None],))
    call.graph.stages[chain.stage] = None
    return chain.stage


def _start(call: Call, chain: Chain) -> tuple[Flow | None, Host | None]:
    """Return the state to start from: an input of the graph, or a constant (hidden_size,); None where it is zero."""
    if chain.first is not None:
        return None, _unfolded(call, chain, chain.first)
    assert chain.given is not None  # for mypy
    state = chain.given.state
    if isinstance(state, Zeros):
        return None, None
    if isinstance(state, np.ndarray):
        row = state.reshape(-1, state.shape[-1])
        call.graph.account.take("looking through its initial states", "bytes", state.nbytes)
        if not (row == row[:1]).all():
            msg = "it starts from a constant that differs from sequence to sequence."
            raise FormatError(msg)
        return None, row[0] if row[0].any() else None
    groups = [group for group in state.axes[:-1] if group]
    cells = [group for group in groups if isinstance(state.content, Input) and len(state.content.atoms) == 3
             and group == state.content.atoms[:1]]  # fmt: skip
    rest = [group for group in groups if group not in cells]
    if len(rest) > 1:
        msg = "the state to start from must have the axes of sequences and of hidden units alone."
        raise FormatError(msg)
    return Flow(state.content, (cells[0] if cells else (), rest[0] if rest else (), state.axes[-1])), None


def _unfolded(call: Call, chain: Chain, first: Link) -> Host | None:
    """Return the state to start from, of which the graph holds the product with the recurrent weight in a constant."""
    dtype, zero = chain.weight.dtype, np.zeros(len(chain.weight))
    wanted = summed([zero, *first.added]) - summed([zero, *chain.biases])
    scale = summed(map(np.abs, (zero, *first.added, *chain.biases)))
    eps = float(np.finfo(dtype).eps)
    if (abs(wanted) <= eps * scale).all():
        return None
    call.graph.account.take("its state to start from", "bytes", 16 * chain.weight.size)
    weight = chain.weight.astype(np.float64)
    try:
        with np.errstate(all="ignore"):
            state = np.linalg.solve(weight, wanted).astype(dtype)
            left = abs(weight @ state.astype(np.float64) - wanted)
        solved = bool((left <= _BOUND * eps * max(float(scale.max()), 1e-30)).all())
    except np.linalg.LinAlgError:
        solved = False
    if not solved:
        msg = (
            "its first step adds a constant that is neither the bias of the others nor what their recurrent weight "
            "gives of a state."
        )
        raise FormatError(msg)
    return state


def result_of(call: Call, value: Any) -> Any:
    """Return a value of the graph as the model's result that it is, where it is one step of a layer."""
    value = as_state(call, value)
    content = value.content if isinstance(value, Flow) else None
    if isinstance(content, tuple(REFUSED)):
        msg = f"{REFUSED[type(content)]} is used as something else."
        raise FormatError(msg)
    if not isinstance(content, Moment):
        return value
    if not isinstance(content.root, (Chain, Stage)):
        msg = "it is one step of the input alone, or of what Linears give of it."
        raise FormatError(msg)
    root = content.root
    stage = settled(call, root) if isinstance(root, Chain) else root
    linears = call.graph.shared.products(content.link)
    last = (linears[-1].output,) if linears else stage.features
    size = content.seq.size or 0
    if isinstance(root, Chain) and content.place == root.place_of(size - 1):
        (cell,) = (cell for cell, _ in stage.layer.cells)
        return Flow(Result((*stage.batch, *last), cells=(cell,), linears=linears), value.axes)  # type: ignore[arg-type]
    if content.place not in {0, size - 1}:
        msg = f"it uses step {content.place} of {size} alone; a model gives all steps, the first or the last."
        raise FormatError(msg)
    step = 0 if content.place == 0 else -1
    return Flow(Result((*stage.batch, *last), stage, step=step, linears=linears), value.axes)
