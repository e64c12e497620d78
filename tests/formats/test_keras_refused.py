"""Keras: models and weights that are refused by name, and masks that become the caller's."""

from pathlib import Path
from typing import Any

import keras_files as kf
import numpy as np
import pytest
from keras_files import (
    CELL,
    FIRST,
    GIVEN,
    MODEL,
    PAIR,
    WITH_READOUT,
    bidirectional,
    cells,
    dense,
    embedding,
    functional,
    layer,
    relu,
    sequential,
    simple_cell,
    simple_rnn,
)

import rnn_backends as rb

DATA = Path(__file__).parents[1] / "data"


MASKED: dict[str, tuple[str, list[Any], dict[str, Any], str]] = {
    "ids": (
        "x != 0",
        [embedding(mask_zero=True), simple_rnn()],
        {**CELL, "layers/embedding/vars/0": np.ones((7, 3), "f4")},
        "a masked step holds the state",
    ),
    "features": (
        "(x != 0.5).any(axis=-1)",
        [layer("Masking", mask_value=0.5), bidirectional(zero_output_for_mask=True)],
        PAIR,
        "masked steps differ: Keras gives 0; here they give the state, which is held",
    ),
    "unrolled": (
        "(x != 0.5).any(axis=-1)",
        [layer("Masking", mask_value=0.5), bidirectional(zero_output_for_mask=True, unroll=True)],
        PAIR,
        "masked steps differ: Keras gives 0, or the state on some backends; here they give the state, which is held",
    ),
    "a Dense": (
        "(x != 0.5).any(axis=-1)",
        [layer("Masking", mask_value=0.5), simple_rnn(zero_output_for_mask=True), dense()],
        MODEL,
        "masked steps differ: Keras gives the readout of 0; here they give the readout of the state, which is held",
    ),
}


@pytest.mark.parametrize("kind", MASKED)
def test_masks_of_the_model_become_the_callers(tmp_path: Path, kind: str) -> None:
    mask, config, arrays, note = MASKED[kind]
    path = kf.write(tmp_path / "m.keras", config, arrays)
    with pytest.raises(rb.FormatError) as caught:
        rb.load(path)
    assert str(caught.value) == (
        f"{path}: the model itself leaves out the steps where {mask} is False; here a mask is an argument of each call; "
        f"pass masking=True, and mask={mask} at each call."
    )
    for read in (rb.load, rb.from_keras):
        assert read(path, masking=True).metadata["keras mask"] == f"{mask}; {note}"


@pytest.mark.parametrize("options", [{}, {"readout_activation": "softmax"}])
def test_a_linear_dense_has_the_activation_that_is_given(tmp_path: Path, options: dict[str, Any]) -> None:
    for sequences in (True, False):
        config = [simple_rnn(return_sequences=sequences), dense()]
        rnn = rb.load(kf.write(tmp_path / "m.keras", config, MODEL), **options)
        assert rnn.readout is not None
        assert rnn.readout.activation == rb.Activation(options.get("readout_activation", "identity"))
        assert rnn.reads == ("steps" if sequences else "last")


@pytest.mark.parametrize("kind", ["Masking", "Embedding"])
def test_a_mask_that_keras_does_not_turn_with_the_steps_is_refused(tmp_path: Path, kind: str) -> None:
    first = layer("Masking", mask_value=0.0) if kind == "Masking" else embedding(mask_zero=True)
    back, table = simple_rnn(go_backwards=True, name="back"), {"layers/embedding/vars/0": np.ones((7, 3), "f4")}
    arrays = {**CELL, **kf.cell_arrays(f"{FIRST}_1", 4), **table}
    for layers in ([back, back], [back, simple_rnn(return_sequences=False)]):
        path = kf.write(tmp_path / "m.keras", [first, *layers], arrays)
        with pytest.raises(
            rb.FormatError, match="'back' goes backwards and a layer takes its steps in reverse, but Keras"
        ):
            rb.from_keras(path, masking=True)
    last = simple_rnn(go_backwards=True, return_sequences=False)
    path = kf.write(tmp_path / "m.keras", [first, simple_rnn(), last], arrays)
    assert [reverse for _, reverse in cells(rb.from_keras(path, masking=True))] == [False, True]


