"""The executor of an actor with an event loop: what is awaited goes on as a task of the loop.

Plain requests are run at once by a `SerialExecutor`, in the thread of the loop, so that each runs
alone between the awaits of the others. Where one gives something to be awaited, this is begun, and
its reply is delivered once it is over. Each request that is begun so has a context of its own, by
which its calls, and those of the tasks that it makes, know on whose behalf they are made.

Imported only by actors that have an event loop, as asyncio is large.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from types import CoroutineType
from typing import Any

from .._fast_typing import Protocol
from .._os.thread_unwind import ThreadUnwind
from .._pickling.codec import SCALARS, pickled
from .._protocol.messages import Frame, FrameParts, Kind
from ..errors import DeadlockError
from .announcing import is_answered
from .async_streams import AsyncStreamProducer
from .awaitables import finish, is_async_iterator, is_awaited
from .begun import Begun
from .clients import Client, StreamProducer
from .eager_tasks import task_starter
from .execution import Running, SerialExecutor
from .reentrancy import Reentrancy
from .replies import cut_off_frame, error_frame

__all__ = ["LoopExecutor", "LoopHost"]

_CALL, _VALUE = Kind.CALL, Kind.VALUE  # bare names: see `execution`

_mine: ContextVar[Begun | None] = ContextVar("remoteobj_request", default=None)
"""What is begun on whose behalf the running code runs."""


class LoopHost(Protocol):
    """What drives the loop, as the executor sees it. All of it is for the loop's own thread."""

    def deliver(self, client: Client, reply: FrameParts | None) -> None:
        """What was begun is over: write its reply, if it has one."""

    def room(self) -> None:
        """There is room to begin one more."""

    def flow(self, stream: StreamProducer) -> None:
        """A stream may go on, once it is its turn."""

    def unwind(self, exc: BaseException) -> None:
        """Leave the loop by this exception."""

    @property
    def thread(self) -> int:
        """The thread in which the loop runs."""
        ...

    @property
    def others_wait(self) -> bool:
        """Whether others than what runs would have a turn now."""
        ...

    @property
    def reentrancy(self) -> Reentrancy:
        """Says whether a plain call that waits for another actor holds the loop."""
        ...


