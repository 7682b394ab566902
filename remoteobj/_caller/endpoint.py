"""The caller's side of a remote object: reach it, call it, and say what came of the call."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from .._fast_typing import NamedTuple
from .._os.fork_safety import is_lean
from .._os.lazy_import import import_lock
from .._pickling.codec import dumps, dumps_call
from .._protocol.calls import PendingCall
from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._protocol.frames import JOINED
from .._protocol.identity import ActorId, Peer
from .._protocol.messages import Bytes, Frame, Kind
from .._protocol.operations import Steps
from .._protocol.requests import observers, switches
from .._wire.auth import CALLS, AuthenticationError
from .._wire.channel import Channel, StreamChannel
from .._wire.refusals import report_refusal
from .._wire.registry import transport_of
from .._wire.transport import Address, ByteStream
from ..errors import (
    ActorDiedError,
    CallTimeoutError,
    NotListeningError,
    UnsendableError,
)
from .answers import Fallback, decode_answer, fallback_or_raise
from .call_errors import CallErrors
from .call_options import PLAIN, CallOptions
from .connection import Connection, ConnectionEndedError, OpenedCall, ReenteredError
from .incoming import Incoming
from .shared_reader import OVER
from .streams import result_of

__all__ = [
    "Endpoint",
    "OwnedParts",
    "encode",
    "result_of",
]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

T = TypeVar("T")

_fast_limit = JOINED
"""Bytes that a call may have that takes the fast path; none may where calls are observed."""
END_SECONDS = 1.0
"""How long it may take until the end of a connection is found by which nothing could be sent."""
LISTENING_SECONDS = 0.5
"""How long one that may just be restarted has to let a process in that asks whether it listens."""


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


class OwnedParts(NamedTuple):
    """What an endpoint has of its owner, where the actor is this process's own."""

    errors: Callable[[], CallErrors]
    connection: Connection
    """Which was there before the actor was."""
    await_connection: Callable[[float | None], Connection | None]
    """Called before a new connection is made: the one that is there; None: one is to be made.
    Waits, until a deadline, for an actor that is restarted; raises what it is that forbids it."""
    explain: Callable[..., CallTimeoutError]
    """Makes the error of a call that took too long, as `_inspection.Inspector.explain`."""
    interrupt: Callable[[PendingCall], None]
    """Has a call interrupted that was given up, if it runs; does not wait for that."""


