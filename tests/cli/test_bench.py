"""The command `bench`: contestants in processes of their own, results checked, times in turn."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.cli import bench
from rnn_backends.cli import main as cli
from rnn_backends.cli.process import environment

INSTALLED = [
    name
    for name, needed in (("torch", ["torch"]), ("onnxruntime", ["onnxruntime", "onnx"]))
    if all(map(find_spec, needed))
]
WORDS = ["--shape", "6", "11", "4", "5", "--backend", "numpy", "--rounds", "2"]
ALONE = [*WORDS, "--against"]

WRONG_TORCH = """
import numpy as np

__version__, float32, tensor = "0", "float32", np.asarray
set_num_threads = set_grad_enabled = lambda _: None


class Tensor:
    def copy_(self, value):
        pass


class nn:
    class RNN:
        def __init__(self, *sizes, dtype):
            self.hidden_size = sizes[1]

        def parameters(self):
            return [Tensor()] * 4

        def __call__(self, x):
            return (np.zeros((*x.shape[:2], self.hidden_size)),)
"""
NO_TORCH = "raise ModuleNotFoundError('no torch', name='torch')"
DYING_TORCH = "import os; os._exit(3)"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.main(["bench", *words])
    return (code, *capsys.readouterr())


@pytest.fixture
def torch_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the processes of contestants import a torch of the given source."""

    def replace(source: str) -> None:
        tmp_path.joinpath("torch.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path))

    return replace


def test_the_table_and_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    words = [*WORDS[:-2], "--backend", "array_api_strict", "--layers", "2", "--rounds", "3", "--json", str(path)]
    code, out, err = run(capsys, *words)
    titles = ["backend numpy", "backend array_api_strict", *(f"library {name}" for name in INSTALLED)]
    assert code == 0, err
    head, *rows = out.split("\n\n")[0].splitlines()
    assert head.split() == ["T", "B", "I", "H", "contestant", "device", "ms", "ratio", "error"]
    assert [row[: head.index("device")].split(maxsplit=4)[4].strip() for row in rows] == titles
    assert all(row.startswith("6 11 4 5 ") for row in rows)
    assert " 1 [1 1] " in rows[0]
    found = json.loads(path.read_text())
    assert (found["rnn_backends"], found["layers"], found["dtype"], found["threads"]) == (
        rb.__version__,
        2,
        "float32",
        1,
    )
    assert [cell["contestant"] for cell in found["cells"]] == titles
    first = np.array(found["cells"][0]["seconds"])
    for cell in found["cells"]:
        assert len(cell["seconds"]) == 3
        assert min(cell["seconds"]) > 0
        assert cell["ratio"][0] == pytest.approx(np.median(np.array(cell["seconds"]) / first))
        assert 0 < cell["error"] <= 1
    assert found["cells"][0]["version"] == np.__version__


def test_torch_and_onnxruntime_are_measured_where_they_are_installed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("torch", "onnx", "onnxruntime"):
        pytest.importorskip(name)
    code, out, err = run(capsys, *WORDS, "--layers", "2")
    assert code == 0, err
    assert err.count("\n") == 1
    rows = [line.split() for line in out.split("\n\n")[0].splitlines()[1:]]
    assert [row[4:7] for row in rows[1:]] == [["library", "torch", "cpu"], ["library", "onnxruntime", "cpu"]]
    assert all(0 < float(row[-1]) <= 1 for row in rows)


def test_shapes_below_one_another(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--shape", "3", "1", "2", "2", *ALONE)
    assert code == 0
    assert [row.split("  ")[0] for row in out.split("\n\n")[0].splitlines()[1:]] == ["3 1 2 2", "6 11 4 5"]
    assert err == "rnn-backends: T B I H = 3 1 2 2\nrnn-backends: T B I H = 6 11 4 5\n"


class FakeProcess:
    """A contestant whose n-th sample takes n seconds, or n times three."""

    asked: ClassVar[list[str]] = []

    def __init__(self, title: str, threads: int) -> None:
        self.title, self.taken = title, 0
        assert threads == 2

    def __enter__(self) -> "FakeProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.asked.append(f"end of {self.title}")

    def ask(self, question: Any) -> dict[str, Any]:
        if question != "time":
            return {"device": "cpu", "version": "1", "error": 0.5}
        self.taken += 1
        self.asked.append(self.title[-1])
        return {"seconds": self.taken * (3.0 if self.title == "backend b" else 1.0)}


def test_contestants_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "Process", FakeProcess)
    asked: list[str] = []
    monkeypatch.setattr(FakeProcess, "asked", asked)
    request = bench.Request(
        shapes=None, layers=1, dtype="float32", backends=["a", "b", "c", "b"], against=[], threads=2, rounds=20, json=None
    )  # fmt: skip
    cells = bench.measured([2, 1, 1, 1], request, lambda _: None)
    assert [cell["ratio"] for cell in cells] == [[1.0] * 3, [3.0] * 3, [1.0] * 3]
    rounds = ["".join(asked[start : start + 3]) for start in range(0, 60, 3)]
    assert {"".join(sorted(order)) for order in rounds} == {"abc"}
    assert len(set(rounds)) > 3
    assert sorted(asked[60:]) == [f"end of backend {name}" for name in "abc"]


def test_a_wrong_result_ends_the_command(capsys: pytest.CaptureFixture[str], torch_is: Any, tmp_path: Path) -> None:
    torch_is(WRONG_TORCH)
    for words in (["--against", "torch"], []):  # named, and by default
        code, out, err = run(capsys, *WORDS, "--json", str(tmp_path / "found.json"), *words)
        assert (code, out) == (1, "")
        assert "rnn-backends: error: the library torch is wrong by " in err.splitlines()[-1]
        assert "times the bound on rounding; nothing was timed. Leave it out." in err
        assert not (tmp_path / "found.json").exists()


def test_a_library_that_is_not_installed(capsys: pytest.CaptureFixture[str], torch_is: Any) -> None:
    torch_is(NO_TORCH)
    code, out, err = run(capsys, *WORDS)
    assert code == 0
    assert "backend numpy" in out
    assert "library torch" not in out
    assert "rnn-backends: without the library torch: torch is not installed: pip install torch\n" in err
    code, out, err = run(capsys, *WORDS, "--against", "torch")
    assert (code, out) == (1, "")
    assert err.endswith("rnn-backends: error: torch is not installed: pip install torch\n")


def test_a_process_that_ends_early(capsys: pytest.CaptureFixture[str], torch_is: Any) -> None:
    torch_is(DYING_TORCH)
    code, out, err = run(capsys, *WORDS, "--against", "torch")
    assert (code, out) == (1, "")
    assert err.endswith("error: the process of the library torch ended with code 3; its output is above.\n")


def test_float64_is_no_dtype_of_onnxruntime(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    code, out, err = run(capsys, *WORDS, "--dtype", "float64", "--against", "onnxruntime")
    assert (code, out) == (1, "")
    assert "has no RNN kernel for float64 on the CPU" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shape", "6", "3", "4"], "argument --shape: expected 4 values, with spaces between"),
        (["--shape", "6", "0", "4", "5"], "argument --shape: expected a positive integer; got '0'"),
        (["--layers", "two"], "argument --layers: expected a positive integer; got 'two'"),
        (["--threads", "-1"], "argument --threads: expected a positive integer; got '-1'"),
        (["--rounds", "0"], "argument --rounds: expected a positive integer; got '0'"),
        (["--dtype", "int8"], "argument --dtype: expected one of float32, float64; got 'int8'"),
        (["--against", "numpy"], "argument --against: expected one of torch, onnxruntime; got 'numpy'"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]


def test_a_backend_that_is_unknown_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *ALONE, "--backend", "nunpy")
    assert (code, out) == (1, "")
    assert "rnn-backends: error: unknown backend 'nunpy' (from option --backend)." in err


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "measured", lambda *_: pytest.fail("measured in vain"))
    code, _, err = run(capsys, *ALONE, "--json", "/no/such/folder/found.json")
    assert (code, err.count("\n")) == (1, 1)
    assert "'/no/such/folder/found.json' cannot be written" in err


