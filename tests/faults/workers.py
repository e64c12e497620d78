"""Forked workers: a parent that has imported what is heavy, and a child with a copy of the package for each run of pytest."""

import importlib
import importlib.util
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from compileall import compile_dir
from pathlib import Path
from time import monotonic
from typing import Any

import hypothesis
import pytest

from faults.extension import Extension
from faults.jobs import Home, Job, Outcome
from faults.placing import Place

HEAVY = (
    "numpy", "numpy.testing", "array_api_compat.numpy", "array_api_strict", "hypothesis", "hypothesis.extra.numpy", "safetensors",
    "ml_dtypes", "msgpack", "h5py", "onnx", "concurrent.futures", "zipfile", "decimal", "subprocess",
)  # fmt: skip
"""What the tests import, imported once if it is installed; nothing of it imports the package."""

CPU_SECONDS, WALL_SECONDS = 60, 600
"""Limits of a child: an endless loop meets the first, a deadlock the second; a slow machine neither."""

ENDS = {signal.SIGXCPU: "stopped at the limit of CPU time", signal.SIGALRM: "stopped at the limit of time"} | {
    number: f"crashed with {number.name}"
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL)
}
"""The signals that end a child which a fault has made hang or crash."""

NO_PROGRAM = ("CompileError", "NameError", "ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError")
"""Errors of a fault that is out of date: any test finds them."""

_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*", "build", "*.egg-info")


class Watch:
    """A plugin of pytest that keeps the first failure and counts what passed."""

    def __init__(self) -> None:
        self.failed = self.error = ""
        self.passed: list[str] = []

    def pytest_configure(self) -> None:
        """Look for no smaller example of what fails, after tests/conftest.py has loaded its own profile."""
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        parent = hypothesis.settings.get_profile(hypothesis.settings.get_current_profile_name())
        hypothesis.settings.register_profile("faults", parent, phases=phases)
        hypothesis.settings.load_profile("faults")

    def pytest_exception_interact(self, node: Any, call: Any) -> None:
        if not self.failed:
            self.failed, self.error = node.nodeid, call.excinfo.typename

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" and report.passed:
            self.passed.append(report.nodeid)


class Workers:
    """Runs jobs in copies of the repository and the package, as many at once as there are CPUs for this process."""

    def __init__(self, home: Home, folder: Path, heavy: Iterable[str] = HEAVY) -> None:
        self._home, self._folder = home, folder
        self._at_once = len(os.sched_getaffinity(0))
        self._template = folder / "template"
        self._started = 0
        self._running: dict[int, tuple[Job, Path]] = {}
        self._extension = Extension.of(home.checkout)
        self._copy()
        for name in heavy:
            if importlib.util.find_spec(name.partition(".")[0]) is not None:
                importlib.import_module(name)

    def _copy(self) -> None:
        """Make what each child links to, compiled: the package in a folder of its own, as it is when installed."""
        installed, checkout = self._template / "installed", self._template / "checkout"
        shutil.copytree(self._home.package, installed / self._home.package.name, ignore=_LEFT_OUT)
        shutil.copytree(
            self._home.checkout, checkout, ignore=lambda at, names: {*_LEFT_OUT(at, names), *self._not_tests(at)}
        )
        compile_dir(self._template, quiet=2)
        if self._extension is not None:
            held = self._extension.module.parent
            shutil.copytree(self._home.checkout / held, self._template / "sources" / held, ignore=_LEFT_OUT)

    def build(self) -> None:
        """Build the extension without a fault as it is built with one, for all copies from now on."""
        self._build_in(self._template)

    def _build_in(self, folder: Path) -> None:
        assert self._extension is not None
        kept = self._folder / "objects"
        kept.mkdir(exist_ok=True)
        self._extension.build(folder / "sources", folder / "installed", kept)

    def is_compiled(self, found: Place) -> bool:
        """Return whether a fault stands in the sources of the extension."""
        return self._extension is not None and self._extension.holds(found.source.path, self._home.checkout)

    def _not_tests(self, at: str) -> set[str]:
        return {self._home.package.name} if Path(at) == self._home.checkout else set()

    def run(self, jobs: Iterable[Job], report: Callable[[Outcome], None], until: float = float("inf")) -> list[Outcome]:
        """Return the outcomes of jobs, each reported when it ends; none is begun after a time."""
        waiting, outcomes = deque(jobs), []
        try:
            while self._running or (waiting and monotonic() < until):
                while waiting and len(self._running) < self._at_once and monotonic() < until:
                    self._start(waiting.popleft())
                outcomes.append(self._ended())
                report(outcomes[-1])
        finally:
            for pid in self._running:
                _end_group(pid)
        return outcomes

    def _ended(self) -> Outcome:
        """Wait for a child and return its outcome."""
        pid, status, usage = os.wait4(-1, 0)
        job, folder = self._running.pop(pid)
        _end_group(pid)
        outcome = _outcome(job, status, folder, usage.ru_utime + usage.ru_stime)
        shutil.rmtree(folder, ignore_errors=True)
        return outcome

    def _start(self, job: Job) -> None:
        self._started += 1
        folder = self._folder / str(self._started)
        shutil.copytree(self._template, folder, copy_function=os.link)
        if job.place is not None:
            _plant(job.place, folder / self._within(job.place))
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            is_compiled = job.place is not None and self.is_compiled(job.place)
            _be_child(job, folder, self._build_in if is_compiled else None)
        self._running[pid] = job, folder

    def _within(self, found: Place) -> Path:
        path = found.source.path
        if self.is_compiled(found):
            return Path("sources", path.relative_to(self._home.checkout))
        if path.is_relative_to(self._home.package):
            return Path("installed", path.relative_to(self._home.package.parent))
        return Path("checkout", path.relative_to(self._home.checkout))


