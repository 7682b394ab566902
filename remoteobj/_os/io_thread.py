"""The one thread of a process that reads, runs and waits for callers who don't wait themselves.

A caller that waits reads for itself. Where nobody waits, because the outcome is a future's or an
event loop's, this thread does; and it waits for the ends of processes, where somebody wants to be
told of these. It is there while such a call is open, or such a process runs, and a moment longer; a
process without them has no thread of ours on the caller's side.

It attends to a connection in one of two ways. One that is *registered* is read as soon as something
comes. One that is *looked after* is mostly read by others, whom the thread would only hinder if
each reply woke it: it looks once in a `NAP` whether they do. A nap costs a connection no system
call, and there are naps only while connections are looked after, and some more.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

from .._fast_typing import Protocol
from .callback_errors import report_callback_error
from .descriptors import Duplicate
from .wakeup import Wakeup

__all__ = ["Registered", "Reactor", "Timer", "reactor"]

LINGER = 0.05
"""Seconds that the thread stays when nothing is left to do."""
CHECK = 0.5
"""Seconds between looks whether those it works for still want it: they don't wake it to say no."""
BUSY_RETRY = 100e-6
"""Seconds after which it looks again at a connection that another thread is busy with."""
NAP = 1e-3
"""Seconds between looks at connections that others read, as a rule."""
IDLE_NAPS = 2
"""Naps in a row without such a connection, after which it sleeps on: to be woken costs more."""

Job = Callable[[], object]


class Registered(Protocol):
    """A connection, as the reactor sees it."""

    def do_io(self) -> bool:
        """Read and write what goes without waiting; False: another thread is at it."""
        ...

    @property
    def interest(self) -> dict[int, int]:
        """The events to wake up for, by descriptor; none when nobody waits for anything."""
        ...

    def look(self) -> bool:
        """See whether others read it, as was thought; whether to look again after another nap."""
        ...


def _look_up() -> None:
    """A job of the thread's that has it look at its timers."""


class Timer:
    """Something to be done later, unless it is cancelled."""

    def __init__(self, when: float, job: Job) -> None:
        self.when = when
        self.job: Job | None = job

    def cancel(self) -> None:
        self.job = None


