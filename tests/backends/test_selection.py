"""Which backend is chosen, and names that choose none."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from places import (
    EVERY_WAY,
    STRICT,
    Choose,
    current,
    host_arrays,
    load_toy,
    local_toy,
    on_strict,
    place_of,
    refused,
    settings,
)

import rnn_backends as rb
from rnn_backends.backends.selection import parse, select
from rnn_backends.core.layers import named_arrays

pytestmark = pytest.mark.usefixtures("fresh_registry")


@pytest.mark.parametrize(
    ("argument", "context", "variable", "chosen"),
    [
        (None, None, None, "numpy:cpu"),
        (None, None, STRICT, STRICT),
        (None, None, "array_api_strict", "array_api_strict:CPU_DEVICE"),
        (None, None, f"  {STRICT}\n", STRICT),
        (None, None, "", "numpy:cpu"),
        (None, None, "  ", "numpy:cpu"),
        (None, "numpy", STRICT, "numpy:cpu"),
        (None, STRICT, "numpy", STRICT),
        (None, STRICT, "nonsense", STRICT),
        ("numpy", STRICT, STRICT, "numpy:cpu"),
        ("numpy", None, "nonsense", "numpy:cpu"),
        (STRICT, None, None, STRICT),
        (STRICT, "array_api_strict:device2", "numpy", STRICT),
        ("numpy:cpu", None, None, "numpy:cpu"),
    ],
)
def test_argument_before_context_before_variable_before_numpy(
    argument: str | None, context: str | None, variable: str | None, chosen: str
) -> None:
    with settings(context, variable):
        assert place_of(rb.RNN.init(2, 2, backend=argument)) == chosen
        assert rb.get_backend(argument).name == chosen.partition(":")[0]


@pytest.mark.parametrize(
    ("context", "variable", "chosen"),
    [(None, None, "numpy:cpu"), (None, STRICT, STRICT), ("numpy", STRICT, "numpy:cpu"), (STRICT, None, STRICT)],
)
def test_numpy_parameters_go_where_a_new_model_would(context: str | None, variable: str | None, chosen: str) -> None:
    with settings(context, variable):
        model = rb.RNN([rb.Cell(*host_arrays())])
    assert place_of(model) == chosen
    for (_, array), host in zip(named_arrays(model.layers), host_arrays(), strict=True):
        assert model.backend.device_of(array) == model.device
        np.testing.assert_array_equal(rb.to_numpy(array), host)


@pytest.mark.parametrize("variable", ["numpy", "nonsense", "array_api_strict:device2"])
def test_device_parameters_stay_whatever_context_and_variable_say(variable: str) -> None:
    arrays = [on_strict(host) for host in host_arrays()]
    with settings("numpy", variable):
        model = rb.RNN([rb.Cell(*arrays)])
    assert place_of(model) == STRICT
    assert all(a is b for (_, a), b in zip(named_arrays(model.layers), arrays, strict=True))


@pytest.mark.parametrize("context", [None, "numpy", STRICT])
def test_mixed_parameters_are_refused(context: str | None) -> None:
    w_ih, w_hh, bias = host_arrays()
    with settings(context, "numpy"):
        with refused(
            rb.BackendMismatchError,
            "`layers[0].forward.weight_hh` is of numpy (cpu), but the model is on array_api_strict (device1). "
            "Nothing is moved implicitly: convert it, e.g. with rnn_backends.to_numpy.",
        ):
            rb.RNN([rb.Cell(on_strict(w_ih), w_hh)])
        with refused(rb.BackendMismatchError, "`readout[0].weight` is of numpy (cpu)"):
            rb.RNN([rb.Cell(on_strict(w_ih), on_strict(w_hh), on_strict(bias))], rb.Linear(w_hh))


def test_an_explicit_backend_takes_its_own_and_numpy_arrays_and_no_other() -> None:
    host = host_arrays()[0]
    arrays = [("a", host), ("b", on_strict(host))]
    assert select(STRICT, arrays).device == "device1"
    assert select(STRICT, arrays[:1]).backend.name == "array_api_strict"
    with refused(rb.BackendMismatchError, "`b` is of array_api_strict (device1)", "to_numpy"):
        select("numpy", arrays)


def test_parameters_on_two_devices_are_refused() -> None:
    w_ih, w_hh, _ = host_arrays()
    with refused(
        rb.DeviceError,
        "`layers[0].forward.weight_hh` is on device2, but the model is on device1. Move one to the other's device.",
    ):
        rb.RNN([rb.Cell(on_strict(w_ih), on_strict(w_hh, "device2"))])


def test_parameters_of_a_library_without_backend_are_refused() -> None:
    array = load_toy().ToyArray(host_arrays()[0], "first toy device")  # not registered
    with refused(
        rb.BackendMismatchError,
        "`layers[0].forward.weight_ih` belongs to no loaded backend; it is of type ToyArray. Nothing is "
        "converted implicitly: give a NumPy array, or register the backend of its library.",
    ):
        rb.RNN([rb.Cell(array, load_toy().ToyArray(host_arrays()[1], "first toy device"))])


def test_the_variable_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, chosen in ((STRICT, STRICT), ("numpy", "numpy:cpu"), (STRICT, STRICT)):
        monkeypatch.setenv("RNN_BACKEND", variable)
        assert current() == chosen
    monkeypatch.delenv("RNN_BACKEND")
    assert current() == "numpy:cpu"


def test_host_data_runs_where_the_model_is_whatever_the_context() -> None:
    model = rb.RNN.init(3, 4, backend=STRICT)
    with rb.use_backend("numpy"):
        output, h_n = model([[0.5, 0.25, -1.0]])
    assert model.backend.device_of(output) == model.backend.device_of(h_n) == "device1"


# Names that choose nothing.


@EVERY_WAY
def test_unknown_backend(source: str, choose: Choose) -> None:
    with refused(
        rb.UnknownBackendError,
        f"unknown backend 'cpuy' (from {source}). Known: array_api_strict, cupy, jax, numpy, torch",
        ". Did you mean 'cupy'? Third-party backends register under the entry-point group 'rnn_backends.backends'.",
    ):
        choose("cpuy:1")
    with pytest.raises(rb.UnknownBackendError) as caught:
        choose("zzz")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["CuPy", "JAX", "NumPy", "PyTorch"])
def test_a_backend_spelt_as_its_library_is_suggested(name: str) -> None:
    meant = name.lower().removeprefix("py")
    with refused(rb.UnknownBackendError, f"unknown backend '{name}'", f"Did you mean '{meant}'?"):
        rb.get_backend(name)


@EVERY_WAY
def test_unknown_device(source: str, choose: Choose) -> None:
    with refused(
        rb.DeviceError, f"the backend 'numpy' has no device 'cuda'; it has cpu. It was asked for by {source}."
    ):
        choose("numpy:cuda")
    with refused(rb.DeviceError, "'array_api_strict' has no device 'device7'; it has CPU_DEVICE, device1"):
        choose("array_api_strict:device7")


@pytest.mark.parametrize("name", ["", "  ", ":1"])
def test_an_empty_name_is_unknown(name: str) -> None:
    with refused(rb.UnknownBackendError, "unknown backend '' (from argument backend=)"):
        rb.get_backend(name)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("cpu", "'numpy', or 'torch:cpu' for torch."),
        ("cpu:0", "'numpy', or 'torch:cpu' for torch."),
        ("gpu", "'cupy', or 'torch:cuda' for torch."),
        (" cuda\n", "'cupy', or 'torch:cuda' for torch."),
        ("cuda:1", "'cupy:1', or 'torch:cuda:1' for torch."),
    ],
)
@EVERY_WAY
def test_the_name_of_a_device_has_the_line_to_write(name: str, written: str, source: str, choose: Choose) -> None:
    with refused(
        rb.UnknownBackendError, f"{name.strip()!r} is a device, not a backend (from {source}). Write {written}"
    ):
        choose(name)


def test_the_lines_to_write_for_a_device_are_right() -> None:
    assert place_of(rb.RNN.init(1, 1, backend="numpy")) == "numpy:cpu"
    with rb.register_backend(replace(rb.get_backend("numpy"), name="cuda")):
        assert rb.get_backend("cuda").name == "cuda"  # where there is such a backend


def test_a_device_of_torch_has_the_line_to_write(torch: Any) -> None:
    with refused(rb.ArgumentError, "got device (from argument backend=). Write 'torch:cuda:1'."):
        rb.RNN.init(1, 1).to(torch.device("cuda:1"))
    assert place_of(rb.RNN.init(1, 1).to(f"torch:{torch.device('cpu')}")) == "torch:cpu"
    assert place_of(rb.RNN.init(1, 1).to("torch:cpu")) == "torch:cpu"


@pytest.mark.parametrize("name", [3, b"numpy", np])
def test_a_backend_that_is_no_string(name: Any) -> None:
    with refused(rb.ArgumentError, "a backend is named by a string such as 'cupy:0'; got", "argument backend="):
        rb.get_backend(name)


def test_short_names_of_devices() -> None:
    with rb.register_backend(local_toy()):
        for short, device in {"": "toy:0", ":": "toy:0", ":1": "toy:1", ":toy:1": "toy:1", ":toy": "toy:0"}.items():
            assert parse(f"local_toy{short}", "x").device == device
