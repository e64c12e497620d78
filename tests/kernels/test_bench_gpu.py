"""The command `bench` for a backend on a GPU, on a stand-in that keeps the time of one.  With --kernels, of the kernels too."""

import gc
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cuda_standin
import gpu as gpu_page
import numpy as np
import pytest
from cuda_standin import BUSY_SECONDS, DEVICE_SECONDS, HOST_SECONDS, QUEUE, timeline

import rnn_backends as rb
from rnn_backends.backends.cuda_kernels.plan import REGIMES
from rnn_backends.cli import bench
from rnn_backends.cli import main as cli
from rnn_backends.cli.benchmark import competitors, contestant, worker
from rnn_backends.cli.benchmark.contestant import AbsentError, Contestant, check, ours_on_gpu
from rnn_backends.cli.benchmark.problem import Drawn, Problem
from rnn_backends.cli.benchmark.timing import interleave

SMALL = Problem(seq_len=6, batch=3, input_size=4, hidden_size=5)
INPUTS = [np.full(1, float(number)) for number in range(3)]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RNN_CUPY_KERNEL", "off")  # no kernels, which need g++
    with cuda_standin.installed() as module:
        made = module.Gpu(1)
        timeline.log.clear()
        yield made


def launches(number: int, handed: list[Any] | None = None, host_seconds: float = HOST_SECONDS) -> Contestant:
    """Return one who launches some kernels, and whose results tell when they are overwritten."""

    def call(x: Any) -> Any:
        if handed is not None:
            handed.append(x)
        for _ in range(number):
            timeline.launch("kernel", host_seconds=host_seconds)
        return SimpleNamespace(fill=lambda value: timeline.launch(f"fill with {value}"))

    return Contestant("a", call, poison=contestant.fill_with_nan)


# The clocks


def test_a_device_is_timed_while_it_waits_for_nothing(gpu: Any) -> None:
    """Launching takes five times as long as what is launched; that is not seen."""
    taken = interleave([launches(7)], INPUTS, seconds=1e9, rounds=5, clock=gpu.device_clock)
    assert taken["a"] == pytest.approx([7 * DEVICE_SECONDS] * 5)
    assert HOST_SECONDS > 4 * DEVICE_SECONDS
    assert not gpu.launch_bound


def test_work_is_launched_between_the_events_and_the_result_overwritten_after(gpu: Any) -> None:
    sample = gpu.device_clock(launches(2), INPUTS)
    timeline.log.clear()
    sample()
    assert timeline.log == ["busy", "event", "kernel", "kernel", "event", "fill with nan"]


def test_a_device_is_kept_busy_as_long_as_launching_takes(gpu: Any) -> None:
    slow = launches(10, host_seconds=2 * BUSY_SECONDS)
    sample = gpu.device_clock(slow, INPUTS)
    timeline.log.clear()
    assert sample() == pytest.approx(10 * DEVICE_SECONDS)
    assert timeline.log.count("busy") in {40, 41}  # twice as long as launching
    assert not gpu.launch_bound


def test_a_device_is_kept_busy_for_longer_where_that_was_too_little(gpu: Any) -> None:
    quick, slow = launches(1), launches(1, host_seconds=1.5 * BUSY_SECONDS)
    calls = [quick] * 3 + [slow] * 4
    sample = gpu.device_clock(replace(quick, call=lambda x: calls.pop(0).call(x)), INPUTS)
    assert [sample(), sample()] == pytest.approx([DEVICE_SECONDS] * 2)
    assert len(calls) == 1  # once it was too little
    assert not gpu.launch_bound


def test_who_launches_more_than_the_queue_holds_is_told(gpu: Any) -> None:
    many = launches(3 * QUEUE)
    seconds = gpu.device_clock(many, INPUTS)()
    assert gpu.launch_bound == {"a"}
    assert seconds > 3 * QUEUE * DEVICE_SECONDS
    gpu.clocks()
    assert not gpu.launch_bound


