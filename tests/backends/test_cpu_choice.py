"""The choice of a kernel of the CPU, and what is kept of a cell."""

import gc
import os
import platform
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cpu_walks import COMPILED, EACH_DTYPE, drawn

import rnn_backends as rb
from rnn_backends.backends import numpy as numpy_backend
from rnn_backends.backends.cpu_kernels import choice

built = pytest.mark.skipif(not COMPILED, reason="no kernel was built")

# The choice.


@pytest.fixture(autouse=True)
def no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(choice.VARIABLE, raising=False)


@pytest.mark.skipif("CI" not in os.environ, reason="a compiler may be absent")
def test_the_extension_is_built() -> None:
    assert choice.state() == COMPILED[0]


@pytest.mark.skipif(
    not Path("/proc/cpuinfo").exists() or platform.machine() != "x86_64", reason="needs Linux on x86-64"
)
@built
def test_the_kernel_is_the_best_of_the_processor() -> None:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    flags = next(set(line.split()) for line in lines if line.startswith("flags"))
    needed = {"avx512": {"avx512f", "avx512dq", "avx2", "fma"}, "avx2": {"avx2", "fma"}, "plain": set()}
    best = [name for name, names in needed.items() if names <= flags]
    assert (choice.chosen(), choice.kernels()) == (best[0], tuple(best))


@built
def test_a_kernel_is_named_by_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (choice.chosen(), choice.state()) == (COMPILED[0], COMPILED[0])
    for name in COMPILED:
        monkeypatch.setenv(choice.VARIABLE, name)
        assert (choice.chosen(), choice.state()) == (name, name)
    monkeypatch.setenv(choice.VARIABLE, "off")
    assert (choice.chosen(), choice.state()) == (None, "off, by RNN_CPU_KERNEL")
    monkeypatch.setenv(choice.VARIABLE, "")
    assert choice.chosen() == COMPILED[0]


@pytest.mark.parametrize(
    ("module", "reason"), [(None, "not built"), (SimpleNamespace(RUNS=()), "no kernel for this processor")]
)
def test_without_a_kernel(module: Any, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_module", module)
    assert (choice.kernels(), choice.chosen(), choice.state()) == ((), None, reason)
    walk = drawn("float32", (3, 2, 4, 5))
    assert numpy_backend.prepared(walk.layer.cells[0][0], np.float32) is None
    walk.check(choice.OFF)
    monkeypatch.setenv(choice.VARIABLE, "avx2")
    for ask in (choice.chosen, choice.state):
        with pytest.raises(rb.BackendUnavailableError, match=f"this installation has none: {reason}; unset it, or set"):
            ask()


BROKEN = """
import sys
class Broken:
    def find_spec(name, *_):
        if name.endswith("cpu_kernels.compiled"):
            raise {error}("undefined symbol: _Py_Of_Another")
sys.meta_path.insert(0, Broken)
import numpy as np
import rnn_backends as rb
from rnn_backends.backends.cpu_kernels import choice
assert np.isfinite(rb.RNN.init(3, 4)(np.ones((2, 3), np.float32))[0]).all()
print(choice.state())
"""


@pytest.mark.parametrize("error", ["ImportError", "SystemError"])
def test_an_extension_that_cannot_be_loaded_is_none(error: str) -> None:
    """It was built for another Python or another system library, and NumPy walks."""
    command = [sys.executable, "-c", BROKEN.format(error=error)]
    folder = str(Path(rb.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": folder}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert (done.stdout, done.stderr) == ("cannot be loaded: undefined symbol: _Py_Of_Another\n", "")


@pytest.mark.parametrize("name", ["sse9", "AVX2", "numpy"])
@built
def test_a_kernel_that_is_not_here_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, name)
    message = f"RNN_CPU_KERNEL names the CPU kernel '{name}', and this installation has {', '.join(COMPILED)}; unset it"
    rnn = rb.RNN.init(3, 4)
    with pytest.raises(rb.BackendUnavailableError, match=f"^{message}, or set it to one of those or 'off'.$"):
        rnn(np.ones((2, 3), np.float32))
    monkeypatch.setenv(choice.VARIABLE, "off")
    assert np.isfinite(rnn(np.ones((2, 3), np.float32))[0]).all()


def test_what_no_kernel_knows_is_walked_by_numpy() -> None:
    (cell, _) = drawn("float32", (3, 2, 4, 5)).layer.cells[0]
    assert isinstance(cell, rb.Cell)

    class Other(rb.Cell):
        pass

    half = rb.Cell(cell.weight_ih.astype(np.float16), cell.weight_hh.astype(np.float16))
    for odd in (Other(cell.weight_ih, cell.weight_hh), half, replace(cell, activation=lambda z: z)):
        assert numpy_backend.prepared(odd, odd.weight_hh.dtype) is None
    for name in ("softmax", "log_softmax"):
        assert numpy_backend.prepared(replace(cell, activation=rb.Activation(name)), np.float32) is None
    assert numpy_backend.prepared(cell, np.float64) is None


# What is kept.


@built
@EACH_DTYPE
@pytest.mark.parametrize("name", ["weight_ih", "weight_hh", "bias", "leak"])
def test_weights_that_can_change_are_read_again(dtype: str, name: str) -> None:
    walk = drawn(dtype, (3, 5, 17, 33), leak=np.linspace(0.25, 1, 33).astype(dtype))
    (cell, _) = walk.layer.cells[0]
    for other in {"weight_ih", "weight_hh", "bias", "leak"} - {name}:
        getattr(cell, other).flags.writeable = False
    before = walk.check(COMPILED[0])
    weight = getattr(cell, name)
    weight[...] = 0.5 * weight
    assert not np.array_equal(walk.check(COMPILED[0]), before)
    assert cell not in numpy_backend._prepared


@built
def test_what_is_prepared_of_a_model_lives_as_long_as_it() -> None:
    rnn = rb.RNN.init(3, 4, bidirectional=True)
    first = rnn(np.ones((2, 3), np.float32))[0]
    ((forward, _), (backward, _)) = rnn.layers[0].cells
    assert isinstance(forward, rb.Cell)
    assert isinstance(backward, rb.Cell)
    kept = numpy_backend._prepared[forward]
    assert numpy_backend._prepared[backward] is not kept
    np.testing.assert_array_equal(rnn(np.ones((2, 3), np.float32))[0], first)
    assert numpy_backend._prepared[forward] is kept
    alive = weakref.ref(forward)
    del forward, backward, rnn
    gc.collect()
    assert alive() is None
    alone = object()
    assert sys.getrefcount(kept) == sys.getrefcount(alone)
