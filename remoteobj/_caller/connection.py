"""One connection to an actor, shared by all threads of this process.

::

    call, cast, call_async ──> FrameWriter ──> channel ──> SharedReader ──> Incoming
            │                                                                  │
            └──────────── opens ──> CallTable, AsyncCalls <── answers, ends ───┘

A call whose caller waits is read by its caller (`SharedReader`), a lone one on a path of its own
(`FastCall`). One whose caller does not wait is read by whoever reads, and where no thread does, by
the I/O thread of the process (`BackgroundIO`) or, if it is awaited, its event loop (`loop_reader`).

No part refers back to the connection, so that a proxy that is dropped lets go of its socket at
once, without the garbage collector.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from .._protocol.calls import (
    CallTable,
    ConnectionEndedError,
    ErrorFactory,
    GoodbyeErrors,
    PendingCall,
    ReenteredError,
)
from .._protocol.chains import (
    BlockedCall,
    Probe,
    ServingThread,
    new_call_token,
    serving_thread,
    serving_threads,
)
from .._protocol.frames import encode
from .._protocol.identity import Peer
from .._protocol.messages import Bytes, Frame, Kind
from .._protocol.requests import Sending, metadata_of, observers
from .._wire.channel import Channel, ChannelClosedError
from .async_calls import AsyncCalls, OnReady
from .background_io import BackgroundIO
from .fast_call import FastCall
from .frame_writer import UNSENT, FrameWriter
from .incoming import Incoming
from .shared_reader import ANSWERED, READY, Done, SharedReader

__all__ = ["Connection", "ConnectionEndedError", "GoodbyeErrors", "OpenedCall", "ReenteredError"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

OpenedCall: TypeAlias = "tuple[Connection, PendingCall]"

_CALL = Kind.CALL  # a bare name: to look it up in its class takes longer


class Connection:
    """Sends calls and takes in their outcomes.

    Guarantees: every call gets an outcome, whatever happens to the other side. Calls of one thread
    leave in their order. A finalizer may let go of calls and streams at any moment without waiting.
    """

    def __init__(
        self,
        channel: Channel,
        lost: ErrorFactory,
        goodbye: GoodbyeErrors,
        renewable: bool = False,
        peer: Peer | None = None,
    ) -> None:
        self.peer = peer
        self._channel = channel
        self.runs_inline: bool = channel.runs_inline
        self._calls = CallTable()
        self._async_calls = AsyncCalls()
        self._incoming = Incoming(channel, self._calls, self._async_calls, lost, goodbye, renewable)
        self._reader = SharedReader(channel, self._incoming)
        self._writer = FrameWriter(channel, self._incoming, self._reader.wait_writable)
        shared = self._incoming, self._reader, self._writer
        self._background_io = BackgroundIO(channel, self._async_calls, *shared)
        fast = FastCall(channel, self._calls, self._async_calls, *shared, self._background_io)
        self.call_fast: Callable[[bytes], Frame | PendingCall | None] = fast.call
        self.begin_fast: Callable[[bytes, OnReady], PendingCall | None] = fast.begin
        self.wait_fast: Callable[[PendingCall], bool] = fast.wait
        """Make a small call; begin one as `call_async` does; wait for one that was sent. Where
        something else is in the way, they leave it to the methods below."""
        self.abandon: Callable[[PendingCall], None] = fast.abandon
        """Nobody waits for a call any more: its late reply is dropped, its stream closed."""
        self.hurry: Callable[[], None] = self._background_io.hurry
        """Has the outcomes of `call_async` taken in as soon as they come."""
        self.caller_waits: Callable[[], None] = self._background_io.caller_waits
        """To be called by a thread that waits for such an outcome: it will for the next ones."""
        self.ahead_of: Callable[[PendingCall], list[PendingCall]] = self._calls.ahead_of
        self.given_up: Callable[[], list[int]] = self._calls.given_up
        self._let_channel_use(weakref.ref(self))
        self.init_call: PendingCall = self._calls.expect_birth()
        """Has an outcome once the actor's `__init__` has."""
        self.closed: PendingCall = self._calls.expect_end()
        """Has an outcome once the connection has ended."""
        self.writable: bool = channel.writable
        self.fileno: Callable[[], int] = channel.fileno
        """The descriptor that tells when there is something to read; -1 once closed."""

    def _let_channel_use(self, mine: weakref.ref[Connection]) -> None:
        """Have written what the channel, or a frame that came, gives cause to say."""

        def post(frame: Frame) -> None:
            if (connection := mine()) is not None:
                connection.post(frame, wait=False)

        def poll() -> None:
            if (connection := mine()) is not None:
                connection.poll()

        self._incoming.post = post
        self._channel.buffer_exchange.tell = post
        self._channel.buffer_exchange.look = poll

    @property
    def closed_because(self) -> ErrorFactory | None:
        """Why nothing can be sent any more; None while it can."""
        return self._incoming.closed_because

    @property
    def actor_lives_on(self) -> bool:
        """Whether it has ended for a reason of its own, so that another one may be made."""
        return self._incoming.actor_lives_on

    @property
    def inside(self) -> bool:
        """Whether this thread is, further down its stack, within a read or write of this."""
        return bool(self._writer.lock._is_owned() or self._reader.turn.lock._is_owned())

    # --- sending -----------------------------------------------------------------------

    def call(
        self,
        payload: bytes,
        buffers: Sequence[Bytes],
        opened: list[OpenedCall] | None = None,
        token: int = 0,
        on_ready: OnReady | None = None,
        write: Callable[[list[Bytes]], None] | None = None,
        kind: int = _CALL,
    ) -> PendingCall:
        """Send a call whose caller waits for its outcome, by `wait`, or has it told by `on_ready`.

        Args:
            opened: the call is added to it before it is sent.
            token: of calls of which an actor that waits for one lets in what any of them needs.
            write: in place of `FrameWriter.write`.

        Raises:
            ConnectionEndedError: nothing was sent.
            ReenteredError: this thread is within a call, below this one; nothing was sent.
        """
        writer = self._writer
        if writer.lock._is_owned() or self._reader.turn.lock._is_owned():
            raise ReenteredError
        with writer.lock:
            if self._incoming.closed_because is not None:
                raise ConnectionEndedError
            call = self._calls.open() if kind == _CALL else PendingCall()
            call.sent, metadata = payload, b""
            if opened is not None:
                opened.append((self, call))
            if serving_threads or observers:
                how = token, opened is not None, on_ready
                metadata = metadata_of(Sending(call, kind, payload, self.peer, *how))
            try:
                if on_ready is not None:
                    self._async_calls.watch(call, on_ready)
                frame = (kind, call.call_id, payload, buffers, metadata, 0)
                parts = self._channel.encode(Frame(*frame)) if buffers else encode(frame)
                (write or writer.write)(parts)
            except ChannelClosedError:
                self._unsent(call, opened)
            except BaseException:
                self.abandon(call)
                raise
        if writer.posted:
            writer.flush()
        return call

    def _unsent(self, call: PendingCall, opened: list[OpenedCall] | None) -> None:
        """Give a call its outcome that was not sent, unless another connection is to send it."""
        self._async_calls.forget(call)
        self._calls.withdraw(call)
        if opened is not None and self._incoming.renewable:
            opened.pop()
        self._reader.fail_unsent(call)

    def cast(self, payload: bytes, buffers: Sequence[Bytes]) -> None:
        """Send a call that has no outcome.

        Raises:
            ConnectionEndedError, ReenteredError: as `call`.
            NotListeningError, ActorDiedError: nobody was there to read it.
        """
        call = self.call(payload, buffers, kind=Kind.CAST)
        if call.failure is not None:
            raise call.failure()
        if self.runs_inline:
            self.poll()

    def call_async(
        self, payload: bytes, buffers: Sequence[Bytes], on_ready: OnReady
    ) -> PendingCall:
        """Send a call whose caller does not wait; `on_ready` is called when its outcome is here.

        `on_ready` is called within a read, by whatever thread reads, so it must be short and not
        run a user's code. This waits for room to write where much is unsent, and while as many
        calls are in flight as may be that no thread waits for.

        Raises:
            ConnectionEndedError, ReenteredError: as `call`.
        """
        self._wait_for_room()
        if not self._background_io.expects_calls:
            self._background_io.expect_calls()
        call = self.call(payload, buffers, on_ready=on_ready, write=self._writer.write_ahead)
        return self._attended(call, told=True)

    def call_nowait(
        self, payload: bytes, buffers: Sequence[Bytes], cork: bool = False, then: Any = None
    ) -> PendingCall:
        """Send a call, and never wait for room to write: for event loops, who then `poll`, or have
        themselves told by `when_ready`, and for others, for whom `then` is an `OnReady`.

        The buffers must stay as they are until the outcome is here. `cork` may keep the call back
        until the next write, or `flush`. Raises as `call`.
        """
        # Where another connection may follow, the first of many tells whether this one has ended.
        tells = self._incoming.renewable and not self._writer.queue
        corks = cork and not (self.runs_inline or tells)
        write = self._writer.cork if corks else self._writer.write_nowait
        call = self.call(payload, buffers, on_ready=then, write=write)
        return self._attended(call, bool(then))

    def _attended(self, call: PendingCall, told: bool) -> PendingCall:
        """See to it that somebody reads and writes for a call; after Ctrl-C nobody will have it."""
        try:
            if self.runs_inline:
                self.wait(call)
            elif told and not call.ready:
                self._background_io.call_begun(call)
            elif self._writer.unsent:
                self._background_io.attend()
        except BaseException:
            self.abandon(call)
            raise
        return call

    def post(self, frame: Frame, wait: bool = True) -> None:
        """Send a frame about a call or the channel as soon as no other is half sent: a thread that
        is just writing sends it. With `wait=False` it does not wait for room either, and is safe in
        a finalizer."""
        self._writer.post(frame)
        if wait and self._writer.unsent:
            self._writer.flush()

    def flush(self) -> None:
        """Send what was corked."""
        self._writer.flush_some()
        if self._writer.unsent:
            self._background_io.attend()

    # --- outcomes ------------------------------------------------------------------------

    def wait(self, call: PendingCall, deadline: float | None = None, done: Done = READY) -> bool:
        """Wait until a call is `done`, or something is here for it; False when `deadline` passed
        first. `OVER` takes the items of a stream in meanwhile.

        Raises:
            ReenteredError: this thread is within a call, further down its stack.
            DeadlockError: what this call waits for waits for this thread.
        """
        try:
            return self._wait(call, done, deadline)
        except KeyboardInterrupt:
            call.left = True
            raise

    def _wait(self, call: PendingCall, done: Done, deadline: float | None) -> bool:
        if call.left:
            call.left = False
        if self._writer.queue:
            self._writer.uncork()  # the call may be there, or those that it waits for
        host = serving_thread() if serving_threads else None
        if host is not None and not self.runs_inline:
            return self._wait_serving(call, done, deadline, host)
        if self._writer.lock._is_owned() and not done(call):
            raise ReenteredError
        return self._reader.wait(call, done, deadline)

    def _wait_serving(
        self, call: PendingCall, done: Done, deadline: float | None, host: ServingThread
    ) -> bool:
        """`wait`, in a thread that runs requests: it goes on to run those that this call needs,
        and looks for a ring of actors that wait for each other (`chains`)."""

        def send_probe(probe: Probe) -> None:
            # Without waiting for room: the call's time limit holds for this as well.
            self.post(Frame(Kind.PROBE, call.call_id, probe.pack()), wait=False)

        blocked = BlockedCall(call.token or new_call_token(), send_probe)
        call.add_waiter(host)  # another thread may be the one that reads
        self._incoming.fail_if_closed(call)  # in a fork, its numbers are those of other files
        try:
            with host.blocked(blocked):
                while not done(call):
                    if self.inside:
                        raise ReenteredError
                    host.wait_serving(self._channel.watched, blocked.due_or(deadline))
                    self.poll()
                    self._incoming.fail_if_closed(call)
                    if done(call):
                        break
                    host.pass_probes_on()
                    if blocked.deadlock is not None:
                        self._end_with(call, blocked.deadlock)
                    elif deadline is not None and time.monotonic() >= deadline:
                        break
                    elif blocked.probe_is_due():
                        host.send_own_probe(blocked)
        finally:
            call.remove_waiter(host)
        return done(call)

    def _end_with(self, call: PendingCall, error: BaseException) -> None:
        """End a call with an error of this side's."""
        self.abandon(call)
        call.fail(lambda: error)

    def when_ready(self, call: PendingCall, on_ready: OnReady, attended: bool = False) -> None:
        """Have `on_ready` called once when something is here for a call, as `call_async` does;
        `attended` says that the caller sees to it that somebody reads."""
        if attended:
            call.on_ready = on_ready
        else:
            self._async_calls.watch(call, on_ready)
        self._incoming.fail_if_closed(call)
        if call.ready:
            call.notify()
            self._async_calls.forget(call)
        elif not attended:
            self._background_io.attend()

    def poll(self, once: bool = False) -> bool:
        """Take in all that is there, or what one read gives, without waiting; False: another
        thread is at it."""
        return not self._writer.lock._is_owned() and self._reader.poll(once)

    def fail(self, call: PendingCall, failure: Callable[[], BaseException]) -> None:
        """Abandon a call, and have other threads that wait for it fail with `failure`."""
        call.on_ready = None
        self.abandon(call)
        call.fail(failure)
        if self._incoming.closed_because is None:
            self._channel.wake()

    # --- limits of the calls that nobody waits for -----------------------------------------

    def _wait_for_room(self) -> None:
        """Wait until another call may be made that no thread waits for."""
        while self._async_calls.full and self._incoming.closed_because is None:
            if (oldest := self._async_calls.oldest()) is not None:
                self.wait(oldest, done=ANSWERED)

    @property
    def backed_up(self) -> bool:
        """Whether much is unsent, so that who can't wait for room should not send."""
        return self._writer.unsent > UNSENT and self._incoming.closed_because is None

    # --- the end -------------------------------------------------------------------------

    def end(self, why: ErrorFactory) -> None:
        """End it for a reason that this side has, and wake whoever waits. Also within a read."""
        self._incoming.close(why)
        self._channel.wake()

    def close(self) -> None:
        """End it from this side; calls that are still open fail."""
        self._incoming.close()
        self._reader.close_channel(self._writer.lock)

    def after_fork(self) -> None:
        """In a forked child: it is the parent's, as are the threads that held its locks."""
        self._writer.after_fork()
        self._reader.turn.after_fork()
        self._async_calls.in_flight = {}
        self._incoming.after_fork()
