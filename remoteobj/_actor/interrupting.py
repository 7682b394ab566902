"""Which of an actor's requests is to be interrupted, as its control thread finds out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Container
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Final

from .._fast_typing import Protocol
from .._os.interrupter import Interrupter
from .._os.poller import SpinPoller
from .._protocol.messages import Kind
from .clients import Client
from .execution import USER_ENTRY_POINTS, Executor, Running
from .mailbox import INTERNAL_CODE

if TYPE_CHECKING:
    import asyncio

__all__ = ["CallsOfClient", "Interruptible", "OneCall", "interrupt_coroutine", "is_taking_in"]

_WAITING: Final = SpinPoller.wait.__code__


class CallsOfClient:
    """Some calls of one client, of which one may be running.

    Args:
        call_ids: which; None is all of them, but for casts.
    """

    def __init__(
        self, executor: Executor, client: Client | None, call_ids: Container[int] | None
    ) -> None:
        self._executor = executor
        self._client = client
        self._call_ids = call_ids

    def runs(self) -> bool:
        """Whether one of them is what runs right now."""
        current = self._executor.current
        return current is not None and self._has(current)

    def is_open(self) -> bool:
        """Whether one of them runs, or waits for what runs."""
        return any(map(self._has, self._executor.all_running))

    def _has(self, running: Running) -> bool:
        request = running.request
        if running.client is not self._client or request.kind != Kind.CALL:
            return False
        return self._call_ids is None or request.call_id in self._call_ids


class Interruptible(Protocol):
    """A coroutine that runs."""

    def runs(self) -> bool:
        """Whether it is what the asking thread is at."""
        ...

    def is_open(self) -> bool:
        """Whether it has not come to its end."""
        ...

    def interrupt(self, error: BaseException) -> None:
        """Have it end by an error at what it awaits. In the thread of its loop."""


class OneCall:
    """One call that runs."""

    def __init__(self, executor: Executor, running: Running) -> None:
        self._executor = executor
        self._running = running

    def runs(self) -> bool:
        """Whether it is what the asking thread is at."""
        current = self._executor.current
        return current is not None and current.request is self._running.request

    def is_open(self) -> bool:
        """Whether it runs, or waits for what runs."""
        request = self._running.request
        return any(one.request is request for one in self._executor.all_running)

    def interrupt(self, error: BaseException) -> None:
        """Have it end by an error at what it awaits, if it is a coroutine by now."""
        for one in self._executor.all_running:
            if one.request is self._running.request and one.interrupt is not None:
                one.interrupt(error)


def interrupt_coroutine(
    coroutine: Interruptible,
    error: BaseException,
    interrupter: Interrupter,
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Raise something in a coroutine: where its own code is, if that runs now, else at what it
    awaits. Whichever comes first does it; both are in the thread of its loop."""
    left = [error]

    def runs() -> bool:
        return bool(left and coroutine.runs() and left.pop())

    def is_open() -> bool:
        return bool(left and coroutine.is_open())

    def at_its_await() -> None:
        if is_open():
            coroutine.interrupt(left.pop())

    interrupter.throw(error, runs, is_open)
    with contextlib.suppress(RuntimeError):  # the loop is closed: all has ended
        loop.call_soon_threadsafe(at_its_await)


def is_taking_in(thread: int) -> bool:
    """Whether a thread that runs requests is about to begin one: it neither waits for one, nor is
    it within users' code."""
    frame: FrameType | None = sys._current_frames().get(thread)
    while frame is not None and frame.f_code not in _TELLING:
        frame = frame.f_back
    return frame is not None and frame.f_code in INTERNAL_CODE


_TELLING: Final[frozenset[CodeType]] = frozenset((_WAITING, *USER_ENTRY_POINTS, *INTERNAL_CODE))
"""The code of which the innermost frame tells what a thread is at."""
