"""Calls and streams that are awaited. Imported by those alone who use it, as asyncio is large.

No thread waits for an outcome here: whoever reads the connection, mostly the reactor, hands it
to the event loop that wants it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from functools import partial
from typing import Any

from .._protocol.calls import PendingCall
from .._protocol.operations import Steps
from ..errors import ActorDiedError, NotListeningError
from .call_options import CallOptions
from .connection import Connection, ConnectionEndedError
from .endpoint import Endpoint, Fallback, encode, fallback_or_raise, result_of
from .event_loop import LoopBridge, bridge_of_this_loop

__all__ = ["AwaitableCall", "call"]


class AwaitableCall(Coroutine[Any, Any, Any]):
    """A call that is made when it is awaited. `async for` goes over the stream it gives."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    async def __aiter__(self) -> AsyncIterator[Any]:
        stream = await self
        try:
            async for item in stream:
                yield item
        finally:
            stream.close()


# --- calls that wait for room ----------------------------------------------------------------


class _Backlog:
    """The calls of one event loop that wait for room on one connection, in their order.

    A call is pickled when its turn comes, so that those who wait take no memory. One that the
    loop's thread makes in another way, without awaiting, comes after them all the same.
    """

    def __init__(self, connection: Connection, bridge: LoopBridge) -> None:
        self._connection = connection
        self._bridge = bridge
        self._queue: deque[tuple[asyncio.Future[PendingCall], Callable[[], PendingCall]]] = deque()
        self._thread = threading.get_ident()

    async def turn(self, act: Callable[[], PendingCall]) -> PendingCall:
        """Call `act` when there is room, and those before have had their turn."""
        turn: asyncio.Future[PendingCall] = asyncio.get_running_loop().create_future()
        self._queue.append((turn, act))
        if len(self._queue) == 1:
            self._wait()
        return await turn

    def _wait(self) -> None:
        self._connection.backlogs[self._thread] = self
        self._connection.when_room(lambda: self._bridge.do(self._pump))

    def _pump(self) -> None:
        self._connection.backlogs.pop(self._thread, None)
        while self._queue and (self._connection.end is not None or not self._connection.full):
            self._have_turn()
        if self._queue:
            self._wait()

    def flush(self) -> None:
        """Have all turns now, waiting for room: the thread goes on to make another call."""
        self._connection.backlogs.pop(self._thread, None)
        while self._queue:
            self._connection.wait_for_room()
            self._have_turn()

    def _have_turn(self) -> None:
        turn, act = self._queue.popleft()
        if not turn.done():  # cancelled
            try:
                turn.set_result(act())
            except Exception as exc:
                turn.set_exception(exc)


async def _in_turn(
    connection: Connection, bridge: LoopBridge, act: Callable[[], PendingCall]
) -> PendingCall:
    backlog = connection.backlogs.get(threading.get_ident())
    if backlog is None:
        if not connection.full:
            return act()
        backlog = _Backlog(connection, bridge)
    assert isinstance(backlog, _Backlog)
    return await backlog.turn(act)


# --- calls ---------------------------------------------------------------------------------


async def call(
    endpoint: Endpoint, steps: Steps, owner: object, otherwise: Fallback, options: CallOptions
) -> Any:
    """`Endpoint.call`, awaited; the call is made here, when this begins to run."""
    try:
        if options.timeout is None:
            connection, pending = await _answer(endpoint, steps)
        else:
            connection, pending = await _answer_in_time(endpoint, steps, options)
        endpoint.check(pending)
    except (NotListeningError, ActorDiedError) as exc:
        return fallback_or_raise(exc, otherwise)
    return result_of(connection, pending, owner, options)


async def _answer_in_time(
    endpoint: Endpoint, steps: Steps, options: CallOptions
) -> tuple[Connection, PendingCall]:
    scope = asyncio.timeout(options.timeout)
    sent: list[PendingCall] = []
    try:
        async with scope:
            return await _answer(endpoint, steps, sent.append)
    except TimeoutError:
        if scope.expired():
            # Asking the actor why takes time too: not the loop's.
            raise await asyncio.to_thread(endpoint.timed_out, options, *sent) from None
        raise


async def _answer(
    endpoint: Endpoint, steps: Steps, tell: Callable[[PendingCall], object] | None = None
) -> tuple[Connection, PendingCall]:
    bridge = bridge_of_this_loop()
    loop = asyncio.get_running_loop()
    while True:
        connection = endpoint.open_connection or await _connected(endpoint, bridge)
        arrival: asyncio.Future[None] = loop.create_future()
        send = partial(_send, connection, steps, bridge, partial(bridge.wake, arrival))
        try:
            if connection.full or connection.backlogs:
                pending = await _in_turn(connection, bridge, send)
            else:
                pending = send()
        except ConnectionEndedError:
            continue  # nothing was sent: try a new one
        if tell is not None:
            tell(pending)
        try:
            await arrival
        except asyncio.CancelledError:
            connection.abandon(pending)
            raise
        return connection, pending


def _send(
    connection: Connection, steps: Steps, bridge: LoopBridge, heard: Callable[[PendingCall], object]
) -> PendingCall:
    payload, buffers = encode(steps, connection.writable)
    return connection.submit(payload, buffers, heard, False, bridge.may_batch(connection))


async def _connected(endpoint: Endpoint, bridge: LoopBridge) -> Connection:
    """The connection; where one must be made, that takes a thread, but one for all."""
    attempt = bridge.attempts.get(endpoint)
    if attempt is None:
        attempt = asyncio.ensure_future(asyncio.to_thread(endpoint.ensure_connected))
        bridge.attempts[endpoint] = attempt
        attempt.add_done_callback(lambda _: bridge.attempts.pop(endpoint))
    found: Connection = await asyncio.shield(attempt)
    return found
