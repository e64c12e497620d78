"""Recurrent layers: their cells and directions, by their configurations."""

from typing import NamedTuple

from rnn_backends.core.messages import got, listed
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.keras.activations import Activated, from_config
from rnn_backends.formats.keras.layers import Part, folders


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

    @property
    def both(self) -> bool:
        """Whether it has both directions."""
        return bool(self.forward and self.backward)


def recurrent(found: Part) -> Recurrent:
    """Return the cells and options of a recurrent layer; what a network cannot do is refused by name."""
    if found.kind != "Bidirectional":
        cells = _cells(found)
        backwards = found.flag("go_backwards")
        sides = ([], cells) if backwards else (cells, [])
        return Recurrent(found.name, *sides, *_flags(found))
    if found.config.get("merge_mode") != "concat":
        mode = got(found.config.get("merge_mode"))
        msg = f"{found.name} has merge_mode={mode}; a layer of both directions joins them, merge_mode='concat'."
        raise FormatError(msg)
    forward, backward = _sides(found)
    first, second = (_cells(side, in_both=True) for side in (forward, backward))
    ways = (forward.flag("go_backwards"), backward.flag("go_backwards"))
    if ways != (False, True) or len(first) + len(second) != 2:
        msg = (
            f"{found.name} must have one cell that goes forward, then one with go_backwards=True: "
            "their states are joined in that order."
        )
        raise FormatError(msg)
    sequences, _, unrolled = _flags(forward)
    if sequences != backward.flag("return_sequences"):
        msg = f"both directions of {found.name} must have one `return_sequences`."
        raise FormatError(msg)
    # Of its layers Keras sets zero_output_for_mask to whether they return all steps.
    return Recurrent(found.name, first, second, sequences, sequences, unrolled)


def _sides(found: Part) -> tuple[Part, Part]:
    """Return the layers of both directions; Keras 2 describes the second only where it is no copy of the first."""
    forward = found.inner("layer", "forward_layer")
    if found.version == 3 or found.config.get("backward_layer") is not None:
        return forward, found.inner("backward_layer", "backward_layer")
    turned = {**forward.config, "go_backwards": not forward.flag("go_backwards", default=False)}
    return forward, forward._replace(path=f"{found.path}/backward_layer", config=turned)


def _flags(found: Part) -> tuple[bool, bool, bool]:
    """Return the last fields of a Recurrent."""
    zeros, unrolled = (found.flag(option, default=False) for option in ("zero_output_for_mask", "unroll"))
    return found.flag("return_sequences"), zeros, unrolled


def _cells(found: Part, in_both: bool = False) -> list[CellPart]:
    """Return the cells of a layer of one direction, from its input to its output."""
    if found.kind not in {"SimpleRNN", "RNN"}:
        msg = f"{found.name} must be a SimpleRNN, or an RNN of SimpleRNNCells; it is a {found.kind}."
        raise FormatError(msg)
    if found.flag("stateful"):
        out = "" if in_both else f"; {way('keras_stateful')}"
        msg = f"{found.name} is stateful: each call of it starts where the one before ended{out}."
        raise FormatError(msg)
    if found.kind == "SimpleRNN":
        return [_cell(found._replace(path=f"{found.path}/cell"))]
    inner = found.inner("cell", "cell")
    cells = [inner]
    if inner.kind == "StackedRNNCells":
        held = inner.config.get("cells")
        held = held if isinstance(held, (list, tuple)) else []
        places = folders(f"{inner.path}/cells", held)
        cells = [found.held(each, place) for each, place in zip(held, places, strict=True)]
    if not cells or any(cell.kind != "SimpleRNNCell" for cell in cells):
        kinds = listed(dict.fromkeys(cell.kind for cell in cells))
        msg = f"the cells of {found.name} must be SimpleRNNCells; got {kinds}."
        raise FormatError(msg)
    return [_cell(cell) for cell in cells]


def _cell(found: Part) -> CellPart:
    activated = from_config(found.name, found.config.get("activation"), found.version)
    return CellPart(found.path, activated, found.flag("use_bias"))
