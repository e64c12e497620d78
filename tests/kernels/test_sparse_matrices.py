"""Sparse matrices of cupyx on the stand-in: they stay on their device by their entries; needs --kernels."""

from typing import Any

import cupyx_standin
import device_standin
import numpy as np
import pytest
import standin
from gpu_walks import arrays, launch

import rnn_backends as rb
from rnn_backends.core.layers import named_arrays
from rnn_backends.testing import excess, reference
from rnn_backends.testing.cases import Draw

pytestmark = pytest.mark.usefixtures("all_trusted")
NUMBERS = 200
"""More than the numbers that are read where a matrix is checked and arranged; its entries are far more."""


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list of the numbers that are read from the device, which is let happen; no array comes whole."""
    found: list[Any] = []

    def read_one(array: standin.Array) -> int:
        assert array.ndim == 0
        found.append(array.host)
        return int(array.host)

    monkeypatch.setattr(standin.Array, "__int__", read_one)
    monkeypatch.setattr(standin.Array, "get", None)
    return found


def host_cell(dtype: str = "float32", size: int = 60) -> Any:
    return Draw(dtype, 3).cell(4, size, density=0.3, leak=0.5)


def on_device(cell: Any, form: str) -> rb.Cell:
    """Return a cell of CuPy's arrays, and of a matrix of cupyx's in a format."""
    weight_ih, bias, *entries = arrays(cell.weight_ih, cell.bias, *cell.weight_hh.to_csr())
    matrix = getattr(cupyx_standin.csr_matrix(entries, cell.weight_hh.shape), f"to{form}")()
    return rb.Cell(weight_ih, matrix, bias, leak=cell.leak)


@pytest.mark.parametrize("form", cupyx_standin.FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("index", [0, 1])
def test_a_matrix_stays_where_it_is(
    form: str, dtype: str, index: int, read: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = host_cell(dtype)
    with device_standin.Device(index):
        held = on_device(cell, form)
    read.clear()
    if form == "csr":  # whatever device is the current one
        with device_standin.Device(index):
            weight_ih, bias, *entries = arrays(cell.weight_ih, cell.bias, *cell.weight_hh.to_csr())
        held = rb.Cell(weight_ih, cupyx_standin.csr_matrix(entries, cell.weight_hh.shape), bias, leak=cell.leak)
        assert 0 < len(read) < NUMBERS < cell.weight_hh.num_entries
    monkeypatch.undo()  # from now on no number is read
    assert isinstance(held.weight_hh, rb.Sparse)
    assert {array.device.id for _, array in named_arrays(held)} == {index}
    assert max(array.size for name, array in named_arrays(held) if "weight_hh" in name) < 60 * 60
    rnn = rb.RNN([held])
    assert (rnn.backend.name, rnn.device) == ("cupy", f"cuda:{index}")
    draw = Draw(dtype, 0)
    x, lengths = draw.normal(6, 3, 4), [6, 0, 4]
    with device_standin.Device(index):
        placed, ends = arrays(x, np.array(lengths))
        output, _ = rnn(placed, lengths=ends)
        assert isinstance(output, standin.Array)
        assert excess(output.get(), reference([cell], x, lengths=lengths, dtype=dtype)[0]) <= 1.0


def test_no_kernel_takes_it(read: list[Any]) -> None:
    held = on_device(host_cell(), "csr")
    draw = Draw("float32", 0)
    assert launch().recurrence(rb.Layer(held), *arrays(draw.normal(6, 3, 4)), arrays(*draw.states(3, 60)), None) is None
    assert not standin.RawKernel.launches
    assert read


def test_entries_that_are_none_of_a_matrix(read: list[Any]) -> None:
    cell = host_cell()
    values, columns, starts = cell.weight_hh.to_csr()
    columns = columns.copy()
    columns[7] = 60
    weight_ih, *entries = arrays(cell.weight_ih, values, columns, starts)
    with pytest.raises(rb.ArgumentError, match=r"0\.\.59"):
        rb.Cell(weight_ih, cupyx_standin.csr_matrix(entries, (60, 60)))
    assert read


def test_a_model_moves_to_the_host_and_back_by_its_entries(read: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cell = host_cell()
    rnn = rb.RNN([on_device(cell, "coo")])
    assert read
    monkeypatch.undo()
    moved: Any = rnn.to("numpy").layers[0].forward
    for found, wanted in zip(moved.weight_hh.to_csr(), cell.weight_hh.to_csr(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    again: Any = rnn.to("numpy").to("cupy:1")
    assert {array.device.id for _, array in named_arrays(again.layers)} == {1}
    assert again.num_parameters == rnn.num_parameters
