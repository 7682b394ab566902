"""The outcome of a call that nobody waits for: a `concurrent.futures.Future`.

::

    answer ──on_ready──> plain data, and no callbacks ──> settled by the thread that reads
                    └──> anything else ──> settled by the thread that asks for it,
                                           or by the `settler` where none does

To unpickle an answer may run a user's code, and so may a callback: never within a read, but in one
of the other threads.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures._base import FINISHED
from typing import Any, Final, TypeAlias, TypeVar

from .._catching.unseen import Unseen
from .._os.fork_safety import fork_generation
from .._os.io_thread import Timer, reactor
from .._os.thread_unwind import ThreadUnwind
from .._pickling.codec import is_plain, unpickled
from .._pickling.exceptions import without_our_frames
from .._protocol.calls import PendingCall
from .._protocol.messages import Kind
from .._protocol.operations import Steps
from ..errors import ActorDiedError, NotListeningError
from .answers import Fallback, decode_answer, fallback_or_raise
from .call_options import CallOptions
from .connection import Connection
from .endpoint import Endpoint, encode, result_of
from .lean_future import LeanFuture
from .settling import settler
from .shared_reader import ANSWERED

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

T = TypeVar("T")

__all__ = ["RemoteFuture", "completed", "submit"]


_Outcome: TypeAlias = "tuple[Any, BaseException | None]"
_Call: TypeAlias = "tuple[Endpoint, object, Fallback, CallOptions]"
"""The operands of `Endpoint.call`, but for the steps."""

INTERRUPTIONS: Final = (KeyboardInterrupt, ThreadUnwind)
"""What ends a thread's waiting, and is no outcome."""

_VALUE = Kind.VALUE  # a bare name: on Python 3.11 that is faster than to look it up in its class


