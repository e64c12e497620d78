"""Flows that hold one step of a sequence."""

from typing import Any

from rnn_backends.formats.onnx.flow import Flow, Group, Input, Result, Stage
from rnn_backends.formats.onnx.interpreter import Call
from rnn_backends.formats.onnx.scales import Affine
from rnn_backends.formats.onnx.steps import Chain, Link, Moment


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


def of_chain(call: Call, flow: Flow, chain: Chain) -> Flow:
    """Return a step that was the first of a chain, before that was known, as one of its states."""
    if isinstance(chain.link.root, Chain):
        flow = of_chain(call, flow, chain.link.root)
    content = flow.content
    if not isinstance(content, Moment) or chain.first is None or content.root is not chain.link.root:
        return flow
    shared = call.graph.shared
    path = shared.path(content.link)
    if content.place != chain.place_of(0) or chain.first not in path:
        return flow
    link: Link | None = None
    for each in path[path.index(chain.first) + 1 :]:
        link = shared.link(chain, link, each.weight)
        link = shared.changed(link, each.added, each.activation) if each.added or each.activation is not None else link
    found = Moment(chain, chain.seq, content.place, link)
    return Flow(found, (*flow.axes[:-1], features_of(found)))
