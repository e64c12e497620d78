"""Heat maps of traces, and the likeliest outputs of each step."""

import builtins
import re
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends import plot


def model(**options: Any) -> rb.RNN:
    made = rb.RNN.init(3, 4, output_size=5)
    return rb.RNN(made.layers, made.readout, **options)


def maps(figure: Any) -> dict[str, Any]:
    """The images of a figure by the name in their title."""
    return {ax.get_title(loc="left").partition(" ")[0]: ax.images[0] for ax in figure.axes if ax.images}


X = np.random.default_rng(0).normal(size=(7, 2, 3)).astype("float32")


@pytest.mark.parametrize("sequence", [0, 1])
@pytest.mark.parametrize("batch_first", [False, True])
def test_each_term_of_a_sequence(batch_first: bool, sequence: int) -> None:
    steps = model(batch_first=batch_first).trace(X.swapaxes(0, 1) if batch_first else X)
    drawn = maps(plot.trace(steps, sequence=sequence, batch_first=batch_first))
    wanted = model().trace(X)
    assert [*drawn] == [*steps]
    for name, image in drawn.items():
        np.testing.assert_allclose(image.get_array(), wanted[name][:, sequence].T, atol=1e-6)
        low, high = image.get_clim()
        most = float(np.abs(image.get_array()).max())
        assert high == pytest.approx(most)
        assert low == (0.0 if name == "probabilities" else pytest.approx(-most))
        assert image.get_cmap().name == ("viridis" if name == "probabilities" else "RdBu_r")


def test_without_a_batch_and_of_another_library() -> None:
    names = ["logits", "sum_l0"]
    steps = model().to("array_api_strict:device1").trace(X[:, 0])
    drawn = maps(plot.trace(steps, names))
    assert [*drawn] == names
    assert drawn["sum_l0"].get_array().shape == (4, 7)
    np.testing.assert_allclose(drawn["logits"].get_array(), model().logits(X[:, 0]).T, atol=1e-6)
    assert [*maps(plot.trace(steps, "logits"))] == ["logits"]


def test_outputs_of_a_sequence_as_a_whole_are_a_row() -> None:
    rnn = model(reads="mean")
    for steps, sequence in ((rnn.trace(X), 1), (rnn.trace(X[:, 1]), 0)):
        drawn = maps(plot.trace(steps, sequence=sequence, labels="abcdefg"))
        np.testing.assert_allclose(drawn["probabilities"].get_array(), rnn.probabilities(X)[1:2], atol=1e-6)
        assert drawn["hidden_state_l0"].get_array().shape == (4, 7)
        assert drawn["hidden_state_l0"].axes.get_xlabel() == "step"
        assert drawn["probabilities"].axes.get_xlabel() == "output"


def test_titles_have_the_notation_of_the_text_books() -> None:
    rnn = rb.RNN.init(3, 4, bidirectional=True)
    titles = [ax.get_title(loc="left") for ax in plot.trace(rnn.trace(X)).axes if ax.images]
    assert titles[1] == r"recurrent_product_l0   $W_{aa}\, a^{\langle t-1 \rangle}$"
    assert titles[5] == r"recurrent_product_l0_reverse   $W_{aa}\, a^{\langle t+1 \rangle}$"
    assert titles[3] == r"hidden_state_l0   $a^{\langle t \rangle}$"
    one, whole = (plot.trace(each.trace(X)).axes for each in (model(), model(reads="last")))
    assert [ax.get_title(loc="left") for ax in one if ax.images][
        -2
    ] == r"logits   $W_{ya}\, a^{\langle t \rangle} + b_y$"
    assert [ax.get_title(loc="left") for ax in whole if ax.images][-2:] == [
        "logits   $W_{ya}\\, a + b_y$",
        "probabilities   $y$",
    ]
    head = rb.RNN(rnn.layers, [rb.Linear(np.ones((4, 8), "float32")), rb.Linear(np.ones((2, 4), "float32"))])
    shown = [ax.get_title(loc="left") for ax in plot.trace(head.trace(X)).axes if ax.images]
    assert shown[-3:-1] == ["readout_0", "logits"]


def test_labels_of_steps() -> None:
    figure = plot.trace(model().trace(X), ["sum_l0", "logits"], labels=["a", " ", "\n", "$", "\t", "\x00", "g"])
    (upper, lower), _ = figure.axes[:2], figure.canvas.draw()
    shown = ["a", "\u2423", "\u21b5", r"\$", "\u21e5", "\ufffd", "g"]
    assert [label.get_text() for label in lower.get_xticklabels()] == shown
    assert lower.get_xticks().tolist() == [*range(7)]
    assert not any(tick.label1.get_visible() for tick in upper.xaxis.get_major_ticks())


