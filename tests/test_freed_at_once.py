"""What an operation has used is freed when it is over, and waits for no garbage collector: neither
what was sent, nor what is in the frames of an error."""

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import pytest

from remoteobj import Pool, each, remote
from tests.internals import Frame

TIMES = 10
FEW = 3
"""What may be found by chance, whatever is done."""


class Counted:
    """Can be asked how much has waited for a garbage collector."""

    def __init__(self) -> None:
        self.value = 1

    def begin(self) -> None:
        begin()

    def end(self) -> int:
        return end()

    def give(self, value: Any = None) -> Any:
        return value

    def fail(self, value: Any = None) -> None:
        raise ValueError("failed")

    def be_slow(self) -> None:
        time.sleep(0.003)

    def count(self, to: int) -> Iterator[int]:
        yield from range(to)

    def fail_later(self) -> Iterator[int]:
        yield 1
        raise ValueError("failed")

    def lock(self) -> Any:
        return threading.Lock()


def begin() -> None:
    gc.collect()
    gc.disable()


def end() -> int:
    found = gc.collect()
    gc.enable()
    return found


@pytest.fixture(scope="module", autouse=True)
def frozen() -> Iterator[None]:
    """What is there before these tests is not looked through each time; nor in the actors, which
    are forks."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@remote
class Plain(Counted):
    """Has no event loop."""


@remote
class Awaiting(Counted):
    """Has an event loop."""

    async def at_once(self, value: Any = None) -> Any:
        return value

    async def later(self, value: Any = None) -> Any:
        await asyncio.sleep(0)
        return value

    async def fail_at_once(self) -> None:
        raise ValueError("failed")

    async def fail_after_a_while(self) -> None:
        await asyncio.sleep(0)
        raise ValueError("failed")

    async def items(self, to: int) -> AsyncIterator[int]:
        for i in range(to):
            yield i

    async def fail_in_items(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError("failed")


@remote(max_concurrency=2)
class Threaded(Counted):
    """Has threads."""


@remote
class Starting:
    """Begins what outlives the call."""

    def __init__(self) -> None:
        self.tasks: list[Any] = []

    async def start(self, value: Any) -> int:
        self.tasks.append(asyncio.create_task(asyncio.Event().wait()))
        return self.buffers()

    def buffers(self) -> int:
        assert not any(task.done() for task in self.tasks)
        return sum(len(one.buffers) for one in gc.get_objects() if type(one) is Frame)


class Unreadable:
    """Can be sent, and not taken in."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


def failing(act: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):
        act()


def awaited(begin: Callable[[], Awaitable[object]]) -> None:
    async def await_it() -> None:
        with contextlib.suppress(Exception):
            await begin()

    asyncio.run(await_it())


async def cancelled(actor: Any) -> None:
    task = asyncio.ensure_future(actor.async_.be_slow())
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def first_item(stream: Any) -> None:
    # Else asyncio closes it, and leaves something by that.
    async with contextlib.aclosing(aiter(stream)) as items:
        await anext(items)


ARRAY = np.zeros(100_000)