class Endpoint:
    """Calls one remote object from this process, by one connection that all threads share.

    The connection is made at the first call, and anew where it is safe: after a fork, and
    when the one before had ended before anything was sent.

    Args:
        owned: what the owner of an actor knows better than others; None: it is not ours.
        restarts: whether its process may be followed by another one at its address, which who
            calls waits for.
    """

    def __init__(
        self,
        actor_id: ActorId,
        address: Address,
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
        owned: OwnedParts | None = None,
        *,
        restarts: bool = False,
    ) -> None:
        self.peer = Peer(actor_id)
        self._address = address
        self._wire_options = wire_options
        self.writable = wire_options.writable
        self._owned = owned
        self._restarts = restarts
        self._others_errors = CallErrors(actor_id.name)
        self._connection: Connection | None = None if owned is None else owned.connection
        self._renew()
        _endpoints.add(self)

    def _renew(self) -> None:
        """Forget what belongs to another process; a lock may be held by a thread of it."""
        self._connecting = threading.Lock()
        self._pid = os.getpid()

    def after_fork(self) -> None:
        """In a forked child: the parent's connection stays the parent's."""
        self._renew()
        if self._connection is not None:
            self._connection.after_fork()
            self._connection = None

    @property
    def name(self) -> str:
        """The actor's name."""
        return self.peer.actor.name

    @property
    def _errors(self) -> CallErrors:
        return self._others_errors if self._owned is None else self._owned.errors()

    # --- calling -----------------------------------------------------------------------

    def call(
        self,
        steps: Steps,
        owner: object = None,
        otherwise: Fallback = None,
        options: CallOptions = PLAIN,
    ) -> Any:
        """Evaluate a chain over there; its value, a `Stream`, or `RETURNED_SELF`.

        `otherwise` makes the value when nobody listens (any more) and nothing was executed,
        in place of the error.

        Raises:
            Exception: whatever the operations raised.
            NotListeningError: nobody listens; nothing was executed.
            ActorDiedError: the process ended before it answered.
            CallTimeoutError: it did not answer within `options.timeout`.
            UnsendableError: an operand can't be pickled; nothing was sent.
        """
        try:
            payload, buffers = dumps_call(steps, self.writable)
        except UnsendableError:
            payload, buffers = encode(steps, self.writable)  # again, to name the operand
        connection = self._connection
        answer: Frame | PendingCall | None = None
        if (
            connection is not None
            and (options is PLAIN or not (options.timeout is not None or options.interrupt))
            and not buffers
            and len(payload) <= _fast_limit
        ):
            answer = connection.call_fast(payload)
            if type(answer) is Frame:
                try:
                    return decode_answer(answer, payload)
                finally:
                    payload = b""  # as below
        try:
            opened: list[OpenedCall] = []
            if connection is not None and isinstance(answer, PendingCall):
                answer.sent = payload
                opened.append((connection, answer))
            connection, pending = self._exchange(payload, buffers, options, opened)
            self.check(pending)
        except (NotListeningError, ActorDiedError) as exc:
            return fallback_or_raise(exc, otherwise)
        finally:
            payload = b""  # a proxy in it has its key there, and errors may be shown with locals
        return result_of(self, connection, pending, owner, options)

    def cast(self, steps: Steps) -> None:
        """Have a chain evaluated over there, without an answer."""
        payload, buffers = encode(steps, self.writable)
        try:
            self.with_connection(Connection.cast, payload, buffers)
        finally:
            payload = b""  # as in `call`

    def with_connection(
        self, act: Callable[..., T], *operands: Any, deadline: float | None = None
    ) -> tuple[Connection, T]:
        """Call `act` with a connection and the operands; that connection, and what it returned.

        Raises:
            NotListeningError: nobody listens; nothing was sent.
            CallTimeoutError: its actor was not restarted until `deadline`; nothing was sent.
        """
        try:
            while True:
                connection = self._connection
                if connection is None or connection.closed_because is not None:
                    connection = self.ensure_connected(deadline)
                try:
                    return connection, act(connection, *operands)
                except ConnectionEndedError:
                    # Nothing was sent: try a new one, once a thread that reads has found the end.
                    connection.wait(connection.closed, time.monotonic() + END_SECONDS, OVER)
                except ReenteredError:
                    # From a signal handler or a finalizer, on top of a call of this very thread.
                    connection = self.connect(deadline=deadline)
                    return connection, act(connection, *operands)
        except BaseException:
            operands = ()  # as in `call`
            raise

    def _exchange(
        self,
        payload: bytes,
        buffers: Sequence[Bytes],
        options: CallOptions,
        opened: list[OpenedCall],
    ) -> OpenedCall:
        """Send a call, unless it is `opened` already, and wait for its answer.

        Invariant: from the moment in which it is sent it is in `opened`, so that Ctrl-C, which may
        come at any moment, leaves no call behind that nobody knows of.
        """
        deadline = options.deadline()
        try:
            if not opened:
                self.with_connection(Connection.call, payload, buffers, opened, deadline=deadline)
            connection, pending = opened[-1]
            if not connection.wait(pending, deadline):
                raise self.timed_out(options, pending)
        except BaseException as exc:
            payload = b""  # as in `call`
            if opened:
                connection, pending = opened[-1]
                connection.abandon(pending)
                if not isinstance(exc, CallTimeoutError):  # else that was seen to
                    self.given_up(pending, options)
            raise
        return opened[-1]

    def given_up(self, pending: PendingCall, options: CallOptions) -> None:
        """A call was abandoned by its caller, before its time was up: have it interrupted in the
        actor, if its options say so. What it calls then may run in any thread."""
        if options.interrupt and self._owned is not None and pending.first is None:
            self._owned.interrupt(pending)

    def timed_out(
        self,
        options: CallOptions,
        pending: PendingCall | None = None,
        what: str = "did not answer",
    ) -> CallTimeoutError:
        """The error of a call that took too long: `what` did its actor in that time."""
        if self._owned is not None:
            ahead = self._connection.ahead_of(pending) if self._connection and pending else []
            return self._owned.explain(options, pending, ahead, what)
        return CallTimeoutError(f"{self.name} {what} within {options.timeout} s")

    def check(self, pending: PendingCall) -> None:
        """Raise the error of a call that was not answered, or refused."""
        if pending.first is None:
            assert pending.failure is not None
            raise pending.failure()
        if pending.first.kind == Kind.REFUSED:
            why = bytes(pending.first.payload).decode(errors="replace")
            raise self._errors.not_listening(why or "it was closing, and refused the call")

    # --- the connection ----------------------------------------------------------------

    @property
    def open_connection(self) -> Connection | None:
        """The connection, if there is one on which calls can be made."""
        connection = self._connection
        return connection if connection is not None and connection.closed_because is None else None

    def ensure_connected(self, deadline: float | None = None) -> Connection:
        """The connection, made if there is none.

        Raises:
            NotListeningError: nobody listens.
            CallTimeoutError: its actor was not restarted until `deadline`.
        """
        if (connection := self.open_connection) is not None:
            return connection
        if self._pid != os.getpid():
            self.after_fork()
        # Without the lock: a signal handler, or the thread that restarts it, may ask meanwhile.
        there = None if self._owned is None else self._owned.await_connection(deadline)
        if not self._connecting.acquire(timeout=-1 if deadline is None else _left(deadline)):
            raise self._errors.not_in_time(self._restarts)
        try:
            connection = self._connection
            if connection is None or connection.closed_because is not None:
                if connection is not None:
                    connection.close()
                connection = self._connection = there or self._dial(CALLS, deadline)
            return connection
        finally:
            self._connecting.release()

    def connect(self, purpose: int = CALLS, deadline: float | None = None) -> Connection:
        """A new connection; raises as `ensure_connected`."""
        if self._owned is not None:
            self._owned.await_connection(deadline)
        return self._dial(purpose, deadline)

    def _dial(self, purpose: int, deadline: float | None) -> Connection:
        try:
            stream = self._stream(purpose, deadline)
        except AuthenticationError as exc:
            report_refusal(exc.reason, str(exc))
            raise self._errors.not_listening(str(exc)) from exc
        except TimeoutError as exc:
            raise self._errors.not_in_time(self._restarts) from exc
        except OSError as exc:
            raise self._errors.not_listening() from exc
        return self.over(StreamChannel(stream, wire_options=self._wire_options))

    def _stream(self, purpose: int, deadline: float | None) -> ByteStream:
        connect = transport_of(self._address).connect
        while self._restarts:  # and we stand in its queue meanwhile
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # died in between
                left = None if deadline is None else _left(deadline)
                return connect(self._address, purpose, left)
        return connect(self._address, purpose)

    def over(self, channel: Channel) -> Connection:
        """A connection over a channel to the object, whose errors name it."""
        errors = self._errors
        return Connection(channel, errors.lost, errors.goodbye_error, self._restarts, self.peer)

    def listening(self) -> bool:
        """Whether the object can be called now, as far as anybody can know."""
        deadline = None
        if self._restarts:
            deadline = time.monotonic() + (LISTENING_SECONDS if self._owned is None else 0.0)
        try:
            self.ensure_connected(deadline).poll()
            connection = self.ensure_connected(deadline)  # another one, if that one had ended
            connection.poll()
            return connection.closed_because is None
        except (NotListeningError, ActorDiedError, CallTimeoutError):
            return False

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None and self._pid == os.getpid():
            self._connection.close()


def encode(steps: Steps, writable: bool = True) -> tuple[bytes, list[Any]]:
    """A chain as bytes; an error names the operand as its user knows it."""
    try:
        return dumps_call(steps, writable)
    except UnsendableError as exc:
        error = exc
    try:
        with import_lock:
            from .._protocol.descriptions import named_operands  # for a faster start-up

        for name, operand in named_operands(steps):
            dumps(operand, name)  # says which one it is
        raise error
    finally:
        del error  # it leads to this frame, and so to the caller's handle


def _take_fast_path(observed: bool) -> None:
    global _fast_limit
    _fast_limit = -1 if observed else JOINED


switches.append(_take_fast_path)
_take_fast_path(bool(observers))


# --- forks -------------------------------------------------------------------------------

_endpoints: weakref.WeakSet[Endpoint] = weakref.WeakSet()


def _forget_connections() -> None:
    if is_lean() and Incoming.leave_all_to_parent():
        return  # and each endpoint sees to the rest when it is used
    for endpoint in list(_endpoints):
        endpoint.after_fork()


os.register_at_fork(after_in_child=_forget_connections)
