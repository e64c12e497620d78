"""The compiled module of the CPU kernels: what it must refuse, and what it may not keep."""

import sys
import sysconfig
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
import pytest
from cpu_walks import COMPILED

from rnn_backends.backends.cpu_kernels import choice
from rnn_backends.core.arrays import Host

built = pytest.mark.skipif(not COMPILED, reason="no kernel was built")

Arguments = dict[str, Any]


def for_prepared(dtype: str = "float32", size: int = 5, inputs: int = 4, **changed: Any) -> Any:
    """Make what a walk takes of a cell, straight by the compiled module."""
    given: Arguments = {
        "kernel": COMPILED[0], "weight_ih": np.ones((size, inputs), dtype), "weight_hh": np.ones((size, size), dtype),
        "bias": np.ones(size, dtype), "activation": "tanh", "alpha": 0.0, "beta": 0.0, "clip": inf, "leak": 1.0,
        "leaks": None,
    }  # fmt: skip
    module: Any = choice.compiled()
    return module.Prepared(**given | changed)


def entries(**changed: Any) -> tuple[Any, ...]:
    """Return the entries of a sparse matrix, as a cell takes them, some of their arrays others."""
    good = {
        "values": np.ones(3, np.float32), "columns": np.array([0, 4, 2]), "starts": np.array([0, 1, 1, 2, 2, 3])
    }  # fmt: skip
    return tuple((good | changed).values())


WRONG_CELLS: dict[str, tuple[str, Any]] = {
    "an unknown kernel": ("kernel", "sse9"),
    "no text": ("kernel", None),
    "an unknown activation": ("activation", "softmax"),
    "an integer": ("weight_ih", 3),
    "a list": ("weight_hh", [[1.0]]),
    "one axis": ("weight_ih", np.ones(5, np.float32)),
    "half precision": ("weight_ih", np.ones((5, 4), np.float16)),
    "integers": ("weight_ih", np.ones((5, 4), np.int32)),
    "not square": ("weight_hh", np.ones((5, 4), np.float32)),
    "another size": ("weight_hh", np.ones((4, 4), np.float32)),
    "another type": ("weight_hh", np.ones((5, 5))),
    "columns": ("weight_hh", np.ones((5, 10), np.float32)[:, ::2]),
    "transposed": ("weight_ih", np.ones((4, 5), np.float32).T),
    "unaligned": ("weight_ih", np.zeros(81, np.uint8)[1:].view(np.float32).reshape(5, 4)),
    "other bytes": ("weight_ih", np.ones((5, 4), np.dtype(np.float32).newbyteorder())),
    "a short bias": ("bias", np.ones(4, np.float32)),
    "a bias of double": ("bias", np.ones(5)),
    "one leak": ("leaks", np.ones(1, np.float32)),
    "a number for leaks": ("leaks", 0.5),
    "text for a number": ("alpha", "0.5"),
    "two parts": ("weight_hh", (np.ones(3, np.float32), np.array([0, 4, 2]))),
    "four parts": ("weight_hh", (*entries(), None)),
    "entries in a list": ("weight_hh", [*entries()]),
    "no values": ("weight_hh", entries(values=None)),
    "values of double": ("weight_hh", entries(values=np.ones(3))),
    "values with gaps": ("weight_hh", entries(values=np.ones(6, np.float32)[::2])),
    "values in two axes": ("weight_hh", entries(values=np.ones((3, 1), np.float32))),
    "more values than columns": ("weight_hh", entries(values=np.ones(4, np.float32))),
    "columns of int32": ("weight_hh", entries(columns=np.array([0, 4, 2], np.int32))),
    "columns that are not whole": ("weight_hh", entries(columns=np.array([0.0, 4.0, 2.0]))),
    "a column after the last": ("weight_hh", entries(columns=np.array([0, 5, 2]))),
    "a column before the first": ("weight_hh", entries(columns=np.array([0, -1, 2]))),
    "a column that 32 bits make another": ("weight_hh", entries(columns=np.array([0, 2**32, 2]))),
    "starts of int32": ("weight_hh", entries(starts=np.array([0, 1, 1, 2, 2, 3], np.int32))),
    "fewer starts": ("weight_hh", entries(starts=np.array([0, 1, 1, 2, 3]))),
    "starts after the first entry": ("weight_hh", entries(starts=np.array([1, 1, 1, 2, 2, 3]))),
    "starts before the first entry": ("weight_hh", entries(starts=np.array([-1, 1, 1, 2, 2, 3]))),
    "starts that fall": ("weight_hh", entries(starts=np.array([0, 2, 1, 2, 2, 3]))),
    "starts after the last entry": ("weight_hh", entries(starts=np.array([0, 1, 1, 9, 2, 3]))),
    "an end before the last entry": ("weight_hh", entries(starts=np.array([0, 1, 1, 2, 2, 2]))),
    "an end after the last entry": ("weight_hh", entries(starts=np.array([0, 1, 1, 2, 2, 4]))),
}


