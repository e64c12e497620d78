"""The way to a device and back."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import array_api_strict
import numpy as np
import pytest
from places import STRICT, host_arrays, refused

import rnn_backends as rb
from rnn_backends.backends.selection import parse
from rnn_backends.backends.transfer import receive
from rnn_backends.core.layers import named_arrays

pytestmark = pytest.mark.usefixtures("fresh_registry")


def dtypes(library: str) -> tuple[str, ...]:
    return tuple(rb.get_backend(library).dtypes())


def test_host_data_is_moved_and_converted(library: str) -> None:
    place = parse(library, "x")
    host = np.array([[1.5, -2.0, 0.25], [4.0, 0.0, 8.5]])
    for dtype in dtypes(library):
        for data in (host, host.tolist(), host.astype(np.float16), host.astype(np.float32), tuple(host)):
            array = receive("x", data, place, dtype)
            assert place.backend.owns(array)
            assert place.backend.device_of(array) == place.device
            assert array.dtype == place.backend.dtype(dtype)
            np.testing.assert_array_equal(rb.to_numpy(array), host)


def test_host_integers_become_int32(library: str) -> None:
    place = parse(library, "x")
    for data in ([3, 0, 2], (3, 0, 2), *(np.array([3, 0, 2], dtype) for dtype in ("i8", "i2", "u1", ">i4"))):
        array = receive("x", data, place, "float32")
        assert array.dtype == place.backend.xp.int32
        assert rb.to_numpy(array).dtype == np.int32
        np.testing.assert_array_equal(rb.to_numpy(array), [3, 0, 2])


LAYOUTS: dict[str, Any] = {
    "reversed": np.arange(6.0, dtype=np.float32).reshape(2, 3)[::-1, ::-1],
    "reversed float64": np.arange(6.0).reshape(2, 3)[::-1, ::-1],
    "reversed, of length 1": np.arange(3.0, dtype=np.float32)[None, ::-1].copy()[::-1],
    "unaligned": np.zeros(25, np.uint8)[1:].view(np.float32).reshape(2, 3),
    "Fortran": np.asfortranarray(np.arange(6.0, dtype=np.float32).reshape(2, 3)),
    "strided": np.arange(12.0, dtype=np.float32).reshape(4, 3)[::2],
    "big-endian": np.arange(6.0).reshape(2, 3).astype(">f4"),
    "long double": np.arange(6.0).reshape(2, 3).astype(np.longdouble),
    "empty": np.zeros((0, 3), np.float32),
    "without axes": np.array(0.5, np.float32),
    "scalar": np.float64(0.5),
    "broadcast": np.broadcast_to(np.float32(0.5), (2, 3)),
}


@pytest.mark.parametrize("host", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_of_host_data_moves(library: str, host: Any) -> None:
    array = receive("x", host, parse(library, "x"), "float32")
    assert tuple(array.shape) == host.shape
    np.testing.assert_array_equal(rb.to_numpy(array), host)


def test_read_only_host_data_moves_without_a_warning(library: str) -> None:
    host = np.arange(3, dtype=np.float32)
    host.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array = receive("x", host, parse(library, "x"), "float32")
    np.testing.assert_array_equal(rb.to_numpy(array), host)


def shareable(dtype: str) -> Any:
    """Return an array as libraries like it best: large, and aligned to the lines of the cache."""
    size = 64 * 64 * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(64, 64)


def test_no_device_array_shares_memory_with_the_host(away: str) -> None:
    for dtype in {"float32", "float64"} & set(dtypes(away)):
        host = shareable(dtype)
        host[...] = 1.0
        array = receive("x", host, parse(away, "x"), dtype)
        host[...] = 7.0
        first = rb.to_numpy(array)
        assert first.dtype == dtype
        np.testing.assert_array_equal(first, 1.0)
        if first.flags.writeable:
            first[...] = 5.0
        np.testing.assert_array_equal(rb.to_numpy(array), 1.0)


def test_a_model_shares_no_memory_with_what_it_was_made_of(away: str) -> None:
    arrays = host_arrays()
    with rb.use_backend(away):
        model = rb.RNN([rb.Cell(*arrays)])
    back = model.to("numpy")
    for array in arrays:
        array[...] = 7.0
    for _, array in named_arrays(back.layers):
        if array.flags.writeable:
            array[...] = 5.0
    for (_, array), wanted in zip(named_arrays(model.layers), host_arrays(), strict=True):
        np.testing.assert_array_equal(rb.to_numpy(array), wanted)


def test_device_arrays_are_used_as_they_are(away: str) -> None:
    place = parse(away, "x")
    for dtype in (*dtypes(away), "int32"):
        array = place.backend.from_host(np.ones((2, 3), np.float32), dtype, place.device)
        assert receive("x", array, place, "float32") is array


def test_to_numpy_is_exact(library: str) -> None:
    place = parse(library, "x")
    host = np.array([1.0, -0.0, np.inf, 2.0**-14, 65280.0, np.nan])
    for dtype in dtypes(library):
        back = rb.to_numpy(place.backend.from_host(host, dtype, place.device))
        assert type(back) is np.ndarray
        assert back.dtype == ("float32" if dtype == "bfloat16" else dtype)
        np.testing.assert_array_equal(back, host)
        assert np.signbit(back[1])
    back = rb.to_numpy(place.backend.from_host(np.array([[2**31 - 1], [-(2**31)]]), "int32", place.device))
    np.testing.assert_array_equal(back, np.array([[2**31 - 1], [-(2**31)]], np.int32), strict=True)


@pytest.mark.parametrize("data", [[1.0], 1.0, None, "text", object()])
def test_to_numpy_of_what_is_no_array(data: Any) -> None:
    with refused(
        rb.BackendMismatchError, f"`array` belongs to no loaded backend; it is of type {type(data).__name__}."
    ):
        rb.to_numpy(data)


def parameters(model: rb.RNN) -> list[Any]:
    return [array for _, array in named_arrays((model.layers, model.readout))]


def full_model(backend: str = "numpy", dtype: str = "float32") -> rb.RNN:
    return rb.RNN.init(3, 4, num_layers=2, bidirectional=True, output_size=5, seed=7, dtype=dtype, backend=backend)


def test_arrays_are_made_in_the_context_of_the_device() -> None:
    """For a library whose functions take no device, or do not heed it."""
    now, made = ["nowhere"], set()

    @contextmanager
    def on(device: Any) -> Iterator[None]:
        now.append(str(device))
        yield
        now.pop()

    class Namespace(ModuleType):
        def __getattr__(self, name: str) -> Any:
            made.add((name, now[-1]))
            return getattr(array_api_strict, name)

    def activation(z: Any) -> Any:
        made.add(("activation", now[-1]))
        return z

    device1 = str(array_api_strict.Device("device1"))
    mine = replace(rb.get_backend("array_api_strict"), name="mine", xp=Namespace("mine"), on=on)
    made.clear()  # the record has looked whether all functions are there
    with rb.register_backend(mine):
        rnn = rb.RNN.init(3, 4, activation=activation, backend="mine:device1")
        rnn(np.zeros((2, 3)))
    assert {("asarray", device1), ("activation", device1)} <= made
    assert not {("asarray", "nowhere"), ("activation", "nowhere")} & made
    assert now == ["nowhere"]


def test_init_gives_the_same_parameters_on_every_backend(library: str) -> None:
    for dtype in dtypes(library):
        model = full_model(library, dtype)
        assert model.dtype == dtype
        assert len(parameters(model)) == 2 * 2 * 3 + 2
        wanted = full_model(dtype="float32" if dtype == "bfloat16" else dtype)
        for array, host in zip(parameters(model), parameters(wanted), strict=True):
            np.testing.assert_allclose(rb.to_numpy(array), host, rtol=2.0**-8 if dtype == "bfloat16" else 0)


def test_moving_a_model_is_exact_and_leaves_the_original(library: str) -> None:
    layers, readout = full_model().layers, full_model().readout
    first = rb.RNN(layers, readout, batch_first=True, vocabulary="abc", metadata={"licence": "MIT"})
    before, copies = parameters(first), [array.copy() for array in parameters(first)]
    moved = first.to(library)
    back = moved.to("numpy")
    assert (moved.backend, moved.device) == parse(library, "x")
    assert all(moved.backend.device_of(array) == moved.device for array in parameters(moved))
    for model in (moved, back):
        assert (model.batch_first, model.vocabulary, model.metadata) == (True, "abc", {"licence": "MIT"})
        assert model.dtype == "float32"
    for array, wanted in zip(parameters(back), copies, strict=True):
        np.testing.assert_array_equal(array, wanted, strict=True)
    assert first.backend.name == "numpy"
    assert all(a is b for a, b in zip(parameters(first), before, strict=True))
    for array, wanted in zip(before, copies, strict=True):
        np.testing.assert_array_equal(array, wanted)


def test_changing_the_dtype_rounds_once_and_leaves_the_original(library: str) -> None:
    if "float64" not in dtypes(library):
        pytest.skip("the library has no float64")
    wide = full_model(library, "float64")
    host = [rb.to_numpy(array).copy() for array in parameters(wide)]
    for narrow, place in ((wide.to(dtype="float32"), wide.device), (wide.to("numpy", "float32"), "cpu")):
        assert (narrow.dtype, narrow.device) == ("float32", place)
        for array, wanted in zip(parameters(narrow), host, strict=True):
            np.testing.assert_array_equal(rb.to_numpy(array), wanted.astype(np.float32), strict=True)
        for array, wanted in zip(parameters(narrow.to(library, "float64")), host, strict=True):
            np.testing.assert_array_equal(rb.to_numpy(array), wanted.astype(np.float32).astype(np.float64))
    assert wide.dtype == "float64"
    for array, wanted in zip(parameters(wide), host, strict=True):
        np.testing.assert_array_equal(rb.to_numpy(array), wanted, strict=True)


def test_a_model_that_need_not_move_keeps_its_arrays(library: str) -> None:
    model = full_model(library)
    for same in (model.to(), model.to(library), model.to(dtype="float32"), model.to(library, "float32")):
        assert all(a is b for a, b in zip(parameters(same), parameters(model), strict=True))


def test_moving_between_devices() -> None:
    model = full_model(STRICT)
    moved = model.to("array_api_strict:device2")
    assert (model.device, moved.device) == ("device1", "device2")
    assert all(moved.backend.device_of(array) == "device2" for array in parameters(moved))
    for array, wanted in zip(parameters(moved), parameters(full_model()), strict=True):
        np.testing.assert_array_equal(rb.to_numpy(array), wanted)
    assert model.to("array_api_strict").device == "CPU_DEVICE"


@dataclass(frozen=True, eq=False)
class Scaled:
    """A cell of the user's, with a parameter that is a number in an array."""

    weight: Any
    scale: Any

    def project(self, x: Any) -> Any:
        return x @ self.weight.T

    def step(self, projected: Any, h: Any) -> Any:
        return projected + self.scale * h


