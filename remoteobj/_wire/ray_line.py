"""A stream whose bytes travel in the calls of a Ray actor: the end of those who call it.

::

    RayStream.write ──> exchange(key, number, data) ──> RayHost ──> the program's end of the stream
    RayStream.read  <── socket <── feed <── outcome of any exchange that is open <──┘

An exchange brings bytes, and takes along what the program has written by the time it returns. So a
request and its reply are one call of Ray. It waits for something to take along unless a later one
takes its place. A stream on which nothing is written has one exchange open that brings nothing, so
that what comes then comes at once.

Exchanges run in threads over there, and their outcomes come in any order: what they bring and what
they take is numbered.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from .._os.fork_safety import close_in_child
from .._os.io_thread import Timer, reactor
from .._protocol.messages import Bytes
from .duplex import DuplexStream

__all__ = ["IDLE", "PATIENCE", "RayLine", "RayStream", "ray_stream"]

IDLE: Final = 0.002
"""Seconds without an exchange, after which one is begun that brings nothing."""
PATIENCE: Final = 30.0
"""Seconds after which an exchange returns although there is nothing to take along."""
LINE_IS_OVER: Final = "the stream to the actor has ended"


class RayLine:
    """The exchanges of one stream.

    Args:
        exchange: makes one, and gives the reference of its outcome.
        socket: what comes is written into it.
    """

    def __init__(self, exchange: Callable[[int, Any, float], Any], sock: socket.socket) -> None:
        self._exchange = exchange
        self._socket = close_in_child(sock)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._brought = 0
        self._open: dict[int, Any] = {}
        """The outcomes that have not come, by the number of what they brought."""
        self._early: dict[int, tuple[Any, bool]] = {}
        """What has come before its turn."""
        self._taken = 0
        self._unfed: deque[Any] = deque()
        self._feeding = False
        self._timer: Timer | None = None
        self._last = 0.0
        self.over = False
        """Whether nothing more can be written."""

    def bring(self, data: Any) -> None:
        """Have bytes brought to the program; None: that there will be no more.

        Raises:
            BrokenPipeError: nobody is there to take them, or this is a forked copy.
        """
        if self.over or self._pid != os.getpid():
            raise BrokenPipeError(LINE_IS_OVER)
        with self._lock:
            number = self._brought
            self._brought += 1
            self._last = time.monotonic()
            ref = self._open[number] = self._exchange(number, data, PATIENCE)
        ref._on_completed(lambda outcome: self._came(number, outcome))

    def _came(self, number: int, outcome: Any) -> None:
        """The outcome of an exchange is here; in a thread of Ray's."""
        with self._lock:
            self._open.pop(number, None)
            if isinstance(outcome, BaseException):
                self._no_more()
            else:
                self._take_along(*outcome)
            feeds = bool(self._unfed) and not self._feeding
            self._feeding = self._feeding or feeds
        if feeds:
            self._feed()
        if not self._open:
            self._poll_when_idle()

    def _take_along(self, place: int, data: Any, over: bool) -> None:
        if place >= 0:
            self._early[place] = data, over
        while (found := self._early.pop(self._taken, None)) is not None:
            self._taken += 1
            if len(found[0]):
                self._unfed.append(found[0])
            if found[1]:
                self._no_more()

    def _no_more(self) -> None:
        """The program, or its process, has ended: after what has come there is nothing more."""
        if not self.over:
            self.over = True
            self._unfed.append(None)

    # --- what comes --------------------------------------------------------------------------

    def _feed(self) -> None:
        """Hand on what has come, as far as that goes without waiting; else in a thread."""
        while (data := self._next()) is not _NOTHING:
            if data is None:
                self._hang_up()
            elif (rest := self._send(data, socket.MSG_DONTWAIT)) is not None:
                self._unfed.appendleft(rest)
                threading.Thread(target=self._feed_on, name="remoteobj-ray", daemon=True).start()
                return

    def _feed_on(self) -> None:
        while (data := self._next()) is not _NOTHING:
            if data is None:
                self._hang_up()
            else:
                while (rest := self._send(data, 0)) is not None:
                    data = rest

    def _next(self) -> Any:
        """What is to be handed on next; after `_NOTHING` somebody else feeds."""
        with self._lock:
            if self._unfed:
                return self._unfed.popleft()
            self._feeding = False
            return _NOTHING

    def _send(self, data: Any, flags: int) -> Any:
        """What of it could not be sent; None: nothing of it is left, or nobody reads it."""
        try:
            sent = self._socket.send(data, flags | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError:
            return None
        return None if sent == len(data) else memoryview(data)[sent:]

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    # --- waiting for what comes by itself ------------------------------------------------------

    def _poll_when_idle(self) -> None:
        if self._timer is None and not self.over:
            with contextlib.suppress(RuntimeError):  # the program ends
                self._timer = reactor.call_at(time.monotonic() + IDLE, self._poll)

    def _poll(self) -> None:
        self._timer = None
        if self._open or self.over:
            return
        if time.monotonic() - self._last < IDLE:
            self._poll_when_idle()
            return
        with contextlib.suppress(OSError):
            self.bring(b"")

    # --- the end -----------------------------------------------------------------------------

    def end(self) -> None:
        """Nothing more comes, and nothing more can be brought."""
        with self._lock:
            self.over = True
            self._open.clear()
        self._hang_up()

    def close(self) -> None:
        """This end is not needed any more: tell the other one."""
        if not self.over and self._pid == os.getpid():
            with contextlib.suppress(OSError):
                self.bring(None)
        self.end()
        self._socket.close()


_NOTHING: Final = object()


class RayStream(DuplexStream):
    """The end of a caller, which keeps the contract of `transport.ByteStream`."""

    def __init__(self, sock: socket.socket, line: RayLine) -> None:
        super().__init__(sock)
        self._line = line
        self.write = self._write

    @property
    def passes_descriptors(self) -> bool:
        return False

    def _write(self, data: Bytes, /) -> int:
        size = len(data)
        self._line.bring(bytes(data))
        return size

    def writev(self, parts: list[Bytes], /) -> int:
        data = b"".join(parts)
        self._line.bring(data)
        return len(data)

    def end_writing(self) -> None:
        with contextlib.suppress(OSError):
            self._line.bring(None)

    def shutdown(self) -> None:
        super().shutdown()
        self._line.end()

    def close(self) -> None:
        super().close()
        self._line.close()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a stream to an actor of Ray stays in its process")


def ray_stream(exchange: Callable[[int, Any, float], Any]) -> tuple[RayStream, socket.socket]:
    """A stream by these exchanges, and its socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return RayStream(ours, RayLine(exchange, theirs)), ours