def _plant(found: Place, target: Path) -> None:
    target.unlink()  # a link to what others read
    target.write_text(found.planted(), encoding="utf-8")
    for compiled in target.parent.glob(f"__pycache__/{target.stem}.*.pyc"):
        compiled.unlink()


def _end_group(pid: int) -> None:
    """End what a child started and left."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _be_child(job: Job, folder: Path, build: Callable[[Path], None] | None) -> None:
    """Run pytest in a copy, built first if it must be, and exit with its code; the copy holds what it printed and saw."""
    code = 70
    try:
        os.setsid()
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if build is not None:
            build(folder)
        if job.place is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        signal.alarm(WALL_SECONDS)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(folder / "checkout")
        temporary = folder / "temporary"
        temporary.mkdir()
        installed = str(folder / "installed")
        shared = folder.parent / "compiled"
        shared.mkdir(exist_ok=True)
        os.environ.update(PYTHONPATH=installed, CI="true", TMPDIR=str(temporary), RNN_SHIM_CACHE=str(shared))
        tempfile.tempdir = None
        own = {"", *map(str, Path(__file__).parents[:2])}
        sys.path[:] = [installed, *(each for each in sys.path if each not in own)]
        watch = Watch()
        options = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", f"--basetemp={temporary / 'pytest'}"]
        if importlib.util.find_spec("xdist") is not None:
            options.append("-n0")
        code = pytest.main([*options, *job.arguments], plugins=[watch])
        (folder / "seen").write_text(json.dumps(vars(watch)), encoding="utf-8")
    except BaseException:  # noqa: BLE001  # a child must not go back into its parent's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _outcome(job: Job, status: int, folder: Path, cpu: float) -> Outcome:
    output = (folder / "output").read_text(encoding="utf-8", errors="replace") if (folder / "output").exists() else ""
    if os.WIFSIGNALED(status):
        number = signal.Signals(os.WTERMSIG(status))
        if number in ENDS:
            return Outcome(job, "caught", "", ENDS[number], cpu)
        return Outcome(job, "error", "", f"ended by {number.name}\n{output}", cpu)
    code = os.WEXITSTATUS(status)
    seen = json.loads((folder / "seen").read_text(encoding="utf-8")) if (folder / "seen").exists() else {}
    if code == 0:
        silent = [
            test for test in job.arguments if "::" in test and not any(_is_of(node, test) for node in seen["passed"])
        ]
        return Outcome(job, "error" if silent else "passed", "", f"{' '.join(silent)} did not run", cpu)
    if code == 1 and job.place is not None and seen["error"] in NO_PROGRAM:
        return Outcome(job, "error", seen["failed"], f"the fault is out of date: {seen['error']}\n{output}", cpu)
    if code == 1:
        return Outcome(job, "caught", seen["failed"], seen["error"] if job.place else output, cpu)
    return Outcome(job, "error", "", f"pytest ended with {code}\n{output}", cpu)


def _is_of(node: str, test: str) -> bool:
    """Return whether a test that ran is the one named, or one of its parameters or of the class."""
    return node == test or node.startswith((f"{test}[", f"{test}::"))
