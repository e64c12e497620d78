"""tests/benchmarks/shape.py and gpu_page.py for a GPU, on a stand-in that keeps its time.  With --kernels, of the kernels too."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gpu_goals
import gpu_page
import numpy as np
import pytest
import shape
from cuda_standin import DEVICE_SECONDS, HOST_SECONDS
from harness import gpu_cells
from harness.machine import processors
from harness.problem import Problem
from harness.timing import ratios

import rnn_backends as rb
from rnn_backends.backends.cuda_kernels.plan import REGIMES

SMALL = Problem(seq_len=6, batch=3, input_size=4, hidden_size=5)


@pytest.fixture(autouse=True)
def _on_the_standin(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(gpu_cells, "CHILD", "cuda_standin")
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("left")))  # what processes leave that are killed


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run the command, the contestants being on the stand-in."""
    code = shape.main(["--rounds", "2", *words])
    return (code, *capfd.readouterr())


def test_the_table_and_the_file(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RNN_CUPY_KERNEL", "off")
    monkeypatch.setenv("CUPY_TF32", "0")
    path = tmp_path / "found.json"
    shapes = ["--shape", "6", "3", "4", "5", "--shape", "300", "1", "2", "3"]
    code, out, err = run(capfd, "--backend", "cupy:1", *shapes, "--against", "off", "copy", "--json", str(path))
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
    found = json.loads(path.read_text())
    assert found["cpu"]
    assert (found["rnn_backends"], found["processors"]) == (rb.__version__, processors())
    cells = found["cells"]
    assert cells[0]["ratios"]["cupy:1"]["copy"] == ratios(cells[0]["seconds"], "cupy:1")["copy"]._asdict()
    assert [cell["clock"] for cell in cells] == ["device", "call"] * 2
    assert [cell["launch_bound"] for cell in cells] == [[], [], ["cupy:1", "off"], ["cupy:1", "off"]]
    for cell in cells:
        assert cell["device"]["name"] == "Stand-in 1"
        assert set(cell["versions"]) == {"cupy", "numpy"}
        assert (cell["environment"]["RNN_CUPY_KERNEL"], cell["environment"]["CUPY_TF32"]) == ("off", "0")
        assert set(cell["excess"]) == {"cupy:1", "off"}
        assert 0 < max(cell["excess"].values()) <= 1.0
        assert [len(times) for times in cell["seconds"].values()] == [2] * 3


def test_torch_is_shown_with_its_versions(
    torch: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNN_CUPY_KERNEL", "off")
    words = ["--backend", "cupy", "--shape", "6", "3", "4", "5", "--against", "torch", "torch-tf32"]
    code, out, err = run(capfd, *words, "--dtype", "float32", "float16")
    assert code == 0, err
    assert f", cudnn 91002, cupy 14.0.0, numpy {np.__version__}, torch {torch.__version__}, RNN" in out
    assert "without torch-tf32: TF32 is a way to multiply float32" in err
    assert "T=6 B=3 I=4 H=5 float16 " in out


def test_every_kernel(
    request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not request.config.getoption("--kernels"):
        pytest.skip("the kernels are run with --kernels, which needs g++")
    monkeypatch.delenv("RNN_CUPY_KERNEL", raising=False)
    words = ["--backend", "cupy:1", "--shape", "6", "3", "4", "5", "--against", *REGIMES, "off"]
    code, out, err = run(capfd, *words)
    assert code == 0, err
    assert "RNN_CUPY_KERNEL and CUPY_TF32 unset" in out
    row = next(line for line in out.splitlines() if " device " in line)
    shown = dict(zip(out.splitlines()[1].split()[6:], re.findall(r"(\S+) \[", row), strict=True))
    assert list(shown) == [*REGIMES, "off"]
    assert shown["block"] == "1"
    assert float(shown["step"]) > 6  # two launches at each step


# The page


SOME = {name: gpu_goals.ROWS[name] for name in ("H <= 64", "T <= 32")}


def cells(seconds: dict[str, float], errors: dict[str, float], **changed: Any) -> list[dict[str, Any]]:
    problem = asdict(replace(SMALL, seq_len=changed.pop("seq_len", 40)))
    common = {
        "problem": problem, "excess": errors, "versions": {"cupy": "14"}, "environment": {}, "device": {
            "name": "Stand-in", "compute_capability": "9.0", "driver": "CUDA 13.1",
        }, "absent": {}, "failed": {}, "asked": [*seconds, "grid", "sweep", "copy"],
    } | changed  # fmt: skip
    device = common | {
        "clock": "device",
        "launch_bound": ["off"],
        "seconds": {name: [s] * 3 for name, s in seconds.items()},
    }
    call = common | {"clock": "call", "launch_bound": [], "seconds": {name: [2.0 * s] for name, s in seconds.items()}}
    return [device, call]


def columns(page: list[str]) -> dict[str, str]:
    return dict(zip(page[-3].split(" | "), page[-1].split(" | "), strict=True))


@pytest.mark.parametrize(
    ("torch", "error", "reached"),
    [
        (3.0, 0.5, "yes"), (2.0, 0.5, "not aim"),
        (0.5, 0.75, "not aim, must, **as fast as torch**, **as exact as torch**"),
    ],
)  # fmt: skip
def test_the_page_shows_what_is_reached(torch: float, error: float, reached: str) -> None:
    seconds = {"cupy": 1e-3, "torch": torch * 1e-3, "off": 0.1, "block": 1.25e-3}
    found = cells(seconds, {"cupy": error, "torch": 0.5}, failed={"grid": "crashed: SIGSEGV"}, absent={"copy": "no"})
    page = list(gpu_page.lines(SOME, {"H <= 64": found}))
    assert "* Stand-in, compute capability 9.0, CUDA 13.1, cupy 14, RNN_CUPY_KERNEL and CUPY_TF32 unset" in page
    assert [text for text in page if text.startswith("* not measured")] == ["* not measured: T <= 32"]
    shown = columns(page)
    assert shown["torch"] == shown["a call"] == f"{torch:g} [{torch:g} {torch:g}]"
    assert (shown["off"], shown["block"], shown["copy"]) == ("100 [100 100]*", "1.25 [1.25 1.25]", "-")
    assert (shown["grid"], shown["sweep"]) == ("crashed: SIGSEGV", "-")
    assert (shown["ms"], shown["must"], shown["reached"], shown["error"]) == ("1", "1.5", reached, f"{error:g}")


def test_the_slower_clock_counts() -> None:
    device, call = cells({"cupy": 1.0, "torch": 3.0}, {"cupy": 0.5, "torch": 0.5})
    call["seconds"]["torch"] = [4.0]  # as ours takes 2
    assert gpu_goals.judged(2.5, 2.5, {"device": device}).reached == "yes"
    assert gpu_goals.judged(2.5, 2.5, {"device": device, "call": call}).reached == "not aim, must"
    short = [{**cell, "problem": {**cell["problem"], "seq_len": 32}} for cell in (device, call)]
    assert gpu_goals.judged(1.0, 1.0, dict(zip(("device", "call"), short, strict=True))).ratios == {"call": 2.0}


def test_a_shape_without_ours_or_torch_is_not_reached() -> None:
    wrong = {"cupy": "wrong: 3 times the bound"}
    page = list(gpu_page.lines(SOME, {"H <= 64": cells({"torch": 1.0}, {"torch": 0.5}, failed=wrong)}))
    assert (columns(page)["ms"], columns(page)["reached"]) == (wrong["cupy"], "not right")
    page = list(gpu_page.lines(SOME, {"H <= 64": cells({"cupy": 1.0}, {"cupy": 0.5})}))
    assert (columns(page)["torch"], columns(page)["reached"]) == ("-", "-")


def test_whom_nobody_asked_has_no_column() -> None:
    page = list(gpu_page.lines(SOME, {"H <= 64": cells({"cupy": 1.0, "off": 2.0}, {"cupy": 0.5})}))
    assert not {"flashrnn", "product", "step"} & set(columns(page))
    assert {"off", "grid", "copy"} <= set(columns(page))
    asked = {"absent": {"flashrnn": "it does not build"}, "asked": ["cupy", "flashrnn"]}
    page = list(gpu_page.lines(SOME, {"H <= 64": cells({"cupy": 1.0}, {"cupy": 0.5}, **asked)}))
    assert columns(page)["flashrnn"] == "-"


def test_the_rows_are_those_of_the_goals() -> None:
    assert [(row.must, row.aim) for row in gpu_goals.ROWS.values()] == [
        (1.5, 2.5), (2, 3), (1.8, 3), (5, 10), (4, 8), (3, 5), (1.5, 2.5), (1, 1.5), (4, 8), (1, 1.5), (2, 4),
    ]  # fmt: skip
    for name, row in gpu_goals.ROWS.items():
        assert all((shape[0] <= 32) == (name == "T <= 32") for shape in row.shapes)
    assert sum(map(len, (row.shapes for row in gpu_goals.ROWS.values()))) == 45
