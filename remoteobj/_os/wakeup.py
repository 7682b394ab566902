"""How one thread wakes another: one that sleeps in a poll, or one that sleeps for an event."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from io import FileIO
from typing import Final, Protocol

from .fork_safety import close_in_child, creation_lock

__all__ = ["OneShotEvent", "Wakeable", "Wakeup"]

_ONE: Final = (1).to_bytes(8, sys.byteorder)
"""What a counter takes; a pipe takes anything."""
_PLENTY: Final = 4096


class Wakeup:
    """A descriptor that any thread can make readable, to end a poll that waits for it.

    It never blocks, and takes no lock, so that `set` is safe in a finalizer and in a signal
    handler. A forked child closes its copy.

    >>> wakeup = Wakeup()
    >>> wakeup.set()
    >>> wakeup.clear()
    >>> wakeup.close()
    """

    def __init__(self) -> None:
        with creation_lock:
            self._reader, self._writer = map(close_in_child, _ends())

    def fileno(self) -> int:
        """The descriptor to poll; -1 once closed."""
        return -1 if self._reader.closed else self._reader.fileno()

    def set(self) -> None:
        """Make it readable. Harmless when it is already, or is closed."""
        with contextlib.suppress(OSError, ValueError):
            self._writer.write(_ONE)

    def clear(self) -> None:
        """Make it unreadable until it is set again."""
        with contextlib.suppress(ValueError):  # closed
            self._reader.read(_PLENTY)

    def close(self) -> None:
        """Let go of it. Harmless when done twice."""
        # In this order: a write to an end that nobody reads could raise SIGPIPE.
        self._writer.close()
        self._reader.close()


def _ends() -> tuple[FileIO, FileIO]:
    """The end to read from and the one to write to: one and the same where there are counters."""
    with contextlib.suppress(AttributeError):  # not on Linux
        counter = FileIO(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), "r+b")
        return counter, counter
    ends = os.pipe()
    for fd in ends:
        os.set_blocking(fd, False)
    return FileIO(ends[0], "rb"), FileIO(ends[1], "wb")


class Wakeable(Protocol):
    """Something whose wait another thread can end."""

    def wake(self) -> None:
        """End the wait."""


class OneShotEvent:
    """Ends the wait of one thread, once. Half the cost of a `threading.Event`.

    >>> event = OneShotEvent()
    >>> event.wake()
    >>> event.wait()
    True
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held until `wake`
        self._lock.acquire()

    def wait(self, timeout: float = -1) -> bool:
        """Sleep until `wake` is called; False when `timeout` seconds passed first."""
        return self._lock.acquire(timeout=timeout)

    def wake(self) -> None:
        """End the wait. Harmless when done twice."""
        with contextlib.suppress(RuntimeError):
            self._lock.release()
