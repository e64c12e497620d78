"""Writing a network as an ONNX graph of RNN nodes.

Opset 14 holds all that a network needs and runs in every ONNX Runtime since 1.8; what opset 22 adds is
bfloat16, which is float32 on the host.
"""

from typing import Any, BinaryIO

import numpy as np

from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import named_arrays
from rnn_backends.core.messages import shown
from rnn_backends.core.network import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.assembly import plain_cells
from rnn_backends.formats.description import KEY, describe
from rnn_backends.formats.onnx.graph import NAMES, held_in, places_of, require_operator
from rnn_backends.formats.onnx.node import spoken
from rnn_backends.formats.onnx.proto import MAX_FILE, package
from rnn_backends.formats.onnx.writer import Writer

OPSET, IR_VERSION = 14, 7


def write(network: Network, file: BinaryIO) -> None:
    """Write a network.

    The graph takes ``x``, which are token ids where the network takes tokens, and gives ``output``, ``h_n`` (of cells
    of several sizes ``h_n_l0``, ``h_n_l0_reverse``, ``h_n_l1`` and so on), and of a readout ``logits`` and
    ``probabilities``.  All steps are valid.
    """
    onnx = package()
    cells = plain_cells(network, "ONNX's RNN")
    description = describe(network, cells)
    if sum(array.nbytes for _, array in named_arrays(network)) > MAX_FILE - 2**24:
        msg = f"the model has about 2 GiB or more, which an ONNX file cannot hold; {way('save_as')}."
        raise FormatError(msg)
    _require_expressible(network, cells)
    model = onnx.helper.make_model(
        Writer(onnx, network).graph(),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="rnn_backends",
    )
    onnx.helper.set_model_props(model, {KEY: description})
    file.write(model.SerializeToString())


def _require_expressible(network: Network, cells: dict[str, Cell]) -> None:
    """Check that ONNX has all that a network has."""
    for place, cell in cells.items():
        held, clip = spoken(cell.activation, cell.clip)
        if cell.leak is not None:
            msg = f"the cell {place} has a leak, which ONNX's RNN has not; {way('save_as')}."
            raise FormatError(msg)
        if held.name not in {"identity", *NAMES}:
            known = ", ".join(NAMES)
            msg = f"ONNX's RNN has {known}, not {shown(held.name)}, the activation of {place}; {way('save_as')}."
            raise FormatError(msg)
        dtype = np.asarray(cell.weight_ih).dtype
        _require_held(place, dtype, np.dtype(np.float32), clip, held.alpha, held.beta)
    for place, linear in (places_of("encoder", network.encoder) | places_of("readout", network.readout)).items():
        g: Any = linear.activation
        require_operator(f"the {place}", linear)
        _require_held(f"the {place}", np.asarray(linear.weight).dtype, held_in(linear), g.alpha, g.beta)


def _require_held(place: str, dtype: np.dtype[Any], held: np.dtype[Any], *numbers: float | None) -> None:
    """Check that numbers which ONNX holds in some dtype are what the model computes with."""
    for number in numbers:
        if number is None:
            continue
        with np.errstate(over="ignore"):
            rounded = float(held.type(number))
        if rounded != number and (dtype.itemsize > held.itemsize or not 0 < abs(rounded) < np.inf):
            msg = (
                f"ONNX holds clip, alpha and beta in {held.name}, where {number} of {place} is {rounded}; "
                f"{way('save_as')}."
            )
            raise FormatError(msg)
