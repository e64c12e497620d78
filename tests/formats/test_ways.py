"""Ways out of refusals of weights alone, each followed to a network with the right numbers."""

import pickle
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pt_files
import pytest
from plain import X, fully, linear, network, norm, normal, normed, of_torch, states
from safetensors.numpy import load_file, save_file
from ways import LONGEST, follow, refused

import rnn_backends as rb
from rnn_backends.formats.advice import WAYS, is_advised, proposed, way


def output(rnn: rb.RNN) -> Any:
    return rnn(X)[0]


def logits(rnn: rb.RNN) -> Any:
    return rnn.logits(X)


def probabilities(rnn: rb.RNN) -> Any:
    return rnn.probabilities(X)


def loading(state: Any, **given: Any) -> Any:
    """Return what reads a state dict, with options and those that it is called with."""
    return lambda **more: rb.from_torch(state, **{**given, **more})


def test_activation() -> None:
    follow("activation", loading(network()), of_torch(network(), X, "rnn."), output)


@pytest.mark.parametrize("wrong", [{"residual": False}, {"readout_activation": "tanh"}, {"encoder_activation": "relu"}])
def test_leave_out(tmp_path: Path, wrong: dict[str, Any]) -> None:
    np.savez(tmp_path / "m.npz", **network())

    def load(**given: Any) -> rb.RNN:
        return rb.load(tmp_path / "m.npz", activation="tanh", **given)

    follow("leave_out", lambda: load(**wrong), of_torch(network(), X, "rnn."), output, then=load)


def test_encoder_activation() -> None:
    state = fully("before", 3, 6) | network()
    x = normal(5, 2, 6)
    wanted = of_torch(state, np.maximum(linear(state, "before", x), 0), "rnn.")
    follow("encoder_activation", loading(state, activation="tanh"), wanted, lambda rnn: rnn(x)[0])


def test_encoder_activations() -> None:
    state = fully("a", 7, 6) | fully("b", 3, 7) | network()
    x = normal(5, 2, 6)
    z = np.maximum(linear(state, "a", x), 0)
    wanted = of_torch(state, np.maximum(linear(state, "b", z), 0), "rnn.")
    follow("encoder_activation", loading(state, activation="tanh"), wanted, lambda rnn: rnn(x)[0])


def test_readout_activation() -> None:
    state = network() | fully("fc", 2, 4)
    wanted = linear(state, "fc", of_torch(state, X, "rnn."))
    follow("readout_activation", loading(state, activation="tanh"), wanted, logits)


def test_readout_activation_of_one_output() -> None:
    state = network() | fully("fc", 1, 4)
    wanted = 1 / (1 + np.exp(-linear(state, "fc", of_torch(state, X, "rnn."))))
    follow("readout_activation", loading(state, activation="tanh"), wanted, probabilities)


def test_readout_activations_of_a_head() -> None:
    state = network() | fully("fc1", 5, 4) | fully("fc2", 2, 5)
    wanted = linear(state, "fc2", np.maximum(linear(state, "fc1", of_torch(state, X, "rnn.")), 0))
    follow("readout_activation", loading(state, activation="tanh"), wanted, logits)


def test_roles() -> None:
    state = fully("proj", 4, 4) | network(4, 4)
    x = normal(5, 2, 4)
    wanted = of_torch(state, linear(state, "proj", x), "rnn.")
    given = {"activation": "tanh", "encoder_activation": "identity"}
    follow("roles", loading(state, **given), wanted, lambda rnn: rnn(x)[0])


def test_roles_of_a_readout_in_safetensors(tmp_path: Path) -> None:
    state = network(3, 4) | fully("fc", 3, 4)
    save_file(state, tmp_path / "m.safetensors")
    wanted = linear(state, "fc", of_torch(state, X, "rnn."))

    def load(**given: Any) -> rb.RNN:
        return rb.load(tmp_path / "m.safetensors", activation="tanh", **given)

    message = refused("roles", load)
    follow("readout_activation", lambda **more: load(**proposed(message), **more), wanted, logits)


def test_layers() -> None:
    state = network(4, 4, "a.") | network(4, 4, "b.", seed=1)
    x = normal(5, 2, 4)
    wanted = of_torch(state, of_torch(state, x, "a."), "b.")
    follow("roles_of_layers", loading(state, activation="tanh"), wanted, lambda rnn: rnn(x)[0])


def test_layers_of_which_one_is_another_network() -> None:
    state = network(3, 4, "encoder.") | network(2, 4, "decoder.", seed=1)
    follow("roles_of_layers", loading(state, activation="tanh"), of_torch(state, X, "encoder."), output)


def test_initial() -> None:
    state = network() | {"h0": normal(1, 1, 4)}
    w_ih, w_hh = (state[f"rnn.weight_{kind}_l0"] for kind in ("ih", "hh"))
    wanted = states(X, w_ih, w_hh, state["rnn.bias_ih_l0"] + state["rnn.bias_hh_l0"], h_0=state["h0"][0, 0])
    read = loading(state, activation="tanh")
    follow("initial", read, wanted, output, then=lambda: read(names={"h0": "h_0"}))


