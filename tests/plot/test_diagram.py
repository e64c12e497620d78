"""Diagrams of networks: what stands where, and that nothing overlaps, whatever the network."""

import re
from dataclasses import dataclass
from io import BytesIO
from itertools import combinations
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from places import ROOT

import rnn_backends as rb
from rnn_backends import plot


@dataclass(frozen=True)
class Own:
    """A cell that states its size only."""

    weight: Any
    hidden_size: int = 4

    def project(self, x: Any) -> Any:
        return x @ self.weight.T

    def step(self, projected: Any, h: Any) -> Any:
        return projected + h


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


def overlap(one: Any, other: Any) -> bool:
    return bool(
        min(one.x1, other.x1) - max(one.x0, other.x0) > 0.5 and min(one.y1, other.y1) - max(one.y0, other.y0) > 0.5
    )


@pytest.mark.parametrize(
    ("name", "steps"),
    [*((name, steps) for name in NETWORKS for steps in (None, 1, 4)), ("both directions", 11), ("one, mean", 11)],
)
def test_nothing_overlaps(name: str, steps: int | None) -> None:
    axes = plot.network(NETWORKS[name], steps=steps)
    held = boxes(axes)
    assert len(held) == sum(isinstance(each, FancyBboxPatch) for each in axes.patches)  # each with a name of its own
    for one, other in combinations(held.values(), 2):
        assert not overlap(one, other)
    written = [(each.get_text(), each.get_window_extent()) for each in axes.texts]
    for (one_text, one), (other_text, other) in combinations(written, 2):
        assert not overlap(one, other), (one_text, other_text)
    for text, place in written:
        touched = [box for box in held.values() if overlap(place, box)]
        assert len(touched) <= 1, text
        for box in touched:
            assert box.x0 < place.x0, text
            assert place.x1 < box.x1, text
            assert box.y0 < place.y0, text
            assert place.y1 < box.y1, text
        assert axes.bbox.x0 <= place.x0, text
        assert place.x1 <= axes.bbox.x1, text
        assert axes.bbox.y0 <= place.y0, text
        assert place.y1 <= axes.bbox.y1, text


def test_a_network_from_the_input_to_the_outputs() -> None:
    axes = plot.network(NETWORKS["shakespeare"])
    places = centres(axes)
    assert [*places] == ["Input", "Layer 0", "Layer 1", "Readout"]
    assert {x for x, _ in places.values()} == {0.0}
    assert sorted(places, key=lambda name: places[name][1]) == [*places]
    assert texts(axes) == [
        "Input", "65 characters", shape(r"W_{ax}", 256, 65),
        "Layer 0", "256 units, tanh", shape(r"W_{aa}", 256, 256), shape(r"W_{ax}", 256, 256),
        "Layer 1", "256 units, tanh", shape(r"W_{aa}", 256, 256), shape(r"W_{ya}", 65, 256), "reads each step",
        "Readout", "65 outputs, softmax", r"$y^{\langle t \rangle}$",
    ]  # fmt: skip
    for below, above in zip([*places], [*places][1:], strict=False):
        ((start, end),) = arrows(axes, f"to {above}")
        assert places[below][1] < start[1] < end[1] < places[above][1]


def test_both_directions_stand_beside_each_other() -> None:
    axes = plot.network(NETWORKS["both directions"])
    places = centres(axes)
    for index in (0, 1):
        (left, y), (right, other) = places[f"Layer {index} forward"], places[f"Layer {index} backward"]
        assert left == -right < 0.0
        assert y == other
    written = texts(axes)
    assert written.count("joined, 13") == written.count("joined, 18") == 1
    assert written.count(shape(r"W_{ax}", 9, 13)) == 2
    assert "5 units, relu" in written
    assert "clip 20, leak 0.5" in written


def test_parts_by_their_names() -> None:
    assert {
        shape(r"E^{T}", 30, 900),
        shape(r"W_{e,1}", 6, 30),
        "Encoder 1",
        "6 features, tanh",
        "900 token ids",
    } <= set(texts(plot.network(NETWORKS["encoders"])))
    assert {shape(r"W_{ya,0}", 7, 4), shape(r"W_{ya,2}", 2, 6), "Readout 1", "6 units, relu"} <= set(
        texts(plot.network(NETWORKS["a head"]))
    )
    own = texts(plot.network(NETWORKS["a cell of one's own"]))
    assert own[:6] == [
        "Input",
        "features or token ids, any number",
        "Layer 0",
        "Own",
        "4 units",
        r"$a^{\langle t-1 \rangle}$",
    ]
    alone = Own(np.ones((1, 3)), hidden_size=1)
    backward = rb.RNN([rb.Layer(backward=alone)], linear(1, 1, "sigmoid"))
    assert {r"$a^{\langle t+1 \rangle}$", "1 unit", "1 output, sigmoid"} <= set(texts(plot.network(backward)))
    assert "2 words, 3 token ids" in texts(plot.network(NETWORKS["vocabulary"]))
    assert "leak of each unit" in texts(plot.network(NETWORKS["backward alone"]))
    for reads, what in (("last", "last step"), ("final", "final states"), ("mean", "mean of"), ("max", "maximum")):
        assert [text for text in texts(plot.network(NETWORKS[f"both, {reads}"])) if f"reads the {what}" in text]


