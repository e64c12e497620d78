"""Arguments and weights in any memory layout: the result is that of contiguous ones, within what rounding may change."""

import importlib.util
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnn_backends as rb
from rnn_backends.core.parameters import map_arrays
from rnn_backends.testing import Case, excess, reference
from rnn_backends.testing.cases import Draw

EXAMPLES = {"numpy": 60, "array_api_strict:device1": 20, "torch": 20, "jax": 3}  # which compiles each
HOST_TOO = [name for name in EXAMPLES if importlib.util.find_spec(name.partition(":")[0])]
SHAPES = [(6, 3, 4, 5), (1, 1, 1, 1), (6, 1, 4, 5), (1, 3, 1, 2), (60, 1, 3, 4), (0, 3, 4, 5), (6, 0, 4, 5)]


class Laid:
    """A memory layout: of an array of the same values, whose values along some axes are made equal first."""

    def __init__(self, random: Random, values: Any, repeats: bool = True) -> None:
        axes = range(values.ndim)
        repeated = {axis for axis in axes if repeats and random.random() < 0.2}
        self.order = random.sample(axes, values.ndim)
        self.steps = [random.choice([1, 1, -1, 2, -3]) for _ in axes]
        self.offset, self.endian, self.read_only = random.choice([0, 1]), random.choice("=><"), random.random() < 0.5
        self.part = values[tuple(slice(0, 1) if axis in repeated else slice(None) for axis in axes)]
        self.values = np.broadcast_to(self.part, values.shape).copy()

    def array(self) -> Any:
        """Return the values, laid out."""
        dtype = self.part.dtype.newbyteorder(self.endian)
        sizes = [length * abs(step) for length, step in zip(self.part.shape, self.steps, strict=True)]
        shape = [sizes[axis] for axis in self.order]
        count = int(np.prod(shape, dtype=int))
        memory = np.zeros(count * dtype.itemsize + self.offset, np.uint8)[self.offset :]
        view = memory.view(dtype).reshape(shape).transpose(np.argsort(self.order))
        view = view[tuple(slice(None, None, step) for step in self.steps)]
        view[...] = self.part
        view.flags.writeable = not self.read_only
        return view if self.part.shape == self.values.shape else np.broadcast_to(view, self.values.shape)


class Drawn(NamedTuple):
    """A case, the same with its arrays laid out, and which of lengths and mask are given."""

    case: Case
    laid: Case
    options: set[str]

    def given(self, laid: bool = True) -> dict[str, Any]:
        return {name: getattr(self.laid if laid else self.case, name) for name in self.options}

    def check(self, got: Any) -> None:
        wanted = reference(self.case.layers, self.case.x, self.case.h_0, **self.given(laid=False), dtype="float32")
        for actual, bounded in zip(got, wanted, strict=True):
            assert excess(rb.to_numpy(actual), bounded) <= 1.0


@st.composite
def layouts(draw: st.DrawFn, shapes: list[tuple[int, int, int, int]] = SHAPES) -> Drawn:
    seed = draw(st.integers(0, 2**32))  # of which hypothesis, unlike of many choices, draws no half alike
    random = Random(seed)
    seq_len, batch, *_ = shape = random.choice(shapes)
    case = Draw("float32", seed).case(
        shape=shape, sides=random.choice(["f", "b", "fb"]), layers=random.choice([1, 2]), h_0=True, masked=True,
        lengths=[random.randint(0, seq_len) for _ in range(batch)], tokens=random.random() < 0.3,
        bias=random.random() < 0.5, activation=random.choice(["tanh", "softsign"]),
    )  # fmt: skip
    arrays = {"x": case.x, "h_0": case.h_0, "lengths": np.array(case.lengths, np.int64), "mask": case.mask}
    parts = {name: Laid(random, array) for name, array in arrays.items()}
    laid = {name: part.array() for name, part in parts.items()}
    weights = map_arrays(lambda array: Laid(random, array, repeats=False).array(), tuple(case.layers))
    options = {name for name in ("lengths", "mask") if random.random() < 0.4}
    values: dict[str, Any] = {name: part.values for name, part in parts.items()}
    return Drawn(case._replace(**values), Case(weights, **laid), options)


@pytest.mark.parametrize("name", HOST_TOO)
def test_a_model_takes_any_layout(name: str) -> None:
    @settings(max_examples=EXAMPLES[name])
    @given(drawn=layouts(SHAPES[:1] if name == "jax" else SHAPES))
    def check(drawn: Drawn) -> None:
        rnn = rb.RNN(list(drawn.laid.layers)).to(name)
        drawn.check(rnn(drawn.laid.x, drawn.laid.h_0, **drawn.given()))

    check()


