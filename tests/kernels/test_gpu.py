"""Tests that only a GPU can pass: `pytest --backend cupy tests/kernels/test_gpu.py`."""

from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import recipes
from pieces import pieces_differ

import rnn_backends as rb
from rnn_backends.backends.cuda_kernels.plan import REGIMES
from rnn_backends.errors import ArgumentError
from rnn_backends.testing import excess, reference
from rnn_backends.testing.cases import Draw, cases
from rnn_backends.testing.conformance import flat


@pytest.fixture(scope="module", autouse=True)
def cupy(request: pytest.FixtureRequest) -> Any:
    if not any(name.startswith("cupy") for name in request.config.getoption("--backend") or ()):
        pytest.skip("needs a GPU and --backend cupy")
    return pytest.importorskip("cupy")


@pytest.fixture(params=[*REGIMES, "off"])
def regime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RNN_CUPY_KERNEL", request.param)
    try:
        rb.RNN.init(3, 96, backend="cupy")(np.zeros((8, 2, 3), np.float32))
    except ArgumentError as error:
        pytest.skip(str(error))
    return str(request.param)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_every_feature(regime: str, dtype: str) -> None:
    """Of every kernel; also what compute-sanitizer looks at."""
    if dtype not in rb.get_backend("cupy").dtypes():
        pytest.skip(f"there is no {dtype} here")
    for feature, case in cases(dtype).items():
        got = rb.RNN(case.layers).to("cupy", dtype)(case.x, case.h_0, lengths=case.lengths, mask=case.mask)
        for actual, wanted in zip(flat(got), flat(reference(*case, dtype=dtype)), strict=True):
            assert excess(rb.to_numpy(actual), wanted) <= 1.0, (regime, feature)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(9, 65, 5, 520), (20, 17, 9, 1024), (5, 200, 7, 264)])
