"""Capture of a stream of the stand-in for CuPy: launches are noted instead of made, and made when the graph is launched."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import device_standin
import pytest
import standin


class MemoryPool:
    """Where memory comes from; the class knows the one that is used."""

    used: "MemoryPool | None" = None

    def malloc(self) -> None:
        """Stand for the allocator, which `using_allocator` is given."""


@contextmanager
def using_allocator(malloc: Any) -> Iterator[None]:
    before, MemoryPool.used = MemoryPool.used, malloc.__self__
    yield
    MemoryPool.used = before


class Graph:
    """What was captured."""

    def __init__(self) -> None:
        self.launches: list[Callable[[], None]] = []

    def launch(self, stream: device_standin.Stream) -> None:
        assert not stream.captures
        for launch in self.launches:
            launch()


@contextmanager
def installed(cupy: Any) -> Iterator[None]:
    """Give the stand-in's streams `begin_capture` and `end_capture`, pools of memory, and cuBLAS CuPy's refusal."""
    graphs: dict[int, Graph] = {}
    run, gemm = standin.RawKernel.run, (cublas := standin.cublas()).gemmEx

    def begin_capture(stream: device_standin.Stream) -> None:
        assert MemoryPool.used is not None, "what the graph writes to would be the memory of other arrays"
        graphs[id(stream)], stream.captures = Graph(), True

    def end_capture(stream: device_standin.Stream) -> Graph:
        stream.captures = False
        return graphs.pop(id(stream))

    def noted(*launch: Any) -> None:
        stream = device_standin.current_stream()
        if stream.captures:
            graphs[id(stream)].launches.append(lambda: run(*launch))
        else:
            run(*launch)

    def refused(*arguments: Any) -> None:
        if device_standin.current_stream().captures:
            msg = "calling cuBLAS API during stream capture is currently unsupported"
            raise NotImplementedError(msg)
        gemm(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_standin.Stream, "begin_capture", begin_capture, raising=False)
        patch.setattr(device_standin.Stream, "end_capture", end_capture, raising=False)
        patch.setattr(standin.RawKernel, "run", staticmethod(noted))
        patch.setattr(cublas, "gemmEx", refused)
        patch.setattr(cupy.cuda, "MemoryPool", MemoryPool, raising=False)
        patch.setattr(cupy.cuda, "using_allocator", using_allocator, raising=False)
        yield
