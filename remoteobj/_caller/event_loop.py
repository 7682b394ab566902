"""Event loops: how what comes gets to the coroutine that awaits it.

::

    sent ──> a look in each turn of the loop, for some µs ──> here
                └──> the loop reads the connection (`loop_reader`) ──> here
                        └──> where it can't, or another thread is at it: that one wakes the loop

A short call is over before its loop has anything to sleep for. So one await at a time, before it
sleeps, looks whether its outcome is here, and lets the loop do all else between two looks.

Imported only by what awaits: to import asyncio takes as long as all imports of the package
together.
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
from typing import Any
from weakref import WeakKeyDictionary

from .._fast_typing import Protocol
from .._os.poller import MAX_CREDIT, MISS_COST, RETRY_CREDIT, clock
from .._protocol.calls import PendingCall
from ..errors import CallTimeoutError
from . import async_calls
from .connection import Connection
from .loop_reader import LoopReader, runs_here

Send = Callable[[], PendingCall]

__all__ = ["CallLimit", "LoopBridge", "bridge_of_this_loop", "step"]

SHORT_CALL = 30e-6
"""Seconds for which an await looks for its outcome: a short call takes less."""
RETRY_EVERY = 64
"""Once to look has not paid, it is tried again after so many awaits."""

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


class Looks:
    """Looks of awaits for their outcomes, and whether these pay.

    After some in vain it is tried only now and then, much as by `poller.SpinPoller`.
    """

    def __init__(self) -> None:
        self._looking = False
        self._credit = MAX_CREDIT
        self._skipped = 0

    def pay(self) -> bool:
        """Whether to look. One at a time does: where many wait, the loop reads for all of them."""
        if self._looking:
            return False
        if self._credit <= 0:
            self._skipped += 1
            if not self._skipped % RETRY_EVERY:
                self._credit = RETRY_CREDIT
        return self._credit > 0

    async def look(self, connection: Connection, call: PendingCall) -> None:
        """Look for the outcome of a call that was just sent, until it takes too long."""
        self._looking = True
        end = clock() + SHORT_CALL
        try:
            while not call.ready:
                await asyncio.sleep(0)
                if not connection.poll(once=True) or clock() >= end:
                    break
        finally:
            self._looking = False
        if call.ready:
            self._credit = min(MAX_CREDIT, self._credit + 1)
        else:
            self._credit -= MISS_COST


class LoopBridge:
    """Leads from reads of connections, in whatever thread, into one event loop.

    Other threads wake it once for all that they bring. All but `wake` is for the loop's own thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._arrived: deque[asyncio.Future[None]] = deque()
        self._called = False
        self._looks = Looks()
        self._readers: dict[Connection, LoopReader] = {}
        self._corked: list[Connection] = []
        self.limits: dict[Connection, CallLimit] = {}
        """For as long as calls of this loop are under way."""
        self.connecting: dict[object, Any] = {}
        """By endpoint: the connecting that is under way, and the calls that wait for it."""

    async def until_ready(self, connection: Connection, call: PendingCall) -> None:
        """Wait until something is here for a call."""
        if connection.runs_inline:
            connection.wait(call)
        if self._looks.pay():
            await self._looks.look(connection, call)
        while not call.ready:
            arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            on_ready = partial(self.wake, arrival)
            reader = self._readers.get(connection)
            if reader is None:
                forget = partial(self._readers.pop, connection, None)
                reader = self._readers[connection] = LoopReader(self._loop, connection, forget)
            try:
                connection.when_ready(call, on_ready, attended=reader.begin(call))
                await arrival
            finally:
                reader.end(call)

    def wake(self, arrival: asyncio.Future[None], _: PendingCall) -> None:
        """Have the loop set the result of this future: something is here. From any thread."""
        if runs_here(self._loop()):
            if not arrival.done():
                arrival.set_result(None)
            return
        self._arrived.append(arrival)
        if not self._called:
            self._called = True
            loop = self._loop()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                if loop is not None:
                    loop.call_soon_threadsafe(self._set_results)

    def _set_results(self) -> None:
        self._called = False  # before it looks: what comes after that calls again
        while self._arrived:
            arrival = self._arrived.popleft()
            if not arrival.done():
                arrival.set_result(None)

    def may_cork(self, connection: Connection) -> bool:
        """Whether a call made now may be corked until this turn of the loop is over, as is so if it
        is not the first one in this turn: to write many at once takes less time for all."""
        if connection in self._corked:
            return True
        loop = self._loop()
        if loop is not None:
            self._corked.append(connection)
            loop.call_soon(self._flush)
        return False

    def _flush(self) -> None:
        corked, self._corked = self._corked, []
        for connection in corked:
            connection.flush()

    def limit_of(self, connection: Connection) -> CallLimit:
        """The limit of the calls that this loop makes on this connection."""
        limit = self.limits.get(connection)
        if limit is None:
            limit = self.limits[connection] = CallLimit(connection, self)
        return limit


