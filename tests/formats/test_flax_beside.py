"""What stands beside the cells in Flax's parameters: refused where it computes, passed over where it does not."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import fuzz
import numpy as np
import pytest
from plain import X, network, normal, of_torch, states
from ways import follow, refused

import rnn_backends as rb
from rnn_backends.formats.advice import is_advised

TOLD: dict[str, Any] = {"activation": "tanh", "residual": False}
READ: Any = partial(rb.from_flax, **TOLD)
CELL: dict[str, Any] = {"i": {"kernel": normal(3, 4), "bias": normal(4)}, "h": {"kernel": normal(4, 4)}}
ABOVE: dict[str, Any] = {"i": {"kernel": normal(4, 4), "bias": normal(4)}, "h": {"kernel": normal(4, 4, seed=1)}}
DENSE: dict[str, Any] = {"kernel": normal(4, 2), "bias": normal(2)}
STATISTICS = {"norm": {"mean": normal(4), "var": normal(4) ** 2}}


def computed(cell: Mapping[str, Any] = CELL, x: Any = X, h_0: Any = 0.0) -> Any:
    return states(x, cell["i"]["kernel"].T, cell["h"]["kernel"].T, cell["i"]["bias"], h_0=h_0)


def output(rnn: rb.RNN) -> Any:
    return rnn(X.swapaxes(0, 1))[0].swapaxes(0, 1)


def packed(tree: Mapping[str, Any]) -> bytes:
    """Return what flax.serialization.to_bytes makes of a tree of arrays."""
    found = bytes([0x80 + len(tree)])
    for name, part in tree.items():
        value = packed(part) if isinstance(part, Mapping) else fuzz.array_of_msgpack(part)
        found += bytes([0xA0 + len(name)]) + name.encode() + value
    return found


# Statistics


WITH_STATISTICS: dict[str, tuple[dict[str, Any], str | tuple[str, ...] | None]] = {
    "variables": ({"params": {"cell": CELL}, "batch_stats": STATISTICS}, None),
    "its parameters by name": ({"params": {"cell": CELL}, "batch_stats": STATISTICS}, "params"),
    "variables within": ({"params": {"params": {"cell": CELL}, "batch_stats": STATISTICS}}, None),
    "parameters within": ({"params": {"params": {"cell": CELL}}, "batch_stats": STATISTICS}, None),
    "averages": ({"params": {"c": CELL}, "ema": {"cell": CELL}, "batch_stats": STATISTICS}, "ema"),
    "a part": ({"params": {"a": {"cell": CELL}, "b": {}}, "batch_stats": {"a": STATISTICS}}, ("params", "a")),
    "a spectral norm": ({"params": {"cell": CELL}, "batch_stats": {"norm": {"d/kernel/u": normal(1, 2)}}}, None),
    "a state": (
        {"step": 3, "params": {"cell": CELL}, "opt_state": {"0": {"mu": CELL}}, "batch_stats": STATISTICS}, None
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WITH_STATISTICS)
def test_statistics_compute_and_are_refused(kind: str) -> None:
    tree, key = WITH_STATISTICS[kind]
    with pytest.raises(
        rb.FormatError, match=r"`batch_stats` has '(a/)?norm/.* has no place in a network here\.$"
    ) as caught:
        READ(tree, key=key)
    assert not is_advised(str(caught.value))


@pytest.mark.usefixtures("msgpack")
def test_statistics_in_a_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.msgpack"
    path.write_bytes(packed({"params": {"cell": CELL}, "batch_stats": STATISTICS}))
    with pytest.raises(rb.FormatError, match="`batch_stats` has 'norm/mean', 'norm/var'"):
        rb.load(path, **TOLD)
    path.write_bytes(packed({"params": {"cell": CELL}, "opt_state": {"norm": STATISTICS}}))
    np.testing.assert_allclose(output(rb.load(path, **TOLD)), computed())


@pytest.mark.parametrize(
    ("tree", "given"),
    [
        ({"params": {"cell": CELL}, "batch_stats": {}}, {}),
        ({"params": {"cell": CELL}, "batch_stats": {"norm": {"count": np.array(3)}}}, {}),
        ({"params": {"a": CELL, "b": {}}, "batch_stats": {"b": STATISTICS}}, {"key": ("params", "a")}),
        ({"params": {"a": CELL, "b": DENSE}, "batch_stats": {"b": STATISTICS}}, {"roles": {"b": "ignore"}}),
        ({"params": {"a": CELL}, "batch_stats": {"b": STATISTICS}}, {"roles": {"b": "ignore"}}),
    ],
)
def test_statistics_of_other_modules_are_passed_over(tree: Any, given: Any) -> None:
    np.testing.assert_allclose(output(READ(tree, **given)), computed())


def test_a_collection_that_is_not_known_is_asked_for() -> None:
    tree = {"params": {"cell": CELL}, "constants": {"cell": {"gain": normal(4)}}}
    follow("flax_collection", lambda **given: READ(tree, **given), computed(), output)


@pytest.mark.parametrize(
    "beside",
    [
        {"opt_state": {"cell": {"mu": normal(4)}}},
        {"intermediates": {"cell": {"__call__": normal(4)}}},
        {"metrics": {"loss": normal(1)}},
        {"constants": {"cell": {"count": np.array(3)}}},
        {"seeds": {"other": normal(4)}},
        {"note": "cell"},
    ],
)
def test_collections_that_compute_nothing_are_passed_over(beside: Any) -> None:
    np.testing.assert_allclose(output(READ({"params": {"cell": CELL}, **beside})), computed())


# Modules that are known to compute

COMPUTING: dict[str, tuple[dict[str, Any], str]] = {
    "PReLU": ({"p": {"negative_slope": np.array(0.01)}}, "'p/negative_slope' is of a PReLU, which has no place"),
    "a shift": ({"n": {"bias": normal(4)}}, "'n' must have a kernel of two axes; it has a bias alone, as a normalis"),
    "a scale": ({"n": {"scale": normal(4), "bias": normal(4)}}, "'n/scale' is of a normalisation"),
    "Haiku's shift": ({"n": {"offset": normal(4)}}, "'n/offset' is of a normalisation"),
    "nnx's statistics": ({"n": {"mean": normal(4), "var": normal(4)}}, "'n/mean' is of a normalisation"),
    "nnx's spectral norm": ({"n": {"batch_stats": {"('kernel', 'u')": normal(1, 2)}}}, r"'u'\)\" is of a BatchNorm or"),
    "a weight norm": ({"n": {"d/kernel/scale": normal(2)}, "d": DENSE}, "'n/d/kernel/scale' is of a normalisation"),
    "a convolution": ({"c": {"kernel": normal(3, 4, 4), "bias": normal(4)}}, r"'c/kernel' is of shape \(3, 4, 4\), that of"),
    "attention": ({"a": {"query": {"kernel": normal(4, 2, 2)}}}, "'a/query/kernel' is of shape .*, that of a convolution"),
    "LoRA": ({"d": {**DENSE, "lora_a": normal(4, 1)}}, "'d/lora_a' is of a LoRA"),
    "a Dense with more": ({"d": {**DENSE, "gain": normal(2)}}, "'d/gain' stands beside 'd/kernel' in one module"),
    "a row in a Dense": ({"d": {**DENSE, "gain": normal(1, 4)}}, "'d/gain' stands beside 'd/kernel' in one module"),
    "a table with more": ({"e": {"embedding": normal(7, 3), "to": normal(3)}}, "'e/to' stands beside 'e/embedding'"),
    "a cell with more": ({"cell": {**CELL, "h": {**CELL["h"], "g": normal(4)}}}, "'cell/h/g' stands beside 'cell/i/kernel'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", COMPUTING)
def test_a_module_that_computes_is_refused_without_a_way_to_ignore_it(kind: str) -> None:
    tree, match = COMPUTING[kind]
    with pytest.raises(rb.FormatError, match=match) as caught:
        READ({"cell": CELL, **tree}, readout_activation="identity")
    assert not is_advised(str(caught.value))


@pytest.mark.parametrize("name", ["mean", "var", "scale", "u"])
def test_a_dense_of_any_name_is_a_dense(name: str) -> None:
    rnn = READ({"cell": CELL, name: DENSE}, readout_activation="identity")
    wanted = computed() @ DENSE["kernel"] + DENSE["bias"]
    np.testing.assert_allclose(rnn.logits(X.swapaxes(0, 1)).swapaxes(0, 1), wanted)


@pytest.mark.parametrize(
    ("tree", "carry"),
    [
        ({"h0": normal(4), "cell": CELL}, normal(4)),
        ({"start": normal(1, 4), "cell": CELL}, normal(1, 4)),
        ({"c": normal(1, 4), "cell": CELL}, normal(1, 4)),
        ({"cell": {**CELL, "initial_carry": normal(4)}}, normal(4)),
    ],
)
def test_a_learned_initial_carry_is_given_at_each_call(tree: Any, carry: Any) -> None:
    h_0 = np.broadcast_to(carry, (1, 2, 4))
    wanted = computed(h_0=h_0[0])
    result = lambda rnn: rnn(X.swapaxes(0, 1), h_0)[0].swapaxes(0, 1)  # noqa: E731
    follow("module_state", lambda **given: READ(tree, **given), wanted, result)


def test_an_array_of_no_known_module_may_be_ignored() -> None:
    follow("ignore", lambda **given: READ({"cell": CELL, "temperature": normal(3)}, **given), computed(), output)


# What is no array of numbers


class Key:
    """A key of JAX's, whose dtype NumPy does not have."""

    shape, dtype = (), "key<fry>"