class Reactor:
    """Owns the thread, which starts and ends by itself."""

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew_if_used)

    def _renew_if_used(self) -> None:
        if self._jobs or self._timers or self._wakeup is not None or self._looked_after:
            self._renew()

    def _renew(self) -> None:
        """Begin anew: in a forked child nothing of the parent's goes on."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wakeup: Wakeup | None = None
        self._jobs: deque[Job] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._attended: dict[Registered, dict[int, int]] = {}
        self._by_fd: dict[int, Registered] = {}
        self._looked_after: set[Registered] = set()
        self._naps_left = 0
        """How many naps there will be if no connection is looked after meanwhile."""
        self._nap_ends = 0.0
        self._awaited: dict[int, tuple[Duplicate, Job]] = {}
        """What to do once a descriptor gets readable, by that."""

    # --- from any thread -----------------------------------------------------------------

    def register(self, connection: Registered) -> None:
        """Read for this connection, for as long as it wants that."""
        self.call_soon(lambda: self._watch(connection))

    def look_after(self, connection: Registered) -> None:
        """Have `connection.look` called after each nap, for as long as that asks for it."""
        self._looked_after.add(connection)
        # In this order: the thread, before its last nap, does the reverse.
        if not self._naps_left:
            self.call_soon(self._begin_naps)

    def when_readable(self, fd: int, job: Job) -> None:
        """Run `job` once, when there is something to read from `fd`, or its other end is closed.

        Until then that costs nothing but a duplicate of the descriptor: `fd` itself may be closed
        at any time, and the thread is not woken meanwhile.

        Raises:
            OSError: no descriptor is free.
        """
        awaited = Duplicate(fd)
        self.call_soon(lambda: self._await(awaited, job))

    def call_soon(self, job: Job) -> None:
        """Run `job` in the thread; what it raises goes to `threading.excepthook`."""
        self._jobs.append(job)
        with self._lock:
            if self._thread is None:
                self._start()
            elif self._thread is threading.current_thread():
                return  # it looks for jobs before it sleeps
            self.wake()

    def call_at(self, when: float, job: Job) -> Timer:
        """Run `job` in the thread at `time.monotonic() == when`, unless it is cancelled."""
        timer = Timer(when, job)
        entry = when, next(self._order), timer
        heapq.heappush(self._timers, entry)  # one step of the interpreter, as the thread's are
        with self._lock:
            sees_it = self._thread is not None and next(iter(self._timers), entry) is not entry
        if not sees_it:  # else it wakes before that anyhow, and is not woken for each of many
            self.call_soon(_look_up)
        return timer

    @property
    def is_calling(self) -> bool:
        """Whether it is its thread that asks: what that waits for, it must not bring about."""
        return self._thread is threading.current_thread()

    def wake(self) -> None:
        """Have it see at once that there is less to do. Also within a finalizer: takes no lock."""
        if self._wakeup is not None:
            self._wakeup.set()

    def _start(self) -> None:
        self._poll = select.poll()
        self._wakeup = Wakeup()
        self._poll.register(self._wakeup, select.POLLIN)
        self._thread = threading.Thread(target=self._run, name="remoteobj-reactor", daemon=True)
        self._thread.start()

    # --- in the thread -------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            ready = self._poll.poll(self._patience())
            nap = False
            for fd, _ in ready:
                if self._wakeup is not None and fd == self._wakeup.fileno():
                    self._wakeup.clear()
                elif fd in self._awaited:
                    self._arrived(fd)
                elif fd in self._by_fd:
                    nap = not self._tend(self._by_fd[fd]) or nap
            self._work()
            if self._naps_left and time.monotonic() >= self._nap_ends:
                self._look_at_all()
            if not ready and self._leave():
                return
            if nap:
                time.sleep(BUSY_RETRY)

    def _patience(self) -> float | None:
        """Milliseconds to sleep: until a timer is due, or it is time to see whether to end. None,
        for ever, where descriptors alone are waited for."""
        if self._jobs:
            return 0.0
        while self._timers and self._timers[0][2].job is None:
            heapq.heappop(self._timers)
        due = [self._timers[0][0]] if self._timers else []
        if self._naps_left:
            due.append(self._nap_ends)
        if self._awaited and not due and not self._attended:
            return None
        busy = self._timers or any(one.interest for one in self._attended)
        seconds = CHECK if busy else LINGER
        if due:
            seconds = min(seconds, max(0.0, min(due) - time.monotonic()))
        return seconds * 1000

    def _work(self) -> None:
        """Run the jobs, and the timers that are due."""
        while self._timers and self._timers[0][0] <= time.monotonic():
            *_, timer = heapq.heappop(self._timers)
            if timer.job is not None:
                self._jobs.append(timer.job)
        while self._jobs:
            try:
                self._jobs.popleft()()
            except BaseException as exc:
                report_callback_error(exc)

    def _leave(self) -> bool:
        """End, if nobody wants anything any more."""
        for connection in list(self._attended):
            self._update_interest(connection)
        with self._lock:
            if self._jobs or self._attended or self._timers or self._awaited or self._naps_left:
                return False
            self._thread = None
            if self._wakeup is not None:
                self._wakeup.close()
            return True

    def _begin_naps(self) -> None:
        self._naps_left = IDLE_NAPS
        self._nap_ends = time.monotonic() + NAP

    def _look_at_all(self) -> None:
        """A nap is over."""
        for connection in list(self._looked_after):
            # First: from now on another thread may want it looked after again.
            self._looked_after.discard(connection)
            if _guarded(connection.look):
                self._looked_after.add(connection)
        self._naps_left -= 1
        if self._looked_after:
            self._naps_left = IDLE_NAPS
        self._nap_ends = time.monotonic() + NAP

    def _await(self, awaited: Duplicate, job: Job) -> None:
        self._by_fd.pop(awaited.fd, None)  # of a connection that has closed it: the number is ours
        self._awaited[awaited.fd] = awaited, job
        self._poll.register(awaited.fd, select.POLLIN)

    def _arrived(self, fd: int) -> None:
        awaited, job = self._awaited.pop(fd)
        self._poll.unregister(fd)
        awaited.close()
        self._jobs.append(job)

    def _watch(self, connection: Registered) -> None:
        self._update_interest(connection)
        if connection in self._attended:
            connection.do_io()

    def _tend(self, connection: Registered) -> bool:
        """Look after a connection; False: another thread does, look again in a moment."""
        tended = _guarded(connection.do_io)
        self._update_interest(connection)
        return tended

    def _update_interest(self, connection: Registered) -> None:
        """Wake up for what it wants now."""
        before, wants = self._attended.get(connection, {}), connection.interest
        if wants == before:
            return
        for fd in before.keys() - wants.keys():
            if self._by_fd.get(fd) is connection:  # else it was closed, and is another's now
                del self._by_fd[fd]
                with contextlib.suppress(KeyError, OSError):
                    self._poll.unregister(fd)
        for fd, events in wants.items():
            self._by_fd[fd] = connection
            self._poll.register(fd, events)
        if wants:
            self._attended[connection] = wants
        else:
            self._attended.pop(connection, None)


def _guarded(act: Callable[[], bool]) -> bool:
    """Do something for one connection, of which the others need not suffer: if it fails, that has
    ended the connection."""
    try:
        return act()
    except BaseException as exc:
        report_callback_error(exc)
        return False


reactor = Reactor()
