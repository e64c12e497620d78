"""Whole networks and inputs, one for each part of the record that a model holds."""

from typing import Any, NamedTuple

from rnn_backends.core.arrays import Host
from rnn_backends.core.linear import Linear
from rnn_backends.core.network import READS, Network
from rnn_backends.testing.cases import Draw


class Record(NamedTuple):
    """A network of NumPy arrays, and the arguments of a call.

    Parameters
    ----------
    network : rnn_backends.core.network.Network
    x : numpy.ndarray, shape (seq_len, batch, input_size), or token ids, shape (seq_len, batch)
    h_0 : numpy.ndarray or list of numpy.ndarray, optional
    lengths : list of int, optional
    mask : boolean numpy.ndarray, shape (seq_len, batch), optional

    Examples
    --------
    >>> from rnn_backends.testing import records
    >>> records("float32")["embedding, last"].network
    Network(layers=(Layer(forward=Cell(input_size=4, hidden_size=5), backward=None),), ...
    """

    network: Network
    x: Host
    h_0: Any = None
    lengths: list[int] | None = None
    mask: Host | None = None


def linear(draw: Draw, input_size: int, output_size: int, bias: bool = True, activation: str | None = None) -> Linear:
    """Return a Linear whose results are about as large as what it takes."""
    weight = draw.normal(output_size, input_size, scale=input_size**-0.5)
    return Linear(weight, draw.normal(output_size, scale=0.5) if bias else None, activation)


def records(dtype: str, seed: int = 0) -> dict[str, Record]:
    """Return a whole network for each part of the record, by the part's name.

    Parameters
    ----------
    dtype : {"float64", "float32", "float16", "bfloat16"}
        All numbers are exact in it; those of bfloat16 are in float32 arrays.
    seed : int, default 0

    Returns
    -------
    dict of str to Record

    Examples
    --------
    >>> from rnn_backends.testing import records
    >>> sorted(records("float32"))[:2]
    ['embedding, last', 'encoder and head']
    """
    draw, ragged = Draw(dtype, seed), [7, 0, 3]

    def layers(sides: str = "f", count: int = 1, **options: Any) -> tuple[Any, ...]:
        return tuple(draw.layers(sides, count, 4, 5, **options))

    x, ids = draw.normal(7, 3, 4), draw.random.integers(0, 6, (7, 3))
    mask = draw.random.random((7, 3)) < 0.6
    both = linear(draw, 10, 3)
    made = {
        "encoder and head": Record(
            Network(
                layers(count=2),
                [linear(draw, 5, 6, activation="relu"), linear(draw, 6, 3, bias=False)],
                encoder=[linear(draw, 4, 3, activation="tanh"), linear(draw, 3, 4)],
            ),
            x,
        ),
        "embedding, last": Record(
            Network(layers(), linear(draw, 5, 3), encoder=linear(draw, 6, 4, bias=False), reads="last", takes="tokens"),
            ids,
            lengths=ragged,
        ),
        "h_0 of its own": Record(Network(layers("fb"), both, reads="final", h_0=draw.normal(2, 5)), x, lengths=ragged),
        "uneven": Record(
            Network(
                tuple(draw.uneven_layers(4, (5, 6), (3,))), linear(draw, 3, 2), h_0=[draw.normal(k) for k in (5, 6, 3)]
            ),
            x,
            lengths=ragged,
            mask=mask,
        ),
    }
    made |= {
        "no sequence": Record(Network(layers(), linear(draw, 5, 3), reads="mean"), draw.normal(7, 0, 4), lengths=[]),
        "no step": Record(Network(layers("fb"), both, reads="final"), draw.normal(0, 3, 4)),
    }
    for reads in READS[1:]:
        made |= {
            f"{reads}, ragged": Record(Network(layers(), linear(draw, 5, 3), reads=reads), x, lengths=ragged),
            f"{reads}, both directions": Record(Network(layers("fb", 2), both, reads=reads), x, mask=mask),
        }
    for reads in READS[1:]:
        cells: dict[str, Any] = {"activation": "sigmoid", "leak": 0.5, "rates": True}
        made |= {
            f"rates, {reads}, ragged": Record(
                Network(layers(**cells), linear(draw, 5, 3), reads=reads), x, draw.normal(1, 3, 5), lengths=ragged
            ),
            f"rates, {reads}, both directions": Record(
                Network(layers("fb", 2, **cells), both, reads=reads), x, lengths=ragged, mask=mask
            ),
        }
    return made
