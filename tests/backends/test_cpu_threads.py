"""The threads of the kernels of the CPU: shares, halves, callers at once, forks, and how many there are."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

import numpy as np
import pytest
from cpu_walks import COMPILED, EACH_COMPILED, EACH_DTYPE, Walk, drawn, only

import rnn_backends as rb
from rnn_backends.backends import numpy as numpy_backend
from rnn_backends.backends.cpu_kernels import choice, threads

SHARED = (40, 30, 64, 130)
"""Steps, sequences, features and states that are enough for helpers."""

HALVED = (131, 1, 20, 400)
"""As many as are walked by halves of each step, with a block of steps and some."""

Result = TypeVar("Result")
Use = Callable[[int], None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Use]:
    """Have so many threads walk."""

    def set_count(count: int) -> None:
        monkeypatch.setenv(threads.VARIABLE, str(count))
        threads.thread_count.cache_clear()

    yield set_count
    threads.thread_count.cache_clear()


@EACH_COMPILED
@EACH_DTYPE
@pytest.mark.parametrize("count", [1, 2, 3])
def test_shares_of_a_batch(kernel: str, dtype: str, count: int, use: Use) -> None:
    use(count)
    for sides in ("f", "b", "fb"):
        for ragged in (False, True):
            drawn(dtype, SHARED, sides, ragged).check(kernel)
    drawn(dtype, (60, 7, 64, 260), "fb", ids="int64").check(kernel)


@pytest.mark.skipif(not COMPILED, reason="no kernel was built")
def test_shares_of_uneven_lengths(use: Use) -> None:
    use(3)
    for lengths in ([40] + [0] * 29, [0] * 29 + [40], [40] * 15 + [1] * 15, [0] * 30, range(30), [40] * 30):
        drawn("float32", SHARED, "fb")._replace(lengths=np.asarray(list(lengths))).check(COMPILED[0])


@EACH_COMPILED
@EACH_DTYPE
def test_halves_of_a_step_have_the_same_bits_with_a_helper_and_without(kernel: str, dtype: str, use: Use) -> None:
    use(2)
    shapes = (HALVED, "f", ""), (HALVED, "b", "int32"), ((19, 7, 9, 391), "f", ""), ((65, 2, 9, 371), "b", "")
    for shape, sides, ids in shapes:
        check_halves(kernel, drawn(dtype, shape, sides, ids=ids, leak=0.75, clip=0.9))


def check_halves(kernel: str, walk: Walk) -> None:
    output = walk.check(kernel)
    with only(kernel):
        for found, _ in at_once(walk.walked, 2):
            np.testing.assert_array_equal(found, output)


@EACH_COMPILED
def test_one_sequence_with_a_length_is_not_halved(kernel: str, use: Use) -> None:
    use(2)
    for sides in ("f", "b"):
        drawn("float32", HALVED, sides)._replace(lengths=np.array([97])).check(kernel)


@EACH_COMPILED
@EACH_DTYPE
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.sampled(2)
def test_shares_of_a_batch_with_sparse_weights(kernel: str, dtype: str, count: int, use: Use) -> None:
    use(count)
    for sides, ragged in (("f", False), ("b", True), ("fb", True)):
        drawn(dtype, (30, 70, 64, 260), sides, ragged, density=0.1).check(kernel)


@EACH_COMPILED
@EACH_DTYPE
def test_halves_of_sparse_weights_have_the_same_bits_with_a_helper_and_without(
    kernel: str, dtype: str, use: Use
) -> None:
    use(2)
    shapes = ((31, 1, 9, 700), "f", ""), ((22, 2, 9, 1100), "b", "int32"), ((22, 4, 9, 700), "f", "")
    for shape, sides, ids in shapes:
        check_halves(kernel, drawn(dtype, shape, sides, ids=ids, leak=0.75, clip=0.9, density=0.2))


@EACH_COMPILED
def test_a_window_of_sparse_weights_is_not_halved(kernel: str, use: Use) -> None:
    use(2)
    drawn("float32", (300, 1, 9, 500), density=0.9).check(kernel)


def at_once(call: Callable[[], Result], count: int) -> list[Result]:
    """Return the results of a call by so many threads at once, of which one has the helpers."""
    start = Barrier(count)

    def wait_and_call() -> Result:
        start.wait()
        return call()

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(wait_and_call) for _ in range(count)]]


@pytest.mark.skipif(not COMPILED, reason="no kernel was built")
def test_a_model_serves_several_threads(use: Use) -> None:
    use(2)
    walk = drawn("float32", SHARED, "fb", ragged=True)
    rnn = rb.RNN([walk.layer]).to("numpy")  # of which nothing is prepared yet

    def call() -> list[Any]:
        return [rnn(walk.x, np.stack(walk.h_0), lengths=walk.lengths) for _ in range(5)]

    for found in at_once(call, 4):
        for output, last in found:
            assert walk.excess(output, list(last)) <= 1.0


def run_python(code: str, count: int) -> str:
    folders = (Path(rb.__file__).parents[1], Path(__file__).parents[1] / "support")
    outside = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONFAULTHANDLER": "1"}
    outside |= {threads.VARIABLE: str(count), choice.VARIABLE: "", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=outside, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


COUNTED = f"""
import os
from cpu_walks import COMPILED, drawn
small = drawn("float32", (3, 2, 5, 7), "fb")
for walk in (small, drawn("float32", {HALVED}), *(drawn("float32", {SHARED}, sides) for sides in ("f", "fb")), small):
    walk.by(COMPILED[0])
    print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not COMPILED or not Path("/proc/self/task").is_dir(), reason="needs a kernel and Linux")
