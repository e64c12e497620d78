"""Small .pt files that refer to much, time and again: they take as little memory and time as any other."""

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pt_files
import pytest
from measured import MEASURED, require_little, taken
from plain import X, network, of_torch
from pt_files import dictionary, integer, members, plain, storage, tensor

import rnn_backends as rb
from rnn_backends.formats.account import Account
from rnn_backends.formats.torch.pickled import unpickle

pytestmark = pytest.mark.sampled(3)

DATA = Path(__file__).parents[1] / "data"
CELL = {name: plain(str(key), array) for key, (name, array) in enumerate(pt_files.cell().items())}
SQUARE = tensor(storage("1", 16), 0, (4, 4), (4, 1))
ROW = tensor(storage("2", 4), 0, (4,), (1,))


def short(name: str) -> bytes:
    """Return the opcode of a short text."""
    return b"\x8c" + bytes([len(name)]) + name.encode()


def entries(held: dict[str, bytes]) -> bytes:
    """Return a dict of short names."""
    return b"}(" + b"".join(short(name) + value for name, value in held.items()) + b"u"


def state(children: bytes = b"}", arrays: bytes = b"}", **more: bytes) -> bytes:
    """Return the state of a module."""
    return entries({"_parameters": arrays, "_buffers": b"}", "_modules": children, **more})


def module(name: str, held: bytes) -> bytes:
    owner, kind = name.split()
    return f"c{owner}\n{kind}\n".encode() + b")\x81" + held + b"b"


RNN = module(
    "torch.nn.modules.rnn RNN",
    state(
        arrays=dictionary(CELL), mode=short("RNN_TANH"), input_size=integer(3), hidden_size=integer(4),
        num_layers=integer(1), batch_first=b"\x89", bidirectional=b"\x89",
    ),
)  # fmt: skip


def alike(name: str, count: int, held: bytes, prefix: str = "c") -> dict[str, bytes]:
    """Return many modules of one class, which share one state; it is put on the memo of the pickle by 5, the class by 6."""
    owner, kind = name.split()
    first = f"c{owner}\n{kind}\n".encode() + b"q\6)\x81" + held + b"q\5b"
    return {f"{prefix}{k}": first if k == 0 else b"h\6)\x81h\5b" for k in range(count)}


def whole(children: dict[str, bytes], kind: str = "__main__ Net") -> bytes:
    return module(kind, state(entries(children)))


def numbered(count: int, value: bytes = b"K\1") -> bytes:
    return b"}(" + b"".join(integer(k) + value for k in range(count)) + b"u"


def named(count: int, value: bytes = b"K\1") -> bytes:
    return b"}(" + b"".join(short(f"x{k}") + value for k in range(count)) + b"u"


SPECTRAL = module("torch.nn.utils.spectral_norm SpectralNorm", entries({"name": short("w"), "dim": integer(0)}))
PRUNED = module("torch.nn.utils.prune L1Unstructured", entries({"name": short("w")}))
LINEAR = state(arrays=entries({"weight": SQUARE}), in_features=integer(4), out_features=integer(4))
NORM = state(
    arrays=entries({"running_mean": ROW, "running_var": ROW}), num_features=integer(4), track_running_stats=b"\x88",
    eps=b"G" + struct.pack(">d", 1e-5),
)  # fmt: skip
SHARED: dict[str, Callable[[], bytes]] = {
    "hooks": lambda: whole({"rnn": RNN, **alike("__main__ A", 1000, state(_forward_hooks=numbered(1000)))}),
    "hooks before": lambda: whole({"rnn": RNN, **alike("__main__ A", 5000, state(_forward_pre_hooks=numbered(30)))}),
    "hooks of both kinds": lambda: whole(
        {"rnn": RNN, **alike("a B", 500, state(_forward_hooks=numbered(900), _forward_pre_hooks=numbered(900)))}
    ),
    "hooks that are known": lambda: whole(
        {"rnn": RNN, **alike("torch.nn.modules.activation Tanh", 3000, state(_forward_pre_hooks=numbered(2000, PRUNED)))}
    ),
    "hooks of a norm": lambda: whole(
        {"rnn": RNN, **alike("torch.nn.modules.activation Tanh", 900, state(_forward_pre_hooks=numbered(900, SPECTRAL)))}
    ),
    "hooks of many classes": lambda: module(
        "torch.nn.modules.activation Tanh",
        state(_forward_hooks=b"}(" + b"".join(integer(k) + module(f"m K{k}", b"}") for k in range(15_500)) + b"u"),
    ),
    "attributes": lambda: whole({"rnn": RNN, **alike("__main__ A", 6000, state()[:-1] + named(4000)[2:-1] + b"u")}),
    "attributes by number": lambda: whole({"rnn": RNN, **alike("a B", 6000, state()[:-1] + numbered(9000)[2:-1] + b"u")}),
    "arrays": lambda: whole({"rnn": RNN, **alike("__main__ A", 5000, state(arrays=named(3000, SQUARE)))}),
    "no arrays": lambda: whole({"rnn": RNN, **alike("__main__ A", 5000, state(arrays=named(3000, b"N")))}),
    "children": lambda: whole({"rnn": RNN, **alike("__main__ A", 3000, state(entries(alike("a B", 2000, state(), "d"))))}),
}  # fmt: skip


