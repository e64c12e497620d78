"""Flax's parameters: trees and .msgpack files, the same numbers as Flax, and nothing lost in silence."""

import subprocess
import sys
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fuzz
import numpy as np
import pytest
from bounds import logits_bound
from hypothesis import given, settings
from hypothesis import strategies as st
from native_files import little_memory
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.formats.flax.activations import NAMES
from rnn_backends.testing import excess, reference

TOLD: dict[str, Any] = {"activation": "tanh", "residual": False}


def simple_cell(features: int = 3, seed: int = 0, nnx: bool = False, dtype: str = "f4") -> dict[str, Any]:
    draw, name = np.random.default_rng(seed), "dense_" if nnx else ""
    kernels = (draw.normal(size=(size, 4)).astype(dtype) for size in (features, 4))
    bias = draw.normal(size=4).astype(dtype)
    return {f"{name}i": {"kernel": next(kernels), "bias": bias}, f"{name}h": {"kernel": next(kernels)}}


def dense(size: int = 4, outputs: int = 2) -> dict[str, Any]:
    kernel = np.arange(outputs * size, dtype="f4").reshape(size, outputs)
    return {"kernel": kernel, "bias": np.ones(outputs, "f4")}


def table(size: int = 3) -> dict[str, Any]:
    return {"embedding": np.random.default_rng(9).normal(size=(7, size)).astype("f4")}


def cells(rnn: rb.RNN) -> list[tuple[rb.Cell, bool]]:
    return [(cell, reverse) for layer in rnn.layers for cell, reverse in layer.cells if isinstance(cell, rb.Cell)]


def assert_is(found: rb.Cell, wanted: Mapping[str, Any]) -> None:
    i, h = (wanted[name] if name in wanted else wanted[f"dense_{name}"] for name in ("i", "h"))
    np.testing.assert_array_equal(found.weight_ih, i["kernel"].T)
    np.testing.assert_array_equal(found.weight_hh, h["kernel"].T)
    np.testing.assert_array_equal(found.bias, i["bias"])


# Trees


@pytest.mark.parametrize("nnx", [False, True])
@pytest.mark.parametrize("path", [(), ("params",), ("cell",), ("params", "rnn", "cell"), ("layers", 0)])
def test_one_cell_is_found_wherever_it_is(nnx: bool, path: tuple[str | int, ...]) -> None:
    tree: Any = simple_cell(nnx=nnx)
    for name in reversed(path):
        tree = {name: tree}
    rnn = rb.from_flax(tree, **TOLD)
    ((found, reverse),) = cells(rnn)
    assert_is(found, simple_cell(nnx=nnx))
    assert (reverse, rnn.batch_first, found.activation) == (False, True, rb.Activation("tanh"))


def test_options_are_honoured() -> None:
    tree = {"cell": simple_cell(), "Dense_0": dense()}
    rnn = rb.from_flax(
        tree,
        activation=rb.Activation("elu", 0.5),
        residual=False,
        batch_first=False,
        readout_activation="sigmoid",
        backend="array_api_strict:device1",
    )
    assert rnn.readout is not None
    assert (rnn.batch_first, rnn.readout.activation) == (False, rb.Activation("sigmoid"))
    assert (rnn.backend.name, rnn.device) == ("array_api_strict", "device1")
    np.testing.assert_array_equal(rb.to_numpy(rnn.readout.weight), dense()["kernel"].T)
    assert cells(rnn)[0][0].activation == rb.Activation("elu", 0.5)


def test_a_bidirectional_is_one_layer() -> None:
    tree = {"bi": {"backward_rnn": {"cell": simple_cell(seed=1)}, "forward_rnn": {"cell": simple_cell()}}}
    (forward, backward) = cells(rb.from_flax(tree, **TOLD))
    assert_is(forward[0], simple_cell())
    assert_is(backward[0], simple_cell(seed=1))
    assert (forward[1], backward[1]) == (False, True)


STACK = {
    "z": {"cell": simple_cell()},
    "bi": {"forward_rnn": {"cell": simple_cell(4, 1)}, "backward_rnn": {"cell": simple_cell(4, 2)}},
    "a": simple_cell(8, 3),
    "b": simple_cell(4, 4),
}


