"""How kernels prove themselves before they are used: with kernels that lie, on the stand-in for CuPy; needs --kernels."""

import dataclasses
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import device_standin
import ml_dtypes  # noqa: F401  # gives NumPy bfloat16
import numpy as np
import pytest
import shim
import standin

import rnn_backends as rb
from rnn_backends.backends.cuda_kernels import sources, verdicts
from rnn_backends.backends.cuda_kernels.plan import REGIMES
from rnn_backends.backends.cuda_kernels.sources import ENTRIES
from rnn_backends.errors import KernelWarning
from rnn_backends.testing import excess, reference
from rnn_backends.testing.cases import Draw

DTYPES = ("float32", "float64", "float16", "bfloat16")
FLOAT32 = np.dtype("float32")
CASE = Draw("float32", 0).case(shape=(6, 3, 4, 5), sides="fb", h_0=True, lengths=[6, 0, 3])

every_regime = pytest.mark.parametrize("regime", REGIMES)


@pytest.fixture(scope="module", autouse=True)
def cupy(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    if not request.config.getoption("--kernels"):
        pytest.skip("the kernels are run with --kernels, which needs g++")
    with standin.installed() as module:
        yield module
    shim.clear()


@pytest.fixture(autouse=True)
def afresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No verdict is known, and a check is small."""
    monkeypatch.delenv("RNN_CUPY_KERNEL", raising=False)
    monkeypatch.setenv("RNN_CACHE_DIR", str(tmp_path / "cache"))
    small = {"STEPS": 13, "SIZES": (70,), "SIZES_OF_HALF": (88,), "COPIES": 2, "COPIED": 16}
    for name, value in small.items():
        monkeypatch.setattr(selfcheck(), name, value)
    monkeypatch.setattr(standin.RawKernel, "seed", 1)
    another_process()


def module(name: str) -> Any:
    """Return a module that launches kernels, as it was imported with the stand-in."""
    return importlib.import_module(f"rnn_backends.backends.cuda_kernels.{name}")


def selfcheck() -> Any:
    return module("selfcheck")


def trusted(regime: str, dtype: str = "float32") -> bool:
    return bool(module("trust").trusted(regime, np.dtype(dtype)))


def another_process() -> None:
    """Forget what a process remembers."""
    module("trust")._verdicts.clear()
    module("trust").place.cache_clear()
    module("device").compiled.cache_clear()
    standin.RawKernel.launches.clear()


def held() -> dict[str, Any]:
    """Return what is kept, by kernel and dtype."""
    return {key.split(", ")[-2]: value for key, value in everything().items()}


def everything() -> dict[str, Any]:
    """Return all that is kept, oldest first."""
    files = sorted((verdicts.folder() / verdicts.FOLDER).glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    return {key: value for file in files for key, value in json.loads(file.read_text()).items()}


def distrust(*regimes: str) -> None:
    for regime in regimes:
        verdicts.keep(module("trust").key_of(regime, "float32", 0), "it was planted")


def run(rnn: rb.RNN | None = None) -> float:
    """Return the error of a network that no check has seen, in units of the bound."""
    found = (rnn or rb.RNN(CASE.layers).to("cupy:0"))(CASE.x, CASE.h_0, lengths=CASE.lengths)
    wanted = reference(CASE.layers, CASE.x, CASE.h_0, CASE.lengths, dtype="float32")
    return max(excess(rb.to_numpy(one), other) for one, other in zip(found, wanted, strict=True))


Plant = Callable[..., None]


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Change the text of a kernel: what stands in a file, and what takes its place."""

    def planted(file: str, right: str, wrong: str) -> None:
        text = sources.source(file)
        assert text.count(right) == 1
        before = sources.source
        monkeypatch.setattr(
            sources, "source", lambda name: text.replace(right, wrong) if name == file else before(name)
        )
        module("device").compiled.cache_clear()

    return planted


# Kernels that are right.


@every_regime
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_kernel_that_is_right_passes_once(regime: str, dtype: str) -> None:
    assert trusted(regime, dtype)
    assert set(standin.RawKernel.launches) == {ENTRIES[regime]}
    assert held() == {f"{regime} {dtype}": "passed"}
    another_process()
    assert trusted(regime, dtype)
    assert not standin.RawKernel.launches


def test_the_largest_network_that_a_kernel_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights lie in shared memory, too, and inputs are multiplied by the kernel and by cuBLAS."""
    monkeypatch.undo()
    monkeypatch.setenv("RNN_CACHE_DIR", "")
    monkeypatch.setattr(selfcheck(), "STEPS", 5)
    seen = []
    run = module("walk").Walk.run
    monkeypatch.setattr(module("walk").Walk, "run", lambda walk, choice, *given: seen.append((walk, choice.plan)) or run(walk, choice, *given))  # type: ignore[func-returns-value]  # fmt: skip
    for dtype in ("float32", "float64"):
        assert selfcheck().fault("block", np.dtype(dtype)) is None
        for walk, plan in seen:
            assert plan.shared > 2 * plan["SEQUENCES"] * plan["COLUMNS"] * walk.dtype.itemsize
        assert [selfcheck().kind_of(plan) for _, plan in seen] == [(False, 1, 0), (False, 4, 1)]
        seen.clear()


def test_a_check_is_on_a_stream_of_its_own_beside_traffic_on_another(
    cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[Any] = []
    walks: list[Any] = []
    copyto, call = cupy.copyto, standin.RawKernel.__call__
    monkeypatch.setattr(cupy, "copyto", lambda *a: copies.append((device_standin.current_stream(), len(walks))) or copyto(*a), raising=False)  # type: ignore[func-returns-value]  # fmt: skip
    monkeypatch.setattr(standin.RawKernel, "__call__", lambda *a, **o: walks.append(device_standin.current_stream()) or call(*a, **o))  # type: ignore[func-returns-value]  # fmt: skip
    assert trusted("grid")
    assert len({device_standin.default_stream, *walks}) == 2
    assert not {walks[0], device_standin.default_stream} & {stream for stream, _ in copies}
    assert device_standin.current_stream() is device_standin.default_stream
    steps, times = selfcheck().STEPS, 3
    first = 2 + steps  # grid by two plans, alone, then sweep
    second = first + times + steps
    assert [before for _, before in copies] == [
        begin + n for begin in (first, second) for n in range(times) for _ in (0, 1)
    ]
    assert len(walks) == second + times


# Kernels that lie.

LIES = {
    "NaN_made_a_number": ("equation.cu", "return real_of(word_of(a));", "return real_of(word_of(a != a ? 0 : a));"),
    "infinite_sums_lost": ("equation.cu", "real a = ACTIVATION(z,", "if (z == z && z - z != 0) z = 0; real a = ACTIVATION(z,"),
    "an_infinite_state_lost": ("equation.cu", "const bool is_possible", "if (before - before != 0) before = 0; const bool is_possible"),
    "the_last_state_lost": ("equation.cu", "* walk.size + row] = word_of(a)", "* walk.size + row] = word_of(0 * a)"),
    "steps_beyond_a_length": ("equation.cu", "t < end ? next_state(walk, z, before) : before", "next_state(walk, z, before)"),
    "the_second_direction_runs_forward": ("equation.cu", "walk.reverse = 1;", ""),
    "the_weights_of_one_direction": ("equation.cu", "walk.cells[0] = all.cells[1];", ""),
    "tanh_of_half": ("equation.cu", "return MATH(tanh)(z);", "return MATH(tanh)(z / 2);"),
    "tanh_by_few_terms": ("equation.cu", "return MATH(tanh)(z);", "return MATH(tanh)(z) * (real)(1 + 1e-5);"),
}  # fmt: skip


@every_regime
@pytest.mark.parametrize("lie", LIES)
def test_a_kernel_that_lies_is_found_out(lie: str, regime: str, plant: Plant) -> None:
    plant(*LIES[lie])
    assert "of the equation as written" in str(selfcheck().fault(regime, FLOAT32))


def test_padding_that_is_not_zero(plant: Plant) -> None:
    plant("step.cu", "t < end ? word_of(a) : 0", "word_of(a)")
    assert "of its states" in str(selfcheck().fault("step", FLOAT32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_lies_in_other_dtypes(dtype: str, plant: Plant) -> None:
    by = {"float64": 1e-7, "float32": 1e-5, "float16": 1e-2, "bfloat16": 0.1}[dtype]
    plant("equation.cu", "return MATH(tanh)(z);", f"return MATH(tanh)(z) * (real)(1 - {by});")
    assert "of its states" in str(selfcheck().fault("step", np.dtype(dtype)))


LAST_BIT = ("words.cu", "store_relaxed(to, x);", "store_relaxed(to, (T)(x & ~(T)1));")


def test_a_grid_that_is_not_sweep_to_the_bit(plant: Plant) -> None:
    plant(*LAST_BIT)
    found = selfcheck().fault("grid", FLOAT32)
    assert found.startswith("beside memory traffic, ")
    assert found.endswith(" numbers are not, bit for bit, those of 'sweep'")


@pytest.mark.parametrize("regime", ["grid", "sweep"])
def test_lies_of_several_sequences_in_a_block(regime: str, plant: Plant) -> None:
    plant("tile.cu", "s % PER_ROUND == share.turn", "s == 0")
    assert selfcheck().fault(regime, FLOAT32) is not None


@pytest.mark.parametrize(("right", "wrong"), [
    ("mine.first + s) * walk.input_size", "mine.first) * walk.input_size"),
    ("(input_of(inputs, round) + share.bias)", "(input_of(inputs, round) + share.bias * !FUSED)"),
    ("(input_of(inputs, round) + share.bias)", "(input_of(inputs, round) + share.bias * FUSED)"),
])  # fmt: skip
def test_lies_of_one_kind_of_plan(right: str, wrong: str, plant: Plant) -> None:
    plant("block.cu", right, wrong)
    assert selfcheck().fault("block", FLOAT32) is not None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_grid_of_sixteen_bits_is_checked_on_tensor_cores_too(
    dtype: str, thorough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that all 16 sequences of a tile are there, and more; of the sizes that are not small, too."""
    if dtype == "bfloat16" and not thorough:
        pytest.skip("a sample")
    plans = []
    run = module("walk").Walk.run
    monkeypatch.setattr(module("walk").Walk, "run", lambda walk, choice, *given: plans.append(choice.plan) or run(walk, choice, *given))  # type: ignore[func-returns-value]  # fmt: skip
    for sizes in ((88,), (264, 152)) if thorough else ((88,),):
        monkeypatch.setattr(selfcheck(), "SIZES_OF_HALF", sizes)
        assert selfcheck().fault("grid", np.dtype(dtype)) is None
        tensors = [plan for plan in plans if plan.on_tensor_cores]
        assert len({plan["BLOCK_ROWS"] for plan in tensors}) == 2
        assert max(plan.sequences for plan in tensors) > 16
        assert {plan["SEQUENCES"] for plan in plans if not plan.on_tensor_cores} == {1, 4}
        plans.clear()


@pytest.mark.parametrize(("right", "wrong"), [
    ("pairs[1].of[i], pairs[0].of[i + 1]", "pairs[0].of[i + 1], pairs[1].of[i]"),
    ("b[2] = {all[i], all[i + 1]}", "b[2] = {all[i + 1], all[i]}"),
    ("warp < WARPS; ++warp", "warp < WARPS - 6; ++warp"),
    ("mma(sums[tile][group],", "mma(sums[tile][0],"),
    ("number % 2 * 8 + lane / 4", "lane / 4"),
    ("state.is_passed_on && !are_there", "false && !are_there"),
    ("walk.size && column < walk.size;", "walk.size && column < walk.size - 8;"),
])  # fmt: skip
def test_lies_on_tensor_cores(right: str, wrong: str, plant: Plant) -> None:
    plant("mma.cu", right, wrong)
    assert selfcheck().fault("grid", np.dtype("float16")) is not None
    assert selfcheck().fault("grid", FLOAT32) is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_mismatches_are_counted_bit_for_bit(dtype: str) -> None:
    """But for the bits of a NaN; 0 and -0 differ."""
    right = np.array([1.0, 0.0, np.nan, np.inf, np.nan, -np.nan, np.inf], dtype)
    other = np.array([1.0, -0.0, np.nan, np.inf, 1.0, np.nan, -np.inf], dtype)
    other.view(f"u{other.itemsize}")[0] += 1
    one, two = [right, right[:3]], [other, other[:3]]
    assert selfcheck().mismatches(one, one) == 0
    assert selfcheck().mismatches(one, two) == 4 + 2


def test_a_kernel_that_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin.RawKernel, "__call__", lambda *_, **__: None)
    assert selfcheck().fault("block", FLOAT32) is not None


