"""Devices, streams and errors of the stand-in for CuPy."""

import threading


class Device:
    """A device, and the context in which it is the current one."""

    current = 0
    attributes: dict[str, int] = {  # those of an H100, with few multiprocessors  # noqa: RUF012
        "MultiProcessorCount": 12, "MaxSharedMemoryPerBlockOptin": 232448, "MaxSharedMemoryPerMultiprocessor": 233472,
        "MaxThreadsPerMultiProcessor": 2048, "CooperativeLaunch": 1,
        "L2CacheSize": 64,  # or copies of more would take long
    }  # fmt: skip
    compute_capability = "90"

    def __init__(self, index: int | None = None) -> None:
        self.id = Device.current if index is None else index
        self.before: list[int] = []

    def __enter__(self) -> "Device":
        self.before.append(Device.current)
        Device.current = self.id
        return self

    def __exit__(self, *_: object) -> None:
        Device.current = self.before.pop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    __hash__ = None  # type: ignore[assignment]  # as CuPy's

    def synchronize(self) -> None:
        """Wait for all streams, whose work is done."""


class Event:
    """An event of a stream, of which nobody knows that it is done before the host has waited for the stream."""

    def __init__(self) -> None:
        self.is_over = False

    @property
    def done(self) -> bool:
        return self.is_over


class Stream:
    """A stream, whose work is done at once, and the context in which it is the current one of a thread."""

    here = threading.local()

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        assert null or non_blocking, "the default stream would wait for it, and it for that"
        self.ptr, self.captures = 0, False
        self.before: list[Stream] = []
        self.last = Event()

    def __enter__(self) -> "Stream":
        self.before.append(current_stream())
        Stream.here.current = self
        return self

    def __exit__(self, *_: object) -> None:
        Stream.here.current = self.before.pop()

    def is_capturing(self) -> bool:
        return self.captures

    def record(self) -> "Event":
        self.last = Event()
        return self.last

    def synchronize(self) -> None:
        assert not self.captures, "CUDA would refuse, and end the capture"
        self.last.is_over = True


default_stream = Stream(null=True)


def current_stream() -> Stream:
    return getattr(Stream.here, "current", default_stream)


class CudaError(RuntimeError):
    """An error of CUDA, with its number."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"cudaError{status}: as planted")
