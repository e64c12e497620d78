"""A GPU on which contestants are timed, and its two clocks.

CuPy and torch launch on one stream, the default one of CUDA, so that the events of CuPy enclose the work of either.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from math import ceil
from statistics import median
from time import perf_counter
from typing import Any

import cupy

from harness.contestant import Contestant
from harness.timing import Clock, uncollected
from rnn_backends.core.arrays import Host
from rnn_backends.errors import ArgumentError

BUSY_SIZE = 6144
"""Of the square matrices whose product, of some milliseconds, keeps the device busy; they are no cache's."""

SPARE = 2.0
"""How many times as long as launching takes the device is kept busy at first."""

MOST_DOUBLINGS = 2
CALLS = 5


class Gpu:
    """A GPU.

    Parameters
    ----------
    index : int
        CUDA's number of the device.

    Attributes
    ----------
    launch_bound : set of str
        The contestants of a problem for whose launches the device had to wait, however long it was kept busy
        before: CUDA queues about a thousand.  Their time on the device is partly the host's.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.device = cupy.cuda.Device(index)
        self.launch_bound: set[str] = set()
        with self.device:
            self._operand = cupy.ones((BUSY_SIZE, BUSY_SIZE), "float32")
            self._product = cupy.empty_like(self._operand)
            self._keep_busy(1)  # loads cuBLAS
            start, stop = cupy.cuda.Event(), cupy.cuda.Event()
            start.record()
            self._keep_busy(1)
            stop.record()
            self._busy_seconds = _seconds_between(start, stop)

    def clocks(self) -> dict[str, Clock]:
        """Return its clocks, for another problem: of the work on the device, and of a whole call from the host."""
        self.launch_bound.clear()
        return {"device": self.device_clock, "call": self.call_clock}

    def device_clock(self, contestant: Contestant, inputs: Sequence[Host]) -> Callable[[], float]:
        """Time the work on the device, from one CUDA event to another, while the device waits for no launch.

        Before the first event the device is given work that lasts longer than launching takes; where that was
        too little, more.
        """
        placed, launching = self._first_calls(contestant, inputs)
        products = first = max(1, ceil(SPARE * launching / self._busy_seconds))

        def sample() -> float:
            nonlocal products
            while True:
                seconds, is_launched_in_time = self._on_device(contestant, next(placed), products)
                if is_launched_in_time:
                    return seconds
                if products >= first << MOST_DOUBLINGS:
                    self.launch_bound.add(contestant.name)
                    return seconds
                products *= 2

        return sample

    def call_clock(self, contestant: Contestant, inputs: Sequence[Host]) -> Callable[[], float]:
        """Time calls on the host until their result is there, each of them alone; a sample is the median of a few."""
        placed, _ = self._first_calls(contestant, inputs)
        return lambda: median(self._whole_call(contestant, next(placed)) for _ in range(CALLS))

    def require_stream(self, pointer: int) -> None:
        """Check that another library launches where the events are recorded."""
        with self.device:
            own = cupy.cuda.get_current_stream().ptr
        if pointer != own:
            msg = (
                f"CuPy's current stream is {own:#x} and torch's is {pointer:#x}, so that CuPy's events do not time "
                "torch. Unset CUPY_CUDA_PER_THREAD_DEFAULT_STREAM."
            )
            raise ArgumentError(msg)

    def launching(self, contestant: Contestant, x: Any) -> float:
        """Return the seconds that launching a call takes on the host, the device having nothing else to do."""
        self.device.synchronize()
        begin = perf_counter()
        output = contestant.call(x)
        seconds = perf_counter() - begin
        contestant.poison(output)
        return seconds

    def _first_calls(self, contestant: Contestant, inputs: Sequence[Host]) -> tuple[Iterator[Any], float]:
        """Make calls until all is compiled and loaded; return the inputs in turn, and the seconds of launching."""
        with self._at_work(contestant):
            placed = cycle([contestant.place(x) for x in inputs])
            *_, seconds = [self.launching(contestant, next(placed)) for _ in range(3)]
        return placed, seconds

    def _on_device(self, contestant: Contestant, x: Any, products: int) -> tuple[float, bool]:
        """Return the seconds of a call, and whether the device was busy with other work until all was launched."""
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        with self._at_work(contestant):
            self._keep_busy(products)
            start.record()
            output = contestant.call(x)
            stop.record()
            is_launched_in_time = not start.done
            contestant.poison(output)
        return _seconds_between(start, stop), is_launched_in_time

    def _whole_call(self, contestant: Contestant, x: Any) -> float:
        with self._at_work(contestant):
            self.device.synchronize()
            begin = perf_counter()
            output = contestant.call(x)
            self.device.synchronize()
            seconds = perf_counter() - begin
            contestant.poison(output)
        return seconds

    def _keep_busy(self, products: int) -> None:
        for _ in range(products):
            cupy.matmul(self._operand, self._operand, out=self._product)

    @contextmanager
    def _at_work(self, contestant: Contestant) -> Iterator[None]:
        with self.device, uncollected(), contestant.context():
            yield


def about(index: int) -> dict[str, Any]:
    """Return the name, size and driver of a device, as JSON can hold them; nothing runs on it for that."""
    properties = cupy.cuda.runtime.getDeviceProperties(index)
    return {
        "name": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "driver": f"CUDA {_version(cupy.cuda.runtime.driverGetVersion())}",
    }


def _seconds_between(start: Any, stop: Any) -> float:
    """Return the seconds from one event to another, when that has come."""
    stop.synchronize()
    return 1e-3 * float(cupy.cuda.get_elapsed_time(start, stop))


def _version(number: int) -> str:
    """Write a version of CUDA: 13010 is 13.1."""
    return f"{number // 1000}.{number % 1000 // 10}"