WRONG = {  # a fault of each kernel, and one that does not have it
    "block": (("block.cu", "(input_of(inputs, round) + share.bias)", "input_of(inputs, round)"), "sweep"),
    "grid": (LAST_BIT, "step"),
    "sweep": (("words.cu", "*to = x;", "*to = x ^ 1 << 30;"), "block"),
    "step": (("step.cu", "h[i] = a;", "h[i] = -a;"), "grid"),
}


@every_regime
def test_a_wrong_kernel_is_never_used(regime: str, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    fault, right = WRONG[regime]
    plant(*fault)
    make_plan = module("plan").make_plan
    monkeypatch.setattr(module("launch"), "REGIMES", (regime, right))  # of which the former is taken for the faster
    monkeypatch.setattr(module("walk"), "make_plan", lambda problem, device, left: make_plan(problem, device, left[:1]))
    rnn = rb.RNN(CASE.layers).to("cupy:0")
    with pytest.warns(KernelWarning) as told:
        assert run(rnn) <= 1.0
    assert [str(one.message).split("'")[1] for one in told] == [regime]
    assert {name: verdict == "passed" for name, verdict in held().items()} == {
        f"{regime} float32": False, f"{right} float32": True,
    }  # fmt: skip
    standin.RawKernel.launches.clear()
    assert run(rnn) <= 1.0
    assert set(standin.RawKernel.launches) == {ENTRIES[right]}


def test_what_a_warning_says(plant: Plant, tmp_path: Path) -> None:
    plant(*WRONG["block"][0])
    with pytest.warns(KernelWarning) as told:
        assert run() <= 1.0
    path, numbers = verdicts.file_of(module("trust").key_of("block", "float32", 0)), 13 * 5 * 2 * 70
    assert path.parent == tmp_path / "cache" / "cuda_kernels"
    reason = held()["block float32"]
    assert reason.startswith("of its states, ")
    assert reason.endswith(f" of {numbers} numbers are not those of the equation as written")
    (warning,) = told
    assert str(warning.message) == (
        "the CUDA kernel 'block' is not used for float32 on Stand-in 0, compute capability 9.0, driver 13010, NVRTC 13.1, "
        f"CuPy 14.0.0: {reason}. Another kernel, or the equation as written, takes over. RNN_CUPY_KERNEL=block uses it all "
        f"the same; once '{path}' is removed, it is checked again."
    )
    assert run() <= 1.0  # without a warning, which would be an error
    another_process()
    with pytest.warns(KernelWarning, match=reason):
        assert not trusted("block")
    assert not standin.RawKernel.launches


def test_without_any_kernel_the_equation_runs_as_written() -> None:
    distrust(*REGIMES)
    with pytest.warns(KernelWarning) as told:
        assert run() <= 1.0
    assert {str(one.message).split("'")[1] for one in told} == set(REGIMES)
    (layer,) = CASE.layers
    assert isinstance(layer.backward, rb.Cell)
    unlike = [rb.Layer(layer.forward, dataclasses.replace(layer.backward, activation="relu"))]  # walked apart
    output, _ = rb.RNN(unlike).to("cupy:0")(CASE.x, CASE.h_0)
    assert excess(rb.to_numpy(output), reference(unlike, CASE.x, CASE.h_0, dtype="float32")[0]) <= 1.0
    assert not standin.RawKernel.launches


@every_regime
def test_the_variable_uses_a_kernel_without_a_check(regime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    distrust(*REGIMES)
    monkeypatch.setenv("RNN_CUPY_KERNEL", regime)
    assert run() <= 1.0
    assert set(standin.RawKernel.launches) == {ENTRIES[regime]}
    assert set(held().values()) == {"it was planted"}


# What a verdict depends on, and where it is kept.


@pytest.mark.parametrize("change", ["source", "device.cu", "driver", "NVRTC", "CuPy", "device"])
def test_what_a_verdict_depends_on(change: str, cupy: Any, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trusted("step")
    another_process()
    assert trusted("step")
    assert not standin.RawKernel.launches
    device = device_standin.Device(1 if change == "device" else 0)
    if change == "source":
        plant("equation.cu", "// The activations of", "// Activations of")
    elif change == "device.cu":
        plant("device.cu", "DEVICE int thread_index()", "DEVICE  int thread_index()")
        monkeypatch.setattr(module("trust"), "source", sources.source)
    elif change == "driver":
        monkeypatch.setattr(cupy.cuda.runtime, "driverGetVersion", lambda: 13020)
    elif change == "NVRTC":
        monkeypatch.setattr(cupy.cuda.nvrtc, "getVersion", lambda: (13, 2))
    elif change == "CuPy":
        monkeypatch.setattr(cupy, "__version__", "14.0.1")
    another_process()
    with device:
        key = module("trust").key_of("step", "float32", device.id)
        assert verdicts.kept(key) is None
        if change != "device.cu":  # by which the stand-in knows a kernel
            assert trusted("step")
            assert standin.RawKernel.launches
            assert len(everything()) == 2


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_what_was_found_is_overwritten(dtype: str) -> None:
    """Or the next kernel would find it in memory."""
    results = [standin.asarray(np.ones(size, dtype)) for size in (3, 2)]
    assert [one.tolist() for one in selfcheck().on_host(results)] == [[1.0] * 3, [1.0] * 2]
    assert all(np.isnan(one.host).all() for one in results)


def test_the_version_of_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "version"
    monkeypatch.setattr(module("trust"), "DRIVER", file)
    assert module("trust").driver() == "13010"
    file.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (root@host)\n")
    assert module("trust").driver() == "580.95.05"


def test_a_verdict_depends_on_what_launches_the_kernel() -> None:
    assert "def cooperative" in module("trust").own_text()
    before = module("trust").key_of("block", "float32", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module("trust"), "own_text", lambda: "")
        assert module("trust").key_of("block", "float32", 0) != before


@pytest.mark.parametrize("file", ["words.cu", "tile.cu", "grid.cu", "mma.cu"])
def test_a_verdict_depends_on_every_file_of_a_kernel(file: str, plant: Plant) -> None:
    before = {regime: module("trust").key_of(regime, "float16", 0) for regime in REGIMES}
    plant(file, text := sources.source(file), f"{text}//")
    changed = {regime for regime in REGIMES if module("trust").key_of(regime, "float16", 0) != before[regime]}
    assert changed == {"grid", "sweep"} | ({"block"} if file == "tile.cu" else set())


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of the checks that were made; they pass without a walk."""
    made: list[str] = []
    monkeypatch.setattr(selfcheck(), "fault", lambda regime, _: made.append(regime))
    return made


@pytest.mark.parametrize("place", ["a file", "a folder in its place", "read-only"])
def test_where_nothing_can_be_kept(
    place: str, checks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process checks once, and says nothing."""
    folder = tmp_path / "other"
    monkeypatch.setenv("RNN_CACHE_DIR", str(folder))
    if place == "a file":
        folder.write_text("")
    elif place == "a folder in its place":
        verdicts.file_of(module("trust").key_of("block", "float32", 0)).mkdir(parents=True)
    else:

        def refuse(*_: Any, **__: Any) -> None:
            raise PermissionError

        monkeypatch.setattr(Path, "write_text", refuse)
    assert trusted("block")
    assert trusted("block")
    another_process()
    assert trusted("block")
    assert checks == ["block", "block"]
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"a": ', b"[1]", b"3", b"\xff\xfe", b"[" * 100_000, b'{"KEY": 3}', b'{"KEY": null}']
)
def test_a_file_that_is_broken_counts_as_none(content: bytes, checks: list[str]) -> None:
    key = module("trust").key_of("block", "float32", 0)
    path = verdicts.file_of(key)
    path.parent.mkdir(parents=True)
    path.write_bytes(content.replace(b"KEY", key.encode()))
    assert trusted("block")
    assert checks == ["block"]
    assert json.loads(path.read_bytes()) == {key: "passed"}
    assert [*path.parent.iterdir()] == [path]


def test_verdicts_of_other_processes_stay(checks: list[str]) -> None:
    verdicts.keep("of another device", "it was planted")
    assert trusted("block")
    assert trusted("grid", "float64")
    assert [*everything().values()] == ["it was planted", "passed", "passed"]


@pytest.mark.parametrize(
    ("platform", "variables", "wanted"),
    [
        ("linux", {"RNN_CACHE_DIR": "given"}, "given"),
        ("linux", {"RNN_CACHE_DIR": "", "XDG_CACHE_HOME": "xdg"}, "xdg/rnn_backends"),
        ("linux", {"XDG_CACHE_HOME": ""}, "home/.cache/rnn_backends"),
        ("darwin", {"XDG_CACHE_HOME": "xdg"}, "home/Library/Caches/rnn_backends"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/rnn_backends"),
        ("win32", {"LOCALAPPDATA": ""}, "home/AppData/Local/rnn_backends"),
    ],
)
def test_the_folder(platform: str, variables: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RNN_CACHE_DIR": "", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    monkeypatch.setattr(sys, "platform", platform)
    assert verdicts.folder() == Path(wanted)


def test_a_user_without_a_home(checks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> None:
        raise RuntimeError

    monkeypatch.setenv("RNN_CACHE_DIR", "")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert trusted("block")
    assert trusted("block")
    assert checks == ["block"]
    another_process()
    monkeypatch.setattr(selfcheck(), "fault", lambda *_: "it was planted")
    with pytest.warns(KernelWarning, match="it was planted.* once a file is removed"):
        assert not trusted("block")


# Processes and threads.


def test_a_process_that_ends_in_the_middle(checks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves the kernel distrusted, but not while it may still be checking."""
    key, during = module("trust").key_of("block", "float32", 0), []
    monkeypatch.setattr(selfcheck(), "fault", lambda *_: during.append(everything()[key]))
    assert trusted("block")
    assert abs(float(during[0]) - time.time()) < 60
    verdicts.keep(key, time.time())
    another_process()
    assert trusted("block")
    assert len(during) == 2
    verdicts.keep(key, time.time() - verdicts.LONGEST - 1)
    another_process()
    with pytest.warns(KernelWarning, match="a process ended while it was checked"):
        assert not trusted("block")
    assert len(during) == 2


def test_a_check_that_is_interrupted_leaves_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(selfcheck(), "fault", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trusted("block")
    assert held() == {}
    assert trusted("block")


def test_threads_check_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, found = [], []

    def slow(regime: str, _: Any) -> None:
        made.append(regime)
        time.sleep(0.1)

    monkeypatch.setattr(selfcheck(), "fault", slow)
    threads = [Thread(target=lambda: found.append(trusted("block"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8
    assert made == ["block"]


# While work is captured.


def test_nothing_is_checked_while_work_is_captured() -> None:
    rnn, stream = rb.RNN(CASE.layers).to("cupy:0"), device_standin.Stream(non_blocking=True)
    with stream:
        stream.captures = True
        with pytest.raises(rb.BackendUnavailableError) as caught:
            run(rnn)
        assert not standin.RawKernel.launches
        assert held() == {}
    first = str(caught.value).split("'")[1]
    assert str(caught.value) == (
        f"the CUDA kernel '{first}' is to be checked on Stand-in 0, compute capability 9.0, driver 13010, NVRTC 13.1, CuPy "
        "14.0.0, which is impossible while a stream is captured. Call the model once with such inputs before, or set "
        f"RNN_CUPY_KERNEL={first}, which is not checked."
    )
    assert run(rnn) <= 1.0
    for _ in range(2):
        with stream:
            assert run(rnn) <= 1.0
        another_process()
        rnn = rb.RNN(CASE.layers).to("cupy:0")
    assert held() == {f"{first} float32": "passed"}


def test_the_variable_serves_while_work_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNN_CUPY_KERNEL", "sweep")
    with device_standin.Stream(non_blocking=True) as stream:
        stream.captures = True
        assert run() <= 1.0


# Errors of CUDA.


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(standin.RawKernel, "__call__", fail)


@pytest.mark.parametrize("kind", ["runtime", "driver"])
def test_a_kernel_that_cuda_refuses(kind: str, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    types = {"runtime": cupy.cuda.runtime.CUDARuntimeError, "driver": cupy.cuda.driver.CUDADriverError}
    failing(monkeypatch, types[kind](701))
    with pytest.warns(KernelWarning, match="CUDA reports cudaError701: as planted"):
        assert not trusted("block")
    assert held() == {"block float32": "CUDA reports cudaError701: as planted"}


def test_a_kernel_that_does_not_compile(plant: Plant) -> None:
    plant("block.cu", "KERNEL walk_block(", "KERNAL walk_block(")
    with pytest.warns(KernelWarning, match="'block' is not used .*: it does not compile: .*KERNAL"):
        assert run() <= 1.0
    assert len(held()["block float32"]) < 250


@pytest.mark.parametrize("error", ["memory", "capture", "cuBLAS", "CuPy's memory"])
def test_an_error_that_no_kernel_makes_is_no_verdict(error: str, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cublas = standin.cublas()
    raised = {
        "memory": device_standin.CudaError(2),
        "capture": device_standin.CudaError(901),
        "cuBLAS": cublas.CUBLASError("CUBLAS_STATUS_NOT_INITIALIZED"),
        "CuPy's memory": cupy.cuda.memory.OutOfMemoryError("Out of memory"),
    }[error]
    with monkeypatch.context() as patch:
        failing(patch, raised)
        with pytest.raises(type(raised), match=str(raised)):
            trusted("block")
    assert held() == {}
    assert trusted("block")


@pytest.mark.parametrize("kind", ["CUDA", "cuBLAS"])
def test_a_kernel_after_which_nothing_runs(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict is there before the error is raised: the next process does not use the kernel."""
    cublas = standin.cublas()
    illegal = device_standin.CudaError(700)
    error = illegal if kind == "CUDA" else cublas.CUBLASError("CUBLAS_STATUS_EXECUTION_FAILED")

    def broken(_: Any) -> None:
        raise illegal

    with monkeypatch.context() as patch:
        failing(patch, error)
        patch.setattr(device_standin.Device, "synchronize", broken)
        with pytest.raises(rb.BackendUnavailableError) as caught:
            run()
    first = str(caught.value).split("'")[1]
    key = module("trust").key_of(first, "float32", 0)
    assert str(caught.value) == (
        f"the CUDA kernel '{first}' failed its check with {error}, after which CUDA does nothing more in this process. Start "
        f"another, which does not use it if {verdicts.where(key)} could be written, or set "
        "RNN_CUPY_KERNEL=off, which uses none."
    )
    another_process()
    with pytest.warns(KernelWarning, match=f"'{first}' is not used for float32 .* CUDA reports {error}"):
        assert run() <= 1.0


def test_a_device_on_which_no_plan_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin, "resident", 0)
    assert selfcheck().fault("grid", FLOAT32) == "it does not take the network of the check"


# What is shown.


def test_info_shows_the_verdicts() -> None:
    from rnn_backends.cli import info

    distrust("grid")
    assert trusted("block")
    launched = len(standin.RawKernel.launches)
    found = info.collect()
    assert found["cuda_kernels"] == [
        {"device": "cuda:0", "kernel": "block", "dtype": "float32", "passed": True, "reason": None},
        {"device": "cuda:0", "kernel": "grid", "dtype": "float32", "passed": False, "reason": "it was planted"},
    ]
    shown = [line.split("  ") for line in info.lines(found) if "CUDA" in line]
    assert [(line[0], line[-1].strip()) for line in shown] == [
        ("cuda:0, CUDA kernel block, float32", "passed its check"),
        ("cuda:0, CUDA kernel grid, float32", "it was planted"),
    ]
    assert len(standin.RawKernel.launches) == launched


def test_info_without_a_compiler_of_cuda(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from rnn_backends.cli import info

    def missing() -> None:
        msg = "libnvrtc is missing"
        raise ImportError(msg)

    monkeypatch.setattr(cupy.cuda.nvrtc, "getVersion", missing)
    another_process()
    assert info.collect()["cuda_kernels"] == []
