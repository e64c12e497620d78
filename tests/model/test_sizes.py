"""Sizes, lengths, counts and seeds: what no memory has room for is refused in a sentence."""

from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.model.init import LARGEST, LARGEST_NUMBER, LAYERS

GREAT = (2**31, 2**62, 2**63, 2**64, 10**40, 10**400, 10**5000, np.int64(2**62), np.uint64(2**63))
MODEL = rb.RNN.init(3, 4, output_size=3)
SIZES: dict[str, Any] = {
    "input_size": lambda size: rb.RNN.init(size, 4),
    "hidden_size": lambda size: rb.RNN.init(3, size),
    "output_size": lambda size: rb.RNN.init(3, 4, output_size=size),
    "num_layers": lambda size: rb.RNN.init(3, 4, num_layers=size),
    "length": lambda size: MODEL.generate([0], size),
    "batch_size": MODEL.stream,
}


@pytest.mark.parametrize("size", GREAT, ids=range(len(GREAT)))
@pytest.mark.parametrize("name", SIZES)
def test_sizes_beyond_every_memory(name: str, size: Any) -> None:
    most = LAYERS if name == "num_layers" else LARGEST
    with pytest.raises(rb.ArgumentError) as caught:
        SIZES[name](size)
    message = str(caught.value)
    assert message.startswith(f"`{name}` must be an integer of at most 2**{most.bit_length()} - 1; got ")
    assert len(message) < 200


@pytest.mark.parametrize("name", [*SIZES, "seed", "top_k"])
@pytest.mark.parametrize(
    "value", [-1, -(10**40), -(10**5000), 1.0, "3", None, True, [3], np.ones(1, int), np.float32(2)], ids=range(10)
)
def test_what_is_no_size(name: str, value: Any) -> None:
    calls: dict[str, Any] = SIZES | {
        "seed": lambda seed: rb.RNN.init(3, 4, seed=seed),
        "top_k": lambda top_k: MODEL.generate([0], 1, top_k=top_k),
    }
    if value is None and name in {"output_size", "top_k"}:
        calls[name](value)
        return
    with pytest.raises(rb.ArgumentError, match=f"`{name}` must be an integer of at least [01]; got ") as caught:
        calls[name](value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("input_size", LARGEST),
        ("hidden_size", LARGEST),
        ("output_size", LARGEST),
        ("hidden_size", 2**30),
        ("input_size", 2**30),
    ],
)
def test_parameters_without_room(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError  # a machine may promise more than it has

    monkeypatch.setattr("numpy.random.default_rng", lambda _: type("Full", (), {"uniform": full}))
    with pytest.raises(rb.DeviceMemoryError, match=r"the memory has no room for parameters of shape \(.*\d+.*\); make"):
        SIZES[name](size)


def test_more_bytes_than_addresses() -> None:
    with pytest.raises(MemoryError, match=r"no room for parameters of shape \(2147483647, 2147483647\)"):
        rb.RNN.init(LARGEST, LARGEST)


@pytest.mark.parametrize("seed", [2**31, 2**64, 10**40, LARGEST_NUMBER, np.uint64(2**63)])
def test_great_seeds(seed: Any) -> None:
    assert rb.RNN.init(3, 4, seed=seed).num_parameters == 32
    assert MODEL.generate([0], 3, seed=seed).shape == (3,)
    assert MODEL.generate([0], 3, top_k=seed, seed=1).tolist() == MODEL.generate([0], 3, seed=1).tolist()


@pytest.mark.parametrize("seed", [LARGEST_NUMBER + 1, 10**400, 10**5000], ids=range(3))
def test_seeds_of_any_number_of_digits_are_refused(seed: int) -> None:
    for call in (lambda: rb.RNN.init(3, 4, seed=seed), lambda: MODEL.generate([0], 1, seed=seed)):
        with pytest.raises(
            rb.ArgumentError, match=r"`seed` must be an integer of at most 2\*\*256 - 1; got an integer of"
        ):
            call()


def test_the_largest_number_of_sequences_takes_no_memory() -> None:
    stream = MODEL.stream(LARGEST)
    assert stream.batch_size == LARGEST
    with pytest.raises(rb.ShapeError, match="must hold batch_size = 2147483647 sequences; got 2"):
        stream(np.ones((1, 2, 3)))
    with pytest.raises(rb.ShapeError, match=r"= \(1, 2147483647, 4\); got \(1, 2, 4\)"):
        stream.reset(np.ones((1, 2, 4)))