@given(drawn=layouts())
def test_the_pure_function_takes_any_layout(drawn: Drawn) -> None:
    got = rb.forward(list(drawn.laid.layers), drawn.laid.x, drawn.laid.h_0, **drawn.given())
    drawn.check(got)
    assert all(result.dtype == np.float32 and result.dtype.isnative for result in got)


@settings(max_examples=20)
@given(drawn=layouts(), steps=st.sampled_from([1, 2]), order=st.permutations(range(3)))
def test_tensors_take_any_layout(torch: Any, drawn: Drawn, steps: int, order: list[int]) -> None:
    def strided(host: Any) -> Any:
        """Return a tensor whose axes lie in another order, with gaps; an axis of equal values has no stride."""
        axes = [axis for axis in order if axis < host.ndim]
        ordered = torch.tensor(np.repeat(host.transpose(axes), steps, axis=-1))
        tensor = ordered[..., ::steps].permute(*np.argsort(axes).tolist())
        return tensor[:1].expand(*host.shape) if len(host) and (host == host[:1]).all() else tensor

    layers = list(map_arrays(strided, tuple(drawn.case.layers)))
    arguments = strided(drawn.case.x), strided(drawn.case.h_0)
    options = {name: strided(value) for name, value in drawn.given(laid=False).items()}
    drawn.check(rb.forward(layers, *arguments, **options))
    drawn.check(rb.RNN(layers)(*arguments, **options))


@given(seed=st.integers(0, 2**32))
def test_losses_take_any_layout(seed: int) -> None:
    random = Draw("float64", 0).random
    parts = [Laid(Random(seed), each) for each in (random.normal(size=(3, 2, 4)), random.integers(0, 4, (3, 2)))]
    plain, laid = [part.values for part in parts], [part.array() for part in parts]
    np.testing.assert_allclose(rb.cross_entropy(*laid), rb.cross_entropy(*plain), rtol=1e-13)
    np.testing.assert_allclose(rb.cross_entropy_grad(*laid), rb.cross_entropy_grad(*plain), atol=1e-15)
    rnn = rb.RNN([Draw("float64", 0).cell(4, 5)], rb.Linear(Draw("float64", 1).normal(4, 5)))
    np.testing.assert_allclose(rnn.loss(*laid), rnn.loss(*plain), rtol=1e-12)


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", ["numpy", "array_api_strict"])
def test_integers_of_any_size_are_token_ids_lengths_and_targets(name: str, dtype: str) -> None:
    case = Draw("float32", 0).case(shape=(6, 3, 300, 5), tokens=True, lengths=[6, 0, 4])
    x, lengths = case.x % 120, np.array([6, 0, 4])
    place = rb.get_backend(name)
    own = [place.xp.asarray(host.astype(dtype)) for host in (x, lengths)]
    layers = map_arrays(place.xp.asarray, tuple(case.layers))
    for got in (rb.forward(list(layers), own[0], lengths=own[1]), rb.RNN(list(layers))(own[0], lengths=own[1])):
        for actual, wanted in zip(got, reference(case.layers, x, lengths=lengths, dtype="float32"), strict=True):
            assert excess(rb.to_numpy(actual), wanted) <= 1.0
    logits, targets = np.eye(4), np.arange(4)
    loss = rb.cross_entropy(place.xp.asarray(logits), place.xp.asarray(targets.astype(dtype)))
    assert float(loss) == pytest.approx(rb.cross_entropy(logits, targets), rel=1e-14)


def test_ids_beyond_32_bits_are_out_of_range() -> None:
    """Where ids are not read, one of which the last 32 bits are an id makes its sequence NaN."""
    strict = rb.get_backend("array_api_strict").xp
    layers = map_arrays(strict.asarray, tuple(Draw("float32", 0).case(shape=(2, 3, 4, 5), tokens=True).layers))
    for dtype, id_ in (("uint64", 2**32 + 1), ("uint64", 2**64 - 3), ("uint32", 2**32 - 3), ("int64", 2**32 + 1)):
        x = strict.asarray(np.array([[1, 1, 1], [1, id_, 1]], dtype))
        for run in (rb.forward, lambda layers, x: rb.RNN(layers)(x)):
            output = rb.to_numpy(run(list(layers), x)[0])
            assert np.isnan(output).any(axis=-1).tolist() == [[False] * 3, [False, True, False]]
