"""Sessions that check the library, in tiers.

nox               lint, types, documentation and the tests on one Python; minutes
nox -t ci         after it: no C compiler, each instruction set, the sdist and the wheel, Dask and xarray, parity, a
                  sample on other Pythons, with the oldest NumPy, with other libraries and of the GPU kernels, and
                  planted faults of what changed
nox -t nightly    all of the tests, on all Pythons, of the kernels, of other libraries and of the planted faults,
                  CuPy 13, fuzzing, writes that are killed, 100 MB of text, other processors, sanitizers, TensorFlow,
                  training
nox -s site       the documentation, in build/site; part of ci
nox -s gpu        on a machine with an NVIDIA GPU
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from fnmatch import fnmatch
from functools import cache
from hashlib import sha256
from itertools import filterfalse
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import NamedTuple
from zipfile import ZipFile

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_external_run = True
nox.options.sessions = ["lint", "typing", "docs", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
TORCH = "torch==2.13.0"
ATHERIS = "atheris==3.1.0"
JAX = {
    "JAX_ENABLE_X64": "1",
    "JAX_COMPILATION_CACHE_DIR": str(Path(".nox", "jax").resolve()),  # sessions share what they compile
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
"""Of a process of several that take all cores: the threads of OpenBLAS wait for each other as long as they compute."""
NVRTC = {"nvidia.cu13": "nvidia-cuda-nvrtc>=13", "nvidia.cuda_nvrtc": "nvidia-cuda-nvrtc-cu12==12.9.*"}
"""The compilers of GPU kernels by their modules; the second is for sm_70, which the first has no more."""
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The Python that nox runs on, which the default tier tests."""
REQUIRED = ("3.11", "3.12", "3.13")
OPTIONAL = ("3.14", "3.14t")
ALL_BACKENDS = ("numpy", "array_api_strict", "array_api_strict:device1", "torch", "jax")
OF_TORCH = (
    *(f"tests/formats/test_torch_{name}.py" for name in ("format", "effective", "modules_live")),
    *(f"tests/formats/test_native_{name}.py" for name in ("contents", "round_trip")),
    "tests/formats/test_checkpoints.py",
    "tests/formats/test_which_line.py",
    "tests/benchmarks/test_gpu_pages.py",
    "tests/benchmarks/test_flashrnn.py",
)
"""The tests outside of the folders below that compare with torch."""
TABLES = ("tests/formats/test_coming_from.py", "tests/formats/test_coming_from_differences.py")
"""The tests of docs/coming_from.md."""
ONCE = "not damaged and not hostile and not bombs"
"""Leaves out, beside a library that they do not need, tests that the default tier runs."""
PARQUET = "pyarrow>=16"
DASK, XARRAY, RESERVOIRPY = "dask[array]>=2025.1", "xarray>=2024.10", "reservoirpy>=0.4"
OF_FAULTS = ("onnx>=1.21", "onnxruntime", PARQUET, NVRTC["nvidia.cu13"], DASK, XARRAY, RESERVOIRPY)
"""What the tests that catch planted faults need."""
SAMPLE = ("--sample", "6", "--hypothesis-profile=sample")
"""Of what a nightly session runs the whole of."""
SHARE = ("--share", "3", "--hypothesis-profile=sample")
"""Of what other sessions run the whole of, here in other circumstances."""
DOCTEST = ("--doctest-modules", "--doctest-ignore-import-errors", "--pyargs")
OF_SCALE = (DASK, "dask[distributed]", XARRAY, RESERVOIRPY, "joblib", "scikit-learn", PARQUET)
PARITY = "tests/backends/test_conformance.py::TestConformance::test_parity"
"""What is measured for docs/parity.md too; JAX, which compiles, is excused from it."""
KERNEL = "rnn_backends/backends/cpu_kernels/compiled*.so"
"""The extension in the wheel."""
MOST_BYTES, MOST_SECONDS = 2_000_000, 90
"""Limits of the extension, and of building the wheel."""
COMPUTING = ("tests/core", "tests/backends", "tests/model")
"""Folders of the tests in which a backend makes a difference."""
OF_NUMPY = (
    *COMPUTING,
    *(f"tests/formats/test_native_{name}.py" for name in ("contents", "record", "round_trip", "sparse")),
    *(f"tests/formats/test_torch_{name}.py" for name in ("dtypes", "format")),
    *(
        f"tests/formats/test_{name}.py"
        for name in ("flax_format", "keras_weights", "rate_networks", "reading", "weights_alone", "writing")
    ),
)
OF_PYTHON = (
    *("tests/core", "tests/backends", "tests/state"),
    *(f"tests/cli/test_{name}.py" for name in ("cli", "completion", "hints", "manners", "mistakes", "signals")),
)


