"""A stream whose items are awaited: of an asynchronous generator, or another such iterator.

One task goes over all of it, from the first item to the iterator's end, since a generator that has
entered a `timeout` or a `TaskGroup` must leave it in the task in which it has entered it. While the
consumer wants no more items, or others have their turn, the task is paused and counts for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from .._fast_typing import Protocol
from .._os.poller import clock
from .._os.thread_unwind import ThreadUnwind
from .._protocol.messages import Frame, Kind
from .awaitables import finish
from .begun import Begun
from .clients import Client, StreamProducer, raised_value, sent_value
from .replies import cut_off_frame, value_frame

__all__ = ["AsyncStreamProducer"]

BURST_SECONDS = 50e-6
"""How long a stream whose items come fast goes on before others have their turn."""


class Work(Protocol):
    """The executor, as a stream sees it."""

    def start(self, begun: Begun, coroutine: Coroutine[Any, Any, None]) -> None:
        """Begin the task, on behalf of what is begun."""

    def error_frame(self, call_id: int, exc: BaseException) -> Frame:
        """The frame that carries what users' code has raised."""
        ...

    def unwind(self, exc: BaseException) -> None:
        """The process is to end, by what users' code has let through."""

    def begin_work(self, begun: Begun) -> None:
        """It counts as running from now on."""

    def end_work(self, begun: Begun) -> None:
        """It does not, until it has its next turn."""

    def step_begins(self, stream: StreamProducer) -> None:
        """The next item is about to be made."""

    def checked(self, stream: StreamProducer, frame: Frame) -> Frame:
        """What is sent in place of a frame: that, if nothing is amiss."""
        ...

    def items_follow(self, stream: StreamProducer) -> None:
        """The stream may go on, once it is its turn."""

    def is_over(self, stream: AsyncStreamProducer, exc: BaseException | None) -> None:
        """Its iterator is closed; what that has raised."""

    @property
    def others_wait(self) -> bool:
        """Whether others than what runs would have a turn now."""
        ...


class AsyncStreamProducer(StreamProducer):
    """An open stream, as `StreamProducer` has it, that makes its items in a task of its own."""

    def __init__(
        self, client: Client, request: Frame, iterator: AsyncIterator[Any], work: Work
    ) -> None:
        self._items: Any = iterator
        super().__init__(client, request, iterator)
        self._work = work
        self._begun = Begun(client, self.request)
        self._at_work = False
        self._turn: asyncio.Future[None] | None = None
        """What its task waits for where it is paused."""

    def go_on(self) -> None:
        """It is its turn: make some items. Harmless while it is at work."""
        if self._at_work:
            return
        self._begin_work()
        if self._turn is None:
            self._work.start(self._begun, self._produce())
        else:
            self._turn.set_result(None)

    def close(self) -> None:
        """Have the iterator closed, now that the stream is not open any more: at what it awaits, or
        where it is paused, or without ever having begun. Harmless when it is closed."""
        if self._at_work:
            self._begun.cancel()
        else:
            self.go_on()

    # --- in its task ----------------------------------------------------------------------

    async def _produce(self) -> None:
        burst = clock() + BURST_SECONDS
        cancelled: asyncio.CancelledError | None = None
        while self.open:
            self._work.step_begins(self)
            frame, cancelled = await self._next_frame(cancelled), None
            if not self.open:
                break
            frame = self._work.checked(self, frame)
            self.client.send(frame)
            self.credit -= 1
            if frame.kind != Kind.ITEM:
                self.end()
                break
            if self.credit <= 0 or self.client.unsent or self._work.others_wait or clock() > burst:
                cancelled = await self._pause()
                burst = clock() + BURST_SECONDS
        await self._close()

    async def _next_frame(self, cancelled: asyncio.CancelledError | None) -> Frame:
        """The frame of the next item, of the end, or of the error: of that by which it is
        cancelled, if it is so by now."""
        try:
            if cancelled is not None:
                raise cancelled
            item = await finish(self._next())
        except StopAsyncIteration:
            return value_frame(Kind.END, self.call_id, None)
        except GeneratorExit:
            raise
        except ThreadUnwind as exc:
            self._work.unwind(exc)
            return cut_off_frame(self.call_id)
        except BaseException as exc:
            return self._work.error_frame(self.call_id, self._begun.raised(exc))
        finally:
            cancelled = None  # it leads to this frame
        return value_frame(Kind.ITEM, self.call_id, item, self.client.channel.writable)

    async def _next(self) -> Any:
        """The next item, made by users' code; raises what that raises."""
        if not self.commands:
            return await anext(self._items)
        command = self.commands.popleft()
        if command.kind == Kind.SEND:
            return await self._items.asend(sent_value(command))
        return await self._items.athrow(raised_value(command))

    async def _pause(self) -> asyncio.CancelledError | None:
        """Wait for the next turn. What cancels it just as that comes must not end the task, which
        has the iterator to close."""
        self._turn = asyncio.get_running_loop().create_future()
        self._at_work = False
        self._work.end_work(self._begun)
        self._work.items_follow(self)
        try:
            await self._turn
        except asyncio.CancelledError as exc:
            if not self._at_work:
                self._begin_work()
            return exc
        finally:
            self._turn = None
        return None

    def _begin_work(self) -> None:
        self._at_work = True
        self._begun.since = clock()
        self._work.begin_work(self._begun)

    async def _close(self) -> None:
        """Close the iterator, and be over."""
        error: BaseException | None = None
        try:
            close = getattr(self._items, "aclose", None)
            if close is not None:
                await finish(close())
        except GeneratorExit:
            raise
        except BaseException as exc:
            error = exc
        self._work.end_work(self._begun)
        self._begun.let_go()
        self._work.is_over(self, error)