def test_unrolled_in_time() -> None:
    axes = plot.network(NETWORKS["shakespeare"], steps=3)
    places = centres(axes)
    assert [*places] == [f"{part}, step {t}" for part in ("Input", "Layer 0", "Layer 1", "Readout") for t in (1, 2, 3)]
    columns = [places[f"Input, step {t}"][0] for t in (1, 2, 3)]
    assert columns == sorted(columns)
    assert all([places[f"{part}, step {t}"][0] for t in (1, 2, 3)] == columns for part in ("Layer 1", "Readout"))
    through = arrows(axes, "in time to Layer 1")
    assert len(through) == 3  # from the state before the first step, too
    assert all(start[0] < end[0] and start[1] == end[1] == places["Layer 1, step 1"][1] for start, end in through)
    assert [end[0] for _, end in through] == sorted(end[0] for _, end in through)
    assert columns[0] < through[1][0][0] < through[1][1][0] < columns[1]
    written = texts(axes)
    assert written.count("$W_{aa}$") == 2 * 2
    assert written.count("$W_{ax}$") == 2 * 3
    assert written.count("$W_{ya}$") == 3
    assert written.count(r"$a^{\langle 0 \rangle}$") == 2
    for t in (1, 2, 3):
        assert rf"$x^{{\langle {t} \rangle}}$" in written
        assert rf"$y^{{\langle {t} \rangle}}$" in written
    assert {shape(r"W_{aa}", 256, 256), shape(r"W_{ax}", 256, 65), shape(r"W_{ya}", 65, 256)} <= set(written)


def test_backward_cells_go_the_other_way() -> None:
    axes = plot.network(NETWORKS["both, final"], steps=4)
    through = arrows(axes, "in time to Layer 0 backward")
    assert len(through) == 4
    assert all(start[0] > end[0] for start, end in through)
    assert all(start[0] < end[0] for start, end in arrows(axes, "in time to Layer 0 forward"))
    assert [text for text in texts(axes) if "langle 5" in text] == [r"$\overleftarrow{a}^{\,\langle 5 \rangle}$"]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("one, last", ["Layer 0, step 4"]),
        ("backward alone", ["Layer 0 backward, step 1"]),
        ("both, last", ["Layer 0 forward, step 4", "Layer 0 backward, step 4"]),
        ("both, final", ["Layer 0 forward, step 4", "Layer 0 backward, step 1"]),
        ("one, mean", [f"Layer 0, step {t}" for t in (1, 2, 3, 4)]),
        ("both, max", [f"Layer 0 {way}ward, step {t}" for way in ("for", "back") for t in (1, 2, 3, 4)]),
    ],
)
def test_one_output_of_a_sequence(name: str, read: list[str]) -> None:
    axes = plot.network(NETWORKS[name], steps=4)
    places = centres(axes)
    (readout, *_) = [part for part in places if part.startswith("Readout")]
    from_x = sorted(places[part][0] for part in read)
    assert places[readout][0] == pytest.approx((from_x[0] + from_x[-1]) / 2)
    starts = arrows(axes, f"from below {readout}") or arrows(axes, f"to {readout}")
    assert sorted(start[0] for start, _ in starts) == pytest.approx(from_x)
    assert "$y$" in texts(axes)


def test_axes_of_ones_own_have_smaller_letters() -> None:
    whole = plot.network(NETWORKS["shakespeare"])
    size = whole.figure.get_size_inches()
    figure, axes = plt.subplots(figsize=size / 2)
    axes.set_position((0, 0, 1, 1))
    assert plot.network(NETWORKS["shakespeare"], ax=axes) is axes
    assert len(figure.axes) == 1
    assert [text.get_fontsize() for text in axes.texts] == pytest.approx(
        [text.get_fontsize() / 2 for text in whole.texts]
    )
    assert {round(text.get_fontsize(), 6) for text in whole.texts} == {8.5, 10.0}


def test_names_are_no_mathematics() -> None:
    kind = type("A$x^2$" + "b" * 100, (Own,), {})
    axes = plot.network(rb.RNN([kind(np.ones((4, 3)))]))
    (shown,) = [text for text in texts(axes) if text.startswith("A")]
    assert shown == r"A\$x^2\$" + "b" * 17 + "\u2026"
    axes.figure.canvas.draw()


def test_nothing_is_read_of_weights() -> None:
    rnn = NETWORKS["sentiment"].to("array_api_strict:device1")  # which np.asarray does not take
    assert texts(plot.network(rnn)) == texts(plot.network(NETWORKS["sentiment"]))


def test_a_picture_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plt.rcParams, "figure.constrained_layout.use", True)  # which has nothing to place here
    buffer = BytesIO()
    plot.network(NETWORKS["both directions"], steps=4).figure.savefig(buffer, format="png", bbox_inches="tight")
    assert buffer.getvalue().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rnn": 3}, "`rnn` must be an RNN; got int. Read one by rnn_backends.load."),
        ({"steps": 0}, "`steps` must be an integer of at least 1; got 0."),
        ({"steps": 101}, "`steps` must be at most 100, of which each is a column; got 101."),
    ],
)
def test_arguments_that_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(rb.ArgumentError, match=f"^{re.escape(message)}$"):
        plot.network(**{"rnn": NETWORKS["no readout"], **given})
