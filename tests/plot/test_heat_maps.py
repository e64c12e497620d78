"""Heat maps of traces."""

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
from rnn_backends.plot import arguments


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
    whole = [ax.get_title(loc="left") for ax in plot.trace(model(reads="last").trace(X)).axes if ax.images]
    assert whole[-1] == "probabilities   $y$"
    deep = rb.RNN([rb.Cell(np.ones((3, 3)), np.ones((3, 3)))] * 2, rb.Linear(np.ones((2, 3))))  # no bias
    shown = [ax.get_title(loc="left") for ax in plot.trace(deep.trace(X)).axes if ax.images]
    assert not any("b_" in title or "x^" in title for title in shown)
    assert shown[4::4] == ["input_product_l1   $W_{ax}$ by the input of the layer", "logits   before the activation"]
    assert shown[2] == "sum_l0   before the activation"


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


def test_long_labels_have_room_below() -> None:
    for labels in (["W" * 24] * 7, ["WW"] * 7):
        figure = plot.trace(model().trace(X), "sum_l0", labels=labels)
        figure.canvas.draw()  # constrained layout warns where there is no room
        assert figure.axes[0].bbox.height > 80
        places = [tick.get_window_extent() for tick in figure.axes[0].get_xticklabels()]
        assert all(one.x1 <= other.x0 for one, other in pairwise(places))


def test_only_what_is_drawn_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[tuple[int, ...]] = []

    def to_numpy(array: Any) -> Any:
        copied.append(tuple(array.shape))
        return rb.to_numpy(array)

    monkeypatch.setattr(arguments, "to_numpy", to_numpy)
    plot.trace(model().to("array_api_strict").trace(X), ["logits", "sum_l0"], sequence=1)
    assert copied == [(7, 5), (7, 4)]
    plot.probabilities(model().to("array_api_strict").probabilities(X))
    assert copied[2:] == [(7, 5)]


def test_nan_is_left_out_of_the_scale() -> None:
    drawn = maps(plot.trace({"sum_l0": np.array([[np.nan, 1.0], [-3.0, np.inf]])}))
    assert drawn["sum_l0"].get_clim() == (-3.0, 3.0)


def test_pictures_are_written() -> None:
    for figure in (plot.trace(model().trace(X)), plot.probabilities([[0.5, 0.5]]).figure):
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
    "an empty dict": (
        lambda: plot.trace({}),
        rb.ArgumentError,
        "`steps` must be the dict that rnn.trace(x) returns; got an empty dict.",
    ),
    "names of terms": (
        lambda: plot.trace({1: X[:, 0]}),  # type: ignore[dict-item]
        rb.ArgumentError,
        "`steps` must hold str alone; it holds 1 of int.",
    ),
    "a number for names": (
        lambda: plot.trace(TRACED, 5),  # type: ignore[arg-type]
        rb.ArgumentError,
        "`names` must be a str, a list, a tuple or an array of one axis; got int.",
    ),
    "a name that is no text": (
        lambda: plot.trace(TRACED, ["sum_l0", 5]),  # type: ignore[list-item]
        rb.ArgumentError,
        "`names` must hold str alone; it holds 5 of int.",
    ),
    "terms": (
        lambda: plot.trace({f"sum_l{index}": X[:, 0] for index in range(101)}),
        rb.ArgumentError,
        "there are 101; give some of them, such as names=list(steps)[:100].",
    ),
    "batch_first": (
        lambda: plot.trace(model().trace(X[:, 0]), batch_first="no"),  # type: ignore[arg-type]
        rb.ArgumentError,
        "`batch_first` must be True or False; got 'no'.",
    ),
    "labels of no order": (
        lambda: plot.trace(TRACED, labels=(each for each in "abcdefg")),  # type: ignore[arg-type]
        rb.ArgumentError,
        "`labels` must be a str, a list, a tuple or an array of one axis; got generator.",
    ),
    "a masked array": (
        lambda: plot.trace({"sum_l0": np.ma.masked_array(X[:, 0])}),
        rb.DTypeError,
        "`sum_l0` must not be a masked array, whose mask would be lost; fill it before it is drawn.",
    ),
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
        "`labels` are of steps, and 'logits' of this model are of the whole sequence; leave them out.",
    ),
    "no step": (lambda: plot.trace(model().trace(X[:0])), rb.ShapeError, "must have steps to draw"),
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
        lambda: plot.probabilities([[0.5, 0.5]]),
        lambda: plot.trajectories(X),
    ]
    for call in calls:
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'rnn-backends\[plot\]'\.$"):
            call()
