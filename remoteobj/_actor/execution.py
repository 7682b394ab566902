"""The executor: runs one request, or one step of a stream, on the object, and says what came of it.

**The seam.** An executor stands between the mailbox, which decides what is next and writes the
replies, and the object. It is given a request and returns the frame that answers it; it is given a
stream and returns the frame of its next item. Whatever a user's code raises, returns or does to the
process meanwhile is in that frame; only `ThreadUnwind`, by which the process ends, goes through.
None in place of a frame: there is nothing to be written now. So it is for a cast, and for a request
that has only been begun: whoever made the executor is given that one's frame later, once.

`all_running` is all that is begun and not over, and `current` what of it the asking thread is at,
or, to a thread that is at none of it, what runs. `SerialExecutor` runs one thing at a time, in the
thread that calls it, save what a blocked call lets in. `loop_executor` and `thread_executor` are
for many at once; how they come to be driven, `concurrency` says.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing import util as mp_util
from types import CodeType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from .._fast_typing import NamedTuple, Protocol
from .._os.fork_safety import fork_generation
from .._os.interrupter import run_loop
from .._os.lazy_import import import_lock
from .._os.poller import clock
from .._os.thread_unwind import ThreadUnwind
from .._pickling.codec import SCALARS, loads, pickled, unpickled
from .._pickling.exceptions import add_note
from .._protocol.messages import Bytes, Frame, FrameParts, Kind
from .._protocol.operations import OwnIterator, evaluate
from .awaitables import finish, is_awaited
from .clients import Client, StreamProducer
from .iterators import data_frame, is_iterator
from .replies import error_frame, value_frame

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "USER_ENTRY_POINTS",
    "BesideOthers",
    "Executor",
    "ExecutorAround",
    "ExecutorMaker",
    "Recorder",
    "Running",
    "SerialExecutor",
    "end_a_fork",
]

USER_ENTRY_POINTS: Final[frozenset[CodeType]] = frozenset(
    (evaluate.__code__, StreamProducer.step.__code__, run_loop.__code__, finish.__code__)
)
"""The code that calls users' code, for a request or as the work loop, and lets go through what that
raises. To hash code reads all of it, so that is not left to each actor."""


class Running(NamedTuple):
    """A request that is being run."""

    client: Client
    request: Frame
    since: float
    """When it began, by `_os.poller.clock`."""
    thread: int = 0
    """In which it runs; 0: that which runs requests."""
    task: asyncio.Task[Any] | None = None
    """That of a coroutine."""
    interrupt: Callable[[BaseException], None] | None = None
    """Has it end by an error: a coroutine at what it awaits, to be called in the thread of its
    loop; else in the thread that is its own. None: the thread that runs requests runs it."""


_Entry = tuple[Client, Frame, float, Any]
"""The same, and the entry of the request within which it runs, where a blocked call has let it in:
a bare tuple, which is made in a quarter of the time."""


# Bare names: on Python 3.11 to look them up in their class takes longer than to compare them.
_CAST, _VALUE = Kind.CAST, Kind.VALUE
_ITERATED = [("iter",)]
"""The end of a chain by which a proxy is iterated over."""


class Recorder(Protocol):
    """Where an executor notes what it runs, so that it can be told after a sudden death.

    From any thread, and without a lock. `begins` and `ends` are for what runs alone: one at a time.
    Each request that runs beside others, or within another one, `joins` and `leaves`.
    """

    def begins(self, payload: Bytes) -> None:
        """A request with this payload is going to be run, alone."""

    def ends(self) -> None:
        """It has ended."""

    def joins(self, payload: Bytes) -> int:
        """A request is going to be run beside others, or within one: what `leaves` needs."""
        ...

    def leaves(self, place: int) -> None:
        """It has ended."""


class BesideOthers:
    """A `Recorder` for one of several executors that have threads of their own: what runs alone in
    its thread runs beside what the others run."""

    def __init__(self, recorder: Recorder) -> None:
        self.joins = recorder.joins
        self.leaves = recorder.leaves
        self._place: int | None = None

    def begins(self, payload: Bytes) -> None:
        self._place = self.joins(payload)

    def ends(self) -> None:
        place, self._place = self._place, None
        if place is not None:  # else it had not begun when it failed
            self.leaves(place)


class Executor(Protocol):
    """What the mailbox needs of an executor; see the module."""

    @property
    def current(self) -> Running | None:
        """What is being run, for other threads to see."""
        ...

    @property
    def all_running(self) -> list[Running]:
        """That, and what it runs within, the innermost first."""
        ...

    @property
    def done(self) -> int:
        """How many requests were run."""
        ...

    def run(self, client: Client, request: Frame) -> FrameParts | None: ...

    def begin(self, client: Client, request: Frame) -> object:
        """What follows belongs to this request: steps of its stream, say. What `end` needs."""
        ...

    def step(self, stream: StreamProducer) -> Frame: ...

    def end(self, outer: Any) -> None:
        """No more follows for now."""

    def close(self, stream: StreamProducer) -> None:
        """Close the iterator of a stream that is not open any more."""

    def is_running(self, client: Client, call_id: int) -> bool:
        """Whether a call is being run, or an item of its stream made."""
        ...

    def give_up(self, client: Client, call_id: int) -> None:
        """Nobody waits any more for a call that may be running."""


class ExecutorAround:
    """An executor that hands all on to another one: for those that add something to that."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner

    @property
    def current(self) -> Running | None:
        return self._inner.current

    @property
    def all_running(self) -> list[Running]:
        return self._inner.all_running

    @property
    def done(self) -> int:
        return self._inner.done

    def run(self, client: Client, request: Frame) -> FrameParts | None:
        return self._inner.run(client, request)

    def begin(self, client: Client, request: Frame) -> object:
        return self._inner.begin(client, request)

    def step(self, stream: StreamProducer) -> Frame:
        return self._inner.step(stream)

    def end(self, outer: Any) -> None:
        self._inner.end(outer)

    def close(self, stream: StreamProducer) -> None:
        self._inner.close(stream)

    def is_running(self, client: Client, call_id: int) -> bool:
        return self._inner.is_running(client, call_id)

    def give_up(self, client: Client, call_id: int) -> None:
        self._inner.give_up(client, call_id)


