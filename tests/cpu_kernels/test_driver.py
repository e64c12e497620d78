"""The kernels without Python: `driver.c` on the cases of the Python tests, by sanitizers and for other processors.

One build is quick, and of the kernels that no other test runs here; the others need --thorough and their compilers.
"""

import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import kernel_cases
import numpy as np
import pytest

from rnn_backends.core.activations import Activation
from rnn_backends.testing import Bounded

ROOT = Path(__file__).parents[2]
SOURCES, HERE = ROOT / "rnn_backends" / "backends" / "cpu_kernels", Path(__file__).parent
COMPILER, ARM, WINDOWS = os.environ.get("CC", "cc"), "aarch64-linux-gnu-gcc", "x86_64-w64-mingw32-gcc"
PACKAGES = {
    COMPILER: "gcc",
    "clang": "clang",
    "valgrind": "valgrind",
    ARM: "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "qemu-aarch64": "qemu-user",
    WINDOWS: "gcc-mingw-w64-x86-64",
}
"""Programs, and the packages of Debian that have them."""

IS_X86 = platform.machine().lower() in {"x86_64", "amd64"}
OWN = ("avx2", "plain") if IS_X86 else ("neon", "plain")
"""The kernels that the tests' own processor is expected to run; AVX-512 runs in the shim."""

ADDRESS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
# What glibc keeps for a helper, which lives on, may look lost.
LEAKS = "--leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite"
MEMCHECK = f"valgrind --quiet --error-exitcode=3 {LEAKS}"


class Build(NamedTuple):
    """A driver, how it is run, and on which sets of cases."""

    flags: str
    kernels: tuple[str, ...]
    sets: tuple[str, ...]
    words: str = "1 1"  # callers, repeats, whether a forked process calls too
    compiler: str = COMPILER
    runner: str = ""

    @property
    def programs(self) -> list[str]:
        return [*shlex.split(self.compiler)[:1], *shlex.split(self.runner)[:1]]


# MemorySanitizer takes what AVX's masked stores write for uninitialized, which valgrind does not; QEMU ends by an
# assertion of its own where a process with threads forks.
BUILDS = {
    "released": Build("-O3", OWN, ("features", "rows", "wide", "large", "many", "sparse"), "3 2 fork"),
    "address": Build(f"-O1 -g {ADDRESS}", OWN, ("features", "rows", "wide", "large", "sparse"), "1 1 fork"),
    "address, shim": Build(f"-O0 -g {ADDRESS}", ("avx512",), ("features", "wide", "sparse")),
    "memory": Build("-O1 -g -fsanitize=memory", ("plain",), ("features", "rows", "large", "sparse"), compiler="clang"),
    "thread": Build("-O1 -g -fsanitize=thread", OWN, ("large", "sparse"), "2 3"),
    "memcheck": Build("-O1 -g", OWN, ("features", "large", "sparse"), runner=MEMCHECK),
    "shim": Build("-O1", ("avx512",), ("features", "rows", "wide", "large", "sparse")),
    "emulated": Build(
        "-O3 -static", ("neon", "plain"), ("features", "rows", "wide", "large", "sparse"), compiler=ARM, runner="qemu-aarch64"
    ),
    "emulated, threads": Build(
        "-O1 -static", ("neon",), ("large",), "2 2", compiler=ARM, runner="qemu-aarch64"
    ),
}  # fmt: skip
QUICK = Build("-O0", ("avx512", "plain") if IS_X86 else ("plain",), ("features", "sparse"), "1 1 fork")

STRICT = "-Wall -Wextra -Wconversion -Wno-sign-conversion -Wshadow -Wstrict-prototypes -Wundef -Wvla -Werror"
WARNINGS = {
    COMPILER: f"{STRICT} -Wno-psabi",
    "clang": f"{STRICT} -Wcast-qual -Wunreachable-code",
    ARM: STRICT,
    WINDOWS: STRICT,
}  # fmt: skip


def require(programs: Sequence[str], thorough: bool = False) -> None:
    """Skip a test whose programs are not here; fail where it is to be run all the same."""
    if missing := [program for program in programs if shutil.which(program) is None]:
        packages = " ".join(PACKAGES.get(program, program) for program in missing)
        report = pytest.fail if thorough or "CI" in os.environ else pytest.skip
        report(f"{' and '.join(missing)} must be installed for this test: apt-get install {packages}")


def run(command: Sequence[object], timeout: float) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout)


def sources(kernels: Sequence[str]) -> list[Path]:
    return [HERE / "driver.c", *(SOURCES / f"{name}.c" for name in (*kernels, "pool", "schedule", "sparse", "split"))]