def test_roles_each() -> None:
    state = network() | fully("attention", 7, 9) | fully("fc", 2, 4)
    wanted = linear(state, "fc", of_torch(state, X, "rnn."))
    read = loading(state, activation="tanh", readout_activation="softmax")
    roles = {"attention": "ignore", "fc": "readout"}
    follow("roles_each", read, wanted, logits, then=lambda: read(roles=roles))


@pytest.mark.parametrize(
    "extra", [{"scale": np.ones(4)}, {"attention.v": np.ones(4)}, {"rnn.extra": np.ones((2, 2, 2))}]
)
def test_ignore(extra: dict[str, Any]) -> None:
    follow("ignore", loading(network() | extra, activation="tanh"), of_torch(network(), X, "rnn."), output)


def test_names_of_cs231n() -> None:
    state = {"Wx": normal(3, 4), "Wh": normal(4, 4), "b": normal(4), "W_vocab": normal(4, 2), "b_vocab": normal(2)}
    h = states(X, state["Wx"].T, state["Wh"].T, state["b"])
    given = {"activation": "tanh", "readout_activation": "softmax"}
    follow("names", loading(state, **given), h @ state["W_vocab"] + state["b_vocab"], logits)


def test_names_of_rows() -> None:
    state = {"Wax": normal(3, 4), "Waa": normal(4, 4), "ba": normal(1, 4), "Wya": normal(4, 2), "by": normal(1, 2)}
    h = states(X, state["Wax"].T, state["Waa"].T, state["ba"][0])
    given = {"activation": "tanh", "readout_activation": "softmax"}
    follow("names", loading(state, **given), h @ state["Wya"] + state["by"][0], logits)


@pytest.mark.parametrize("rows", [True, False])
def test_names_of_rows_or_columns(rows: bool) -> None:
    state = {"Wxh": normal(4, 4), "Whh": normal(4, 4, seed=1), "bh": normal(4), "Why": normal(4, 4), "by": normal(4)}
    wxh, whh, why = (state[name].T if rows else state[name] for name in ("Wxh", "Whh", "Why"))
    x = normal(5, 2, 4)
    wanted = states(x, wxh, whh, state["bh"]) @ why.T + state["by"]
    given: dict[str, Any] = {"activation": "tanh", "readout_activation": "softmax"}
    read = loading(state, **given)

    def as_columns() -> rb.RNN:
        names = proposed(refused("names_of_rows", read))["names"]
        return rb.from_torch(state, **given, names={name: own.removesuffix(".T") for name, own in names.items()})

    follow("names_of_rows", read, wanted, lambda rnn: rnn.logits(x), then=None if rows else as_columns)


def test_own_names() -> None:
    state = {"kernel.u": normal(4, 3), "kernel.v": normal(4, 4), "offset": normal(4)}
    names = {"kernel.u": "weight_ih_l0", "kernel.v": "weight_hh_l0", "offset": "bias_l0"}
    read = loading(state, activation="tanh")
    follow("own_names", read, states(X, *state.values()), output, then=lambda: read(names=names))


def test_key(tmp_path: Path) -> None:
    state = network(prefix="model.rnn.") | network(prefix="ema.rnn.", seed=1)
    follow("key", loading(state, activation="tanh"), of_torch(state, X, "model.rnn."), output)


def test_batch_norm_eps() -> None:
    state = network() | norm("bn", 4) | fully("fc", 2, 4)
    wanted = linear(state, "fc", normed(state, "bn", of_torch(state, X, "rnn.")))
    follow("batch_norm_eps", loading(state, activation="tanh", readout_activation="softmax"), wanted, logits)


def test_batch_norm_in_a_file_that_is_sorted(tmp_path: Path) -> None:
    state = network() | norm("bn", 4) | fully("fc", 2, 4)
    save_file(state, tmp_path / "m.safetensors")
    given: dict[str, Any] = {"activation": "tanh", "readout_activation": "softmax", "batch_norm_eps": 1e-5}
    wanted = linear(state, "fc", normed(state, "bn", of_torch(state, X, "rnn.")))

    def ordered() -> rb.RNN:
        held = load_file(tmp_path / "m.safetensors")
        return rb.from_torch({name: held[name] for name in state}, **given)

    follow("batch_norm", lambda: rb.load(tmp_path / "m.safetensors", **given), wanted, logits, then=ordered)


def test_pickle(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(network()))

    def unpickled() -> rb.RNN:
        return rb.from_torch(pickle.loads(path.read_bytes()), activation="tanh")  # it was written above

    read = partial(rb.load, path, activation="tanh")
    follow("pickle", read, of_torch(network(), X, "rnn."), output, then=unpickled)


