"""Keras: layers beside the recurrent ones become encoder, readout, reads, or are multiplied into weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_files as kf
import numpy as np
import pytest
from keras_files import (
    CELL,
    FIRST,
    PAIR,
    batch_normalization,
    bidirectional,
    dense,
    embedding,
    layer,
    normalization,
    relu,
    simple_rnn,
)
from numpy.typing import NDArray
from ways import follow

import rnn_backends as rb

Array = NDArray[Any]
X = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("f4")
MASK = np.array([[1, 0, 1, 1, 0, 1], [0, 1, 1, 0, 0, 0]], bool)
IDS = np.array([[0, 6, 2, 3, 3, 1], [5, 4, 0, 1, 1, 2]])
POOLED: dict[str, Any] = {"data_format": "channels_last", "keepdims": False}


def arrays_of(path: str, *shapes: tuple[int, ...]) -> dict[str, Array]:
    """Return arrays of a layer; those of one axis are positive, as variances are."""
    draw = np.random.default_rng([7, *path.encode()])
    drawn = [draw.normal(size=shape) if len(shape) > 1 else draw.uniform(0.5, 2, size=shape) for shape in shapes]
    return {f"{path}/vars/{k}": array.astype("f4") for k, array in enumerate(drawn)}


def at(arrays: dict[str, Array], path: str, number: int) -> Array:
    return arrays[f"{path}/vars/{number}"].astype("f8")


def applied(arrays: dict[str, Array], path: str, x: Array) -> Array:
    """Return what a Dense gives."""
    return x @ at(arrays, path, 0) + at(arrays, path, 1)


def normed(arrays: dict[str, Array], path: str, x: Array, epsilon: float = 1e-3) -> Array:
    """Return what a BatchNormalization gives, by its definition."""
    gamma, beta, mean, variance = (at(arrays, path, k) for k in range(4))
    found: Array = gamma * (x - mean) / np.sqrt(variance + epsilon) + beta
    return found


def steps(x: Array) -> Array:
    return kf.loop(CELL, x, (FIRST, False))


def read(tmp_path: Path, config: list[Any], arrays: dict[str, Array], **given: Any) -> rb.RNN:
    return rb.from_keras(kf.write(tmp_path / "m.keras", config, arrays), **given)


def near(found: Any, wanted: Any) -> None:
    assert np.ptp(wanted) > 0.1  # no constant, which anything could give
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-6)


def activations(rnn: rb.RNN, role: str) -> list[Any]:
    return [linear.activation.name for linear in getattr(rnn.placed.network, role)]


def test_several_dense_are_a_head(tmp_path: Path) -> None:
    arrays = {**CELL, **arrays_of("layers/dense", (4, 5), (5,)), **arrays_of("layers/dense_1", (5, 3), (3,))}
    config = [simple_rnn(return_sequences=False), dense("relu"), layer("Dropout"), dense(), layer("Softmax", axis=-1)]
    rnn = read(tmp_path, config, arrays)
    assert activations(rnn, "readout") == ["relu", "softmax"]
    logits = applied(arrays, "layers/dense_1", np.maximum(applied(arrays, "layers/dense", steps(X)[:, -1]), 0))
    near(rnn.logits(X), logits)
    near(rnn.probabilities(X), np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True))
    for given in ("tanh", ("relu", "tanh")):
        with pytest.raises(
            rb.FormatError, match="the source records the activation of a readout; leave `readout_activ"
        ):
            read(tmp_path, config, arrays, readout_activation=given)


@pytest.mark.parametrize("both", [False, True])
def test_an_activation_of_the_states_is_a_linear_that_is_an_identity(tmp_path: Path, both: bool) -> None:
    width, norm = (8 if both else 4), "layers/batch_normalization"
    arrays = {
        **(PAIR if both else CELL),
        **arrays_of("layers/dense", (width, 5), (5,)),
        **arrays_of(norm, *[(width,)] * 4),
    }
    first = bidirectional() if both else simple_rnn()
    states = np.asarray(read(tmp_path, [first], arrays)(X)[0])
    rnn = read(tmp_path, [first, relu(), layer("Dropout"), dense()], arrays)
    assert activations(rnn, "readout") == ["relu", "identity"]
    near(rnn.logits(X), applied(arrays, "layers/dense", np.maximum(states, 0)))
    rnn = read(tmp_path, [first, batch_normalization(axis=2), relu(), dense()], arrays)
    near(rnn.logits(X), applied(arrays, "layers/dense", np.maximum(normed(arrays, norm, states), 0)))
    near(read(tmp_path, [first, layer("Activation", activation="tanh")], arrays).probabilities(X), np.tanh(states))


def test_what_is_given_for_a_head_is_that_of_its_last(tmp_path: Path) -> None:
    arrays = {**CELL, **arrays_of("layers/dense", (4, 5), (5,)), **arrays_of("layers/dense_1", (5, 3), (3,))}
    config = [simple_rnn(), dense("relu"), dense()]
    assert activations(read(tmp_path, config, arrays, readout_activation="hard_sigmoid"), "readout") == [
        "relu",
        "hard_sigmoid",
    ]
    readout: Any = read(tmp_path, config, arrays, readout_activation="hard_sigmoid").readout
    assert readout[1].activation == rb.Activation("hard_sigmoid", 1 / 6, 0.5)
    follow(
        "leave_out",
        lambda **_: read(tmp_path, config, arrays, encoder_activation="relu"),
        applied(arrays, "layers/dense_1", np.maximum(applied(arrays, "layers/dense", steps(X)), 0)),
        lambda rnn: rnn.logits(X),
        then=lambda: read(tmp_path, config, arrays),
        rtol=2e-6,
    )


def test_a_dense_before_the_first_layer_is_an_encoder(tmp_path: Path) -> None:
    arrays = {
        **CELL,
        **arrays_of("layers/dense", (3, 5), (5,)),
        **arrays_of("layers/time_distributed/layer", (5, 3), (3,)),
    }
    config = [
        dense("tanh"),
        layer("TimeDistributed", layer=dense()),
        layer("TimeDistributed", layer=relu()),
        simple_rnn(),
    ]
    rnn = read(tmp_path, config, arrays)
    assert activations(rnn, "encoder") == ["tanh", "relu"]
    inner = np.maximum(applied(arrays, "layers/time_distributed/layer", np.tanh(applied(arrays, "layers/dense", X))), 0)
    near(rnn(X)[0], steps(inner))


def test_a_clipped_relu_of_a_dense(tmp_path: Path) -> None:
    arrays = {**CELL, **arrays_of("layers/dense", (3, 3), (3,)), **arrays_of("layers/dense_1", (4, 5), (5,))}
    rnn = read(tmp_path, [dense("relu6"), simple_rnn(), dense(), relu(max_value=0.25)], arrays)
    assert rnn.placed.network.encoder[0].activation == rb.Activation("clipped_relu", 6.0)
    assert activations(rnn, "readout") == ["clipped_relu"]
    x = 20 * X
    states = steps(np.clip(applied(arrays, "layers/dense", x), 0, 6))
    near(rnn.probabilities(x), np.clip(applied(arrays, "layers/dense_1", states), 0, 0.25))


@pytest.mark.parametrize("width", [1, 40])
def test_a_dense_without_activation_is_folded_where_that_makes_no_more_numbers(tmp_path: Path, width: int) -> None:
    arrays = {**kf.cell_arrays(FIRST, width), **arrays_of("layers/dense", (3, width), (width,))}
    rnn = read(tmp_path, [dense(), simple_rnn()], arrays)
    assert (rnn.encoder is None) == (width == 40)
    near(rnn(X)[0], kf.loop(arrays, applied(arrays, "layers/dense", X), (FIRST, False)))


def test_layers_may_have_any_sizes(tmp_path: Path) -> None:
    sides = {
        path.replace(f"{FIRST}_1", "layers/bidirectional/forward_layer"): a
        for path, a in kf.cell_arrays(f"{FIRST}_1", 4, 2).items()
    }
    sides |= {path.replace("forward", "backward"): 0.5 * array for path, array in sides.items()}
    last = kf.cell_arrays(f"{FIRST}_1", 4, 5)
    config = [simple_rnn(), bidirectional(), simple_rnn(return_sequences=False)]
    rnn = read(tmp_path, config, {**CELL, **sides, **last})
    wanted = kf.loop(
        {**CELL, **sides, **last}, X, (FIRST, False), ("layers/bidirectional", None), (f"{FIRST}_1", False)
    )
    near(rnn.last(X), wanted[:, -1])


@pytest.mark.parametrize(("kind", "reads"), [("GlobalAveragePooling1D", "mean"), ("GlobalMaxPooling1D", "max")])
@pytest.mark.parametrize("back", [False, True])
def test_a_pooling_over_the_steps_is_what_is_read(tmp_path: Path, kind: str, reads: str, back: bool) -> None:
    arrays = {**CELL, **arrays_of("layers/dense", (4, 5), (5,))}
    rnn = read(tmp_path, [simple_rnn(go_backwards=back), layer(kind, **POOLED), layer("Flatten"), dense()], arrays)
    assert rnn.reads == reads
    found = kf.loop(CELL, X, (FIRST, back))
    near(rnn.logits(X), applied(arrays, "layers/dense", getattr(found, reads)(axis=1)))


NORM, IN_TIME = "layers/batch_normalization", "layers/time_distributed/layer"
BEFORE_A_MEAN: dict[str, tuple[list[Any], Callable[[dict[str, Array], Array], Array]]] = {
    "a BatchNormalization": ([batch_normalization()], lambda held, x: normed(held, NORM, x)),
    "a Rescaling": ([layer("Rescaling", scale=-2.0, offset=0.5)], lambda _, x: x * -2 + 0.5),
    "two": ([batch_normalization(), layer("Rescaling", scale=3.0, offset=1.0)], lambda held, x: normed(held, NORM, x) * 3 + 1),
    "one at each step": ([layer("TimeDistributed", layer=batch_normalization())], lambda held, x: normed(held, IN_TIME, x)),
    "a Dense": ([dense(), batch_normalization()], lambda held, x: normed(held, NORM, applied(held, "layers/dense", x))),
}  # fmt: skip


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", BEFORE_A_MEAN)
def test_the_mean_of_what_is_scaled_is_the_scaled_mean(tmp_path: Path, kind: str, masked: bool) -> None:
    between, function = BEFORE_A_MEAN[kind]
    last = "layers/dense_1" if kind == "a Dense" else "layers/dense"
    arrays = {**CELL, **arrays_of("layers/dense", (4, 4), (4,)), **arrays_of(last, (4, 5), (5,))}
    arrays |= {} if kind == "a Rescaling" else arrays_of(IN_TIME if "each" in kind else NORM, *[(4,)] * 4)
    masking, given = ([layer("Masking", mask_value=0.0)], {"masking": True}) if masked else ([], {})
    mask = MASK if masked else np.ones_like(MASK)
    x = np.where(mask[..., None], X, 0)
    config = [*masking, simple_rnn(), *between, layer("GlobalAveragePooling1D", **POOLED), dense()]
    found = function(arrays, held_where_masked(x, mask))
    mean = (found * mask[..., None]).sum(axis=1) / mask.sum(axis=1)[:, None]
    rnn = read(tmp_path, config, arrays, **given)
    assert rnn.reads == "mean"
    near(rnn.logits(x, mask=mask), applied(arrays, last, mean))


def test_batch_normalization_is_multiplied_into_what_is_beside_it(tmp_path: Path) -> None:
    names = ["layers/batch_normalization" + (f"_{k}" if k else "") for k in range(5)]
    arrays = {**kf.cell_arrays(FIRST, 3), **kf.cell_arrays(f"{FIRST}_1", 4, 4)}
    arrays |= (
        arrays_of("layers/dense", (3, 3), (3,))
        | arrays_of("layers/dense_1", (4, 5), (5,))
        | arrays_of("layers/dense_2", (5, 2), (2,))
    )
    for name, size in zip(names, (3, 3, 4, 4, 5), strict=True):
        arrays |= arrays_of(name, *[(size,)] * 4)
    norm = batch_normalization
    config = [
        norm(), dense(), norm(axis=2, epsilon=0.5), relu(), simple_rnn(), norm(axis=[2]), simple_rnn(return_sequences=False),
        norm(axis=[1]), dense("relu"), norm(), dense(),
    ]  # fmt: skip
    rnn = read(tmp_path, config, arrays)
    first = np.maximum(normed(arrays, names[1], applied(arrays, "layers/dense", normed(arrays, names[0], X)), 0.5), 0)
    second = normed(arrays, names[2], kf.loop(arrays, first, (FIRST, False)))
    last = normed(arrays, names[3], kf.loop(arrays, second, (f"{FIRST}_1", False))[:, -1])
    wanted = applied(
        arrays, "layers/dense_2", normed(arrays, names[4], np.maximum(applied(arrays, "layers/dense_1", last), 0))
    )
    near(rnn.logits(X), wanted)


def test_batch_normalization_without_scale_or_center(tmp_path: Path) -> None:
    path = "layers/batch_normalization"
    for scale, center in ((False, True), (True, False), (False, False)):
        own = arrays_of(path, *[(3,)] * (2 + scale + center))
        rnn = read(tmp_path, [batch_normalization(scale=scale, center=center), bidirectional()], {**PAIR, **own})
        held = [at(own, path, k) for k in range(len(own))]
        gamma, beta = held[0] if scale else 1, held[scale] if center else 0
        x = gamma * (X - held[-2]) / np.sqrt(held[-1] + 1e-3) + beta
        near(rnn(X)[0], kf.loop(PAIR, x, ("layers/bidirectional", None)))


def test_batch_normalization_of_an_embedding(tmp_path: Path) -> None:
    table, norm = arrays_of("layers/embedding", (7, 3)), arrays_of("layers/batch_normalization", *[(3,)] * 4)
    rnn = read(tmp_path, [embedding(), batch_normalization(), simple_rnn()], {**CELL, **table, **norm})
    near(rnn(IDS)[0], steps(normed(norm, "layers/batch_normalization", at(table, "layers/embedding", 0)[IDS])))


NORMALIZATIONS: dict[str, tuple[dict[str, Any], dict[str, Array], Callable[[Array, Array, Array], Array]]] = {
    "as adapted": ({}, {}, lambda x, mean, variance: (x - mean) / np.sqrt(variance)),
    "inverted": ({"invert": True}, {}, lambda x, mean, variance: mean + x * np.sqrt(variance)),
    "given": (
        {"mean": [[[0.5, 1.0, 2.0]]], "variance": [[[4.0, 1.0, 0.25]]]}, {},
        lambda x, *_: (x - [0.5, 1.0, 2.0]) / [2.0, 1.0, 0.5],
    ),
    "given for all": ({"mean": 0.5, "variance": 4.0, "axis": None}, {}, lambda x, *_: (x - 0.5) / 2),
}  # fmt: skip


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_a_normalization_of_the_input_is_multiplied_into_the_first_layer(tmp_path: Path, kind: str) -> None:
    options, _, wanted = NORMALIZATIONS[kind]
    own = arrays_of("layers/normalization", (3,), (3,)) if "mean" not in options else {}
    count = {"layers/normalization/vars/2": np.asarray(7, "i4")} if own else {}
    rnn = read(tmp_path, [normalization(**options), simple_rnn()], {**CELL, **own, **count})
    mean, variance = (at(own, "layers/normalization", k) for k in range(2)) if own else (X, X)
    near(rnn(X)[0], steps(wanted(X, mean, variance)))
    assert rnn.encoder is None


def test_no_deviation_is_less_than_that_of_keras(tmp_path: Path) -> None:
    arrays = kf.cell_arrays(FIRST, dtype="f8")
    rnn = read(tmp_path, [normalization(mean=[0.0] * 3, variance=[0.0] * 3), simple_rnn()], arrays)
    near(rnn(1e-7 * X.astype("f8"))[0], kf.loop(arrays, X, (FIRST, False)))


def test_a_rescaling_of_the_input(tmp_path: Path) -> None:
    rnn = read(tmp_path, [layer("Rescaling", scale=1 / 3, offset=-0.5), simple_rnn()], CELL)
    near(rnn(X)[0], steps(X / 3 - 0.5))
    rnn = read(tmp_path, [layer("Rescaling", scale=[1.0, 2.0, 3.0], offset=0.0), simple_rnn(use_bias=False)],
               kf.cell_arrays(FIRST, bias=False))  # fmt: skip
    near(rnn(X)[0], kf.simple_rnn_loop(X * [1, 2, 3], at(CELL, f"{FIRST}/cell", 0), at(CELL, f"{FIRST}/cell", 1), 0.0))


def test_steps_last_one_first_are_here_in_the_order_of_the_input(tmp_path: Path) -> None:
    config = [simple_rnn(go_backwards=True), dense()]
    arrays = {**CELL, **arrays_of("layers/dense", (4, 5), (5,))}
    wanted = kf.loop(CELL, X, (FIRST, True))
    rnn = follow(
        "keras_backwards",
        lambda **given: read(tmp_path, config[:1], CELL, **given),
        wanted,
        lambda rnn: rnn(X)[0][:, ::-1],
        rtol=2e-6,
    )
    assert rnn.metadata == {"keras output": "the steps are in the order of the input; Keras gives the last one first"}
    near(read(tmp_path, config, arrays, go_backwards=True).logits(X)[:, ::-1], applied(arrays, "layers/dense", wanted))
    with pytest.raises(rb.FormatError, match="goes backwards and gives its steps last one first"):
        read(tmp_path, config, arrays, go_backwards=False)


# Masks


def held_where_masked(x: Array, mask: Array) -> Array:
    """Return the states of the cell where masked steps hold the state."""
    kernel, recurrent, bias = (at(CELL, f"{FIRST}/cell", k) for k in range(3))
    h, found = np.zeros((len(x), 4)), []
    for t in range(x.shape[1]):
        h = np.where(mask[:, t, None], np.tanh(x[:, t] @ kernel + h @ recurrent + bias), h)
        found.append(h)
    return np.stack(found, axis=1)


@pytest.mark.parametrize("reads", ["last", "mean"])
def test_masks_become_the_callers(tmp_path: Path, reads: str) -> None:
    arrays = {**CELL, **arrays_of("layers/dense", (4, 5), (5,))}
    x, pooling = np.where(MASK[..., None], X, 0), [layer("GlobalAveragePooling1D", **POOLED)] * (reads == "mean")
    config = [layer("Masking", mask_value=0.0), simple_rnn(return_sequences=bool(pooling)), *pooling, dense()]
    found = held_where_masked(x, MASK)
    value = found[:, -1] if reads == "last" else (found * MASK[..., None]).sum(axis=1) / MASK.sum(axis=1)[:, None]
    rnn = follow(
        "keras_masking",
        lambda **_: read(tmp_path, config, arrays),
        applied(arrays, "layers/dense", value),
        lambda rnn: rnn.logits(x, mask=MASK),
        then=lambda: read(tmp_path, config, arrays, masking=True),
        rtol=2e-6,
    )
    assert rnn.reads == reads
    assert rnn.metadata == {"keras mask": "(x != 0.0).any(axis=-1); a masked step holds the state"}


def masked_graph(config: list[Any], mask: Any, value: float = 0.0) -> dict[str, Any]:
    """Return a functional model of Keras 3 whose second layer makes a mask, which others are called with."""
    model = kf.functional(*config)

    def tensor(name: str) -> dict[str, Any]:
        return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}

    def operation(kind: str, name: str, args: list[Any], **options: Any) -> dict[str, Any]:
        held = kf.layer(kind, "keras.src.ops.numpy", **options)
        return {**held, "name": name, "inbound_nodes": [{"args": args, "kwargs": {}}]}

    layers = model["config"]["layers"]
    layers.append(operation("NotEqual", "unequal", [tensor("layer 0"), value]))
    layers.append(operation("Any", "any", [tensor("unequal")], axis=-1, keepdims=False))
    for number in mask:
        layers[number]["inbound_nodes"][0]["kwargs"]["mask"] = tensor("any")
    return model


def test_masks_of_functional_models_are_followed(tmp_path: Path) -> None:
    arrays = {**CELL, **arrays_of("layers/dense", (4, 5), (5,))}
    config = [layer("Masking", mask_value=0.0), simple_rnn(), layer("GlobalAveragePooling1D", **POOLED), dense()]
    x = np.where(MASK[..., None], X, 0)
    rnn = rb.from_keras(kf.write(tmp_path / "m.keras", masked_graph(config, [2, 3]), arrays), masking=True)
    value = (held_where_masked(x, MASK) * MASK[..., None]).sum(axis=1) / MASK.sum(axis=1)[:, None]
    near(rnn.logits(x, mask=MASK), applied(arrays, "layers/dense", value))
    for taken, value_, match in (
        ([2], 0.0, "'globalaveragepooling1d', a GlobalAveragePooling1D, takes masked steps too, as the mask is lost"),
        ([3], 0.0, "'simplernn', a SimpleRNN, takes masked steps too, as the mask is lost before it"),
        ([2, 3], 1.0, "'layer [23]' is called with a mask that no Masking or Embedding of the chain makes"),
    ):
        path = kf.write(tmp_path / "m.keras", masked_graph(config, taken, value_), arrays)
        with pytest.raises(rb.FormatError, match=match):
            rb.from_keras(path, masking=True)


WRONG_MASKS: dict[str, tuple[list[Any], str]] = {
    "a maximum": ([simple_rnn(), layer("GlobalMaxPooling1D", **POOLED)], "a GlobalMaxPooling1D, takes masked steps too"),
    "a mean of reversed steps": ([simple_rnn(go_backwards=True), layer("GlobalAveragePooling1D", **POOLED)],
        "is given steps in reverse, but the mask as it is"),
    "zeros": ([simple_rnn(return_sequences=False, zero_output_for_mask=True)], "has zero_output_for_mask=True, and so gives 0|gives 0 where"),
    "a mask that a model loses": ([kf.sequential(simple_rnn()), simple_rnn(name="after")], "'after', a SimpleRNN, takes masked steps too"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_MASKS)
def test_masks_that_mean_something_else_are_refused(tmp_path: Path, kind: str) -> None:
    config, match = WRONG_MASKS[kind]
    arrays = {**CELL, **{path.replace("layers/", "layers/sequential/layers/", 1): a for path, a in CELL.items()}}
    if kind == "a mask that a model loses":
        arrays = {**arrays, **kf.cell_arrays(FIRST, 4)}
    with pytest.raises(rb.FormatError, match=match):
        read(tmp_path, [layer("Masking", mask_value=0.0), *config], arrays, masking=True)
    read(tmp_path, config, arrays)  # without a mask it means the same
