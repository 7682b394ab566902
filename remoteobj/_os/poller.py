"""Waiting for descriptors: look a few times without blocking, then sleep in the kernel.

The first half saves the two wake-ups that make up most of a round trip, where both sides have a
processor of their own. Where they have not, it is in the way: who polls holds up the other side, or
uses up its share of a busy processor and then waits until others have had theirs, while who sleeps
gets one as soon as it is woken. So it is given up where it does not pay, and tried again after so
many waits: more and more of them, while it goes on to fail. A process with nothing to do sleeps.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time

__all__ = ["SpinPoller", "clock"]

SPIN_SECONDS = 50e-6
USED_SECONDS = 5e-6
"""A look that took longer than this had others use the processor in between: they want it."""
SLICE_SECONDS = 1e-3
"""A look that took longer than this waited for somebody who computes."""
MAX_CREDIT, MISS_COST, RETRY_CREDIT = 16, 4, 4
"""The most trust in polling; what a wait in which it did not help takes of it; with how much it is
tried again once there was none."""
RESTS, LONG_RESTS = (64, 1024), (1024, 8192)
"""How many waits sleep at once after polling was given up, at first and at most: where it did not
help, and where it lost a slice of time, which takes as long as hundreds of calls."""
NAP, REST_SECONDS = 64, 0.1
"""After so many of them the clock is asked: no rest goes on for longer than this."""

clock = time.perf_counter


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class SpinPoller:
    """Waits for descriptors: polls for some tens of µs, then sleeps.

    Learns whether polling pays. Never polls on a machine with one processor, where the other side
    could not run meanwhile.
    """

    def __init__(self, spin: float | None = None) -> None:
        self._poll = select.poll()
        self._hot = self._poll
        self.watched: dict[int, int] = {}
        """The events that are waited for, by descriptor."""
        self._spin = SPIN_SECONDS if spin is None else spin
        self._alone = _processors() < 2 or self._spin <= 0
        self._naps = sys.maxsize if self._alone else 0
        """How many waits sleep at once, before the clock is asked."""
        self._rest = self._left = 0
        """How many do so since polling was given up for the last time; and what is left of them
        after these."""
        self._rested = 0.0
        """When the rest is over even so, by `clock`."""
        self._credit = MAX_CREDIT
        self._most_credit = 0
        """The most of it since then. The cap on it is applied when some is taken."""

    def register(self, fd: int, events: int = select.POLLIN, hot: bool = False) -> None:
        """Wait for these events too. Once one is urgent, only such are polled for before the
        sleep, of which each look at another costs a tenth more time."""
        self._poll.register(fd, events)
        self.watched[fd] = events
        # Who polls for longer than that has to notice the end of the other process meanwhile.
        if hot and self._spin < SLICE_SECONDS:
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
        if self._naps:
            self._naps -= 1
        # What is there at the first look says nothing about whether polling pays.
        elif ready := self._hot.poll(0) or self._spin_on(deadline):
            return ready
        if deadline is None:
            return self._poll.poll()
        return self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000)

    def _spin_on(self, deadline: float | None) -> list[tuple[int, int]]:
        """Go on polling, until others use this processor."""
        poll, before = self._hot.poll, clock()
        now, spin = before, self._spin
        if self._left and now < self._rested:
            self._nap()
            self._naps -= 1  # this wait is the first of them
            return []
        end = now + (spin if deadline is None else min(spin, deadline - time.monotonic()))
        while now < end and now - before < USED_SECONDS:
            if ready := poll(0):
                self._credit += 1
                return ready
            before, now = now, clock()
        self._missed(now, now - before > SLICE_SECONDS)
        return []

    def _missed(self, now: float, lost_a_slice: bool) -> None:
        """It has not helped. If that was once too often, the next waits sleep at once: twice as
        many as the last time, unless polling has helped as many in between."""
        self._most_credit = max(self._most_credit, self._credit)
        self._credit = min(self._credit, MAX_CREDIT) - MISS_COST
        if lost_a_slice or self._credit <= 0:
            at_first, at_most = LONG_RESTS if lost_a_slice else RESTS
            has_paid = self._most_credit >= self._rest
            longer = at_first if has_paid else max(at_first, 2 * self._rest)
            self._rest = self._left = min(longer, at_most)
            self._rested = now + REST_SECONDS
            self._credit, self._most_credit = RETRY_CREDIT, 0
            self._nap()

    def _nap(self) -> None:
        self._naps = min(NAP, self._left)
        self._left -= self._naps
