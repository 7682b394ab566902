"""The ends of an actor's streams in the Ray actor in which it runs: see `_wire.ray_line`.

::

    exchange ──> HostLine.exchange ──> stream.read   ┐
        │ waits                                      ├ the program
        └────── taken along <── HostLine.send <── stream.write
"""

from __future__ import annotations

import errno
import pickle
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from .._os.wakeup import OneShotEvent
from .._protocol.messages import Bytes
from .._wire.queue_stream import QueueStream
from .._wire.ray_line import CUT, IN_STORE, LAST, NOTHING, TAKEN

__all__ = ["HostLine"]

_NOTHING_TAKEN: Final = TAKEN.pack(0, NOTHING)


class HostLine:
    """What exchanges bring is read by the program; what that writes is taken along by the last of
    them that waits. An `Outlet`.

    Args:
        put: puts many bytes into the object store, and gives their reference.
        behind: the line that is not to be overtaken: see `RayLine`.
    """

    def __init__(self, put: Callable[[Any], Any], behind: HostLine | None = None) -> None:
        self.stream = QueueStream()
        self.stream.leads_to(self)
        self._put = put
        self._lock = threading.Lock()
        self._handing_on = threading.Lock()
        self._behind = behind
        self._followers: list[HostLine] = []
        """Those that are behind this one."""
        if behind is not None:
            behind._followers.append(self)
        self._early: dict[int, tuple[list[Any], int, int]] = {}
        """What was brought before its turn."""
        self._next = 0
        self._written: list[Any] = []
        self._finished = False
        self._waiting: OneShotEvent | None = None
        self._taken = 0
        self.gone = False
        """Whether the caller has let go of it, and all that he brought has been handed on."""

    # --- for the program ---------------------------------------------------------------------

    def send(self, parts: Sequence[Bytes]) -> None:
        kept = [self._kept(part) for part in parts]
        with self._lock:
            if self._finished or self.gone:
                raise BrokenPipeError(errno.EPIPE, "the caller has closed the stream")
            self._written += kept
            self._wake()

    def _kept(self, part: Bytes) -> Any:
        """What does not change any more, although the memory of the part may."""
        if len(part) < IN_STORE:
            return bytes(part)
        return self._put(pickle.PickleBuffer(part))

    def finish(self) -> None:
        with self._lock:
            self._finished = True
            self._wake()

    cut = finish

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.wake()

    # --- for the caller ----------------------------------------------------------------------

    def exchange(
        self, number: int, before: int, flags: int, parts: list[Any], seconds: float
    ) -> Any:
        """Hand on what was brought, and what was brought before it; take something along."""
        event = OneShotEvent()
        with self._lock:
            self._early[number] = parts, before, flags
            self._wake()
            waits = not (self._written or self._finished)
            if waits:
                self._waiting = event
        self._hand_on()
        for line in self._followers:
            line._hand_on()
        if waits and not self.gone:
            event.wait(seconds)
        with self._lock:
            if self._waiting is event:
                self._waiting = None
            return self._take()

    def _hand_on(self) -> None:
        """Hand on what it is the turn of."""
        with self._handing_on:  # the program answers at once, and takes the other lock for that
            while (found := self._early.get(self._next)) is not None:
                parts, before, flags = found
                if self._behind is not None and self._behind._next < before:
                    return  # that line has this one looked at again
                del self._early[self._next]
                for part in parts:
                    self.stream.arrived(part)
                if flags:
                    self.gone = self.gone or bool(flags & CUT)
                    self.stream.ended()
                self._next += 1  # once it is there: others go by it

    def _take(self) -> Any:
        if not (self._written or self._finished):
            return _NOTHING_TAKEN
        head = TAKEN.pack(self._taken, LAST * self._finished)
        self._taken += 1
        parts, self._written = self._written, []
        if all(isinstance(part, bytes) for part in parts):
            return b"".join((head, *parts))
        return [head, *parts]
