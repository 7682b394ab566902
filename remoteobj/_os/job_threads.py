"""Threads that run jobs of which any may take for ever, and hold up none of the others.

One thread runs the jobs in their order, for as long as each is quick. Where one is not, those
behind it get another thread. A thread that has nothing to do ends after a moment.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from .callback_errors import report_callback_error
from .io_thread import Timer, reactor

__all__ = ["JobThreads"]

PATIENCE: Final = 0.05
"""Seconds that a job waits for the one before it, until it gets a thread of its own."""
LINGER: Final = 0.05
"""Seconds that a thread stays when nothing is left to do."""


class JobThreads:
    """Runs jobs: in order, but for those that take long, which are overtaken."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], object]] = deque()
        self._begun = 0
        """How many jobs have left the queue."""
        self._idle = 0
        self._busy = 0
        """How many threads are at a job."""
        self._overseer: Timer | None = None
        """It sees to it that no job waits for ever."""

    @property
    def has_work(self) -> bool:
        """Whether there are jobs that have not ended."""
        return bool(self._jobs or self._busy)

    def run(self, job: Callable[[], object]) -> None:
        """Run `job` soon; what it raises goes to `threading.excepthook`.

        Raises:
            RuntimeError: it is too late in the program's end for a thread.
        """
        with self._changed:
            self._jobs.append(job)
            if self._idle:
                self._changed.notify_all()
            if self._idle or self._busy:
                self._oversee()
                return
            try:
                self._start()
            except RuntimeError:
                self._jobs.pop()
                raise

    def wait(self, seconds: float) -> None:
        """Wait until all jobs have ended, for so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self.has_work, seconds)

    def _start(self) -> None:
        """A thread begins; it counts as busy until it finds out that there is nothing to do."""
        threading.Thread(target=self._work, name=self._name, daemon=True).start()
        self._busy += 1

    def _oversee(self) -> None:
        if self._overseer is None:
            when, begun = time.monotonic() + PATIENCE, self._begun
            self._overseer = reactor.call_at(when, lambda: self._help(begun))

    def _help(self, begun: int) -> None:
        """Start another thread, if no job has begun since so many had."""
        with self._changed:
            self._overseer = None
            if self._jobs:
                self._oversee()
                if self._begun == begun and not self._idle:
                    self._start()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except BaseException as exc:
                report_callback_error(exc)
            del job  # with all that it holds, before this thread waits

    def _next(self) -> Callable[[], object] | None:
        """The next job; None if this thread is to end. A single one without a job stays a while."""
        with self._changed:
            self._busy -= 1
            if not self._jobs and self._overseer is not None:
                self._overseer.cancel()
                self._overseer = None
            if not self._jobs and not self._idle:
                self._idle += 1
                self._changed.notify_all()  # those in `wait`
                self._changed.wait_for(lambda: self._jobs, LINGER)
                self._idle -= 1
            if not self._jobs:
                self._changed.notify_all()
                return None
            self._busy += 1
            self._begun += 1
            return self._jobs.popleft()