@pytest.mark.parametrize(
    "second", ["bi", ("bi/forward_rnn", "bi/backward_rnn"), ["bi/forward_rnn/cell", "bi/backward_rnn/cell"]]
)
def test_layers_are_stacked_in_the_order_that_is_given(second: Any) -> None:
    found = cells(rb.from_flax(STACK, layers=["z", second, "a", (None, "b")], **TOLD))
    assert [reverse for _, reverse in found] == [False, False, True, False, True]
    wanted = [simple_cell(), simple_cell(4, 1), simple_cell(4, 2), simple_cell(8, 3), simple_cell(4, 4)]
    for (cell, _), tree in zip(found, wanted, strict=True):
        assert_is(cell, tree)


def test_a_residual_cell_is_one_whose_recurrent_matrix_has_the_identity_added() -> None:
    rnn = rb.from_flax(simple_cell(), activation="tanh", residual=True)
    kernel = simple_cell()["h"]["kernel"]
    exact = kernel.T.astype("f8") + np.eye(4)
    np.testing.assert_array_equal(cells(rnn)[0][0].weight_hh, exact.astype("f4"))


def test_an_embedding_is_folded_into_the_first_layer_where_that_makes_no_more_numbers() -> None:
    tree = {"Embed_0": {"embedding": table()["embedding"][:4]}, "cell": simple_cell()}
    rnn = rb.from_flax(tree, **TOLD)
    exact = simple_cell()["i"]["kernel"].T.astype("f8") @ table()["embedding"][:4].T.astype("f8")
    np.testing.assert_array_equal(cells(rnn)[0][0].weight_ih, exact.astype("f4"))
    assert rnn([[3, 2], [0, 1]])[0].shape == (2, 2, 4)


def test_an_embedding_is_the_encoder_where_folding_would_make_more_numbers() -> None:
    tree = {"Embed_0": table(), "bi": {"forward_rnn": simple_cell(), "backward_rnn": simple_cell(seed=1)}}
    rnn = rb.from_flax(tree, **TOLD)
    for (cell, _), seed in zip(cells(rnn), (0, 1), strict=True):
        assert_is(cell, simple_cell(seed=seed))
    assert isinstance(rnn.encoder, rb.Linear)
    np.testing.assert_array_equal(rnn.encoder.weight, table()["embedding"].T)
    assert rnn([[3, 6], [0, 1]])[0].shape == (2, 2, 8)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_an_activation_is_flaxs(name: str) -> None:
    jax = pytest.importorskip("jax")
    rnn = rb.from_flax({"cell": simple_cell(), "out": dense()}, **{**TOLD, "readout_activation": name})
    z = np.linspace(-7, 7, 30, dtype="f4").reshape(5, 3, 2)
    wanted = getattr(jax.nn, name, jax.numpy.tanh)(z)
    assert isinstance(rnn.readout, rb.Linear)
    np.testing.assert_allclose(rnn.readout.activate(z), np.asarray(wanted), rtol=1e-5, atol=1e-6)


def test_relu6_is_flaxs_by_its_name() -> None:
    ((cell, _),) = cells(rb.from_flax(simple_cell(), activation="relu6", residual=False))
    assert cell.activation == rb.Activation("clipped_relu", 6.0)


def test_a_name_of_an_activation_that_flax_lacks_is_refused() -> None:
    for told in ({"activation": "affine"}, {"readout_activation": ("relu", "hard_tanh")}, {"encoder_activation": 3}):
        (option,) = told
        with pytest.raises(rb.ArgumentError, match=f"`{option}` must be a callable or (a name of Flax's|one of )"):
            rb.from_flax({"cell": simple_cell()}, **{**TOLD, **told})
    leaky = rb.Activation("leaky_relu", 0.3)
    assert cells(rb.from_flax(simple_cell(), activation=leaky, residual=False))[0][0].activation == leaky


@pytest.mark.usefixtures("msgpack")
def test_what_stands_beside_the_parameters_in_a_file_is_passed_over(tmp_path: Path) -> None:
    scalar = extension(3, array_bytes()[4:])
    beside = [b"\xd8\3" + bytes(16), b"\xda\x08\x00" + b"a" * 2048, b"\xc4\3abc", scalar, b"\xc0", b"\xcb" + bytes(8)]
    entries = b"".join(b"\xa1" + bytes([65 + k]) + value for k, value in enumerate(beside))
    cell = fuzz.flax_file()[1:]  # without the number of its entries
    path = tmp_path / "m.msgpack"
    path.write_bytes(bytes([0x81 + len(beside)]) + entries + cell)
    assert rb.load(path, **TOLD, readout_activation="softmax").num_parameters == 40


