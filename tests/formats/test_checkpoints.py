"""Checkpoints, in files and in memory: the one network in them, asked for where there are several, and all its weights."""

import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pt_files
import pytest
from plain import X, fully, linear, network, normal, of_torch
from pt_files import dictionary, integer, members, plain, text
from ways import follow, refused

import rnn_backends as rb

DATA = Path(__file__).parents[1] / "data"
NUMPY = b"cnumpy._core.multiarray\n_reconstruct\n(tR" + dictionary({}) + b"b"
LIST = b"](G" + bytes(8) + b"G" + bytes(8) + b"e"


def output(rnn: rb.RNN) -> Any:
    return rnn(X)[0]


def loading(state: Any, **given: Any) -> Any:
    return lambda **more: rb.from_torch(state, activation="tanh", **{**given, **more})


class Written:
    """A .pt file that is put together part by part; each array has a storage of its own."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}

    def entries(self, held: Mapping[str, Any]) -> dict[str, bytes]:
        found = {}
        for name, array in held.items():
            key = str(len(self.arrays))
            self.arrays[key] = np.asarray(array, "<f8")
            found[name] = plain(key, self.arrays[key])
        return found

    def module(self, held: Mapping[str, Any], children: Mapping[str, bytes] = {}, name: str = "__main__ Net") -> bytes:
        """Return a module that was saved whole."""
        return pt_files.whole(name, dictionary(self.entries(held)), dictionary(children))

    def load(self, folder: Path, value: bytes, **options: Any) -> rb.RNN:
        path = pt_files.write(folder / "m.pt", members(self.arrays, value))
        return rb.load(path, **{"activation": "tanh", **options})


# Several in a file


def critic(written: Written) -> bytes:
    return written.module({}, {"fc": written.module({"weight": np.ones((1, 4)), "bias": np.ones(1)})})


def actor(written: Written, seed: int = 0) -> bytes:
    return written.module({}, {"rnn": written.module(network(prefix="", seed=seed))})


def test_whole_modules_beside_each_other_are_asked_for(tmp_path: Path) -> None:
    written = Written()
    value = dictionary({"model": actor(written), "critic": critic(written), "ema": actor(written, seed=1)})
    follow("key", partial(written.load, tmp_path, value), of_torch(network(), X, "rnn."), output)


def test_a_whole_module_is_found_after_others(tmp_path: Path) -> None:
    written = Written()
    value = dictionary({"critic": critic(written), "other": critic(written), "model": actor(written)})
    np.testing.assert_allclose(output(written.load(tmp_path, value)), of_torch(network(), X, "rnn."))


@pytest.mark.parametrize("name", ["state_dict", "n" * 70])
def test_a_name_of_any_length_leads_to_its_network(name: str) -> None:
    held = {name: network(seed=1), "n" * 71: network()}
    follow("key", loading(held), of_torch(network(seed=1), X, "rnn."), output)


def test_a_way_to_a_network_that_is_too_long_for_a_message_is_not_written_out() -> None:
    outer, inner = "a" * 150, "b" * 150
    held = {outer: {inner: network(seed=1)}, "c" * 150: {inner: network()}}
    then = loading(held, key=(outer, inner))
    follow("key_of_one", loading(held), of_torch(network(seed=1), X, "rnn."), output, then=then)


class Fresh(Mapping[str, Any]):
    """A mapping whose values are made as they are asked for."""

    def __init__(self, **parts: Callable[[], Any]) -> None:
        self.parts = parts

    def __getitem__(self, name: str) -> Any:
        return self.parts[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)


def test_what_is_gone_is_not_taken_for_what_was_seen() -> None:
    held = Fresh(log=dict, model=lambda: Fresh(state=lambda: {**network()}))
    np.testing.assert_allclose(output(rb.from_torch(held, activation="tanh")), of_torch(network(), X, "rnn."))


def test_an_average_beside_whole_modules_is_asked_for(tmp_path: Path) -> None:
    written = Written()
    ema = dictionary(written.entries(network(seed=1)))
    value = dictionary({"ema": ema, "critic": critic(written), "model": actor(written)})
    read = partial(written.load, tmp_path, value)
    follow("key", read, of_torch(network(seed=1), X, "rnn."), output)
    np.testing.assert_allclose(output(read(key="model")), of_torch(network(), X, "rnn."))


def test_an_average_in_a_state_dict_is_asked_for(tmp_path: Path) -> None:
    written = Written()
    ema = dictionary(written.entries(network(seed=1)))
    value = dictionary({**written.entries(network()), "ema": ema})
    read = partial(written.load, tmp_path, value)
    held = network() | {"ema": network(seed=1)}
    for load in (read, loading(held)):
        ignored, chosen = partial(load, roles={"ema": "ignore"}), partial(load, key="ema")
        follow("ignore", load, of_torch(network(), X, "rnn."), output, then=ignored)
        follow("key", load, of_torch(network(seed=1), X, "rnn."), output, then=chosen)


def test_a_module_in_two_places_is_one_network(tmp_path: Path) -> None:
    written = Written()
    value = dictionary({"model": actor(written) + b"q\0", "best": b"h\0", "all": b"](h\0h\0e"})
    np.testing.assert_allclose(output(written.load(tmp_path, value)), of_torch(network(), X, "rnn."))


# Values beside the tensors


@pytest.mark.parametrize("value", [NUMPY, LIST, b"G" + bytes(8), integer(1), b"](" + LIST + b"e", b"cnet\nQ\n)R"])
def test_a_weight_that_is_no_tensor_is_refused_by_name(tmp_path: Path, value: bytes) -> None:
    written = Written()
    fc = fully("fc", 2, 4)
    held = dictionary({**written.entries(network() | {"fc.weight": fc["fc.weight"]}), "fc.bias": value})
    read = partial(written.load, tmp_path, held, readout_activation="softmax")
    wanted = linear({"fc.weight": fc["fc.weight"]}, "fc", of_torch(network(), X, "rnn."))
    rnn = follow("ignore", read, wanted, lambda rnn: rnn.logits(X), then=lambda: read(roles={"fc.bias": "ignore"}))
    assert isinstance(rnn.readout, rb.Linear)
    assert "'fc.bias' is " in refused("torch_load", read)


@pytest.mark.parametrize(
    ("name", "value"),
    [("fc.scale", NUMPY), ("fc.scale", LIST), ("fc.scale", b"G" + bytes(8)), ("bias", LIST), ("rnn.bias_hh_l1", NUMPY)],
)
def test_what_may_be_a_weight_is_refused(tmp_path: Path, name: str, value: bytes) -> None:
    written = Written()
    held = dictionary({**written.entries(network() | fully("fc", 2, 4)), name: value})
    way = "torch_load" if name.startswith("rnn.") else "ignore"
    assert f"{name!r} is " in (message := refused(way, partial(written.load, tmp_path, held)))
    assert ("roles" in message) == (way == "ignore")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epoch", integer(3)), ("weight_decay", b"G" + bytes(8)), ("losses", LIST), ("accuracy", NUMPY),
        ("bias", b"\x88"), ("fc.num_batches_tracked", integer(3)), ("fc.names", b"](" + text("a") + b"e"),
        ("fc.bias_of", b"N"), ("weight", b"N"), ("fc.note", text("x")), ("fc.by", b"N"),
    ],
)  # fmt: skip
def test_what_computes_nothing_is_left_out(tmp_path: Path, name: str, value: bytes) -> None:
    written = Written()
    state = network() | fully("fc", 2, 4)
    held = dictionary({**written.entries(state), name: value})
    rnn = written.load(tmp_path, held, readout_activation="softmax")
    np.testing.assert_allclose(rnn.logits(X), linear(state, "fc", of_torch(state, X, "rnn.")))


@pytest.mark.parametrize("function", ["_rebuild_sparse_tensor", "_rebuild_qtensor", "_rebuild_meta_tensor_no_storage"])
def test_a_weight_that_is_no_plain_tensor_is_saved_as_one(tmp_path: Path, function: str) -> None:
    written = Written()
    entries = written.entries(network())
    other = entries | {"rnn.weight_ih_l0": f"ctorch._utils\n{function}\n)R".encode()}
    read = partial(written.load, tmp_path)
    follow("plain_tensor", lambda **_: read(dictionary(other)), of_torch(network(), X, "rnn."), output,
           then=lambda: read(dictionary(entries)))  # fmt: skip
    assert "roles" not in refused("plain_tensor", lambda: read(dictionary(other)))


def test_a_state_dict_of_numpy_arrays_is_refused_by_name(tmp_path: Path) -> None:
    value = dictionary(dict.fromkeys(network(), NUMPY))
    message = refused("torch_load", partial(Written().load, tmp_path, dictionary({"model": value})))
    assert "'rnn.weight_ih_l0' is made by 'numpy._core.multiarray._reconstruct'" in message


def test_values_beside_the_part_of_a_key_are_no_matter(tmp_path: Path) -> None:
    written = Written()
    held = written.entries(network(prefix="a.rnn.") | network(prefix="b.rnn.", seed=1)) | {"b.fc.bias": NUMPY}
    read = partial(written.load, tmp_path, dictionary(held))
    np.testing.assert_allclose(output(read(key="a")), of_torch(network(), X, "rnn."))
    follow("ignore", partial(read, key="b"), of_torch(network(seed=1), X, "rnn."), output,
           then=lambda: read(key="b", roles={"fc.bias": "ignore"}))  # fmt: skip


# Files that take little


def test_arrays_of_shared_modules_are_accounted(tmp_path: Path) -> None:
    message = refused_in_time(tmp_path, pt_files.shared(200, 20_000))
    assert "its modules would take 20000 items after" in message


def test_long_names_of_shared_modules_are_accounted(tmp_path: Path) -> None:
    value = pt_files.shared(1, 2000, depth=16).replace(text("c0"), text("c" * 900))
    assert "its modules would take " in refused_in_time(tmp_path, value)


def test_one_module_in_a_list_is_looked_at_once(tmp_path: Path) -> None:
    value = b"](" + pt_files.shared(1, 20_000) + b"q\1" + b"h\1" * 36_000 + b"e"
    assert "it holds no recurrent network" in refused_in_time(tmp_path, value)


def refused_in_time(folder: Path, value: bytes) -> str:
    begin = time.process_time()
    with pytest.raises(rb.FormatError) as caught:
        Written().load(folder, value)
    assert time.process_time() - begin < 4
    return str(caught.value)


# Files of other kinds


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".bin", ".pth", ".ckpt"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_of_arrays_is_known_by_its_content(tmp_path: Path, suffix: str, protocol: int) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(pickle.dumps(network(), protocol))

    def unpickled() -> rb.RNN:
        return rb.from_torch(pickle.loads(path.read_bytes()), activation="tanh")  # it was written above

    read = partial(rb.load, path, activation="tanh")
    follow("pickle", read, of_torch(network(), X, "rnn."), output, then=unpickled)


def test_a_file_of_old_torch_is_saved_again(torch: Any, tmp_path: Path) -> None:
    with np.load(DATA / "torch.npz") as archive:
        values = dict(archive)

    def again() -> rb.RNN:
        torch.save(torch.load(DATA / "legacy.pt"), tmp_path / "m.pt")
        return rb.load(tmp_path / "m.pt", activation="tanh")

    follow("torch_again", partial(rb.load, DATA / "legacy.pt", activation="tanh"), values["output"],
           lambda rnn: rnn(values["x"])[0], then=again)  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_of_torch_is_saved_as_its_weights(torch: Any, tmp_path: Path) -> None:
    path, module = tmp_path / "m.pt", torch.nn.RNN(3, 4, dtype=torch.float64)
    torch.jit.script(module).save(path)

    def weights() -> rb.RNN:
        torch.save(torch.jit.load(path).state_dict(), tmp_path / "weights.pt")
        return rb.load(tmp_path / "weights.pt", activation="tanh")

    wanted = module(torch.from_numpy(X))[0].detach()
    follow("torch_script", partial(rb.load, path, activation="tanh"), wanted, output, then=weights)


# In memory


@pytest.mark.parametrize("key", [{}, {"key": "state_dict"}])
def test_a_checkpoint_in_memory(key: dict[str, str]) -> None:
    held = {
        "epoch": 3,
        "state_dict": network(),
        "args": [1, {"lr": 0.1}],
        "optimizer": {"state": {0: {"m": np.ones(3)}}},
    }
    np.testing.assert_allclose(output(loading(held, **key)()), of_torch(network(), X, "rnn."))


def test_networks_of_a_checkpoint_in_memory_are_asked_for() -> None:
    held = {"model": network(), "averages": [{"ema": network(seed=1)}], "again": None}
    held["again"] = held["model"]
    follow("key", loading(held), of_torch(network(), X, "rnn."), output)
    with pytest.raises(rb.FormatError, match=r"`key` names 'nope', which is no part of it; they are in"):
        loading(held, key="nope")()


def test_values_beside_the_weights_in_memory_are_left_out() -> None:
    held = network() | {"epoch": 3, "losses": [0.5], "loss": np.float64(0.5), "best_acc": np.float32(1), 0: None}
    np.testing.assert_allclose(output(loading(held)()), of_torch(network(), X, "rnn."))


@pytest.mark.parametrize("value", [[0.0, 0.0], 1, 0.5, object()])
def test_a_weight_in_memory_that_is_no_array_is_refused(value: Any) -> None:
    held = network() | {"fc.weight": np.ones((2, 4)), "fc.bias": value}
    with pytest.raises(rb.FormatError, match=r"the value of 'fc.bias' must be an array, and its name a text; got"):
        loading({"model": held})()
    assert loading({"model": held}, readout_activation="softmax", roles={"fc.bias": "ignore"})().readout is not None


def test_names_of_ones_own_in_memory_are_found_with_a_key() -> None:
    named = {"U": "weight_ih_l0", "V": "weight_hh_l0"}
    state = {"U": network()["rnn.weight_ih_l0"], "V": network()["rnn.weight_hh_l0"]}
    wanted = of_torch({f"{name}": state[key] for key, name in named.items()}, X)
    np.testing.assert_allclose(output(loading({"net": state, "epoch": 1}, names=named)()), wanted)
    np.testing.assert_allclose(output(loading({"net": state}, names=named, key="net")()), wanted)


def test_a_log_beside_names_of_ones_own_is_no_network() -> None:
    held = {"U": normal(4, 3), "V": normal(4, 4), "log": {"weight_hh_l0": [0.5]}}
    with pytest.raises(rb.FormatError, match="pass names= with the name of each"):
        loading(held)()


def test_a_checkpoint_in_memory_without_a_network() -> None:
    with pytest.raises(rb.FormatError, match="it holds no recurrent network, no arrays with names such as"):
        loading({"epoch": 3, "model": {"fc.weight": np.ones((2, 3))}})()


def test_a_mapping_in_memory_that_holds_itself_is_no_trap() -> None:
    held: dict[str, Any] = {"model": network()}
    held["self"] = held
    np.testing.assert_allclose(output(loading(held)()), of_torch(network(), X, "rnn."))


def test_live_modules_of_a_checkpoint(torch: Any) -> None:
    module, other = (torch.nn.RNN(3, 4, nonlinearity="relu", dtype=torch.float64) for _ in range(2))
    wanted = module(torch.from_numpy(X))[0].detach()
    held = {"epoch": 3, "critic": torch.nn.Linear(3, 1), "model": module}
    np.testing.assert_allclose(output(rb.from_torch(held)), wanted)
    np.testing.assert_allclose(output(rb.from_torch(held, key="model")), wanted)
    follow("key", lambda **given: rb.from_torch(held | {"ema": other}, **given), wanted, output)
    state = {"state_dict": module.state_dict(), "ema": other}
    follow("key", lambda **given: rb.from_torch(state, **given), wanted, output,
           then=lambda: rb.from_torch(state, activation="relu", key="state_dict"))  # fmt: skip
