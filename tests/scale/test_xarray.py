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
    with pytest.raises(rb.ShapeError, match="the axis 'day' of `x` must be of input_size = 3; it is of 6"):
        over.predict(rnn, x, time="variable", feature="day")
    pytest.importorskip("dask")
    for axis in ("day", "variable"):
        with pytest.raises(rb.ShapeError, match=rf"the axis '{axis}' of `x` must be in one block; it is in [23]"):
            over.predict(rnn, x.chunk({axis: 2}), time="day", feature="variable")


BOTH = {"time": "day", "feature": "variable"}
REFUSED: list[tuple[str, Any, dict[str, Any], type[Exception], str]] = [
    ("", array(), {"time": "day"}, rb.ArgumentError, "give `feature`, the name of the axis of features, as `x` holds float64; token ids"),
    ("", array().astype(int), BOTH, rb.ArgumentError, "integers of `x` are token ids, .* out, or convert integers that are features to floating"),
    ("", array()[:, :, :2], BOTH, rb.ShapeError, "the axis 'variable' of `x` must be of input_size = 3; it is of 2"),
    ("", array() > 0, BOTH, rb.DTypeError, "`x` must hold real numbers; got a DataArray of dtype bool"),
    ("tokens", array().astype(int), BOTH, rb.ArgumentError, "no axis of features; leave `feature` out.$"),
    ("tokens", array(), {"time": "day"}, rb.DTypeError, "`x` must hold token ids, integers, which this model takes; got float64"),
    ("features", array().astype(int), {"time": "day"}, rb.ArgumentError, "axis of features, as `x` holds int64.$"),
]  # fmt: skip


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("takes", "x", "words", "error", "message"), REFUSED)
def test_steps_that_are_refused_before_anything_is_computed(
    takes: str, x: Any, words: dict[str, str], error: type[Exception], message: str, lazy: bool
) -> None:
    drawn = model()
    rnn = rb.RNN(drawn.layers, drawn.readout, takes=takes or None)
    if lazy:
        pytest.importorskip("dask")
    with pytest.raises(error, match=message):
        over.predict(rnn, x.chunk({"place": 2}) if lazy else x, **words)


def test_integers_that_are_features() -> None:
    drawn, x = model(), (10 * array()).astype(int)
    rnn = rb.RNN(drawn.layers, drawn.readout, takes="features")
    found = over.predict(rnn, x, **BOTH).sel(place="B", kind=7)
    np.testing.assert_array_equal(found, rnn.predict(x.sel(place="B", kind=7).values))


@pytest.mark.parametrize("lazy", [False, True])
def test_lengths_that_are_refused_before_anything_is_computed(lazy: bool) -> None:
    x = array().isel(kind=0)
    if lazy:
        pytest.importorskip("dask")
        x = x.chunk({"place": 2})
    lengths = xr.DataArray([1, 2, 3, 6], dims="place", coords={"place": list("ABCD")})
    other = xr.DataArray([1, 2, 3, 4, 5], dims="place", coords={"place": list("DCBAE")})
    refused: list[tuple[Any, type[Exception], str]] = [
        (lengths / 2, rb.DTypeError, "`lengths` must be integers; got float64"),
        (lengths + 1, rb.ArgumentError, r"every length in `lengths` must be in 0..6; got 7 at \[3\]"),
        (lengths[:3], rb.ShapeError, "one for each sequence; it has 3 along the axis 'place', where `x` has 4"),
        (other[:4], rb.ArgumentError, r"the coordinates of `x`; call x, lengths = xarray.align\(x, lengths\) first"),
    ]
    for given, error, message in refused:
        with pytest.raises(error, match=message):
            over.predict(model(), x, lengths=given, **BOTH)
    one, aligned = xr.align(x, other[:4])
    found = over.last(model(), one, lengths=aligned, **BOTH).sel(place="D")
    wanted = model().last(array().sel(place="D").isel(kind=0).values[:1])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lazy", [False, True])
def test_noise_is_refused(lazy: bool) -> None:
    if lazy:
        pytest.importorskip("dask")
    noisy = rb.RNN(model().layers, model().readout, noise=rb.Noise(0.1))
    with pytest.raises(rb.ArgumentError, match=r"predict makes batches of its own here, .* take a model without noise"):
        over.predict(noisy, array().chunk({"place": 2}) if lazy else array(), **BOTH)


def test_without_xarray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"rnn_backends.xarray needs xarray, .*: pip install 'rnn-backends\[xarray\]'"
    ):
        over.predict(model(), None, time="day")
