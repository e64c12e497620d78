"""Arrays that are not where the model is, and data that is none."""

from collections.abc import Callable
from typing import Any, TypeAlias

import array_api_compat.numpy
import array_api_strict
import numpy as np
import pytest
from places import STRICT, Choose, host_arrays, on_strict, record, refused

import rnn_backends as rb
from rnn_backends.backends.selection import parse
from rnn_backends.backends.transfer import receive

pytestmark = pytest.mark.usefixtures("fresh_registry")


Call: TypeAlias = Callable[[rb.RNN, Any], object]
CALLS: dict[str, Call] = {
    "x": lambda model, array: model(array),
    "h_0": lambda model, array: model(np.zeros((2, 3)), array),
    "lengths": lambda model, array: model(np.zeros((2, 1, 3)), lengths=array),
    "targets": lambda model, array: model.loss(np.zeros((2, 3)), array),
}
EVERY_ARGUMENT = pytest.mark.parametrize(("argument", "call"), CALLS.items(), ids=CALLS)


@EVERY_ARGUMENT
def test_an_array_of_another_library(argument: str, call: Call) -> None:
    with refused(
        rb.BackendMismatchError,
        f"`{argument}` is of array_api_strict (device1), but the model is on numpy (cpu). "
        "Nothing is moved implicitly: convert it, e.g. with rnn_backends.to_numpy.",
    ):
        call(rb.RNN.init(3, 4, output_size=3, backend="numpy"), on_strict(np.zeros((1, 1, 3))))


@EVERY_ARGUMENT
def test_an_array_on_another_device(argument: str, call: Call) -> None:
    with refused(
        rb.DeviceError,
        f"`{argument}` is on device2, but the model is on device1. Move one to the other's device.",
    ):
        call(rb.RNN.init(3, 4, output_size=3, backend=STRICT), on_strict(np.zeros((1, 1, 3)), "device2"))


class Copying:
    """An array of an unknown library that NumPy could copy to the host, from wherever it is."""

    shape, dtype = (2, 3), np.dtype("float32")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return pytest.fail("the array was copied to the host")


class OfTheStandard(Copying):
    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return array_api_strict


class OfDLPack(Copying):
    def __dlpack__(self, **_: Any) -> Any:
        return pytest.fail("the array was exported")


class OfCUDA(Copying):
    """As the arrays of Numba on a GPU are."""

    __cuda_array_interface__: dict[str, Any] = {}  # noqa: RUF012 - nobody writes to it


@pytest.mark.parametrize("unknown", [OfTheStandard(), OfDLPack(), OfCUDA()], ids=lambda array: type(array).__name__)
@EVERY_ARGUMENT
def test_an_array_of_a_library_without_backend(argument: str, call: Call, unknown: Any) -> None:
    with refused(
        rb.BackendMismatchError,
        f"`{argument}` belongs to no loaded backend; it is of type {type(unknown).__name__}. Nothing is "
        "converted implicitly: give a NumPy array, or register the backend of its library.",
    ):
        call(rb.RNN.init(3, 4, output_size=3), unknown)


class Tagged(np.ndarray[Any, Any]):
    """Arrays of a library that derives them from NumPy's."""


@pytest.mark.parametrize("place", ["numpy", STRICT])
@EVERY_ARGUMENT
def test_an_array_derived_from_numpys_belongs_to_its_own_backend(argument: str, call: Call, place: str) -> None:
    tagged = record(
        "tagged",
        xp=array_api_compat.numpy,
        owns=lambda array: isinstance(array, Tagged),
        asarray=lambda host, dtype, _: np.array(host, dtype=dtype).view(Tagged),
        devices=lambda: {"tag:0": "cpu"},
    )
    array = np.zeros((1, 1, 3), np.float32).view(Tagged)
    with rb.register_backend(tagged), refused(rb.BackendMismatchError, f"`{argument}` is of tagged (tag:0)"):
        call(rb.RNN.init(3, 4, output_size=3, backend=place), array)
    with rb.register_backend(tagged):
        assert receive("x", array, parse("tagged", "x"), "float32") is array