class RemoteFuture(LeanFuture):
    """The future of a call. A thread that waits for it reads the connection itself; while none
    does, the I/O thread reads."""

    # Defaults are in the class: most futures need no more than what is set when they are made.
    _pending: PendingCall | None = None
    _timer: Timer | None = None
    _outcome: _Outcome | None = None
    _has_callbacks = False
    _awaited = False
    """Whether a thread waits, who will settle it."""
    _handed_over: PendingCall | None = None
    """The call whose outcome a thread settles it with that nobody waits for. A task of a pool may
    be sent again, as another call."""
    _given_up = False
    """Whether it was cancelled; `cancelled` takes ten times as long to say so."""
    _unseen: Unseen | None = None
    """Its exception, which nobody may ever look at."""

    def __init__(self, connection: Connection, call: _Call) -> None:
        self._connection = connection
        self._call = call
        self._locks_of = fork_generation[0]

    # --- as the connection sees it -------------------------------------------------------

    def on_ready(self, pending: PendingCall) -> None:
        """The outcome is here. This is called within a read, so no user's code may run now."""
        frame = pending.first
        plain = False
        if frame is not None and frame[0] == _VALUE and not frame[3] and is_plain(frame[2]):
            plain = True
            try:
                value = unpickled(frame[2])
            except Exception:  # to be tried again, where it fails this one call
                pass
            else:
                if self.settle_alone(value, None, wait=False):
                    self._let_go()
                    return
        self._pending = pending
        if not (self._awaited or self._connection.runs_inline):
            self._handed_over = None if plain else pending
            settler.add(self, plain)

    def settle(self, interruptions: tuple[type[BaseException], ...] = INTERRUPTIONS) -> None:
        """Give it the outcome that is here, unless it has one. This may run a user's code.

        `interruptions` go through, and leave it as it is.
        """
        pending = self._pending
        if pending is not None and self._state is not FINISHED and not self._given_up:
            self._set(*(self._outcome or self._unpacked(pending, interruptions)))

    def _unpacked(self, pending: PendingCall, interruptions: Any) -> _Outcome:
        with self.__dict__.setdefault("_unpacking", threading.RLock()):
            if self._outcome is None:
                try:
                    self._outcome = self._finish(pending), None
                except interruptions:
                    raise
                except BaseException as exc:
                    self._keep_unseen(without_our_frames(exc))
                    self._outcome = None, exc
            return self._outcome

    def _keep_unseen(self, error: BaseException) -> None:
        """Have the error told if nobody ever looks at it."""
        with settler.lock:
            if not self._has_callbacks:
                name = self._call[0].name
                what = f"{name}: a call failed, and nobody has asked its future for that"
                self._unseen = Unseen(what, error)

    def drop(self) -> None:
        """Its call was not sent, and nobody will ever have it."""
        with settler.lock:
            self._has_callbacks = self._given_up = True
        if self._unseen is not None:
            self._unseen.seen()

    def _finish(self, pending: PendingCall) -> Any:
        answer = pending.first
        if answer is not None and answer[0] == _VALUE:  # as mostly
            return decode_answer(answer, pending.sent)
        endpoint, owner, otherwise, options = self._call
        try:
            endpoint.check(pending)
        except (NotListeningError, ActorDiedError) as exc:
            return fallback_or_raise(exc, otherwise)
        return result_of(endpoint, self._connection, pending, owner, options)

    def _set(self, value: Any, error: BaseException | None) -> None:
        """Settle it. Any number of threads may do so with the same outcome: the first counts."""
        if not self.settle_alone(value, error):
            try:
                if error is None:
                    self.set_result(value)
                else:
                    self.set_exception(error)
            except InvalidStateError:  # settled, or cancelled, by another thread
                if self._unseen is not None and self.cancelled():
                    self._unseen.seen()  # what is given up is not wanted, whatever it is
                return
        self._let_go()

    def _let_go(self) -> None:
        """It is done: nothing of the call is needed any more, and an answer may be large."""
        if self._timer is not None:
            self._timer.cancel()
        self._pending = self._handed_over = None

    def expire(self) -> None:
        """The time is up."""
        pending = self._pending
        if pending is not None and not self.done():
            endpoint, _, _, options = self._call
            error = endpoint.timed_out(options, pending)
            self._connection.fail(pending, lambda: error)
            self.settle()

    def expire_at(self, when: float) -> None:
        """Give the call so much time."""
        # To ask the actor why it takes so long takes time too, in which the I/O thread must go on.
        explain = threading.Thread(target=self.expire, name="remoteobj-explain", daemon=True)
        self._timer = reactor.call_at(when, explain.start)
        if self.done():
            self._timer.cancel()

    # --- as its user sees it ---------------------------------------------------------------

    def cancel(self) -> bool:
        """Give the call up; False if its outcome is here already.

        If it has not begun over there, it will not. If it has, it goes on, and its result is
        dropped: `stop_` ends it, or with the option `interrupt` this does.
        """
        if self._locks_of != fork_generation[0]:
            self._renew_locks()
        if not super().cancel():
            return False
        with settler.lock:
            given_up, self._given_up = self._given_up, True
        if not given_up:
            super().set_running_or_notify_cancel()  # wakes those in `wait` and `as_completed`
            if self._timer is not None:
                self._timer.cancel()
            if self._pending is not None:
                self._connection.fail(self._pending, CancelledError)
                endpoint, _, _, options = self._call
                endpoint.given_up(self._pending, options)
        return True

    def result(self, timeout: float | None = None) -> Any:
        """The value, once it is here; raises what the call raised.

        Raises:
            TimeoutError: it is not here after `timeout` seconds. The call goes on.
            CancelledError: it was cancelled.
        """
        try:
            if self._state is not FINISHED:
                self._wait(timeout)
            if self._state is FINISHED and self._exception is None:
                return self._result
            if self._unseen is not None:
                self._unseen.seen()
            return super().result(0)
        finally:
            del self  # an exception leads to this frame, and so to the future that has it

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the call raised, once that is known; None if it did not."""
        if self._state is not FINISHED:
            self._wait(timeout)
        if self._unseen is not None:
            self._unseen.seen()
        return super().exception(0)

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """Have `fn` called with the future once it is done; it is what looks at the outcome."""
        with settler.lock:
            self._has_callbacks = True
            if self._unseen is not None:
                self._unseen.seen()
        self._connection.hurry()
        super().add_done_callback(fn)

    def _wait(self, timeout: float | None) -> None:
        """Wait until it is done, for so long."""
        if self._locks_of != fork_generation[0]:
            self._renew_locks()
        pending = self._pending
        if pending is None or self._given_up:
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        self._awaited = True
        self._connection.caller_waits()
        try:
            if deadline is not None or not self._connection.wait_fast(pending):
                self._connection.wait(pending, deadline, ANSWERED)
            if self._state is not FINISHED and pending.answered:
                self._settle_by(pending, deadline)
        except BaseException:
            self._awaited = False
            # Before it is answered, whoever reads finds that nobody waits.
            if pending.answered and self._handed_over is not pending:
                self._handed_over = pending
                settler.add(self, plain=False)
            raise
        self._awaited = False
        if self._state is not FINISHED and pending.answered:  # since the time was up
            self._settle_by(pending, deadline)

    def _settle_by(self, pending: PendingCall, deadline: float | None) -> None:
        """Settle it. What has a deadline is left to another thread, since it may take for ever."""
        if deadline is None:
            self.settle()
            return
        self._awaited = False  # by a reader: what still comes is for others to settle
        if self._handed_over is not pending:
            self._handed_over = pending
            settler.hand_over(self)
        with contextlib.suppress(CancelledError, TimeoutError):
            super().exception(max(0.0, deadline - time.monotonic()))

    def _renew_locks(self) -> None:
        """In a forked child: a thread of the parent, which is not here, may hold them."""
        with settler.lock:
            if self._locks_of != fork_generation[0]:
                self._locks_of = fork_generation[0]
                if self._has_parts:
                    self._condition = threading.Condition()
                self.__dict__.pop("_unpacking", None)
                self._handed_over = None


def submit(
    endpoint: Endpoint, steps: Steps, owner: object, otherwise: Fallback, options: CallOptions
) -> Future[Any]:
    """Make a call and return its future; waits while as many are open as may be.

    Raises:
        NotListeningError: nobody listens; nothing was sent.
        UnsendableError: an operand can't be pickled; nothing was sent.
    """
    payload, buffers = encode(steps, endpoint.writable)
    call = endpoint, owner, otherwise, options
    try:
        _, future = endpoint.with_connection(_sent, payload, buffers, call)
    except (NotListeningError, ActorDiedError) as exc:
        payload = b""  # as in `Endpoint.call`
        value = fallback_or_raise(exc, otherwise)
        return completed(lambda: value)
    if options.timeout is not None:
        future.expire_at(time.monotonic() + options.timeout)
    return future


def _sent(connection: Connection, payload: bytes, buffers: list[Any], call: _Call) -> RemoteFuture:
    """The future of a call that is sent now."""
    future = RemoteFuture(connection, call)
    try:
        pending = None if buffers else connection.begin_fast(payload, future.on_ready)
        if pending is None:
            pending = connection.call_async(payload, buffers, future.on_ready)
    except BaseException:
        payload = b""  # as in `Endpoint.call`
        future.drop()
        raise
    if not future.done():
        future._pending = pending
    if connection.runs_inline:
        future.settle()  # in this thread, in which the object lives
    return future


def completed(act: Callable[[], T]) -> Future[T]:
    """The future of something that is done right here."""
    future = LeanFuture()
    try:
        future.settle_alone(act(), None)
    except Exception as exc:
        future.settle_alone(None, exc)
    return future
