"""ONNX graphs that repeat one thing many times: what it costs is counted once, and grows no faster than the graph."""

import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx_models import model, node, value

import rnn_backends as rb
from rnn_backends.formats.onnx import chains, unrolled
from rnn_backends.formats.onnx.flow import Axis, Result
from rnn_backends.formats.onnx.results import one_readout

STEP: dict[str, Any] = {
    "w": np.ones((3, 4), np.float32), "r": np.ones((4, 4), np.float32), "h": np.zeros((1, 4), np.float32),
    "first": np.array(0), "b": np.ones(4, np.float32),
}  # fmt: skip


def steps(size: int, *nodes: onnx.NodeProto) -> onnx.ModelProto:
    """A graph that takes the first of so many steps, and what comes of it."""
    made = [
        node("Gather", ["X", "first"], "x", axis=0), node("MatMul", ["x", "w"], "a"), node("MatMul", ["h", "r"], "p"),
        node("Add", ["a", "p"], "sum"), node("Tanh", ["sum"], "state"), node("Relu", ["a"], "u"),
        node("MatMul", ["X", "w"], "all"), node("Gather", ["all", "first"], "encoded", axis=0),
    ]  # fmt: skip
    return model([*made, *nodes], [value("X", shape=[size, 1, 3])], ["y"], STEP)


def peak(made: onnx.ModelProto, message: str) -> int:
    """Return the bytes that refusing a graph takes."""
    gc.collect()
    tracemalloc.start()
    try:
        with pytest.raises(rb.FormatError, match=message):
            rb.from_onnx(made)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["a", "sum", "state", "u", "encoded"])
@pytest.mark.parametrize("size", [2**26, 2**40, 2**62])
def test_an_axis_of_many_steps_is_not_counted_out(kind: str, size: int) -> None:
    made = steps(size, node("Concat", [kind, kind], "y", axis=0))
    assert peak(made, f"Concat 'the_Concat': it joins the steps .* of a sequence of {size}; all must be") < 2**20


def test_a_state_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum without an activation is a state wherever it is taken as one."""
    found: list[Any] = []
    known = chains.next_state

    def next_state(*given: Any) -> Any:
        found.append(given)
        return known(*given)

    monkeypatch.setattr(unrolled, "next_state", next_state)
    more = [node("MatMul", ["sum", "r"], f"m{k}") for k in range(50)]
    made = steps(2, *more, node("Concat", ["sum"] * 1000, "y", axis=0))
    with pytest.raises(rb.FormatError, match="it joins the steps"):
        rb.from_onnx(made)
    assert len(found) == 2  # with that of the activation


class Counted(tuple[Any, ...]):
    """A tuple that counts how often it is asked for its length, or gone through."""

    looked = 0

    def __len__(self) -> int:
        type(self).looked += 1
        return super().__len__()

    def __iter__(self) -> Any:
        type(self).looked += 1
        return super().__iter__()


def test_a_readout_is_compared_once() -> None:
    class Product:
        output, bias, after, activation = Axis("o"), None, None, None

    linears = Counted([Product()] * 3)
    results = [Result((), linears=linears) for _ in range(1000)]
    Counted.looked = 0
    assert one_readout(results) is linears
    assert Counted.looked < 2100  # truth is length, twice a result


def test_flows_that_are_not_taken_any_more_go() -> None:
    """Of a row of nodes each takes what the one before gives, and only the last flow is there."""

    def rows(count: int) -> onnx.ModelProto:
        nodes = [node("Transpose", [f"z{k}"], f"z{k + 1}") for k in range(count)]
        return model([*nodes, node("Sin", [f"z{count}"], "y")], [value("z0", shape=[2] * 32)], ["y"])

    few, many = (peak(rows(count), "Sin 'the_Sin': this operator is none") for count in (200, 2200))
    assert many - few < 2000 * 32 * 8  # the axes of 2000 flows alone