def write(path: Path, value: bytes) -> Path:
    return pt_files.write(path, members(value=value))


def refused(folder: Path, value: bytes, **options: Any) -> str:
    """Return how a value is refused, if it is, in little memory and time."""
    path = write(folder / "m.pt", value)
    del value
    return require_little(taken(path, DATA / "layers.pt", {"activation": "tanh"}, **options))


@MEASURED
@pytest.mark.parametrize("kind", SHARED)
def test_what_modules_share_is_held_once(tmp_path: Path, kind: str) -> None:
    message = refused(tmp_path, SHARED[kind]())
    what = "classes" if "classes" in kind else "hooks" if "hooks" in kind else ""
    assert f"its {what} would take" in message if what else message


SEQUENTIAL = "torch.nn.modules.container Sequential"
TANH, SIGMOID = "torch.nn.modules.activation Tanh", "torch.nn.modules.activation Sigmoid"
LAST = {"out": module("torch.nn.modules.linear Linear", LINEAR.replace(b"q\5", b""))}
NORMS = alike("torch.nn.modules.batchnorm BatchNorm1d", 9000, NORM, "n")
CELLS = state(
    arrays=entries({"weight_ih_l0": SQUARE, "weight_hh_l0": SQUARE}), mode=short("RNN_TANH"), input_size=integer(4),
    hidden_size=integer(4), num_layers=integer(1), batch_first=b"\x89", bidirectional=b"\x89",
)  # fmt: skip
LONG: dict[str, Callable[[], bytes]] = {
    "activations before the RNN": lambda: whole({**alike(TANH, 9000, state()), "rnn": RNN, **LAST}, SEQUENTIAL),
    "activations after the RNN": lambda: whole({"rnn": RNN, **alike(TANH, 9000, state()), **LAST}, SEQUENTIAL),
    "activations after a readout": lambda: whole({"rnn": RNN, **LAST, **alike(TANH, 9000, state())}, SEQUENTIAL),
    "activations that stand alone": lambda: whole({"rnn": RNN, **LAST, **alike(SIGMOID, 9000, state())}),
    "activations in a row each": lambda: whole(
        {"rnn": RNN, **LAST, "last": module(SIGMOID, state()),
         **alike(SEQUENTIAL, 4000, state(entries({"a": module(SIGMOID, state())})))}
    ),
    "BatchNorms in a row": lambda: whole({"rnn": RNN, **LAST, **NORMS}, SEQUENTIAL),
    "BatchNorms before a readout": lambda: whole({"rnn": RNN, **NORMS, **LAST}, SEQUENTIAL),
    "BatchNorms between the RNN and a readout": lambda: whole({"rnn": RNN, **NORMS, **LAST}),
    "RNNs in a row": lambda: whole(alike("torch.nn.modules.rnn RNN", 5000, CELLS), SEQUENTIAL),
}  # fmt: skip


@MEASURED
@pytest.mark.parametrize("kind", LONG)
def test_long_rows_of_modules_take_no_time_of_their_square(tmp_path: Path, kind: str) -> None:
    refused(tmp_path, LONG[kind](), readout_activation="identity")