@pytest.mark.parametrize(
    "value",
    ["text", b"text", 3, 0.5, 1j, None, np.array(["a", "b"]), np.array([b"a"]), np.array([{}], object), Key(),
     np.zeros(2, [("a", "f4")]), np.array("2020-01-01", "datetime64[D]"), np.str_("a")],
)  # fmt: skip
def test_texts_and_objects_beside_the_weights_are_passed_over(value: Any) -> None:
    np.testing.assert_allclose(output(READ({"cell": CELL, "x": value, "y": {"z": value}})), computed())


@pytest.mark.parametrize("dtype", ["U4", "S4", "O", "c16", "M8[s]", [("a", "f4")]])
@pytest.mark.parametrize("path", ["cell", "dense"])
def test_weights_that_are_no_numbers_are_refused(dtype: Any, path: str) -> None:
    odd = {"kernel": np.zeros((4, 4), dtype)}
    tree = {"cell": {**CELL, "h": odd}} if path == "cell" else {"cell": CELL, "dense": odd}
    with pytest.raises(rb.FormatError, match=r"kernel' must be an array of float16, .*float64; got one of dtype "):
        READ(tree, readout_activation="identity")


def test_complex_numbers_that_are_not_understood_are_refused() -> None:
    with pytest.raises(rb.FormatError, match=r"'x' must be an array of float16, .*; got one of dtype 'complex128'"):
        READ({"cell": CELL, "x": normal(4) + 1j})
    np.testing.assert_allclose(output(READ({"cell": CELL, "x": normal(4) + 1j}, roles={"x": "ignore"})), computed())