@pytest.mark.parametrize(
    ("tree", "given", "match"),
    [
        (
            {"d": {"kernel": np.ones((4, 2)), "w": np.ones((4, 2))}},
            {},
            "'d' has 'd/kernel', 'd/w' for one array; keep one",
        ),
        ({"d": dense()}, {"roles": {"cell": "readout"}}, "`roles` names 'cell', which has no role of its own"),
        ({"d": dense()}, {"roles": {"d": "layers"}}, "`roles` makes 'd' the layers; of its kind, kernel, it may be"),
        ({"d": dense()}, {"roles": {"d": "embedding"}}, "`roles` makes 'd' the embedding; of its kind, kernel"),
        ({"e": table()}, {"roles": {"e": "encoder"}}, "`roles` makes 'e' the encoder; of its kind, table, it may be"),
    ],
)
def test_roles_are_of_the_kinds_of_modules(tree: dict[str, Any], given: dict[str, Any], match: str) -> None:
    with pytest.raises(rb.FormatError, match=match):
        rb.from_flax({"cell": simple_cell(), **tree}, **TOLD, readout_activation="softmax", **given)


def test_averages_beside_the_parameters_are_asked_for() -> None:
    tree = {"step": 3, "params": {"cell": simple_cell()}, "ema": {"cell": simple_cell(seed=1)}, "opt_state": {"0": {}}}
    with pytest.raises(rb.FormatError, match="the tree holds several networks, in 'params', 'ema'; pass key='params'"):
        rb.from_flax(tree, **TOLD)
    for key, seed in (("params", 0), ("ema", 1)):
        assert_is(cells(rb.from_flax(tree, **TOLD, key=key))[0][0], simple_cell(seed=seed))
    with pytest.raises(rb.FormatError, match="there is no 'sma' among 'step', 'params', 'ema', 'opt_state'"):
        rb.from_flax(tree, **TOLD, key="sma")


def test_roles_of_several_dense_are_by_their_paths() -> None:
    tree = {"before": dense(9, 3), "cell": simple_cell(), "after": dense(4)}
    given = {**TOLD, "encoder_activation": "relu", "readout_activation": "identity"}
    rnn = rb.from_flax(tree, **given)
    assert (rnn.input_size, rnn.readout.output_size) == (9, dense(4)["kernel"].shape[1])
    square = {"proj": dense(3, 3), "bi": {"forward_rnn": simple_cell(), "backward_rnn": simple_cell(seed=1)}}
    assert rb.from_flax(square, **TOLD, encoder_activation="relu").encoder is not None
    with pytest.raises(rb.FormatError, match="`roles` names 'none', which is no module of the state dict"):
        rb.from_flax(tree, **given, roles={"none": "ignore"})


def test_the_caller_keeps_the_arrays() -> None:
    tree = simple_cell()
    rnn = rb.from_flax(tree, **TOLD)
    for part in (tree["i"]["kernel"], tree["i"]["bias"], tree["h"]["kernel"]):
        part[:] = 7.0
    assert_is(cells(rnn)[0][0], simple_cell())


def gated(shape: tuple[int, int]) -> dict[str, Any]:
    return {"dense_i": {"kernel": np.zeros((3, shape[1]))}, "dense_h": {"kernel": np.zeros(shape)}}


