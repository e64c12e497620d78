"""What the project is checked with: `nox` runs all of it but `bench`, `fuzz` and `gpu`; `nox -l` lists it."""

import os
import shutil

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_external_run = True
nox.options.sessions = ["lint", "typing", "tests", "parity", "mutants", "docs"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
TORCH = "torch==2.13.0"
ONNX = ("onnx>=1.21", "onnxruntime")
ONNX_TESTS = ("onnx_format", "onnx_hostile", "onnx_peers", "convert", "coming_from")
COMPUTING = [
    f"tests/test_{name}.py" for name in ("backends", "conformance", "forward", "generate", "masks", "model", "pieces")
]
"""The tests in which a backend makes a difference."""
NVRTC = ("nvidia-cuda-nvrtc>=13", "nvidia-cuda-nvrtc-cu12==12.9.*")  # the second for sm_70
KERNEL_TESTS = tuple(
    f"tests/test_{name}.py" for name in ("bench_gpu", "shim", "kernels", "kernel_compile", "kernel_plans")
)
ALL_BACKENDS = ("numpy", "numba", "array_api_strict", "array_api_strict:device1", "torch", "jax")


def group(name: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PYPROJECT, name)


def backends(*names: str) -> list[str]:
    return [part for name in names for part in ("--backend", name)]


def peers(*names: str) -> list[str]:
    return [part for name in names for part in ("--peer", name)]


@nox.session
@nox.parametrize(
    ("python", "kind"),
    [
        nox.param("3.11", "numpy", id="3.11-numpy"),
        nox.param("3.11", "numpy-floor", id="3.11-numpy-floor"),
        nox.param("3.11", "torch", id="3.11-torch"),
        nox.param("3.11", "onnx", id="3.11-onnx"),
        nox.param("3.11", "flax-keras", id="3.11-flax-keras"),
        nox.param("3.12", "numba", id="3.12-numba"),
        nox.param("3.12", "cupy-without-gpu", id="3.12-cupy-without-gpu"),
        nox.param("3.13", "numpy", id="3.13-numpy"),
        nox.param("3.13", "jax", id="3.13-jax"),
    ],
)
def tests(session: nox.Session, kind: str) -> None:
    """Run the tests; `numpy` and `numpy-floor` test array-api-strict too, on two of its devices; `onnx` ONNX alone.

    `cupy-without-gpu` runs the GPU kernels in the shim, for which it needs g++, and compiles them.
    """
    packages = {
        "numpy-floor": ["numpy==2.0.*"],
        "torch": [TORCH],
        "jax": ["jax"],
        "onnx": [TORCH, "onnxscript", *ONNX],
        "flax-keras": ["flax", "keras>=3.12", "jax"],
        "numba": ["numba"],
        "cupy-without-gpu": ["cupy-cuda13x", *NVRTC],
    }
    session.install(*packages.get(kind, []), *group("test"), ".")
    if kind == "cupy-without-gpu":
        chosen = [
            "tests/backends/test_cupy_without_gpu.py",
            *KERNEL_TESTS,
            "--kernels",
            *peers("nvidia.cu13", "nvidia.cuda_nvrtc"),
        ]
        session.run("pytest", *chosen, *session.posargs, env={"CUDA_VISIBLE_DEVICES": ""})
        return
    if kind == "onnx":
        chosen = [*backends("numpy", "array_api_strict", "torch"), *peers("onnx", "onnxruntime", "torch", "onnxscript")]
        session.run("pytest", *chosen, *(f"tests/test_{name}.py" for name in ONNX_TESTS), *session.posargs)
        return
    if kind == "flax-keras":
        files = [f"tests/test_{name}.py" for name in ("flax_format", "keras_format", "coming_from")]
        environment = {"KERAS_BACKEND": "jax"}
        session.run("pytest", *files, *peers("flax", "keras"), *session.posargs, env=environment)
        return
    chosen = {
        "torch": backends("torch"),
        "jax": [*backends("jax"), *COMPUTING],
        "numba": backends("numpy", "numba"),
    }.get(kind, [])
    session.run("pytest", *chosen, *session.posargs, env={"JAX_ENABLE_X64": "1"})


@nox.session(python="3.11")
def parity(session: nox.Session) -> None:
    """Measure every backend against the float64 reference and write docs/parity.md."""
    session.install(TORCH, "jax", "numba", "array-api-strict", ".")
    session.run("python", "tests/parity.py", *ALL_BACKENDS, env={"JAX_ENABLE_X64": "1"})


@nox.session(python="3.11")
def mutants(session: nox.Session) -> None:
    """Plant faults; each must be caught; `-- numba:` plants those whose names begin so."""
    session.install("numba", "onnx>=1.21", *group("test"), ".")
    session.run("python", "tests/mutants.py", *session.posargs)


@nox.session(python="3.11")
def fuzz(session: nox.Session) -> None:
    """Load a million damaged and hostile files, or as many as are asked for: nox -s fuzz -- COUNT SEED."""
    session.install(*group("test"), ".")
    session.run("python", "tests/fuzz.py", *(session.posargs or ["1000000"]))


@nox.session(python="3.11")
def lint(session: nox.Session) -> None:
    """Check the style."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(python="3.11")
def typing(session: nox.Session) -> None:
    """Check the types."""
    session.install(*group("typing"), *group("test"), ".")
    session.run("mypy")


@nox.session(python="3.11")
def docs(session: nox.Session) -> None:
    """Run what README.md shows, and the examples, as a user would who has only what is installed here."""
    session.install(*group("test"), ".")
    session.run("pytest", "tests/documentation.py", *session.posargs)


@nox.session(python="3.11")
def bench(session: nox.Session) -> None:
    """Measure against other libraries on a quiet CPU and write docs/benchmarks; `-- --quick` only tries it."""
    session.install(TORCH, *group("bench"), ".")
    session.run("python", "tests/benchmarks/cpu.py", *session.posargs)


@nox.session(python=False)
def gpu(session: nox.Session) -> None:
    """Run the tests, measure parity and speed on a GPU, in the environment that nox runs in; fails without one."""
    if shutil.which("nvidia-smi") is None:
        session.error("there is no NVIDIA GPU here")
    environment = {**os.environ, "CUPY_TF32": "0"}
    pytest = ("python", "-m", "pytest", *backends("cupy"))
    session.run(*pytest, *session.posargs, env=environment, external=True)
    for kernel in ("grid", "sweep", "step", "off"):  # not every GPU has clusters
        forced = {**environment, "RNN_CUPY_KERNEL": kernel}
        session.run(*pytest, "tests/backends/test_conformance.py", env=forced, external=True)
    for tool in ("memcheck", "racecheck"):
        sanitizer = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "1")
        session.run(*sanitizer, *pytest, "tests/kernels/test_gpu.py", "-k", "feature", env=environment, external=True)
    session.run("python", "tests/parity.py", "--output", "docs/parity-gpu.md", "cupy", env=environment, external=True)
    session.run("python", "tests/benchmarks/gpu.py", env=environment, external=True)
