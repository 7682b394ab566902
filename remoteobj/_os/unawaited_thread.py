"""A thread whose start does not wait until it runs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Final

from .fork_safety import fork_generation

__all__ = ["UnawaitedThread"]

CRASH_SEES_NO_FURTHER: Final = sys.version_info >= (3, 13)
"""Whether faulthandler, when the process crashes, leaves out all stacks behind that of a thread
that was started and does not run yet. The later releases of 3.13 do."""


class UnawaitedThread(threading.Thread):
    """A daemon whose start does not wait until it runs, where no stacks of a crash are lost by
    that: the interpreter needs no more than that it will, and whoever starts it has something
    better to do."""

    def __init__(self, target: Callable[[], None], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._started = self._begun = _Begun()
        self.started_in: int | None = None
        """The `fork_generation` of the process that it runs in, or will."""

    def start(self) -> None:
        super().start()
        self.started_in = fork_generation[0]

    def runs_beside(self) -> bool:
        """Whether it runs, once it has had the time to begin, and the caller is another thread."""
        if self.started_in == fork_generation[0]:
            self._begun.wait_for_it()
        return self.is_alive() and threading.current_thread() is not self


class _Begun(threading.Event):
    """What `Thread.start` waits for, without that wait where it is not needed."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(timeout) if CRASH_SEES_NO_FURTHER else True

    def wait_for_it(self) -> None:
        super().wait()
