"""The likeliest outputs of each step."""

import re
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends import plot

X = np.random.default_rng(0).normal(size=(7, 2, 3)).astype("float32")


def model(**options: Any) -> rb.RNN:
    made = rb.RNN.init(3, 4, output_size=5)
    return rb.RNN(made.layers, made.readout, **options)


P = np.array([[0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.0, 0.0, 0.0]])


def columns(ax: Any) -> dict[tuple[int, int], str]:
    """The texts of the cells by step and rank."""
    return {(int(x), int(y)): text.get_text() for text in ax.texts for x, y in [text.get_position()]}


def test_the_likeliest_of_each_step() -> None:
    ax = plot.probabilities(P, vocabulary="a \n", labels="xyz", top=2)
    assert columns(ax) == {(0, 0): "\u2423", (0, 1): "\u21b5", (1, 0): "\u21b5", (1, 1): "a"}  # none of padding
    np.testing.assert_array_equal(ax.images[0].get_array(), [[0.6, 0.6, 0.0], [0.3, 0.2, 0.0]])
    assert ax.images[0].get_clim() == (0.0, 1.0)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y", "z"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1", "2"]


def test_no_more_than_there_are_and_by_number() -> None:
    ax = plot.probabilities(P[:1])
    assert columns(ax) == {(0, 0): "1", (0, 1): "2", (0, 2): "0"}
    assert plot.probabilities(np.tile(P, (1, 4)) / 4).images[0].get_array().shape == (8, 3)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_sequence_of_a_batch_of_another_library(batch_first: bool) -> None:
    rnn = model(batch_first=batch_first).to("array_api_strict")
    x = X.swapaxes(0, 1) if batch_first else X
    ax = plot.probabilities(rnn.probabilities(x), sequence=1, batch_first=batch_first, top=1)
    wanted = model().probabilities(X)[:, 1]
    np.testing.assert_allclose(ax.images[0].get_array()[0], wanted.max(axis=-1), atol=1e-6)
    assert [columns(ax)[t, 0] for t in range(7)] == [str(each) for each in wanted.argmax(axis=-1)]


@pytest.mark.filterwarnings("ignore:Glyph")  # which the default font may lack
@pytest.mark.parametrize("word", ["considerably", "W" * 12, "\u6c34" * 6])
def test_letters_fit_their_cells(word: str) -> None:
    words = ["a", word, "wide", "words", "in"]
    for ax in (None, plt.subplots(figsize=(9, 3))[1]):
        drawn = plot.probabilities(np.full((9, 5), 0.2), vocabulary=words, ax=ax)
        assert ax is None or drawn is ax
        drawn.figure.canvas.draw()
        width = drawn.bbox.width / 9
        assert max(text.get_window_extent().width for text in drawn.texts) <= width
        assert drawn.texts[0].get_color() == "white"
        assert ax is not None or {text.get_fontsize() for text in drawn.texts} == {10.0}
    assert plot.probabilities([[0.9, 0.1]]).texts[0].get_color() == "black"


def test_outputs_of_sequences_as_a_whole() -> None:
    p = model(reads="last").probabilities(X)
    ax = plot.probabilities(p, rows="sequences", labels=["one", "two"], top=2)
    assert ax.get_xlabel() == "sequence"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["one", "two"]
    np.testing.assert_allclose(ax.images[0].get_array()[0], p.max(axis=1), atol=1e-6)
    one = plot.probabilities(model(reads="last").probabilities(X[:, 0]), vocabulary=np.array(list("abcde")))
    assert one.images[0].get_array().shape == (5, 1)
    assert sorted(columns(one).values()) == list("abcde")
    assert (one.get_xlabel(), one.get_xticks().tolist()) == ("", [])
    named = plot.probabilities(p[0], labels=["one"])
    assert [label.get_text() for label in named.get_xticklabels()] == ["one"]


def test_letters_that_would_be_too_small_are_left_out() -> None:
    ax = plot.probabilities(np.full((3000, 2), 0.5), labels="ab" * 1500, ax=plt.subplots(figsize=(5, 3))[1])
    ax.figure.canvas.draw()
    assert not ax.texts
    assert 5 < len(ax.get_xticklabels()) < 60