class LoopExecutor:
    """Runs requests in the thread of an event loop.

    Args:
        serial: runs what is plain.
        limit: how many may be at work.
        host: drives the loop.
        root: gives the object.
        report: is told of failures that nobody waits for.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        serial: SerialExecutor,
        limit: int,
        host: LoopHost,
        root: Callable[[], Any],
        report: Callable[[BaseException], None],
    ) -> None:
        self._start_task = task_starter(loop)
        self.serial = serial
        self._limit = limit
        self._host = host
        self._reentrancy = host.reentrancy
        self._root = root
        self._report = report
        self.before_reply: Callable[[Client, Frame, FrameParts | None], FrameParts | None] | None
        """Sees each reply to what was awaited, and gives what is delivered."""
        self.before_reply = None
        self.before_item: Callable[[StreamProducer, Frame], Frame] | None = None
        """The same for what is sent of a stream whose items are awaited."""
        self.before_step: Callable[[StreamProducer], None] | None = None
        """Is told of each step of such a stream before it begins."""
        self.dropping = False
        """Whether what ends now does so since the process was told to end."""
        self._begun: dict[Begun, None] = {}
        """What is at work, the eldest first."""
        self._awaited = 0
        """How many of those are requests, which the serial executor has counted as done."""
        self._open_streams: set[AsyncStreamProducer] = set()
        """Those whose iterator is not closed, at work or not."""
        serial.later = self._take_on

    # --- requests ------------------------------------------------------------------------

    def run(self, client: Client, request: Frame) -> FrameParts | None:
        """Run a request that is plain; begin one that is awaited."""
        reply = self.serial.run(client, request)
        if reply is not None and (told := client.begun_calls) is not None:
            told.ends(request)
        return reply

    def has_room(self) -> bool:
        """Whether one more may be begun."""
        return len(self._begun) < self._limit

    @property
    def awaits_none(self) -> bool:
        """Whether no request is awaited."""
        return not self._awaited

    @property
    def has_streams(self) -> bool:
        """Whether there are streams whose iterator is not closed."""
        return bool(self._open_streams)

    def _take_on(self, client: Client, request: Frame, result: Any) -> bool:
        """Go on with a result that is awaited, or whose items are; False: it is none."""
        if type(result) is not CoroutineType:
            if self._is_made_stream(client, request, result):
                return True
            if not is_awaited(type(result)):
                return False
        if self._reentrancy.is_blocked:
            _let_go_of(result)
            raise DeadlockError(
                "the actor is within a plain call of its own, which waits for this one and holds "
                "the event loop meanwhile, so that nothing can be awaited: have it make its call "
                "by async_, and await that"
            )
        begun = Begun(client, request)
        self._awaited += 1
        self._begun[begun] = None
        self.start(begun, self._run(begun, result))
        if begun in self._begun:  # else its first step, which is noted as any request, was all
            self._note(begun)
        return True

    def _is_made_stream(self, client: Client, request: Frame, result: Any) -> bool:
        if not is_async_iterator(type(result)):
            return False
        if request.kind == Kind.CALL:
            stream = AsyncStreamProducer(client, request, result, self)
            client.streams[request.call_id] = stream
            self._open_streams.add(stream)
            client.send(Frame(Kind.STREAM, request.call_id))
            is_answered(client, request)
        return True

    async def _run(self, begun: Begun, awaitable: Any) -> None:
        """Await it, and deliver what comes of it."""
        client, request = begun.client, begun.request
        reply: FrameParts | None = None
        try:
            if type(awaitable) is not CoroutineType and isinstance(awaitable, asyncio.Future):
                # It is the object's own, and goes on whoever waits for it.
                awaitable = asyncio.shield(awaitable)
            result = await finish(awaitable)
            if request[0] == _CALL:
                if type(result) in SCALARS:
                    reply = (_VALUE, request[1], pickled(result, 5), (), b"", 0)
                elif not self._is_made_stream(client, request, result):
                    reply = self.serial.reply(client, request, result, False, self._root())
        except GeneratorExit:
            raise
        except BaseException as exc:
            reply = self._failed(begun, exc)
        if self.before_reply is not None and not self.dropping:
            reply = self.before_reply(client, request, reply)
        self._awaited -= 1
        self.end_work(begun)
        begun.let_go()
        if (told := client.begun_calls) is not None:
            told.ends(request)
        self._host.deliver(client, reply)

    def _failed(self, begun: Begun, exc: BaseException) -> FrameParts | None:
        if isinstance(exc, ThreadUnwind):
            self.unwind(exc)
        if begun.request.kind == _CALL:
            return self.error_frame(begun.request.call_id, begun.raised(exc))
        if not begun.given_up:
            self._report(exc)  # nobody waits to be told
        return None

    def error_frame(self, call_id: int, exc: BaseException) -> Frame:
        """The frame that carries what users' code has raised, or has let through."""
        if self.dropping and isinstance(exc, asyncio.CancelledError | ThreadUnwind):
            return cut_off_frame(call_id)
        return error_frame(call_id, exc)

    # --- what is at work -------------------------------------------------------------------

    def start(self, begun: Begun, coroutine: Coroutine[Any, Any, None]) -> None:
        """Begin a task on behalf of what is begun."""
        context = copy_context()
        context.run(_mine.set, begun)
        task = self._start_task(coroutine, context=context)
        if not task.done():
            begun.task = task

    def begin_work(self, begun: Begun) -> None:
        """It counts as running from now on."""
        self._begun[begun] = None
        self._note(begun)

    def _note(self, begun: Begun) -> None:
        if self.serial.recorder is not None:
            begun.place = self.serial.recorder.joins(begun.request.payload)

    def end_work(self, begun: Begun) -> None:
        """It does no longer."""
        if len(self._begun) == self._limit:
            self._host.room()
        self._begun.pop(begun, None)
        if begun.place is not None and self.serial.recorder is not None:
            self.serial.recorder.leaves(begun.place)
            begun.place = None

    def unwind(self, exc: BaseException) -> None:
        """The process is to end, by what users' code has let through."""
        self.dropping = True
        self._host.unwind(exc)

    def give_up(self, client: Client, call_id: int) -> None:
        """Nobody waits any more for a call that may be running: cancel it."""
        for begun in list(self._begun):
            if begun.is_of(client, call_id):
                begun.cancel()

    def cancel_all(self) -> None:
        """Cancel all that is at work."""
        for begun in list(self._begun):
            begun.cancel()

    # --- streams -------------------------------------------------------------------------

    def begin(self, client: Client, request: Frame) -> object:
        """What follows belongs to this request: steps of its plain stream, say."""
        return self.serial.begin(client, request)

    def step(self, stream: StreamProducer) -> Frame:
        """Run one step of a plain stream."""
        return self.serial.step(stream)

    def end(self, outer: Any) -> None:
        """No more follows for now."""
        self.serial.end(outer)

    def close(self, stream: StreamProducer) -> None:
        """Close the iterator of a stream that is not open any more."""
        if isinstance(stream, AsyncStreamProducer):
            stream.close()
        else:
            self.serial.close(stream)

    @property
    def others_wait(self) -> bool:
        """Whether others than what runs would have a turn now."""
        return self._host.others_wait

    def step_begins(self, stream: StreamProducer) -> None:
        """The next item of a stream is about to be made."""
        if self.before_step is not None:
            self.before_step(stream)

    def checked(self, stream: StreamProducer, frame: Frame) -> Frame:
        """What is sent in place of a frame of a stream: that, if nothing is amiss."""
        return frame if self.before_item is None else self.before_item(stream, frame)

    def items_follow(self, stream: StreamProducer) -> None:
        """A stream may go on, once it is its turn."""
        self._host.flow(stream)

    def is_over(self, stream: AsyncStreamProducer, exc: BaseException | None) -> None:
        """The iterator of a stream is closed; what that has raised."""
        self._open_streams.discard(stream)
        if exc is not None and not isinstance(exc, asyncio.CancelledError):
            self._report(exc)  # its consumer is not there to be told
        self._host.deliver(stream.client, None)

    # --- what is being run -----------------------------------------------------------------

    @property
    def done(self) -> int:
        """How many requests were run to their end."""
        return self.serial.done - self._awaited

    @property
    def current(self) -> Running | None:
        """On whose behalf the asking code runs; to another thread, what runs, or else the eldest of
        what is awaited."""
        running = self.serial.current
        if running is None:
            begun = _mine.get()
            if begun is not None and begun in self._begun:
                return begun.running
            if threading.get_ident() != self._host.thread:
                return next((one.running for one in self._at_work()), None)
        return running

    @property
    def all_running(self) -> list[Running]:
        """All that is begun and not over."""
        running = self.serial.all_running
        at_work = self._at_work()
        for one in running:  # whose first step may be that of a coroutine
            at_work = [begun for begun in at_work if begun.request is not one.request]
        return running + [begun.running for begun in at_work]

    def _at_work(self) -> list[Begun]:
        while True:
            try:
                return list(self._begun)
            except RuntimeError:  # the loop's thread has begun or ended one, just now
                continue

    def is_running(self, client: Client, call_id: int) -> bool:
        """Whether a call is being run, or an item of its stream made."""
        return self.serial.is_running(client, call_id) or any(
            begun.is_of(client, call_id) for begun in self._at_work()
        )


def _let_go_of(awaitable: Any) -> None:
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