class CallLimit:
    """How many awaited calls of one event loop may be under way on one connection: a semaphore.

    It is fair: calls that wait for room are sent in the order in which they were made. Until then
    they are not pickled, and so take no memory. A call that is made without an await does not wait
    behind them.

    Invariant: while calls wait, at least one is under way, and its end lets in the next.
    """

    def __init__(self, connection: Connection, bridge: LoopBridge) -> None:
        self._connection = connection
        self._limits = bridge.limits
        self._under_way = 0
        self._waiting: deque[tuple[asyncio.Future[PendingCall], Send]] = deque()

    @property
    def has_room(self) -> bool:
        """Whether a call that is made now need not wait."""
        return not self._waiting and self._admits()

    def _admits(self) -> bool:
        under_way = self._under_way
        return not under_way or (
            under_way < async_calls.IN_FLIGHT and not self._connection.backed_up
        )

    def begin(self, send: Send) -> PendingCall:
        """Make a call by `send`; `end` must be called once it is over."""
        self._under_way += 1
        try:
            return send()
        except BaseException:
            self._under_way -= 1
            self._forget_if_idle()
            raise

    async def begin_in_turn(self, send: Send) -> PendingCall:
        """As `begin`, once there is room and those that came before have begun."""
        turn: asyncio.Future[PendingCall] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, send))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._connection.abandon(turn.result())  # it was sent just before
                self.end()
            raise

    def end(self) -> None:
        """A call is over, so that there may be room for the next."""
        self._under_way -= 1
        while self._waiting and self._admits():
            turn, send = self._waiting.popleft()
            if not turn.done():  # else it was cancelled
                try:
                    turn.set_result(self.begin(send))
                except Exception as exc:
                    turn.set_exception(exc)
        self._forget_if_idle()

    def _forget_if_idle(self) -> None:
        if not (self._under_way or self._waiting):
            self._limits.pop(self._connection, None)


_bridges: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopBridge] = WeakKeyDictionary()


class _Last(threading.local):
    loop: Callable[[], asyncio.AbstractEventLoop | None] = staticmethod(lambda: None)
    bridge: LoopBridge


_last = _Last()
"""The bridge that this thread asked for last: it is found here in a tenth of the time."""


def bridge_of_this_loop() -> LoopBridge:
    """The bridge into the event loop that runs in this thread."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError as exc:
        raise RuntimeError(
            "async_ needs the event loop of asyncio, and none runs here: call it in a coroutine "
            "that asyncio.run() runs, or use future_"
        ) from exc
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

    def timed_out(self) -> CallTimeoutError: ...

    def close(self) -> None: ...


async def step(stream: Awaited, begin: Callable[[], None]) -> Any:
    """One item of a stream, after `begin` has asked for it."""
    try:
        with stream.awaited():
            begin()
            if not stream.pending.ready:
                await _until_ready(stream)
            return stream.take()
    except StopIteration as stop:
        raise StopAsyncIteration(*stop.args) from None


async def _until_ready(stream: Awaited) -> None:
    waiting = bridge_of_this_loop().until_ready(stream.connection, stream.pending)
    if stream.timeout is None:
        return await waiting
    scope = asyncio.timeout(stream.timeout)
    try:
        async with scope:
            await waiting
    except TimeoutError:
        if scope.expired():
            # To ask the actor why takes time, in which the loop must run on.
            error = await asyncio.to_thread(stream.timed_out)
            stream.close()
            raise error from None
        raise
