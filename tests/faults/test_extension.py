"""Faults in C: the extension is built with them, in a copy."""

import shutil
from pathlib import Path
from sysconfig import get_path

import pytest

from faults.extension import Extension
from faults.tables import Fault
from faults.tiny import Project

MODULE = """
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
long doubled(long);
static PyObject *call(PyObject *module, PyObject *number) { return PyLong_FromLong(doubled(PyLong_AsLong(number))); }
static PyMethodDef methods[] = {{"double", call, METH_O, ""}, {0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "compiled", "", 0, methods};
PyMODINIT_FUNC PyInit_compiled(void) { return PyModuleDef_Init(&definition); }
"""
PYPROJECT = """
[tool.pytest.ini_options]
testpaths = ['tests']
addopts = ['--import-mode=importlib']

[[tool.setuptools.ext-modules]]
name = "tiny.kernels.compiled"
sources = ["tiny/kernels/module.c", "tiny/kernels/double.c"]
extra-compile-args = ["-O3"]
"""
TESTED = """
from tiny.kernels.compiled import double

def test_double():
    assert double(3) == 6
"""
pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or not Path(get_path("include"), "Python.h").exists(),
    reason="needs a C compiler and Python's headers",
)


def fault(right: str, wrong: str, where: str, name: str = "a fault") -> Fault:
    return Fault(name, where, right, wrong, ("test_tiny.py::test_double",), (), "tiny/kernels")


@pytest.fixture
def compiled(project: Project) -> Project:
    project.write("pyproject.toml", PYPROJECT)
    project.write("installed/tiny/kernels/__init__.py", "")
    project.write("tiny/kernels/module.c", MODULE)
    project.write("tiny/kernels/double.c", '#include "times.h"\nlong doubled(long number) { return number * TIMES; }\n')
    project.write("tiny/kernels/times.h", "#define TIMES 2\n")
    project.write("tests/test_tiny.py", TESTED)
    return project


def test_faults_that_are_caught_survive_or_are_no_c(compiled: Project) -> None:
    code, output = compiled.plant(
        fault("TIMES 2", "TIMES 3", "times.h"),
        fault("number * TIMES", "TIMES * number", "double.c", "harmless"),
        fault("number * TIMES", "number TIMES", "double.c", "no C"),
    )
    assert code == 1
    assert "survived: harmless" in output
    assert "not tried: no C" in output
    assert "CompileError" in output
    assert output.endswith("1 of 3 planted faults caught\n")
    assert not [*compiled.at.rglob("*.so")]


def test_only_what_includes_a_changed_header_is_compiled_again(compiled: Project) -> None:
    extension = Extension.of(compiled.at)
    assert extension is not None
    kept = compiled.at / "objects"
    kept.mkdir()
    for times in (2, 2, 3):
        compiled.write("tiny/kernels/times.h", f"// {times}\n#define TIMES {times}\n")
        extension.build(compiled.at, compiled.at / "installed", kept)
    assert len([*kept.iterdir()]) == 3  # one of module.c, two of double.c
