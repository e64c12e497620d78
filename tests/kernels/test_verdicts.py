"""What the verdict on a kernel depends on, and where it is kept; needs --kernels."""

import json
import sys
from pathlib import Path
from typing import Any

import device_standin
import ml_dtypes  # noqa: F401  # gives NumPy bfloat16
import pytest
import standin
from gpu_walks import module
from kernel_checks import Plant, another_process, everything, selfcheck, trusted

from rnn_backends.backends.cuda_kernels import sources, verdicts
from rnn_backends.backends.cuda_kernels.plan import REGIMES
from rnn_backends.errors import KernelWarning

pytestmark = pytest.mark.usefixtures("none_checked")


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