def test_torch_load(tmp_path: Path) -> None:
    held = pickle.dumps(network(), protocol=2)  # as torch.save writes a dict of NumPy arrays
    pt_files.write(tmp_path / "m.pt", {"data.pkl": held, "version": b"3\n"})
    read = partial(rb.load, tmp_path / "m.pt", activation="tanh")
    follow("torch_load", read, of_torch(network(), X, "rnn."), output,
           then=lambda: rb.from_torch(pickle.loads(held), activation="tanh"))  # fmt: skip


def test_columns() -> None:
    state = {"i2h.weight": normal(4, 7), "i2h.bias": normal(4), "h2o.weight": normal(2, 4), "h2o.bias": normal(2)}
    w = state["i2h.weight"]
    h = states(X, w[:, :3], w[:, 3:], state["i2h.bias"])
    given: dict[str, Any] = {"activation": "tanh", "readout_activation": "log_softmax"}

    def apart() -> rb.RNN:
        cell = {"weight_ih_l0": w[:, :3], "weight_hh_l0": w[:, 3:], "bias_l0": state["i2h.bias"]}
        return rb.from_torch(cell | {name: state[name] for name in ("h2o.weight", "h2o.bias")}, **given)

    follow("columns", loading(state, **given), linear(state, "h2o", h), logits, then=apart)


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez(path, **network())
    read = partial(rb.from_flax, path, activation="tanh", residual=False)
    wanted = of_torch(network(), X, "rnn.")
    follow("load", read, wanted, output, then=lambda: rb.load(path, activation="tanh"))


# Flax


def tree() -> dict[str, Any]:
    """Return the parameters of a SimpleCell."""
    return {"i": {"kernel": normal(3, 4), "bias": normal(4)}, "h": {"kernel": normal(4, 4)}}


def of_flax(held: dict[str, Any], x: Any = X) -> Any:
    return states(x, held["i"]["kernel"].T, held["h"]["kernel"].T, held["i"]["bias"])


def flax_output(rnn: rb.RNN) -> Any:
    return rnn(X.swapaxes(0, 1))[0].swapaxes(0, 1)


def test_residual() -> None:
    follow("residual", lambda **given: rb.from_flax(tree(), **{"activation": "tanh", "residual": None} | given),
           of_flax(tree()), flax_output)  # fmt: skip


def test_cells() -> None:
    above = {"i": {"kernel": normal(4, 4), "bias": normal(4)}, "h": {"kernel": normal(4, 4, seed=1)}}
    read = partial(rb.from_flax, {"a": tree(), "b": above}, activation="tanh", residual=False)
    follow("layers", read, of_flax(above, of_flax(tree())), flax_output)


def test_cells_of_long_paths() -> None:
    above = {"i": {"kernel": normal(4, 4), "bias": normal(4)}, "h": {"kernel": normal(4, 4, seed=1)}}
    read = partial(rb.from_flax, {"a" * 200: tree(), "b" * 200: above}, activation="tanh", residual=False)
    then = partial(read, layers=["a" * 200, "b" * 200])
    follow("layers_in_order", read, of_flax(above, of_flax(tree())), flax_output, then=then)


def test_pure_dict_of_flax() -> None:
    pytest.importorskip("flax")
    from flax import nnx

    cell = nnx.SimpleCell(3, 4, rngs=nnx.Rngs(0))
    state = nnx.state(cell)
    held = nnx.to_pure_dict(state)
    wanted = states(X, held["dense_i"]["kernel"].T, held["dense_h"]["kernel"].T, held["dense_i"]["bias"])
    read = partial(rb.from_flax, activation="tanh", residual=False)
    follow("pure_dict", lambda: read(state), wanted, flax_output, then=lambda: read(held))


def test_every_way_is_a_text_that_can_be_filled() -> None:
    for key, text in WAYS.items():
        names = re.findall(r"(?<!\{)\{([a-z_]+)\}", text)
        assert not re.search(r"\{[a-z_]+\}", way(key, **dict.fromkeys(names, "x")))


def test_a_way_out_with_long_names_has_the_first_of_them() -> None:
    roles = {f"{'long' * 10}{k}": "ignore" for k in range(40)}
    assert proposed(way("ignore", roles=roles)) == {"roles": dict(list(roles.items())[:2])}
    alone = {"long" * 50: "ignore", "longer" * 30: "ignore"}
    assert proposed(way("ignore", roles=alone)) == {"roles": {"long" * 50: "ignore"}}
    assert len(way("ignore", roles={"long" * 1000: "ignore"})) < LONGEST


def test_options_in_prose_are_not_proposed() -> None:
    text = f"it must have one with go_backwards=True; {way('key', key=repr('a'))}."
    assert proposed(text) == {"key": "a"}
    assert is_advised(text)
    assert not is_advised("it must have one with go_backwards=True.")