OF_ALL: dict[str, Callable[[Any], object]] = {
    "call": lambda actor: actor.give(),
    "an array": lambda actor: actor.give(ARRAY),
    "cast": lambda actor: (actor.cast_.give(), actor.give()),
    "attribute": lambda actor: actor.value.get_(),
    "error": lambda actor: failing(actor.fail),
    "future": lambda actor: actor.future_.give().result(),
    "error of a future": lambda actor: failing(lambda: actor.future_.fail().result()),
    "future, cancelled": lambda actor: (actor.future_.give().cancel(), actor.give()),
    "await": lambda actor: awaited(actor.async_.give),
    "error of an await": lambda actor: awaited(actor.async_.fail),
    "await, cancelled": lambda actor: asyncio.run(cancelled(actor)),
    "time limit": lambda actor: failing(actor.with_(timeout=0.0005).be_slow),
    "stream": lambda actor: list(actor.count(3)),
    "stream, given up": lambda actor: next(iter(actor.count(3))),
    "error of a stream": lambda actor: failing(lambda: list(actor.fail_later())),
    "asynchronous stream, given up": lambda actor: asyncio.run(first_item(actor.async_.count(3))),
    "no such attribute": lambda actor: failing(lambda: actor.no_such_thing()),
    "result that can't be sent": lambda actor: failing(actor.lock),
    "argument that can't be sent": lambda actor: failing(lambda: actor.give(threading.Lock())),
    "argument that can't be taken in": lambda actor: failing(lambda: actor.give(Unreadable())),
    "status": lambda actor: actor.status_(),
    "each": lambda actor: each([actor, actor]).give(),
    "errors of each": lambda actor: failing(each([actor, actor]).fail),
    "futures of each": lambda actor: each([actor, actor]).future_.give().result(),
    "await of each": lambda actor: awaited(each([actor, actor]).async_.fail),
}
OF_AWAITING: dict[str, Callable[[Any], object]] = {
    "coroutine": lambda actor: actor.at_once(ARRAY),
    "coroutine that waits": lambda actor: actor.later(ARRAY),
    "coroutine, cast": lambda actor: (actor.cast_.later(), actor.later()),
    "await of a coroutine": lambda actor: awaited(actor.async_.later),
    "error of a coroutine": lambda actor: failing(actor.fail_at_once),
    "error of one that waits": lambda actor: failing(actor.fail_after_a_while),
    "items": lambda actor: list(actor.items(3)),
    "items, given up": lambda actor: next(iter(actor.items(3))),
    "error in items": lambda actor: failing(lambda: list(actor.fail_in_items())),
}


@pytest.fixture(scope="module", params=[Plain, Awaiting, Threaded], ids=lambda cls: cls.__name__)
def actor(request: pytest.FixtureRequest) -> Iterator[Any]:
    with request.param.spawn() as actor:
        actor.future_.give().result()  # what a connection needs for it stays with that
        yield actor


@pytest.fixture(scope="module")
def awaiting() -> Iterator[Any]:
    with Awaiting.spawn() as actor:
        yield actor


def check(
    act: Callable[[], object], begin_there: Callable[[], object], end_there: Callable[[], int]
) -> None:
    found = []
    for _ in range(3):  # what is imported or made for the first one stays, and leaves something
        act()
        begin_there()
        begin()
        try:
            for _ in range(TIMES):
                act()
        finally:
            found.append((end(), end_there()))
        if max(found[-1]) <= FEW:
            return
    pytest.fail(f"found here, and there: {found}")


@pytest.mark.parametrize("name", OF_ALL)
def test_an_operation_leaves_nothing_to_the_garbage_collector(actor: Any, name: str) -> None:
    check(lambda: OF_ALL[name](actor), actor.begin, actor.end)


@pytest.mark.parametrize("name", OF_AWAITING)
def test_what_is_awaited_leaves_nothing_to_the_garbage_collector(awaiting: Any, name: str) -> None:
    check(lambda: OF_AWAITING[name](awaiting), awaiting.begin, awaiting.end)


def test_a_pool_leaves_nothing_to_the_garbage_collector() -> None:
    def act() -> None:
        assert pool.submit(max, 1, 2).result() == 2
        failing(lambda: pool.submit(int, "no number").result())
        assert list(pool.map(str, range(5))) == list("01234")
        failing(lambda: pool.each(int, "no number"))

    with Pool(1) as pool:
        check(act, lambda: pool.submit(begin).result(), lambda: pool.submit(end).result())


def test_what_a_coroutine_was_given_is_freed_though_a_task_of_its_own_lives_on() -> None:
    with Starting.spawn() as actor:
        assert actor.start(ARRAY) == 1
        assert actor.buffers() == 0
