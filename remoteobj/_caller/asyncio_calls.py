"""Calls and streams that are awaited. Imported when the first one is made, as asyncio is large.

No thread waits for an outcome here: the event loop reads the connection itself, or is woken by
another thread that does (`event_loop`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from .._protocol.calls import PendingCall
from .._protocol.operations import Steps
from ..errors import ActorDiedError, NotListeningError
from .answers import Fallback, fallback_or_raise
from .call_options import CallOptions
from .connecting import Connecting
from .connection import Connection, ConnectionEndedError
from .endpoint import Endpoint, encode, result_of
from .event_loop import LoopBridge, bridge_of_this_loop

__all__ = ["AwaitableCall", "call"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

OWN_READS = 8
"""A loop that makes many calls in one turn takes outcomes in, once in so many calls: else an actor
whose outcomes are big would have to wait until it can write any further."""


class AwaitableCall(Coroutine[Any, Any, R_co]):
    """A call that is made when it is awaited. `async for` goes over the stream it gives."""

    def __init__(self, coroutine: Coroutine[Any, Any, R_co]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, R_co]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        try:
            return self._coroutine.throw(*error)
        finally:
            del error  # whose traceback leads here

    def close(self) -> None:
        self._coroutine.close()

    async def __aiter__(
        self: AwaitableCall[Iterator[T] | AsyncIterator[T]],
    ) -> AsyncIterator[T]:
        stream: Any = await self
        if not hasattr(stream, "__aiter__"):  # of an object that lives in this process
            for item in stream:
                yield item
            return
        try:
            async for item in stream:
                yield item
        finally:
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()


async def call(
    endpoint: Endpoint, steps: Steps, owner: object, otherwise: Fallback, options: CallOptions
) -> Any:
    """As `Endpoint.call`, awaited. The call is made when the coroutine begins to run."""
    sent: list[PendingCall] = []
    try:
        if options.timeout is None:
            connection, pending = await _answer(endpoint, steps, sent.append)
        else:
            connection, pending = await _answer_in_time(endpoint, steps, options, sent)
        endpoint.check(pending)
    except asyncio.CancelledError:
        for pending in sent:
            endpoint.given_up(pending, options)
        raise
    except (NotListeningError, ActorDiedError) as exc:
        return fallback_or_raise(exc, otherwise)
    return result_of(endpoint, connection, pending, owner, options)


async def _answer_in_time(
    endpoint: Endpoint, steps: Steps, options: CallOptions, sent: list[PendingCall]
) -> tuple[Connection, PendingCall]:
    scope = asyncio.timeout(options.timeout)
    try:
        async with scope:
            return await _answer(endpoint, steps, sent.append)
    except TimeoutError:
        if scope.expired():
            # To ask the actor why takes time too, in which the loop must run on.
            raise await asyncio.to_thread(
                endpoint.timed_out, options, sent[0] if sent else None
            ) from None
        raise


async def _answer(
    endpoint: Endpoint, steps: Steps, tell: Callable[[PendingCall], object]
) -> tuple[Connection, PendingCall]:
    """Make a call and wait for its outcome; `tell` gets the call when it is sent."""
    bridge = bridge_of_this_loop()
    while True:
        connection = endpoint.open_connection
        if connection is None or endpoint in bridge.connecting:
            connection = await _connected(endpoint, bridge)
        limit = bridge.limit_of(connection)
        send = partial(_send, connection, steps, bridge)
        try:
            pending = (
                limit.begin(send)
                if limit.has_room
                else await limit.begin_in_turn(partial(copy_context().run, send))
            )
        except ConnectionEndedError:
            continue  # nothing was sent: try a new one
        try:
            tell(pending)
            if not pending.ready:
                await bridge.until_ready(connection, pending)
        except asyncio.CancelledError:
            connection.abandon(pending)
            raise
        finally:
            limit.end()
        return connection, pending


def _send(connection: Connection, steps: Steps, bridge: LoopBridge) -> PendingCall:
    payload, buffers = encode(steps, connection.writable)
    one_of_many = bridge.may_cork(connection)
    pending = connection.call_nowait(payload, buffers, one_of_many)
    if one_of_many and not (pending.call_id % OWN_READS or pending.ready):
        connection.poll(once=True)  # while the last are sent, the first are answered
    return pending


async def _connected(endpoint: Endpoint, bridge: LoopBridge) -> Connection:
    """The connection. To make one takes a thread: one for all calls that wait for it."""
    connecting = bridge.connecting.get(endpoint)
    if connecting is None:
        forget = partial(bridge.connecting.pop, endpoint, None)
        connecting = bridge.connecting[endpoint] = Connecting(endpoint, forget)
    return await connecting.connection()