@cache
def is_found(python: str) -> bool:
    """Return whether a Python can be run; a shim of pyenv's may be there for one that is not."""
    name = shutil.which(f"python{python}")
    return name is not None and subprocess.run([name, "-c", ""], capture_output=True, check=False).returncode == 0


OTHERS = [python for python in REQUIRED if python != OWN] + list(filter(is_found, OPTIONAL))
"""The first of them, 3.11 or 3.12, has the oldest NumPy."""


class Wheel(NamedTuple):
    """A wheel, the bytes of the compiled kernel in it (0 where there is none), and the seconds that it was built in."""

    path: str
    kernel: int
    seconds: float


@cache
def built(python: str = sys.executable, *, is_stable: bool = True, compiler: str | None = None) -> Wheel:
    """Build a wheel by a Python, of the stable ABI for all that have a GIL, or else for this one.

    In a copy of the sources: setuptools packs what an earlier build left in theirs.  Sources that were built before are
    not built again.
    """
    folder = Path(".nox", "wheels", f"{'stable' if is_stable else 'own'}-{compiler or 'compiler'}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "note.json"
    unneeded = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "*.so", "tests", "docs", "examples")
    with TemporaryDirectory() as name:  # of its own, as a nox beside this one may build too
        sources = shutil.copytree(".", Path(name, "sources"), ignore=unneeded)
        digest = digest_of(sources, python)
        if note.exists() and (known := json.loads(note.read_text(encoding="utf-8")))["digest"] == digest:
            return Wheel(*known["wheel"])
        for old in (*folder.glob("*.whl"), note):
            old.unlink(missing_ok=True)
        options = ["--config-settings=--build-option=--py-limited-api=cp311"] if is_stable else []
        command = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", *options, "--wheel-dir", str(folder), "."]
        environment = {**os.environ, **({} if compiler is None else {"CC": compiler})}
        begun = monotonic()
        subprocess.run(command, cwd=sources, env=environment, check=True)
        seconds = monotonic() - begun
    (path,) = folder.glob("*.whl")
    kernel = sum(each.file_size for each in ZipFile(path).infolist() if fnmatch(each.filename, KERNEL))
    made = Wheel(str(path), kernel, seconds)
    note.write_text(json.dumps({"digest": digest, "wheel": made}), encoding="utf-8")
    return made


