"""`use_backend`: one ContextVar, with the rules of contextvars."""

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import pytest
from places import STRICT, current, refused, use

import rnn_backends as rb
from rnn_backends.backends import selection

OTHER = "array_api_strict:device2"
pytestmark = pytest.mark.usefixtures("fresh_registry")


def test_blocks_nest_and_end() -> None:
    with rb.use_backend(STRICT):
        assert current() == STRICT
        with rb.use_backend("numpy"):
            assert current() == "numpy:cpu"
        assert current() == STRICT
        with pytest.raises(ZeroDivisionError), rb.use_backend(OTHER):
            _ = 1 / 0
        assert current() == STRICT
    assert current() == "numpy:cpu"


def test_a_block_that_cannot_be_entered_changes_nothing() -> None:
    for name in ("nonsense", "numpy:cuda"):
        block = rb.use_backend(name)  # which looks nothing up
        with pytest.raises(rb.RNNBackendError):
            block.__enter__()
        with refused(rb.ArgumentError, f"use_backend({name!r}) is left already"):
            block.__exit__(None, None, None)
    with rb.use_backend(STRICT), pytest.raises(rb.UnknownBackendError):
        use("nonsense")
    assert current() == "numpy:cpu"


def test_entering_or_leaving_twice_is_refused() -> None:
    block = rb.use_backend(STRICT)
    with block:
        with refused(rb.ArgumentError, f"use_backend({STRICT!r}) is entered already; make another one for a block"):
            block.__enter__()
        assert current() == STRICT
    with refused(rb.ArgumentError, f"use_backend({STRICT!r}) is left already; enter it once for each time"):
        block.__exit__(None, None, None)
    with block:  # one after the other is no harm
        assert current() == STRICT
    assert current() == "numpy:cpu"


Work = Callable[[], object]


def on_a_thread_of_a_pool(work: Work) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def in_a_copy_of_the_context(work: Work) -> None:
    contextvars.copy_context().run(work)


def in_an_empty_context(work: Work) -> None:
    contextvars.Context().run(work)


def on_a_thread_in_a_copy_of_the_context(work: Work) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(contextvars.copy_context().run, work).result()


def in_a_task(work: Work) -> None:
    async def begun() -> None:
        work()

    asyncio.run(begun())


def on_a_thread_of_a_task(work: Work) -> None:
    async def begun() -> None:
        await asyncio.to_thread(work)

    asyncio.run(begun())


def in_a_callback(work: Work) -> None:
    async def begun() -> None:
        done = asyncio.get_running_loop().create_future()

        def called() -> None:
            try:
                work()
            except rb.ArgumentError as error:
                done.set_exception(error)

        asyncio.get_running_loop().call_soon(called)
        await done

    asyncio.run(begun())


ELSEWHERE = [
    on_a_thread_of_a_pool, in_a_copy_of_the_context, in_an_empty_context, on_a_thread_in_a_copy_of_the_context, in_a_task,
    on_a_thread_of_a_task, in_a_callback,
]  # fmt: skip


@pytest.mark.parametrize("leave", ELSEWHERE)
def test_leaving_on_another_thread_or_in_another_context_is_refused(leave: Callable[[Work], None]) -> None:
    block = rb.use_backend(STRICT)
    block.__enter__()
    with refused(
        rb.ArgumentError, f"use_backend({STRICT!r}) must be left on the thread and in the task that entered it"
    ):
        leave(lambda: block.__exit__(None, None, None))
    assert current() == STRICT
    block.__exit__(None, None, None)  # where it was entered
    assert current() == "numpy:cpu"


def test_threads_see_their_own_blocks_alone() -> None:
    step = Barrier(2, timeout=30)

    def run(name: str) -> list[str]:
        seen = [current()]
        with rb.use_backend(name):
            step.wait()
            seen.append(current())
            step.wait()
        return [*seen, current()]

    with rb.use_backend("array_api_strict"), ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, (STRICT, OTHER))) == [["numpy:cpu", name, "numpy:cpu"] for name in (STRICT, OTHER)]
        assert pool.submit(contextvars.copy_context().run, current).result() == "array_api_strict:CPU_DEVICE"


def test_tasks_see_their_own_blocks_and_those_that_they_were_started_in() -> None:
    async def run(name: str, mine: asyncio.Event, other: asyncio.Event) -> list[str]:
        with rb.use_backend(name):
            other.set()
            await mine.wait()
            seen = [current(), await asyncio.create_task(started()), await asyncio.to_thread(current)]
        return [*seen, current()]

    async def started() -> str:
        await asyncio.sleep(0)
        return current()

    async def both() -> list[list[str]]:
        first, second = asyncio.Event(), asyncio.Event()
        return list(await asyncio.gather(run(STRICT, first, second), run(OTHER, second, first)))

    assert asyncio.run(both()) == [[*[name] * 3, "numpy:cpu"] for name in (STRICT, OTHER)]
    assert current() == "numpy:cpu"


@contextmanager
def managed() -> Iterator[None]:
    with rb.use_backend(STRICT):
        yield


def test_a_generator_shares_its_block_with_the_code_that_runs_it() -> None:
    with managed():
        assert current() == STRICT
    assert current() == "numpy:cpu"
    assert managed()(current)() == STRICT


@pytest.mark.parametrize(
    ("names", "order"),
    [
        ((STRICT, OTHER), [0, 1, 0]),
        ((STRICT, STRICT), [0, 1, 0]),
        (("numpy", STRICT), [0, 0, 1, 0]),
        ((STRICT, "numpy", OTHER), [0, 1, 2, 0, 1, 0]),
        ((STRICT, "numpy", OTHER), [1, 2, 1, 0]),
    ],
    ids=range(5),
)
def test_an_outer_block_is_not_left_before_an_inner_one(names: tuple[str, ...], order: list[int]) -> None:
    blocks, entered = [rb.use_backend(name) for name in names], [*range(len(names))]
    for block in blocks:
        block.__enter__()
    for index in order:
        before = current()
        if index == entered[-1]:
            blocks[entered.pop()].__exit__(None, None, None)
            continue
        with refused(rb.ArgumentError, f"use_backend({names[index]!r}) must be left after the blocks inside it"):
            blocks[index].__exit__(None, None, None)
        assert current() == before  # nothing has changed
    assert not entered
    assert current() == "numpy:cpu"


def test_a_generator_that_leaves_a_block_around_one_of_its_caller_is_refused() -> None:
    def steps() -> Iterator[str]:
        with rb.use_backend(STRICT):
            yield current()

    generator = steps()
    assert next(generator) == STRICT
    with rb.use_backend(OTHER), refused(rb.ArgumentError, "leave the inner block first"):
        next(generator)
    assert current() == STRICT  # as the error says, it was not left


@pytest.fixture(autouse=True)
def in_a_context_of_its_own() -> Iterator[None]:
    """Undo what a test leaves entered."""
    token = selection._chosen.set(None)
    yield
    selection._chosen.reset(token)
