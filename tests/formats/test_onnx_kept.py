"""Constants of large ONNX files: those that are gone are not counted, and those that are there are few."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx_models import model, node, value

import rnn_backends as rb
from rnn_backends.formats.account import Account
from rnn_backends.formats.onnx.kept import Kept

WIDTH = 2**10
SQUARE = 4 * WIDTH**2
NAMES = ("W", "R")


def squares(*names: str, dtype: Any = np.float32) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    return {name: draw.random((1, WIDTH, WIDTH), np.float32).astype(dtype) for name in names}


def layer(*nodes: onnx.NodeProto, dtype: str = "float32", **options: Any) -> list[onnx.NodeProto]:
    return [*nodes, node("RNN", ["X", "W", "R"], ["Y"], hidden_size=WIDTH, **options)]


def graph(nodes: list[onnx.NodeProto], tensors: dict[str, Any]) -> onnx.ModelProto:
    return model(nodes, [value("X", shape=["t", "b", WIDTH])], ["Y"], tensors)


def joined() -> onnx.ModelProto:
    parts = [f"{name}_{side}" for name in NAMES for side in "fb"]
    joins = [node("Concat", [f"{name}_f", f"{name}_b"], name, axis=0) for name in NAMES]
    return graph(layer(*joins, direction="bidirectional"), squares(*parts))


def widened() -> onnx.ModelProto:
    """Weights in half of the space that the graph computes in."""
    casts = [node("Cast", [f"{name}_half"], name, to=1) for name in NAMES]
    return graph(layer(*casts), squares(*(f"{name}_half" for name in NAMES), dtype=np.float16))


def widened_at_once() -> onnx.ModelProto:
    cast = [node("Cast", ["both"], "all", to=1), node("Split", ["all"], NAMES, axis=0)]
    both = np.concatenate(list(squares(*NAMES, dtype=np.float16).values()))
    return graph(layer(*cast), {"both": both})


def rearranged() -> onnx.ModelProto:
    """Weights that are moved, reshaped and moved back, as exporters leave it that fold nothing."""
    nodes = []
    for name in NAMES:
        nodes += [
            node("Transpose", [f"{name}0"], f"{name}1", perm=[2, 1, 0]), node("Reshape", [f"{name}1", "flat"], f"{name}2"),
            node("Reshape", [f"{name}2", "square"], f"{name}3"), node("Transpose", [f"{name}3"], name, perm=[0, 2, 1]),
        ]  # fmt: skip
    held = squares(*(f"{name}0" for name in NAMES))
    return graph(layer(*nodes), {**held, "flat": np.array([-1]), "square": np.array([1, WIDTH, WIDTH])})


def multiplied() -> onnx.ModelProto:
    """Weights that are scaled by a number again and again."""
    nodes = [node("Mul", [f"{name}{k}", "half"], f"{name}{k + 1}") for name in NAMES for k in range(4)]
    nodes += [node("Identity", [f"{name}4"], name) for name in NAMES]
    held = squares(*(f"{name}0" for name in NAMES))
    return graph(layer(*nodes), {**held, "half": np.array(0.5, np.float32)})


SOUND = [joined, widened, widened_at_once, rearranged, multiplied]


def peak(made: onnx.ModelProto) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        rb.from_onnx(made)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", SOUND)
def test_a_sound_file_takes_twice_its_size_with_all_that_it_computes(make: Callable[[], onnx.ModelProto]) -> None:
    made = make()
    computed = 4 * SQUARE if make is joined else 2 * SQUARE
    assert peak(made) <= 2.2 * computed + made.ByteSize() % SQUARE


@pytest.mark.parametrize("kind", ["Concat", "Mul", "Expand", "Tile", "Cast", "Gather"])
def test_what_a_large_file_computes_again_and_again(kind: str) -> None:
    """Half of such results is more than the file and 32 MiB."""
    held = {
        **squares(*NAMES), "half": np.array(0.5, np.float32), "two": np.array([2, 1, 1]), "order": np.arange(WIDTH)[::-1],
    }  # fmt: skip
    make: dict[str, Callable[[str, str], onnx.NodeProto]] = {
        "Concat": lambda x, y: node("Concat", [x, "W"], y, axis=0),
        "Mul": lambda x, y: node("Mul", ["W", "half"], y),
        "Expand": lambda x, y: node("Expand", ["W", "two"], y),
        "Tile": lambda x, y: node("Tile", ["W", "two"], y),
        "Cast": lambda x, y: node("Cast", ["W"], y, to=11),
        "Gather": lambda x, y: node("Gather", ["W", "order"], y, axis=1),
    }
    nodes = [make[kind]("W" if not k else f"c{k}", f"c{k + 1}") for k in range(24)]
    last = [node("Identity", [f"c{k}"], f"kept{k}") for k in range(1, 25)]
    made = graph(layer(*nodes, *last), held)
    tracemalloc.start()
    try:
        with pytest.raises(rb.FormatError, match=r"would take [0-9]+ bytes beside [0-9]+, more than the [0-9.]+ that"):
            rb.from_onnx(made)
        assert tracemalloc.get_traced_memory()[1] <= 2 * made.ByteSize() + 2**26
    finally:
        tracemalloc.stop()


def test_constants_that_are_gone_are_not_counted() -> None:
    kept = Kept(Account(0))
    arrays = [kept.hold(np.zeros(2**k)) for k in range(5, 15)]
    assert kept.nbytes == sum(array.nbytes for array in arrays)
    views = [kept.hold(array[1:]) for array in arrays]
    assert kept.nbytes == sum(array.nbytes for array in arrays)
    del arrays
    gc.collect()
    assert kept.nbytes > 8 * 2**14
    del views
    gc.collect()
    assert kept.nbytes == 8 * sum(2**k for k in range(5, 9))  # of those too small to be watched
    with pytest.raises(
        rb.FormatError, match=r"it would take 33554432 bytes beside 3840, more than the 33554432 that a fi"
    ):
        kept.take("it", 2**25)