def test_many_labels_are_thinned_and_do_not_overlap() -> None:
    long = np.zeros((400, 1, 3), "float32")
    for labels in ("ab" * 200, [f"word {index}" for index in range(400)]):
        figure = plot.trace(model().trace(long), "sum_l0", labels=labels)
        figure.canvas.draw()
        ticks = figure.axes[0].get_xticklabels()
        at = figure.axes[0].get_xticks().astype(int)
        assert [tick.get_text() for tick in ticks] == [labels[index] for index in at]
        assert 20 < len(ticks) < 80
        places = [tick.get_window_extent() for tick in ticks]
        assert all(one.x1 <= other.x0 for one, other in pairwise(places))


def test_nan_is_left_out_of_the_scale() -> None:
    drawn = maps(plot.trace({"sum_l0": np.array([[np.nan, 1.0], [-3.0, np.inf]])}))
    assert drawn["sum_l0"].get_clim() == (-3.0, 3.0)


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


def test_letters_fit_their_cells() -> None:
    words = ["a", "considerably", "wide", "words", "in"]
    for ax in (None, plt.subplots(figsize=(5, 3))[1]):
        drawn = plot.probabilities(np.full((9, 5), 0.2), vocabulary=words, ax=ax)
        assert ax is None or drawn is ax
        drawn.figure.canvas.draw()
        width = drawn.bbox.width / 9
        assert max(text.get_window_extent().width for text in drawn.texts) <= width
        black = drawn.texts[0].get_color()
        assert black == "white"
    assert plot.probabilities([[0.9, 0.1]]).texts[0].get_color() == "black"


def test_pictures_are_written() -> None:
    for figure in (plot.trace(model().trace(X)), plot.probabilities(P).figure):
        buffer = BytesIO()
        figure.savefig(buffer, format="png")
        assert buffer.getvalue().startswith(b"\x89PNG")


TRACED = model().trace(X)
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a name": (
        lambda: plot.trace(TRACED, "hidden_state"),
        rb.ArgumentError,
        "got 'hidden_state'. Did you mean 'hidden_state_l0'?",
    ),
    "no name": (lambda: plot.trace(TRACED, []), rb.ArgumentError, "`names` must name a term to draw"),
    "no dict": (lambda: plot.trace(X), rb.ArgumentError, "must be the dict that rnn.trace(x) returns; got ndarray"),  # type: ignore[arg-type]
    "sequence": (
        lambda: plot.trace(TRACED, sequence=2),
        rb.ArgumentError,
        "one of the 2 that `input_product_l0` holds, 0 to 1; got 2",
    ),
    "of a single one": (lambda: plot.trace(model().trace(X[:, 0]), sequence=1), rb.ArgumentError, "one of the 1 that"),
    "of a whole": (
        lambda: plot.trace(model(reads="last").trace(X), "logits", sequence=2),
        rb.ArgumentError,
        "one of the 2 that `logits`",
    ),
    "labels": (
        lambda: plot.trace(TRACED, labels="abc"),
        rb.ShapeError,
        "`labels` must hold 7 items, one for each step; got 3",
    ),
    "labels of a whole": (
        lambda: plot.trace(model(reads="last").trace(X), "logits", labels="abcdefg"),
        rb.ArgumentError,
        "`labels` are of steps, and logits of this model are of the whole sequence; leave them out.",
    ),
    "no step": (lambda: plot.trace(model().trace(X[:0])), rb.ShapeError, "must have steps to draw"),
    "top": (lambda: plot.probabilities(P, top=0), rb.ArgumentError, "`top` must be an integer of at least 1; got 0"),
    "logits": (lambda: plot.probabilities(P - 1), rb.ArgumentError, "from 0 to 1; it holds values from -1 to -0.4"),
    "p": (lambda: plot.probabilities(P[0]), rb.ShapeError, "(seq_len, size) or (seq_len, batch, size); got shape (3,)"),
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
}


@pytest.mark.parametrize("name", REFUSED)
def test_arguments_that_are_refused(name: str) -> None:
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=re.escape(message)):
        call()
    assert not plt.get_fignums()


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name=name)
        return known(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    calls: list[Callable[[], Any]] = [
        lambda: plot.network(model()),
        lambda: plot.network(model(), steps=2),
        lambda: plot.trace(TRACED),
        lambda: plot.probabilities(P),
        lambda: plot.trajectories(X),
    ]
    for call in calls:
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'rnn-backends\[plot\]'\.$"):
            call()
