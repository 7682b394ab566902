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

from .._fast_typing import NamedTuple
from . import own_signals
from .main_thread import repeat_until_handled, signal_main_thread

__all__ = ["INTERRUPT", "Interrupter", "run_loop"]

# Ignored by default and little used: what Go's runtime interrupts itself with.
INTERRUPT: Final = signal.SIGURG


def run_loop(loop: Callable[[], Any]) -> Any:
    """Call a work loop: a frame by which the interrupter knows that it runs."""
    return loop()


def _always() -> bool:
    return True


class _Thrown(NamedTuple):
    """What is to be raised, and in what."""

    error: BaseException
    runs: Callable[[], bool]
    is_open: Callable[[], bool]


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
        self._thrown: deque[_Thrown] = deque()
        self._put_off: deque[_Thrown] = deque()
        self._repeating = threading.Lock()
        """Held by the thread that repeats the signal, while there is one."""

    def install(self) -> None:
        """Begin to listen for the signal; to be called in the main thread."""
        own_signals.handle(INTERRUPT, self._handle)

    def throw(
        self,
        error: BaseException,
        runs: Callable[[], bool] = _always,
        is_open: Callable[[], bool] = _always,
    ) -> None:
        """Raise it in what the main thread is running. From another thread.

        Args:
            runs: whether what it is meant for is what runs right now. It is asked in the main
                thread, so that nothing else is interrupted.
            is_open: whether that may run on later, so that it is put off until then.
        """
        self._thrown.append(_Thrown(error, runs, is_open))
        signal_main_thread(INTERRUPT)
        self._insist()

    def _insist(self) -> None:
        """Have it repeated until nothing is left to be raised."""
        if not (self._thrown and self._repeating.acquire(blocking=False)):
            return
        try:
            threading.Thread(target=self._repeat, name="remoteobj-interrupter", daemon=True).start()
        except RuntimeError:  # there can be no thread any more, or no more of them: it was sent
            self._repeating.release()

    def _repeat(self) -> None:
        try:
            repeat_until_handled(INTERRUPT, lambda: not self._thrown)
        finally:
            self._repeating.release()
        self._insist()  # something may have been thrown since nothing was left

    def _handle(self, number: int, frame: FrameType | None) -> None:
        within, at_once = self._in_users_code(frame)
        while self._thrown:
            thrown = self._thrown.popleft()
            if at_once and thrown.runs():
                raise thrown.error
            if within and thrown.is_open():
                self._put_off.append(thrown)
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
        if not self._put_off:
            return
        for _ in range(len(self._put_off)):
            thrown = self._put_off.popleft()
            if thrown.runs():
                raise thrown.error
            if thrown.is_open():
                self._put_off.append(thrown)
