"""The two ways of one connection to an actor, shared by the threads of this process.

There is no reader thread. A thread that waits for its reply reads the channel itself, and
hands what is not its own to the others; when its reply is here, it wakes one of them to
read on. So a lone caller pays for no switch between threads, and many share one socket.

Locks, always taken in this order: `_sending` guards the write side (and with it the order
of calls), `_reading` belongs to the one thread that reads.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .._os.wakeup import OneShotEvent
from .._protocol.calls import (
    Backlog,
    CallTable,
    ConnectionEndedError,
    ErrorFactory,
    GoodbyeErrors,
    PendingCall,
    ReenteredError,
    hung_up,
    interrupted,
)
from .._protocol.chains import (
    BlockedCall,
    Probe,
    ServingThread,
    new_call_token,
    serving_thread,
    serving_threads,
)
from .._protocol.frames import MalformedFrameError, encode
from .._protocol.messages import Bytes, Flag, Frame, Kind
from .._protocol.requests import Metadata, pack_metadata
from .._wire.channel import Channel, ChannelClosedError

__all__ = ["Exchange"]

HELD = 64
"""Frames that may be held back until the one who sends them in a row is done."""
UNSENT = 1 << 20
"""Bytes that may wait to be written, of calls whose callers don't wait."""
LINGER = 1.0
"""Seconds in which what a closed connection still holds can be read."""
_ABOUT_CALLS = frozenset(
    (Kind.VALUE, Kind.RETURNED_SELF, Kind.ERROR, Kind.REFUSED, Kind.STREAM, Kind.ITEM, Kind.END)
)