def compiled(build: Build, folder: Path) -> Path:
    """Compile a driver, its files side by side; AVX-512 is compiled for the shim."""
    listed = f"-DKERNELS(X)={' '.join(f'X({name})' for name in build.kernels)}"
    common = [*shlex.split(build.compiler), "-std=c11", *shlex.split(build.flags), f"-I{SOURCES}", listed]

    def compile_(source: Path) -> Path:
        shim = [f"-I{HERE / 'shim512'}", "-Wno-psabi"] if source.stem == "avx512" else []
        target = folder / f"{source.stem}.o"
        done = run([*common, *shim, "-c", source, "-o", target], 1200)
        assert done.returncode == 0, done.stderr
        return target

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        objects = list(threads.map(compile_, sources(build.kernels)))
    done = run([*common, *objects, "-lm", "-pthread", "-o", folder / "driver"], 60)
    assert done.returncode == 0, done.stderr
    return folder / "driver"


def check(build: Build, driver: Path, folder: Path) -> None:
    """Run a driver; it names the kernels that it ran, and counts the cases."""
    cases = folder / "cases"
    count = kernel_cases.write(cases, kernel_cases.problems(*build.sets))
    done = run([*shlex.split(build.runner), driver, cases, *build.words.split()], 3000)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout == f"{' '.join(build.kernels)} tried {count} cases, 0 failed\n"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require(QUICK.programs)
    return compiled(QUICK, tmp_path_factory.mktemp("quick"))


def test_features(driver: Path, tmp_path: Path) -> None:
    check(QUICK, driver, tmp_path)


def test_more_threads_than_shares(driver: Path, tmp_path: Path) -> None:
    assert kernel_cases.write(tmp_path / "cases", kernel_cases.many("float32")) == 1
    done = run([driver, tmp_path / "cases", 1, 1], 120)
    assert done.stdout.endswith(" tried 1 cases, 0 failed\n"), done.stdout


@pytest.mark.parametrize("change", [1e-3, np.nan])
@pytest.mark.parametrize("dtype", kernel_cases.DTYPES)
def test_a_wrong_result_is_found(driver: Path, tmp_path: Path, dtype: str, change: float) -> None:
    """The driver is given a result that is right, and then one that is right but for its last number."""
    right = kernel_cases.elementwise(Activation("tanh"), dtype)
    assert right.wanted is not None
    wrong = Bounded(right.wanted.value.copy(), right.wanted.error)
    wrong.value[-1, -3, -1] += change
    assert kernel_cases.write(tmp_path / "cases", [right, right._replace(name="wrong", wanted=wrong)]) == 2
    done = run([driver, tmp_path / "cases", 1, 1], 60)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == [
        f"wrong, {dtype}, kernel {kernel}, 1 threads" for kernel in QUICK.kernels
    ]
    assert lines[-1] == f"{' '.join(QUICK.kernels)} tried 2 cases, {len(QUICK.kernels)} failed"


def test_a_file_that_ends_early(driver: Path, tmp_path: Path) -> None:
    kernel_cases.write(tmp_path / "cases", [kernel_cases.elementwise(Activation("tanh"), "float32")])
    whole = (tmp_path / "cases").read_bytes()
    for length in (0, len(whole) - 1):
        (tmp_path / "cases").write_bytes(whole[:length])
        assert run([driver, tmp_path / "cases", 1, 1], 60).returncode == 2, length


@pytest.mark.parametrize("name", BUILDS)
def test_everywhere(name: str, tmp_path: Path, thorough: bool) -> None:
    build = BUILDS[name]
    if not thorough:
        pytest.skip("needs --thorough, and minutes")
    if "avx512" in build.kernels and not IS_X86:
        pytest.skip("avx512.c is for x86-64")
    require(build.programs, thorough)
    check(build, compiled(build, tmp_path), tmp_path)


@pytest.mark.parametrize("compiler", WARNINGS)
def test_no_warnings(compiler: str, tmp_path: Path, thorough: bool) -> None:
    """Of any source, for POSIX and Windows; those that need Python's headers are for the build to compile."""
    if not thorough:
        pytest.skip("needs --thorough, and a minute")
    require([compiler], thorough)
    for source in sorted(SOURCES.glob("*.c")):
        if source.stem not in {"buffers", "module", "prepared"}:
            command = [*shlex.split(compiler), "-std=c11", "-O1", *WARNINGS[compiler].split(), "-c", source]
            done = run([*command, "-o", tmp_path / "object.o"], 600)
            assert (done.returncode, done.stderr) == (0, ""), done.stderr
