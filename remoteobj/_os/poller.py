"""Waiting for descriptors: look a few times without blocking, then sleep in the kernel.

The first half saves the two wake-ups that make up most of a round trip; it is given up where it
does not pay, so that a process with nothing to do uses no processor at all.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable

__all__ = ["SpinPoller", "clock"]

SPIN_SECONDS = 50e-6
ALONE_SECONDS = 12e-6
"""How long it polls before it gives way: an answer that is on its way comes within this time."""
USED_SECONDS = 3e-6
"""A look that took longer than this had others use the processor in between."""
CROWD_SECONDS = 1e-3
"""How long it goes on, at most, while others use the processor: then they want it for longer."""
MAX_CREDIT, MISS_COST, RETRY_CREDIT, RETRY_EVERY = 16, 4, 4, 64
"""The most trust in polling; what a wait in which it did not help takes of it; with how much it is
tried again once there is none; and after how many waits."""

clock = time.perf_counter
_yield_cpu: Callable[[], object] = getattr(os, "sched_yield", lambda: None)


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class SpinPoller:
    """Waits for descriptors: polls for some tens of µs, then sleeps.

    Learns whether polling pays: after some waits in which it did not, it only tries now
    and then. Never polls on a machine with one processor, where the other side could not
    run meanwhile.
    """

    def __init__(self, spin: float | None = None) -> None:
        self._poll = select.poll()
        self._hot = self._poll
        self.watched: dict[int, int] = {}
        """The events that are waited for, by descriptor."""
        self._spin = SPIN_SECONDS if spin is None else spin
        self._alone = _processors() < 2 or self._spin <= 0
        self._credit = 0 if self._alone else MAX_CREDIT
        self._skipped = 0
        self.yields_cpu = True
        """Whether it lets other processes have the processor when it polls for long. That pays
        where many of them call, and not where many threads of one process do."""
        self._contended = False

    def register(self, fd: int, events: int = select.POLLIN, hot: bool = False) -> None:
        """Wait for these events too. Once one is urgent, only such are polled for before the
        sleep, of which each look at another costs a tenth more time."""
        self._poll.register(fd, events)
        self.watched[fd] = events
        if hot and self._spin < CROWD_SECONDS:
            self._hot = select.poll() if self._hot is self._poll else self._hot
            self._hot.register(fd, events)

    def unregister(self, fd: int) -> None:
        self.watched.pop(fd, None)
        with contextlib.suppress(KeyError, ValueError):
            self._poll.unregister(fd)

    def ready(self) -> list[tuple[int, int]]:
        """What can be read or written now, as (descriptor, events)."""
        return self._poll.poll(0)

    def wait(self, deadline: float | None = None) -> list[tuple[int, int]]:
        """The same, waiting for the first of them until `deadline` (`time.monotonic()`)."""
        if deadline is not None and deadline <= time.monotonic():
            return self._poll.poll(0)
        if self._credit > 0 or self._tries_again():
            poll = self._hot.poll
            start = now = clock()
            end = start + (0.0 if self._contended else ALONE_SECONDS)
            while now < end:
                if ready := poll(0):
                    if self._credit < MAX_CREDIT:
                        self._credit += 1
                    return ready
                now = clock()
            left = self._spin if deadline is None else min(self._spin, deadline - time.monotonic())
            if ready := self._spin_on(start, left):
                return ready
        if deadline is None:
            return self._poll.poll()
        return self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000)

    def _spin_on(self, start: float, seconds: float) -> list[tuple[int, int]]:
        """It takes longer: go on polling, but let others have the processor who want it."""
        poll, now, end = self._hot.poll, start, start + seconds
        last = end + CROWD_SECONDS
        while now < end < last:
            if self.yields_cpu:
                _yield_cpu()
            if ready := poll(0):
                self._credit = min(MAX_CREDIT, self._credit + 1)
                self._contended = clock() - start > ALONE_SECONDS
                return ready
            before, now = now, clock()
            if now - before > USED_SECONDS:
                # What others used of it was not wasted by us.
                end += now - before
        self._credit -= MISS_COST
        self._contended = False
        return []

    def _tries_again(self) -> bool:
        """Whether to poll after all, where it has not paid: now and then."""
        self._skipped += 1
        if self._alone or self._skipped % RETRY_EVERY:
            return False
        self._credit = RETRY_CREDIT
        return True
