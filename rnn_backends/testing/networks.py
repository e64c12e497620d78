"""The float64 reference of a whole network: its encoder, what its readout reads, and its head, with error bounds."""

from typing import Any, NamedTuple

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.linear import Linear
from rnn_backends.core.network import Network
from rnn_backends.core.rate import RateCell
from rnn_backends.testing.reference import Bounded, Precision, activated, output_of, reference


class Expected(NamedTuple):
    """The results of a network, each with the bound on its error of rounding.

    Parameters
    ----------
    output : Bounded
    h_n : Bounded, or tuple of Bounded
        As `reference` returns them.
    read : Bounded
        What the readout reads: the output, or one vector of each sequence.
    logits, probabilities : Bounded, optional
        Of a network with a readout.
    """

    output: Bounded
    h_n: Bounded | tuple[Bounded, ...]
    read: Bounded
    logits: Bounded | None
    probabilities: Bounded | None


def reference_network(
    network: Network,
    x: Host,
    h_0: Any = None,
    lengths: Any = None,
    mask: Host | None = None,
    *,
    reads: str | None = None,
    dtype: str = "float64",
) -> Expected:
    """Run a whole network in float64, and bound the error of a run in a dtype.

    Parameters
    ----------
    network : rnn_backends.core.network.Network
        Of NumPy arrays, `rnn_backends.Cell` and `rnn_backends.RateCell`, with activations of the table; time comes
        first, whatever its ``batch_first``.
    x, h_0, lengths, mask, dtype
        As for `reference`.
    reads : str, optional
        What the readout reads; default: what the network says.

    Returns
    -------
    Expected
        Nothing of it is 0 beyond a length but the output.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> from rnn_backends.testing import excess, records, reference_network
    >>> record = records("float32")["embedding, last"]
    >>> wanted = reference_network(*record, dtype="float32").logits
    >>> numpy = rb.RNN.init(1, 1).placed.placement
    >>> rnn = rb.RNN.from_network(record.network, numpy)
    >>> excess(rnn.logits(record.x, lengths=record.lengths), wanted) <= 1.0
    True
    """
    precision, (seq_len, batch) = Precision.of(dtype), x.shape[:2]
    lengths = np.full(batch, seq_len) if lengths is None else np.asarray(lengths)
    taken = np.arange(seq_len)[:, None] < lengths
    taken = taken if mask is None else taken & mask
    entered: Any = x
    for linear in network.encoder:
        clean = np.where(taken if entered.ndim == 2 else taken[..., None], entered, 0) if entered is x else entered
        entered = rounded_linear(linear, clean, precision)
    initial = own_states(network, batch) if h_0 is None else h_0
    output, h_n = reference(network.layers, entered, initial, lengths, mask, dtype)
    read = read_of(network, output, h_n, initial, taken, reads or network.reads, precision)
    if not network.readout:
        return Expected(output, h_n, read, None, None)
    *head, last = network.readout
    held: Any = read
    for linear in head:
        held = rounded_linear(linear, held, precision)
    logits = product(last, held, precision)
    return Expected(output, h_n, read, logits, normalized(last.activation, logits, precision))


def own_states(network: Network, batch: int) -> Any:
    """Return a network's own initial states for each sequence; None where it has none."""
    held = network.h_0
    return None if held is None else [np.broadcast_to(part, (batch, len(part))) for part in held]


def product(linear: Linear, x: Any, precision: Precision) -> Bounded:
    """Return W x + b, rounded to the dtype of results."""
    weight = np.asarray(linear.weight, np.float64).T
    bias = np.zeros(weight.shape[1]) if linear.bias is None else np.asarray(linear.bias, np.float64)
    if isinstance(x, np.ndarray) and x.dtype.kind in "iu":
        value, magnitude, error, count = weight[x], abs(weight)[x], np.zeros((*x.shape, weight.shape[1])), 1
    else:
        x = x if isinstance(x, Bounded) else Bounded(np.asarray(x, np.float64), np.zeros(x.shape))
        value, magnitude = x.value @ weight, (abs(x.value) + x.error) @ abs(weight)
        error, count = x.error @ abs(weight), len(weight)
    terms = (count + 2) * precision.summed
    value, error = value + bias, error + terms / (1.0 - terms) * (magnitude + abs(bias))
    return Bounded(value, error + precision.stored * (abs(value) + error))