@built
@pytest.mark.parametrize("name", WRONG_CELLS)
def test_a_cell_that_is_refused(name: str) -> None:
    argument, value = WRONG_CELLS[name]
    for_prepared(weight_hh=entries())
    with pytest.raises((TypeError, ValueError, BufferError)):
        for_prepared(**{argument: value})


def for_walk(count: int = 1, dtype: str = "float32") -> Arguments:
    """Return good arguments of `walk`, by name; the last four of each direction are numbered."""
    good: Arguments = {
        "x": np.ones((3, 2, 4), dtype), "output": np.empty((3, 2, 5 * count), dtype), "order": np.array([1, 0]),
        "lengths": np.array([3, 1]), "threads": 1,
    }  # fmt: skip
    for n in range(count):
        good |= {
            f"cell{n}": for_prepared(dtype),
            f"h_0{n}": np.zeros((2, 5), dtype),
            f"last{n}": np.empty((2, 5), dtype),
        }
        good[f"reverse{n}"] = n == 1
    return good


def walk(arguments: Arguments) -> None:
    module: Any = choice.compiled()
    module.walk(*arguments.values())


def read_only() -> Host:
    found = np.empty((3, 2, 5), np.float32)
    found.flags.writeable = False
    return found


WRONG_WALKS: dict[str, tuple[str, Any]] = {
    "x of double": ("x", np.ones((3, 2, 4))),
    "x of other bytes": ("x", np.ones((3, 2, 4), np.dtype(np.float32).newbyteorder())),
    "x with gaps": ("x", np.ones((3, 2, 8), np.float32)[:, :, ::2]),
    "x backwards": ("x", np.ones((3, 2, 4), np.float32)[:, :, ::-1]),
    "fewer steps": ("x", np.ones((2, 2, 4), np.float32)),
    "fewer sequences": ("x", np.ones((3, 1, 4), np.float32)),
    "fewer features": ("x", np.ones((3, 2, 3), np.float32)),
    "one axis": ("x", np.ones(3, np.float32)),
    "four axes": ("x", np.ones((3, 2, 4, 1), np.float32)),
    "features for ids": ("x", np.ones((3, 2), np.float32)),
    "small ids": ("x", np.ones((3, 2), np.int16)),
    "no array": ("x", None),
    "a read-only output": ("output", None),
    "a narrow output": ("output", np.empty((3, 2, 4), np.float32)),
    "a wide output": ("output", np.empty((3, 2, 6), np.float32)),
    "an output with gaps": ("output", np.empty((3, 2, 10), np.float32)[:, :, ::2]),
    "an output of double": ("output", np.empty((3, 2, 5))),
    "a text": ("output", "output"),
    "a short order": ("order", np.array([0])),
    "an order of int32": ("order", np.array([1, 0], np.int32)),
    "an order with gaps": ("order", np.array([1, 1, 0, 0])[::2]),
    "no such sequence": ("order", np.array([2, 0])),
    "a sequence before the first": ("order", np.array([1, -1])),
    "order alone": ("lengths", None),
    "the shortest first": ("lengths", np.array([1, 3])),
    "too long": ("lengths", np.array([4, 1])),
    "a negative length": ("lengths", np.array([3, -1])),
    "too many lengths": ("lengths", np.array([3, 1, 0])),
    "no thread": ("threads", 0),
    "threads below none": ("threads", -3),
    "more threads than an int": ("threads", 2**32 + 1),
    "more threads than a long": ("threads", 2**70),
    "threads in words": ("threads", "two"),
    "no cell": ("cell0", None),
    "another cell": ("cell0", "a wider one"),
    "a cell of other inputs": ("cell0", "other inputs"),
    "a cell of double": ("cell0", "double"),
    "h_0 of one sequence": ("h_00", np.zeros((1, 5), np.float32)),
    "h_0 of double": ("h_00", np.zeros((2, 5))),
    "h_0 transposed": ("h_00", np.zeros((5, 2), np.float32).T),
    "last of another size": ("last0", np.zeros((2, 4), np.float32)),
    "no last": ("last0", None),
}
CELLS: dict[str, Arguments] = {
    "a wider one": {"size": 6},
    "other inputs": {"inputs": 3},
    "double": {"dtype": "float64"},
}


def wrong_walk(name: str) -> Arguments:
    argument, value = WRONG_WALKS[name]
    if isinstance(value, str) and value in CELLS:
        value = for_prepared(**CELLS[value])
    return for_walk() | {argument: read_only() if name == "a read-only output" else value}