def test_a_parameter_without_axes_keeps_its_shape(library: str) -> None:
    model = rb.RNN([Scaled(host_arrays()[0], np.array(0.5, np.float32))]).to(library)
    own: Any = model.layers[0].forward
    assert tuple(own.scale.shape) == ()
    x = np.ones((2, 3), np.float32)
    wanted = x @ host_arrays()[0].T * np.array([[1.0], [1.5]])
    np.testing.assert_allclose(rb.to_numpy(model(x)[0]), wanted, rtol=1e-6)


def test_host_data_gives_what_device_data_gives(library: str) -> None:
    model, place = full_model(library), parse(library, "x")
    host: dict[str, Any] = {
        "x": np.random.default_rng(1).normal(size=(5, 2, 3)),
        "h_0": np.random.default_rng(2).normal(size=(4, 2, 4)),
        "lengths": np.array([5, 2]),
    }
    on_device = {
        name: place.backend.from_host(array, "int32" if name == "lengths" else "float32", place.device)
        for name, array in host.items()
    }
    as_lists = {name: array.tolist() for name, array in host.items()}
    wanted = [rb.to_numpy(result) for result in model(**host)]
    for arguments in (on_device, as_lists):
        for got, want in zip(model(**arguments), wanted, strict=True):
            assert place.backend.owns(got)
            np.testing.assert_allclose(rb.to_numpy(got), want, rtol=0, atol=1e-6)
