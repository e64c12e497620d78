"""What looks like an array and is none, and arrays of layouts that cannot be computed with, are refused by type."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.core.arrays import is_array

W, H, X = np.zeros((4, 3), np.float32), np.zeros((4, 4), np.float32), np.ones((5, 2, 3), np.float32)
MODEL = rb.RNN([rb.Cell(W, H)], rb.Linear(H))


def like(shape: Any, dtype: Any) -> Any:
    return type("Like", (), {"shape": shape, "dtype": dtype})()


NONE: dict[str, Any] = {
    "class": np.ndarray, "class of scalars": np.float32, "module": np, "own class": type("Own", (), {"shape": (4, 3), "dtype": np.dtype("f4")}),
    "shape of no length": like(5, np.dtype("f4")), "dtype that cannot be hashed": like((4, 3), []), "shape of a function": like(len, np.dtype("f4")),
    "function": len, "dtype": np.dtype("f4"), "None": None,
}  # fmt: skip
STRANGE: dict[str, Any] = {
    "shaped": like((4, 3), np.dtype("f4")),
    "named": like((4, 3), "float32"),
    "integers": like((5,), "int64"),
}
TAKERS: dict[str, Callable[[Any], Any]] = {
    "forward": lambda value: rb.forward(MODEL.layers, value), "h_0": lambda value: rb.forward(MODEL.layers, X, value),
    "h_0s": lambda value: rb.forward(MODEL.layers, X, [value]), "logits": lambda value: rb.cross_entropy(value, np.zeros(5, int)),
    "targets": lambda value: rb.cross_entropy_grad(X, value), "weight": lambda value: rb.RNN([rb.Cell(value, H)]), "readout": lambda value: rb.RNN([rb.Cell(W, H)], rb.Linear(value)),
    "leak": lambda value: rb.RNN([rb.Cell(W, H, leak=value)]), "initial": lambda value: rb.RNN([rb.Cell(W, H)], h_0=value),
    "initials": lambda value: rb.RNN([rb.Cell(W, H)], h_0=[value]), "from_torch": lambda value: rb.from_torch({"weight_ih_l0": value, "weight_hh_l0": H}, activation="tanh"),
    "loss": lambda value: MODEL.loss(X, value), "loss of lengths": lambda value: MODEL.loss(X, value, lengths=[5, 3]),
    "loss of the last": lambda value: MODEL.loss(X, value, reads="last"), "layers": lambda value: rb.forward(value, X),
    "call": MODEL, "to_numpy": rb.to_numpy, "pad": lambda value: rb.pad([value, value]), "lengths": lambda value: MODEL(X, lengths=value),
}  # fmt: skip


@pytest.mark.parametrize("kind", NONE)
def test_no_array(kind: str) -> None:
    assert not is_array(NONE[kind])


@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_no_array_is_refused(taker: str) -> None:
    for kind, value in {**NONE, **STRANGE}.items():
        if value is None and taker in {"h_0", "leak", "initial", "lengths"}:
            continue
        with pytest.raises((rb.DTypeError, rb.ArgumentError, rb.BackendMismatchError, rb.FormatError)) as caught:
            TAKERS[taker](value)
        assert len(str(caught.value)) < 400, kind


FITTING: dict[str, Any] = {
    "forward": X, "call": X, "pad": X[:, 0], "to_numpy": X, "h_0": np.zeros((1, 2, 4), np.float32), "h_0s": np.zeros((2, 4), np.float32),
    "logits": np.zeros((5, 4), np.float32), "targets": np.zeros((5, 2), int), "loss": np.zeros((5, 2), int), "weight": W,
    "loss of lengths": np.zeros((5, 2), int), "loss of the last": np.zeros(2, int), "from_torch": W, "readout": H,
    "leak": np.full(4, 0.5, np.float32), "initial": np.zeros((1, 4), np.float32), "initials": np.zeros(4, np.float32), "lengths": np.array([5, 3]),
}  # fmt: skip


@pytest.mark.parametrize("taker", FITTING)
def test_what_is_masked_is_refused(taker: str) -> None:
    array = FITTING[taker]
    if taker not in {"h_0s", "initials"}:  # of one cell there is no list
        TAKERS[taker](array)
    for mask in (False, True, np.arange(array.size).reshape(array.shape) == 1):
        with pytest.raises(
            (rb.DTypeError, rb.FormatError), match="must not be a masked array, whose mask would be lost"
        ):
            TAKERS[taker](np.ma.masked_array(array, mask))


NESTED: dict[str, Callable[[Any], Any]] = {
    "x": MODEL.logits, "h_0": lambda value: MODEL(X, value), "pad": lambda value: rb.pad([value, value]),
    "lengths": lambda value: MODEL(X, lengths=value), "mask": lambda value: MODEL(X, mask=value), "stream": MODEL.stream(2),
}  # fmt: skip


@pytest.mark.parametrize("taker", NESTED)
def test_what_is_masked_in_lists_is_refused(taker: str) -> None:
    masked = np.ma.masked_array(np.ones((2, 3)), np.eye(2, 3) == 1)
    for value in (
        list(masked),
        [1.0, np.ma.masked, 2.0],
        [[1, 2], [np.ma.masked, 3]],
        [[*masked], [*masked]],
        (masked[0], masked[1]),
    ):
        with pytest.raises(rb.DTypeError, match="must not be a masked array, whose mask would be lost"):
            NESTED[taker](value)


def test_what_is_masked_beside_a_network_refuses_nothing() -> None:
    state = {"weight_ih_l0": W, "weight_hh_l0": H, "other.weight": np.ma.masked_array(W)}
    assert rb.from_torch(state, activation="tanh", roles={"other": "ignore"}).hidden_size == len(H)


@pytest.mark.parametrize("place", ["i", "h"])
def test_what_is_masked_in_a_tree_is_refused(place: str) -> None:
    tree: dict[str, Any] = {"i": {"kernel": W.T}, "h": {"kernel": H}}
    tree[place] = {"kernel": np.ma.masked_array(tree[place]["kernel"])}
    with pytest.raises(
        rb.FormatError, match=f"'{place}/kernel' must not be a masked array, whose mask would be lost; fill it"
    ):
        rb.from_flax(tree, activation="tanh", residual=False)


NUMBERS: dict[str, Callable[[Any], Any]] = {
    "clip": lambda value: rb.Cell(W, H, clip=value), "leak": lambda value: rb.Cell(W, H, leak=value),
    "alpha": lambda value: rb.Activation("elu", alpha=value), "beta": lambda value: rb.Activation("scaled_tanh", 1.0, value),
    "temperature": lambda value: MODEL.generate([0], 2, temperature=value), "top_p": lambda value: MODEL.generate([0], 2, top_p=value),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_a_masked_number_is_none(name: str) -> None:
    for value in (np.ma.masked, np.ma.masked_array(0.5), np.ma.masked_array(0.5, True)):
        with pytest.raises((rb.ArgumentError, rb.DTypeError, rb.ShapeError), match=f"`{name}`"):
            NUMBERS[name](value)


@pytest.mark.parametrize("taker", ["forward", "h_0", "h_0s", "logits", "targets", "to_numpy"])
def test_tables_of_pandas(taker: str) -> None:
    pandas = pytest.importorskip("pandas")
    for value in (pandas.Series([1.0, 2.0]), pandas.Index([0, 1]), pandas.Categorical(["a"]), pandas.Series(["a"])):
        with pytest.raises(rb.RNNBackendError):
            TAKERS[taker](value)


LAYOUTS = ("coo", "csr", "csc", "mkldnn", "quantized", "nested")


@pytest.fixture
def tensors(torch: Any) -> dict[str, Any]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls some of these a prototype
        ones = torch.ones(5, 3)
        return {
            "coo": ones.to_sparse(), "csr": ones.to_sparse_csr(), "csc": ones.to_sparse_csc(), "mkldnn": ones.to_mkldnn(),
            "quantized": torch.quantize_per_tensor(ones, 0.1, 0, torch.quint8), "nested": torch.nested.nested_tensor([ones[:2], ones]),
        }  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_of_other_layouts(layout: str, tensors: dict[str, Any], torch: Any) -> None:
    there, value = MODEL.to("torch"), tensors[layout]
    calls: dict[str, Callable[[], Any]] = {
        "call": lambda: there(value), "logits": lambda: there.logits(value), "stream": lambda: there.stream()(value),
        "h_0": lambda: there(torch.ones(5, 2, 3), value), "lengths": lambda: there(torch.ones(5, 2, 3), lengths=value),
        "forward": lambda: rb.forward(there.layers, value), "pad": lambda: rb.pad([value]), "pad two": lambda: rb.pad([torch.ones(2, 3), value]),
        "cross_entropy": lambda: rb.cross_entropy(value, torch.zeros(5, dtype=torch.long)), "to_numpy": lambda: rb.to_numpy(value),
    }  # fmt: skip
    for name, call in calls.items():
        with pytest.raises((rb.DTypeError, rb.ShapeError)) as caught:
            call()
        assert len(str(caught.value)) < 400, name
    with pytest.raises(rb.DTypeError, match="must be a dense array; got Tensor of another layout"):
        rb.to_numpy(value)


def test_tensors_without_values(torch: Any) -> None:
    meta, there = torch.ones(5, 2, 3, device="meta"), MODEL.to("torch")
    for call in (there, there.logits, there.stream(2), rb.to_numpy):
        with pytest.raises(rb.DeviceError, match="meta"):
            call(meta)
    with pytest.raises(rb.DeviceError, match="on meta, but the model is on cpu"):
        there(torch.ones(5, 2, 3), torch.ones(1, 2, 4, device="meta"))


@pytest.mark.parametrize(
    "given", [memoryview(np.ones((2, 3, 4)).data), memoryview(b"abc"), b"abc", bytearray(b"abc"), "abc"], ids=range(5)
)
def test_memory_is_no_list_of_sequences(given: Any) -> None:
    with pytest.raises(
        rb.DTypeError, match="`sequences` must be a list of at least one array, one for each sequence; got a"
    ):
        rb.pad(given)
