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
        barrier: the code of the function within which all other code of ours runs requests.
    """

    def __init__(self, guarded: Iterable[CodeType], barrier: CodeType) -> None:
        self._guarded = frozenset(guarded)
        self._barrier = barrier
        self._thrown: deque[BaseException] = deque()
        self._pending: BaseException | None = None

    def install(self) -> None:
        """Begin to listen for the signal; to be called in the main thread."""
        signal.signal(INTERRUPT, self._handle)

    def throw(self, error: BaseException) -> None:
        """Raise it in what the main thread is running. From another thread."""
        self._thrown.append(error)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, INTERRUPT)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        thrown, self._thrown = self._thrown, deque()
        if thrown and self._in_users_code(frame):
            raise thrown[-1]
        if thrown and self._in_loop(frame):
            self._pending = thrown[-1]
        # Else it came too late: what was to be interrupted has ended meanwhile.

    def _in_users_code(self, frame: FrameType | None) -> bool:
        while frame is not None and frame.f_code is not self._barrier:
            if frame.f_code in self._guarded:
                return True
            frame = frame.f_back
        return False

    def _in_loop(self, frame: FrameType | None) -> bool:
        """Whether a work loop waits for requests: then it is raised where it waits."""
        while frame is not None and frame.f_code not in self._guarded:
            frame = frame.f_back
        return frame is not None and frame.f_code is run_loop.__code__

    def raise_pending(self) -> None:
        """Raise what came while the work loop waited for requests; to be called after that."""
        pending, self._pending = self._pending, None
        if pending is not None:
            raise pending
