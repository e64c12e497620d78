"""What importing the package loads, and when the environment is read."""

import os
import subprocess
import sys
from textwrap import dedent
from types import ModuleType

import pytest
from places import ROOT

import rnn_backends as rb

pytestmark = pytest.mark.usefixtures("fresh_registry")


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


def test_importing_loads_no_array_library_but_numpy_and_reads_no_variable() -> None:
    loaded = run_python(
        """
        import os, sys

        class Watched(dict):
            read = []
            def __getitem__(self, key):
                self.read.append(key)
                return super().__getitem__(key)

        import numpy
        os.environ._data = Watched(os.environ._data)
        before = set(sys.modules)
        import rnn_backends
        print(*sorted(set(sys.modules) - before))
        names = [os.fsdecode(name) for name in Watched.read]
        assert not [name for name in names if "RNN" in name.upper()], names
        """,
        RNN_BACKEND="nonsense",
    ).split()
    packages = {name.partition(".")[0] for name in loaded}
    assert "rnn_backends" in packages
    heavy = {"cupy", "torch", "jax", "jaxlib", "array_api_strict", "safetensors", "scipy", "pytest"}
    assert not packages & heavy
    assert packages <= {"rnn_backends", "array_api_compat", "numpy", *sys.stdlib_module_names}


COLD = """
    import sys
    import inspect, numpy  # which imports it itself, from some version on
    before = set(sys.modules)
    {code}
    print(*(set(sys.modules) - before))
"""
MODEL = str(ROOT / "examples" / "shakespeare" / "shakespeare.safetensors")


@pytest.mark.parametrize(
    ("code", "most"),
    [
        ("import rnn_backends", 71),
        (f"import rnn_backends as rb; rb.load({MODEL!r}).predict('a')", 103),
    ],
)
def test_a_cold_start_imports_little(code: str, most: int) -> None:
    # The number of modules measures the cost of an import better than the clock does.
    loaded = set(run_python(COLD.format(code=code)).split())
    packages = {name.partition(".")[0] for name in loaded}
    assert packages <= {"rnn_backends", "safetensors", *sys.stdlib_module_names}  # of NumPy nothing more
    assert not packages & {"difflib", "hashlib", "secrets", "shutil", "subprocess", "tempfile", "zipfile"}
    assert "importlib.metadata" not in loaded
    assert len(loaded) <= most, sorted(loaded)


def test_a_model_on_numpy_loads_no_other_array_library() -> None:
    loaded = run_python(
        """
        import sys
        import rnn_backends as rb
        rb.RNN.init(3, 4)([[1.0, 2.0, 3.0]])
        rb.list_backends()
        print(*sys.modules)
        """
    ).split()
    assert not {"cupy", "torch", "jax", "jaxlib", "array_api_strict"} & set(loaded)


def test_the_variable_matters_when_a_model_is_made() -> None:
    run_python(
        """
        import os
        import rnn_backends as rb
        try:
            rb.RNN.init(3, 4)
        except rb.UnknownBackendError as error:
            assert "environment variable RNN_BACKEND" in str(error)
        else:
            raise SystemExit("nonsense was accepted")
        os.environ["RNN_BACKEND"] = "array_api_strict:device1"
        assert rb.RNN.init(3, 4).device == "device1"
        """,
        RNN_BACKEND="nonsense",
    )


def test_all_names_are_there_and_in_order() -> None:
    names = rb.__all__
    assert len(set(names)) == len(names)
    assert all(hasattr(rb, name) for name in names)
    public = {
        name for name, value in vars(rb).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public | {"__version__"} == set(names)
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
