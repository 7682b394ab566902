"""Calls and streams that are awaited."""

import asyncio
import gc
import os
import pickle
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from remoteobj import ActorDiedError, CallTimeoutError, NotListeningError, Proxy, remote
from remoteobj.testing import Gate
from tests.conftest import SLOW_CANCEL, Launch
from tests.internals import IN_FLIGHT, open_calls
from tests.tools import Call, until

NO_THREAD = {"inline": "answers before the await begins"}
CANT_DIE = {"thread": "can't be killed", "inline": "can't be killed"}


@remote
class Clerk:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.closed = 0

    def write(self, line: Any) -> Any:
        self.lines.append(line)
        return line

    def fail(self, line: str) -> None:
        raise ValueError(line)

    def wait_at(self, gate: Gate) -> str:
        gate.park()
        return "waited"

    def myself(self) -> "Clerk":
        return self

    def count(self, n: int, fail: bool = False) -> Iterator[int]:
        try:
            yield from range(n)
            if fail:
                raise ValueError("after the items")
        finally:
            self.closed += 1

    def echo(self) -> Iterator[Any]:
        said = None
        while True:
            try:
                said = yield said
            except KeyError as error:
                said = repr(error)


@pytest.fixture
def clerk(launch: Launch) -> Iterator[Any]:
    with Clerk.options(**launch).spawn() as clerk:
        yield clerk


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(20):
            return await main()

    return asyncio.run(bounded())


async def arrival(gate: Gate) -> None:
    await asyncio.to_thread(gate.wait_for_arrival)


# ------------------------------------------------------------------ calls


def test_every_operation_can_be_awaited(clerk: Any) -> None:
    async def main() -> None:
        assert await clerk.async_.write(1) == 1
        assert await clerk.async_.lines.get_() == [1]
        assert await clerk.async_.lines.__ == [1]
        assert await clerk.async_.lines[0].get_() == 1
        assert await clerk.async_.lines.passto(len) == 1
        assert await clerk.async_.myself() is clerk
        with pytest.raises(ValueError, match="no"):
            await clerk.async_.fail("no")

    run(main)


def test_a_thousand_awaits_at_once_keep_their_order(clerk: Any) -> None:
    async def main() -> None:
        results = await asyncio.gather(*(clerk.async_.write(i) for i in range(1000)))
        assert results == list(range(1000))

    before = threading.active_count()
    run(main)
    assert threading.active_count() <= before + 1  # the reactor, for a moment
    assert clerk.lines.get_() == list(range(1000))


@pytest.mark.engines(skip={"inline": "listens at no address"})
def test_awaits_keep_their_order_while_their_connection_is_made(clerk: Any) -> None:
    """A copy has a connection of its own. Some await before it is there, some when it just is."""
    copy = pickle.loads(pickle.dumps(clerk))

    async def main() -> None:
        tasks = []
        for number in range(600):
            tasks.append(asyncio.create_task(copy.async_.write(number)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert clerk.lines.get_() == list(range(600))


def test_a_call_is_a_coroutine_for_tasks_and_task_groups(clerk: Any) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(clerk.async_.write(i)) for i in range(10)]
        assert [task.result() for task in tasks] == list(range(10))
        assert await asyncio.wait_for(clerk.async_.write("x"), 10) == "x"

    run(main)


def test_a_call_is_made_when_it_is_awaited_and_not_before(clerk: Any) -> None:
    async def main() -> None:
        later = clerk.async_.write("later")
        assert clerk.write("first") == "first"
        await later

    run(main)
    assert clerk.lines.get_() == ["first", "later"]


def test_a_future_can_be_awaited_too(clerk: Any) -> None:
    async def main() -> None:
        assert await asyncio.wrap_future(clerk.future_.write(1)) == 1
        with pytest.raises(ValueError, match="no"):
            await asyncio.wrap_future(clerk.future_.fail("no"))

    run(main)


@pytest.mark.engines(skip=NO_THREAD)
def test_the_loop_runs_on_while_a_call_is_awaited(clerk: Any, gate: Gate) -> None:
    async def main() -> None:
        parked = asyncio.create_task(clerk.async_.wait_at(gate))
        await arrival(gate)
        assert not parked.done()
        gate.open()
        assert await parked == "waited"

    run(main)


@pytest.mark.engines(skip={**NO_THREAD, **SLOW_CANCEL})
def test_time_limits_of_both_kinds_end_the_await(clerk: Any, gate: Gate) -> None:
    async def main() -> None:
        parked = asyncio.create_task(clerk.async_.wait_at(gate))
        await arrival(gate)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.01):
                await clerk.async_.write("too late")
        assert not isinstance(caught.value, CallTimeoutError)
        with pytest.raises(CallTimeoutError):
            await clerk.with_(timeout=0.01).async_.write("too late as well")
        gate.open()
        await parked
        assert await clerk.async_.lines.get_() == []

    run(main)


