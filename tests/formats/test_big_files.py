"""Big files: weights that are computed, scaled or folded take little memory beside what a model keeps of them."""

import json
import os
import subprocess
import sys
from math import prod
from pathlib import Path
from typing import Any

import keras_files as kf
import numpy as np
import pt_files
import pytest
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.formats.effective import effective
from rnn_backends.formats.made import of_array, tiles
from rnn_backends.formats.scaling import Scaling, multiplied_in
from rnn_backends.formats.source import BLOCK

Array = NDArray[Any]
Arrays = dict[str, Array]
DATA = Path(__file__).parents[1] / "data"
TOLD: dict[str, Any] = {"activation": "tanh"}
LAST: dict[str, Any] = {"readout_activation": "identity"}
SIZE = 3200
SCRIPT = """
import json, pathlib, sys
import rnn_backends as rb
status, reset = pathlib.Path("/proc/self/status"), pathlib.Path("/proc/self/clear_refs")
peak = lambda: int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
for path, options in json.loads(sys.argv[1]):
    reset.write_text("5")
    before = peak()
    rnn = rb.load(path, **options)
    print(peak() - before)
    del rnn
"""


def beyond(*given: tuple[Path, dict[str, Any]]) -> list[float]:
    """What loading each file takes at most beside what the file holds, in times of its size, but for the first.

    It is measured in a process of its own, whose products are made by one thread: others have buffers of their own.
    """
    files = [(str(path), options) for path, options in given]
    environ = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    command = [sys.executable, "-c", SCRIPT, json.dumps(files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    sizes = [path.stat().st_size / 2**20 for path, _ in given]
    taken = [float(line) for line in done.stdout.splitlines()]
    return [(peak - size) / size for peak, size in zip(taken, sizes, strict=True)][1:]


def ones(*shape: int, dtype: str = "f4") -> Array:
    return np.ones(shape, dtype)


def norm(prefix: str, size: int) -> Arrays:
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{prefix}.{name}": ones(size) for name in names}


def cell(features: int, size: int, dtype: str = "f4", end: str = "_l0") -> Arrays:
    return {f"weight_ih{end}": ones(size, features, dtype=dtype), f"weight_hh{end}": ones(size, size, dtype=dtype)}


def within(prefix: str, arrays: Arrays) -> Arrays:
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def computed(kind: str, arrays: Arrays, name: str) -> Arrays:
    """The arrays with the parts of which torch computes one of them."""
    weight = arrays[name]
    rows, columns = (np.ones(size, weight.dtype) for size in weight.shape)
    parts = {
        "weight norm": {f"{name}_g": rows[:, None], f"{name}_v": weight},
        "weight norm of columns": {f"{name}_g": columns[None], f"{name}_v": weight},
        "weight norm over all": {f"{name}_g": np.ones((), weight.dtype), f"{name}_v": weight},
        "parametrized": {
            f"parametrizations.{name}.original0": rows[:, None], f"parametrizations.{name}.original1": weight
        },
        "spectral norm": {f"{name}_orig": weight, f"{name}_u": rows, f"{name}_v": columns},
        "mask": {f"{name}_orig": weight, f"{name}_mask": (weight > 0).astype(weight.dtype)},
    }  # fmt: skip
    return {each: array for each, array in arrays.items() if each != name} | parts[kind]


def safetensors(path: Path, arrays: Arrays) -> Path:
    from safetensors.numpy import save_file

    save_file(arrays, path)
    return path


def pt(path: Path, arrays: Arrays) -> Path:
    return pt_files.write(path, pt_files.members(arrays))


KINDS = ("weight norm", "weight norm of columns", "weight norm over all", "parametrized", "spectral norm", "mask")
MEASURED = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of a process's memory is read as on Linux"
)


@MEASURED
def test_weights_that_are_computed_take_little_beside_the_file(tmp_path: Path) -> None:
    sizes, files = {"f2": 4500, "f4": 3200, "f8": 2300}, []
    for number, kind in enumerate(KINDS):
        dtype = [*sizes][number % 3]
        arrays = computed(kind, cell(9, sizes[dtype], dtype), "weight_hh_l0")
        written = (
            pt(tmp_path / f"{number}.pt", arrays) if number % 2 else safetensors(tmp_path / f"{number}.st", arrays)
        )
        files.append((written, TOLD))
    found = beyond((pt(tmp_path / "small.pt", cell(2, 3)), TOLD), *files)
    assert max(found) < 0.35, dict(zip(KINDS, found, strict=True))


@MEASURED
def test_weights_that_are_scaled_take_little_beside_the_file(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    bn = {**TOLD, "batch_norm_eps": 1e-5}
    fully = {"fc.weight": ones(10 * SIZE, 400), "fc.bias": ones(10 * SIZE)} | norm("bn", 10 * SIZE)
    both = within("rnn", cell(SIZE, 1600) | cell(SIZE, 1600, end="_l0_reverse"))
    layers = [kf.simple_rnn(use_bias=False, return_sequences=True), kf.batch_normalization(), kf.dense()]
    held: Arrays = {}
    arrays: dict[str, list[tuple[int, ...]]] = {
        f"{kf.FIRST}/cell": [(9, 400), (400, 400)],
        "layers/batch_normalization": [(400,)] * 4,
        "layers/dense": [(400, 10 * SIZE), (10 * SIZE,)],
    }
    for path, shapes in arrays.items():  # fmt: skip
        held |= {f"{path}/vars/{number}": ones(*shape) for number, shape in enumerate(shapes)}
    found = beyond(
        (pt(tmp_path / "small.pt", cell(2, 3)), TOLD),
        (pt(tmp_path / "before.pt", within("rnn", cell(9, 400)) | norm("bn0", 400) | fully), bn | LAST),
        (pt(tmp_path / "both.pt", norm("bn", SIZE) | both), bn),
        (kf.write(tmp_path / "m.keras", layers, held), {}),
    )
    assert max(found) < 0.35, found


@MEASURED
def test_what_is_folded_takes_little_beside_the_file(tmp_path: Path) -> None:
    embedding, encoder = {"roles": {"e": "embedding"}}, {"roles": {"e": "encoder"}, "encoder_activation": "identity"}
    linear = {"e.weight": ones(6000, 100), "e.bias": ones(6000)}
    narrow = within("rnn", cell(1200, 600))
    found = beyond(
        (pt(tmp_path / "small.pt", cell(2, 3)), TOLD),
        (
            safetensors(
                tmp_path / "1.st", {"e.weight": ones(20_000, 1000, dtype="f2")} | within("rnn", cell(1000, 200, "f2"))
            ),
            TOLD | embedding,
        ),
        (
            pt(
                tmp_path / "2.pt",
                {"e.weight": ones(12_000, 800)} | within("rnn", cell(800, 400) | cell(800, 400, end="_l0_reverse")),
            ),
            TOLD | embedding,
        ),
        (pt(tmp_path / "3.pt", {"e.weight": ones(12_000, 800)} | within("rnn", cell(800, 1700))), TOLD | embedding),
        (safetensors(tmp_path / "4.st", linear | within("rnn", cell(6000, 1500))), TOLD | encoder),
        (pt(tmp_path / "5.pt", linear | within("rnn", cell(6000, 1500))), TOLD | encoder),
        (safetensors(tmp_path / "6.st", {"e.weight": ones(1200, 8000)} | narrow), TOLD | encoder),
    )
    assert max(found) < 0.35, found


@MEASURED
def test_residual_cells_take_little_beside_the_file(tmp_path: Path) -> None:
    pytest.importorskip("msgpack")
    told = {**TOLD, "residual": True}
    small = tmp_path / "small.msgpack"
    small.write_bytes(cells(9, 9))
    (tmp_path / "m.msgpack").write_bytes(cells(9, SIZE))
    (tmp_path / "n.msgpack").write_bytes(cells(SIZE, SIZE // 2))
    assert max(beyond((small, told), (tmp_path / "m.msgpack", told), (tmp_path / "n.msgpack", told))) < 0.35


@MEASURED
def test_graphs_that_scale_take_twice_their_size(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx_models import model, node, value

    x = [value("X", shape=["t", "b", SIZE])]
    before = [node("Mul", ["X", "c"], "x"), node("RNN", ["x", "W", "R"], ["Y"])]
    held = {"W": ones(1, SIZE, SIZE), "R": ones(1, SIZE, SIZE), "c": ones(SIZE)}
    both = {"W": ones(2, 1600, SIZE), "R": ones(2, 1600, 1600), "c": ones(SIZE)}
    after = [
        node("RNN", ["X", "W", "R"], ["Y"]), node("Squeeze", ["Y", "one"], "s"), node("MatMul", ["s", "V"], "l"),
        node("Mul", ["l", "d"], "y"),
    ]  # fmt: skip
    readout = {
        "W": ones(1, 400, SIZE), "R": ones(1, 400, 400), "V": ones(400, 10 * SIZE), "d": ones(10 * SIZE),
        "one": np.array([1]),
    }  # fmt: skip
    graphs = [
        model(before, x, ["Y"], held),
        model([before[0], node("RNN", ["x", "W", "R"], ["Y"], direction="bidirectional")], x, ["Y"], both),
        model(after, x, ["y"], readout),
    ]
    files: list[tuple[Path, dict[str, Any]]] = [(DATA / "torch_softmax.onnx", {})]
    for number, graph in enumerate(graphs):
        onnx.save(graph, tmp_path / f"{number}.onnx")
        files.append((tmp_path / f"{number}.onnx", {}))
    assert max(beyond(*files)) < 1.35


def cells(features: int, size: int) -> bytes:
    """A file of Flax with the weights of one cell."""

    def array(*shape: int) -> bytes:
        data = b"\x93\x92" + b"".join(b"\xce" + length.to_bytes(4, "big") for length in shape) + b"\xa7float32"
        data += b"\xc6" + (4 * prod(shape)).to_bytes(4, "big") + bytes(4 * prod(shape))
        return b"\xc9" + len(data).to_bytes(4, "big") + b"\1" + data

    return b"\x82\xa1i\x81\xa6kernel" + array(features, size) + b"\xa1h\x81\xa6kernel" + array(size, size)


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (700, 600), (3, 400_000), (400_000, 3), (5, 6, 30_000)])
@pytest.mark.parametrize("outer", [0, -1])
def test_parts_make_up_an_array(shape: tuple[int, ...], outer: int) -> None:
    count = np.zeros(shape, int)
    for index in tiles(shape, outer % max(len(shape), 1)):
        count[index] += 1
        assert count[index].size <= BLOCK
    assert (count == 1).all()


@pytest.mark.parametrize("order", ["C", "F"])
def test_parts_are_computed_as_the_whole_is(order: Any) -> None:
    draw = np.random.default_rng(0)
    w, c, d = draw.normal(size=(700, 600)), draw.uniform(1, 2, size=600), draw.normal(size=600)
    w, b, f = np.asarray(w, "f4", order=order), draw.normal(size=700), draw.uniform(1, 2, size=700)
    wide = w.astype("f8")
    g, u, v = (each.astype("f4") for each in (f[:, None], f, c))
    for kind, axes in (("g0", (1,)), ("g1", (0,)), ("gN", (0, 1))):
        size = {"g0": g, "g1": v[None], "gN": np.asarray(2.5, "f4")}[kind]
        held = effective({"weight_g": of_array(size), "weight_v": of_array(w)})
        length = np.sqrt((wide * wide).sum(axis=axes, keepdims=True))
        wanted = (wide * (size.astype("f8") / length)).astype("f4")
        np.testing.assert_allclose(held["weight"].make(), wanted, rtol=2e-7)
    held = effective({"weight_orig": of_array(w), "weight_u": of_array(u), "weight_v": of_array(v)})
    wanted = (wide / (u.astype("f8") @ wide @ v)).astype("f4")
    np.testing.assert_allclose(held["weight"].make(), wanted, rtol=2e-7)
    scaled, bias = multiplied_in(of_array(w), b, [Scaling(c, d)], [Scaling(f, f)])
    np.testing.assert_array_equal(scaled, (wide * c * f[:, None]).astype("f4"))
    np.testing.assert_allclose(bias, (b + wide @ d) * f + f, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_the_caller_are_not_written_to(kind: str) -> None:
    draw = np.random.default_rng(1)
    arrays = {name: draw.uniform(1, 2, size=array.shape).astype("f4") for name, array in cell(3, 4).items()}
    for order in "CF":
        given = {name: np.asarray(array, order=order) for name, array in computed(kind, arrays, "weight_hh_l0").items()}  # type: ignore[call-overload]
        before = {name: array.copy() for name, array in given.items()}
        rb.from_torch(given, **TOLD)
        for name, array in given.items():
            np.testing.assert_array_equal(array, before[name])
            assert array.flags.writeable or array.ndim == 0 or array.base is not None


def test_arrays_that_are_scaled_or_folded_are_not_written_to() -> None:
    draw = np.random.default_rng(2)
    shapes = {
        name: array.shape
        for name, array in (
            {"e.weight": ones(9, 3)} | within("rnn", cell(3, 2)) | {"fc.weight": ones(5, 2)} | norm("bn", 5)
        ).items()
    }
    given = {name: draw.uniform(1, 2, size=shape).astype("f4") for name, shape in shapes.items()}
    before = {name: array.copy() for name, array in given.items()}
    rnn = rb.from_torch(given, **TOLD, **LAST, batch_norm_eps=1e-5, roles={"e": "embedding"})
    assert rnn.input_size == 9
    for name, array in given.items():
        np.testing.assert_array_equal(array, before[name])
        assert array.flags.writeable


def test_weights_that_share_their_memory_in_a_file_are_each_their_own(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    table = draw.normal(size=(9, 4)).astype("f4")
    arrays = within("rnn", {name: draw.normal(size=array.shape).astype("f4") for name, array in cell(4, 4).items()})
    arrays |= {name: draw.uniform(1, 2, size=9).astype("f4") for name in norm("bn", 9)}
    state = (
        {"e.weight": table} | {name: arrays[name] for name in arrays if name.startswith("rnn")} | {"fc.weight": table}
    )
    state |= {name: arrays[name] for name in arrays if name.startswith("bn")}
    value = {
        name: pt_files.plain("0" if array is table else str(key), array)
        for key, (name, array) in enumerate(state.items())
    }
    members = pt_files.members(state, pt_files.dictionary(value))
    path = pt_files.write(tmp_path / "m.pt", members)
    told = {**TOLD, **LAST, "batch_norm_eps": 1e-5, "roles": {"e": "embedding", "fc": "readout"}}
    found, wanted = rb.load(path, **told), rb.from_torch({name: array.copy() for name, array in state.items()}, **told)
    ids = np.arange(9)[:, None]
    np.testing.assert_array_equal(found.logits(ids), wanted.logits(ids))
