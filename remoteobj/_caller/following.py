"""The caller's end of what an object publishes. Imported only by what follows one."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, NoReturn

from .._protocol.messages import Bytes, Frame, Kind
from .._wire.auth import FOLLOWS
from .._wire.channel import Channel
from ..errors import NotListeningError
from .answers import decode_answer
from .call_options import CallOptions
from .connection import Connection
from .endpoint import Endpoint
from .streams import Stream

__all__ = ["Follower", "follow"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

_NUMBER: Final = struct.Struct("<Q")


class _Count:
    """How many items were published, and how many of them came here."""

    def __init__(self, before: Frame) -> None:
        self._last: int = _NUMBER.unpack(before.metadata)[0]
        self.dropped: int = 0

    def read(self, frame: Frame, sent: Bytes) -> Any:
        """The item in a frame."""
        if frame.kind == Kind.ITEM:
            (number,) = _NUMBER.unpack(frame.metadata)
            self.dropped += number - self._last - 1
            self._last = number
        return decode_answer(frame)


class Follower(Iterator[Any], AsyncIterator[Any]):
    """The items that an object publishes, from the moment in which this was made.

    It has `for` and `async for`, `next` and `anext`. The end of the object ends it; so does
    `close`, leaving it as a `with` block, and forgetting it. One thread or coroutine at a time may
    ask it for an item.
    """

    def __init__(self, stream: Stream[Any], connection: Connection, count: _Count) -> None:
        self._stream = stream
        self._connection = connection
        self._count = count

    @property
    def dropped(self) -> int:
        """How many items were published before the last one that came, and did not come."""
        return self._count.dropped

    def __iter__(self) -> Follower:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._stream)
        finally:
            self._close_if_over()

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> Any:
        try:
            return await anext(self._stream)
        finally:
            self._close_if_over()

    def close(self) -> None:
        """Follow no more. Harmless when done twice; a thread that waits for an item finds the end
        of the iteration."""
        self._stream.close()
        self._close_if_over()

    async def aclose(self) -> None:
        """`close`, which waits for nothing either."""
        self.close()

    def _close_if_over(self) -> None:
        if self._stream.over:
            self._connection.close()

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Follower:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a follower can't be pickled, since what it follows comes to this process: send the "
            "proxy, and call follow_ there"
        )

    def __repr__(self) -> str:
        state = "over" if self._stream.over else "open"
        return f"<Follower of published items, {state}, {self.dropped} dropped>"


def follow(
    endpoint: Endpoint, channel: Channel | None, owner: object, options: CallOptions, length: int
) -> Follower:
    """Begin to follow an object.

    Args:
        channel: leads to its publication; None: one is made.
        owner: kept alive as long as the follower is.
        length: how many items may wait for it over there.

    Raises:
        NotListeningError, ActorDiedError, CallTimeoutError: as a call.
    """
    connection = _connected(endpoint) if channel is None else endpoint.over(channel)
    options = options._replace(interrupt=False)
    try:
        pending = connection.call(_NUMBER.pack(length), ())
        if not connection.wait(pending, options.deadline()):
            raise endpoint.timed_out(options, None, "did not let this process follow")
        endpoint.check(pending)
    except BaseException:
        connection.close()
        raise
    assert pending.first is not None
    count = _Count(pending.first)
    stream = Stream(
        connection,
        pending,
        count.read,
        owner,
        window=1,
        timeout=options.timeout,
        timed_out=lambda: endpoint.timed_out(options, None, "published nothing"),
    )
    return Follower(stream, connection, count)


def _connected(endpoint: Endpoint) -> Connection:
    try:
        return endpoint.connect(FOLLOWS)
    except NotListeningError:
        # Its owner knows better, if it has died: the connection for calls tells.
        endpoint.ensure_connected().poll()
        endpoint.ensure_connected()
        raise
