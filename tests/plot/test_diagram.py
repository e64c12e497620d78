"""Diagrams of networks: what stands where, and that nothing overlaps, whatever the network."""

import re
from io import BytesIO
from itertools import combinations
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from diagrams import NETWORKS, arrows, boxes, cell, centres, linear, shape, texts
from matplotlib.patches import FancyBboxPatch
from own_cells import Own

import rnn_backends as rb
from rnn_backends import plot


def overlap(one: Any, other: Any) -> bool:
    return bool(
        min(one.x1, other.x1) - max(one.x0, other.x0) > 0.5 and min(one.y1, other.y1) - max(one.y0, other.y0) > 0.5
    )


@pytest.mark.sampled(3)
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


def test_one_of_each_kind() -> None:
    for rnn, note in (
        (rb.RNN([cell(1, 2)]), "1 feature or token id"),
        (rb.RNN([cell(1, 2)], takes="features"), "1 feature"),
        (rb.RNN([cell(1, 2)], vocabulary="a"), "1 character"),
        (rb.RNN([cell(2, 2)], vocabulary=["a"]), "1 word, 2 token ids"),
    ):
        assert texts(plot.network(rnn))[1] == note


def test_stored_initial_states_are_said() -> None:
    stored = rb.RNN([cell(3, 4), cell(4, 4)], h_0=np.ones((2, 4)))
    assert texts(plot.network(stored)).count("initial state stored") == 2
    assert sum("initial state stored" in text for text in texts(plot.network(stored, steps=2))) == 2
    assert "initial state stored" not in texts(plot.network(rb.RNN(stored.layers)))


def test_the_outputs_of_both_directions_meet_at_the_end() -> None:
    axes = plot.network(NETWORKS["both directions, no readout"])
    (left, right) = (centres(axes)[f"Layer 0 {way}"][0] for way in ("forward", "backward"))
    across, out = arrows(axes, "beside the output"), arrows(axes, "to the output")
    assert [[x for x, _ in line] for line in across] == [[left, right]]
    assert [[x for x, _ in line] for line in out] == [[0.0, 0.0]]
    assert out[0][0][1] == across[0][0][1]
    assert "joined, 13" in texts(axes)


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


def test_more_rows_than_are_drawn() -> None:
    deep = rb.RNN([cell(2, 2)] * 100, linear(2, 2))
    with pytest.raises(
        rb.ArgumentError, match=r"it has 101\. Draw some .* plot\.network\(.*rnn\.layers\[:100\]\)\)\.$"
    ):
        plot.network(deep)
    assert len(centres(plot.network(rb.RNN(deep.layers[:100])))) == 101