def test_a_whole_call_is_timed_alone_until_its_result_is_there(gpu: Any) -> None:
    sample = gpu.call_clock(launches(3), INPUTS)
    timeline.launch("of others", device_seconds=1.0)
    timeline.log.clear()
    assert sample() == pytest.approx(3 * HOST_SECONDS + DEVICE_SECONDS)
    assert timeline.log == ["wait", "kernel", "kernel", "kernel", "wait", "fill with nan"] * 5


def test_a_sample_of_whole_calls_is_their_median(gpu: Any) -> None:
    quick, slow = launches(1), launches(1, host_seconds=1.0)
    calls = [quick] * 3 + [quick, slow, quick, slow, quick]
    sample = gpu.call_clock(replace(quick, call=lambda x: calls.pop(0).call(x)), INPUTS)
    assert sample() == pytest.approx(HOST_SECONDS + DEVICE_SECONDS)


@pytest.mark.parametrize("clock", ["device", "call"])
def test_each_call_has_another_input_and_nothing_is_collected(gpu: Any, clock: str) -> None:
    handed: list[Any] = []
    collecting: list[bool] = []
    one = launches(1, handed)

    def call(x: Any) -> Any:
        collecting.append(gc.isenabled())
        return one.call(x)

    interleave([replace(one, call=call)], INPUTS, seconds=1e9, rounds=4, clock=gpu.clocks()[clock])
    assert len(handed) >= 7
    assert {float(x[0]) for x in handed} == {0.0, 1.0, 2.0}
    assert all(first is not second for first, second in zip(handed[1:], handed[:-1], strict=True))
    assert not any(collecting)
    assert gc.isenabled()


def test_what_a_gpu_is(gpu: Any) -> None:
    assert gpu.about() == {
        "name": "Stand-in 1", "compute_capability": "9.0", "multiprocessors": 12, "driver": "CUDA 13.1",
    }  # fmt: skip


def test_libraries_must_share_a_stream(gpu: Any) -> None:
    gpu.require_stream(0)
    with pytest.raises(rb.ArgumentError, match=r"CuPy's current stream is 0x0 and torch's is 0x2.*Unset CUPY_CUDA_PER"):
        gpu.require_stream(2)


# Results


def test_results_are_overwritten(gpu: Any) -> None:
    one = ours_on_gpu("cupy:1", Drawn.of(SMALL))
    with gpu.device:
        output = one.call(one.place(Drawn.of(SMALL).x))
        one.poison(output)
    assert output.device.id == 1
    assert np.isnan(output.host).all()


def test_a_result_of_before_is_not_right_again(gpu: Any) -> None:
    """Inputs hold other numbers from call to call, so that what is left in memory is no result."""
    for problem in (SMALL, replace(SMALL, batch=1), replace(SMALL, tokens=True)):
        drawn = Drawn.of(problem)
        assert not any((first == second).all() for first, second in zip(drawn.inputs, drawn.inputs[1:], strict=False))
        right = ours_on_gpu("cupy:1", drawn)
        kept: list[Any] = []

        def call(x: Any, right: Contestant = right, kept: list[Any] = kept) -> Any:
            kept.append(right.call(x))
            return kept[0]

        with gpu.device:
            assert check([right], drawn)["cupy:1"] <= 1.0
            with pytest.raises(rb.WrongResultError, match=r"^stale does not compute"):
                check([replace(right, name="stale", call=call, poison=lambda _: None)], drawn)


def test_who_rounds_more_may_be_off_by_more() -> None:
    drawn = Drawn.of(SMALL)
    off = drawn.wanted.value + 3 * drawn.wanted.error
    wrong = Contestant("coarse", lambda _: off, allowed=4.0)
    turned = replace(drawn, problem=replace(SMALL, ragged=True), source_lengths=[6, 6, 6])  # the same batch each time
    assert check([wrong], turned)["coarse"] == pytest.approx(3.0)
    with pytest.raises(rb.WrongResultError, match="by 3 times the error bound, more than 2"):
        check([replace(wrong, allowed=2.0)], turned)


