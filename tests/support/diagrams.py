"""Networks of all kinds to draw, and what is in a diagram of one."""

from typing import Any

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from own_cells import Own
from places import ROOT

import rnn_backends as rb


def shape(name: str, *sizes: int) -> str:
    """The name of a weight with its shape, W_ax as mathematics."""
    return f"${name}$ ({', '.join(map(str, sizes))})"


def cell(inputs: int, size: int, **options: Any) -> rb.Cell:
    return rb.Cell(np.ones((size, inputs)), np.ones((size, size)), **options)


def linear(inputs: int, outputs: int, activation: str | None = None) -> rb.Linear:
    return rb.Linear(np.ones((outputs, inputs)), activation=activation)


BOTH = rb.Layer(cell(6, 8), cell(6, 5, activation="relu", clip=20.0, leak=0.5))
NETWORKS: dict[str, rb.RNN] = {
    "no readout": rb.RNN([cell(3, 4)]),
    "both directions, no readout": rb.RNN([BOTH]),
    "a head": rb.RNN([cell(3, 4)], [linear(4, 7, "tanh"), linear(7, 6, "relu"), linear(6, 2)]),
    "encoders": rb.RNN([cell(6, 4)], linear(4, 2), encoder=[linear(900, 30), linear(30, 6, "tanh")], takes="tokens"),
    "layers of unequal size": rb.RNN([cell(3, 40), cell(40, 2), cell(2, 1000), cell(1000, 5)], linear(5, 3)),
    "both directions": rb.RNN([BOTH, rb.Layer(cell(13, 9), cell(13, 9))], linear(18, 2)),
    "one, both, one": rb.RNN([cell(3, 6), BOTH, cell(13, 4)], linear(4, 2)),
    "backward alone": rb.RNN([rb.Layer(backward=cell(3, 4, leak=np.full(4, 0.5)))], linear(4, 2), reads="final"),
    "a cell of one's own": rb.RNN([Own(np.ones((4, 3))), cell(4, 5)], linear(5, 2)),
    **{f"both, {reads}": rb.RNN([BOTH], linear(13, 2), reads=reads) for reads in ("last", "final", "mean", "max")},
    **{f"one, {reads}": rb.RNN([cell(3, 4)], [linear(4, 3), linear(3, 2)], reads=reads) for reads in ("last", "mean")},
    "vocabulary": rb.RNN([cell(3, 4)], linear(4, 3), vocabulary=["a", "b"]),
    "shakespeare": rb.load(ROOT / "examples" / "shakespeare" / "shakespeare.safetensors"),
    "sentiment": rb.load(ROOT / "examples" / "deploy" / "sentiment.safetensors"),
}


def boxes(axes: Any) -> dict[str, Any]:
    """The boxes of a diagram by name, in pixels."""
    axes.figure.canvas.draw()
    return {str(each.get_gid()): each.get_window_extent() for each in axes.patches if isinstance(each, FancyBboxPatch)}


def arrows(axes: Any, name: str) -> list[Any]:
    """The ends of the arrows of a name, in inches: (x, y) and (x, y)."""
    found = [each for each in axes.patches if isinstance(each, FancyArrowPatch) and each.get_gid() == name]
    return [vars(each)["_path_original"].vertices[[0, -1]].round(6).tolist() for each in found]


def texts(axes: Any) -> list[str]:
    return [each.get_text() for each in axes.texts]


def centres(axes: Any) -> dict[str, tuple[float, float]]:
    """The centres of the boxes, in inches."""
    found = {str(each.get_gid()): each.get_bbox() for each in axes.patches if isinstance(each, FancyBboxPatch)}
    return {name: (round((b.x0 + b.x1) / 2, 6), round((b.y0 + b.y1) / 2, 6)) for name, b in found.items()}