def test_the_environment_gives_every_library_its_threads() -> None:
    given = environment(3, {"PATH": "here", "OMP_NUM_THREADS": "9"})
    assert given.pop("PATH") == "here"
    assert "multi_thread_eigen=true" in given["XLA_FLAGS"]
    assert given.pop("XLA_FLAGS").endswith("intra_op_parallelism_threads=3")
    assert given == dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC", "RNN_NUM_THREADS"), "3"
    )


def test_nobody_is_timed_while_threads_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = iter([0.0, 0.002, 0.002, 0.0035, 0.0035, 0.0036, 0.0, 1.0])
    slept: list[float] = []
    monkeypatch.setattr(bench, "process_time", lambda: next(busy))
    monkeypatch.setattr(bench, "sleep", slept.append)
    bench.wait_for_idle_threads()
    assert len(slept) == 3


def test_a_call_on_a_device_ends_when_a_value_is_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write_problem(tmp_path, [3, 2, 4, 5], 1, "float32")
    read: list[tuple[int, ...]] = []
    monkeypatch.setattr(bench, "to_numpy", lambda array: read.append(array.shape))
    x = np.ones((3, 2, 4), np.float32)
    strict = bench.of_backend("array_api_strict", tmp_path, x)
    assert rb.get_backend("array_api_strict").owns(strict.call())
    assert read == [()]
    bench.of_backend("numpy", tmp_path, x).call()
    assert read == [()]


def test_a_batch_repeats_its_first_sequences(tmp_path: Path) -> None:
    bench.write_problem(tmp_path, [3, 10, 4, 5], 1, "float32")
    with np.load(tmp_path / bench.PROBLEM) as problem:
        for name in ("x", "value", "error"):
            assert problem[name].shape[1] == 10
            assert (problem[name][:, 8:] == problem[name][:, :2]).all()
        assert not (problem["x"][:, 0] == problem["x"][:, 1]).any()


def test_the_parser_needs_nothing_that_the_command_needs() -> None:
    code = "import sys, rnn_backends.cli.parser as _; print([m for m in sys.modules if 'kernels' in m or 'bench' in m])"
    outside = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.check_output([sys.executable, "-P", "-c", code], text=True, env=outside) == "[]\n"
