"""Models and streams in notebooks: a table of their parts, without their numbers, and nothing that a file can make of it."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import array_api_strict
import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.model.html import html


class Tables(HTMLParser):
    """The cells of each row, and the names of all tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.styles: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if not self.open:  # of the outermost element: nothing in it is typeset as mathematics
            assert attrs == [("class", "tex2jax_ignore mathjax_ignore")]
            attrs = []
        self.open.append(tag)
        assert {name for name, _ in attrs} <= {"style"}
        self.styles |= {str(value) for _, value in attrs}
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data


def of(model: Any) -> Tables:
    read = Tables(model._repr_html_())
    assert read.open == []
    return read


def model(**options: Any) -> rb.RNN:
    forward = rb.Cell(np.full((5, 4), 0.123), np.eye(5), np.zeros(5), clip=6.0, leak=0.25)
    backward = rb.Cell(np.full((3, 4), 0.123), np.eye(3), activation="relu", leak=np.full(3, 0.5))
    head = [rb.Linear(np.ones((6, 8)), activation="tanh"), rb.Linear(np.ones((2, 6)), np.zeros(2))]
    return rb.RNN([rb.Layer(forward, backward)], head, encoder=rb.Linear(np.ones((4, 9))), **options)


def test_each_part_has_a_row() -> None:
    rows = of(model(h_0=(np.zeros(5), np.zeros(3)), reads="mean")).rows
    assert rows[:7] == [
        ["part", "input size", "output size", "activation", "parameters"],
        ["encoder", "9", "4", "identity", "36"],
        ["layer 0 forward", "4", "5", "tanh, clip 6, leak 0.25", "50"],
        ["layer 0 backward", "4", "3", "relu, leak of each unit", "24"],
        ["initial states", "", "", "", "8"],
        ["readout 0", "8", "6", "tanh", "48"],
        ["readout 1", "6", "2", "softmax", "14"],
    ]
    assert dict(map(tuple, rows[7:])) == {  # type: ignore[arg-type]  # of two cells each
        "parameters": "180, 1,440 bytes",
        "backend": "numpy",
        "device": "cpu",
        "dtype": "float64",
        "takes": "features or token ids",
        "reads": "mean",
        "batch_first": "False",
    }


def test_what_is_there_only_at_times() -> None:
    words = rb.RNN.init(3, 4, dtype="float16", output_size=2)
    notes = {"source": "here", "licence": "CC0", "classes": "not shown"}
    shown = rb.RNN(words.layers, words.readout, vocabulary=["a", "b", "c"], batch_first=True, metadata=notes)
    rows = {row[0]: row[1] for row in of(shown).rows[3:]}
    assert rows["vocabulary"] == "3 words"
    assert (rows["takes"], rows["batch_first"], rows["dtype"]) == ("tokens", "True", "float16")
    assert rows["parameters"] == f"{words.num_parameters}, {2 * words.num_parameters} bytes"
    assert (rows["source"], rows["licence"]) == ("here", "CC0")
    assert "classes" not in rows
    assert {"reads", "source", "vocabulary"}.isdisjoint(row[0] for row in of(rb.RNN.init(3, 4)).rows)
    assert {row[0]: row[1] for row in of(shown.stream(7)).rows[3:]} == {"batch_size": "7", **rows}


class Own:
    def project(self, x: Any) -> Any:
        return x

    def step(self, projected: Any, h: Any) -> Any:
        return projected + h


@dataclass(frozen=True)
class Counted(Own):
    weight: Any
    activation: str = "<tanh>"


def test_a_cell_of_ones_own() -> None:
    rows = of(rb.RNN([Own(), Counted(np.ones((3, 4)))])).rows
    assert rows[1] == ["layer 0 forward", "", "", "Own", ""]
    assert rows[2] == ["layer 1 forward", "", "", "<tanh>", "12"]
    assert rows[3] == ["parameters", "12, 96 bytes, without those of Own"]
    assert "activation=<tanh>" in repr(rb.RNN([Counted(np.ones((3, 4)))]))
    assert of(rb.RNN([Counted(np.ones((3, 4)), activation=None)])).rows[1][3] == "Counted"  # type: ignore[arg-type]


def test_many_parts_are_left_out() -> None:
    cell = rb.Cell(np.ones((2, 2)), np.ones((2, 2)), np.ones(2))
    deep = rb.RNN([cell] * 500, rb.Linear(np.ones((3, 2))))
    rows = of(deep).rows
    assert rows[20:22] == [["layer 19 forward", "2", "2", "tanh", "10"], ["461 more", "", "", "", "4,610"]]
    assert rows[22][0] == "layer 481 forward"
    assert rows[41][0] == "readout"
    assert len(deep._repr_html_()) < 25_000
    assert [row[0] for row in of(rb.RNN([cell] * 41)).rows[20:23]] == [f"layer {k} forward" for k in (19, 20, 21)]
    assert of(rb.RNN([Own()] * 50)).rows[21] == ["10 more", "", "", "", ""]


def test_one_of_each_kind() -> None:
    for words, note in (("a", "1 character"), (["a"], "1 word"), (["a", "b"], "2 words")):
        rnn = rb.RNN([rb.Cell(np.ones((2, 2)), np.ones((2, 2)))], vocabulary=words)
        assert {row[0]: row[1] for row in of(rnn).rows[2:]}["vocabulary"] == note
        assert f"vocabulary={note}," in repr(rnn)


def test_nothing_is_read_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    rnn = model(h_0=(np.zeros(5), np.zeros(3))).to("array_api_strict:device1")
    expected = rnn._repr_html_()

    def refuse(*_: object, **__: object) -> Any:
        msg = "a number was read"
        raise AssertionError(msg)

    kind = type(array_api_strict.ones(1))
    for name in (
        "__array__",
        "__dlpack__",
        "__buffer__",
        "__float__",
        "__int__",
        "__bool__",
        "__index__",
        "__getitem__",
    ):
        monkeypatch.setattr(kind, name, refuse, raising=False)
    with pytest.raises(AssertionError, match="a number was read"):
        float(array_api_strict.ones(()))
    assert rnn._repr_html_() == expected
    assert "array_api_strict" in expected


def test_no_weights_and_no_colours() -> None:
    read = of(model())
    assert "0.123" not in model()._repr_html_()
    assert read.tags == {"div", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    assert {name for style in read.styles for name in re.findall(r"([\w-]+):", style)} == {
        "color", "min-width", "overflow-wrap", "padding", "text-align", "white-space",
    }  # fmt: skip
    assert not [style for style in read.styles if re.search(r"(?<!-)color: (?!inherit)", style)]


def test_hostile_notes_and_names() -> None:
    notes = {
        "task": "<script>alert(1)</script>",
        "source": "x" * 100_000,
        "licence": '"><img src=x onerror=alert(1)>\u202egnp\x00',
    }

    def evil(z: Any) -> Any:
        return z

    evil.__name__ = "<b>evil</b>" + "y" * 1000
    cell = rb.Cell(np.ones((2, 2)), np.ones((2, 2)), activation=evil)
    shown = rb.RNN([cell], metadata=notes)
    read, text = of(shown), shown._repr_html_()
    rows = {row[0]: row for row in read.rows}
    assert {"script", "img", "b"}.isdisjoint(read.tags)
    assert rows["task"][1] == notes["task"]
    assert rows["source"][1] == "x" * 159 + "\u2026"
    assert rows["layer 0 forward"][3].startswith("<b>evil</b>yyy")
    assert "\u202e" not in text
    assert "\x00" not in text
    assert len(text) < 4000
    assert "<b>" not in html("<b>", shown.placed)