def rounded_linear(linear: Linear, x: Any, precision: Precision) -> Bounded:
    """Return g(W x + b), product and result rounded to the dtype of results."""
    value, error = activated(linear.activation, product(linear, x, precision), precision)
    return Bounded(value, error + precision.stored * (abs(value) + error))


def normalized(activation: Any, logits: Bounded, precision: Precision) -> Bounded:
    """Return g2 of logits: an activation of the table, or a softmax over the last axis.

    The softmax and its logarithm change by no more than twice the largest change of a logit, times the probability.
    """
    if activation not in {Activation("softmax"), Activation("log_softmax")}:
        value, error = activated(activation, logits, precision)
        return Bounded(value, error + precision.stored * abs(value))
    shifted = logits.value - logits.value.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    change = 2 * logits.error.max(axis=-1, keepdims=True)
    own = (logits.value.shape[-1] + 8 + abs(shifted)) * precision.summed
    if activation == Activation("log_softmax"):
        error = change + own + precision.stored * abs(log_p)
        return Bounded(log_p, np.broadcast_to(error, log_p.shape))
    p = np.exp(log_p)
    return Bounded(p, p * (np.expm1(change + own) + precision.stored) + np.finfo(np.float32).tiny)


def read_of(
    network: Network, output: Bounded, h_n: Any, h_0: Any, taken: Host, reads: str, precision: Precision
) -> Bounded:
    """Return what a readout reads, sequence by sequence."""
    batch, top = taken.shape[1], network.layers[-1].cells
    ends = [
        of_taken(output_of(cell, part, taken.any(axis=0), precision), taken) if isinstance(cell, RateCell) else part
        for (cell, _), part in zip(top, parts_of(h_n)[-len(top) :], strict=True)
    ]
    final = Bounded(*(np.concatenate([part[i] for part in ends], axis=-1) for i in (0, 1)))
    if reads in {"steps", "final"}:
        return output if reads == "steps" else final
    read = Bounded(*np.zeros((2, *final.value.shape)))
    for b in range(batch):
        steps = np.flatnonzero(taken[:, b])
        if not len(steps):
            if reads == "last" and h_0 is not None:
                starts = [h_0[k - len(top)][b] * isinstance(cell, Cell) for k, (cell, _) in enumerate(top)]
                read.value[b] = np.concatenate(starts)
            continue
        value, error = output.value[steps, b], output.error[steps, b]
        if reads == "last":
            read.value[b], read.error[b] = value[-1], error[-1]
        elif reads == "max":
            read.value[b], read.error[b] = value.max(axis=0), error.max(axis=0)
        else:
            terms = (len(steps) + 2) * precision.summed
            read.value[b] = value.mean(axis=0)
            read.error[b] = error.mean(axis=0) + terms / (1.0 - terms) * (abs(value) + error).mean(axis=0)
            read.error[b] += precision.stored * abs(read.value[b])
    return read


def of_taken(given: Bounded, taken: Host) -> Bounded:
    """Return what a cell gives of the last states of sequences that have a step, and 0 for the others."""
    found = Bounded(*np.zeros((2, taken.shape[1], given.value.shape[-1])))
    some = taken.any(axis=0)
    found.value[some], found.error[some] = given
    return found


def parts_of(h_n: Bounded | tuple[Bounded, ...]) -> list[Bounded]:
    """Return the last states of each cell."""
    if not isinstance(h_n, Bounded):
        return list(h_n)
    return [Bounded(value, error) for value, error in zip(h_n.value, h_n.error, strict=True)]
