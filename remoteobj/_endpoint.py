"""The caller's side of a remote object: reach it, call it, and say what came of the call."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

from ._address import Address
from ._auth import AuthenticationError, connect_with_key
from ._codec import dumps, loads
from ._connection import Connection, ConnectionEndedError, ReenteredError
from ._future import Stream
from ._messages import Bytes, Frame, Kind
from ._outcome import for_caller, unpack_error
from ._protocol import Failure, Ticket
from ._transport import SocketChannel
from ._view import View
from .errors import ActorDiedError, NotListeningError, UnsendableError

__all__ = ["ITSELF", "Endpoint", "Partner", "read"]

ITSELF: Final = object()
"""The result of a call that returned the remote object itself."""


class Partner:
    """Who is at the other end, and the words for when it is not there.

    Apart from `Endpoint`, so that a connection, which needs them, does not lead back to the
    endpoint that holds it: a dropped proxy lets go of its socket at once.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def lost(self, maybe_executed: bool) -> BaseException:
        """The error when it is gone without a word."""
        return ActorDiedError.from_exit(self.name, maybe_executed=maybe_executed)

    def farewell(self, payload: Bytes) -> Failure:
        """The error when it said that it closes, and why."""
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

    def __init__(self, address: Address, name: str, partner: Partner | None = None) -> None:
        self.address = address
        self._partner = partner or Partner(name)
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
        self, view: View, owner: object = None, otherwise: Callable[[], Any] | None = None
    ) -> Any:
        """Evaluate a chain over there; its value, a `Stream`, or `ITSELF`.

        `otherwise` makes the value when nobody listens (any more) and nothing was executed,
        in place of the error.

        Raises:
            Exception: whatever the operations raised.
            NotListeningError: nobody listens; nothing was executed.
            ActorDiedError: the process ended before it answered.
            UnsendableError: an operand can't be pickled; nothing was sent.
        """
        payload, buffers = self._encode(view)
        try:
            connection, ticket = self._send(payload, buffers)
            frame = self._settle(connection, ticket)
        except (NotListeningError, ActorDiedError) as exc:
            if otherwise is None or getattr(exc, "maybe_executed", False):
                raise
            return otherwise()
        if frame.kind == Kind.STREAM:
            return Stream(connection, ticket, read, owner)
        return read(frame)

    def _send(self, payload: bytes, buffers: list[Any]) -> tuple[Connection, Ticket]:
        while True:
            connection = self.connected()
            try:
                return connection, connection.call(payload, buffers)
            except ConnectionEndedError:
                continue  # nothing was sent: try a new one
            except ReenteredError:
                # From a signal handler or a finalizer, on top of a call of this very thread.
                connection = self._connect()
                return connection, connection.call(payload, buffers)

    def _settle(self, connection: Connection, ticket: Ticket) -> Frame:
        """Wait for the first frame of an outcome; raises where there is none."""
        try:
            connection.wait(ticket)
        except BaseException:
            connection.abandon(ticket)
            raise
        frame = ticket.first
        if frame is None:
            assert ticket.failure is not None
            raise ticket.failure()
        if frame.kind == Kind.REFUSED:
            raise self._partner.not_listening("it was closing, and refused the call")
        return frame

    def _encode(self, view: View) -> tuple[bytes, list[Any]]:
        try:
            return dumps(tuple(view), "call")
        except UnsendableError as exc:
            error = exc
        try:
            for name, operand in _operands(view):
                dumps(operand, name)  # says which one it is
            raise error
        finally:
            del error  # it leads to this frame, and so to the caller's handle

    # --- the connection ----------------------------------------------------------------

    def connected(self) -> Connection:
        """The connection, made if there is none.

        Raises:
            NotListeningError: nobody listens.
        """
        connection = self._connection
        if connection is not None and connection.ended is None:
            return connection
        with self._connecting:
            connection = self._connection
            if connection is None or connection.ended is not None:
                if connection is not None:
                    connection.close()
                connection = self._connection = self._connect()
            return connection

    def _connect(self) -> Connection:
        try:
            sock = connect_with_key(self.address)
        except AuthenticationError as exc:
            raise self._partner.not_listening(str(exc)) from exc
        except TimeoutError as exc:
            raise self._partner.not_listening(
                "its process listens, but did not answer in time"
            ) from exc
        except OSError as exc:
            raise self._partner.not_listening() from exc
        return Connection(SocketChannel(sock), self._partner.lost, self._partner.farewell)

    def listening(self) -> bool:
        """Whether the object can be called now, as far as anybody can know."""
        try:
            return self.connected().look() or self.connected().look()
        except (NotListeningError, ActorDiedError):
            return False

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None and self._pid == os.getpid():
            self._connection.close()


def read(frame: Frame) -> Any:
    """The value in a frame; raises the exception in it."""
    if frame.kind == Kind.ERROR:
        raise unpack_error(frame.payload)
    if frame.kind == Kind.ITSELF:
        return ITSELF
    try:
        return loads(frame.payload, frame.buffers)
    except BaseException as exc:
        # What a value does when it is unpickled must not end the caller's program, or loop.
        error = for_caller(exc)
    try:
        raise error
    finally:
        del error  # it leads to this frame, and so to the caller's handle


def _operands(view: View) -> list[tuple[str, Any]]:
    """What a chain carries, each with the name under which its user knows it."""
    found: list[tuple[str, Any]] = []
    for step in view:
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