class Exchange:
    """Sends calls and takes in replies.

    Guarantee: every ticket gets ready, by a frame or by a failure, whatever happens to the
    other side.
    """

    def __init__(self, channel: Channel, lost: ErrorFactory, goodbye_error: GoodbyeErrors) -> None:
        self._channel = channel
        self._calls = CallTable()
        self._lost = lost
        self._goodbye_error = goodbye_error
        self._renew_locks()
        self._unsent: list[Bytes] = []
        self._held: list[Bytes] = []
        """Frames that go out with the next write."""
        self._posted: deque[Frame] = deque()
        self._asleep: dict[OneShotEvent, None] = {}
        self.end: ErrorFactory | None = None
        """Why nothing can be sent any more; None while it can."""
        self._watched: dict[int, PendingCall] = {}
        self.backlogs: dict[int, Backlog] = {}
        """By thread."""
        self._craving: deque[Callable[[], object]] = deque()
        """Those who wait until there is room for another call."""
        self.actor_lives_on = False
        """Whether it ended for a reason of its own, so that another connection may be made."""
        self.init_call = self._calls.expect_birth()
        self.over = self._calls.expect_end()

    def _renew_locks(self) -> None:
        # Reentrant ones, not in order to be reentered but because they know their owner: that
        # is how a signal handler or a finalizer on top of the owner is recognized.
        self._sending: Any = threading.RLock()
        self._reading: Any = threading.RLock()

    @property
    def inside(self) -> bool:
        """Whether this thread is, further down its stack, within a read or write of ours."""
        return bool(self._sending._is_owned() or self._reading._is_owned())

    # --- sending -----------------------------------------------------------------------

    def call(self, payload: bytes, buffers: Sequence[Bytes]) -> PendingCall:
        """Send a call; its ticket.

        Raises:
            ConnectionEndedError: nothing was sent.
            ReenteredError: this thread is within a call, of which a signal handler or a
                finalizer makes another one; nothing was sent.
        """
        return self._send(Kind.CALL, payload, buffers)

    def cast(self, payload: bytes, buffers: Sequence[Bytes]) -> None:
        """Send a call that is not answered.

        Raises:
            NotListeningError, ActorDiedError: nobody was there to read it.
        """
        pending = self._send(Kind.CAST, payload, buffers)
        if pending.failure is not None:
            raise pending.failure()
        if self._channel.runs_inline:
            self.look()

    def _send(
        self,
        kind: int,
        payload: bytes,
        buffers: Sequence[Bytes],
        heard: Callable[[PendingCall], object] | None = None,
        wait: bool = True,
        hold: bool = False,
    ) -> PendingCall:
        if self._sending._is_owned() or self._reading._is_owned():
            raise ReenteredError
        if self.backlogs and (backlog := self.backlogs.get(threading.get_ident())):
            backlog.flush()
        with self._sending:
            if self.end is not None:
                raise ConnectionEndedError
            pending = self._calls.open() if kind == Kind.CALL else PendingCall()
            pending.sent = payload
            metadata = b""
            if serving_threads and (host := serving_thread()) is not None:
                metadata = _metadata_of(kind, pending, host)
            try:
                if heard is not None:
                    pending.heard = heard
                    self._watched[pending.call_id] = pending
                frame = Frame(kind, pending.call_id, payload, buffers, metadata)
                parts = self._channel.encode(frame) if buffers else encode(frame)
                if hold and len(parts) == 1 and len(self._held) < HELD:
                    self._held.append(parts[0])
                else:
                    self._write(parts, wait and heard is None)
                    if heard is not None and self._unsent:
                        self._leave_unsent(wait)
            except ChannelClosedError:
                self._fail_unsent(pending)
            except BaseException:
                self.abandon(pending)
                raise
        if self._posted:
            self._send_posted()
        return pending

    def _fail_unsent(self, pending: PendingCall) -> PendingCall:
        """It was never whole over there, and so has surely not begun."""
        self._calls.withdraw(pending)
        self._watched.pop(pending.call_id, None)
        self._read_to_the_end()
        pending.fail(partial(self.end or self._lost, False))
        return pending

    def post(self, frame: Frame, wait: bool = True) -> None:
        """Send a small frame as soon as no other is half sent; never waits for a lock.

        With `wait=False` it does not wait for room either: safe in a finalizer, which may
        run while this very thread holds a lock. The next writer then sends the rest.
        """
        if self.end is None:
            self._posted.append(frame)
            self._send_posted(wait)

    def _send_posted(self, wait: bool = True) -> None:
        while (self._posted or self._unsent or self._held) and not self._sending._is_owned():
            try:
                if not self._sending.acquire(blocking=False):
                    return  # its owner sends them
                with contextlib.suppress(ChannelClosedError):
                    self._write(encode(self._posted.popleft()) if self._posted else [], wait)
                if self._unsent or self.end is not None:
                    return  # the next one who writes goes on
            finally:
                if self._sending._is_owned():
                    self._sending.release()

    def _write(self, parts: list[Bytes], wait: bool = True) -> None:
        """Write all of it. An exception in the wait leaves the rest for the next writer."""
        if self._held:
            parts = [b"".join(self._held), *parts]
            self._held = []
        try:
            self._unsent = self._channel.write([*self._unsent, *parts] if self._unsent else parts)
        except ChannelClosedError:
            raise
        except BaseException:
            self._lose_place()
            raise
        if self._unsent and wait:
            self._press()

    def _leave_unsent(self, wait: bool) -> None:
        """Leave what does not go out now to whoever writes next, if that is not too much."""
        if self._channel.runs_inline:
            self._press()  # who should take it works only while we wait
        elif sum(map(len, self._unsent)) <= UNSENT:
            self._unsent = [bytes(part) for part in self._unsent]  # its owner may change it
        elif wait:
            self._press()

    def _press(self) -> None:
        """Write what is left as the other side makes room."""
        host = serving_thread() if serving_threads else None
        while self._unsent:
            # The other side may be waiting for us to read before it reads on.
            if self.end is not None:
                raise ChannelClosedError
            try:
                may_read = self._try_reading()
                if not self._channel.wait_to_write(may_read, None, host) and may_read:
                    self._take_in(time.monotonic())
            finally:
                self._yield_reading()
            self._write([], wait=False)

    def _lose_place(self) -> None:
        """Interrupted, by Ctrl-C say, within a read or write: our place in the stream may be
        lost, and with it every later frame, so the connection ends. The object lives on."""
        self.actor_lives_on = True
        self._finish(interrupted)

    def _hang_up(self, why: str) -> None:
        """One end could not read on, since there is no memory for what comes next, say."""
        self.actor_lives_on = True
        self._finish(hung_up(why))

    # --- receiving ---------------------------------------------------------------------

    def wait(
        self, pending: PendingCall, deadline: float | None = None, whole: bool = False
    ) -> bool:
        """Wait until something is here for a ticket; False when `deadline` passed first.

        `whole` waits for the end of a stream, and takes its items in meanwhile.
        """
        if self._held:
            self._send_posted()  # it may be among them, or they may be what it waits for
        if (
            serving_threads
            and (host := serving_thread()) is not None
            and not self._channel.runs_inline
        ):
            return self._wait_serving(pending, deadline, whole, host)
        while not (pending.over if whole else pending.ready):
            if self._sending._is_owned() or self._reading._is_owned():
                raise ReenteredError
            try:
                reads = self._reading.acquire(blocking=False)
                while reads and self.end is None and not (pending.over if whole else pending.ready):
                    self._take_in(deadline)
                    if deadline is not None and time.monotonic() >= deadline:
                        break
            finally:
                self._yield_reading()
            if self.end is not None and not pending.over:
                pending.fail(partial(self.end, False))
            if not reads:
                self._sleep(pending, deadline, whole)
            if deadline is not None and time.monotonic() >= deadline:
                return pending.over if whole else pending.ready
        if self._asleep:
            self._pass_on()
        return True

    def _wait_serving(
        self, pending: PendingCall, deadline: float | None, whole: bool, host: ServingThread
    ) -> bool:
        """`wait`, in a thread that runs requests: it goes on running those that this call needs."""

        def send_probe(probe: Probe) -> None:
            # Without waiting for room: the call's time limit holds for this as well.
            self.post(Frame(Kind.PROBE, pending.call_id, probe.pack()), wait=False)

        call = BlockedCall(pending.token or new_call_token(), send_probe)
        pending.add_waiter(host)  # another thread may be the one that reads
        try:
            with host.blocked(call):
                while not (pending.over if whole else pending.ready):
                    if self.inside:
                        raise ReenteredError
                    host.wait_serving(self._channel.watched, call.due_or(deadline))
                    self.look()
                    if self.end is not None and not pending.over:
                        pending.fail(partial(self.end, False))
                    if pending.over if whole else pending.ready:
                        break
                    host.pass_probes_on()
                    if call.deadlock is not None:
                        self._end_with(pending, call.deadlock)
                    elif deadline is not None and time.monotonic() >= deadline:
                        break
                    elif call.probe_is_due():
                        host.send_own_probe(call)
        finally:
            pending.remove_waiter(host)
        return pending.over if whole else pending.ready

    def _end_with(self, pending: PendingCall, error: BaseException) -> None:
        """End a call with an error of this side's."""
        self.abandon(pending)
        pending.fail(lambda: error)

    def _sleep(self, pending: PendingCall, deadline: float | None, whole: bool) -> None:
        """Sleep until the reading thread rings, or the time is up."""
        bell = pending.add_waiter(OneShotEvent())
        self._asleep[bell] = None
        self._channel.set_yields_cpu(False)
        try:
            if not ((pending.over if whole else pending.ready) or self._pass_on()):
                left = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
                bell.wait(left)
        finally:
            self._asleep.pop(bell, None)
            self._channel.set_yields_cpu(not self._asleep)
            pending.remove_waiter(bell)

    def _pass_on(self) -> bool:
        """If nobody reads, let one who sleeps do so; whether nobody did."""
        try:
            return self._try_reading()
        finally:
            self._yield_reading()

    def _try_reading(self) -> bool:
        """Become the thread that reads, if none does. To be called within a `try` whose
        `finally` yields: so no exception, whenever it comes, leaves the reading to nobody."""
        return bool(self._reading.acquire(blocking=False))

    def _yield_reading(self) -> None:
        """Stop reading, if this thread does, and wake one sleeper to go on."""
        if self._reading._is_owned():
            self._reading.release()
            if self._asleep:
                self._wake_one()

    def _wake_one(self) -> None:
        with contextlib.suppress(StopIteration, RuntimeError):  # it left, or another came
            next(iter(self._asleep)).wake()

    def _take_in(self, deadline: float | None) -> bool:
        """Read once and hand out what came; the caller holds `_reading`. False: nothing did."""
        if not self._channel.wait(deadline):
            return False
        try:
            for frame in self._channel.take():
                self._receive(frame)
        except BaseException as exc:
            self._broken(exc)
        return True

    def _receive(self, frame: Frame) -> None:
        if frame[0] in _ABOUT_CALLS:
            if self._watched:
                # Before it is delivered: who is told of it may watch for the next one at once.
                self._watched.pop(frame[1], None)
            self._calls.receive(frame)
            if self._craving:
                self._make_room()
        elif frame[0] == Kind.GOODBYE:
            self._finish(self._goodbye_error(frame.payload))
        elif frame[0] == Kind.HANGUP:
            self._hang_up(bytes(frame.payload).decode(errors="replace"))
        elif frame[0] in (Kind.RELEASE, Kind.FORGET):
            self._channel.hear(frame)
        elif frame[5] & Flag.ANSWER:
            why = f"this caller knows no message of kind {frame[0]}"
            self.post(Frame(Kind.REFUSED, frame[1], why.encode()), wait=False)

    def _broken(self, exc: BaseException) -> None:
        """Reading failed: by the end of the connection, or by an interruption, which goes on."""
        if isinstance(exc, ChannelClosedError):
            self._finish(self._lost)
        elif isinstance(exc, MalformedFrameError):
            self._hang_up(str(exc))
        else:
            self._lose_place()
            raise exc

    def _read_to_the_end(self) -> None:
        """The other side closed: replies and its last word may still be there to read."""
        while self.end is None:
            try:
                if not self._try_reading():
                    return  # the thread that reads will find the end
                if not self._take_in(time.monotonic() + LINGER):
                    self._finish(self._lost)
            finally:
                self._yield_reading()

    def _finish(self, failure: ErrorFactory) -> None:
        if self.end is None:
            self.end = failure
            self._calls.fail_all(failure)
            self._watched.clear()
            self._make_room()

    def _make_room(self) -> None:
        """Fewer calls are open than before, of those that nobody waits for."""

    # --- the rest ----------------------------------------------------------------------

    def abandon(self, pending: PendingCall) -> None:
        """Nobody waits for a call any more: its late reply is dropped, its stream closed."""
        self._watched.pop(pending.call_id, None)
        self._calls.abandon(pending, self._close)

    def _close(self, call_id: int) -> None:
        self.post(Frame(Kind.CLOSE, call_id), wait=False)

    def look(self) -> bool:
        """Take in all that is there, without waiting; False: another thread is at it."""
        if self.inside:
            return False
        try:
            reads = self._try_reading()
            while reads and self.end is None and self._take_in(time.monotonic()):
                pass
            return reads
        finally:
            self._yield_reading()

    def close(self) -> None:
        """End it from this side; calls that are still open fail."""
        self._finish(self._lost)
        self._channel.close()


def _metadata_of(kind: int, pending: PendingCall, host: ServingThread) -> bytes:
    """What a request of an actor says of the calls that wait for it."""
    if kind == Kind.CAST:
        return pack_metadata(Metadata(host.chain_of_cast()))
    pending.token = new_call_token()
    return pack_metadata(Metadata(host.chain_of_call(pending.token)))
