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
from threading import get_ident, main_thread

__all__ = ["SpinPoller", "clock", "nap", "usable_processors"]

SPIN_SECONDS = 50e-6
ALONE_SECONDS = 12e-6
"""How long it polls before it gives way: an answer that is on its way comes within this time."""
USED_SECONDS = 3e-6
"""A look that took longer than this had others use the processor in between."""
CROWD_SECONDS = 1e-3
"""How long it goes on, at most, while others use the processor: then they want it for longer."""
SLICE_SECONDS = 2e-3
"""A look that took longer than this lost a slice of time to somebody who computes."""
MAX_CREDIT, MISS_COST, RETRY_CREDIT, REST = 16, 4, 4, 64
"""The most trust in polling; what a wait in which it did not help takes of it; with how much it is
tried again once there is none; and after how many waits."""
WARY = 2, 1024
"""How many waits in which it polls for long do not give way after a slice was lost by that, which
takes as long as hundreds of calls: the first time, and at most. Each time it is twice as many."""
FORGIVEN = 256
"""How many times it gives way without such a loss, after which the next is the first again."""

KEPT = 64
"""For how many waits in which it polls for long a process that is told so does not give way."""
TURNS = 64
"""How many times what it waits for comes just as it gives way, before it takes itself to be on one
processor with the other side. Then it sleeps once, and is woken on another that is free."""

NAP_SECONDS = 0.5
"""How long the main thread of a program sleeps at a time, where it waits for an answer."""
LONGEST = 1e6
"""Seconds of one sleep, at most: the system takes no number that is far larger. Who waits looks for
the time by himself."""

clock = time.perf_counter
_main_thread = [main_thread().ident]
"""The number of the main thread, which in a fork is the one that has made it."""
os.register_at_fork(after_in_child=lambda: _main_thread.__setitem__(0, get_ident()))
_yield_cpu: Callable[[], object] = getattr(os, "sched_yield", lambda: None)


def nap(seconds: float | None) -> float | None:
    """How long a thread that sleeps for so long may sleep at a time: the main one looks up now and
    then, for the sake of a signal that came just before it fell asleep, and so woke nobody."""
    if get_ident() != _main_thread[0]:
        return seconds
    return NAP_SECONDS if seconds is None else min(seconds, NAP_SECONDS)


def usable_processors() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class SpinPoller:
    """Waits for descriptors: polls for some tens of µs, then sleeps.

    Learns whether polling pays: after some waits in which it did not, it only tries now
    and then. Never polls on a machine with one processor, where the other side could not
    run meanwhile.

    Args:
        spin: how long it polls, in seconds; None: as is usual.
        looks_up: whether the main thread does not sleep for longer than `NAP_SECONDS` at a time. A
            signal that comes just before it falls asleep wakes nobody: its handler, that of Ctrl-C,
            say, runs when the thread looks up.
    """

    def __init__(self, spin: float | None = None, looks_up: bool = False) -> None:
        self._looks_up = looks_up
        self._poll = select.poll()
        self._hot = self._poll
        self.watched: dict[int, int] = {}
        """The events that are waited for, by descriptor."""
        self._spin = SPIN_SECONDS if spin is None else spin
        self._alone = usable_processors() < 2 or self._spin <= 0
        self._credit = MAX_CREDIT
        self._naps = 0
        """How many waits sleep at once."""
        self._contended = False
        """Whether others used the processor when it polled for long last."""
        self._turns = 0
        """How many times what it waited for came as it gave way, since that last made it sleep."""
        self._kept = 0
        """How many long polls do not give way, since `keep_cpu` was called."""
        self._wary = self._wariness = 0
        """How many long polls do not give way; and how many did not when a slice was last lost."""
        self._gave_way = 0
        """How many have given way since then."""

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
        if self._naps:
            self._naps -= 1
        elif not self._alone:
            poll = self._hot.poll
            start = now = clock()
            end = start + (0.0 if self._contended else ALONE_SECONDS)
            while now < end:
                if ready := poll(0):
                    if self._credit < MAX_CREDIT:
                        self._credit += 1
                    return ready
                now = clock()
            if ready := self._spin_on(start, now, deadline):
                return ready
        if self._looks_up and get_ident() == _main_thread[0]:
            return self._nap(deadline)
        return self._poll.poll() if deadline is None else self._sleep(deadline)

    def _nap(self, deadline: float | None) -> list[tuple[int, int]]:
        while deadline is None or deadline - time.monotonic() > NAP_SECONDS:
            if ready := self._poll.poll(NAP_SECONDS * 1000):
                return ready
        return self._sleep(deadline)

    def _sleep(self, deadline: float) -> list[tuple[int, int]]:
        """Sleep until the deadline, and not until the end of the millisecond in which it lies, as
        `poll` would: a loop that is paced by this is to be on time."""
        left = min(max(0.0, deadline - time.monotonic()), LONGEST)
        if whole := int(left * 1000):
            if ready := self._poll.poll(whole):
                return ready
            left = min(max(0.0, deadline - time.monotonic()), LONGEST)
        reads = [fd for fd, events in self.watched.items() if events & select.POLLIN]
        writes = [fd for fd, events in self.watched.items() if events & select.POLLOUT]
        try:
            select.select(reads, writes, (), left)
        except (OSError, ValueError):  # a descriptor was closed, or its number is too high for that
            return self._poll.poll(left * 1000)
        return self._poll.poll(0)

    def _spin_on(self, start: float, now: float, deadline: float | None) -> list[tuple[int, int]]:
        """It takes longer: go on polling, but let others have the processor who want it."""
        wary, keeps = self._wary > 0, self._kept > 0
        if wary:
            self._wary -= 1
        else:
            self._gave_way += 1
        if keeps:
            self._kept -= 1
        spin = self._spin if deadline is None else min(self._spin, deadline - time.monotonic())
        shared = False
        poll, end, last = self._hot.poll, start + spin, start + spin + CROWD_SECONDS
        while now < end < last:
            if not (wary or keeps):
                _yield_cpu()
            ready = poll(0)
            before, now = now, clock()
            if (used := now - before) > SLICE_SECONDS:
                self._lost_a_slice()
                return ready
            if used > USED_SECONDS:
                if wary and not ready:
                    break
                # What others used of it was not wasted by us.
                end += used
                shared = True
            if ready:
                if self._credit < MAX_CREDIT:
                    self._credit += 1
                self._contended = shared
                if used > USED_SECONDS and not (wary or keeps):
                    self._took_turns()
                return ready
        self._missed()
        return []

    def keep_cpu(self) -> None:
        """Do not give way for some time. To be called where several threads of one process are
        busy with what is waited for: to give way pays where many processes are, and these threads
        would only take the processor to wait for each other on it."""
        self._kept = KEPT

    def _took_turns(self) -> None:
        """What was waited for came as this one gave way: the other side may be on its processor."""
        self._turns += 1
        if self._turns >= TURNS:
            self._turns, self._naps = 0, 1

    def _missed(self) -> None:
        self._contended = False
        self._credit -= MISS_COST
        if self._credit <= 0:
            self._credit, self._naps = RETRY_CREDIT, REST

    def _lost_a_slice(self) -> None:
        """Somebody computes: who gives way to that waits until others have had their share of the
        processor, while who sleeps gets it as soon as he is woken."""
        first, most = WARY
        if self._gave_way > FORGIVEN or not self._wariness:
            self._wariness = first
        else:
            self._wariness = min(2 * self._wariness, most)
        self._wary, self._gave_way = self._wariness, 0
        self._contended = False
        self._credit, self._naps = RETRY_CREDIT, REST
