"""Event loops: how what another thread has read gets to the coroutine that awaits it.

Imported by those alone who use it: asyncio takes as long as all our imports together.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NoReturn, Protocol
from weakref import WeakKeyDictionary

from ._connection import Connection
from ._protocol import Ticket

__all__ = ["Desk", "desk_here", "step"]


class Desk:
    """Where other threads leave work for one event loop, which they wake once for all of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._jobs: deque[Callable[[], object]] = deque()
        self._called = False
        self.attempts: dict[object, asyncio.Future[Any]] = {}
        """By endpoint: the connecting that is under way."""

    def do(self, job: Callable[[], object]) -> None:
        """Run `job` in the loop. From any thread."""
        self._jobs.append(job)
        if not self._called:
            self._called = True
            loop = self._loop()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                if loop is not None:
                    loop.call_soon_threadsafe(self._work)

    def _work(self) -> None:
        self._called = False  # before it looks: what comes after that calls again
        while self._jobs:
            self._jobs.popleft()()

    def wake(self, arrival: asyncio.Future[None], ticket: Ticket) -> None:
        """Say that something came for this ticket. From any thread."""
        self.do(partial(_set, arrival))


def _set(future: asyncio.Future[Any], value: Any = None) -> None:
    if not future.done():
        future.set_result(value)


_desks: WeakKeyDictionary[asyncio.AbstractEventLoop, Desk] = WeakKeyDictionary()


def desk_here() -> Desk:
    """The desk of the event loop that runs in this thread."""
    loop = asyncio.get_running_loop()
    desk = _desks.get(loop)
    if desk is None:
        desk = _desks[loop] = Desk(loop)
    return desk


class Awaited(Protocol):
    """A stream, as the coroutine that awaits its next item sees it."""

    connection: Connection
    ticket: Ticket
    timeout: float | None

    def awaited(self) -> AbstractContextManager[None]: ...

    def take(self) -> Any: ...

    def time_out(self) -> NoReturn: ...


async def step(stream: Awaited, begin: Callable[[], None]) -> Any:
    """One item of a stream, after `begin` has asked for it."""
    try:
        with stream.awaited():
            begin()
            scope = asyncio.timeout(stream.timeout)
            try:
                async with scope:
                    await _arrival(stream)
            except TimeoutError:
                if scope.expired():
                    stream.time_out()
                raise
            return stream.take()
    except StopIteration as stop:
        raise StopAsyncIteration(*stop.args) from None


async def _arrival(stream: Awaited) -> None:
    desk = desk_here()
    while not stream.ticket.ready:
        arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stream.connection.listen(stream.ticket, partial(desk.wake, arrival))
        await arrival
