"""How one thread wakes another: one that sleeps in a poll, or one that sleeps for an event."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Final

from .._fast_typing import Protocol
from .fork_safety import close_in_child, creation_lock

__all__ = ["OneShotEvent", "Wakeable", "Wakeup"]

_ONE: Final = (1).to_bytes(8, sys.byteorder)
"""What a counter takes; a pipe takes anything."""
_PLENTY: Final = 4096


class _End:
    """A descriptor that is closed once nobody holds on to it.

    So a thread that is just about to use it, while another one lets go of it, never finds that its
    number is another file's by then.
    """

    __slots__ = ("__weakref__", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self, close: Callable[[int], None] = os.close) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            close(fd)

    __del__ = close


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
            self._ends: tuple[_End, _End] | None = _ends()

    def fileno(self) -> int:
        """The descriptor to poll; -1 once closed."""
        ends = self._ends
        return -1 if ends is None else ends[0].fd

    def set(self) -> None:
        """Make it readable. Harmless when it is already, or is closed."""
        ends = self._ends
        try:
            if ends is not None:
                os.write(ends[1].fd, _ONE)
        except OSError:
            pass
        finally:
            ends = None  # which the traceback of a Ctrl-C would hold on to

    def clear(self) -> None:
        """Make it unreadable until it is set again."""
        ends = self._ends
        try:
            if ends is not None:
                os.read(ends[0].fd, _PLENTY)
        except OSError:  # it is not set, or this is a fork
            pass
        finally:
            ends = None  # as above

    def close(self) -> None:
        """Let go of it. Harmless when done twice, and while other threads use it."""
        self._ends = None


def _ends() -> tuple[_End, _End]:
    """The end to read from and the one to write to: one and the same where there are counters."""
    with contextlib.suppress(AttributeError):  # not on Linux
        counter = close_in_child(_End(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)))
        return counter, counter
    fds = os.pipe()
    for fd in fds:
        os.set_blocking(fd, False)
    # A tuple lets go of its last part first: a write to an end that nobody reads could raise
    # SIGPIPE.
    return close_in_child(_End(fds[0])), close_in_child(_End(fds[1]))


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
