"""The caller's side of a remote object: reach it, call it, and say what came of the call."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from .._pickling.codec import dumps, dumps_call, loads, unpickled
from .._pickling.outcome import for_caller, unpack_error
from .._protocol.calls import ErrorFactory, PendingCall
from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._protocol.frames import JOINED
from .._protocol.messages import WINDOW, Bytes, Frame, Kind
from .._protocol.views import Steps
from .._wire.auth import AuthenticationError, connect_with_key
from .._wire.channel import StreamChannel
from .._wire.unix import Address
from ..errors import ActorDiedError, CallTimeoutError, NotListeningError, UnsendableError
from .connection import Connection, ConnectionEndedError, ReenteredError
from .streams import Stream

__all__ = [
    "RETURNED_SELF",
    "TERMS",
    "Endpoint",
    "Fallback",
    "CallErrors",
    "Terms",
    "encode",
    "fallback_or_raise",
    "decode_answer",
    "result_of",
]

T = TypeVar("T")

Fallback = Callable[[], Any] | None
"""Makes the value that stands in where nobody listens; None: there is none."""


class Terms(NamedTuple):
    """What a caller wants of a call, beside its outcome."""

    timeout: float | None = None
    """Seconds until it must be answered, and each item of its stream; None waits for ever."""
    window: int = WINDOW
    """Items that its stream may run ahead."""
    interrupt: bool = False
    """Whether it is interrupted over there when the time is up."""


TERMS: Final = Terms()

RETURNED_SELF: Final = object()
"""The result of a call that returned the remote object itself."""


class CallErrors:
    """The errors of calls that get no answer, which name the actor.

    Apart from `Endpoint`, so that a connection, which needs these, does not lead back to the
    endpoint that holds it: a dropped proxy lets go of its socket at once.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def lost(self, maybe_executed: bool) -> BaseException:
        """The error when the actor is gone without a word."""
        return ActorDiedError.from_exit(self.name, maybe_executed=maybe_executed)

    def goodbye_error(self, payload: Bytes) -> ErrorFactory:
        """The error when the actor said that it closes, and why."""
        if payload:
            reason = bytes(payload)

            def failed(maybe_executed: bool) -> BaseException:
                error = ActorDiedError.from_exit(self.name, maybe_executed=maybe_executed)
                error.__cause__ = unpack_error(reason)
                return error

            return failed
        return lambda maybe_executed: self.not_listening("it has stopped listening")

    def not_listening(self, why: str = "nobody listens") -> NotListeningError:
        return NotListeningError(f"{self.name} can't be called: {why}")


