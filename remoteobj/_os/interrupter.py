"""Raising an exception in what runs in the main thread of an actor: a request, or its work loop.

By a signal, so that it gets through a `time.sleep` and whatever else waits in the kernel. What
holds the interpreter, code in C say, is interrupted once it lets go of it.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any, Final

__all__ = ["INTERRUPT", "Interrupter", "run_loop"]

# Ignored by default and little used: what Go's runtime interrupts itself with.
INTERRUPT: Final = signal.SIGURG


def run_loop(loop: Callable[[], Any]) -> Any:
    """Call a work loop: a frame by which the interrupter knows that it runs."""
    return loop()


class Interrupter:
    """Throws into the main thread, but only into users' code.

    Args:
        guarded: the code of functions that call users' code, and let what it raises go through.
            Within them, and only there, an exception is what users' code raised.
        barriers: the code of functions within which all other code is ours. An exception there is
            put off until `raise_pending`, or comes too late.
    """

    def __init__(
        self, user_entry_points: Iterable[CodeType], internal_code: Iterable[CodeType]
    ) -> None:
        self._user_entry_points = frozenset(user_entry_points)
        self._internal_code = frozenset(internal_code)
        self._thrown: deque[tuple[BaseException, bool]] = deque()
        self._pending: BaseException | None = None

    def install(self) -> None:
        """Begin to listen for the signal; to be called in the main thread."""
        signal.signal(INTERRUPT, self._handle)

    def throw(self, error: BaseException, may_wait: bool = True) -> None:
        """Raise it in what the main thread is running. From another thread.

        `may_wait=False` is for one request: nothing else is to be interrupted, or later.
        """
        self._thrown.append((error, may_wait))
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, INTERRUPT)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        thrown, self._thrown = self._thrown, deque()
        if not thrown:
            return
        error, may_wait = thrown[-1]
        within, at_once = self._in_users_code(frame)
        if at_once:
            raise error
        if within and may_wait:
            self._pending = error
        # Else it came too late: what was to be interrupted has ended meanwhile.

    def _in_users_code(self, frame: FrameType | None) -> tuple[bool, bool]:
        """Whether users' code is running, and whether without code of ours on top of it."""
        at_once = True
        while frame is not None:
            if frame.f_code in self._user_entry_points:
                return True, at_once
            at_once = at_once and frame.f_code not in self._internal_code
            frame = frame.f_back
        return False, False

    def raise_pending(self) -> None:
        """Raise what was put off."""
        pending, self._pending = self._pending, None
        if pending is not None:
            raise pending