def digest_of(folder: Path, *words: str) -> str:
    """Return a digest of the files of a folder, their names and some words."""
    found = sha256("\0".join(words).encode())
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        found.update(f"\0{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return found.hexdigest()


def wheel(session: nox.Session) -> str:
    """Return the wheel for a session's Python; where it lacks the kernel, whose build may fail, fail in CI."""
    is_free_threaded = str(session.python).endswith("t")
    found = built(str(Path(session.bin, "python")), is_stable=False) if is_free_threaded else built()
    if not found.kernel:
        report = session.error if "CI" in os.environ else session.warn
        report("the wheel has no compiled kernel; `pip wheel --verbose .` shows what its build needs")
    return found.path


def group(name: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PYPROJECT, name)


def backends(*names: str) -> list[str]:
    return [part for name in names for part in ("--backend", name)]


def peers(*names: str) -> list[str]:
    return [part for name in names for part in ("--peer", name)]


def install_only(session: nox.Session, *packages: str) -> None:
    """Install packages; of all their modules Python compiles those that it imports, then."""
    session.install("--no-compile", *packages)


def install(session: nox.Session, *packages: str) -> None:
    """Install packages, those of the tests and the wheel."""
    install_only(session, *packages, *group("test"), wheel(session))


def pytest(session: nox.Session, *words: str, **environment: str) -> None:
    """Run tests on all cores, against the installed wheel."""
    session.run("pytest", "-n", "auto", "--dist", "worksteal", *words, *session.posargs, env=ONE_THREAD | environment)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style and the directions of imports, and that each planted fault has its place."""
    install_only(session, *group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("python", "tests/faults", "--check")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types."""
    install(session, *group("typing"))
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Run the examples of README.md, of the docs and of the docstrings with what a user has installed."""
    install(session)
    session.run("pytest", "tests/documentation.py", *session.posargs)
    unfit = (f"--ignore-glob=*/rnn_backends/{name}" for name in ("dask/*", "xarray.py"))
    session.run("pytest", *DOCTEST, *unfit, "rnn_backends", env={"MPLBACKEND": "Agg"})


@nox.session(python="3.11", tags=["ci"])
def site(session: nox.Session) -> None:
    """Build the site into build/site: every page's cells run, every warning an error, every link followed."""
    install_only(session, *group("site"), *group("test"), wheel(session))
    build, environment = Path("build", "site"), {"PYTHONSAFEPATH": "1"}
    words = ("-W", "--keep-going", "-q", "-E", "-b", "html", "-d", str(Path(".nox", "site", "pages")))
    session.run("sphinx-build", *words, "docs", str(build), env=environment)
    session.run("pytest", "tests/site.py", "tests/test_serve.py", *session.posargs)


@nox.session(python="3.11")
def links(session: nox.Session) -> None:
    """Follow the site's links to other sites; needs the internet."""
    install_only(session, *group("site"), wheel(session))
    words = ("-q", "-D", "nb_execution_mode=off", "-b", "linkcheck")
    session.run("sphinx-build", *words, "docs", str(Path(".nox", "site", "links")))


@nox.session
def tests(session: nox.Session) -> None:
    """Run half of the cases of the tests that need no framework, but for those of tools; `all_tests` runs all."""
    install(session)
    pytest(session, "--sample", "2", *(f"--ignore=tests/{name}" for name in ("cpu_kernels", "faults", "scale")))


def run_on_another(session: nox.Session, *words: str) -> None:
    """Run tests of the package on another Python, on the first of them with the oldest NumPy."""
    for python in filterfalse(is_found, OPTIONAL):
        session.warn(f"Python {python} is not here and is not tested")
    install(session, *(["numpy==2.0.*"] if session.python == OTHERS[0] else []))
    names = (
        "faults",
        "benchmarks",
        "cpu_kernels",
        "kernels",
        "scale",
        "test_reservoirs.py",
        "model/test_networks.py",
        "formats/test_keras_damaged.py",
        "formats/test_native_damaged.py",
        "formats/test_pt_limits.py",
        "formats/test_flax_limits.py",
        "formats/test_big_files.py",
        "cli/test_kills.py",
        "cli/test_many_inputs_killed.py",
    )
    once = [f"--ignore=tests/{name}" for name in names]
    pytest(session, *backends("numpy"), *once, *words)


@nox.session(python=OTHERS, tags=["ci"])
def pythons(session: nox.Session) -> None:
    """Run a third of what depends on NumPy with the oldest, and of what depends on Python on each that is found."""
    run_on_another(session, *SHARE, *(OF_NUMPY if session.python == OTHERS[0] else OF_PYTHON))


@nox.session(python="3.11", tags=["nightly"])
def all_tests(session: nox.Session) -> None:
    """Run the tests that need no framework with all cases of those that are otherwise sampled."""
    install(session)
    pytest(session, "--thorough", *(f"--ignore=tests/{name}" for name in ("cpu_kernels", "faults", "kernels", "scale")))


@nox.session(python=OTHERS, tags=["nightly"])
def all_pythons(session: nox.Session) -> None:
    """Run the tests of the package on other Pythons, one with the oldest NumPy; 3.14 and 3.14t where they are found."""
    run_on_another(session)


@nox.session(python="3.11", tags=["ci"])
def no_compiler(session: nox.Session) -> None:
    """Build the wheel without a C compiler, on purpose, and run what must go on to work without the kernel."""
    found = built(compiler="false")
    if found.kernel:
        session.error("the wheel has a kernel that no compiler can have made")
    install_only(session, *group("test"), found.path)
    report = session.run("rnn-backends", "info", "--json", silent=True)
    if json.loads(str(report))["cpu_kernel"]["state"] != "not built":
        session.error(f"info says that there is a kernel, which no compiler can have made: {report}")
    computing = [f"tests/backends/test_{name}.py" for name in ("numpy_backend", "conformance")]
    pytest(session, *SHARE, *backends("numpy"), *computing, "tests/cli/test_cli.py", f"--deselect={PARITY}")


@nox.session(python="3.11", tags=["ci"])
def instructions(session: nox.Session) -> None:
    """Run a third of what all backends must pass, by each CPU kernel but the best, and by none."""
    install(session)
    shared = ("backends/test_conformance.py", "backends/test_layouts.py", "core/test_forward.py", "core/test_masks.py")
    for name in (*other_kernels(session), "off"):
        pytest(session, *SHARE, *backends("numpy"), *(f"tests/{path}" for path in shared), RNN_CPU_KERNEL=name)
    pytest(session, "tests/cpu_kernels")


@nox.session(python="3.11", tags=["ci"])
def distributions(session: nox.Session) -> None:
    """Build the sdist, which must hold all that git tracks, and audit the wheel that all sessions test."""
    install_only(session, "abi3audit", "build", "setuptools>=77", "setuptools-scm")  # the last finds what git tracks
    folder = Path(session.create_tmp())
    session.run("python", "-m", "build", "--sdist", "--no-isolation", "--outdir", str(folder), silent=True)
    with tarfile.open(max(folder.glob("*.tar.gz"))) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    if left_out := {*tracked} - held:
        session.error(f"the sdist lacks {', '.join(sorted(left_out))}")
    session.run("abi3audit", "--strict", "--summary", wheel(session))
    if built().kernel > MOST_BYTES or built().seconds > MOST_SECONDS:
        session.error(f"{built()} has or took more than {MOST_BYTES} bytes or {MOST_SECONDS} seconds")


OF_LIBRARIES = {
    "torch-onnx": [TORCH, "onnx>=1.21", "onnxruntime"],
    "jax-flax-keras": ["jax", "flax", "keras>=3.12"],
}
TESTS_OF_LIBRARIES = {
    "torch-onnx": [
        [*backends("torch"), *peers("torch"), "--only", "torch", *COMPUTING],
        [*backends("torch"), *peers("torch", "onnx"), *OF_TORCH, *TABLES],
        [*backends("numpy", "array_api_strict", "torch"), *peers("onnx", "onnxruntime"),
         "tests/formats", "tests/cli", "tests/benchmarks", "-k", "onnx or convert or compute_the_same"],
    ],
    "jax-flax-keras": [
        [*backends("jax"), "--only", "jax", "tests/core", "tests/backends", f"--deselect={PARITY}"],
        [*backends("numpy"), *peers("flax", "keras"), "tests/formats", "-k", f"(flax or keras) and {ONCE}"],
    ],
}  # fmt: skip
of_each_library = nox.parametrize("library", [nox.param(name, id=name) for name in OF_LIBRARIES])


def run_with(session: nox.Session, library: str, *words: str) -> None:
    """Run the tests that a library matters to: its backend, its files, its own results as the truth."""
    install(session, *OF_LIBRARIES[library])
    for chosen in TESTS_OF_LIBRARIES[library]:
        pytest(session, *words, *chosen, **JAX, KERAS_BACKEND="jax")
    if library == "jax-flax-keras":  # JAX as it comes
        session.run("pytest", *backends("jax"), "tests/backends/test_mismatches.py", "-k", "without_x64")


@nox.session(python="3.11", tags=["ci"])
@of_each_library
def libraries(session: nox.Session, library: str) -> None:
    """Run a sample of the tests that a library matters to, and measure the parity of backends."""
    run_with(session, library, *SAMPLE)
    if library == "torch-onnx":
        place = ("--output", str(Path(session.create_tmp()) / "parity.md"))
        measure_parity(session, *ALL_BACKENDS[:-1], *place)  # without JAX, which compiles for minutes


@nox.session(python="3.11", tags=["nightly"])
@of_each_library
def all_libraries(session: nox.Session, library: str) -> None:
    """Run all tests that a library matters to; JAX compiles each shape anew."""
    run_with(session, library, "--thorough")
    if library != "torch-onnx":
        pytest(session, *backends("jax"), "--only", "jax", "--thorough", "tests/model", **JAX)


def run_at_scale(session: nox.Session, *words: str) -> None:
    install(session, *OF_SCALE)
    packages = ("dask", "distributed", "xarray", "joblib", "reservoirpy", "sklearn", "pyarrow")
    pytest(session, *words, *peers(*packages), "tests/scale")
    session.run("pytest", *DOCTEST, "rnn_backends.dask", "rnn_backends.xarray")


@nox.session(python="3.11", tags=["ci"])
def scale(session: nox.Session) -> None:
    """Run a sample of the tests over the arrays of Dask and xarray, of tables of Parquet and of other schedulers."""
    run_at_scale(session, *SAMPLE)


@nox.session(python="3.11", tags=["nightly"])
def all_scale(session: nox.Session) -> None:
    """Run all tests over the arrays of Dask and xarray, of tables of Parquet and of other schedulers."""
    run_at_scale(session, "--thorough")


def other_kernels(session: nox.Session) -> list[str]:
    """Return the CPU kernels that this processor runs, but for the best."""
    code = "from rnn_backends.backends.cpu_kernels.choice import kernels; print(*kernels()[1:])"
    return str(session.run("python", "-P", "-c", code, silent=True)).split()


def measure_parity(session: nox.Session, *words: str) -> None:
    session.run("python", "tests/parity.py", *words, env={**JAX, "PYTHONSAFEPATH": "1"})


def run_kernels(session: nox.Session, compilers: Sequence[str], *words: str) -> None:
    install(session, "cupy-cuda13x", *(NVRTC[name] for name in compilers))
    chosen = [*peers(*compilers), "--kernels", *words]
    pages = "tests/benchmarks/test_gpu_pages.py"
    paths = ("tests/backends/test_cupy_without_gpu.py", "tests/kernels", pages)
    pytest(session, *chosen, *paths, CUDA_VISIBLE_DEVICES="")


@nox.session(python="3.12", tags=["ci"])
def kernels(session: nox.Session) -> None:
    """Run the GPU kernels in the shim (g++) and as PTX, compile them, and CuPy without a GPU; a sample."""
    parity = "tests/kernels/test_kernels.py::TestConformance::test_parity"
    run_kernels(session, ["nvidia.cu13"], "--sample", "6", f"--deselect={parity}")


@nox.session(python="3.12", tags=["nightly"])
def all_kernels(session: nox.Session) -> None:
    """Run the GPU kernels in every order, with every feature, and compile them for every class of shapes."""
    run_kernels(session, [*NVRTC], "--thorough")


@nox.session(python="3.12", tags=["nightly"])
def old_cupy(session: nox.Session) -> None:
    """Run CuPy 13 without a GPU, as far as that goes."""
    install(session, "cupy-cuda12x==13.6.*")
    pytest(session, *peers("cupy"), "tests/backends/test_cupy_without_gpu.py", CUDA_VISIBLE_DEVICES="")


@nox.session(python="3.11", tags=["nightly"])
def parity(session: nox.Session) -> None:
    """Measure every backend against the float64 reference, in all dtypes, and write docs/parity.md."""
    install_only(session, TORCH, "jax", "array-api-strict", wheel(session))
    measure_parity(session, *ALL_BACKENDS)


@nox.session(python="3.11", tags=["ci"])
def faults(session: nox.Session) -> None:
    """Plant the faults of what changed since all were caught; `-- PREFIX` plants those whose names begin so."""
    install(session, *OF_FAULTS)
    if not session.posargs:
        pytest(session, "tests/faults")
    session.run("python", "tests/faults", *(session.posargs or ("--changed", "--minutes", "2")), env=ONE_THREAD)


@nox.session(python="3.11", tags=["nightly"])
def all_faults(session: nox.Session) -> None:
    """Plant all faults; each must be caught."""
    install(session, *OF_FAULTS)
    session.run("python", "tests/faults", "--all", env=ONE_THREAD)


@nox.session(python="3.12", tags=["nightly"])
def fuzz(session: nox.Session) -> None:
    """Load files that are wrong in many ways, driven by Atheris, as many as are asked for: nox -s fuzz -- COUNT."""
    install(session, ATHERIS, "onnx>=1.21")
    session.run("python", "tests/fuzz", "--lines", "--count", *(session.posargs or ["300000"]))


@nox.session(python=["3.12", *filter(is_found, ("3.14t",))], tags=["nightly"])
def threads(session: nox.Session) -> None:
    """Run the state machines, threads and processes for long; on 3.14t, without a GIL, where it is found."""
    install(session)
    pytest(session, "--thorough", "--hypothesis-profile=long", "tests/state")


@nox.session(python="3.11", tags=["nightly"])
def kills(session: nox.Session) -> None:
    """End 200 writes of each kind by signals, at random moments, and 50 runs of many inputs; show what they left."""
    install(session, "onnx>=1.21", "onnxruntime")
    pytest(session, "-rP", "--kills", "200", "tests/cli/test_kills.py")
    pytest(session, "-rP", "--kills", "50", "tests/cli/test_many_inputs_killed.py")


@nox.session(python="3.11", tags=["nightly"])
def long_text(session: nox.Session) -> None:
    """Run the command over 100 MB of text: its time beside that of the network alone, and its memory."""
    install(session)
    session.run("python", "-P", "tests/benchmarks/text.py", "--check")


@nox.session(python="3.11", tags=["nightly"])
def processors(session: nox.Session) -> None:
    """Run the tests that compute with the kernels of other processors, as far as this one has them."""
    install(session)
    old = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4", "RNN_CPU_KERNEL": "plain"}
    others = ({"RNN_CPU_KERNEL": name} for name in other_kernels(session) if name != "plain")
    for environment in ({"OPENBLAS_CORETYPE": "Nehalem", "RNN_CPU_KERNEL": "off"}, old, *others):
        pytest(session, *backends("numpy"), *COMPUTING, **environment)


@nox.session(python="3.11", tags=["nightly"])
def sanitizers(session: nox.Session) -> None:
    """Run the kernels without Python: under sanitizers and valgrind, emulated for ARM, and AVX-512 in a shim."""
    install(session)
    pytest(session, "--thorough", "tests/cpu_kernels/test_driver.py")


@nox.session(python="3.11", tags=["nightly"])
def tensorflow(session: nox.Session) -> None:
    """Run Keras on TensorFlow beside this package, on the files that it writes."""
    install(session, "tensorflow-cpu", "keras>=3.12")
    files = ("tests/formats/test_keras_peer.py", "tests/formats/test_coming_from.py")
    pytest(session, *backends("numpy"), *peers("keras"), *files, KERAS_BACKEND="tensorflow")


@nox.session(python="3.11", tags=["nightly"])
def tf_keras(session: nox.Session) -> None:
    """Run Keras 2 beside this package, on its models and on the files that it writes."""
    install(session, "tf-keras==2.18.*", "tensorflow-cpu==2.18.*")
    pytest(session, *backends("numpy"), *peers("tf_keras"), "tests/formats/test_keras2_peer.py")


@nox.session(python="3.11", tags=["nightly"])
def training(session: nox.Session) -> None:
    """Train the networks of examples in copies of their folders, that of shakespeare for an epoch; test the others."""
    install(session, TORCH)
    folder = Path(session.create_tmp())
    for name in ("shakespeare", "deploy", "vowels", "sunspots", "decision"):
        shutil.copytree(Path("examples", name), folder / name, dirs_exist_ok=True)
    session.run("python", str(folder / "shakespeare" / "train.py"), "--epochs", "1")
    for network in (
        path for name in ("deploy", "vowels", "sunspots") for path in (folder / name).glob("*.safetensors")
    ):
        network.unlink()
    session.run("python", str(folder / "deploy" / "train.py"))
    session.run("pytest", "tests/test_deploy.py", "--deploy", str(folder / "deploy"))
    for name in ("vowels", "sunspots"):
        shutil.rmtree(folder / name / "data")
        session.run("python", str(folder / name / "train.py"), "--data")
        session.run("python", str(folder / name / "train.py"))
    (folder / "decision" / "decision.npz").unlink()
    session.run("python", str(folder / "decision" / "train.py"))
    session.run("pytest", "tests/test_gallery.py", "tests/test_decision.py", "--gallery", str(folder))


@nox.session(python="3.11")
def bench(session: nox.Session) -> None:
    """Measure against other libraries on a quiet CPU and write docs/benchmarks; `-- --quick` only tries it."""
    install_only(session, TORCH, *group("bench"), wheel(session))
    session.run("python", "tests/benchmarks/cpu.py", *session.posargs)


@nox.session(python=False)
def gpu(session: nox.Session) -> None:
    """Run the first checks on a GPU, in the environment that nox runs in; fails without one."""
    if shutil.which("nvidia-smi") is None:
        session.error("there is no NVIDIA GPU here")
    words = session.posargs or ["gpu_first"]
    session.run("python", "tests/gpu_first.py", *words, env={**os.environ, "CUPY_TF32": "0"}, external=True)
