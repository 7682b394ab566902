"""Actors whose classes have `async def` methods, and some that call them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

from remoteobj import current, remote

label: ContextVar[str] = ContextVar("label", default="")


@remote
class Desk:
    """Writes down what happens to it. Some of its calls wait until it is told to go on."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.doors: dict[str, asyncio.Event] = {}
        self.inside = self.most = 0
        self.has_loop = asyncio.get_running_loop() is not None
        self.answer = asyncio.get_running_loop().create_future()
        self.background = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.events.append("background ended")

    def _door(self, name: str) -> asyncio.Event:
        return self.doors.setdefault(name, asyncio.Event())

    async def pass_door(self, name: str) -> str:
        self.events.append(f"at {name}")
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self._door(name).wait()
        except asyncio.CancelledError:
            self.events.append(f"cancelled at {name}")
            raise
        finally:
            self.inside -= 1
        return f"through {name}"

    async def pass_stubbornly(self, name: str) -> str:
        try:
            await self._door(name).wait()
        except asyncio.CancelledError:
            self.events.append("stayed")
        return "went on"

    def open(self, name: str) -> None:
        self._door(name).set()

    def take_events(self) -> list[Any]:
        taken, self.events = self.events, []
        return taken

    async def at_once(self, value: Any = None) -> Any:
        return value

    def plainly(self, value: Any = None) -> Any:
        return value

    async def turns(self, name: str, count: int, door: str = "") -> None:
        if door:
            await self._door(door).wait()
        for _ in range(count):
            self.events.append(name)
            await asyncio.sleep(0)

    def turns_alone(self, name: str, count: int) -> None:
        for _ in range(count):
            self.events.append(name)

    async def fail(self, error: BaseException) -> None:
        await asyncio.sleep(0)
        raise error

    async def in_time(self) -> tuple[bool, str]:
        """`timeout` and `TaskGroup` need a task, from the first step on."""
        first, outcome = asyncio.current_task(), "in time"
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            outcome = "timed out"
        async with asyncio.TaskGroup() as group:
            inner = group.create_task(asyncio.sleep(0, "grouped"))
        return asyncio.current_task() is first is not None, f"{outcome}, {inner.result()}"

    async def labelled(self, text: str) -> tuple[str, str]:
        before = label.get()
        label.set(text)
        await asyncio.sleep(0)
        return before, label.get()

    async def itself(self) -> "Desk":
        return self

    async def who_am_i(self) -> bool:
        await asyncio.sleep(0)
        told = await asyncio.gather(_current_is(self.remote), _current_is(self.remote))
        return all(told) and self.remote == current()

    async def count(self, n: int) -> AsyncIterator[int]:
        try:
            for i in range(n):
                await asyncio.sleep(0)
                yield i
        finally:
            self.events.append("closed")

    def count_plainly(self, n: int) -> Iterator[int]:
        yield from range(n)

    async def echo(self) -> AsyncIterator[Any]:
        said = None
        while True:
            try:
                said = yield said
            except KeyError as error:
                said = repr(error)

    async def stall(self) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            self.events.append("stall closed")

    async def guarded(self, n: int) -> AsyncIterator[int]:
        """A `timeout` that is entered in one step and left in another."""
        async with asyncio.timeout(60):
            for i in range(n):
                yield i

    async def rows_later(self) -> AsyncIterator[int]:
        return self.count(3)

    # --- with others -------------------------------------------------------------------------

    async def ask(self, other: Any, method: str = "at_once") -> Any:
        return await other.async_.call_back(self.remote, method)

    def ask_plainly(self, other: Any, method: str) -> Any:
        return other.call_back(self.remote, method)

    async def ask_itself(self) -> list[Any]:
        mine = self.remote
        awaited = [await mine.at_once(1), await mine.async_.at_once(2)]
        future = await asyncio.wrap_future(mine.future_.at_once(3))
        mine.cast_.turns("cast", 1)
        items = [item async for item in mine.async_.count(2)]
        return [*awaited, future, items]


async def _current_is(proxy: Any) -> bool:
    await asyncio.sleep(0)
    return bool(current() == proxy)


@remote
class Friend:
    """Calls back whoever calls it."""

    def call_back(self, caller: Any, method: str) -> Any:
        return getattr(caller, method)("called back")


@remote
class AsyncFriend:
    """The same, without blocking."""

    async def call_back(self, caller: Any, method: str) -> Any:
        return await getattr(caller.async_, method)("called back")


async def count_events(desk: Desk, more: int) -> int:
    await asyncio.sleep(0)
    return len(desk.events) + more


async def make_desk(words: str) -> Desk:
    """A factory that is itself `async def`."""
    await asyncio.sleep(0)
    desk = Desk()
    desk.events.append(words)
    return desk
