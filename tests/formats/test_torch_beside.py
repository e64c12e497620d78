"""Which weights of a state dict or of a checkpoint belong together: side by side, one after the other, or one twice."""

from functools import partial
from pathlib import Path
from typing import Any

import fake_torch as ft
import numpy as np
import pt_files
import pytest
from plain import X, fully, linear, network, normal, of_torch
from ways import follow, refused

import rnn_backends as rb

H = of_torch(network(), X, "rnn.")
BARE = network(prefix="")
FC = {"weight": normal(2, 4), "bias": normal(2)}
IDENTITY: dict[str, Any] = {"readout_activation": "identity"}


def logits(rnn: rb.RNN) -> Any:
    return rnn.logits(X)


def loading(state: Any, **given: Any) -> Any:
    return lambda **more: rb.from_torch(state, **{"activation": "tanh", **given, **more})


# State dicts beside each other


@pytest.mark.parametrize(
    "other", [FC, {"weight": normal(1, 2)}, {"net.0.weight": normal(6, 2), "net.2.weight": normal(1, 6)}]
)
@pytest.mark.parametrize("places", [("generator",), ("model", "generator")])
def test_weights_beside_a_whole_network_are_of_another(other: Any, places: tuple[str, ...]) -> None:
    state = network() | fully("fc", 2, 4)
    held: Any = {"generator": state, "discriminator": other, "epoch": 3}
    held = {"model": held} if len(places) == 2 else held
    message = refused("key", loading(held, **IDENTITY))
    assert "beside the network in" in message
    assert "there are weights in 'discriminator', which may be of another one" in message
    follow("key", loading(held, **IDENTITY), linear(state, "fc", H), logits)


def test_cells_of_names_that_are_given_have_nothing_beside_them() -> None:
    names = {"A": "weight_ih_l0", "B": "weight_hh_l0", "C": "bias_ih_l0", "D": "bias_hh_l0"}
    state = {name: BARE[own] for name, own in names.items()}
    follow("key", loading({"generator": state, "discriminator": FC}, names=names), H, lambda rnn: rnn(X)[0])


def test_cells_that_are_lists_are_no_other_network() -> None:
    state = {"emb.weight": normal(9, 3)} | {name: array.tolist() for name, array in BARE.items()}
    with pytest.raises(rb.FormatError, match=r"the value of 'encoder\.weight_ih_l0' must be an array"):
        loading({"encoder": state, "decoder": FC})()


@pytest.mark.parametrize("prefix", ["", "rnn."])
@pytest.mark.parametrize("name", ["weight", "head.weight"])
def test_weights_beside_cells_alone_are_joined(prefix: str, name: str) -> None:
    held = {
        "encoder": network(prefix=prefix),
        "decoder": {name: FC["weight"], name.replace("weight", "bias"): FC["bias"]},
    }
    np.testing.assert_allclose(logits(loading(held, **IDENTITY)()), H @ FC["weight"].T + FC["bias"])


def test_an_embedding_with_the_cells_is_no_readout() -> None:
    table = normal(9, 3)
    held = {"encoder": {"emb.weight": table} | network(), "decoder": FC}
    ids = np.arange(8).reshape(4, 2)
    wanted = of_torch(network(), table[ids], "rnn.") @ FC["weight"].T + FC["bias"]
    np.testing.assert_allclose(loading(held, **IDENTITY)().logits(ids), wanted)
    assert "key" in refused("key", loading({**held, "decoder": {"fc.weight": FC["weight"]}}, **IDENTITY))


def test_a_readout_without_a_bias_is_no_embedding() -> None:
    state = network() | {"fc.weight": normal(2, 4)}
    held = {"generator": state, "discriminator": {"weight": normal(1, 2)}}
    follow("key", loading(held, **IDENTITY), linear(state, "fc", H), logits)


def test_a_loss_beside_a_network_is_no_other() -> None:
    state = network() | fully("fc", 2, 4)
    held = {"model": state, "criterion": {"weight": np.ones(2)}, "scaler": {"mean": np.ones(3)}}
    np.testing.assert_allclose(logits(loading(held, **IDENTITY)()), linear(state, "fc", H))


# Heads side by side


def heads(*sizes: tuple[int, int]) -> dict[str, Any]:
    return {name: array for place, size in enumerate(sizes) for name, array in fully(f"fc{place}", *size).items()}


def test_heads_of_one_size_may_stand_side_by_side() -> None:
    state = network() | fully("mu", 4, 4) | fully("logvar", 4, 4)
    read = loading(state, **IDENTITY)
    follow("side_by_side", read, linear(state, "mu", H), logits)
    rnn = loading(state, readout_activation=("relu", "identity"))()
    np.testing.assert_allclose(logits(rnn), linear(state, "logvar", np.maximum(linear(state, "mu", H), 0)))
    both = loading(state, roles={"mu": "readout", "logvar": "readout"})
    assert "readout_activation=('relu', " in refused("readout_activation", both)


@pytest.mark.parametrize("sizes", [((4, 4), (2, 4)), ((4, 4), (4, 4), (4, 4))])
def test_heads_that_all_take_what_the_rnn_gives_are_asked_for(sizes: Any) -> None:
    state = network() | heads(*sizes)
    follow("side_by_side", loading(state, **IDENTITY), linear(state, "fc0", H), logits)