def twins(count: int, name: str = "{}", biased: bool = True) -> bytes:
    """Return a state dict of many modules whose arrays are the same."""
    own = {"weight": SQUARE + b"q\7", "bias": ROW + b"q\x08"}
    held = b"}(" + b"".join(short(key) + value for key, value in CELL.items())
    for k in range(count):
        for put, local in enumerate(own if biased else ["weight"]):
            held += short(f"{name.format(k)}.{local}") + (own[local] if k == 0 else bytes([ord("h"), 7 + put]))
    return held + b"u"


def tables(count: int) -> bytes:
    """Return the state dict of a network with many tables before its cells, beside that of another module."""
    own = {f"{k}.weight": SQUARE + b"q\7" if k == 0 else b"h\7" for k in range(count)}
    return entries({"net": entries({**own, **CELL}), "fc": entries({"weight": b"h\7"})})


TWINS: dict[str, bytes] = {
    "tables beside a module": tables(45_000),
    "numbered": twins(6000),
    "of a Sequential": twins(6000, "net.{}"),
    "in Sequentials": twins(6000, "{}.0"),
    "by names": twins(6000, "fc{}"),
    "without a bias": twins(12_000, biased=False),
    "recurrent": b"}(" + b"".join(short(f"{k}.{n}") + plain("1", pt_files.cell()["weight_hh_l0"]) for k in range(800) for n in ("weight_ih", "weight_hh")) + b"u",
}  # fmt: skip


@MEASURED
@pytest.mark.parametrize("kind", TWINS)
def test_modules_of_one_memory_take_no_time_of_their_square(tmp_path: Path, kind: str) -> None:
    refused(tmp_path, TWINS[kind], activation="tanh", roles={"x": "ignore"})


def text(size: int) -> bytes:
    return pt_files.text("a" * size)


