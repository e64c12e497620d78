"""docs/coming_from.md, line by line: its tables are read, and what they say is tried with each framework."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coming_from import PAGE, SIZES, SYSTEMS, B, Row, T, normal, tables
from quick import quick_row

import rnn_backends as rb

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of what Keras itself does
REFUSALS = (rb.FormatError, rb.ArgumentError)


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest) -> Iterator[None]:
    with quick_row(request):
        yield


def same(found: Any, wanted: Any) -> None:
    atol = 1e-12 if wanted.dtype == np.float64 else 2e-6
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


def test_every_section_has_a_system() -> None:
    sections = re.findall(r"^## (.*)", PAGE, re.MULTILINE)
    assert set(sections) == SYSTEMS.keys()
    for kind in ("shape", "how"):
        assert {row.values[0].section for row in tables(kind)} == SYSTEMS.keys()
    assert {row.values[0].section for row in tables("here")} == SYSTEMS.keys() - {"ONNX"}  # which has a page of its own
    lines = [line for line in PAGE.splitlines() if re.match(r"\| *[^- |]", line)]
    titles = re.findall(r"^\|.*\n\|--", PAGE, re.MULTILINE)
    assert len(lines) - len(titles) + sum(title.startswith("| |") for title in titles) == sum(
        len(tables(kind)) for kind in ("shape", "how", "here")
    )


@pytest.mark.parametrize("row", tables("shape"))
def test_weights(row: Row) -> None:
    names, rnn = SYSTEMS[row.section]().weights()
    theirs, here, shape = row.code
    wanted = eval(theirs, {**SIZES, **names})
    found = eval(here, {"layers": rnn.layers, "readout": rnn.readout})
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype
    assert found.shape == eval(shape, SIZES)


@pytest.mark.parametrize("row", tables("how"))
def test_options(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, verdict = SYSTEMS[row.section](), row.cells[1]
    assert verdict in {"honoured", "given", "refused"}
    monkeypatch.chdir(tmp_path)
    if verdict == "honoured":
        tried = system.tried(row, {})
        same(tried.found, tried.wanted)
        is_as_said(row, tried.rnn)
        return
    with pytest.raises(REFUSALS) as caught:
        system.tried(row, {})
    if verdict == "refused":
        message = squeezed(str(caught.value))
        assert any(squeezed(word) in message for word in wrong(row)), caught.value
        return
    options = eval(f"dict({row.code[2]})")
    for name in options.keys() - {"layers", "batch_first"}:  # without any one of these it is refused, too
        with pytest.raises(REFUSALS, match=name):
            system.tried(row, {key: value for key, value in options.items() if key != name})
    tried = system.tried(row, options)
    same(tried.found, tried.wanted)


def wrong(row: Row) -> set[str]:
    """What of the code of a line is in no line of its table that is not refused, or all of it."""
    others = [each.values[0] for each in tables("how") if each.values[0].section == row.section]
    fine: set[str] = set().union(*(other.words for other in others if other.cells[1] != "refused"))
    if row.section == "Flax":  # whose parameters have no names of classes
        return {row.cells[2].split()[-1]}
    return row.words - fine or row.words


def squeezed(text: str) -> str:
    """A text in which ScaledTanh and scaled_tanh are one word."""
    return text.lower().replace("_", "")


def is_as_said(row: Row, rnn: rb.RNN) -> None:
    """Check what the last column of an honoured line says of the model."""
    layer = rnn.layers[0]
    cell: Any = layer.forward or layer.backward
    plain = rb.RNN.init(1, 1)
    for code in re.findall(r"`([^`]*)`", row.cells[2]):
        if code.startswith(("Activation(", '"')):
            activation = eval(code, {"Activation": rb.Activation})
            assert (
                cell.activation in {activation, rb.Activation(str(activation))}
                if code[0] == '"'
                else (cell.activation == activation)
            )
        elif code.startswith(("Cell.", "RNN.")):
            owner, default = (cell, plain.layers[0].forward) if code.startswith("Cell.") else (rnn, plain)
            name = code.partition(".")[2]
            assert getattr(owner, name) != getattr(default, name)
        elif code == "Layer(backward=cell)":
            assert layer.forward is None
        else:
            assert code.startswith(("rnn", "np.")) or code in {"R", "h_0", "h_n", "eval()", "readout_activation"}


def test_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that need a framework say so, and are run where it is installed."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2 + len(SYSTEMS)
    ran = 0
    for block in blocks:
        names: dict[str, Any] = {"rb": rb, "np": np}
        if needs := re.match(r"# needs (\w+)", block):
            try:
                names[needs[1]] = __import__(needs[1])
            except ImportError:
                continue
        exec(compile(block, "coming_from.md", "exec"), names)
        ran += 1
        if "same" in names:
            first: Any = names.get("rnn", names.get("cells"))
            x = normal(T, B, 3).astype("f4")
            np.testing.assert_array_equal(names["same"](x)[0], first(x)[0])
        elif "module" in names:
            wanted = names["module"](names["torch"].ones(2, 5, 3))[0].detach().numpy()
            np.testing.assert_allclose(names["output"], wanted, atol=1e-6)
        elif "model" in names:
            np.testing.assert_allclose(names["output"], names["model"](np.ones((2, 5, 3))), atol=1e-6)
    assert ran >= 2
