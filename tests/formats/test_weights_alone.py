"""Weights as people have them: checkpoints, notations of text-books, names of one's own, BatchNorm, averages."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pt_files
import pytest
from plain import X, fully, linear, network, norm, normal, normed, of_torch, softmax, states
from safetensors.numpy import load_file, save_file

import rnn_backends as rb
from rnn_backends.formats import scaling
from rnn_backends.formats.advice import proposed

DATA = Path(__file__).parents[1] / "data"
CASES = DATA / "cases"
TOLD: dict[str, Any] = {"activation": "tanh", "readout_activation": "softmax"}


def close(found: Any, wanted: Any, atol: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=0, atol=atol)


# Files that people have


@pytest.mark.parametrize("name", ["checkpoint_npfloat", "checkpoint_namespace", "checkpoint_device"])
def test_a_checkpoint_may_hold_anything_beside_the_weights(name: str) -> None:
    rnn = rb.load(CASES / f"{name}.pt", **TOLD)
    state = rnn.to_torch()
    close(rnn.logits(X), linear(state, "readout", of_torch(state, X, "rnn.")), atol=1e-6)
    assert rnn.num_parameters == 166


def test_a_checkpoint_of_lightning() -> None:
    rnn = rb.load(CASES / "lightning.ckpt", **TOLD, batch_first=True, reads="last")
    close(rnn.logits(np.load(CASES / "lightning.x.npy")), np.load(CASES / "lightning.y.npy"), atol=1e-6)


def test_class_weights_of_a_loss_are_left_out() -> None:
    assert rb.load(CASES / "criterion_class_weights.pt", **TOLD).num_parameters == 88


def test_a_word_language_model_has_its_encoder_first() -> None:
    rnn = rb.load(CASES / "word_lm.pt", **TOLD)
    assert (rnn.takes, rnn.input_size) == ("tokens", 9)
    assert rnn.predict([[0, 8], [3, 1]]).shape == (2, 2)


def test_a_linear_before_the_rnn_is_no_readout() -> None:
    path = CASES / "linear_before_rnn.pt"
    tried: list[dict[str, Any]] = [{}, {"readout_activation": "identity"}]
    for options in tried:
        with pytest.raises(rb.FormatError, match=r"'proj' \(6 -> 6\) may stand before or after the RNN, .* roles="):
            rb.load(path, activation="tanh", **options)
    given: dict[str, Any] = {"activation": "tanh", "roles": {"proj": "encoder"}, "encoder_activation": "relu"}
    rnn = rb.load(path, **given)
    assert rnn.readout is None
    assert isinstance(rnn.encoder, rb.Linear)
    layer = rnn.layers[0].forward
    assert isinstance(layer, rb.Cell)
    x = normal(5, 2, 6)
    encoded = np.maximum(x @ np.asarray(rnn.encoder.weight, "f8").T + rnn.encoder.bias, 0)
    close(rnn(x)[0], states(encoded, layer.weight_ih, layer.weight_hh, layer.bias), atol=1e-6)


def test_mlx() -> None:
    rnn = rb.load(CASES / "mlx.safetensors", activation="tanh", readout_activation="identity", batch_first=True)
    close(rnn.probabilities(np.load(CASES / "mlx.x.npy")), np.load(CASES / "mlx.y.npy"), atol=1e-6)


def test_a_text_book_s_columns() -> None:
    held, rnn = np.load(CASES / "minchar.npz"), rb.load(CASES / "minchar.npz", **TOLD)
    x = normal(5, 2, 5)
    h = states(x, held["Wxh"], held["Whh"], held["bh"][:, 0])
    close(rnn.probabilities(x), softmax(h @ held["Why"].T + held["by"][:, 0]))


def test_weight_norm_in_a_file() -> None:
    rnn = rb.load(CASES / "wn_new.pt", activation="tanh")
    cell = rnn.layers[0].forward
    assert isinstance(cell, rb.Cell)
    assert (cell.input_size, cell.hidden_size) == (3, 6)


def test_a_train_state_of_flax() -> None:
    pytest.importorskip("msgpack")
    rnn = rb.load(CASES / "flax_trainstate.msgpack", **TOLD, residual=False)
    assert rnn.num_parameters == 88
    cell, readout = rnn.layers[0].forward, rnn.readout
    assert isinstance(cell, rb.Cell)
    assert isinstance(readout, rb.Linear)
    h = states(X, cell.weight_ih, cell.weight_hh, cell.bias)
    close(rnn.logits(X.swapaxes(0, 1)).swapaxes(0, 1), h @ np.asarray(readout.weight, "f8").T + readout.bias, atol=1e-6)


def test_a_module_that_was_saved_whole_is_its_weights() -> None:
    rnn = rb.load(DATA / "module.pt")
    with pytest.raises(rb.FormatError, match="the module records the activation of its cells; leave `activation` out"):
        rb.load(DATA / "module.pt", activation="relu")
    state = rnn.to_torch()
    x = normal(5, 2, rnn.input_size or 0)
    close(rnn(x)[0], of_torch(state, x), atol=1e-6)


# Notations


@pytest.mark.parametrize("names", [("Wax", "Waa", "ba", "Wya", "by"), ("wxh", "whh", "bh", "why", "by")])
@pytest.mark.parametrize("begin", ["", "cell."])
def test_text_books_are_known_by_their_names(names: tuple[str, ...], begin: str) -> None:
    arrays = [normal(4, 3), normal(4, 4), normal(4, 1), normal(2, 4), normal(2, 1)]
    state = {f"{begin}{name}": array for name, array in zip(names, arrays, strict=True)}
    rnn = rb.from_torch(state, **TOLD)
    h = states(X, arrays[0], arrays[1], arrays[2][:, 0])
    close(rnn.probabilities(X), softmax(h @ arrays[3].T + arrays[4][:, 0]))


def test_what_stands_beside_a_text_book_s_weights_is_asked_for_or_left_out(tmp_path: Path) -> None:
    state = {"Wxh": normal(4, 3), "Whh": normal(4, 4), "bh": normal(4, 1), "hprev": normal(4, 1)}
    np.savez(tmp_path / "m.npz", **state, chars=np.array(list("abc")), objects=np.array([None], object))
    with pytest.raises(rb.FormatError, match=r"'hprev', of shape \(4, 1\), .* pass roles={'hprev': 'ignore'}"):
        rb.load(tmp_path / "m.npz", activation="tanh")
    rnn = rb.load(tmp_path / "m.npz", activation="tanh", roles={"hprev": "ignore"})
    close(rnn(X)[0], states(X, state["Wxh"], state["Whh"], state["bh"][:, 0]))


def test_rows_of_a_text_book_are_not_taken_for_columns() -> None:
    state = {"Wxh": normal(3, 4), "Whh": normal(4, 4), "bh": normal(1, 4)}
    with pytest.raises(
        rb.FormatError, match=r"are of a text-book, but their vectors are no columns; pass names=\{'Wxh':"
    ):
        rb.from_torch(state, activation="tanh")
    names = {"Wxh": "weight_ih_l0.T", "Whh": "weight_hh_l0.T", "bh": "bias_l0"}
    rnn = rb.from_torch(state, activation="tanh", names=names)
    close(rnn(X)[0], states(X, state["Wxh"].T, state["Whh"].T, state["bh"][0]))


def test_names_may_be_given_to_some_arrays() -> None:
    state = network() | fully("out", 2, 4) | {"start": normal(1, 1, 4), "extra": normal(2, 2)}
    given: dict[str, Any] = {"names": {"start": "h_0"}, "roles": {"extra": "ignore"}}
    rnn = rb.from_torch(state, **TOLD, **given)
    w_ih, w_hh = (state[f"rnn.weight_{kind}_l0"] for kind in ("ih", "hh"))
    h = states(X, w_ih, w_hh, _bias(state), h_0=state["start"][0, 0])
    close(rnn.logits(X), linear(state, "out", h))


def _bias(state: dict[str, Any], prefix: str = "rnn.") -> Any:
    return state[f"{prefix}bias_ih_l0"] + state[f"{prefix}bias_hh_l0"]


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ({"w": "weight_ih_l0"}, r"`names` has 'w', which is no array of it; it maps 'rnn.weight_ih_l0'"),
        ({"rnn.weight_ih_l0": "weights"}, r"`names` has the name 'weights'; it maps .* to weight_ih_l0, "),
        ({"rnn.bias_ih_l0": "rnn.bias_hh_l0"}, "`names` has the name 'rnn.bias_hh_l0'"),
        (
            {"out.weight": "bias_l0", "out.bias": "bias_l0"},
            "`names` gives 'out.bias' the name 'bias_l0', which another",
        ),
    ],
)
def test_names_must_be_of_arrays_and_known(names: dict[str, str], match: str) -> None:
    with pytest.raises(rb.FormatError, match=match):
        rb.from_torch(network() | fully("out", 2, 4), **TOLD, names=names)


# Parts of a checkpoint


def nested(tmp_path: Path) -> Path:
    """Write a checkpoint of a network and an average of it."""
    arrays: dict[str, Any] = {}
    parts = {}
    for seed, part in enumerate(("model", "ema")):
        held = {name: array.astype("f4") for name, array in network(seed=seed).items()}
        parts[part] = pt_files.dictionary(
            {name: pt_files.plain(str(len(arrays) + k), array) for k, (name, array) in enumerate(held.items())}
        )
        arrays |= {f"{part}.{name}": array for name, array in held.items()}
    value = pt_files.dictionary({"model": parts["model"], "averages": pt_files.dictionary({"ema": parts["ema"]})})
    return pt_files.write(tmp_path / "m.ckpt", pt_files.members(arrays, value))


@pytest.mark.parametrize(("key", "seed"), [("model", 0), (("averages", "ema"), 1)])
def test_a_part_is_chosen_by_its_key(tmp_path: Path, key: Any, seed: int) -> None:
    rnn = rb.load(nested(tmp_path), activation="tanh", key=key)
    close(rnn(X)[0], of_torch(network(seed=seed), X, "rnn."), atol=1e-5)


def test_names_begin_with_a_key(tmp_path: Path) -> None:
    state = network(prefix="model.rnn.") | network(prefix="ema.rnn.", seed=1) | network(prefix="ema2.rnn.", seed=2)
    save_file(state, tmp_path / "m.safetensors")
    for read in (rb.load, lambda path, **options: rb.from_torch(load_file(path), **options)):
        rnn = read(tmp_path / "m.safetensors", activation="tanh", key="ema")
        close(rnn(X)[0], of_torch(network(seed=1), X, "rnn."))
    with pytest.raises(
        rb.FormatError, match=r"`key` must be .*; none begins with 'sma.', but with 'ema', 'ema2', 'model'"
    ):
        rb.load(tmp_path / "m.safetensors", activation="tanh", key="sma")


def test_a_readout_in_safetensors(tmp_path: Path) -> None:
    state = network() | fully("fc", 3, 4)  # which takes as many as the RNN gives, and gives as many as it takes
    save_file(state, tmp_path / "m.safetensors")
    rnn = rb.load(tmp_path / "m.safetensors", **TOLD)
    close(rnn.logits(X), linear(state, "fc", of_torch(state, X, "rnn.")))


def test_averages_of_torch_are_read() -> None:
    state = {"n_averaged": np.array(3)} | network(prefix="module.rnn.")
    close(rb.from_torch(state, activation="tanh")(X)[0], of_torch(network(), X, "rnn."))


# BatchNorm


def test_a_batch_norm_after_a_linear_is_folded_into_it() -> None:
    state = network() | fully("fc1", 5, 4) | norm("bn", 5) | fully("fc2", 2, 5)
    rnn = rb.from_torch(state, activation="tanh", readout_activation=("relu", "identity"), batch_norm_eps=1e-5)
    z = normed(state, "bn", linear(state, "fc1", of_torch(state, X, "rnn.")))
    close(rnn.logits(X), linear(state, "fc2", np.maximum(z, 0)))


@pytest.mark.parametrize("biased", [True, False])
def test_a_batch_norm_of_the_input_is_folded_into_the_first_layer(biased: bool) -> None:
    state = norm("bn", 3) | network()
    state = state if biased else {name: array for name, array in state.items() if "rnn.bias" not in name}
    rnn = rb.from_torch(state, activation="tanh", batch_norm_eps=1e-5)
    close(rnn(X)[0], of_torch(state, normed(state, "bn", X), "rnn."))


def test_a_batch_norm_after_the_rnn_is_folded_into_the_readout() -> None:
    state = network() | norm("bn", 4) | fully("fc", 2, 4)
    rnn = rb.from_torch(state, **TOLD, batch_norm_eps=1e-5)
    close(rnn.logits(X), linear(state, "fc", normed(state, "bn", of_torch(state, X, "rnn."))))


def test_a_batch_norm_after_an_embedding_is_folded_into_it() -> None:
    state = {"emb.weight": normal(9, 3)} | norm("bn", 3) | network()
    rnn = rb.from_torch(state, activation="tanh", batch_norm_eps=1e-5)
    ids = np.arange(10).reshape(5, 2) % 9
    close(rnn(ids)[0], of_torch(state, normed(state, "bn", state["emb.weight"][ids]), "rnn."))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_batch_norms_in_a_row_are_applied_in_their_order(place: int) -> None:
    norms: dict[str, Any] = {}
    for k in range(30):  # with the work doubled by each, this would not end
        norms |= norm(f"bn{k}", (3, 4, 2)[place])
        norms[f"bn{k}.bias"] = normal((3, 4, 2)[place], seed=k)
    rnn, fc = network(), fully("fc", 2, 4)
    state = [norms | rnn | fc, rnn | norms | fc, rnn | fc | norms][place]

    def after(at: int, x: Any) -> Any:
        for k in range(30) if at == place else ():
            x = normed(norms, f"bn{k}", x)
        return x

    wanted = after(2, linear(fc, "fc", after(1, of_torch(rnn, after(0, X), "rnn."))))
    close(rb.from_torch(state, **TOLD, batch_norm_eps=1e-5).logits(X), wanted, atol=1e-9 * float(np.abs(wanted).max()))


def test_a_batch_norm_beyond_float16_is_infinite() -> None:
    state = {name: array.astype("f2") for name, array in (network() | fully("fc", 2, 4)).items()}
    state |= {
        f"bn.{name}": np.full(2, value, "f2") for name, value in (("weight", 6e4), ("bias", 0), ("running_mean", 0))
    }
    state["bn.running_var"] = np.full(2, 1e-7, "f2")
    readout = rb.from_torch(state, **TOLD, batch_norm_eps=1e-5).readout
    assert isinstance(readout, rb.Linear)
    assert np.isinf(np.asarray(readout.weight)).any()


def test_a_batch_norm_is_multiplied_in_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, multiplied_in = [], scaling.multiplied_in

    def counted(*given: Any) -> Any:
        calls.append(given)
        return multiplied_in(*given)

    monkeypatch.setattr(scaling, "multiplied_in", counted)
    rb.from_torch(network() | norm("bn", 4) | fully("fc", 2, 4), **TOLD, batch_norm_eps=1e-5)
    assert len(calls) == 1


def test_a_batch_norm_without_a_place_is_refused() -> None:
    state = network() | norm("bn", 4)
    with pytest.raises(rb.FormatError, match="'bn' is a BatchNorm, and no Linear or layer follows it"):
        rb.from_torch(state, activation="tanh", batch_norm_eps=1e-5)
    with pytest.raises(
        rb.FormatError, match=r"'bn', a BatchNorm, must have 4 features beside readout.0.weight; .* \(5,\)"
    ):
        rb.from_torch(network() | norm("bn", 5) | fully("fc", 2, 4), **TOLD, batch_norm_eps=1e-5)


@pytest.mark.parametrize("shape", [(), (4,), (4, 3, 1)])
def test_a_weight_of_other_than_two_axes_is_refused_beside_a_batch_norm(shape: tuple[int, ...]) -> None:
    state = norm("bn", 3) | network() | {"rnn.weight_ih_l0": normal(*shape)}
    with pytest.raises(rb.FormatError, match="weight_ih_l0, beside a BatchNorm, must have two axes; its shape is"):
        rb.from_torch(state, activation="tanh", batch_norm_eps=1e-5)


def test_a_pickle_of_arrays_is_no_file_to_run(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(network()))
    with pytest.raises(rb.FormatError, match="it is a pickle, a program, and nothing in a file is executed"):
        rb.load(tmp_path / "m.pkl", activation="tanh")


def test_a_matrix_of_a_module_that_is_named_loss_is_asked_for() -> None:
    state = network() | fully("loss_head", 7, 9)
    with pytest.raises(rb.FormatError, match=r"'loss_head' \(9 -> 7\) cannot stand, .*; pass roles= with what each is"):
        rb.from_torch(state, **TOLD)


@pytest.mark.parametrize("double", [True, False])
def test_haiku(double: bool) -> None:
    tree = {
        "net/~/vanilla_rnn/linear": {"w": normal(3, 4), "b": normal(4)},
        "net/~/vanilla_rnn/linear_1": {"w": normal(4, 4), "b": normal(4, seed=1)},
        "net/~/linear": {"w": normal(4, 2), "b": normal(2)},
    }
    first, second, out = tree.values()
    bias = first["b"] + second["b"] if double else first["b"]
    if not double:
        del second["b"]
    rnn = rb.from_flax(tree, activation="relu", readout_activation="identity", batch_first=False)
    h = states(X, first["w"].T, second["w"].T, bias, lambda z: np.maximum(z, 0))
    close(rnn.logits(X), h @ out["w"] + out["b"])
    with pytest.raises(rb.ArgumentError, match="is Haiku's, which has no residual cells; leave `residual` out"):
        rb.from_flax(tree, activation="relu", residual=True)


@pytest.mark.parametrize("shape", [(1, 1, 4), (1, 4), (4,)])
def test_an_initial_state_is_asked_for(shape: tuple[int, ...]) -> None:
    state = network() | {"h0": normal(*shape)}
    with pytest.raises(rb.FormatError, match=r"may be the initial state; pass names={'h0': 'h_0'} if it is"):
        rb.from_torch(state, activation="tanh")
    rnn = rb.from_torch(state, activation="tanh", names={"h0": "h_0"})
    wanted = states(X, state["rnn.weight_ih_l0"], state["rnn.weight_hh_l0"], _bias(state), h_0=state["h0"].reshape(4))
    close(rnn(X)[0], wanted)


@pytest.mark.parametrize(
    ("extra", "match"),
    [
        ({"ln.weight": np.ones(4), "ln.bias": np.ones(4)}, "'ln.weight', 'ln.bias', .* are those of a LayerNorm"),
        (
            {"conv.weight": np.ones((4, 4, 3)), "conv.bias": np.ones(4)},
            "are those of a Bilinear or a convolution, which has no place",
        ),
        ({"norm.weight": np.ones(4)}, "'norm.weight', .* are those of an RMSNorm, another normalisation or a PReLU"),
        ({"act.weight": np.ones(1)}, "'act.weight', .* or a PReLU, which has no place"),
        ({"bilinear.weight": np.ones((2, 4, 4))}, "are those of a Bilinear or a convolution, which has no place"),
        ({"attn.in_proj_weight": np.ones((12, 4))}, "'attn.in_proj_weight', .* are those of an attention"),
        ({"attn.q_proj_weight": np.ones((4, 4)), "attn.bias_k": np.ones((1, 1, 4))}, "are those of an attention"),
        ({"fc.weight_g": np.ones((2, 1)), "fc.weight_v": np.ones((2, 4)), "fc.weight": np.ones((2, 4))}, "normalised"),
        ({"fc.weight": np.ones((2, 4), "i1")}, "are those of a Linear whose bias or dtype does not fit"),
        ({"fc.weight": np.ones((2, 4)), "fc.bias": np.ones(3)}, "are those of a Linear whose bias or dtype"),
        ({"rnn.weight_hr_l0": np.ones((2, 4))}, "are those of a recurrent layer that is no nn.RNN"),
    ],
)
def test_what_computes_is_refused_without_a_way_out(extra: dict[str, Any], match: str) -> None:
    with pytest.raises(rb.FormatError, match=match) as caught:
        rb.from_torch(network() | extra, activation="tanh")
    assert proposed(str(caught.value)) == {}


def test_a_wrong_key_is_no_part(tmp_path: Path) -> None:
    for key in ("nope", ("averages", "nope"), ("model", "nope")):
        with pytest.raises(rb.FormatError) as caught:
            rb.load(nested(tmp_path), activation="tanh", key=key)
        given = proposed(str(caught.value)).get("key", "model")
        rb.load(nested(tmp_path), activation="tanh", key=given)


def test_a_head_keeps_the_order_of_its_linear() -> None:
    state = network() | fully("hidden", 4, 4) | fully("classify", 4, 4, seed=6)
    rnn = rb.from_torch(state, activation="tanh", readout_activation=("relu", "softmax"))
    z = np.maximum(linear(state, "hidden", of_torch(state, X, "rnn.")), 0)
    close(rnn.logits(X), linear(state, "classify", z))


def test_an_embedding_as_wide_as_the_vocabulary_and_the_states() -> None:
    state = {"emb.weight": normal(4, 4)} | network(4, 4) | fully("fc", 4, 4)
    with pytest.raises(rb.FormatError, match=r"roles={'emb': 'embedding', 'fc': 'readout'}"):
        rb.from_torch(state, **TOLD)
    rnn = rb.from_torch(state, **TOLD, roles={"emb": "embedding"})
    ids = np.arange(10).reshape(5, 2) % 4
    close(rnn.logits(ids), linear(state, "fc", of_torch(state, state["emb.weight"][ids], "rnn.")))


def test_a_table_by_a_name_of_its_own() -> None:
    state = {"W_embed": normal(9, 3), "Wx": normal(3, 4), "Wh": normal(4, 4), "b": normal(4)}
    names = {"W_embed": "embedding.weight", "Wx": "weight_ih_l0.T", "Wh": "weight_hh_l0.T", "b": "bias_l0"}
    rnn = rb.from_torch(state, activation="tanh", names=names)
    ids = np.arange(10).reshape(5, 2) % 9
    close(rnn(ids)[0], states(state["W_embed"][ids], state["Wx"].T, state["Wh"].T, state["b"]))


# What a review found


def test_numbered_modules_are_applied_in_their_order_however_they_stand(tmp_path: Path) -> None:
    state = network() | fully("head.2", 4, 4) | fully("head.10", 4, 4, seed=6)
    save_file(state, tmp_path / "m.safetensors")
    z = np.maximum(linear(state, "head.2", of_torch(state, X, "rnn.")), 0)
    for roles in (None, {"head": "readout"}):
        given: dict[str, Any] = {"activation": "tanh", "readout_activation": ("relu", "identity"), "roles": roles}
        close(rb.load(tmp_path / "m.safetensors", **given).logits(X), linear(state, "head.10", z))


def test_names_with_numbers_are_in_their_order() -> None:
    state = {"D": normal(4, 4), "C": normal(4, 4, seed=1)} | network(prefix="")
    names = {"D": "readout.1.weight", "C": "readout.0.weight"}
    rnn = rb.from_torch(state, activation="tanh", readout_activation=("relu", "identity"), names=names)
    close(rnn.logits(X), np.maximum(of_torch(state, X) @ state["C"].T, 0) @ state["D"].T)


def test_what_is_named_loss_keeps_its_biases() -> None:
    state = network() | fully("loss_head", 2, 4)
    close(rb.from_torch(state, **TOLD).logits(X), linear(state, "loss_head", of_torch(state, X, "rnn.")))
    with pytest.raises(rb.FormatError, match=r"'loss_norm.bias', of shape \(4,\), are those of a LayerNorm"):
        rb.from_torch(network() | {"loss_norm.weight": np.ones(4), "loss_norm.bias": np.ones(4)}, **TOLD)
    state = network(prefix="loss.rnn.")
    close(rb.from_torch(state, activation="tanh")(X)[0], of_torch(state, X, "loss.rnn."))


@pytest.mark.parametrize("wrong", [{"c": 2, "a": 0, "b": 1}, {"a", "b", "c"}, np.array(["a", "b", "c"]), ["a", 1]])
def test_a_vocabulary_is_a_text_or_a_list_of_words(wrong: Any) -> None:
    with pytest.raises(
        rb.ArgumentError, match="`vocabulary` must be a text, each of its characters a token, or a list"
    ):
        rb.from_torch(network(), activation="tanh", vocabulary=wrong)


def test_a_bias_of_integers_is_refused() -> None:
    with pytest.raises(rb.FormatError, match=r"'fc.weight', 'fc.bias', of shape \(1, 4\), are those of a Linear whose"):
        rb.from_torch(
            network() | {"fc.weight": normal(1, 4), "fc.bias": np.array([3])}, **{**TOLD, "readout_activation": "tanh"}
        )


def test_a_batch_norm_between_layers_is_folded_into_the_one_above() -> None:
    state = network(3, 4, "a.") | norm("bn", 4) | network(4, 5, "b.", seed=1)
    rnn = rb.from_torch(state, activation="tanh", batch_norm_eps=1e-5)
    close(rnn(X)[0], of_torch(state, normed(state, "bn", of_torch(state, X, "a.")), "b."))


@pytest.mark.parametrize(
    ("extra", "given", "match"),
    [
        (fully("e", 3, 6), {"roles": {"e": "embedding"}}, "'e' has a bias, and can be no embedding"),
        (
            fully("fc", 2, 4),
            {"roles": {"fc": "layers"}},
            "`roles` makes 'fc' the layers; of its kind, linear, it may be",
        ),
        ({}, {"roles": {"rnn": "readout"}}, "`roles` makes 'rnn' the readout; of its kind, layers, it may be 'layers'"),
        (norm("bn", 4), {"roles": {"bn": "readout"}}, "`roles` makes 'bn' the readout; of its kind, norm, it may be"),
        ({}, {"batch_norm_eps": 1e-5}, "there is no BatchNorm; leave `batch_norm_eps` out"),
    ],
)
def test_options_that_would_do_nothing_are_refused(extra: dict[str, Any], given: dict[str, Any], match: str) -> None:
    with pytest.raises(rb.FormatError, match=match):
        rb.from_torch(network() | extra, activation="tanh", **given)


@pytest.mark.parametrize("eps", [10**400, -1e-5, 2.0, True, float("nan"), "1e-5"])
def test_an_eps_must_be_a_small_number(eps: Any) -> None:
    with pytest.raises(rb.ArgumentError, match="`batch_norm_eps` must be a number from 0 to below 1; got"):
        rb.from_torch(network(), activation="tanh", batch_norm_eps=eps)


def test_layers_declared_in_reverse_are_asked_for() -> None:
    state = network(5, 7, "b.") | network(3, 5, "a.", seed=1)
    with pytest.raises(rb.FormatError, match="there are several recurrent networks, 'b', 'a'; pass roles="):
        rb.from_torch(state, activation="tanh")
    rnn = rb.from_torch(state, activation="tanh", roles={"a": "layers", "b": "layers"})
    close(rnn(X)[0], of_torch(state, of_torch(state, X, "a."), "b."))


def test_tied_weights_of_safetensors_have_both_their_names(tmp_path: Path) -> None:
    table = normal(9, 4)
    state = {"emb.weight": table} | network(4, 4) | {"out.weight": table, "out.bias": normal(9)}
    held = {name: array for name, array in state.items() if name != "out.weight"}
    save_file(held, tmp_path / "m.safetensors", metadata={"out.weight": "emb.weight", "format": "pt"})
    rnn = rb.load(tmp_path / "m.safetensors", **TOLD)
    ids = [[0, 8, 3], [5, 1, 1]]
    close(rnn.logits(ids), linear(state, "out", of_torch(state, table[np.array(ids)], "rnn.")))
    save_file({"emb.weight": table} | network(4, 4), tmp_path / "t.safetensors", metadata={"out.weight": "emb.weight"})
    with pytest.raises(rb.FormatError, match=r"'emb' \(4 -> 9\), 'out' \(4 -> 9\) may stand .* pass roles="):
        rb.load(tmp_path / "t.safetensors", **TOLD)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ""])
def test_sorted_names_say_nothing_of_order(tmp_path: Path, suffix: str) -> None:
    state = network(8, 8) | {"fc.weight": normal(30, 8)}
    state = {name: state[name] for name in sorted(state)}
    if suffix == ".safetensors":
        save_file(state, tmp_path / "m.safetensors")
    elif suffix:
        np.savez(tmp_path / "m.npz", **state)

    def read(**given: Any) -> rb.RNN:
        return rb.load(tmp_path / f"m{suffix}", **given) if suffix else rb.from_torch(state, **given)

    with pytest.raises(rb.FormatError, match=r"'fc' \(8 -> 30\) may stand before or after the RNN, .* pass roles="):
        read(activation="tanh")
    x = normal(5, 2, 8)
    close(read(**TOLD).logits(x), linear(state, "fc", of_torch(state, x, "rnn.")))
    held = norm("bn", 8) | network(8, 8) | fully("fc", 2, 8)
    with pytest.raises(rb.FormatError, match="'bn' is a BatchNorm, of which the weights do not record the place"):
        rb.from_torch({name: held[name] for name in sorted(held)}, **TOLD, batch_norm_eps=1e-5)


def test_layers_in_safetensors_stand_in_the_order_of_their_shapes(tmp_path: Path) -> None:
    state = network(3, 5, "b.") | network(5, 7, "a.", seed=1)
    save_file(state, tmp_path / "m.safetensors")
    close(rb.load(tmp_path / "m.safetensors", activation="tanh")(X)[0], of_torch(state, of_torch(state, X, "b."), "a."))


@pytest.mark.parametrize(
    "names", [("encoder.rnn.", "decoder.rnn."), ("enc.", "dec."), ("rnn_encoder.", "rnn_decoder.")]
)
def test_a_decoder_is_not_taken_for_a_layer(names: tuple[str, str]) -> None:
    state = network(3, 4, names[0]) | network(4, 5, names[1], seed=1)
    with pytest.raises(rb.FormatError, match="there are several recurrent networks"):
        rb.from_torch(state, activation="tanh")
    roles = dict.fromkeys((name.removesuffix(".") for name in names), "layers")
    rnn = rb.from_torch(state, activation="tanh", roles=roles)
    close(rnn(X)[0], of_torch(state, of_torch(state, X, names[0]), names[1]))


def test_networks_that_may_take_the_same_input_are_asked_for() -> None:
    state = network(3, 3, "a.") | network(3, 7, "b.", seed=1)
    with pytest.raises(rb.FormatError, match="there are several recurrent networks, 'a', 'b'; pass roles="):
        rb.from_torch(state, activation="tanh")


def test_six_layers_in_a_circle_are_asked_for() -> None:
    state: dict[str, Any] = {}
    for k in range(6):
        state |= network(k + 2, (k + 1) % 6 + 2, f"rnn{k}.")
    with pytest.raises(rb.FormatError, match="there are several recurrent networks"):
        rb.from_torch(state, activation="tanh")


def test_a_name_in_a_file_proposes_nothing(tmp_path: Path) -> None:
    state = network() | {"x pass key='y', or that of another z": np.ones(3), "activation='relu'": np.ones(2)}
    with pytest.raises(rb.FormatError) as caught:
        rb.from_torch(state)
    assert proposed(str(caught.value)).get("activation") in {None, "tanh"}
    assert "key" not in proposed(str(caught.value))


def test_modules_saved_one_by_one_are_one_network() -> None:
    rnn, fc = network(prefix=""), {"weight": normal(2, 4), "bias": normal(2)}
    wanted = of_torch(rnn, X) @ fc["weight"].T + fc["bias"]
    beside = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": normal(2, 4)}}}, "criterion": {"weight": np.ones(2)}}
    held = {"rnn": rnn, "fc": fc, **beside}
    close(rb.from_torch(held, **TOLD).logits(X), wanted)
    close(rb.from_torch({"epoch": 3, "state": held}, **TOLD).logits(X), wanted)
    assert rb.from_torch(held, activation="tanh", key="rnn").readout is None
    with pytest.raises(rb.FormatError, match=r"'cnn.weight', 'cnn.bias', .* are those of a Bilinear or a convolution"):
        rb.from_torch(held | {"cnn": {"weight": normal(4, 3, 3), "bias": normal(4)}}, **TOLD)