def test_shapes_for_tensor_cores(regime: str, dtype: str, shape: tuple[int, int, int, int]) -> None:
    """Of every kernel that takes them; `grid` multiplies them on tensor cores, where there are such."""
    if dtype not in rb.get_backend("cupy").dtypes():
        pytest.skip(f"there is no {dtype} here")
    lengths = [place % (shape[0] + 1) for place in range(shape[1])]
    case = Draw(dtype, 0).case(shape=shape, sides="fb", h_0=True, lengths=lengths, leak=0.5)
    case.x[lengths[3] // 2, 3, 0] = np.nan
    try:
        got = rb.RNN(case.layers).to("cupy", dtype)(case.x, case.h_0, lengths=case.lengths)
    except ArgumentError as error:
        pytest.skip(str(error))
    for actual, wanted in zip(flat(got), flat(reference(*case, dtype=dtype)), strict=True):
        assert excess(rb.to_numpy(actual), wanted) <= 1.0, regime


def test_a_million_steps(regime: str) -> None:
    if regime in {"sweep", "step", "off"}:
        pytest.skip("these launch a kernel for each step")
    assert pieces_differ(1_000_000, 1000) == 0
    for number in range(20):  # other timings of the blocks
        assert pieces_differ(2000, 100 + number, batch=5, hidden_size=90 + number) == 0


def test_nothing_waits_for_the_device(regime: str, cupy: Any) -> None:
    draw = Draw("float32", 0)
    rnn = rb.RNN(draw.layers("fb", 2, 8, 96)).to("cupy")
    x, lengths = cupy.asarray(draw.normal(16, 3, 8)), cupy.asarray(np.array([16, 0, 7]))
    rnn(x, lengths=lengths)  # compiles
    square, event = cupy.ones((8192, 8192), cupy.float32), cupy.cuda.Event()
    for _ in range(20):
        cupy.matmul(square, square)
    event.record()
    rnn(x, lengths=lengths)
    assert not event.done, f"the call with {regime} returned after the work before it was done"


def test_another_stream(regime: str, cupy: Any) -> None:
    draw = Draw("float32", 0)
    cell, x = draw.cell(8, 96), draw.normal(50, 3, 8)
    rnn, wanted = rb.RNN([cell]).to("cupy"), reference([cell], x, dtype="float32")
    stream, square = cupy.cuda.Stream(non_blocking=True), cupy.ones((4096, 4096), cupy.float32)
    with stream:
        placed = cupy.full(x.shape, np.nan, cupy.float32)
        for _ in range(10):
            cupy.matmul(square, square)
        placed[...] = cupy.asarray(x)
        got = rnn(placed)
    stream.synchronize()
    for actual, of in zip(got, wanted, strict=True):
        assert excess(rb.to_numpy(actual), of) <= 1.0, regime


def test_arrays_of_torch(regime: str, cupy: Any) -> None:
    torch = pytest.importorskip("torch")
    draw = Draw("float32", 0)
    cell, x = draw.cell(7, 96), draw.normal(9, 3, 8)
    foreign = torch.from_numpy(x).cuda()[:, :, 1:]  # which begins within 16 bytes, and has strides
    got, _ = rb.RNN([cell]).to("cupy")(cupy.from_dlpack(foreign))
    assert excess(rb.to_numpy(got), reference([cell], x[:, :, 1:], dtype="float32")[0]) <= 1.0, regime


def has_numba() -> bool:
    """Return whether Numba is there, and takes this NumPy."""
    try:
        from numba import cuda  # type: ignore[import-not-found]
    except ImportError:
        return False
    return bool(cuda.is_available())


def test_the_blocks_of_the_page_torch_and_streams() -> None:
    torch = pytest.importorskip("torch")
    names = recipes.run(has_numba=has_numba())
    assert isinstance(names["y"], torch.Tensor)


def test_a_graph_writes_to_no_memory_of_others(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the page says to capture it; named as the tests of another stream are."""
    monkeypatch.delenv("RNN_CUPY_KERNEL", raising=False)
    names = recipes.run(has_numba=has_numba())
    with names["stream"]:
        others = [cupy.ones(size, cupy.float32) for size in (4 * 32, 10 * 4 * 32, 2**20) for _ in range(8)]
        for _ in range(3):
            names["graph"].launch(names["stream"])
        assert all(bool((other == 1).all()) for other in others)


def test_arrays_of_numba_another_stream(regime: str, cupy: Any) -> None:
    try:
        cuda: Any = import_module("numba.cuda")
    except ImportError as reason:  # which it raises itself beside a NumPy that is too new
        pytest.skip(str(reason))
    draw = Draw("float32", 0)
    cell, x = draw.cell(8, 96), draw.normal(9, 3, 8)
    got, _ = rb.RNN([cell]).to("cupy")(cupy.asarray(cuda.to_device(x)))
    assert excess(cuda.as_cuda_array(got).copy_to_host(), reference([cell], x, dtype="float32")[0]) <= 1.0, regime


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_the_second_check_of_a_kernel_is_short(regime: str, dtype: str) -> None:
    """Beside what CuPy compiles; it takes time on a clock, so that nothing may run beside it."""
    if regime == "off" or dtype not in rb.get_backend("cupy").dtypes():
        pytest.skip("there is nothing to check")
    from rnn_backends.backends.cuda_kernels import selfcheck

    found = []
    for _ in range(2):
        begin = perf_counter()
        found.append(selfcheck.fault(regime, rb.get_backend("cupy").dtype(dtype)))
        seconds = perf_counter() - begin
    assert found == [None, None]
    assert seconds < 10  # mostly the reference, on whatever the host is


def test_nothing_is_checked_while_a_stream_is_captured(
    cupy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rnn_backends.backends.cuda_kernels import choices, trust

    monkeypatch.delenv("RNN_CUPY_KERNEL", raising=False)
    monkeypatch.setenv("RNN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(trust, "_verdicts", {})
    choices.choices_of.cache_clear()
    rnn, x = rb.RNN.init(3, 96, seed=0, backend="cupy"), cupy.zeros((8, 2, 3), cupy.float32)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        with pytest.raises(rb.BackendUnavailableError, match="is impossible while a stream is captured"):
            rnn(x)
        stream.end_capture()
        rnn(x)


def test_nothing_is_spilled(regime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from rnn_backends.backends.cuda_kernels import choices, device

    kernels: list[Any] = []
    original = device.compiled

    def compiled(*key: Any) -> Any:
        kernels.append(original(*key))
        return kernels[-1]

    monkeypatch.setattr(choices, "compiled", compiled)
    choices.choices_of.cache_clear()
    for hidden_size in (32, 128, 192, 256):
        for batch in (1, 600):
            rb.RNN.init(4, hidden_size, backend="cupy")(np.zeros((4, batch, 4), np.float32))
    assert all(kernel.local_size_bytes == 0 for kernel in kernels)
    assert kernels or regime == "off"
