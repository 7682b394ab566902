"""The executor: runs one request, or one step of a stream, on the object, and says what came of it.

**The seam.** An executor stands between the mailbox, which decides what is next and writes the
replies, and the object. It is given a request and returns the frame that answers it (None for a
cast); it is given a stream and returns the frame of its next item. Whatever a user's code raises,
returns or does to the process meanwhile is in that frame; only `ThreadUnwind`, by which the process
ends, goes through. `current` says what is being run, for other threads to see. `SerialExecutor`
runs one thing at a time, in the thread that calls it, save what a blocked call lets in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from multiprocessing import util as mp_util
from types import CodeType
from typing import Any, Final, NamedTuple, Protocol

from .._os.fork_safety import fork_generation
from .._os.interrupter import run_loop
from .._os.poller import clock
from .._os.thread_unwind import ThreadUnwind
from .._pickling.codec import SCALARS, loads, pickled, unpickled
from .._protocol.messages import Bytes, Frame, FrameParts, Kind
from .._protocol.operations import evaluate
from .clients import Client, StreamProducer, is_iterator
from .replies import error_frame, value_frame

__all__ = ["USER_ENTRY_POINTS", "Executor", "Recorder", "Running", "SerialExecutor"]

USER_ENTRY_POINTS: Final[tuple[CodeType, ...]] = (
    evaluate.__code__,
    StreamProducer.step.__code__,
    run_loop.__code__,
)
"""The code that calls users' code, for a request or as the work loop, and lets go through what that
raises."""


class Running(NamedTuple):
    """A request that is being run."""

    client: Client
    request: Frame
    since: float
    """When it began, by `_os.poller.clock`."""
    outer: Running | None
    """The request within which it runs, where a blocked call has let it in."""


_new = tuple.__new__  # a third of the time that the class itself takes


class Recorder(Protocol):
    """Where an executor notes what it runs, so that it can be told after a sudden death."""

    def begins(self, payload: Bytes) -> None:
        """A request with this payload is going to be run."""

    def ends(self) -> None:
        """None is being run."""


class Executor(Protocol):
    """What the mailbox needs of an executor; see the module."""

    @property
    def current(self) -> Running | None:
        """What is being run, for other threads to see."""
        ...

    @property
    def done(self) -> int:
        """How many requests were run."""
        ...

    def run(self, client: Client, request: Frame) -> FrameParts | None: ...

    def step(self, stream: StreamProducer) -> Frame: ...

    def close(self, stream: StreamProducer) -> None:
        """Close the iterator of a stream that is not open any more."""

    def is_running(self, client: Client, call_id: int) -> bool:
        """Whether a call is being run, or an item of its stream made."""
        ...


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
        self.current: Running | None = None
        self.done = 0
        self._fork_generation = fork_generation[0]

    def run(self, client: Client, request: Frame) -> FrameParts | None:
        """Run a request; the frame that answers it, or None for a cast."""
        kind, call_id, payload, buffers, _, _ = request
        outer = self.current
        reply: FrameParts | None
        try:
            root = self._root()
            steps = loads(payload, buffers) if buffers else unpickled(payload)
            self._begin(client, request)
            result = evaluate(steps, root)
            if kind == Kind.CAST:
                reply = None
            elif type(result) in SCALARS:
                reply = (Kind.VALUE, call_id, pickled(result, 5), (), b"", 0)
            else:
                reply = self._reply(client, request, result, root)
        except ThreadUnwind:
            raise
        except BaseException as exc:
            reply = self._failed(kind, call_id, exc)
        self._end_a_fork()
        self._end(outer)
        self.done += 1
        return reply

    def _failed(self, kind: int, call_id: int, exc: BaseException) -> Frame | None:
        if kind == Kind.CAST:
            self._report(exc)  # nobody waits to be told
            return None
        return error_frame(call_id, exc)

    def _reply(self, client: Client, request: Frame, result: Any, root: Any) -> Frame:
        """The frame that answers a request with its result."""
        if result is root:
            return Frame(Kind.RETURNED_SELF, request.call_id)
        if is_iterator(type(result)):
            client.streams[request.call_id] = StreamProducer(client, request, result)
            return Frame(Kind.STREAM, request.call_id)
        return value_frame(Kind.VALUE, request.call_id, result, client.channel.writable)

    def step(self, stream: StreamProducer) -> Frame:
        """Run one step of a stream; the frame of its item, of its end, or of its error."""
        outer = self.current
        self._begin(stream.client, stream.request)
        frame = stream.advance()
        self._end_a_fork()
        self._end(outer)
        return frame

    def close(self, stream: StreamProducer) -> None:
        """Close the iterator of a stream that is not open any more."""
        try:
            stream.close()
        except ThreadUnwind:
            raise
        except BaseException as exc:
            self._report(exc)  # its consumer is not there to be told
        self._end_a_fork()

    # --- what is being run -----------------------------------------------------------------

    def being_run(self) -> Iterator[Running]:
        """What is being run: the innermost first, then what it runs within."""
        current = self.current
        while current is not None:
            yield current
            current = current.outer

    def is_running(self, client: Client, call_id: int) -> bool:
        """Whether a call is being run, or an item of its stream made."""
        return any(
            one.client is client and one.request.call_id == call_id for one in self.being_run()
        )

    def _begin(self, client: Client, request: Frame) -> None:
        """To be called right before users' code begins: whoever sees it may interrupt that."""
        if self.recorder is not None:
            self.recorder.begins(request[2])
        self.current = _new(Running, (client, request, clock(), self.current))

    def _end(self, outer: Running | None) -> None:
        self.current = outer
        if self.recorder is not None:
            if outer is None:
                self.recorder.ends()
            else:
                self.recorder.begins(outer.request.payload)

    def _end_a_fork(self) -> None:
        """End the child, where a method forked and returned on both sides: its connections are
        its parent's, and it has nothing to serve."""
        if fork_generation[0] != self._fork_generation:
            mp_util._flush_std_streams()  # type: ignore[attr-defined]
            os._exit(0)
