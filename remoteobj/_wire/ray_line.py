"""A stream whose bytes travel in the calls of a Ray actor: the end of those who call it.

::

    QueueStream.write ──> exchange(key, number, data) ──> HostLine ──> the program's end
    QueueStream.read <── outcome of any exchange that is open <──────────────┘

An exchange brings bytes, and takes along what the program has written by the time it returns. So a
request and its reply are one call of Ray. It waits for something to take along unless a later one
takes its place. Where nothing is written, one exchange that brings nothing is soon begun, so that
what comes by itself comes at once.

Exchanges run in threads over there, and their outcomes come in any order: what they bring and what
they take is numbered. Each is one argument and one result, plain bytes where these are few, since
Ray takes its time for each object. Many bytes lie in its object store, from which they are read
without a copy.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import struct
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from .._os.io_thread import reactor
from .._protocol.messages import Bytes
from .queue_stream import QueueStream

__all__ = [
    "BROUGHT",
    "CUT",
    "IN_STORE",
    "KEY_SIZE",
    "LAST",
    "NOTHING",
    "RayLine",
    "TAKEN",
    "parts_of",
]

KEY_SIZE: Final = 8
BROUGHT: Final = struct.Struct(f"<{KEY_SIZE}sQQB")
"""What the bytes begin with that an exchange brings: the key of the stream, their number in it, how
many another stream must have brought before, and flags."""
TAKEN: Final = struct.Struct("<QB")
"""The same of what it takes along: a number, and flags."""
LAST: Final = 1
"""There will be no more bytes that way."""
NOTHING: Final = 2
"""Nothing is taken along, and no number used up."""
CUT: Final = 4
"""The caller has let go of the stream, and takes nothing along any more."""
IN_STORE: Final = 1 << 19
"""Bytes from which on the object store is faster than a message."""
IDLE: Final = 0.005
"""Seconds without an exchange, after which one is begun that brings nothing."""
MOST_IDLE: Final = 0.04
"""The same after many exchanges. Looks whether it is time for that take calls a twentieth of their
time if they come after each few of them; so one that comes too early doubles the time to the next.
"""


def parts_of(message: Any, head: struct.Struct) -> tuple[tuple[Any, ...], list[Any]]:
    """What stands at the beginning of a message, and the bytes that follow."""
    if isinstance(message, bytes):
        return head.unpack_from(message), [memoryview(message)[head.size :]]
    return head.unpack(message[0]), message[1:]


class RayLine:
    """The exchanges of one stream: an `Outlet`.

    Args:
        key: of the stream.
        exchange: makes an exchange, and gives the reference of its outcome.
        get: what a reference refers to, once it is here.
        behind: the stream of which nothing that is written is to be overtaken by this one.
    """

    def __init__(
        self,
        key: bytes,
        exchange: Callable[[Any], Any],
        get: Callable[[Any], Any],
        behind: RayLine | None = None,
    ) -> None:
        self.stream = QueueStream()
        self.stream.leads_to(self)
        self._key = key
        self._exchange = exchange
        self._get = get
        self._behind = behind
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self.brought = 0
        """How many exchanges have brought something, or nothing."""
        self._open = 0
        """How many exchanges are under way."""
        self._early: dict[int, tuple[int, list[Any]]] = {}
        """What has come before its turn."""
        self._taken = 0
        self._asks = False
        """Whether more may come than is asked for: then the next exchange begins at once."""
        self._last = 0.0
        """When an exchange has last ended."""
        self._timer_set = False
        self._idle = IDLE
        """How long to wait until the next look."""
        self.has_come = False
        """Whether the program has written something."""
        self._finished = self.over = False

    # --- what is written ---------------------------------------------------------------------

    def send(self, parts: Sequence[Bytes]) -> None:
        self._bring(parts)

    def finish(self) -> None:
        if not self._finished:
            self._finished = True
            with contextlib.suppress(OSError):
                self._bring([], LAST)

    def cut(self) -> None:
        if self._pid == os.getpid():  # else a lock may be held for ever
            if not self.over:
                with contextlib.suppress(OSError):
                    self._bring([], CUT)
            self.lost()

    def begin(self) -> None:
        """Have the other end know of the stream, although nothing is written yet."""
        self._bring([])

    def _bring(self, parts: Sequence[Bytes], flags: int = 0) -> None:
        if self.over or self._pid != os.getpid():
            raise BrokenPipeError(errno.EPIPE, "the stream to the actor has ended")
        size = sum(map(len, parts))
        with self._lock:
            number = self.brought
            self.brought += 1
            self._open += 1
        before = 0 if self._behind is None else self._behind.brought
        head = BROUGHT.pack(self._key, number, before, flags)
        try:
            ref = self._exchange(_message(head, parts, size))
        except BaseException as exc:  # what follows this number would wait for it for ever
            self.lost()
            raise BrokenPipeError(errno.EPIPE, f"Ray does not take it: {exc}") from exc
        ref._on_completed(partial(self._came, size > 0, ref))

    # --- what comes --------------------------------------------------------------------------

    def _came(self, brought: bool, _: Any, outcome: Any) -> None:
        """The outcome of an exchange is here; in a thread of Ray's."""
        if isinstance(outcome, BaseException):
            self.lost()
            return
        (number, flags), parts = parts_of(outcome, TAKEN)
        # What was asked for has come, or nothing: else there may be more.
        go_on = self._next_step(asks=brought is bool(flags & NOTHING))
        if not isinstance(outcome, bytes):
            self._fetch(number, flags, parts)
        else:
            self._take(number, flags, parts)  # then who waits for it has the interpreter
        if go_on is not None:
            go_on()

    def _fetch(self, number: int, flags: int, parts: list[Any]) -> None:
        """Take in what lies in the object store, in a thread: it may come from another machine."""

        def fetch() -> None:
            try:
                here = [part if isinstance(part, bytes) else self._get(part) for part in parts]
                self._take(number, flags, here)
            except Exception:  # the machine that had it is gone
                self.lost()

        threading.Thread(target=fetch, name="remoteobj-ray-fetch", daemon=True).start()

    def _take(self, number: int, flags: int, parts: list[Any]) -> None:
        if flags & NOTHING:
            return
        self.has_come = True
        with self._lock:
            self._early[number] = flags, parts
            while (found := self._early.pop(self._taken, None)) is not None:
                self._taken += 1
                for part in found[1]:
                    self.stream.arrived(part)
                if found[0] & LAST:
                    self.over = True
                    self.stream.ended()

    # --- waiting for what comes by itself ----------------------------------------------------

    def _next_step(self, asks: bool) -> Callable[[], None] | None:
        """An exchange has ended. If it was the last one, what sees to it that there is a next one:
        at once, where more comes than is asked for, or when nothing was written for a while."""
        with self._lock:
            self._open -= 1
            self._last = time.monotonic()
            self._asks = self._asks or asks
            if self._open or self.over:
                return None
            asks, self._asks = self._asks, False
            sets_timer = not (asks or self._timer_set)
            self._timer_set = self._timer_set or sets_timer
        if asks:
            return self._ask
        return self._call_when_idle if sets_timer else None

    def _call_when_idle(self) -> None:
        with contextlib.suppress(RuntimeError):  # too late in the program's end for a thread
            reactor.call_at(self._last + self._idle, self._ask_when_idle)

    def _ask_when_idle(self) -> None:
        with self._lock:
            idle = not (self._open or self.over)
            again = idle and time.monotonic() < self._last + IDLE
            self._timer_set = again
            self._idle = IDLE if idle and not again else min(2 * self._idle, MOST_IDLE)
        if again:
            self._call_when_idle()
        elif idle:
            self._ask()

    def _ask(self) -> None:
        with contextlib.suppress(OSError):
            self._bring([])

    # --- the end -----------------------------------------------------------------------------

    def cut_off(self) -> None:
        self.lost()

    def lost(self) -> None:
        """Nothing comes or goes any more: the actor has ended, or the connection to the cluster."""
        self.over = True
        self.stream.ended()


def _message(head: bytes, parts: Sequence[Bytes], size: int) -> Any:
    if size < IN_STORE:
        return b"".join((head, *parts))
    return [head, *map(pickle.PickleBuffer, parts)]  # which Ray copies before it returns
