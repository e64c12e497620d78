"""A model with some of its parts replaced: on the same backend, device and dtype, and all else as it was."""

import copy
import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from places import in_float64, refused

import rnn_backends as rb
from rnn_backends.core.network import Network

X = np.linspace(-1, 1, 30).reshape(5, 2, 3)


@pytest.fixture(autouse=True)
def wide(request: pytest.FixtureRequest) -> Iterator[None]:
    with in_float64(request):
        yield


def made(backend: str = "numpy", **parts: Any) -> rb.RNN:
    drawn = rb.RNN.init(3, 4, output_size=5, dtype="float64")
    options: dict[str, Any] = {"readout": drawn.readout, "metadata": {"source": "here"}, "h_0": np.full((1, 4), 0.5)}
    return rb.RNN(drawn.layers, **(options | parts)).to(backend)


def test_parts_are_replaced_and_the_others_stay(backend: str) -> None:
    rnn, head = made(backend), rb.Linear(np.ones((2, 4), np.float32), activation="identity")
    other = rnn.replace(readout=head, reads="last")
    assert (other.backend, other.device, other.dtype) == (rnn.backend, rnn.device, "float64")
    assert (other.metadata, other.reads, rnn.reads) == (rnn.metadata, "last", "steps")
    assert rnn.readout.output_size == 5
    assert other.layers[0].forward.weight_hh is rnn.layers[0].forward.weight_hh  # type: ignore[union-attr]
    np.testing.assert_allclose(
        rb.to_numpy(other.logits(X)), rb.to_numpy(rnn(X)[1])[0] @ np.ones((4, 2)), rtol=0, atol=1e-12
    )


@pytest.mark.skipif(sys.version_info < (3, 13), reason="copy.replace is of Python 3.13")
def test_copy_replaces() -> None:
    assert copy.replace(made(), reads="last").reads == "last"  # type: ignore[attr-defined]


def test_the_protocol_of_copy() -> None:
    assert made().__replace__(reads="last").reads == "last"
    assert rb.RNN.replace.__qualname__ == "RNN.replace"
    assert rb.RNN.__replace__.__qualname__ == "RNN.__replace__"


def test_every_part_of_a_network_can_be_replaced() -> None:
    values: dict[str, Any] = {
        "layers": [rb.Cell(np.ones((4, 3)), np.ones((4, 4)))], "readout": [rb.Linear(np.ones((2, 4)))] * 1,
        "encoder": rb.Linear(np.ones((3, 3))), "reads": "mean", "takes": "features", "h_0": [np.ones(4)],
        "batch_first": True, "vocabulary": ["a", "b"], "unknown": "a", "metadata": {"licence": "MIT"},
    }  # fmt: skip
    assert {entry.name for entry in fields(Network)} - {"noise"} == set(values)
    rnn = made()
    for name, value in values.items():
        other = (
            rnn.replace(vocabulary=values["vocabulary"], unknown="a")
            if name == "unknown"
            else rnn.replace(**{name: value})
        )
        assert getattr(other, name) is not None
        changed = [each for each in values if getattr(other, each) is not getattr(rnn, each)]
        assert name in changed or name == "layers"
    np.testing.assert_array_equal(rnn.replace(h_0=values["h_0"]).h_0, np.ones((1, 4)))
    np.testing.assert_array_equal(rnn.replace(layers=values["layers"]).layers[0].forward.weight_hh, np.ones((4, 4)))  # type: ignore[union-attr]


def test_none_takes_a_part_away() -> None:
    rnn = made(vocabulary="abc")
    assert rnn.replace(readout=None).readout is None
    assert rnn.replace(h_0=None).h_0 is None
    assert rnn.replace(vocabulary=None).vocabulary is None
    assert dict(rnn.replace(metadata=None).metadata) == {}


def test_a_given_array_may_be_written_to_afterwards() -> None:
    weight = np.ones((2, 4))
    rnn = made().replace(readout=rb.Linear(weight))
    weight[:] = 7
    np.testing.assert_array_equal(rnn.readout.weight, np.ones((2, 4)))
    with pytest.raises(ValueError, match="read-only"):
        rnn.readout.weight[0, 0] = 1


def test_unknown_parts_are_refused_with_a_near_one() -> None:
    with refused(rb.ArgumentError, "no part 'readuot' to replace", "Did you mean 'readout'?"):
        made().replace(readuot=None)


def test_parts_that_do_not_fit_are_refused() -> None:
    with refused(rb.ShapeError, "readout", "(output_size, 4)", "(2, 3)"):
        made().replace(readout=rb.Linear(np.ones((2, 3))))
    with refused(rb.ArgumentError, "`reads`", "frist"):
        made().replace(reads="frist")
    with refused(rb.ArgumentError, "`layers`"):
        made().replace(layers=None)


@pytest.mark.parametrize("mask", [False, True])
def test_masked_arrays_are_refused(mask: bool) -> None:
    given = np.ma.masked_array(np.ones((1, 4)), mask)
    for name, part in {"h_0": given, "readout": given}.items():
        with refused(rb.DTypeError, "must not be a masked array"):
            made().replace(**{name: part if name == "h_0" else rb.Linear(part)})
    with refused(rb.DTypeError, "`h_0` must not be a masked array"):
        made().replace(h_0=(given[0],))


def test_arrays_of_another_library_are_not_moved() -> None:
    other = rb.RNN.init(3, 4, output_size=5, dtype="float64", backend="array_api_strict")
    with refused(rb.BackendMismatchError, "`readout` is of array_api_strict", "to_numpy"):
        made().replace(readout=other.readout)


def test_an_array_on_another_device_is_not_moved() -> None:
    other = rb.RNN.init(3, 4, output_size=5, dtype="float64", backend="array_api_strict:device1")
    with refused(rb.DeviceError, "`readout` is on"):
        made("array_api_strict").replace(readout=other.readout)
