"""Settling futures whose outcome is here and which nobody waits for.

Not within the read that brought it, since a user's code may run: plain data are settled in the I/O
thread, and what has to be unpickled in a thread for that. It may take for ever, and then it holds
up no other (see `JobThreads`).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from functools import partial
from typing import Any, Final

from .._catching.unseen import before_telling
from .._fast_typing import Protocol
from .._os.callback_errors import report_callback_error
from .._os.io_thread import reactor
from .._os.job_threads import JobThreads

__all__ = ["Settleable", "settler"]

LAST_SECONDS: Final = 1.0
"""How long a program that ends waits for those threads to settle what they are at."""


class Settleable(Protocol):
    """A future, as it is settled."""

    def settle(self, interruptions: tuple[type[BaseException], ...]) -> None:
        """Give it the outcome that is here. `interruptions` go through, and leave it as it is."""
        ...


class Settler:
    """Settles futures whose outcome is here and which nobody waits for."""

    def __init__(self) -> None:
        self._arrived: deque[tuple[Settleable, bool]] = deque()
        self._asked = False
        self.lock = threading.RLock()
        """Held to find out whether somebody looks at the outcome of a future."""
        self.parts_lock: Any = threading.RLock()
        """Held to make the parts of a `LeanFuture`, or to settle it without: for a moment, and no
        other lock is taken meanwhile."""
        self._settling = threading.RLock()
        self._threads = JobThreads("remoteobj-settler")
        os.register_at_fork(after_in_child=self._renew)
        before_telling(self._settle_the_last)

    def _renew(self) -> None:
        self._arrived, self._asked = deque(), False
        self.lock, self._settling = threading.RLock(), threading.RLock()
        self.parts_lock = threading.RLock()

    def add(self, future: Settleable, plain: bool) -> None:
        """Have a future settled soon; called within a read. `plain`: to unpickle its outcome runs
        nobody's code."""
        self._arrived.append((future, plain))
        if not self._asked:
            self._asked = True
            try:
                reactor.call_soon(self._settle_all)
            except RuntimeError:  # too late in the program's end for a thread: see `before_telling`
                self._asked = False

    def _settle_all(self) -> None:
        self._asked = False  # before it looks: who comes now asks again
        with self._settling, contextlib.suppress(IndexError):
            while True:
                self._settle_next()

    def _settle_next(self) -> None:
        """Settle the eldest, and let go of it: if nobody else has it, that is when it is told."""
        future, plain = self._arrived.popleft()
        if plain and not self._threads.has_work:  # else in its turn
            self._settle(future)
        else:
            self.hand_over(future)

    def hand_over(self, future: Settleable) -> None:
        """Have a future settled by a thread that nobody waits for."""
        try:
            self._threads.run(partial(self._settle, future))
        except RuntimeError:  # the program ends
            self._settle(future)

    def _settle(self, future: Settleable) -> None:
        try:
            future.settle(interruptions=())
        except BaseException as exc:  # of a callback's
            report_callback_error(exc)

    def _settle_the_last(self) -> None:
        """The program ends. A thread may be at one whose failure nobody will have seen; but what
        does not return must not keep the program from ending."""
        if self._settling.acquire(timeout=LAST_SECONDS):
            self._settling.release()
            self._settle_all()
        self._threads.wait(LAST_SECONDS)


settler = Settler()
