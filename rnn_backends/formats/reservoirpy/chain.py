"""A Reservoir of reservoirpy, or a model of several nodes that stand one after the other."""

from typing import Any

from rnn_backends.core.layers import Layer
from rnn_backends.core.messages import got, listed, shown
from rnn_backends.core.network import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.reservoirpy.nodes import cell_of, kind_of, readout_of

MODELS = {"reservoirpy.model.Model", "reservoirpy.esn.ESN"}
NOTE = "reservoirpy feedback"


def from_object(source: Any) -> Network:
    """Return the network of a Reservoir, or of a model of Reservoirs and a Ridge, with or without feedback."""
    owner = type(source)
    if not any(base.__module__.partition(".")[0] == "reservoirpy" for base in owner.__mro__):
        msg = f"expected a Reservoir, a model or an ESN of reservoirpy 0.4; got {got(source)}."
        raise FormatError(msg)
    if f"{owner.__module__}.{owner.__qualname__}" not in MODELS:
        kinds = [(source, kind_of(source))]
        fed = 0
    else:
        kinds = [(node, kind_of(node)) for node in _in_order(source)]
        fed = _fed_back(source, kinds)
    reservoirs = [node for node, kind in kinds if kind == "reservoir"]
    readouts = [node for node, kind in kinds if kind == "readout"]
    computing = [kind for _, kind in kinds if kind != "plain"]
    if not reservoirs or computing != ["reservoir"] * len(reservoirs) + ["readout"] * len(readouts[:1]):
        found = listed(type(node).__name__ for node, _ in kinds)
        msg = f"the model must be Reservoirs and at most one Ridge after them; it has, in this order, {found}."
        raise FormatError(msg)
    note = f"the last {fed} features of x<t> are y<t-1>, which RNN.roll_out feeds back; zeros before the first step"
    return Network(
        tuple(Layer(cell_of(node)) for node in reservoirs),
        readout_of(readouts[0]) if readouts else None,
        takes="features",
        batch_first=True,
        metadata={NOTE: note} if fed else {},
    )


def _in_order(model: Any) -> list[Any]:
    """Return the nodes of a model from the input to the output, each of which must feed the next one alone."""
    direct = [(sender, receiver) for sender, delay, receiver in model.edges if delay == 0]
    for end, what in ((0, "feeds"), (1, "is fed by")):
        nodes = [edge[end] for edge in direct]
        for node in nodes:
            if nodes.count(node) > 1:
                others = listed(type(edge[1 - end]).__name__ for edge in direct if edge[end] is node)
                msg = (
                    f"each node must feed the next one alone, and {shown(type(node).__name__)} {what} several, "
                    f"{others}; take over a model of one chain, e.g. reservoir >> readout."
                )
                raise FormatError(msg)
    following = dict(direct)
    first = [node for node in model.nodes if node not in following.values()]
    if len(first) != 1:
        msg = f"the model must have one node that is fed by no other; it has {len(first)}."
        raise FormatError(msg)
    order = first
    while order[-1] in following:
        order.append(following[order[-1]])
    return order


def _fed_back(model: Any, kinds: list[tuple[Any, str]]) -> int:
    """Return how many outputs are fed back: those of the Ridge, a step later, to the first Reservoir, or none."""
    delayed = [edge for edge in model.edges if edge[1] != 0]
    if not delayed:
        return 0
    reservoirs, readouts = ([node for node, kind in kinds if kind == wanted] for wanted in ("reservoir", "readout"))
    wanted = [(readouts[0], 1, reservoirs[0])] if reservoirs and readouts else []
    if delayed != wanted:
        found = listed(
            f"{type(sender).__name__} >>{delay}>> {type(receiver).__name__}" for sender, delay, receiver in delayed
        )
        msg = f"feedback must be that of the Ridge to the first Reservoir, a step later; the model has {found}."
        raise FormatError(msg)
    return int(readouts[0].output_dim or 0)