@built
@pytest.mark.parametrize("name", WRONG_WALKS)
def test_a_walk_that_is_refused(name: str) -> None:
    walk(for_walk())
    with pytest.raises((TypeError, ValueError, BufferError, OverflowError)):
        walk(wrong_walk(name))


@built
def test_cells_that_do_not_fit_each_other() -> None:
    walk(for_walk(2))
    for changed in ({"size": 6}, {"inputs": 3}, {"dtype": "float64"}, {"kernel": COMPILED[-1]}):
        both = for_walk(2) | {"cell1": for_prepared(**changed)}
        if changed != {"kernel": COMPILED[0]}:
            with pytest.raises(
                (BufferError, ValueError), match=r"`last` has another|the cells of a layer must fit each other"
            ):
                walk(both)
    ids = for_walk() | {"x": np.zeros((3, 2), np.int64), "cell0": for_prepared(inputs=0)}
    with pytest.raises(ValueError, match="the cells of a layer must fit"):
        walk(ids)


@built
@pytest.mark.parametrize("count", [0, 4, 8, 10, 12, 17])
def test_a_wrong_number_of_arguments(count: int) -> None:
    module: Any = choice.compiled()
    given = [*for_walk(2).values()] * 2
    with pytest.raises(TypeError, match="walk takes x, output, order, lengths, threads and one or two cells"):
        module.walk(*given[:count])


@built
def test_ids_out_of_range_touch_no_memory() -> None:
    """Who calls the kernel checks them; whatever they are, nothing but a row of the weights is read."""
    weight = np.arange(20, dtype=np.float32).reshape(5, 4) / 20
    cell = for_prepared(weight_ih=weight, weight_hh=np.zeros((5, 5), np.float32), bias=None, activation="identity")
    for dtype, low, high in (("int32", -(2**31), 2**31 - 1), ("int64", -(2**63), 2**63 - 1)):
        good = for_walk() | {
            "x": np.array([[low, 3], [1, 4], [high, 0]], dtype),
            "cell0": cell,
            "lengths": np.array([3, 3]),
        }
        walk(good)
        np.testing.assert_array_equal(good["output"], weight.T[[[0, 3], [1, 3], [3, 0]]])


@built
def test_no_call_keeps_a_reference() -> None:
    good, prepared = for_walk(2), [np.ones((5, 4), np.float32), np.ones((5, 5), np.float32), np.ones(5, np.float32)]
    sparse = entries()
    prepared += sparse
    wrong = [wrong_walk(name) for name in WRONG_WALKS]
    held = [*good.values(), *prepared, *(value for each in wrong for value in each.values() if value is not None)]
    held = [value for value in held if isinstance(value, np.ndarray | type(good["cell0"]))]
    before = [sys.getrefcount(value) for value in held]
    kind = type(good["cell0"])
    types = sys.getrefcount(kind)
    for turn in range(1000):
        walk(good)
        cell = for_prepared(weight_ih=prepared[0], weight_hh=prepared[1], bias=prepared[2], leaks=prepared[2])
        cell = for_prepared(weight_ih=prepared[0], weight_hh=sparse)
        del cell
        with pytest.raises((TypeError, ValueError, BufferError, OverflowError)):
            walk(wrong[turn % len(wrong)])
        with pytest.raises(BufferError, match="`weight_hh` has another"):
            for_prepared(weight_ih=prepared[0], weight_hh=prepared[0])
        with pytest.raises(ValueError, match="must name the entries of rows"):
            for_prepared(weight_ih=prepared[0], weight_hh=(*sparse[:2], sparse[2][::-1].copy()))
    assert [sys.getrefcount(value) for value in held] == before
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):  # where threads count references to a type on their own
        assert sys.getrefcount(kind) == types
    for array in (good["output"], prepared[0]):
        array.resize(array.shape, refcheck=False)  # which a buffer that is still held would not let


@built
def test_memory_is_given_back() -> None:
    """A thousand cells of a MiB, made one after the other, and refused ones, would not fit into what is let grow."""
    resource = pytest.importorskip("resource")
    weight = np.zeros((512, 512), np.float32)

    def peak() -> int:
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    entries = np.zeros(1 << 18, np.float32), np.zeros(1 << 18, np.int64), np.arange(513) << 9

    def make() -> None:
        for_prepared(weight_ih=weight, weight_hh=weight, bias=None)
        for_prepared(weight_ih=weight, weight_hh=entries, bias=None)

    make()
    start = [peak()]
    for _ in range(2):
        for _ in range(60):
            make()
        start.append(peak())
    grown = [later - earlier for earlier, later in pairwise(start)]
    assert grown[-1] < 60 * 1024 * (1 if sys.platform != "darwin" else 1024)