@pytest.mark.engines(skip={**NO_THREAD, **SLOW_CANCEL})
def test_a_call_that_is_cancelled_before_it_began_never_runs(clerk: Any, gate: Gate) -> None:
    async def main() -> None:
        parked = asyncio.create_task(clerk.async_.wait_at(gate))
        await arrival(gate)
        tasks = [asyncio.create_task(clerk.async_.write(i)) for i in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        assert tasks[1].cancelled()
        gate.open()
        assert list(await asyncio.gather(parked, tasks[0], tasks[2])) == ["waited", 0, 2]
        assert await clerk.async_.lines.get_() == [0, 2]

    run(main)


@pytest.mark.engines(skip=NO_THREAD)
def test_awaits_wait_for_room_in_their_order_and_other_calls_do_not_wait_behind_them(
    clerk: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    IN_FLIGHT.set(monkeypatch, 3)

    async def main() -> None:
        parked = asyncio.create_task(clerk.async_.wait_at(gate))
        await arrival(gate)
        tasks = [asyncio.create_task(clerk.async_.write(i)) for i in range(10)]
        await asyncio.sleep(0)
        assert open_calls(clerk) == 3
        tasks[5].cancel()  # it has not even been pickled
        opening = threading.Thread(target=gate.open)
        opening.start()
        clerk.write("not awaited")  # by the loop's own thread, which waits
        opening.join()
        await asyncio.gather(parked, *tasks, return_exceptions=True)

    run(main)
    assert clerk.lines.get_() == [0, 1, "not awaited", 2, 3, 4, 6, 7, 8, 9]


def test_several_loops_in_several_threads_share_one_actor(clerk: Any) -> None:
    async def main(name: str) -> list[Any]:
        return list(await asyncio.gather(*(clerk.async_.write((name, i)) for i in range(200))))

    calls = [Call(lambda name=name: run(lambda: main(name))) for name in "abc"]
    for name, call in zip("abc", calls, strict=True):
        assert call.result() == [(name, i) for i in range(200)]
    for name in "abc":
        mine = [i for who, i in clerk.lines.get_() if who == name]
        assert mine == list(range(200))


@pytest.mark.engines(skip=CANT_DIE)
def test_each_await_ends_when_the_actor_dies(launch: Launch, gate: Gate) -> None:
    clerk = Clerk.options(**launch).spawn()

    async def main() -> None:
        parked = asyncio.create_task(clerk.async_.wait_at(gate))
        await arrival(gate)
        tasks = [asyncio.create_task(clerk.async_.write(i)) for i in range(100)]
        await asyncio.sleep(0)
        os.kill(clerk.pid_, signal.SIGKILL)
        errors = await asyncio.gather(parked, *tasks, return_exceptions=True)
        assert {type(error) for error in errors} == {ActorDiedError}
        assert [error.maybe_executed for error in errors] == [True] + [False] * 100  # type: ignore[union-attr]

    run(main)
    clerk.stop_()


@pytest.mark.engines(skip=NO_THREAD)
def test_a_loop_that_ended_with_calls_open_disturbs_nobody(clerk: Any, gate: Gate) -> None:
    async def main() -> None:
        asyncio.create_task(clerk.async_.wait_at(gate))  # noqa: RUF006  (cancelled with the loop)
        await arrival(gate)

    run(main)
    gate.open()
    assert clerk.write("on") == "on"


def test_a_default_stands_in_where_nobody_listens() -> None:
    clerk = Clerk.options(engine="thread").spawn()
    clerk.stop_()

    async def main() -> None:
        assert await clerk.with_(default="nobody").async_.write(1) == "nobody"
        with pytest.raises(NotListeningError):
            await clerk.async_.write(1)

    run(main)


# ------------------------------------------------------------------ streams


def connects(thread: threading.Thread) -> bool:
    return thread.name.startswith("remoteobj-connect")


def test_nothing_is_told_of_a_connection_that_fails_once_its_await_was_cancelled() -> None:
    told: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        waiting = asyncio.ensure_future(Proxy(Clerk()).async_.write(1))
        await asyncio.sleep(0)  # a thread connects, and the loop has not heard from it
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.to_thread(until, lambda: not any(map(connects, threading.enumerate())))
        await asyncio.sleep(0)  # what it says at its end is heard in the turn after that
        gc.collect()

    asyncio.run(main())
    assert told == []


def test_a_stream_is_gone_over_by_async_for(clerk: Any) -> None:
    async def main() -> None:
        assert [item async for item in clerk.async_.count(100)] == list(range(100))
        stream = await clerk.async_.count(5)
        assert [item async for item in stream] == list(range(5))
        assert [item async for item in clerk.count(5)] == list(range(5))
        clerk.lines = [1, 2]
        assert [item async for item in clerk.async_.lines] == [1, 2]

    run(main)


def test_the_exception_of_a_stream_comes_after_its_items(clerk: Any) -> None:
    async def main() -> None:
        items = []
        with pytest.raises(ValueError, match="after the items"):
            async for item in clerk.async_.count(40, fail=True):
                items.append(item)  # noqa: PERF401  (what came before the error counts)
        assert items == list(range(40))

    run(main)


def test_leaving_a_stream_closes_it_over_there(clerk: Any) -> None:
    async def main() -> None:
        items: AsyncGenerator[Any, None] = aiter(clerk.async_.count(10_000))
        assert await anext(items) == 0
        await items.aclose()

    run(main)
    until(lambda: clerk.closed.get_() == 1)


def test_values_and_exceptions_are_sent_into_a_stream(clerk: Any) -> None:
    async def main() -> None:
        stream = await clerk.async_.echo()
        assert await anext(stream) is None
        assert await stream.asend("a") == "a"
        assert await stream.athrow(KeyError("b")) == "KeyError('b')"
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    run(main)


@pytest.mark.engines(skip=NO_THREAD)
def test_one_coroutine_at_a_time_may_wait_for_an_item(clerk: Any, gate: Gate) -> None:
    async def main() -> None:
        stream = await clerk.async_.passto(wait_then_yield, gate)
        first = asyncio.create_task(anext(stream))
        await arrival(gate)
        with pytest.raises(RuntimeError, match="awaited already"):
            await anext(stream)
        gate.open()
        assert await first == "item"
        stream.close()

    run(main)


def wait_then_yield(clerk: Any, gate: Gate) -> Iterator[str]:
    gate.park()
    yield "item"
    yield "another"


def test_many_streams_and_calls_are_awaited_at_once(clerk: Any) -> None:
    async def collect(n: int) -> list[int]:
        return [item async for item in clerk.async_.count(n)]

    async def main() -> None:
        results = await asyncio.gather(
            *(collect(n) for n in range(20)), *(clerk.async_.write(i) for i in range(20))
        )
        assert results == [*(list(range(n)) for n in range(20)), *range(20)]

    run(main)