def test_heads_of_which_only_a_chain_fits_are_one() -> None:
    assert "pass readout_activation=('relu', 'softmax')" in refused(
        "readout_activation", loading(network() | heads((16, 4), (2, 16)))
    )
    assert "pass readout_activation=('relu', 'softmax')" in refused(
        "readout_activation", loading(network() | fully("fc.0", 4, 4) | fully("fc.2", 4, 4))
    )


def test_heads_of_a_live_module_may_stand_side_by_side() -> None:
    mu, logvar = ft.linear(4, 4), ft.linear(4, 4)
    mu._state["bias"] += 1
    module = ft.net(rnn=ft.sized(4, 3), mu=mu, logvar=logvar)
    x = X.astype("f4")
    wanted = rb.from_torch(ft.sized(4, 3))(x)[0] @ mu._state["weight"].T + mu._state["bias"]
    follow("side_by_side", partial(rb.from_torch, module, **IDENTITY), wanted, lambda rnn: rnn.logits(x))
    assert len(rb.from_torch(module, readout_activation=("relu", "identity")).readout) == 2
    chain = ft.net(rnn=ft.sized(4, 3), head=ft.sequential(mu, logvar))
    assert len(rb.from_torch(chain, **IDENTITY).readout) == 2


# One module under two names


def twice(one: str, other: str) -> dict[str, Any]:
    fc = fully("", 4, 4)
    return network() | {f"{name}{leaf}": fc[leaf] for name in (one, other) for leaf in fc}


def test_one_module_of_two_names_is_applied_once(tmp_path: Path) -> None:
    state = twice("fc", "out")
    wanted = linear(state, "fc", H)
    np.testing.assert_allclose(logits(loading(state, **IDENTITY)()), wanted)
    held = {name: array.astype("<f8") for name, array in network().items()} | {"fc": state["fc.weight"].astype("<f8")}
    held["bias"] = state["fc.bias"].astype("<f8")
    entries = {name: pt_files.plain(str(key), array) for key, (name, array) in enumerate(held.items())}
    weight, bias = entries.pop("fc"), entries.pop("bias")
    entries |= {"fc.weight": weight, "fc.bias": bias, "out.weight": weight, "out.bias": bias}
    path = pt_files.write(tmp_path / "m.pt", pt_files.members(held, pt_files.dictionary(entries)))
    np.testing.assert_allclose(logits(rb.load(path, activation="tanh", **IDENTITY)), wanted)


def test_views_of_one_array_are_one() -> None:
    state = {name: array[:] for name, array in twice("fc", "out").items()}
    np.testing.assert_allclose(logits(loading(state, **IDENTITY)()), linear(state, "fc", H))
    copied = {name: array.copy() for name, array in state.items()}
    refused("side_by_side", loading(copied, **IDENTITY))


@pytest.mark.parametrize(("roles", "times"), [({"fc": "readout"}, 1), ({"out": "readout"}, 1), ({"out": "ignore"}, 1),
                                              ({"fc": "readout", "out": "readout"}, 2)])  # fmt: skip
def test_roles_of_two_names_are_followed(roles: dict[str, str], times: int) -> None:
    state = twice("fc", "out")
    wanted = linear(state, "fc", H)
    activations = "identity" if times == 1 else ("identity", "identity")
    rnn = loading(state, roles=roles, readout_activation=activations)()
    np.testing.assert_allclose(logits(rnn), wanted if times == 1 else linear(state, "fc", wanted))


def test_one_module_twice_in_a_row_is_applied_twice() -> None:
    state = twice("head.0", "head.1")
    wanted = linear(state, "head.1", linear(state, "head.0", H))
    np.testing.assert_allclose(logits(loading(state, readout_activation=("identity", "identity"))()), wanted)


def test_a_recurrent_module_of_two_names_is_one() -> None:
    state = network(4, 4)
    held = state | {f"layers.0.{name.removeprefix('rnn.')}": array for name, array in state.items()}
    x = np.random.default_rng(0).normal(size=(5, 2, 4))
    np.testing.assert_allclose(loading(held)()(x)[0], of_torch(state, x, "rnn."))


def test_a_tied_embedding_and_readout_are_two() -> None:
    table = normal(9, 4)
    state = {"emb.weight": table} | network(4, 4) | {"out.weight": table}
    ids = np.arange(8).reshape(4, 2)
    rnn = loading(state, **IDENTITY, roles={"emb": "embedding", "out": "readout"})()
    np.testing.assert_allclose(rnn.logits(ids), of_torch(state, table[ids], "rnn.") @ table.T)


def test_only_what_is_read_counts_as_a_name() -> None:
    state = twice("fc", "out")
    held = {f"a.{name}": array for name, array in state.items() if not name.startswith("out")}
    held |= {f"b.{name}": array for name, array in held.items()}
    held = {name.replace("b.a.", "b."): array for name, array in held.items()}
    np.testing.assert_allclose(logits(loading(held, **IDENTITY, key="b")()), linear(state, "fc", H))
