"""Event loops: how what another thread has read gets to the coroutine that awaits it.

Imported by those alone who use it: asyncio takes as long as all our imports together.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NoReturn, Protocol
from weakref import WeakKeyDictionary

from .._protocol.calls import PendingCall
from .connection import Connection

__all__ = ["LoopBridge", "bridge_of_this_loop", "step"]


class LoopBridge:
    """Where other threads leave work for one event loop, which they wake once for all of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._jobs: deque[Callable[[], object]] = deque()
        self._arrived: deque[asyncio.Future[None]] = deque()
        self._called = False
        self._holding: list[Connection] = []
        self.attempts: dict[object, asyncio.Future[Any]] = {}
        """By endpoint: the connecting that is under way."""

    def do(self, job: Callable[[], object]) -> None:
        """Run `job` in the loop. From any thread."""
        self._jobs.append(job)
        self._call()

    def wake(self, arrival: asyncio.Future[None], pending: PendingCall) -> None:
        """Say that something came for this ticket. From any thread."""
        self._arrived.append(arrival)
        if not self._called:
            self._call()

    def may_batch(self, connection: Connection) -> bool:
        """Whether a call made now may be held back: until this turn of the loop is over, if it is
        not the first one in it. To write many at once takes less of everybody's time."""
        if connection in self._holding:
            return True
        loop = self._loop()
        if loop is not None:
            self._holding.append(connection)
            loop.call_soon(self._flush)
        return False

    def _flush(self) -> None:
        holding, self._holding = self._holding, []
        for connection in holding:
            connection.flush()

    def _call(self) -> None:
        if not self._called:
            self._called = True
            loop = self._loop()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                if loop is not None:
                    loop.call_soon_threadsafe(self._work)

    def _work(self) -> None:
        self._called = False  # before it looks: what comes after that calls again
        while self._arrived:
            arrival = self._arrived.popleft()
            if not arrival.done():
                arrival.set_result(None)
        while self._jobs:
            self._jobs.popleft()()


_bridges: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopBridge] = WeakKeyDictionary()


class _Last(threading.local):
    loop: Callable[[], asyncio.AbstractEventLoop | None] = staticmethod(lambda: None)
    bridge: LoopBridge


_last = _Last()
"""The desk that was asked for last in this thread: to find it so takes a tenth of the time."""


def bridge_of_this_loop() -> LoopBridge:
    """The desk of the event loop that runs in this thread."""
    loop = asyncio.get_running_loop()
    if _last.loop() is loop:
        return _last.bridge
    bridge = _bridges.get(loop)
    if bridge is None:
        bridge = _bridges[loop] = LoopBridge(loop)
    _last.loop, _last.bridge = weakref.ref(loop), bridge
    return bridge


class Awaited(Protocol):
    """A stream, as the coroutine that awaits its next item sees it."""

    connection: Connection
    pending: PendingCall
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
    bridge = bridge_of_this_loop()
    while not stream.pending.ready:
        arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stream.connection.listen(stream.pending, partial(bridge.wake, arrival))
        await arrival
