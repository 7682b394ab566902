"""The outcome of a call that nobody waits for: a `concurrent.futures.Future`."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from typing import Any

from .._os.io_thread import Timer, reactor
from .._os.thread_unwind import ThreadUnwind
from .._protocol.calls import PendingCall
from .._protocol.messages import Kind
from .._protocol.operations import Steps
from ..errors import ActorDiedError, NotListeningError
from .call_options import CallOptions
from .connection import Connection
from .endpoint import Endpoint, Fallback, decode_answer, encode, fallback_or_raise, result_of

__all__ = ["RemoteFuture", "completed", "submit"]


_CONDITION_LOCK: Any = threading.RLock()
"""Guards the making of a future's condition, which is made when it is first needed, so that the
thread that reads an outcome knows for certain whether anybody can be waiting for it."""

_DONE = frozenset((CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED))


class RemoteFuture(Future[Any]):
    """A future whose value stays bytes until it is asked for, in the thread that asks.

    A thread that waits for it reads the connection itself; while none does, the I/O thread reads.

    Most futures are made, answered and asked by one thread, and need neither a condition nor lists
    of waiters and callbacks. These are made when they are first looked up, which saves a third of
    the time that a call takes.
    """

    _state = PENDING
    _result = None
    _exception = None
    _pending_call: PendingCall | None = None
    _timer: Timer | None = None
    _outcome: tuple[Any, BaseException | None] | None = None
    _callbacks_withheld = False

    def __init__(
        self,
        connection: Connection,
        endpoint: Endpoint,
        owner: object,
        otherwise: Fallback,
        options: CallOptions,
    ) -> None:
        self._connection = connection
        self._call = (endpoint, owner, otherwise, options)

    def __getattr__(self, name: str) -> Any:
        with _CONDITION_LOCK:
            if name == "_condition":
                return self.__dict__.setdefault(name, threading.Condition())
            if name in ("_waiters", "_done_callbacks"):
                return self.__dict__.setdefault(name, [])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # --- as the connection sees it -------------------------------------------------------

    def on_ready(self, pending: PendingCall) -> None:
        """The outcome is here. This is called within a read, so no callback may run now."""
        self._pending_call = pending
        if self._timer is not None:
            self._timer.cancel()
        with _CONDITION_LOCK:
            # To wait, to cancel and to add a callback all make the condition first, then look.
            if "_condition" not in self.__dict__:
                self._state = FINISHED
                return
        with contextlib.suppress(InvalidStateError):  # cancelled, this very moment
            super().set_result(None)

    def expire(self) -> None:
        """The time is up."""
        pending = self._pending_call
        if pending is not None and not self.done():
            endpoint, _, _, options = self._call
            error = endpoint.timed_out(options, pending)
            self._connection.fail(pending, lambda: error)
            self.on_ready(pending)

    def expire_at(self, when: float) -> None:
        """Give the call so much time."""
        # To ask the actor why it takes so long takes time too, in which the I/O thread must go on.
        explain = threading.Thread(target=self.expire, name="remoteobj-explain", daemon=True)
        self._timer = reactor.call_at(when, explain.start)
        if self.done():
            self._timer.cancel()

    def _invoke_callbacks(self) -> None:
        if self._callbacks_withheld or not self._done_callbacks:
            return
        if self._connection.inside:
            reactor.call_soon(super()._invoke_callbacks)  # type: ignore[misc]
        else:
            super()._invoke_callbacks()  # type: ignore[misc]

    # --- as its user sees it ---------------------------------------------------------------

    def done(self) -> bool:
        """Whether it is cancelled, or its outcome is here."""
        return self._state in _DONE

    def cancel(self) -> bool:
        """Give the call up; False if its outcome is here already.

        If it has not begun over there, it will not. If it has, it goes on, and its result is
        dropped: only `stop_` and its like end what runs.
        """
        with self._condition:
            if self.done():
                return self.cancelled()
            self._callbacks_withheld = True
            super().cancel()
            super().set_running_or_notify_cancel()  # wakes those in `wait` and `as_completed`
            self._callbacks_withheld = False
        if self._timer is not None:
            self._timer.cancel()
        if self._pending_call is not None:
            self._connection.fail(self._pending_call, CancelledError)
        self._invoke_callbacks()
        return True

    def result(self, timeout: float | None = None) -> Any:
        """The value, once it is here; raises what the call raised.

        Raises:
            TimeoutError: it is not here after `timeout` seconds. The call goes on.
            CancelledError: it was cancelled.
        """
        if self._state != FINISHED:
            self._wait(timeout)
        value, error = self._outcome or self._unpacked()
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # it leads to this frame, and so to the future itself

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the call raised, once that is known; None if it did not."""
        self._wait(timeout)
        return self._unpacked()[1]

    def _wait(self, timeout: float | None) -> None:
        if self.done():
            super().result()  # raises where it was cancelled
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        assert self._pending_call is not None
        self._connection.wait(self._pending_call, deadline)
        # The thread that read the outcome is about to set it; a failure is raised here as well.
        super().result(0 if deadline is not None and not self._pending_call.ready else None)

    def _unpacked(self) -> tuple[Any, BaseException | None]:
        # A lock of its own, since what is unpickled may run users' code.
        with self.__dict__.setdefault("_unpacking", threading.RLock()):
            if self._outcome is None:
                assert self._pending_call is not None
                try:
                    self._outcome = self._finish(self._pending_call), None
                except (KeyboardInterrupt, ThreadUnwind):
                    raise
                except BaseException as exc:
                    self._outcome = None, exc
            return self._outcome

    def _finish(self, pending: PendingCall) -> Any:
        if pending.first is not None and pending.first[0] == Kind.VALUE:
            return decode_answer(pending.first, pending.sent)
        endpoint, owner, otherwise, options = self._call
        try:
            endpoint.check(pending)
        except (NotListeningError, ActorDiedError) as exc:
            return fallback_or_raise(exc, otherwise)
        return result_of(self._connection, pending, owner, options)


def _renew_lock() -> None:
    global _CONDITION_LOCK  # another thread may hold it at the moment of a fork
    _CONDITION_LOCK = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


def submit(
    endpoint: Endpoint, steps: Steps, owner: object, otherwise: Fallback, options: CallOptions
) -> Future[Any]:
    """Make a call and return its future; waits while as many are open as may be.

    Raises:
        NotListeningError: nobody listens; nothing was sent.
        UnsendableError: an operand can't be pickled; nothing was sent.
    """
    payload, buffers = encode(steps, endpoint.writable)

    def send(connection: Connection) -> RemoteFuture:
        if connection.full:
            connection.wait_for_room()
        future = RemoteFuture(connection, endpoint, owner, otherwise, options)
        future._pending_call = connection.call_async(payload, buffers, future.on_ready)
        return future

    try:
        _, future = endpoint.with_connection(send)
    except (NotListeningError, ActorDiedError) as exc:
        value = fallback_or_raise(exc, otherwise)
        return completed(lambda: value)
    if options.timeout is not None:
        future.expire_at(time.monotonic() + options.timeout)
    return future


def completed(act: Callable[[], Any]) -> Future[Any]:
    """The future of something that is done right here."""
    future: Future[Any] = Future()
    try:
        future.set_result(act())
    except Exception as exc:
        future.set_exception(exc)
    return future
