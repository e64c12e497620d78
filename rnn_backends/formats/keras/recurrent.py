"""Recurrent layers: their cells and directions, by their configurations."""

from typing import NamedTuple

from rnn_backends.errors import FormatError
from rnn_backends.formats.keras.activations import Activated, from_config
from rnn_backends.formats.keras.layers import Part, folders, part
from rnn_backends.formats.names import shown_value


class CellPart(NamedTuple):
    """A cell: the place of its weights, and its options."""

    path: str
    activated: Activated
    biased: bool


class Recurrent(NamedTuple):
    """A recurrent layer.

    Parameters
    ----------
    name : str
    forward, backward : list of CellPart
        The cells, one on top of the other, that walk through the input as it comes, and from its end; a
        layer of both directions has one of each.
    sequences : bool or None
        Whether it returns all steps, or the last that it took; None where it is not recorded.
    zeros : bool
        Whether it returns 0 at a step that is masked, or what it returned before.
    unrolled : bool
        Whether its steps are unrolled, where some of Keras's backends return no such 0.
    """

    name: str
    forward: list[CellPart]
    backward: list[CellPart]
    sequences: bool | None
    zeros: bool = False
    unrolled: bool = False


def recurrent(found: Part) -> Recurrent:
    """Return the cells and options of a recurrent layer; what a network cannot do is refused by name."""
    if found.kind != "Bidirectional":
        cells = _cells(found)
        backwards = found.flag("go_backwards")
        sides = ([], cells) if backwards else (cells, [])
        return Recurrent(found.name, *sides, *_flags(found))
    if found.config.get("merge_mode") != "concat":
        mode = shown_value(found.config.get("merge_mode"))
        msg = f"{found.name} has merge_mode={mode}; a layer of both directions joins them, merge_mode='concat'."
        raise FormatError(msg)
    forward, backward = found.inner("layer", "forward_layer"), found.inner("backward_layer", "backward_layer")
    first, second = _cells(forward), _cells(backward)
    ways = (forward.flag("go_backwards"), backward.flag("go_backwards"))
    if ways != (False, True) or len(first) + len(second) != 2:
        msg = (
            f"{found.name} must have one cell that goes forward, then one with go_backwards=True: "
            "their states are joined in that order."
        )
        raise FormatError(msg)
    for option in ("return_sequences", "zero_output_for_mask"):
        if forward.flag(option) != backward.flag(option):
            msg = f"both directions of {found.name} must have one `{option}`."
            raise FormatError(msg)
    return Recurrent(found.name, first, second, *_flags(forward))


def _flags(found: Part) -> tuple[bool, bool, bool]:
    """Return the last fields of a Recurrent."""
    return found.flag("return_sequences"), found.flag("zero_output_for_mask"), found.flag("unroll")


def _cells(found: Part) -> list[CellPart]:
    """Return the cells of a layer of one direction, from its input to its output."""
    if found.kind not in {"SimpleRNN", "RNN"}:
        msg = f"{found.name} must be a SimpleRNN, or an RNN of SimpleRNNCells; it is a {found.kind}."
        raise FormatError(msg)
    if found.flag("stateful"):
        msg = (
            f"{found.name} is stateful: each call starts where the one before ended. Make it with stateful=False; "
            "here rnn.stream() does that."
        )
        raise FormatError(msg)
    if found.kind == "SimpleRNN":
        return [_cell(found._replace(path=f"{found.path}/cell"))]
    inner = found.inner("cell", "cell")
    cells = [inner]
    if inner.kind == "StackedRNNCells":
        held = inner.config.get("cells")
        held = held if isinstance(held, (list, tuple)) else []
        cells = [part(each, folder) for each, folder in zip(held, folders(f"{inner.path}/cells", held), strict=True)]
    if not cells or any(cell.kind != "SimpleRNNCell" for cell in cells):
        kinds = ", ".join(cell.kind for cell in cells) or "none"
        msg = f"the cells of {found.name} must be SimpleRNNCells; got {kinds}."
        raise FormatError(msg)
    return [_cell(cell) for cell in cells]


def _cell(found: Part) -> CellPart:
    return CellPart(found.path, from_config(found.name, found.config.get("activation")), found.flag("use_bias"))
