"""Trajectories of states, against a principal component analysis by the covariance matrix."""

import re
from io import BytesIO
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends import plot

STATES = np.random.default_rng(0).normal(size=(9, 3, 6)) * [1.0, 5.0, 0.5, 3.0, 1.0, 1.0]
LENGTHS = [9, 4, 0]


def plain(states: Any) -> tuple[Any, Any]:
    """Points along the first two components, and all shares of variance."""
    centred = states - states.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    first = vectors[:, ::-1][:, :2]
    signs = np.sign(first[np.abs(first).argmax(axis=0), [0, 1]])
    return centred @ (first * signs), values[::-1] / values.sum()


@pytest.mark.parametrize("batch_first", [False, True])
def test_valid_states_along_their_components(batch_first: bool) -> None:
    states = STATES.copy()
    states[4:, 1] = np.nan  # padding is not looked at
    states[:, 2] = 1e6
    given = states.swapaxes(0, 1) if batch_first else states
    ax = plot.trajectories(given, lengths=LENGTHS, labels=["one", "two", "none"], batch_first=batch_first)
    points, shares = plain(np.concatenate([STATES[:, 0], STATES[:4, 1]]))
    assert len(ax.lines) == 2
    np.testing.assert_allclose(ax.lines[0].get_xydata(), points[:9], atol=1e-9)
    np.testing.assert_allclose(ax.lines[1].get_xydata(), points[9:], atol=1e-9)
    assert ax.get_xlabel() == f"first principal component ({100 * shares[0]:.3g} % of the variance)"
    assert ax.get_ylabel() == f"second principal component ({100 * shares[1]:.3g} % of the variance)"
    ends = [each.get_offsets().tolist() for each in ax.collections]
    np.testing.assert_allclose(np.concatenate(ends), points[[0, 8, 9, 12]], atol=1e-9)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two", "start", "end"]
    assert ax.lines[0].get_color() != ax.lines[1].get_color()


def test_one_sequence_of_another_library_in_axes_of_ones_own() -> None:
    output, _ = rb.RNN.init(3, 4, backend="array_api_strict:device1")(
        [[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [3.0, 1.0, 1.0]]
    )
    _, ax = plt.subplots()
    assert plot.trajectories(output, ax=ax) is ax
    points, _ = plain(rb.to_numpy(output).astype("float64"))
    np.testing.assert_allclose(ax.lines[0].get_xydata(), points, atol=1e-12)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["start", "end"]


@pytest.mark.parametrize("shape", [(5, 1), (1, 4), (1, 1)])
def test_less_than_two_components(shape: tuple[int, int]) -> None:
    states = np.arange(5.0)[: shape[0], None] + np.zeros(shape)
    ax = plot.trajectories(states)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 0.0, atol=1e-12)
    np.testing.assert_allclose(ax.lines[0].get_xdata(), states[:, 0] - states.mean(), atol=1e-12)
    assert "(0 % of" in ax.get_ylabel()


def test_many_sequences_have_colours_of_their_own() -> None:
    ax = plot.trajectories(np.random.default_rng(0).normal(size=(4, 25, 3)))
    assert len({str(line.get_color()) for line in ax.lines}) == 25


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_very_large_and_very_small_states(scale: float) -> None:
    points, shares = plain(STATES[:, 0])
    ax = plot.trajectories(STATES[:, 0] * scale)
    np.testing.assert_allclose(ax.lines[0].get_xydata() / scale, points, atol=1e-9)
    assert f"({100 * shares[0]:.3g} %" in ax.get_xlabel()
    ax.figure.canvas.draw()


def names(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_names_that_begin_with_an_underscore() -> None:
    assert names(plot.trajectories(STATES, labels=["_a", "b", "$c$"])) == ["_a", "b", r"\$c\$", "start", "end"]


def test_a_legend_has_an_end() -> None:
    for count, more in ((15, []), (16, ["1 other"]), (200, ["185 others"])):
        ax = plot.trajectories(np.random.default_rng(0).normal(size=(4, count, 3)), labels=range(count))
        ax.figure.canvas.draw()  # constrained layout warns where there is no room
        assert ax.get_legend().get_window_extent().height < ax.bbox.height
        assert names(ax) == [*map(str, range(15)), *more, "start", "end"]


def test_a_picture_is_written() -> None:
    buffer = BytesIO()
    plot.trajectories(STATES).figure.savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"states": STATES[0, 0]}, rb.ShapeError, "(seq_len, batch, size) or (seq_len, size); got (6,)."),
        ({"states": STATES[..., :0]}, rb.ShapeError, "got (9, 3, 0)."),
        ({"states": STATES[:0]}, rb.ArgumentError, "there is none to draw."),
        ({"states": STATES * np.nan}, rb.ArgumentError, "Give `lengths` if these are padding."),
        ({"lengths": [1, 2]}, rb.ShapeError, "`lengths` must have shape (batch,) = (3,), as `states` does; got (2,)."),
        (
            {"lengths": [1, 2, 10]},
            rb.ArgumentError,
            "must be integers from 0 to 9, the number of steps; got 1 to 10.",
        ),
        ({"lengths": [1, 2, 1.5]}, rb.DTypeError, "`lengths` must hold "),
        ({"lengths": [-1, 2, 1]}, rb.ArgumentError, "must be integers from 0 to 9"),
        ({"labels": "ab"}, rb.ShapeError, "`labels` must hold 3 items, one for each sequence; got 2."),
        (
            {"labels": {"a": 1, "b": 2, "c": 3}},
            rb.ArgumentError,
            "`labels` must be a str, a list, a tuple or an array of one axis; got dict.",
        ),
        ({"states": np.ma.masked_array(STATES)}, rb.DTypeError, "fill it before it is drawn."),
        ({"batch_first": "yes"}, rb.ArgumentError, "`batch_first` must be True or False"),
    ],
)
def test_arguments_that_are_refused(given: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        plot.trajectories(**{"states": STATES, **given})
    assert not plt.get_fignums()