ExecutorMaker: TypeAlias = Callable[[Callable[[], Any], Callable[[BaseException], None]], Executor]
"""Makes one, of what gives the object, and of what is told of failures that nobody waits for."""


class SerialExecutor:
    """Runs what it is given at once, in the calling thread."""

    def __init__(
        self,
        root: Callable[[], Any],
        report: Callable[[BaseException], None],
        recorder: Recorder | None = None,
    ) -> None:
        self._root = root
        self._report = report
        self.recorder = recorder
        self.later: Callable[[Client, Frame, Any], bool] | None = None
        """Goes on with a result that is to be awaited, and sees to its reply; False: it is none.
        None: what is awaited is so at once, to its end."""
        self._running: _Entry | None = None
        self.done = 0
        self._fork_generation = fork_generation[0]

    def run(self, client: Client, request: Frame) -> FrameParts | None:
        """Run a request; the frame that answers it, or None for a cast."""
        # Flat on purpose: each function call that is added costs 0.05 to 0.1 µs of every request.
        kind, call_id, payload, buffers, _, _ = request
        outer, place = self._running, None
        reply: FrameParts | None
        try:
            root = self._root()
            steps = loads(payload, buffers) if buffers else unpickled(payload)
            # Right before users' code begins: whoever sees it may interrupt that.
            if outer is not None:
                place = self._joins(payload)
            elif self.recorder is not None:
                self.recorder.begins(payload)
            payload = b""  # a proxy in it has its key there, and errors may be shown with locals
            self._running = (client, request, clock(), outer)
            result = evaluate(steps, root)
            if kind == _CAST:
                reply = None
                if type(result) not in SCALARS and is_awaited(type(result)):
                    self._go_on_with(client, request, result, False, root)
            elif type(result) in SCALARS:
                reply = (_VALUE, call_id, pickled(result, 5), (), b"", 0)
            else:
                iterated = steps[-1:] == _ITERATED
                reply = self._go_on_with(client, request, result, iterated, root)
        except ThreadUnwind:
            raise
        except BaseException as exc:
            if self._running is outer:
                add_note(exc, "This was raised in the actor, while the call was unpickled.")
            reply = self._failed(kind, call_id, exc)
        if fork_generation[0] != self._fork_generation:
            end_a_fork()
        self._running = outer
        if outer is not None:
            self._leaves(place)
        elif self.recorder is not None:
            self.recorder.ends()
        self.done += 1
        return reply

    def _failed(self, kind: int, call_id: int, exc: BaseException) -> Frame | None:
        if kind == _CAST:
            self._report(exc)  # nobody waits to be told
            return None
        return error_frame(call_id, exc)

    def _go_on_with(
        self, client: Client, request: Frame, result: Any, iterated: bool, root: Any
    ) -> Frame | None:
        """The frame that answers a request; None: it will be given later."""
        if result is not root or iterated:
            if self.later is not None:
                if self.later(client, request, result):
                    return None
            elif is_awaited(type(result)):
                result = await_to_end(result)
        return self.reply(client, request, result, iterated, root)

    def reply(
        self, client: Client, request: Frame, result: Any, iterated: bool, root: Any
    ) -> Frame:
        """The frame that answers a request; `iterated`: it asked for the items of its result."""
        call_id, writable = request.call_id, client.channel.writable
        if result is root and not iterated:
            return Frame(Kind.RETURNED_SELF, call_id)
        if not (iterated or is_iterator(type(result))):
            return value_frame(Kind.VALUE, call_id, result, writable)
        frame = None if iterated else data_frame(call_id, result, writable)
        if frame is None:
            client.streams[call_id] = StreamProducer(client, request, result)
            step_by_step = b"1" if type(result) is OwnIterator else b""
            frame = Frame(Kind.STREAM, call_id, step_by_step)
        return frame

    def begin(self, client: Client, request: Frame) -> object:
        """What follows belongs to this request: steps of its stream, say. What `end` needs."""
        outer, place = self._running, None
        self._running = (client, request, clock(), outer)
        if outer is not None:
            place = self._joins(request.payload)
        elif self.recorder is not None:
            self.recorder.begins(request.payload)
        return outer, place

    def _joins(self, payload: Bytes) -> int | None:
        return None if self.recorder is None else self.recorder.joins(payload)

    def _leaves(self, place: int | None) -> None:
        if place is not None and self.recorder is not None:
            self.recorder.leaves(place)

    def step(self, stream: StreamProducer) -> Frame:
        """Run one step of a stream; the frame of its item, of its end, or of its error."""
        frame = stream.advance()
        if fork_generation[0] != self._fork_generation:
            end_a_fork()
        return frame

    def end(self, outer: Any) -> None:
        """No more follows for now."""
        self._running, place = outer
        if self._running is not None:
            self._leaves(place)
        elif self.recorder is not None:
            self.recorder.ends()

    def close(self, stream: StreamProducer) -> None:
        """Close the iterator of a stream that is not open any more."""
        try:
            stream.close()
        except ThreadUnwind:
            raise
        except BaseException as exc:
            self._report(exc)  # its consumer is not there to be told
        if fork_generation[0] != self._fork_generation:
            end_a_fork()

    # --- what is being run -----------------------------------------------------------------

    @property
    def current(self) -> Running | None:
        """What is being run, the innermost; for any thread to see."""
        running = self._running
        return None if running is None else Running(*running[:3])

    @property
    def all_running(self) -> list[Running]:
        """That, and what it runs within, the innermost first."""
        found, running = [], self._running
        while running is not None:
            found.append(Running(*running[:3]))
            running = running[3]
        return found

    def is_running(self, client: Client, call_id: int) -> bool:
        """Whether a call is being run, or an item of its stream made."""
        running = self._running
        while running is not None:
            if running[0] is client and running[1].call_id == call_id:
                return True
            running = running[3]
        return False

    def give_up(self, client: Client, call_id: int) -> None:
        """It goes on: what runs here is only interrupted if somebody asks for that."""


def await_to_end(awaitable: Any) -> Any:
    """What comes of something that is awaited here and now, and holds all else up."""
    with import_lock:
        from .awaiting import run  # for a faster start-up: it needs asyncio

    return run(finish(awaitable))


def end_a_fork() -> NoReturn:
    """End the child, where a method forked and returned on both sides: its connections are its
    parent's, and it has nothing to serve."""
    mp_util._flush_std_streams()  # type: ignore[attr-defined]
    os._exit(0)
