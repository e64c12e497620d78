"""CuPy is installed, but there is no GPU: what is said then, and that nothing falls back to the CPU."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.backends import registry
from rnn_backends.backends.selection import parse

cupy = pytest.importorskip("cupy")


def reason() -> str | None:
    """Return CUDA's own reason for there being no GPU; None if there is one."""
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # noqa: BLE001  # CUDA's, of whatever type
        return str(error)
    return None if count else "cudaErrorNoDevice"


if reason() is None:
    pytest.skip("there is a GPU", allow_module_level=True)


@pytest.fixture(autouse=True)
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RNN_BACKEND", raising=False)
    monkeypatch.setattr(registry, "_backends", dict(registry._backends))


def count_devices(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: count)


def use(name: str) -> None:
    with rb.use_backend(name):
        pytest.fail("the block was entered")


def by_variable(name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNN_BACKEND", name)
        rb.RNN.init(3, 4)


def of_numpy_arrays(name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNN_BACKEND", name)
        rb.RNN([rb.Cell(np.zeros((4, 3), np.float32), np.zeros((4, 4), np.float32))])


WAYS: dict[str, tuple[str, Callable[[str], object]]] = {
    "get_backend": ("argument backend=", rb.get_backend),
    "init": ("argument backend=", lambda name: rb.RNN.init(3, 4, backend=name)),
    "to": ("argument backend=", lambda name: rb.RNN.init(3, 4, backend="numpy").to(name)),
    "use_backend": ("use_backend()", use),
    "variable": ("environment variable RNN_BACKEND", by_variable),
    "variable, parameters given": ("environment variable RNN_BACKEND", of_numpy_arrays),
}


@pytest.mark.parametrize("name", ["cupy", "cupy:0", "cupy:cuda:1"])
@pytest.mark.parametrize(("source", "choose"), WAYS.values(), ids=WAYS)
def test_the_message(source: str, choose: Callable[[str], object], name: str) -> None:
    wanted = (
        f"the backend 'cupy' (from {source}) is installed (cupy {cupy.__version__}) but cannot run: {reason()}. "
        "No usable NVIDIA GPU or driver was found. Nothing was run on the CPU instead; choose backend='numpy' for that."
    )
    for _ in range(2):  # the first failure changes nothing for the second
        with pytest.raises(rb.BackendUnavailableError) as caught:
            choose(name)
        assert type(caught.value) is rb.BackendUnavailableError
        assert str(caught.value) == wanted
    assert isinstance(caught.value, RuntimeError)


def test_the_reason_is_cudas() -> None:
    with pytest.raises(rb.BackendUnavailableError, match=r"but cannot run: cudaError\w+: "):
        rb.get_backend("cupy")


def test_cuda_counting_no_devices_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    count_devices(monkeypatch, 0)
    with pytest.raises(
        rb.BackendUnavailableError, match=r"but cannot run: cudaErrorNoDevice: CUDA counts 0 devices\. No usable"
    ):
        rb.get_backend("cupy")


@pytest.mark.parametrize("error", [RuntimeError, ImportError, OSError])
def test_a_library_of_cuda_that_does_not_load(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        msg = "CuPy failed to load libcudart.so.13"
        raise error(msg)

    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", fail)
    with pytest.raises(rb.BackendUnavailableError, match=r"cannot run: CuPy failed to load libcudart\.so\.13\. "):
        rb.get_backend("cupy")


def test_it_is_listed_and_disturbs_no_other() -> None:
    assert rb.list_backends()["cupy"] == "built in"
    with pytest.raises(rb.BackendUnavailableError):
        rb.get_backend("cupy")
    assert rb.list_backends()["cupy"] == "built in"
    assert "cupy" not in {backend.name for backend in registry.loaded_backends()}
    assert rb.RNN.init(3, 4).backend.name == "numpy"
    output, _ = rb.RNN.init(3, 4)([[1.0, 2.0, 3.0]])
    assert type(output) is np.ndarray


def test_a_gpu_that_appears_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(rb.BackendUnavailableError):
        rb.get_backend("cupy")
    count_devices(monkeypatch, 1)
    assert rb.get_backend("cupy").name == "cupy"


def test_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as it can be looked at without a GPU; that all functions needed are there, the record checks."""
    count_devices(monkeypatch, 2)
    backend = rb.get_backend("cupy")
    assert backend is rb.get_backend("cupy:1")
    assert backend.device_names() == ("cuda:0", "cuda:1")
    for name, device in {"cupy": "cuda:0", "cupy:1": "cuda:1", "cupy:cuda": "cuda:0", "cupy:cuda:1": "cuda:1"}.items():
        assert parse(name, "a test").device == device
    assert backend.device("cuda:1") == cupy.cuda.Device(1)
    assert backend.device("cuda:1") != cupy.cuda.Device(0)
    brain = {"bfloat16"} if int(cupy.__version__.partition(".")[0]) >= 14 else set()
    assert set(backend.dtypes()) == {"float16", "float32", "float64", *brain}
    assert all(backend.dtype(name) == np.dtype(name) for name in backend.dtypes())
    device = backend.device("cuda:0")
    assert backend.on(device) is device  # with cupy.cuda.Device(0): arrays are made there
    assert not any(backend.owns(array) for array in (np.zeros(3), [1.0], None, 1.0, cupy))
    assert backend.recurrence is importlib.import_module("rnn_backends.backends.cuda_kernels.launch").recurrence
    with pytest.raises(rb.DeviceError, match="the backend 'cupy' has no device '2'; it has cuda:0, cuda:1"):
        rb.get_backend("cupy:2")


@pytest.mark.parametrize(("missing", "value"), [("ml_dtypes", None), ("cupy.__version__", "13.6.0")])
def test_no_bfloat16_without_ml_dtypes_and_cupy_14(missing: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    count_devices(monkeypatch, 1)
    if value is None:
        monkeypatch.setitem(sys.modules, missing, None)
    else:
        monkeypatch.setattr(missing, value)
    with pytest.raises(rb.DTypeError, match="`dtype` 'bfloat16' is not on the backend 'cupy'"):
        rb.get_backend("cupy").dtype("bfloat16")


def test_what_launches_the_kernels_finds_what_it_calls() -> None:
    """CuPy's own, where the tests of the kernels have a stand-in."""
    from rnn_backends.backends import cuda_kernels
    from rnn_backends.backends.cuda_kernels import device

    texts = [file.read_text(encoding="utf-8") for file in Path(cuda_kernels.__path__[0]).glob("*.py")]
    names = {name for text in texts for name in re.findall(r"\bcupy((?:\.\w+)+)", text)}
    assert len(names) > 20
    for name in names:
        assert attrgetter(name[1:])(cupy) is not None
    kernel = cupy.RawKernel("", "walk_grid", ("-std=c++17",))
    assert (kernel.name, kernel.options) == ("walk_grid", ("-std=c++17",))
    assert {"kernel", "max_dynamic_shared_size_bytes", "local_size_bytes"} <= set(dir(cupy.RawKernel))
    attributes = inspect.getsource(device.properties)
    used = re.findall(r'of\["(\w+)"\]', attributes)
    assert len(used) == 5
    assert all(hasattr(cupy.cuda.runtime, f"cudaDevAttr{name}") for name in used)
    assert {"attributes", "compute_capability", "id", "synchronize"} <= set(dir(cupy.cuda.Device))
    assert {"is_capturing", "synchronize", "begin_capture", "end_capture"} <= set(dir(cupy.cuda.Stream))
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert isinstance(cupy.cuda.function.CPointer(4096), cupy.cuda.function.CPointer)
    assert {"astype", "data", "device", "fill", "reshape", "view"} <= set(dir(cupy.ndarray))


@pytest.mark.parametrize("form", ["coo", "csc", "csr", "dia"])
def test_a_matrix_of_cupyx_is_taken_by_its_entries(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its own classes, as far as they need no GPU: what `Cell` asks for, of entries that NumPy holds."""
    sparse = importlib.import_module("cupyx.scipy.sparse")
    kind = getattr(sparse, f"{form}_matrix")

    def forbidden(*_: object, **__: object) -> None:
        pytest.fail("it would go to the host, or be made dense")

    rows = object.__new__(sparse.csr_matrix)
    rows.data, rows.indices, rows.indptr, rows._shape = np.ones(3), np.array([1, 0, 2]), np.array([0, 1, 1, 3]), (3, 3)
    given = object.__new__(kind)
    given.data, given._shape = rows.data, rows.shape
    for name in ("get", "toarray", "todense", "asformat"):
        monkeypatch.setattr(sparse.csr_matrix, name, forbidden)
        monkeypatch.setattr(kind, name, forbidden)
    assert callable(kind.tocsr)
    if form == "csr":
        given = rows
        assert rows.tocsr() is rows
    else:
        monkeypatch.setattr(kind, "tocsr", lambda _: rows)
    matrix: Any = rb.Cell(np.ones((3, 1)), given).weight_hh
    assert type(matrix) is rb.Sparse
    assert matrix.product(np.array([[1.0, 10.0, 100.0]])).tolist() == [[10.0, 0.0, 101.0]]


def test_what_multiplies_matrices_finds_what_it_calls() -> None:
    """In the file of CuPy's, for without a library of NVIDIA's it cannot be imported."""
    spec = find_spec("cupy_backends.cuda.libs.cublas")
    assert spec is not None
    assert spec.origin is not None
    held = Path(spec.origin).read_bytes()
    names = (
        "gemmEx",
        "CUBLASError",
        "CUBLAS_GEMM_DEFAULT",
        *(f"CUBLAS_COMPUTE_{of}" for of in ("32F", "32F_FAST_TF32", "64F")),
    )
    assert [name for name in names if name.encode() not in held] == []


def test_what_times_a_gpu_finds_what_it_calls() -> None:
    """Likewise, of the harness in tests/benchmarks."""
    assert {"record", "synchronize", "done"} <= set(dir(cupy.cuda.Event))
    assert {"synchronize", "__enter__"} <= set(dir(cupy.cuda.Device))
    assert all(callable(getattr(cupy.cuda, name)) for name in ("get_elapsed_time", "get_current_stream"))
    assert all(callable(getattr(cupy.cuda.runtime, name)) for name in ("driverGetVersion", "getDeviceProperties"))
    assert all(callable(getattr(cupy, name)) for name in ("asarray", "copyto", "ones", "zeros"))
    assert cupy.cuda.Stream.null.ptr == 0  # torch's default stream


def test_uploading_happens_on_the_device_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    count_devices(monkeypatch, 2)
    calls: list[Any] = []

    class Device:
        def __init__(self, index: int) -> None:
            self.index = index

        def __enter__(self) -> None:
            calls.append(("enter", self.index))

        def __exit__(self, *_: object) -> None:
            calls.append(("exit", self.index))

    def asarray(host: Any, dtype: Any, order: str) -> str:
        assert order == "C"  # as the kernels want it, of weights that may not lie so here
        calls.append((host.dtype.name, np.dtype(dtype).name))
        return "uploaded"

    monkeypatch.setattr(cupy.cuda, "Device", Device)
    monkeypatch.setattr(cupy, "asarray", asarray)
    assert rb.get_backend("cupy").from_host(np.zeros(3), "float32", "cuda:1") == "uploaded"
    assert calls == [("enter", 1), ("float32", "float32"), ("exit", 1)]


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_does_not_import_cupy() -> None:
    loaded = run_python(
        """
        import sys
        import rnn_backends as rb
        rb.list_backends()
        rb.RNN.init(3, 4, backend="numpy")([[1.0, 2.0, 3.0]])
        print(*sys.modules)
        """,
        RNN_BACKEND="cupy",
    ).split()
    assert "rnn_backends" in loaded
    assert not [name for name in loaded if name.partition(".")[0] in {"cupy", "cupy_backends", "cupyx"}]


def test_with_no_device_visible() -> None:
    """In a process of its own, for CUDA reads the variable once."""
    message = run_python(
        """
        import rnn_backends as rb
        for _ in range(2):
            try:
                rb.RNN.init(3, 4)
            except rb.BackendUnavailableError as error:
                print(error)
        """,
        RNN_BACKEND="cupy",
        CUDA_VISIBLE_DEVICES="",
    ).splitlines()
    assert len(message) == 2
    assert message[0] == message[1]
    assert message[0].startswith("the backend 'cupy' (from environment variable RNN_BACKEND) is installed (cupy ")
    assert "but cannot run: cudaError" in message[0]
    assert message[0].endswith("Nothing was run on the CPU instead; choose backend='numpy' for that.")