@pytest.mark.parametrize("options", [{}, {"tokens": True}, {"bidirectional": True}, {"ragged": True}, {"step": True}])
@pytest.mark.parametrize("name", ["torch", "off", "product", "copy"])
def test_competitors_compute_the_same(gpu: Any, name: str, options: dict[str, Any]) -> None:
    if name == "torch":
        pytest.importorskip("torch")
    drawn = Drawn.of(replace(SMALL, **options))
    if options == {"ragged": True} and name in competitors.LIMITS:
        with pytest.raises(AbsentError, match="how much of a ragged batch"):
            competitors.prepare(name, drawn, 1, gpu)
        return
    one = competitors.prepare(name, drawn, 1, gpu)
    with gpu.device:
        assert set(check([one], drawn)) == (set() if name in competitors.LIMITS else {name})


# Who is compared


def test_those_of_the_cpu_are_refused_on_a_gpu(gpu: Any) -> None:
    assert competitors.chosen(None, gpu) == ["torch", "off", "product", "copy"]
    assert competitors.chosen([*REGIMES, "torch-tf32"], gpu) == [*REGIMES, "torch-tf32"]
    for name in ("onnxruntime", "jax", "reservoirpy", "textbook", "recurrent"):
        with pytest.raises(rb.ArgumentError, match=f"^--against {name} does not run on the same GPU; compare"):
            competitors.chosen(["torch", name], gpu)
    for name in ("torch-tf32", "off", "copy", *REGIMES):
        with pytest.raises(
            rb.ArgumentError, match=f"^--against {name} does not run on the CPU; compare backends of the"
        ):
            competitors.chosen([name], None)


def test_backends_must_be_on_one_device(gpu: Any) -> None:
    assert worker.gpu_of(["cupy:1"]).index == 1  # type: ignore[union-attr]
    assert worker.gpu_of(["numpy", "array_api_strict:device1"]) is None
    for names in (["cupy", "numpy"], ["cupy:0", "cupy:1"]):
        with pytest.raises(rb.ArgumentError, match=r"on one device: cupy(:0)? is on cuda:0, .*Measure each by itself"):
            worker.gpu_of(names)


def test_a_gpu_of_another_library_cannot_be_timed() -> None:
    numpy = rb.get_backend("numpy")
    with (
        rb.register_backend(replace(numpy, name="elsewhere", devices=lambda: {"gpu:0": "cpu"})),
        pytest.raises(
            rb.ArgumentError, match="elsewhere is on gpu:0, whose streams CuPy's events do not time; measure cupy or"
        ),
    ):
        worker.gpu_of(["elsewhere"])


def test_half_precision_is_for_gpus() -> None:
    task = worker.Task(problems=[], backends=None, against=[], threads=1, seconds=0.0, rounds=1)
    with pytest.raises(rb.ArgumentError, match=r"^--dtype float16 is measured on a GPU; processors"):
        next(worker.measure(replace(SMALL, dtype="float16"), ["numpy"], task))


