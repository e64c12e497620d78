"""The blocks of docs/gpu.md and docs/how_to/gpu_pipelines.md, run on the stand-in for CuPy: `pytest --kernels`."""

import re
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import graph_standin
import numpy as np
import pytest
import recipes
import standin

import rnn_backends as rb


@pytest.fixture(autouse=True)
def cupy(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    if not request.config.getoption("--kernels"):
        pytest.skip("the kernels are run with --kernels")
    with standin.installed() as module, graph_standin.installed(module):
        standin.RawKernel.seed = 1
        yield module


class Tensor:
    """An array of torch's or of Numba's, of which it is on the device."""

    def __init__(self, host: Any) -> None:
        self.host = host

    def cpu(self) -> "Tensor":
        return self

    def numpy(self) -> Any:
        return self.host

    def copy_to_host(self) -> Any:
        return self.host


def of_others(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put in the place of torch and Numba what makes such arrays, and let CuPy exchange them without a copy."""
    torch, numba = ModuleType("torch"), ModuleType("numba")
    monkeypatch.setattr(torch, "ones", lambda shape, device: Tensor(np.ones(shape, np.float32)), raising=False)
    monkeypatch.setattr(torch, "from_dlpack", lambda array: Tensor(array.host), raising=False)
    cuda = SimpleNamespace(to_device=Tensor, as_cuda_array=lambda array: Tensor(array.host))
    monkeypatch.setattr(numba, "cuda", cuda, raising=False)
    for module in (torch, numba):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    taken = cupy.asarray
    monkeypatch.setattr(cupy, "from_dlpack", lambda array: standin.Array(array.host), raising=False)
    monkeypatch.setattr(
        cupy,
        "asarray",
        lambda array, *a, **o: standin.Array(array.host) if type(array) is Tensor else taken(array, *a, **o),
        raising=False,
    )


def test_the_blocks_of_the_page(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    of_others(cupy, monkeypatch)
    names = recipes.run()
    assert names["graph"].launches


@pytest.mark.parametrize("regime", ["block", "grid", "sweep"])
@pytest.mark.parametrize("kind", ["ids", "features"])
def test_what_can_be_captured(regime: str, kind: str, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page says: without a product of matrices."""
    monkeypatch.setenv("RNN_CUPY_KERNEL", regime)
    rnn, stream = rb.RNN.init(8, 12, backend="cupy"), cupy.cuda.Stream(non_blocking=True)
    x: Any = np.random.default_rng(0).integers(0, 8, (5, 3)).astype(np.int32)
    if kind == "features":
        x = np.eye(8, dtype=np.float32)[x]
    given = cupy.asarray(np.zeros_like(x))
    with stream, cupy.cuda.using_allocator(cupy.cuda.MemoryPool().malloc):
        rnn(given)
        stream.begin_capture()
        if kind == "features" and regime != "block":
            with pytest.raises(rb.BackendUnavailableError, match="a product of matrices, which CuPy refuses"):
                rnn(given)
            return
        output, h_n = rnn(given)
        graph = stream.end_capture()
        given[...] = cupy.asarray(x)
        graph.launch(stream)
    wanted = rb.RNN.init(8, 12)(x)
    for found, right in zip((output, h_n), wanted, strict=True):
        np.testing.assert_allclose(found.get(), right, atol=1e-6)


def test_products_alone_are_not_captured(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNN_CUPY_KERNEL", "step")
    rnn, stream = rb.RNN.init(8, 12, backend="cupy"), cupy.cuda.Stream(non_blocking=True)
    with stream, cupy.cuda.using_allocator(cupy.cuda.MemoryPool().malloc):
        stream.begin_capture()
        with pytest.raises(rb.BackendUnavailableError, match="Capture a call of token ids"):
            rnn(cupy.asarray(np.zeros((5, 3), np.int32)))


def test_the_blocks_of_the_page_of_pipelines(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    of_others(cupy, monkeypatch)
    monkeypatch.chdir(recipes.PAGE.parents[1])
    page = recipes.PAGE.parent / "how_to" / "gpu_pipelines.md"
    blocks = re.findall(r"```python\n(# needs a GPU\n.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, Any] = {"np": np}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)
    wanted = rb.load("examples/deploy/forecast.safetensors").logits(np.ones((32, 24, 5), np.float32))
    np.testing.assert_allclose(names["host"], wanted.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(names["back"].numpy(), wanted, rtol=1e-5)
    np.testing.assert_allclose(names["z"].copy_to_host(), wanted, rtol=1e-5)
    np.testing.assert_allclose(rb.to_numpy(names["total"]), wanted.sum(), rtol=1e-5)