PLACED = SQUARE[len(pt_files.TENSOR) : -1]
MANY: dict[str, bytes] = {
    "sets": b"(" + b"\x8f" * 149_000 + b"t",
    "frozen sets": b"(" + b"(\x91" * 74_000 + b"t",
    "lists": b"(" + b"]" * 149_000 + b"t",
    "lists of lists": b"]" * 74_000 + b"a" * 73_999,
    "dicts of one": b"(" + b"}K\1K\1s" * 37_000 + b"t",
    "tuples": b"(" + b"K\1\x85" * 74_000 + b"t",
    "objects with states": b"(ca\nb\nq\0)\x81}b" + b"h\0)\x81}b" * 29_000 + b"t",
    "names": b"(" + b"ca\nb\n" * 149_000 + b"t",
    "memos": b"]" + b"".join(b"r" + struct.pack("<I", 7919 * k) for k in range(149_000)),
    "letters": b"(" + b"".join(b"\x8c\4\xf0\x9f" + bytes([0x80 + k % 64, 0x80 + k // 64 % 64]) for k in range(149_000)) + b"t",
    "tensors": b"(" + pt_files.TENSOR + b"q\0" + PLACED + b"q\1R" + b"h\0h\1R" * 49_000 + b"t",
    "storages": b"(" + storage("1", 16)[:-1] + b"q\1Q" + b"h\1Q" * 74_000 + b"t",
    "references to one list": b"(]q\0" + b"h\0" * 149_000 + b"t",
    "references to one object": b"(ca\nb\n)\x81q\0" + b"h\0" * 149_000 + b"t",
    "numbers": b"(" + b"M\xff\xff" * 149_000 + b"t",
}  # fmt: skip


@pytest.mark.sampled(3)
@MEASURED
@pytest.mark.parametrize("kind", MANY)
def test_pickles_of_many_values_take_little_memory(tmp_path: Path, kind: str) -> None:
    assert refused(tmp_path, MANY[kind], activation="tanh")


@MEASURED
@pytest.mark.parametrize("kind", ["sets", "dicts of one", "tuples", "letters", "names"])
def test_a_long_text_makes_no_room_for_many_values(tmp_path: Path, kind: str) -> None:
    many = MANY[kind]
    assert refused(tmp_path, b"(" + text(10_000_000) + many + many + b"t", activation="tanh")


LETTER = "\U0001f600"
WIDE = [pt_files.text(LETTER + "a" * 900 + str(k)) for k in range(300)]
COMBINED = b"".join(name + b"r" + struct.pack("<I", k) + b"0" for k, name in enumerate(WIDE))
NAMES: dict[str, bytes] = {
    "a long one, twice": b"(" + text(400_000) + b"q\0" + b"h\0h\0\x93" * 40_000 + b"t",
    "two that are combined": b"(" + pt_files.text("a" * 1000) + b"q\0" + b"h\0h\0\x93" * 45_000 + b"t",
    "many that are combined": COMBINED + b"(" + b"".join(
        b"j" + struct.pack("<I", k) + b"j" + struct.pack("<I", j) + b"\x93" for k in range(200) for j in range(200)) + b"t",
    "a long name of a class": b"(c" + b"a" * 500_000 + b"\n" + b"b" * 400_000 + b"\n)\x81}bt",
    "objects of combined names": COMBINED + b"(" + b"".join(
        b"j" + struct.pack("<I", k) + b"j" + struct.pack("<I", j) + b"\x93)\x81" for k in range(150) for j in range(150)) + b"t",
    "a name that is a log": b"}" + text(900_000) + b"K\1s",
    "wide texts": b"(" + b"".join(WIDE * 3) + b"t",
    "a wide text": b"(" + pt_files.text(LETTER + "a" * 6_000_000) + b"t",
}  # fmt: skip


@MEASURED
@pytest.mark.parametrize("kind", NAMES)
def test_long_names_take_little_memory(tmp_path: Path, kind: str) -> None:
    assert refused(tmp_path, NAMES[kind], activation="tanh")


def test_arguments_without_end_are_not_copied_for_each_call(tmp_path: Path) -> None:
    first, call = storage("1", 16) + b"K\0))\x89", b"ca\nb\nq\1" + b"h\1h\0R" * 15_000 + b"t"
    seconds = []
    for inside, beside in ((90_000, 0), (0, 90_000)):
        value = b"(" + b"N" * beside + b"(" + first + b"N" * inside + b"tq\0" + call
        found = taken(write(tmp_path / "m.pt", value), DATA / "layers.pt", {"activation": "tanh"}, activation="tanh")
        assert "no recurrent network" in require_little(found)
        seconds.append(found.seconds)
    assert seconds[0] < 3 * seconds[1]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", MANY)
def test_a_pickle_takes_no_more_than_is_accounted(kind: str) -> None:
    data, account = pt_files.pickled(MANY[kind]), Account()
    tracemalloc.start()
    try:
        unpickle(data, account)
        assert tracemalloc.get_traced_memory()[1] < account.taken["bytes"] + 2**16
    finally:
        tracemalloc.stop()


@MEASURED
@pytest.mark.parametrize(
    ("prefix", "depth", "arrays"), [("c", 100, 5000), ("c" * 900, 16, 2000), (LETTER * 200, 20, 3000), ("c" * 90, 90, 3000), (LETTER, 120, 9000)]
)  # fmt: skip
def test_paths_of_deep_modules_take_little_memory(tmp_path: Path, prefix: str, depth: int, arrays: int) -> None:
    value = module("a B", state(arrays=named(arrays, SQUARE)))
    for _ in range(depth):
        value = module(
            "a B", dictionary({"_parameters": b"}", "_buffers": b"}", "_modules": dictionary({prefix: value})})
        )
    assert refused(tmp_path, whole({"rnn": RNN, "other": value}))


def test_a_tensor_of_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.pt", dictionary({**CELL, "a" * 1001 + ".weight": SQUARE}))
    with pytest.raises(rb.FormatError, match="its pickle names a tensor by more than 1000 bytes"):
        rb.load(path, activation="tanh")


@pytest.mark.parametrize("size", [1000, 1001, 70_000])
@pytest.mark.parametrize("made", [lambda size: pt_files.text("a" * size), lambda size: b"\x8d" + struct.pack("<Q", size) + b"b" * size,
                                  lambda size: b"B" + struct.pack("<I", size) + b"\xff" * size])  # fmt: skip
def test_long_texts_beside_a_network_are_passed_over(tmp_path: Path, size: int, made: Callable[[int], bytes]) -> None:
    path = write(
        tmp_path / "m.pt", dictionary({"log": made(size), "model": dictionary(CELL), "x": b"}" + made(size) + b"K\1s"})
    )
    np.testing.assert_allclose(
        rb.load(path, activation="tanh")(X)[0], of_torch(pt_files.cell(), X), rtol=1e-5, atol=1e-6
    )


def test_a_module_whose_name_is_too_long_is_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.pt",
        module("a B", dictionary({"_parameters": b"}", "_buffers": b"}", "_modules": dictionary({"c" * 1001: RNN})})),
    )
    with pytest.raises(rb.FormatError, match="it holds a module in a B whose name is none"):
        rb.load(path)


HUGE = b"\x8b" + struct.pack("<i", 3000) + b"\x7f" * 3000
FACTS: dict[str, tuple[str, dict[str, bytes]]] = {
    "input_size": ("rnn RNN", {"input_size": HUGE}),
    "hidden_size": ("rnn RNNCell", {"input_size": integer(3), "hidden_size": HUGE}),
    "in_features": ("linear Linear", {"in_features": HUGE}),
    "embedding_dim": ("sparse Embedding", {"num_embeddings": integer(3), "embedding_dim": HUGE}),
    "dim": ("activation Softmax", {"dim": HUGE}),
    "negative_slope": ("activation LeakyReLU", {"negative_slope": HUGE}),
    "eps": ("batchnorm BatchNorm1d", {"num_features": integer(3), "track_running_stats": b"\x88", "eps": HUGE}),
}


@pytest.mark.parametrize("fact", FACTS)
def test_facts_of_thousands_of_digits_are_refused(tmp_path: Path, fact: str) -> None:
    kind, held = FACTS[fact]
    wrong = module(f"torch.nn.modules.{kind}", state(**held))
    path = write(tmp_path / "m.pt", whole({"rnn": RNN, "other": wrong}))
    with pytest.raises(rb.FormatError, match=rf"with {fact} an integer of some 72\d\d digits; it is damaged") as caught:
        rb.load(path)
    assert len(str(caught.value).removeprefix(str(path))) < 400


def test_two_spectral_norms_of_one_weight_are_refused(tmp_path: Path) -> None:
    hook = module("torch.nn.utils.spectral_norm SpectralNorm", entries({"name": short("weight"), "dim": integer(0)}))
    arrays = entries({"weight_orig": SQUARE, "weight_u": ROW, "weight_v": ROW})
    fc = state(arrays=arrays, in_features=integer(4), out_features=integer(4), _forward_pre_hooks=numbered(2, hook))
    path = write(tmp_path / "m.pt", whole({"rnn": RNN, "fc": module("torch.nn.modules.linear Linear", fc)}))
    with pytest.raises(rb.FormatError, match="it holds a spectral norm of 'weight' whose parts do not fit"):
        rb.load(path, readout_activation="identity")


def test_many_views_of_one_number_take_little_memory(tmp_path: Path) -> None:
    for rows, columns, strides in (
        (2500, 2500, (0, 0)),
        (5000, 5000, (0, 1)),
        (5000, 5000, (1, 0)),
        (9000, 9000, (1, 1)),
        (900, 90_000, (0, 1)),
    ):
        held = {
            f"weight_{kind}_l{k}": tensor(storage("0", 200_000), 0, (rows, columns), strides)
            for kind in ("ih", "hh")
            for k in range(3)
        }
        path = pt_files.write(tmp_path / "m.pt", members({"any": np.zeros(200_000, "f4")}, dictionary(held)))
        found = taken(path, DATA / "layers.pt", {"activation": "tanh"}, activation="tanh")
        assert "its tensors would take" in require_little(found)


@pytest.mark.parametrize("given", [{"activation": "tanh"}])
def test_a_transposed_view_is_no_repetition(tmp_path: Path, given: dict[str, Any]) -> None:
    held = network(prefix="", seed=3)
    arrays = {name: array.astype("f4") for name, array in held.items()}
    value = dictionary({
        name: tensor(storage(str(key), array.size), 0, array.shape, (1, len(array)) if array.ndim == 2 else (1,))
        for key, (name, array) in enumerate(arrays.items())
    })  # fmt: skip
    turned = {name: np.ascontiguousarray(array.T) for name, array in arrays.items()}
    path = pt_files.write(tmp_path / "m.pt", members(turned, value))
    np.testing.assert_allclose(rb.load(path, **given)(X)[0], of_torch(held, X), rtol=1e-5, atol=1e-6)