def test_off_is_no_kernel(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for before in ("block", None):
        if before is None:
            monkeypatch.delenv("RNN_CUPY_KERNEL")
        else:
            monkeypatch.setenv("RNN_CUPY_KERNEL", before)
        off = competitors.prepare("off", Drawn.of(SMALL), 1, gpu)
        timeline.log.clear()
        with gpu.device, off.context():
            assert os.environ["RNN_CUPY_KERNEL"] == "off"
            off.call(off.place(Drawn.of(SMALL).x))
        assert os.environ.get("RNN_CUPY_KERNEL") == before
        assert "operation" in timeline.log
        assert "kernel" not in timeline.log
        assert off.name == "off"


def test_a_kernel_that_does_not_take_a_shape_is_absent(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        AbsentError, match="the kernel 'block', which RNN_CUPY_KERNEL names, does not take hidden_size 900"
    ):
        competitors.prepare("block", Drawn.of(replace(SMALL, hidden_size=900)), 1, gpu)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    for name in ("off", "product", "copy"):
        with pytest.raises(AbsentError, match="'bfloat16' is not on the backend 'cupy'"):
            competitors.prepare(name, Drawn.of(replace(SMALL, dtype="bfloat16")), 1, gpu)


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.1.2", reason="CuPy has bfloat16 from NumPy 2.1.2 on")
def test_bfloat16(gpu: Any) -> None:
    drawn = Drawn.of(replace(SMALL, dtype="bfloat16"))
    for name in ("off", "product", "copy"):
        made = competitors.prepare(name, drawn, 1, gpu)
        with gpu.device, made.context():
            output = made.call(made.place(drawn.inputs[0]))
        assert output is None or output.dtype.name == "bfloat16"


@pytest.mark.parametrize(
    ("options", "moved"),
    [
        ({}, 4 * (18 * 4 + 25 + 20 + 5 + 18 * 5)),
        ({"dtype": "float64"}, 8 * (18 * 4 + 25 + 20 + 5 + 18 * 5)),
        ({"bidirectional": True}, 4 * (18 * 4 + 2 * (25 + 20 + 5) + 2 * 18 * 5)),
        ({"tokens": True}, 4 * (18 + 18 * 5 + 25 + 5 + 18 * 5)),
        ({"step": True}, 4 * (3 * 4 + 25 + 20 + 5 + 3 * 5)),
    ],
)
def test_the_limits_do_as_much_as_the_problem(
    gpu: Any, options: dict[str, Any], moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = replace(SMALL, **options)
    cupy = sys.modules["cupy"]
    done: list[int] = []
    monkeypatch.setattr(cupy, "copyto", lambda target, source: done.append(target.nbytes + source.nbytes))
    monkeypatch.setattr(cupy, "matmul", lambda a, b, out: done.append(a.shape[0] * a.shape[1] * out.shape[1]))
    competitors.prepare("copy", Drawn.of(problem), 1, gpu).call(None)
    assert done.pop() == moved
    competitors.prepare("product", Drawn.of(problem), 1, gpu).call(None)
    rows = 3 if problem.step else 18
    inner = 5 if problem.tokens else 9
    assert done == [rows * inner * 5] * (2 if problem.bidirectional else 1)


# torch


@pytest.mark.parametrize(("name", "allowed"), [("torch", False), ("torch-tf32", True)])
@pytest.mark.parametrize("before", [True, False])
def test_tf32_is_as_asked_for_and_as_before_afterwards(
    gpu: Any, torch: Any, name: str, allowed: bool, before: bool
) -> None:
    one = competitors.prepare(name, Drawn.of(SMALL), 1, gpu)
    flags = (torch.backends.cudnn, torch.backends.cuda.matmul)
    outside = [flag.allow_tf32 for flag in flags]
    try:
        for flag in flags:
            flag.allow_tf32 = before
        with one.context():
            assert [flag.allow_tf32 for flag in flags] == [allowed] * 2
            assert torch.is_inference_mode_enabled()
        assert [flag.allow_tf32 for flag in flags] == [before] * 2
    finally:
        for flag, value in zip(flags, outside, strict=True):
            flag.allow_tf32 = value
    assert one.name == name
    assert one.allowed == (2.0**14 if allowed else 8.0)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_without_torch(allowed: bool, before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of a torch that has nothing but its flags, for where it is not installed."""
    name = "rnn_backends.cli.benchmark.competitors.torch"
    flags = SimpleNamespace(allow_tf32=before), SimpleNamespace(allow_tf32=before)
    backends = SimpleNamespace(cudnn=flags[0], cuda=SimpleNamespace(matmul=flags[1]))
    device = type("device", (), {"__init__": lambda *_: None})
    fake = SimpleNamespace(backends=backends, inference_mode=nullcontext, device=device, Tensor=object)
    packing = SimpleNamespace(pack_padded_sequence=None, pad_packed_sequence=None)
    for module in ("torch.nn", "torch.nn.utils"):
        monkeypatch.setitem(sys.modules, module, SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setitem(sys.modules, "torch.nn.utils.rnn", packing)
    monkeypatch.setattr(competitors, "torch", None, raising=False)  # both are put back afterwards
    monkeypatch.setitem(sys.modules, name, None)
    del sys.modules[name]
    competitor = importlib.import_module(name)
    with competitor._on_gpu(allowed):
        assert [flag.allow_tf32 for flag in flags] == [allowed] * 2
    assert [flag.allow_tf32 for flag in flags] == [before] * 2


def test_torch_without_what_is_needed_is_absent(gpu: Any, torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AbsentError, match="TF32 is a way to multiply float32"):
        competitors.prepare("torch-tf32", Drawn.of(replace(SMALL, dtype="float64")), 1, gpu)
    with pytest.raises(AbsentError, match=r"nn\.RNN has no leak"):
        competitors.prepare("torch", Drawn.of(replace(SMALL, leak=0.5)), 1, gpu)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: False)
    with pytest.raises(AbsentError, match=rf"^torch {re.escape(torch.__version__)} finds no GPU, or no cuDNN; install"):
        competitors.prepare("torch", Drawn.of(SMALL), 1, gpu)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AbsentError, match="finds no GPU"):
        competitors.prepare("torch", Drawn.of(SMALL), 1, gpu)


def test_torch_must_launch_where_events_are_recorded(gpu: Any, torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: SimpleNamespace(cuda_stream=7))
    with pytest.raises(rb.ArgumentError, match="and torch's is 0x7"):
        competitors.prepare("torch", Drawn.of(SMALL), 1, gpu)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(rb.ArgumentError, match="and torch's is 0x7"):
        worker.gpu_of(["torch:cuda:1"])
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: SimpleNamespace(cuda_stream=0))
    assert worker.gpu_of(["torch:cuda:1"]).index == 1  # type: ignore[union-attr]


# The command


def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    """Run the command, the process that measures being on the stand-in."""
    monkeypatch.setattr(bench, "WORKER", "cuda_standin")
    path = [str(Path(cuda_standin.__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path).rstrip(os.pathsep))
    code = cli.main(["bench", "--rounds", "2", *words])
    return (code, *capfd.readouterr())


def test_the_table_and_the_file(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RNN_CUPY_KERNEL", "off")
    monkeypatch.setenv("CUPY_TF32", "0")
    path = tmp_path / "found.json"
    shapes = ["--shape", "6", "3", "4", "5", "--shape", "300", "1", "2", "3"]
    code, out, err = run(
        capfd, monkeypatch, "--backend", "cupy:1", *shapes, "--against", "off", "copy", "--json", str(path)
    )
    assert code == 0, err
    about, head, *rows = out.split("\n\n")[0].splitlines()
    assert re.fullmatch(
        r"Stand-in 1, compute capability 9\.0, CUDA 13\.1, cupy 14.0.0, numpy \S+, RNN_CUPY_KERNEL=off, CUPY_TF32=0",
        about,
    )
    assert head.split() == ["problem", "threads", "clock", "ours", "ms", "error", "off", "copy"]
    assert [row.split()[6] for row in rows] == ["device", "call"] * 2
    device, call, *_ = (float(row.split()[8].rstrip("*")) for row in rows)
    assert call == pytest.approx(device / DEVICE_SECONDS * HOST_SECONDS + 1e3 * DEVICE_SECONDS, rel=0.01)
    assert "0.0" in rows[0].split()[9]
    assert " 1 [1 1] " in rows[0]
    assert rows[2].split()[8].endswith("*")  # more launches than the queue holds
    assert "1 [1 1]*" in rows[2]
    assert "*" not in rows[0] + rows[1] + rows[3]
    assert "call: on the host" in out
    cells = json.loads(path.read_text())["cells"]
    assert [cell["clock"] for cell in cells] == ["device", "call"] * 2
    assert [cell["launch_bound"] for cell in cells] == [[], [], ["cupy:1", "off"], ["cupy:1", "off"]]
    for cell in cells:
        assert cell["device"]["name"] == "Stand-in 1"
        assert set(cell["versions"]) == {"cupy", "numpy"}
        assert (cell["environment"]["RNN_CUPY_KERNEL"], cell["environment"]["CUPY_TF32"]) == ("off", "0")
        assert set(cell["excess"]) == {"cupy:1", "off"}
        assert 0 < max(cell["excess"].values()) <= 1.0
        assert [len(times) for times in cell["seconds"].values()] == [2] * 3


def test_torch_is_told_with_its_versions(
    torch: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNN_CUPY_KERNEL", "off")
    words = ["--backend", "cupy", "--shape", "6", "3", "4", "5", "--against", "torch", "torch-tf32"]
    code, out, err = run(capfd, monkeypatch, *words, "--dtype", "float32", "float16")
    assert code == 0, err
    assert f", cudnn 91002, cupy 14.0.0, numpy {np.__version__}, torch {torch.__version__}, RNN" in out
    assert "without torch-tf32: TF32 is a way to multiply float32" in err
    assert "T=6 B=3 I=4 H=5 float16 " in out


def test_no_competitor_of_the_cpu(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run(capfd, monkeypatch, "--backend", "cupy", "--against", "onnxruntime")
    assert (code, out) == (1, "")
    assert err.startswith(
        "rnn-backends: error: --against onnxruntime does not run on the same GPU; compare backends on"
    )


def test_results_are_checked_again(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory that was overwritten with NaN meanwhile, and the larger error counts."""
    errors = iter([0.25, 0.75])
    monkeypatch.setattr(worker, "check", lambda *_: {"cupy:1": next(errors)})
    task = worker.Task(problems=[], backends=None, against=[], threads=1, seconds=0.0, rounds=1)
    cells = list(worker.measure(SMALL, ["cupy:1"], task, gpu))
    assert [cell["excess"] for cell in cells] == [{"cupy:1": 0.75}] * 2


def test_every_kernel(
    request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not request.config.getoption("--kernels"):
        pytest.skip("the kernels are run with --kernels, which needs g++")
    monkeypatch.delenv("RNN_CUPY_KERNEL", raising=False)
    words = ["--backend", "cupy:1", "--shape", "6", "3", "4", "5", "--against", *REGIMES, "off"]
    code, out, err = run(capfd, monkeypatch, *words)
    assert code == 0, err
    assert "RNN_CUPY_KERNEL and CUPY_TF32 unset" in out
    row = next(line for line in out.splitlines() if " device " in line)
    shown = dict(zip(out.splitlines()[1].split()[6:], re.findall(r"(\S+) \[", row), strict=True))
    assert list(shown) == [*REGIMES, "off"]
    assert shown["block"] == "1"
    assert float(shown["step"]) > 6  # two launches at each step


# The page


def cells(seconds: dict[str, float], errors: dict[str, float]) -> list[dict[str, Any]]:
    problem = asdict(replace(SMALL, seq_len=40))
    common = {
        "problem": problem, "excess": errors, "versions": {"cupy": "14"}, "environment": {}, "device": {
            "name": "Stand-in", "compute_capability": "9.0", "driver": "CUDA 13.1",
        },
    }  # fmt: skip
    device = common | {
        "clock": "device",
        "launch_bound": ["off"],
        "seconds": {name: [s] * 3 for name, s in seconds.items()},
    }
    return [device, common | {"clock": "call", "launch_bound": [], "seconds": {name: [1.0] for name in seconds}}]


@pytest.mark.parametrize(
    ("torch", "error", "reached"),
    [(3.0, 0.5, "yes"), (2.0, 0.5, "not aim"), (0.5, 0.75, "not aim, must, **slower**, **less exact**")],
)
def test_the_page_tells_what_is_reached(torch: float, error: float, reached: str) -> None:
    others = cells({"cupy": 1e-3, "torch": torch * 1e-3, "off": 0.1}, {"cupy": error, "torch": 0.5})
    kernels = cells({"cupy": 1e-3, "block": 1.25e-3}, {"cupy": 0.5, "block": 0.5})
    page = list(gpu_page.lines(gpu_page.QUICK, {"H <= 64 others": others, "H <= 64 kernels": kernels}))
    assert "* Stand-in, compute capability 9.0, CUDA 13.1, cupy 14, RNN_CUPY_KERNEL and CUPY_TF32 unset" in page
    assert [text for text in page if text.startswith("* not measured")] == [
        "* not measured: T <= 32, others", "* not measured: T <= 32, kernels",
    ]  # fmt: skip
    told = dict(zip(page[-3].split(" | "), page[-1].split(" | "), strict=True))
    assert told["torch"] == f"{torch:g} [{torch:g} {torch:g}]"
    assert (told["off"], told["block"], told["copy"]) == ("100 [100 100]*", "1.25 [1.25 1.25]", "-")
    assert (told["ms"], told["must"], told["reached"], told["error"]) == ("1", "1.5", reached, f"{error:g}")


def test_the_rows_are_those_of_the_goals() -> None:
    assert [(row.must, row.aim) for row in gpu_page.ROWS.values()] == [
        (1.5, 2.5), (2, 3), (1.8, 3), (5, 10), (4, 8), (3, 5), (1.5, 2.5), (1, 1.5), (4, 8), (1, 1.5), (2, 4),
    ]  # fmt: skip
    for name, row in gpu_page.ROWS.items():
        assert all((shape[0] <= 32) == (name == "T <= 32") for shape in row.shapes)
    assert sum(len(row.shapes) for row in gpu_page.ROWS.values()) == 45


def test_the_page_is_written_of_what_could_be_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here, where nothing can."""
    (tmp_path / "H <= 64 others.json").write_text(json.dumps({"cells": cells({"cupy": 1e-3}, {"cupy": 0.5})}))
    wanted = [sys.executable, gpu_page.__file__, "T <= 32", "--quick", "--work", str(tmp_path)]
    done = subprocess.run(
        wanted, capture_output=True, text=True, check=False, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    )
    assert done.returncode == 1
    assert "not measured, or not all of it: T <= 32; see above" in done.stderr
    page = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "* not measured: H <= 64, kernels\n* not measured: T <= 32, others" in page
    assert "| T=40 B=3 I=4 H=5 float32 | 1 | - | - |" in page
    wrong = subprocess.run([*wanted[:2], "H = 3"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "there is no row H = 3; there are: H <= 64; " in wrong.stderr


def test_the_suite_measures_by_the_command(
    request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not request.config.getoption("--kernels"):
        pytest.skip("the kernels are run with --kernels, which needs g++")
    monkeypatch.delenv("RNN_CUPY_KERNEL", raising=False)

    def started(command: list[str], **_: Any) -> Any:
        assert command[1:4] == ["-m", "rnn_backends", "bench"]
        return SimpleNamespace(returncode=run(capfd, monkeypatch, *command[4:])[0])

    monkeypatch.setattr(subprocess, "run", started)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick", "--work", str(tmp_path)])
    assert gpu_page.main() == 0
    page = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert page.count("* Stand-in 0, compute capability 9.0") in {1, 2}  # with torch, and without
    head, _, *told = page[page.index("\n|") + 1 :].splitlines()
    assert len(told) == 2
    for text in told:
        shown = dict(zip(head.split(" | "), text.split(" | "), strict=True))
        assert all(shown[name] != "-" for name in (*REGIMES, "off", "product", "copy"))
    assert "not measured" not in page
