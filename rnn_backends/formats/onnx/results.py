"""Outputs of a graph as those of a model: its readout, what that reads, and notes of what each output is."""

from collections.abc import Mapping, Sequence
from typing import Any

from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.onnx.flow import Flow, Product, Result, Stage
from rnn_backends.formats.options import LoadOptions

_STEPS = {None: "", 0: " of the first step", -1: " of the last step"}
_POOLED = {None: "", "mean": " of the mean of all steps", "max": " of the maximum of all steps"}


def require_results(
    stages: Sequence[Stage], own: Mapping[Any, int], outputs: Mapping[str, Any], account: Account
) -> list[Result]:
    """Return what the outputs of a graph hold, which the layers must compute; their cells are given with numbers."""
    top, found = stages[-1], []
    for name, flow in outputs.items():
        content = flow.content if isinstance(flow, Flow) else None
        if not isinstance(content, Result):
            msg = f"the output {shown(name)} is not computed by an RNN or its readout."
            raise FormatError(msg)
        if any(axis.sorted_from is not None for group in flow.axes for axis in group):
            msg = f"the output {shown(name)} has the sequences in the order of their lengths, not as they came."
            raise FormatError(msg)
        account.take("the cells of its outputs", "items", len(content.cells))
        of_top = content.stage is top or content.cells == tuple(cell for cell, _ in top.layer.cells)
        inner = content.stage is None and not content.linears and all(cell in own for cell in content.cells)
        if not of_top and not inner:
            what = "comes from another layer than the last, or reads out the last states of other cells than all of its"
            msg = f"the output {shown(name)} {what}."
            raise FormatError(msg)
        found.append(content)
    return found


def one_readout(results: Sequence[Result]) -> tuple[Product, ...]:
    """Return the readout of all outputs, with the activation of its last Linear if one of them has it."""
    readouts = [*{id(result.linears): result.linears for result in results if result.linears}.values()]
    if not readouts:
        return ()
    whole = next((held for held in readouts if held[-1].activation is not None), readouts[0])
    for held in readouts:
        same = len(held) == len(whole) and all(
            one.output is other.output and one.bias is other.bias and one.after is other.after
            for one, other in zip(held, whole, strict=True)
        )
        inner = [product.activation for product in held[:-1]] == [product.activation for product in whole[:-1]]
        if not same or not inner or held[-1].activation not in {None, whole[-1].activation}:
            msg = "its outputs have different readouts."
            raise FormatError(msg)
    return whole


def what_is_read(results: Sequence[Result], top: Stage) -> str:
    """Return what the readout of a graph reads: every step, unless all of its outputs read the same."""
    found = _readings(results, top)
    return (found.pop() or "steps") if len(found) == 1 else "steps"


def require_reading(results: Sequence[Result], top: Stage, given: str | None) -> str | None:
    """Return what the caller gives that a readout reads; None where the graph shows it, so that nothing is given.

    Outputs that a model gives for no `reads` of its own, as those of the first step, are the caller's to know of.
    """
    found = _readings(results, top)
    known = sorted(each for each in found if each is not None)
    if "steps" in found or len(known) == len(found) <= 1:
        LoadOptions(reads=given).require_left_out("the graph", ("reads",))
        return None
    if given in {*known, "steps"}:
        return given
    if known:
        ways = way("onnx_reads_one", reads=repr(known[0]))
        msg = f"its outputs read out different things, of which a model reads one; {ways}."
        raise FormatError(msg)
    is_first = any(result.step == 0 for result in results if result.linears)
    what = "the first step, which no model" if is_first else "a last step that may be padding, which no model"
    msg = f"its readout reads {what} reads alone; {way('onnx_reads', place='first' if is_first else 'last')}."
    raise FormatError(msg)


def _readings(results: Sequence[Result], top: Stage) -> set[str | None]:
    return {_read(result, top) for result in results if result.linears}


def _read(result: Result, top: Stage) -> str | None:
    """Return what the readout of a result reads; None for one step that is neither of the sequence's ends."""
    if result.pooled is not None:
        return result.pooled
    if result.stage is None:
        return "final" if top.layer.backward is not None else "last"
    if result.step is None:
        return "steps"
    # With lengths, the last step of an array is beyond the last valid one.
    if result.step == -1 and top.lengths is None:
        return "last"
    return "final" if result.step == 0 and top.layer.forward is None and top.lengths is None else None


def note(flow: Flow, bottom: Stage, own: Mapping[Any, int]) -> str:
    """Return the name that an output of the graph has in a model, and its axes."""
    content: Result = flow.content
    what = "output" if content.stage is not None else "h_n"
    if content.linears:
        what = "logits" if content.linears[-1].activation is None else "probabilities"
        what += "" if content.stage is not None else f" of the last state{'s' if len(content.cells) > 1 else ''}"
    elif content.cells:
        chosen = [own[cell] for cell in content.cells]
        what += "" if len(chosen) == len(own) and chosen == [*range(len(own))] else f"[{', '.join(map(str, chosen))}]"
    what += _STEPS[content.step] + _POOLED[content.pooled]
    sequences = [*bottom.batch, *(axis.sorted_from for axis in bottom.batch if axis.sorted_from is not None)]
    names = {bottom.seq: "seq_len", **(dict.fromkeys(sequences, "batch"))}
    return (
        f"{what} ({', '.join(' * '.join(names.get(axis, axis.name) for axis in group) or '1' for group in flow.axes)})"
    )
