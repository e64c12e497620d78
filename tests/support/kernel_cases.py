"""Files of cases for `tests/cpu_kernels/driver.c`, which runs the kernels without Python: layers, inputs, right results."""

from collections.abc import Callable, Iterable, Iterator
from math import inf
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import is_array
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer
from rnn_backends.core.sparse import Sparse
from rnn_backends.testing import Bounded, reference
from rnn_backends.testing.cases import ACTIVATIONS, Case, Draw, cases
from rnn_backends.testing.reference import Precision, activated

EXACT: dict[str, Callable[[Any], Any]] = {"tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z))}
"""The activations that are right within 2 units of the last place; the bounds of the reference are for sums."""

DTYPES = ("float32", "float64")


class Problem(NamedTuple):
    """A case of one layer, how many threads to try besides a few, and its results where the reference's are not meant.

    The layer of a sparse one holds its recurrent weights with all their zeros.
    """

    name: str
    dtype: str
    case: Case
    threads: int = 0
    wanted: Bounded | None = None
    is_sparse: bool = False


def features(dtype: str) -> Iterator[Problem]:
    """Return the conformance tests' cases of one layer, and every activation with each way of ending a step."""
    for name, case in cases(dtype).items():
        cells = [type(cell) for layer in case.layers for cell, _ in layer.cells]
        if len(case.layers) == 1 and set(cells) == {Cell} and case.mask is None:
            yield Problem(name, dtype, case)
    draw = Draw(dtype, 1)
    for activation in ACTIVATIONS:
        ways: dict[str, dict[str, Any]] = {
            "alone": {},
            "clip": {"clip": 0.5},
            "leak": {"leak": 0.25},
            "clip, leak by unit": {"clip": 0.5, "leak": draw.rounded(draw.random.uniform(0.25, 1.0, 37))},
        }
        for name, options in ways.items():
            case = draw.case(shape=(4, 3, 3, 37), h_0=True, activation=activation, **options)
            case.x[1, 1, 1] = np.nan  # it stays in its sequence, and in each of its states from then on
            yield Problem(f"{activation.name}, {name}, NaN", dtype, case)
        yield elementwise(activation, dtype)


def elementwise(activation: Activation, dtype: str) -> Problem:
    """Return an activation of numbers of every magnitude: the inputs of a cell with a weight of 1."""
    kind, random = np.dtype(dtype), np.random.default_rng(2)
    powers = (
        2.0 ** random.uniform(-140 if dtype == "float32" else -1000, 7, (1, 500, 1))
        * random.choice([-1, 1], 500)[:, None]
    )
    near, edges = random.uniform(-20, 20, (1, 500, 1)), np.asarray([0.0, 1e30, -1e30, np.nan])[None, :, None]
    x = np.concatenate([powers, near, edges], axis=1).astype(kind)
    weights = np.ones((3, 1), kind), np.zeros((3, 3), kind)
    z = np.repeat(x.astype(np.float64), 3, axis=2)
    value, error = activated(activation, Bounded(z, np.zeros(z.shape)), Precision.of(dtype))
    if activation.name in EXACT:
        with np.errstate(over="ignore"):
            value = EXACT[activation.name](z.astype(np.longdouble)).astype(np.float64)
        error = 2.0 * np.maximum(np.spacing(abs(value).astype(kind)), np.finfo(kind).tiny)
    case = Case([Layer(Cell(*weights, None, activation))], x)
    return Problem(f"{activation.name}, elementwise", dtype, case, wanted=Bounded(value, error.astype(np.float64)))


def rows(dtype: str) -> Iterator[Problem]:
    """Return a problem for each number of rows, with sizes and features that vary with it."""
    draw = Draw(dtype, 3)
    for batch in range(1, 151):
        hidden_size, pick = 1 + batch * 29 % 83, draw.random.integers
        options: dict[str, Any] = {"h_0": bool(pick(2)), "tokens": bool(pick(4) == 0), "bias": bool(pick(2))}
        if pick(2):
            options["lengths"] = list(pick(0, 4, batch))
        if pick(3) == 0:
            options["clip"] = 0.5
        if pick(3) == 0:
            options["leak"] = draw.rounded(draw.random.uniform(0.25, 1.0, hidden_size))
        case = draw.case(
            shape=(3, batch, 1 + batch * 5 % 23, hidden_size),
            sides=("f", "b", "fb")[pick(3)],
            activation=ACTIVATIONS[pick(len(ACTIVATIONS))],
            **options,
        )
        yield Problem(f"{batch} rows", dtype, case)


def wide(dtype: str) -> Iterator[Problem]:
    """Return problems whose rows are copied side by side, or taken in stretches of columns, or both."""
    draw = Draw(dtype, 4)
    for shape in [(2, 30, 520, 260), (2, 5, 600, 40), (3, 1, 3, 530), (2, 29, 40, 270), (1, 145, 10, 264)]:
        yield Problem(f"wide {shape}", dtype, draw.case(shape=shape, h_0=True))


def large(dtype: str) -> Iterator[Problem]:
    """Return problems that are worth several threads: shared out by rows, by directions, or split by columns."""
    draw = Draw(dtype, 5)
    yield Problem("split", dtype, draw.case(shape=(140, 1, 3, 365), h_0=True, clip=0.75))
    yield Problem("split, two rows, reverse", dtype, draw.case(shape=(70, 2, 5, 370), sides="b", leak=0.5))
    yield Problem("split, tokens", dtype, draw.case(shape=(130, 1, 9, 371), tokens=True))
    yield Problem("shares", dtype, draw.case(shape=(40, 26, 64, 96), h_0=True))
    lengths = list(draw.random.integers(0, 61, 22))
    yield Problem("shares, ragged", dtype, draw.case(shape=(60, 22, 30, 112), sides="fb", h_0=True, lengths=lengths))


def many(dtype: str) -> Iterator[Problem]:
    """Return a problem for far more threads than there can be shares."""
    yield Problem("many shares", dtype, Draw(dtype, 6).case(shape=(4, 1100, 4, 64)), threads=1000)


def thinned(case: Case, random: Any, mean: float, full: bool = False) -> Case:
    """Leave so many recurrent weights a row in the mean, none in the second row, and all in one if it is to be full.

    The magnitudes of a row still add up to about 0.8.
    """
    for cell, _ in cast("list[tuple[Cell, bool]]", case.layers[0].cells):
        size = cell.hidden_size
        kept = random.random((size, size)) < random.uniform(0, 2 * mean, (size, 1)) / size
        kept[1:2] = False
        if full:
            kept[size // 2] = True
        cell.weight_hh[~kept] = 0
        cell.weight_hh[...] *= 0.8 / np.maximum(abs(cell.weight_hh).sum(axis=1, keepdims=True), 1e-6)
    return case


def sparse(dtype: str) -> Iterator[Problem]:
    """Return problems of sparse recurrent weights: rows alone and abreast, several windows, long rows, halves, shares."""
    draw, turn = Draw(dtype, 7), 0
    for hidden_size in (1, 7, 31, 33, 130):
        for batch in (1, 3, 4, 9, 17, 33):
            turn += 1
            options: dict[str, Any] = {"h_0": True, "activation": ACTIVATIONS[turn % len(ACTIVATIONS)]}
            options |= {"tokens": turn % 3 == 0, "clip": 0.75 if turn % 4 == 0 else None}
            if turn % 2:
                options["lengths"] = list(draw.random.integers(0, 4, batch))
            if turn % 5 == 0:
                options["leak"] = draw.rounded(draw.random.uniform(0.25, 1.0, hidden_size))
            case = draw.case(shape=(3, batch, 3, hidden_size), sides=("f", "b", "fb")[turn % 3], **options)
            full = turn % 2 == 0
            yield Problem(f"sparse {turn}", dtype, thinned(case, draw.random, 5, full), is_sparse=True)
    for name, shape, mean, options in (
        ("windows", (2, 1, 2, 1100), 9, {}),
        ("windows, abreast", (2, 20, 2, 600), 9, {"sides": "b"}),
        ("no entry", (2, 5, 2, 50), 0, {}),
        ("many entries", (2, 5, 2, 150), 60, {}),
        ("halves", (400, 1, 2, 700), 60, {"leak": 0.5}),
        ("halves, reverse, abreast", (90, 4, 2, 700), 60, {"sides": "b"}),
        ("shares", (20, 70, 2, 300), 50, {}),
    ):
        case = draw.case(shape=shape, h_0=True, **cast("dict[str, Any]", options))
        yield Problem(f"sparse, {name}", dtype, thinned(case, draw.random, mean, mean > 0), is_sparse=True)


SETS = {part.__name__: part for part in (features, rows, wide, large, many, sparse)}


def problems(*names: str) -> Iterator[Problem]:
    """Return some sets of cases of both dtypes."""
    for name in names:
        for dtype in DTYPES:
            yield from SETS[name](dtype)


def write(path: Path, made: Iterable[Problem]) -> int:
    """Write problems to a file, as `cases.h` reads it; return their number."""
    count = 0
    with path.open("wb") as file:
        for count, problem in enumerate(made, 1):
            write_problem(file, problem, np.int64 if count % 2 else np.int32)
    return count


def write_problem(file: BinaryIO, problem: Problem, id_type: Any) -> None:
    """Write a problem; sequences come in the order of their lengths, as the backend hands them to a kernel."""
    name, dtype, (layers, x, h_0, lengths, _), threads, wanted, is_sparse = problem
    ((layer,), (seq_len, batch)) = layers, x.shape[:2]
    is_ids, cells = x.dtype.kind in "iu", cast("list[tuple[Cell, bool]]", layer.cells)
    x = x.astype(id_type if is_ids else dtype)
    sizes = [dtype == "float64", seq_len, batch, cells[0][0].input_size, x.itemsize if is_ids else 0, threads]
    write_array(file, np.frombuffer(f"{name}, {dtype}".encode() + b"\0", np.uint8))
    file.write(np.asarray([*sizes, len(cells)], np.int64).tobytes())
    order = None if lengths is None else np.argsort(-np.asarray(lengths), kind="stable")
    for array in (x, order, None if order is None else np.asarray(lengths)[order]):
        write_array(file, array if array is None or array is x else array.astype(np.int64))
    for n, (cell, reverse) in enumerate(cells):
        state = None if h_0 is None else np.asarray(h_0[n], dtype)
        alone = Layer(None, cell) if reverse else Layer(cell)
        output, last = reference([alone], x, None if state is None else [state], lengths, dtype=dtype)
        if wanted is not None:
            output, last = wanted, Bounded(wanted.value[-1], wanted.error[-1])
        entries = entries_of(cell.weight_hh, is_sparse)
        write_direction(file, cell, reverse, state, [*output, *last], entries)


def entries_of(weight: Any, is_thinned: bool) -> tuple[Any, Any, Any]:
    """Return the values, columns and starts of the rows of a sparse matrix; of a dense one all values and twice None."""
    if isinstance(weight, Sparse):
        values, columns, starts = weight.to_csr()
        return values, columns.astype(np.int64), starts.astype(np.int64)
    if not is_thinned:
        return weight, None, None
    rows, columns = np.nonzero(weight)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(weight)))])
    return weight[rows, columns], columns.astype(np.int64), starts.astype(np.int64)


def write_direction(
    file: BinaryIO, cell: Any, reverse: bool, state: Any, results: list[Any], entries: tuple[Any, Any, Any]
) -> None:
    activation, by_unit = cell.activation, is_array(cell.leak)
    numbers = [
        activation.alpha or 0.0,
        activation.beta or 0.0,
        inf if cell.clip is None else cell.clip,
        1.0 if cell.leak is None or by_unit else cell.leak,
    ]
    file.write(np.asarray([cell.hidden_size, reverse], np.int64).tobytes())
    file.write(np.asarray(numbers, np.float64).tobytes())
    write_array(file, np.frombuffer(activation.name.encode() + b"\0", np.uint8))
    values, columns, starts = entries
    leaks = cell.leak if by_unit else None
    for array in (cell.weight_ih, values, cell.bias, leaks, state, columns, starts, *results):
        write_array(file, array)


def write_array(file: BinaryIO, array: Any) -> None:
    if array is None:
        file.write(np.int64(-1).tobytes())
        return
    file.write(np.int64(array.nbytes).tobytes())
    file.write(np.ascontiguousarray(array).tobytes())