@pytest.mark.parametrize("name", ["vocabulary", "labels"])
@pytest.mark.parametrize(
    "given", [{"a": 1, "b": 2, "c": 3}, {"a", "b", "c"}, b"abc", 5, (c for c in "abc"), np.array([["a"]])], ids=type
)
def test_names_without_an_order(name: str, given: Any) -> None:
    wanted = f"`{name}` must be a str, a list, a tuple or an array of one axis; got {type(given).__name__}."
    options: dict[str, Any] = {name: given}
    with pytest.raises(rb.ArgumentError, match=f"^{re.escape(wanted)}$"):
        plot.probabilities(P, **options)


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "top": (lambda: plot.probabilities(P, top=0), rb.ArgumentError, "`top` must be an integer of at least 1; got 0"),
    "logits": (lambda: plot.probabilities(P - 1), rb.ArgumentError, "from 0 to 1; it holds values from -1 to -0.4"),
    "p": (lambda: plot.probabilities(0.5), rb.ShapeError, "must have steps to draw"),
    "no output": (lambda: plot.probabilities(P[:, :0]), rb.ShapeError, "got shape (3, 0)"),
    "of p": (
        lambda: plot.probabilities(P[:, None], sequence=1),
        rb.ArgumentError,
        "one of the 1 that `p` holds, 0 to 0",
    ),
    "batch of p": (
        lambda: plot.probabilities(P, sequence=-1),
        rb.ArgumentError,
        "`sequence` must be an integer of at least 0",
    ),
    "vocabulary": (
        lambda: plot.probabilities(P, vocabulary="ab"),
        rb.ShapeError,
        "must hold 3 items, one for each output; got 2",
    ),
    "text": (lambda: plot.probabilities([["a"]]), rb.DTypeError, "`p` must hold "),
    "rows": (
        lambda: plot.probabilities(P, rows="words"),
        rb.ArgumentError,
        "`rows` must be one of 'steps', 'sequences'",
    ),
    "rows of steps": (
        lambda: plot.probabilities(P[:, None], rows="sequences"),
        rb.ShapeError,
        "`p` of shape (3, 1, 3) has steps; rows='sequences' is of (batch, output_size) alone.",
    ),
    "labels of sequences": (
        lambda: plot.probabilities(P, rows="sequences", labels="ab"),
        rb.ShapeError,
        "`labels` must hold 3 items, one for each sequence; got 2",
    ),
    "batch_first": (
        lambda: plot.probabilities(P, batch_first="yes"),  # type: ignore[arg-type]
        rb.ArgumentError,
        "`batch_first` must be True or False; got 'yes'.",
    ),
    "a masked array": (
        lambda: plot.probabilities(np.ma.masked_array(P)),
        rb.DTypeError,
        "`p` must not be a masked array, whose mask would be lost; fill it before it is drawn.",
    ),
    "width": (
        lambda: plot.probabilities(np.full((3000, 2), 0.5)),
        rb.ArgumentError,
        "`p` has 3000 columns to draw, 811 inches wide, of at most 200; draw a part, such as p[:735], or give `ax`.",
    ),
    "width of a batch": (
        lambda: plot.probabilities(np.full((1, 3000, 2), 0.5), batch_first=True),
        rb.ArgumentError,
        "such as p[:, :735], or",
    ),
    "height": (
        lambda: plot.probabilities(np.zeros((1, 3000)), top=700),
        rb.ArgumentError,
        "`top` must be at most 663, for a figure of at most 200 inches; got 700.",
    ),
    "words of other things": (
        lambda: plot.probabilities(P, vocabulary=["a", "b", 3]),  # type: ignore[list-item]
        rb.ArgumentError,
        "`vocabulary` must hold str alone; it holds 3 of int.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arguments_that_are_refused(name: str) -> None:
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=re.escape(message)):
        call()
    assert not plt.get_fignums()