def nested(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(depth):
        tree = {"a": tree, "b": np.zeros(1)}
    return tree


WRONG_TREES: dict[str, tuple[Any, str]] = {
    "no tree": ([1], "parameters of Flax, a mapping of mappings of arrays, are wanted; got list"),
    "no array": ({"i": {"kernel": []}}, r"'i/kernel' must be an array, or a mapping of them; got list; of an nnx model"),
    "nothing": ({}, "parameters of Flax, .* are wanted; the tree holds no arrays of floating point"),
    "no cell": ({"d": dense()}, "the tree holds no SimpleCell; its arrays are 'd/kernel', 'd/bias'"),
    "two cells": ({"a": simple_cell(), "b": simple_cell()}, "does not record the order of its cells, 'a', 'b'; pass"),
    "two Dense": ({"c": simple_cell(), "d": dense(), "e": dense()}, r"'d' \(4 -> 2\), 'e' \(4 -> 2\) cannot stand, .* roles= with what each is"),
    "two Embed": ({"c": simple_cell(), "d": table(), "e": table()}, "has one embedding; there are 'd', 'e'; .* roles={'e': 'i"),
    "a norm": ({"c": simple_cell(), "n": {"scale": np.ones(4)}}, "'n/scale' is of a normalisation, which has no place"),
    "a vector": ({"c": simple_cell(), "n": {"kernel": np.ones(4)}}, "'n' must have a kernel of two axes"),
    "no axes": ({"i": {"kernel": np.ones(())}, "h": {"kernel": np.ones(())}}, r"`weight_ih` must be a matrix .* got shape \(\)"),
    "an input without axes": ({"i": {"kernel": np.ones(())}, "h": simple_cell()["h"]}, "`weight_ih` must be a matrix"),
    "a state without axes": ({"i": simple_cell()["i"], "h": {"kernel": np.ones(())}}, "`weight_hh` must have shape"),
    "no axes and no numbers": ({"i": {"kernel": np.ones(())}, "h": {"kernel": np.ones(0)}}, "`weight_ih` must be a matrix"),
    "a half": ({"c": {"i": simple_cell()["i"]}}, "'c' must have the kernels of i and of h; it has i/bias, i/kernel"),
    "an LSTM of linen": ({"ii": {"kernel": np.zeros((3, 4))}}, "'ii/kernel', which belongs to a cell with gates"),
    "a GRU of linen": ({"hn": {"kernel": np.zeros((3, 4)), "bias": np.zeros(4)}}, "'hn/kernel', which belongs to a cell"),
    "an LSTM of nnx": ({"dense_h": {"bias": np.zeros(16)}}, "'dense_h/bias', which belongs to a cell with gates"),
    "a GRU of nnx": (gated((4, 12)), "'dense_h/kernel' has 3 rows of gates for each unit, as a GRU has"),
    "a table that does not fit": (
        {"e": table(5), "c": simple_cell()},
        "`encoder` must give 3 features, as many as the first layer takes; it gives 5",
    ),
    "a table of another dtype": (
        {"e": {"embedding": table()["embedding"].astype("f8")}, "c": simple_cell()},
        "all parameters must have one dtype; got float32 for .*weight_ih` and float64 for",
    ),
    "a name with a slash": ({"a/b": simple_cell(), "a": {"b": simple_cell()}}, "'a/b/i/kernel' stands in the tree twice"),
    "a thousand cells": ({f"cell {k}": simple_cell() for k in range(1000)}, "its cells, 'cell 0', .* and 995 more; pass"),
    "a readout that does not fit": ({"c": simple_cell(), "d": dense(5)}, r"'d' \(5 -> 2\) cannot stand, .* and gives 4;"),
    "integers": ({"i": simple_cell()["i"], "h": {"kernel": np.zeros((4, 4), int)}}, "`weight_hh` must be one of float16, .*; got int64"),
    "too deep": (nested(3000), "the tree goes deeper than any network's, at 'a/a/"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_TREES)
def test_what_is_not_understood_is_refused_by_name(kind: str) -> None:
    tree, match = WRONG_TREES[kind]
    with pytest.raises(rb.FormatError, match=match) as caught:
        rb.from_flax(tree, **TOLD)
    assert "\n" not in str(caught.value)


def test_a_tree_that_holds_itself_is_refused() -> None:
    tree: dict[str, Any] = simple_cell()
    tree["x"] = tree
    with pytest.raises(rb.FormatError, match="the tree goes deeper than any network's"):
        rb.from_flax(tree, **TOLD)


@pytest.mark.parametrize(
    ("layers", "error", "match"),
    [
        ("z", rb.ArgumentError, "`layers` must be a list of paths, or of pairs .*; got 'z'"),
        ([], rb.ArgumentError, "`layers` must be a list of paths"),
        ([3], rb.ArgumentError, "`layers` must be a list of paths"),
        ([("z",)], rb.ArgumentError, "`layers` must be a list of paths"),
        ([(None, None)], rb.ArgumentError, "`layers` must be a list of paths"),
        ([("z", 3)], rb.ArgumentError, "`layers` must be a list of paths"),
        (["z", "bi", "a"], rb.FormatError, "`layers` leaves out 'b'; name every cell"),
        (["z", "bi", "a", "b", "z"], rb.FormatError, "`layers` names a cell twice"),
        (["z", "bi", "a", "y"], rb.FormatError, "'y' in `layers` must be the path of one SimpleCell; there are 'z/cell'"),
        ([""], rb.FormatError, "'' in `layers` must be the path of one SimpleCell"),
    ],
)  # fmt: skip
def test_wrong_orders_are_refused(layers: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        rb.from_flax(STACK, layers=layers, **TOLD)


@pytest.mark.parametrize("residual", [None, 1, "no"])
def test_residual_must_be_given(residual: Any) -> None:
    match = "do not record whether it is residual; pass residual=False|`residual` must be True or False; got"
    with pytest.raises(rb.ArgumentError, match=match):
        rb.from_flax(simple_cell(), activation="tanh", residual=residual)


def test_the_activation_of_a_readout_must_be_given() -> None:
    tree = {"cell": simple_cell(), "Dense_0": dense()}
    with pytest.raises(rb.FormatError, match="do not record its activation, g2; pass readout_activation='softmax'"):
        rb.from_flax(tree, **TOLD)


def test_the_activation_must_be_given() -> None:
    with pytest.raises(rb.FormatError, match="weights alone do not record the activation"):
        rb.from_flax(simple_cell(), activation=None, residual=False)  # type: ignore[arg-type]  # the test is that


# Files, written with the msgpack package alone


def packed(tree: Any, msgpack: Any) -> bytes:
    """Return what flax.serialization.to_bytes makes of a tree."""

    def extension(array: NDArray[Any]) -> Any:
        return msgpack.ExtType(1, msgpack.packb((array.shape, array.dtype.name, array.tobytes())))

    return bytes(msgpack.packb(tree, default=extension, strict_types=True))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_a_file_is_read_as_the_tree_is(tmp_path: Path, msgpack: Any, dtype: str) -> None:
    tree = {"params": {"cell": simple_cell(dtype=dtype)}}
    path = tmp_path / "m.msgpack"
    path.write_bytes(packed(tree, msgpack))
    for rnn in (rb.load(path, **TOLD), rb.from_flax(path, **TOLD), rb.from_flax(str(path), **TOLD)):
        ((found, _),) = cells(rnn)
        assert_is(found, simple_cell(dtype=dtype))
        assert found.weight_ih.dtype == dtype
        assert rnn.batch_first


def test_layers_of_a_file_are_ordered_by_from_flax(tmp_path: Path, msgpack: Any) -> None:
    path = tmp_path / "m.msgpack"
    path.write_bytes(packed(STACK, msgpack))
    assert len(cells(rb.from_flax(path, layers=["z", "bi", "a", "b"], **TOLD))) == 5
    with pytest.raises(rb.FormatError, match=r"m\.msgpack: .*does not record the order of its cells"):
        rb.load(path, **TOLD)


def test_every_bfloat16_becomes_float32_exactly(tmp_path: Path, msgpack: Any) -> None:
    bits = np.arange(2**16, dtype="<u2").reshape(256, 256)

    def array(held: NDArray[Any]) -> Any:
        return msgpack.ExtType(1, msgpack.packb((held.shape, "bfloat16", held.tobytes())))

    path = tmp_path / "m.msgpack"
    path.write_bytes(msgpack.packb({"i": {"kernel": array(bits)}, "h": {"kernel": array(bits)}}))
    ((found, _),) = cells(rb.load(path, **TOLD))
    assert found.weight_hh.T.tobytes() == (bits.astype("u4") << 16).tobytes()


def test_without_msgpack_the_extra_is_named(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['msgpack'] = None\n"
        "import rnn_backends as rb\n"
        "try: rb.load(sys.argv[1], activation='tanh', residual=False)\n"
        "except rb.FormatError as error: print(error)"
    )
    path = tmp_path / "m.msgpack"
    path.write_bytes(b"\x80")
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, check=True, text=True)
    assert (
        "m.msgpack: this format needs the package msgpack; install it: pip install 'rnn-backends[flax]'" in done.stdout
    )


def extension(code: int, data: bytes) -> bytes:
    return b"\xc8" + len(data).to_bytes(2, "big") + bytes([code]) + data


def array_bytes(
    shape: bytes = b"\x92\4\4", dtype: bytes = b"\xa7float32", data: bytes = b"\xc4\x40" + bytes(64)
) -> bytes:
    return extension(1, b"\x93" + shape + dtype + data)


def one(value: bytes) -> bytes:
    """Return a map of one entry."""
    return b"\x81\xa1i" + value


WRONG_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "more than one object": (one(array_bytes()) + b"\0", "1 bytes follow the end of its tree"),
    "an unknown byte": (b"\xc1", "is not of flax.serialization.to_bytes, or is damaged"),
    "no map": (array_bytes(), "parameters of Flax, a mapping of mappings of arrays, are wanted; got an array"),
    "a list": (one(b"\x91\1"), "'i' must be an array, or a mapping of them; got list"),
    "bytes": (one(b"\xc4\1a"), "the tree holds no arrays of floating point"),
    "a long text": (b"\x81\xda\xff\xff" + bytes(65535) + b"\0", "is not of flax.serialization.to_bytes"),
    "a number for a name": (b"\x81\1\2", "the key 1 stands in a map twice, or is no text"),
    "a name twice": (b"\x82\xa1i\1\xa1i\2", "the key 'i' stands in a map twice, or is no text"),
    "a large map": (b"\xdf\x00\x01\x00\x00", "its tree would take 196611 items"),
    "a deep map": (b"\x81\xa1a" * 3000 + b"\1", "its tree would take 129 levels"),
    "a number": (one(b"\1"), "the tree holds no arrays of floating point"),
    "a complex number": (one(extension(2, b"\x92\0\0")), "the tree holds no arrays of floating point"),
    "a scalar": (one(extension(3, array_bytes()[4:])), "the tree holds no arrays of floating point"),
    "a time": (one(extension(0xFF, bytes(12))), "a MessagePack extension of type 255"),
    "a fixed extension": (one(b"\xd4\1\0"), "is not of flax.serialization.to_bytes, or is damaged"),
    "an object array": (one(array_bytes(dtype=b"\xa6object")), "an array in it has dtype 'object'; it must be one of"),
    "integers": (one(array_bytes(dtype=b"\xa5int32")), "the tree holds no arrays of floating point"),
    "a dtype that is no text": (one(array_bytes(dtype=b"\1")), "dtype 1; it must be one of"),
    "no shape": (one(array_bytes(shape=b"\4")), "must have a shape of integers; got 4"),
    "a shape of texts": (one(array_bytes(shape=b"\x91\xa14")), "an array in it must have a shape of integers"),
    "a negative size": (one(array_bytes(shape=b"\x92\xfc\xfc")), "an array in it must have a shape of integers"),
    "a shape of booleans": (one(array_bytes(shape=b"\x92\xc3\xc3")), "an array in it must have a shape of integers"),
    "a huge shape": (one(array_bytes(shape=b"\x92" + b"\xcf" + b"\xff" * 8 + b"\xcf" + b"\xff" * 8)), "but holds 64 bytes"),
    "a shape that does not fit": (one(array_bytes(shape=b"\x92\4\5")), "float32 of shape .* but holds 64 bytes"),
    "no axes": (
        b"\x82\xa1i\x81\xa6kernel%b\xa1h\x81\xa6kernel%b" % ((array_bytes(b"\x90", data=b"\xc4\4" + bytes(4)),) * 2),
        r"`weight_ih` must be a matrix .* got shape \(\)",
    ),
    "a long shape": (one(array_bytes(shape=b"\xdc\1\0" + b"\1" * 256)), "an array in it would take 256 axes"),
    "too few bytes": (one(array_bytes(data=b"\xc4\x40" + bytes(63))), "but holds 63 bytes"),
    "too many bytes": (one(array_bytes(data=b"\xc4\x40" + bytes(65))), "but holds 65 bytes"),
    "no bytes": (one(array_bytes(data=b"")), "it is cut short"),
    "text for bytes": (one(array_bytes(data=b"\xd9\x40" + bytes(64))), "but holds 65 bytes"),
    "no tuple": (one(extension(1, b"\1")), "is not of flax.serialization.to_bytes"),
    "nothing in it": (one(extension(1, b"")), "it is cut short or damaged: it points to bytes 7 to 8 of 7"),
}  # fmt: skip


@pytest.mark.usefixtures("msgpack")
def test_a_file_takes_its_own_size_once(tmp_path: Path) -> None:
    size = 2000

    def array() -> bytes:
        data = b"\x93\x92" + (b"\xcd" + size.to_bytes(2, "big")) * 2 + b"\xa7float64"
        data += b"\xc6" + (8 * size * size).to_bytes(4, "big") + bytes(8 * size * size)
        return b"\xc9" + len(data).to_bytes(4, "big") + b"\1" + data

    path = tmp_path / "m.msgpack"
    path.write_bytes(b"\x82\xa1i\x81\xa6kernel" + array() + b"\xa1h\x81\xa6kernel" + array())
    tracemalloc.start()
    try:
        assert rb.load(path, **TOLD).dtype == "float64"
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size + 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("msgpack")
def test_an_embedding_cannot_fill_the_memory(tmp_path: Path) -> None:
    def array(rows: int, columns: int) -> bytes:
        data = b"\x93\x92" + b"".join(b"\xce" + size.to_bytes(4, "big") for size in (rows, columns)) + b"\xa7float16"
        data += b"\xc6" + (2 * rows * columns).to_bytes(4, "big") + bytes(2 * rows * columns)
        return b"\xc9" + len(data).to_bytes(4, "big") + b"\1" + data

    path, hidden = tmp_path / "m.msgpack", 200
    cell = b"\x82\xa1i\x81\xa6kernel" + array(1, hidden) + b"\xa1h\x81\xa6kernel" + array(hidden, hidden)
    path.write_bytes(b"\x82\xa4cell" + cell + b"\xa1e\x81\xa9embedding" + array(200_000, 1))
    with little_memory():
        assert rb.load(path, **TOLD).num_parameters == 200 * 201 + 200_000


@pytest.mark.parametrize("kind", WRONG_FILES)
@pytest.mark.usefixtures("msgpack")
def test_wrong_files_are_refused(tmp_path: Path, kind: str) -> None:
    data, match = WRONG_FILES[kind]
    path = tmp_path / "m.msgpack"
    path.write_bytes(data)
    with pytest.raises(rb.FormatError, match=match) as caught:
        rb.load(path, **TOLD)
    assert "m.msgpack: " in str(caught.value)
    assert "\n" not in str(caught.value)


# Against Flax itself


def contractive(shape: tuple[int, ...], draw: np.random.Generator, residual: bool) -> NDArray[Any]:
    """Return a recurrent kernel, (from, to), with which no error grows with time, the residual counted in."""
    kernel = draw.normal(size=shape)
    kernel *= 0.8 / abs(kernel).sum(axis=0)
    return kernel - np.eye(len(kernel)) if residual else kernel


def redrawn(tree: Any, draw: np.random.Generator, dtype: str, residual: bool, path: tuple[str, ...] = ()) -> Any:
    """Return a tree of the same shapes, drawn anew."""
    if isinstance(tree, Mapping):
        return {name: redrawn(part, draw, dtype, residual, (*path, str(name))) for name, part in sorted(tree.items())}
    recurrent = path[-2:] in {("h", "kernel"), ("dense_h", "kernel")}
    value = contractive(tree.shape, draw, residual) if recurrent else draw.normal(size=tree.shape)
    return value.astype(dtype)


def double(flax: Any, dtype: str) -> Any:
    """Return the module jax, which computes in float64 only where it is told to."""
    import jax

    jax.config.update("jax_enable_x64", dtype == "float64")
    return jax


@settings(max_examples=8)  # each is compiled anew
@given(
    features=st.integers(1, 5),
    hidden=st.integers(1, 5),
    bidirectional=st.booleans(),
    embedded=st.booleans(),
    residual=st.booleans(),
    activation=st.sampled_from(["tanh", "relu", "sigmoid"]),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_linen_computes_the_same(
    flax: Any, tmp_path_factory: pytest.TempPathFactory, features: int, hidden: int, bidirectional: bool,
    embedded: bool, residual: bool, activation: str, dtype: str, seed: int,
) -> None:  # fmt: skip
    jax, draw = double(flax, dtype), np.random.default_rng(seed)
    from flax import linen
    from flax.serialization import to_bytes

    held: dict[str, Any] = {"dtype": dtype, "param_dtype": dtype}
    function = jax.numpy.tanh if activation == "tanh" else getattr(jax.nn, activation)

    def rnn_of(name: str) -> Any:
        return linen.RNN(linen.SimpleCell(hidden, residual=residual, activation_fn=function, name=name, **held))

    class Model(linen.Module):  # type: ignore[misc]  # of no known type
        @linen.compact  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            x = linen.Embed(6, features, name="embed", **held)(x) if embedded else x
            x = linen.Bidirectional(rnn_of("fw"), rnn_of("bw"))(x) if bidirectional else rnn_of("fw")(x)
            states = rnn_of("second")(x)
            return states, linen.Dense(3, name="out", **held)(states)

    x = draw.integers(0, 6, (3, 7)) if embedded else draw.normal(size=(3, 7, features)).astype(dtype)
    model = Model()
    variables = redrawn(model.init(jax.random.key(0), x), draw, dtype, residual)
    wanted, wanted_logits = map(np.asarray, model.apply(variables, x))
    g2: dict[str, Any] = {"readout_activation": "softmax"}
    path = tmp_path_factory.getbasetemp() / "linen.msgpack"
    path.write_bytes(to_bytes(variables))
    order: list[Any] = [("fw", "bw") if bidirectional else "fw", "second"]
    for source in (variables, path):
        rnn = rb.from_flax(source, activation=activation, residual=residual, layers=order, **g2)
        found = rnn(x)[0]
        looked_up = variables["params"]["embed"]["embedding"][x] if embedded else x
        # What Flax computes: the embedding looked up, the state added; the bound counts one product more.
        bare = {name: part for name, part in variables["params"].items() if name != "embed"}
        judge = rb.from_flax(bare, activation=activation, residual=residual, layers=order, **g2)
        bound = reference(judge.layers, looked_up.swapaxes(0, 1), dtype=dtype)[0]
        assert excess(found.swapaxes(0, 1), bound) <= 1
        assert excess(wanted.swapaxes(0, 1), bound) <= 1
        logits = logits_bound(rnn, bound, dtype)
        assert excess(rnn.logits(x).swapaxes(0, 1), logits) <= 1
        assert excess(wanted_logits.swapaxes(0, 1), logits) <= 1


@settings(max_examples=6)
@given(
    features=st.integers(1, 5),
    hidden=st.integers(1, 5),
    bidirectional=st.booleans(),
    residual=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_nnx_computes_the_same(
    flax: Any, features: int, hidden: int, bidirectional: bool, residual: bool, dtype: str, seed: int
) -> None:
    double(flax, dtype)
    draw = np.random.default_rng(seed)
    from flax import nnx

    def rnn_of(size: int) -> Any:
        held: dict[str, Any] = {"dtype": dtype, "param_dtype": dtype, "rngs": nnx.Rngs(0)}
        return nnx.RNN(nnx.SimpleCell(size, hidden, residual=residual, **held), rngs=nnx.Rngs(0))

    module = nnx.Bidirectional(rnn_of(features), rnn_of(features)) if bidirectional else rnn_of(features)
    params = redrawn(nnx.to_pure_dict(nnx.state(module, nnx.Param)), draw, dtype, residual)
    state = nnx.state(module, nnx.Param)
    nnx.replace_by_pure_dict(state, params)
    nnx.update(module, state)
    x = draw.normal(size=(3, 7, features)).astype(dtype)
    rnn = rb.from_flax(params, activation="tanh", residual=residual)
    bound = reference(rnn.layers, x.swapaxes(0, 1), dtype=dtype)[0]
    wanted = np.asarray(module(x))
    assert excess(wanted.swapaxes(0, 1), bound) <= 1
    assert excess(rnn(x)[0].swapaxes(0, 1), bound) <= 1
