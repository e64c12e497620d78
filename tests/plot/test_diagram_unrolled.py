"""Diagrams of networks unrolled in time: a column for each step."""

import pytest
from diagrams import NETWORKS, arrows, centres, shape, texts

from rnn_backends import plot


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


def test_weights_of_unequal_directions_say_whose_they_are() -> None:
    written = texts(plot.network(NETWORKS["both directions, no readout"], steps=2))
    assert f"{shape('W_{ax}', 8, 6)} forward" in written
    assert f"{shape('W_{ax}', 5, 6)} backward" in written
    equal = texts(plot.network(NETWORKS["both directions"], steps=2))
    assert shape("W_{ax}", 9, 13) in equal