@pytest.mark.parametrize("count", [1, 2, 5])
def test_helpers_are_started_when_they_are_needed_and_kept(count: int) -> None:
    helpers = count - 1
    alone, *found = map(int, run_python(COUNTED, count).split())
    assert [each - alone for each in found] == [min(1, helpers), helpers, helpers, helpers]


FORKED = f"""
import os, signal, threading
import numpy as np
from cpu_walks import COMPILED, drawn
walks = [drawn("float32", {SHARED}), drawn("float32", {HALVED})]
wanted = [walk.by(COMPILED[0])[0] for walk in walks]
is_over = threading.Event()
def be_busy():
    while not is_over.is_set():
        walks[0].walked()
def be_child():
    signal.alarm(60)  # or a deadlock would last
    before = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
    found = [walk.walked()[0] for walk in walks]
    after = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 2
    ok = all(np.array_equal(*pair) for pair in zip(found, wanted, strict=True))
    os._exit(0 if ok and (before, after) == (1, 2) else 1)
other = threading.Thread(target=be_busy)
for turn in range(6):
    if turn == 3:
        other.start()
    child = os.fork()
    if child == 0:
        be_child()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, turn
is_over.set()
other.join()
"""


@pytest.mark.skipif(not COMPILED or not hasattr(os, "fork"), reason="needs a kernel and a fork")
def test_a_process_that_was_forked_has_helpers_of_its_own() -> None:
    run_python(FORKED, 2)


# How many.


@pytest.mark.parametrize("value", ["0", "abc", "-1", "1.5", "2 ", "65537", "9" * 5000])
def test_a_number_of_threads_that_is_none(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.VARIABLE, value)
    threads.thread_count.cache_clear()
    with pytest.raises(rb.ArgumentError, match=r"^RNN_NUM_THREADS must be an integer of 1 to 65536; got "):
        threads.thread_count()


@pytest.mark.parametrize("value", ["1", "7", "65536"])
def test_a_number_of_threads_is_the_one_of_the_variable(value: str, use: Use) -> None:
    use(int(value))
    assert threads.thread_count() == int(value)


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/", {}, float("inf")),
        ("0::/", {"cpu.max": "max 100000"}, float("inf")),
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "100000 0"}, float("inf")),
        ("0::/a.slice/b", {"a.slice/cpu.max": "150000 100000", "a.slice/b/cpu.max": "max 100000"}, 1.5),
        ("0::/a.slice/b", {"a.slice/cpu.max": "max 100000", "a.slice/b/cpu.max": "50000 100000"}, 0.5),
        ("0::/a.slice/b", {"a.slice/c/cpu.max": "50000 100000"}, float("inf")),
        ("0::/not/seen/here", {"cpu.max": "200000 100000"}, 2.0),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, float("inf")),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4.0),
        ("4:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "400000", "cpu/a/cpu.cfs_period_us": "100000"}, 4.0),
        ("4:cpuset:/", {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, float("inf")),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "400000"}, float("inf")),
        ("4:cpu:/\n0::/", {"cpu.max": "150000 100000", "cpu/cpu.cfs_quota_us": "50000",
                           "cpu/cpu.cfs_period_us": "100000"}, 0.5),
    ],
)  # fmt: skip
def test_the_quota_of_control_groups(own: str, files: dict[str, str], quota: float, tmp_path: Path) -> None:
    (tmp_path / "own").write_text(f"{own}\n", encoding="ascii")
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="ascii")
    assert threads._quota(str(tmp_path / "root"), str(tmp_path / "own")) == quota


def test_a_process_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert threads._quota(str(tmp_path), str(tmp_path / "own")) == float("inf")


@pytest.mark.parametrize(
    ("processors", "quota", "count"), [(8, float("inf"), 8), (8, 1.5, 2), (8, 0.25, 1), (2, 16.0, 2), (1, 1.0, 1)]
)
def test_the_threads_are_those_that_the_process_may_use(
    processors: int, quota: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(processors), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(threads, "_quota", lambda: quota)
    threads.thread_count.cache_clear()
    assert threads.thread_count() == count
    monkeypatch.delattr(os, "sched_getaffinity")
    threads.thread_count.cache_clear()
    assert threads.thread_count() == max(1, min(64, -int(-quota // 1) if quota < 64 else 64))
    threads.thread_count.cache_clear()


@pytest.mark.skipif(not COMPILED, reason="no kernel was built")
@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_call_that_is_prepared_asks_again(num_layers: int, use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was forked may be bound to other processors."""
    rnn, x, seen = rb.RNN.init(3, 4, num_layers=num_layers), np.ones((2, 1, 3), np.float32), list[int]()
    monkeypatch.setenv(choice.VARIABLE, "")
    monkeypatch.setattr(numpy_backend, "walk", lambda *given: seen.append(given[4]))
    for count in (2, 1):
        use(count)
        rnn(x)
    assert seen == [2] * num_layers + [1] * num_layers