def test_an_array_of_another_library_on_the_same_device() -> None:
    """Advice that copies nothing; it is taken."""
    tagged = record("tagged", xp=array_api_compat.numpy, owns=lambda array: isinstance(array, Tagged))
    array, rnn = np.zeros((2, 3), np.float32).view(Tagged), rb.RNN.init(3, 4, backend="numpy")
    with rb.register_backend(tagged):
        with refused(
            rb.BackendMismatchError,
            "`x` is of tagged (cpu), but the model is on numpy (cpu). Nothing is moved implicitly: convert it, e.g. with "
            "numpy.from_dlpack, on its device, or with rnn_backends.to_numpy.",
        ):
            rnn(array)
        taken = np.from_dlpack(array)
        assert np.shares_memory(taken, array)
        rnn(taken)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ([[1.0, 2.0], [3.0]], "be an array or nested lists of numbers, of equal lengths; got list."),
        ([["a", "b"]], "got list of text, bytes or records."),
        ([None], "got list of dtype object."),
        (None.__class__, "got type of dtype object."),
        (np.zeros((2, 3), complex), "got ndarray of dtype complex128."),
        (np.zeros((2, 3), bool), "got ndarray of dtype bool."),
        (np.zeros(3, "datetime64[s]"), "got ndarray of dtype datetime64[s]."),
        (object(), "got object of dtype object."),
    ],
    ids=["ragged", "strings", "None", "class", "complex", "bool", "dates", "object"],
)
@EVERY_ARGUMENT
def test_host_data_that_holds_no_real_numbers(argument: str, call: Call, data: Any, shown: str) -> None:
    wanted = "integers" if argument in {"lengths", "targets"} else "real numbers"
    with refused(rb.DTypeError, f"`{argument}` must ", shown if "lengths" in shown else f"hold {wanted}; {shown}"):
        call(rb.RNN.init(3, 4, output_size=3), data)


def test_a_list_of_device_arrays() -> None:
    array = on_strict(np.zeros(3, np.float32))
    with refused(rb.DTypeError, "`x` must be an array or nested lists of numbers, of equal lengths; got list."):
        rb.RNN.init(3, 4, backend=STRICT)([array, array])


def test_a_device_array_of_another_dtype(away: str) -> None:
    place, other = parse(away, "x"), next(dtype for dtype in rb.get_backend(away).dtypes() if dtype != "float32")
    array = place.backend.from_host(np.zeros((1, 4)), other, place.device)
    with refused(rb.DTypeError, f"`x` must be float32, as the parameters are; got {other}."):
        rb.RNN.init(3, 4, backend=away)(array)
    with refused(rb.DTypeError, f"`h_0` must be float32, as the parameters are; got {other}."):
        rb.RNN.init(3, 4, backend=away)(np.zeros((2, 3)), array)


def test_a_dtype_that_the_backend_has_not() -> None:
    ways: list[Choose] = [
        lambda dtype: rb.RNN.init(3, 4, dtype=dtype, backend=STRICT),
        lambda dtype: rb.RNN.init(3, 4, backend=STRICT).to(dtype=dtype),
        lambda dtype: rb.RNN.init(3, 4, backend="numpy").to(STRICT, dtype),
    ]
    for choose in ways:
        with refused(
            rb.DTypeError,
            "`dtype` 'bfloat16' is not on the backend 'array_api_strict'; use one of float32, float64.",
        ):
            choose("bfloat16")
        with refused(rb.DTypeError, "`dtype` must be one of float16, bfloat16, float32, float64", "got 'float65'."):
            choose("float65")


def test_a_model_is_not_rounded_to_move_where_its_dtype_is_not() -> None:
    model = rb.RNN.init(3, 4, dtype="float16", backend="numpy")
    with refused(rb.DTypeError, "`dtype` 'float16' is not on the backend 'array_api_strict'"):
        model.to(STRICT)
    assert model.to(STRICT, "float32").dtype == "float32"


def test_float64_on_jax_without_x64() -> None:
    jax = pytest.importorskip("jax")
    if jax.config.jax_enable_x64:
        pytest.skip("x64 is enabled")
    with refused(rb.DTypeError, "`dtype` 'float64' is not on the backend 'jax'; use one of float16"):
        rb.RNN.init(3, 4, dtype="float64", backend="numpy").to("jax")
    assert not jax.config.jax_enable_x64


def test_the_pure_function_refuses_mixtures() -> None:
    w_ih, w_hh, _ = host_arrays()
    x = np.zeros((2, 3), np.float32)
    with refused(
        rb.BackendMismatchError,
        "all arrays must belong to one library; `layers[0].forward.weight_ih` is of numpy and `x` of "
        "array_api_strict. Nothing is moved implicitly: convert one of them.",
    ):
        rb.forward([rb.Cell(w_ih, w_hh)], on_strict(x))
    with refused(
        rb.DeviceError,
        "all arrays must be on one device; `layers[0].forward.weight_ih` is on ",
        " and `x` on ",
    ):
        rb.forward([rb.Cell(on_strict(w_ih), on_strict(w_hh))], on_strict(x, "device2"))