def test_masking_is_true_or_false() -> None:
    with pytest.raises(rb.ArgumentError, match="`masking` must be True or False; got 1"):
        rb.from_keras(DATA / "tagger.keras", masking=1)  # type: ignore[arg-type]  # the test is that
    with pytest.raises(rb.ArgumentError, match="`masking` must be True or False; got 'yes'"):
        rb.load(DATA / "stack.weights.h5", masking="yes", **WITH_READOUT)  # type: ignore[arg-type]


def changed(model: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {**model, **options}


def called_with(**options: Any) -> dict[str, Any]:
    model = functional(simple_rnn())
    (node,) = model["config"]["layers"][1]["inbound_nodes"]
    node["kwargs"] |= options
    return model


def fed(history: Any) -> dict[str, Any]:
    model = functional(simple_rnn())
    model["config"]["layers"][1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = history
    return model


def deep(depth: int) -> dict[str, Any]:
    model = simple_rnn()
    for _ in range(depth):
        model = sequential(model)
    return model


def beside() -> dict[str, Any]:
    model = functional(simple_rnn(), dense())
    model["config"]["layers"][2]["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = "layer 0"
    return model


TWICE = functional(simple_rnn())
TWICE["config"]["layers"][1]["inbound_nodes"] *= 2
WRONG_MODELS: dict[str, tuple[Any, str]] = {
    "a Lambda": ([simple_rnn(), layer("Lambda", function={})], r"'lambda' is a 'keras\.layers\.Lambda', which is code; nothing in a"),
    "an LSTM": ([layer("LSTM")], r"'lstm' is a 'keras\.layers\.LSTM', which has gates; this package runs vanilla RNNs"),
    "a GRU in two directions": ([layer("Bidirectional", merge_mode="concat", layer=layer("GRU"))], "'gru' is a .* which has gates"),
    "another layer": ([simple_rnn(), layer("Conv1D")], r"'conv1d' is a 'keras\.layers\.Conv1D', which is not understood; underst"),
    "a class of the user": ([changed(simple_rnn(), module="mine")], r"'simplernn' is a 'mine\.SimpleRNN', which is not underst"),
    "a class of nowhere": ([changed(simple_rnn(), module=None)], r"'simplernn' is a 'None\.SimpleRNN', which is not understood"),
    "a registered class": ([changed(simple_rnn(), registered_name="Custom>SimpleRNN")], "which is not understood"),
    "a registered list": ([changed(simple_rnn(), registered_name=[])], "which is not understood"),
    "no layer": ([3], "a layer must be described by its class_name and config; got 3"),
    "no configuration": ([changed(simple_rnn(), config=[])], "must be described by its class_name and config; got dict"),
    "no model": ({}, "must be described by its class_name and config; got {}"),
    "no list of layers": (layer("Sequential", layers="abc"), "'sequential' must have a list of layers, and at most 16"),
    "models in models": (deep(18), "must have a list of layers, and at most 16 models in each other"),
    "nothing": ([], "the layers must be Masking or Embedding, Dense, .* got none"),
    "no recurrent layer": ([dense()], r"one is recurrent; got 'dense' \(Dense\)"),
    "a Dense between": ([simple_rnn(), dense(), simple_rnn()], r"in this order, .*; got 'simplernn' \(SimpleRNN\), 'dense' \(De"),
    "a mask of a Dense": ([dense(), layer("Masking", mask_value=0.0), simple_rnn()], "in this order"),
    "an embedding of a Dense": ([dense(), embedding(), simple_rnn()], "in this order"),
    "an embedding of numbers": ([layer("Rescaling", scale=2.0, offset=0.0), embedding(), simple_rnn()], "in this order"),
    "an activation of a scale": ([simple_rnn(), dense("relu"), layer("Rescaling", scale=2.0, offset=0.0), layer("Softmax", axis=-1)], "in this order"),
    "an activation of an embedding": ([embedding(), layer("ReLU", max_value=None, negative_slope=0.0, threshold=0.0), simple_rnn()], "follows another activation, or no Dense"),
    "a scale of nothing": ([simple_rnn(), layer("Rescaling", scale=2.0, offset=0.0)], "'rescaling', a Rescaling, has no Dense or SimpleRNN after it"),
    "a scale before a maximum": ([simple_rnn(), layer("Rescaling", scale=2.0, offset=0.0), layer("GlobalMaxPooling1D", data_format="channels_last", keepdims=False)],
        "'globalmaxpooling1d', a GlobalMaxPooling1D, takes the maximum of what 'rescaling', a Rescaling, gives"),
    "a scale and a mean of nothing": ([simple_rnn(), layer("Rescaling", scale=2.0, offset=0.0), layer("GlobalAveragePooling1D", data_format="channels_last", keepdims=False)],
        "'rescaling', a Rescaling, has no Dense or SimpleRNN after it"),
    "a maximum of a Dense": ([simple_rnn(), dense(), layer("GlobalMaxPooling1D", data_format="channels_last", keepdims=False)], "in this order"),
    "a mean of a Dense": ([simple_rnn(), dense("relu"), layer("GlobalAveragePooling1D", data_format="channels_last", keepdims=False)], "in this order"),
    "a mean of the last step": ([simple_rnn(return_sequences=False), layer("GlobalAveragePooling1D", data_format="channels_last", keepdims=False)],
        "must be given all steps, and 'simplernn' returns the last"),
    "a mean that is kept": ([simple_rnn(), layer("GlobalAveragePooling1D", data_format="channels_last", keepdims=True)], "without data_format and keepdims"),
    "a mean of features": ([simple_rnn(), layer("GlobalMaxPooling1D", data_format="channels_first", keepdims=False)], "without data_format and keepdims"),
    "a layer of a mean": ([simple_rnn(), layer("GlobalMaxPooling1D", data_format="channels_last", keepdims=False), simple_rnn()], "no pooling after it"),
    "all steps at once": ([simple_rnn(), layer("Flatten", data_format="channels_last"), dense()], "in this order"),
    "a scale of steps": ([simple_rnn(), kf.batch_normalization(axis=1), dense()], "must be over the last axis, the features; its axis is 1"),
    "a scale of all": ([kf.normalization(axis=[1, 2]), simple_rnn()], "must be over the last axis, the features; its axis is list"),
    "a scale of other features": ([kf.layer("Rescaling", scale=[1.0, 2.0], offset=0.0), simple_rnn()], "the arrays make no network: "),
    "a scale of no number": ([kf.layer("Rescaling", scale={"class_name": "__numpy__"}, offset=0.0), simple_rnn()], "`scale` of .* must be a number"),
    "a scale of tomorrow": ([simple_rnn(), kf.batch_normalization(renorm=True), dense()], "has the option 'renorm', which is not understood"),
    "two embeddings": ([embedding(), embedding(), simple_rnn()], "in this order"),
    "an activation of states": ([simple_rnn(), layer("Activation", activation="tanh"), simple_rnn()], "in this order"),
    "two activations of states": ([simple_rnn(), relu(), relu()], "follows another activation"),
    "a mask of states": ([simple_rnn(), layer("Masking", mask_value=0.0), simple_rnn()], "in this order"),
    "a mask of an embedding": ([embedding(), layer("Masking", mask_value=0.0), simple_rnn()], "in this order"),
    "a cell alone": ([simple_rnn(), simple_cell()], r"in this order, .* 'simplernncell' \(SimpleRNNCell\)"),
    "a state that is kept": ([simple_rnn(stateful=True)], r"'simplernn' is stateful: .*; read its weights alone, .* rnn\(x, h_n\)"),
    "a state that is kept in both": ([bidirectional(stateful=True)], r"is stateful: each call of it starts where the one before ended\.$"),
    "steps in reverse": ([simple_rnn(go_backwards=True)], "goes backwards and gives its steps last one first, where here they are in the input's order; pass go_backwards=True"),
    "one step for a layer": ([simple_rnn(return_sequences=False), simple_rnn()], "'simplernn' must have return_sequences=True"),
    "a sum of directions": ([bidirectional(merge_mode="sum")], "'bidirectional' has merge_mode='sum'; a layer of both"),
    "directions apart": ([bidirectional(merge_mode=None)], "'bidirectional' has merge_mode=None"),
    "directions exchanged": ([layer("Bidirectional", merge_mode="concat", layer=simple_rnn(go_backwards=True),
        backward_layer=simple_rnn())], "must have one cell that goes forward, then one with go_backwards=True"),
    "directions of one step and all": ([layer("Bidirectional", merge_mode="concat", layer=simple_rnn(),
        backward_layer=simple_rnn(go_backwards=True, return_sequences=False))], "must have one `return_sequences`"),
    "one direction": ([layer("Bidirectional", merge_mode="concat", layer=simple_rnn())], "by its class_name .* got None"),
    "directions of a Dense": ([layer("Bidirectional", merge_mode="concat", layer=dense(), backward_layer=dense())],
        "'dense' must be a SimpleRNN, or an RNN of SimpleRNNCells; it is a Dense"),
    "stacks in two directions": ([layer("Bidirectional", merge_mode="concat", layer=layer("RNN", **kf.RUN, cell=layer(
        "StackedRNNCells", cells=[simple_cell(), simple_cell()])), backward_layer=simple_rnn(go_backwards=True))],
        "must have one cell that goes forward"),
    "both directions of reversed steps": ([simple_rnn(go_backwards=True), bidirectional()], "joined the other way round"),
    "cells of a Dense": ([layer("RNN", cell=dense(), **kf.RUN)], "the cells of 'rnn' must be SimpleRNNCells; got 'Dense'"),
    "no cells": ([layer("RNN", cell=layer("StackedRNNCells", cells=[]), **kf.RUN)], "must be SimpleRNNCells; got none"),
    "no list of cells": ([layer("RNN", cell=layer("StackedRNNCells", cells=3), **kf.RUN)], "must be SimpleRNNCells; got none"),
    "an option of tomorrow": ([simple_rnn(clip=3.0)], "'simplernn', a SimpleRNN, has the option 'clip', which is not unders"),
    "a quantized Dense": ([simple_rnn(), changed(dense(), config=dense()["config"] | {"lora_rank": 2})], "the option 'lora_rank'"),
    "a flag that is none": ([simple_rnn(use_bias=1)], "`use_bias` of 'simplernn' must be true or false; got 1"),
    "a flag that is missing": ([layer("SimpleRNN", **kf.RUN, activation="tanh")], "`use_bias` of .* true or false; got None"),
    "another dtype": ([simple_rnn(dtype="int8")], "'simplernn' has the dtype policy 'int8'; it must be one of bfloat16"),
    "a quantized dtype": ([simple_rnn(dtype=layer("QuantizedDTypePolicy"))], "has the dtype policy 'QuantizedDTypePolicy'"),
    "a dtype of nothing": ([simple_rnn(dtype={"class_name": "DTypePolicy", "config": 3})], "the dtype policy 'DTypePolicy'"),
    "a name that is none": ([simple_rnn(name={"a": 1}, stateful=True)], ": dict is stateful"),
    "a layer in time": ([simple_rnn(), layer("TimeDistributed", layer=simple_rnn())], "must hold a Dense, and be called with all steps; it holds 'simplernn'"),
    "two activations": ([simple_rnn(), dense("tanh"), layer("Softmax", axis=-1)], "'softmax', a Softmax, follows another act"),
    "a softmax over steps": ([simple_rnn(), dense(), layer("Softmax", axis=1)], "'softmax' must be over the last axis, axis=-1; got 1"),
    "a readout that clips": ([simple_rnn(), dense("hard_tanh")], "the activation of a Dense cannot clip, as hard_tanh does"),
    "another activation": ([simple_rnn(activation="gelu")], "'simplernn' has the activation 'gelu'; read are linear, tanh, "),
    "a function": ([simple_rnn(activation={"class_name": "function", "config": "mine"})], "has the activation 'mine'; read"),
    "a lambda": ([simple_rnn(activation={"class_name": "__lambda__", "config": {"code": ""}})], "the activation '__lambda__'"),
    "a layer of weights": ([simple_rnn(activation=layer("PReLU"))], "has the activation 'PReLU'; read are"),
    "a ReLU of the user": ([simple_rnn(activation=layer("ReLU", "mine"))], "has the activation 'ReLU'; read are"),
    "no activation": ([simple_rnn(activation=None)], "has the activation None; read are"),
    "a list of activations": ([simple_rnn(activation=["tanh"])], "has the activation list; read are"),
    "a ReLU of nothing": ([simple_rnn(activation=changed(relu(), config=3))], "configuration of 'simplernn' must be an object"),
    "a ReLU of two options": ([simple_rnn(activation=relu(max_value=6.0, threshold=1.0))], "may have one of max_value, above 0"),
    "a slope and a limit": ([simple_rnn(activation=relu(max_value=6.0, negative_slope=0.1))], "may have one of max_value"),
    "a ReLU of 0": ([simple_rnn(activation=relu(max_value=0))], "may have one of max_value, above 0, negative_slope and"),
    "a ReLU below 0": ([simple_rnn(activation=relu(max_value=-1.0))], "may have one of max_value, above 0"),
    "a slope of nothing": ([simple_rnn(activation=layer("LeakyReLU"))], "`negative_slope` of 'simplernn' must be a number; got None"),
    "a huge slope": ([simple_rnn(activation=layer("LeakyReLU", negative_slope=10**400))], "`negative_slope` of .* must be a number"),
    "an alpha of true": ([simple_rnn(activation=layer("ELU", alpha=True))], "`alpha` of 'simplernn' must be a number; got True"),
    "training for ever": (called_with(training=True), "'layer 1' must be called with the first output of one layer alone; .* 'training'"),
    "a mask that is given": (called_with(mask={"class_name": "__keras_tensor__"}), "'layer 1' is called with a mask that no Masking or"),
    "a state that is given": (called_with(initial_state=[1]), "it is called with the option 'initial_state'"),
    "a layer of two calls": (TWICE, "'layer 1' must be called once, with the output of one layer"),
    "another output": (fed(["layer 0", 0, 1]), "of one layer alone; it is called with another"),
    "an output of nothing": (fed(3), "'layer 1' must be called once"),
    "an output of a list": (fed([["layer 0"], 0, 0]), "must be called with the first output of one layer alone"),
    "an output of nowhere": (fed(["mine", 0, 0]), "must be one chain from its input to its output; beside it there are 'layer 0'"),
    "an output of no place": (fed(["layer 0"]), "of one layer alone; it is called with another"),
    "an input that computes": (functional(simple_rnn(), input_layers=["layer 1", 0, 0]), "must be an InputLayer; 'layer 1' is none"),
    "an input of nowhere": (functional(simple_rnn(), input_layers=["mine", 0, 0]), "must be an InputLayer; 'mine' is none"),
    "a circle": (fed(["layer 1", 0, 0]), "must be one chain from its input to its output; beside it there are 'layer 0'"),
    "a layer beside": (beside(), "must be one chain from its input to its output; beside it there are 'layer 1'"),
    "two outputs": (functional(simple_rnn(), output_layers=[["layer 1", 0, 0], ["layer 1", 0, 1]]), "one input and one output"),
    "the state for an output": (functional(simple_rnn(), output_layers=["layer 1", 0, 1]), "one input and one output, the first"),
    "no output": (functional(simple_rnn(), output_layers=None), "must have one input and one output, .* got None"),
    "layers without names": (functional(simple_rnn(), layers=[3]), "each layer of a functional model must have a name; got None"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_MODELS)
def test_what_is_not_understood_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    model, match = WRONG_MODELS[kind]
    whole = sequential(*model) if isinstance(model, list) else model
    path = tmp_path / "m.keras"
    path.write_bytes(kf.archive(whole, (DATA / "stack.weights.h5").read_bytes()))
    with pytest.raises(rb.FormatError, match=match) as caught:
        rb.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_softmax_is_not_masked(tmp_path: Path) -> None:
    config = [layer("Masking", mask_value=0.0), simple_rnn(), dense(), layer("Softmax", axis=-1)]
    path = kf.write(tmp_path / "m.keras", config, MODEL)
    with pytest.raises(rb.FormatError, match="'softmax', a Softmax, takes the mask of the steps for one of its inputs"):
        rb.from_keras(path, masking=True)


WRONG_WEIGHTS: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "no weights": ([simple_rnn()], {}, "it lacks 'layers/simple_rnn'"),
    "no bias": ([simple_rnn()], kf.cell_arrays(FIRST, bias=False), "'layers/simple_rnn/cell' must have 3 arrays, by its options"),
    "a bias too many": ([simple_rnn(use_bias=False)], CELL, "'layers/simple_rnn/cell' must have 2 arrays, .* it has 3"),
    "other names": ([simple_rnn()], {**CELL, f"{FIRST}/cell/vars/x": np.ones(1, "f4")}, "must be named 0, 1, ...; they are '0'"),
    "an array for a group": ([simple_rnn()], {f"{FIRST}/cell": np.ones(1, "f4")}, "'layers/simple_rnn/cell' is no group that Ker"),
    "a group for an array": ([simple_rnn()], {**CELL, f"{FIRST}/cell/vars/2/0": np.ones(1, "f4")}, "simple_rnn/cell/vars/2'"),
    "a GRU": ([simple_rnn()], {**CELL, f"{FIRST}/cell/vars/1": np.ones((4, 12), "f4")}, "has 3 rows of gates for each unit, as a GRU"),
    "integers": ([simple_rnn()], {**CELL, f"{FIRST}/cell/vars/1": np.ones((4, 4), "i4")}, "cell/vars/1' holds no floats; weights are"),
    "several dtypes": ([simple_rnn()], {**CELL, f"{FIRST}/cell/vars/1": np.ones((4, 4))}, "all parameters must have one dtype"),
    "other sizes": ([simple_rnn(), dense()], {**CELL, **kf.dense_arrays("layers/dense", 5)}, r"must have shape \(output_size, 4\)"),
    "layers that do not fit": ([simple_rnn(name="a"), simple_rnn(name="b")], {**CELL, **kf.cell_arrays(f"{FIRST}_1", 5, 5)}, "must take 4 features"),
    "another table": ([embedding(), simple_rnn()], {**CELL, "layers/embedding/vars/0": np.ones((7, 5), "f4")}, "`encoder` must give 3 features"),
    "another scale": ([simple_rnn(), kf.batch_normalization(), dense()],
        {**MODEL, **{f"layers/batch_normalization/vars/{k}": np.ones(5, "f4") for k in range(4)}}, "must have 4 features; its gamma has shape"),
    "no deviation": ([simple_rnn(), kf.batch_normalization(), dense()], MODEL, "it lacks 'layers/batch_normalization'"),
    "an axis too many": ([simple_rnn()], {**CELL, f"{FIRST}/cell/vars/1": np.ones((4, 4, 1, 1, 1), "f4")}, "has 5 axes of version 1"),
    "one softmax": ([simple_rnn(), dense("softmax")], {**CELL, **kf.dense_arrays("layers/dense", outputs=1)}, "a softmax over one"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_WEIGHTS)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, kind: str) -> None:
    config, arrays, match = WRONG_WEIGHTS[kind]
    if kind == "a group for an array":
        arrays = {path: array for path, array in arrays.items() if not path.endswith("vars/2")}
    with pytest.raises(rb.FormatError, match=match):
        rb.load(kf.write(tmp_path / "m.keras", config, arrays))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"activation": "tanh"}, "the model records the activation of its cells; leave `activation` out"),
        (
            {"readout_activation": "tanh"},
            "the source records the activation of a readout; leave `readout_activation` out",
        ),
    ],
)
def test_what_the_file_records_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(rb.FormatError, match=match):
        rb.load(DATA / "tagger.keras", **options)


def test_options_of_other_formats_are_refused(tmp_path: Path) -> None:
    for read in (rb.load, rb.from_keras):
        with pytest.raises(
            rb.FormatError, match="the model records which layers go backwards; leave `go_backwards` out"
        ):
            read(DATA / "tagger.keras", go_backwards=False)
    with pytest.raises(
        rb.ArgumentError,
        match="`residual` is an option of Flax's parameters, not of Keras's models and files; leave `residual` out",
    ):
        rb.load(DATA / "stack.weights.h5", residual=False, **GIVEN)
    with pytest.raises(
        rb.ArgumentError,
        match="`masking` is an option of Keras's models and files, not of this package's files; leave `masking` out",
    ):
        rb.load(DATA / "torch.npz", masking=True)
    with pytest.raises(
        rb.FormatError, match="there is no Embedding, which alone could mask steps here; leave `masking` out"
    ):
        rb.load(DATA / "stack.weights.h5", masking=True, **WITH_READOUT)
    path = kf.write(tmp_path / "m.keras", [simple_rnn()], CELL)
    with pytest.raises(rb.FormatError, match="there are no weights of a readout; leave `readout_activation` out"):
        rb.load(path, readout_activation="softmax")