class Endpoint:
    """Calls one remote object from this process, by one connection that all threads share.

    The connection is made at the first call, and anew where it is safe: after a fork, and
    when the one before had ended before anything was sent.
    """

    def __init__(
        self,
        address: Address,
        name: str,
        partner: CallErrors | None = None,
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
    ) -> None:
        self.address = address
        self._wire_options = wire_options
        self.writable = wire_options.writable
        self._errors = partner or CallErrors(name)
        self._connection: Connection | None = None
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

    # --- calling -----------------------------------------------------------------------

    def call(
        self, steps: Steps, owner: object = None, otherwise: Fallback = None, terms: Terms = TERMS
    ) -> Any:
        """Evaluate a chain over there; its value, a `Stream`, or `RETURNED_SELF`.

        `otherwise` makes the value when nobody listens (any more) and nothing was executed,
        in place of the error.

        Raises:
            Exception: whatever the operations raised.
            NotListeningError: nobody listens; nothing was executed.
            ActorDiedError: the process ended before it answered.
            CallTimeoutError: it did not answer within `terms.timeout`.
            UnsendableError: an operand can't be pickled; nothing was sent.
        """
        try:
            payload, buffers = dumps_call(steps, self.writable)
        except UnsendableError:
            payload, buffers = encode(steps, self.writable)  # again, to name the operand
        connection = self._connection
        answer: Frame | PendingCall | None = None
        if connection is not None and terms is TERMS and not buffers and len(payload) <= JOINED:
            answer = connection.call_fast(payload)
            if type(answer) is Frame:
                return decode_answer(answer)
        try:
            if connection is not None and isinstance(answer, PendingCall):
                pending = answer
            else:
                connection, pending = self.with_connection(lambda at: at.call(payload, buffers))
            self._wait(connection, pending, terms)
            self.check(pending)
        except (NotListeningError, ActorDiedError) as exc:
            return fallback_or_raise(exc, otherwise)
        return result_of(connection, pending, owner, terms)

    def cast(self, steps: Steps) -> None:
        """Have a chain evaluated over there, without an answer."""
        payload, buffers = encode(steps, self.writable)
        self.with_connection(lambda at: at.cast(payload, buffers))

    def with_connection(self, act: Callable[[Connection], T]) -> tuple[Connection, T]:
        """Call `act` with a connection; that connection, and what `act` returned.

        Raises:
            NotListeningError: nobody listens; nothing was sent.
        """
        while True:
            connection = self._connection
            if connection is None or connection.closed_because is not None:
                connection = self.ensure_connected()
            try:
                return connection, act(connection)
            except ConnectionEndedError:
                continue  # nothing was sent: try a new one
            except ReenteredError:
                # From a signal handler or a finalizer, on top of a call of this very thread.
                connection = self._connect()
                return connection, act(connection)

    def _wait(self, connection: Connection, pending: PendingCall, terms: Terms) -> None:
        deadline = None if terms.timeout is None else time.monotonic() + terms.timeout
        try:
            if not connection.wait(pending, deadline):
                raise self.timed_out(terms, pending)
        except BaseException:
            connection.abandon(pending)
            raise

    def timed_out(self, terms: Terms, pending: PendingCall | None = None) -> CallTimeoutError:
        """The error of a call that took too long."""
        return CallTimeoutError(f"{self._errors.name} did not answer within {terms.timeout} s")

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

    def ensure_connected(self) -> Connection:
        """The connection, made if there is none.

        Raises:
            NotListeningError: nobody listens.
        """
        if (connection := self.open_connection) is not None:
            return connection
        with self._connecting:
            connection = self._connection
            if connection is None or connection.closed_because is not None:
                if connection is not None:
                    connection.close()
                connection = self._connection = self._connect()
            return connection

    def _connect(self) -> Connection:
        try:
            line = connect_with_key(self.address)
        except AuthenticationError as exc:
            raise self._errors.not_listening(str(exc)) from exc
        except TimeoutError as exc:
            raise self._errors.not_listening(
                "its process listens, but did not answer in time"
            ) from exc
        except OSError as exc:
            raise self._errors.not_listening() from exc
        channel = StreamChannel(line, wire_options=self._wire_options)
        connection = Connection(channel, self._errors.lost, self._errors.goodbye_error)
        connection.target = self.address.path
        return connection

    def listening(self) -> bool:
        """Whether the object can be called now, as far as anybody can know."""
        try:
            self.ensure_connected().poll()
            connection = self.ensure_connected()  # another one, if that one had ended
            connection.poll()
            return connection.closed_because is None
        except (NotListeningError, ActorDiedError):
            return False

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None and self._pid == os.getpid():
            self._connection.close()


def fallback_or_raise(exc: BaseException, otherwise: Fallback) -> Any:
    """The value that stands in for this error, which is raised if there is none."""
    if otherwise is None or getattr(exc, "maybe_executed", False):
        raise exc
    return otherwise()


def result_of(connection: Connection, pending: PendingCall, owner: object, terms: Terms) -> Any:
    """The value of a call that was answered; raises the exception that it ended with."""
    assert pending.first is not None
    if pending.first.kind == Kind.STREAM:
        return Stream(
            connection, pending, decode_answer, owner, window=terms.window, timeout=terms.timeout
        )
    result = decode_answer(pending.first)
    return owner if result is RETURNED_SELF and owner is not None else result


def decode_answer(frame: Frame) -> Any:
    """The value in a frame; raises the exception in it."""
    if frame[0] == Kind.ERROR:
        raise unpack_error(frame.payload)
    if frame[0] == Kind.RETURNED_SELF:
        return RETURNED_SELF
    try:
        return loads(frame[2], frame[3]) if frame[3] else unpickled(frame[2])
    except BaseException as exc:
        # What a value does when it is unpickled must not end the caller's program, or loop.
        error = for_caller(exc)
    try:
        raise error
    finally:
        del error  # it leads to this frame, and so to the caller's handle


def encode(steps: Steps, writable: bool = True) -> tuple[bytes, list[Any]]:
    """A chain as bytes; an error names the operand as its user knows it."""
    try:
        return dumps_call(steps, writable)
    except UnsendableError as exc:
        error = exc
    try:
        for name, operand in _operands(steps):
            dumps(operand, name)  # says which one it is
        raise error
    finally:
        del error  # it leads to this frame, and so to the caller's handle


def _operands(steps: Steps) -> list[tuple[str, Any]]:
    """What a chain carries, each with the name under which its user knows it."""
    found: list[tuple[str, Any]] = []
    for step in steps:
        if step[0] in ("call", "passto"):
            *func, args, kwargs = step[1:]
            found += [("func", one) for one in func]
            found += [(f"args[{i}]", one) for i, one in enumerate(args)]
            found += kwargs.items()
        else:
            found += [("value" if i else "key", one) for i, one in enumerate(step[1:])]
    return found


# --- forks -------------------------------------------------------------------------------

_endpoints: weakref.WeakSet[Endpoint] = weakref.WeakSet()


def _forget_connections() -> None:
    for endpoint in list(_endpoints):
        endpoint.after_fork()


os.register_at_fork(after_in_child=_forget_connections)
