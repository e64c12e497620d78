"""The blocks of docs/gpu.md, run on the stand-in for CuPy: `pytest --kernels`."""

import sys
from collections.abc import Iterator
from types import ModuleType
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


def of_torch(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put in torch's place what makes NumPy arrays, and let both exchange arrays without a copy."""

    class Torch(ModuleType):
        ones = staticmethod(lambda shape, device: np.ones(shape, np.float32))
        from_dlpack = staticmethod(lambda array: array.host)

    monkeypatch.setitem(sys.modules, "torch", Torch("torch"))
    monkeypatch.setattr(cupy, "from_dlpack", standin.Array, raising=False)


def test_the_blocks_of_the_page(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    of_torch(cupy, monkeypatch)
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