# Directions


@pytest.mark.parametrize(
    ("tree", "path"),
    [(CELL, ""), ({"params": CELL}, ""), ({"cell": CELL}, ""), ({"cell": CELL}, "cell"), ({"a": {"b": CELL}}, "a")],
)
def test_one_cell_in_reverse(tree: Any, path: str) -> None:
    rnn = READ(tree, layers=[(None, path)])
    np.testing.assert_allclose(output(rnn), computed(x=X[::-1])[::-1])
    np.testing.assert_allclose(output(READ(tree, layers=[(path, None)])), computed())


def test_a_cell_in_reverse_is_flaxs(flax: Any) -> None:
    import jax

    x = X.swapaxes(0, 1).astype("f4")
    model = flax.linen.RNN(flax.linen.SimpleCell(4), reverse=True, keep_order=True)
    params = model.init(jax.random.key(0), x)
    wanted = np.asarray(model.apply(params, x))
    np.testing.assert_allclose(READ(params, layers=[(None, "cell")])(x)[0], wanted, atol=1e-5)
    np.testing.assert_allclose(READ(params["params"]["cell"], layers=[(None, "")])(x)[0], wanted, atol=1e-5)


# Ways out


def test_every_cell() -> None:
    tree = {"a": CELL, "b": ABOVE, "c": ABOVE}
    read: Any = partial(READ, tree, layers=["a", "b"])
    follow("every_cell", read, computed(ABOVE, computed()), output)
    wanted = computed(ABOVE, computed(ABOVE, computed()))
    follow("every_cell", read, wanted, output, then=lambda: READ(tree, layers=["a", "b", "c"]))


def test_keep_one_of_a_dense() -> None:
    tree = {"cell": CELL, "d": {**DENSE, "w": normal(4, 2, seed=1)}}
    wanted = computed() @ DENSE["kernel"] + DENSE["bias"]

    def read(tree: Any = tree) -> Any:
        return READ(tree, readout_activation="identity")

    result = lambda rnn: rnn.logits(X.swapaxes(0, 1)).swapaxes(0, 1)  # noqa: E731
    follow("keep_one", read, wanted, result, then=lambda: read({"cell": CELL, "d": DENSE}))


def test_keep_one_of_a_state_dict() -> None:
    state = network()
    both = {**state, "rnn.weight_hh": normal(4, 4, seed=2)}
    read: Any = partial(rb.from_torch, activation="tanh")
    follow("keep_one", lambda: read(both), of_torch(state, X, "rnn."), lambda rnn: rnn(X)[0], then=lambda: read(state))


@pytest.mark.usefixtures("msgpack")
def test_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.msgpack"
    path.write_bytes(packed(CELL))
    read: Any = partial(rb.load, path, **TOLD)

    def installed() -> Any:
        monkeypatch.undo()
        return read()

    monkeypatch.setitem(sys.modules, "msgpack", None)
    assert "pip install 'rnn-backends[flax]'" in refused("install", read)
    follow("install", read, computed(), output, then=installed)
