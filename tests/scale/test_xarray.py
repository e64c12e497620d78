"""Models over the arrays of xarray: axes by their names, coordinates kept."""

import sys
from itertools import permutations
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends import xarray as over
from rnn_backends.core.network import READS

xr = pytest.importorskip("xarray")
METHODS = ("predict", "probabilities", "last")
AXES = ("place", "day", "variable", "kind")


def array() -> Any:
    values = np.random.default_rng(0).standard_normal((4, 6, 3, 2))
    coords = {"place": list("ABCD"), "day": np.arange(6) * 10, "kind": [7, 8]}
    return xr.DataArray(values, dims=AXES, coords=coords, name="heat")


def model(reads: str = "steps", batch_first: bool = False, sides: bool = True) -> rb.RNN:
    drawn = rb.RNN.init(3, 4, bidirectional=sides, output_size=5)
    return rb.RNN(drawn.layers, drawn.readout, reads=reads, batch_first=batch_first)


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lazy", [False, True])
def test_every_place_has_what_its_sequence_gives(reads: str, batch_first: bool, lazy: bool) -> None:
    if lazy:
        pytest.importorskip("dask")
    rnn, lengths = model(reads, batch_first), xr.DataArray([[6, 0], [1, 2], [3, 4], [5, 6]], dims=("place", "kind"))
    for axes in list(permutations(AXES))[::5]:
        x = array().transpose(*axes)
        held = x.chunk({"place": 3, "kind": 1}) if lazy else x
        for method in METHODS:
            found = getattr(over, method)(rnn, held, time="day", feature="variable", lengths=lengths)
            assert (found.chunks is not None) == lazy
            assert found.dtype == (np.int64 if method == "predict" else np.float32)
            computed = found.compute(scheduler="sync") if lazy else found
            is_steps = reads == "steps" and method != "last"
            assert set(found.dims) == {"place", "kind"} | ({"day"} if is_steps else set()) | (
                set() if method == "predict" else {"output"}
            )
            assert found.name == "heat"
            assert found.place.values.tolist() == list("ABCD")
            assert "variable" not in found.coords
            if is_steps:
                assert found.day.values.tolist() == [0, 10, 20, 30, 40, 50]
            for place, kind in [("A", 7), ("A", 8), ("B", 7), ("D", 8)]:
                one = x.sel(place=place, kind=kind).transpose("day", "variable").values
                length = int(lengths[list("ABCD").index(place), [7, 8].index(kind)])
                result = computed.sel(place=place, kind=kind).values
                wanted = getattr(rnn, method)(one[:length])
                np.testing.assert_allclose(result[:length] if is_steps else result, wanted, rtol=1e-5, atol=1e-6)


def test_token_ids_and_a_single_sequence() -> None:
    rnn = model("last")
    ids = xr.DataArray([[0, 1, 2], [2, 2, 0]], dims=("word", "letter"))
    np.testing.assert_array_equal(over.predict(rnn, ids, time="letter"), rnn.predict(ids.values.T))
    assert over.predict(rnn, ids[0], time="letter").item() == rnn.predict(ids.values[0])


def test_what_is_refused() -> None:
    rnn, x = model(), array()
    with pytest.raises(
        rb.ArgumentError,
        match="`time` and `feature` must be axes of `x`, which are 'place', 'day', 'variable', 'kind'; got 'hour'",
    ):
        over.predict(rnn, x, time="hour", feature="variable")
    with pytest.raises(rb.ArgumentError, match="`time` and `feature` must be axes"):
        over.predict(rnn, x, time="day", feature="day")
    with pytest.raises(rb.DTypeError, match=r"`x` must be an xarray.DataArray; got ndarray of shape"):
        over.predict(rnn, x.values, time="day")
    with pytest.raises(
        rb.ShapeError, match="`lengths` must have the axes of `x` but 'day', 'variable'; it has 'place'"
    ):
        over.predict(rnn, x, time="day", feature="variable", lengths=xr.DataArray([1] * 4, dims="place"))
    with pytest.raises(rb.ArgumentError, match="the axis 'output' is that of the results"):
        over.last(rnn, x.rename(kind="output"), time="day", feature="variable")
    with pytest.raises(rb.ShapeError, match="the last axis of `x` must be input_size = 3"):
        over.predict(rnn, x, time="variable", feature="day")
    pytest.importorskip("dask")
    for axis in ("day", "variable"):
        with pytest.raises(rb.ShapeError, match=rf"the axis '{axis}' of `x` must be in one block; it is in [23]"):
            over.predict(rnn, x.chunk({axis: 2}), time="day", feature="variable")


def test_without_xarray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"rnn_backends.xarray needs xarray, .*: pip install 'rnn-backends\[xarray\]'"
    ):
        over.predict(model(), None, time="day")
