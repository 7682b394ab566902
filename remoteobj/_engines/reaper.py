"""How the end of a process is noticed, and its exit code collected."""

from __future__ import annotations

import contextlib
import enum
import os
import select
import sys
import time
from typing import TYPE_CHECKING, Any

from .._os.processes import KnownProcess
from .guardian import guardian

if TYPE_CHECKING:
    from .measuring import Measurement

__all__ = ["Reaper", "State", "readable"]

CAN_PEEK = hasattr(os, "waitid")  # not on macOS before Python 3.13
UNKNOWN = 255
"""What `multiprocessing` is told of an exit code that somebody else has collected."""
STOLEN_CODE_SECONDS = 0.05
"""How long a child that somebody else seems to have reaped may still turn out to be ours."""
REAP_SECONDS = 1.0
"""How long the exit code of a dead process may take to be known."""


class State(enum.Enum):
    """What is known of the exit code."""

    AWAITED = "the process runs, or its exit code has not been collected"
    COLLECTED = "the exit code is known"
    LOST = "somebody else has collected the exit code, so that it will never be known"


class Reaper:
    """Collects the exit code of one process, once it has ended.

    Only the parent of a process can do so: in a forked copy of the parent the code stays unknown.
    So it does where a handler of SIGCHLD, say, collects whatever there is.

    ::

                  wait4, or the fork server, tells the code
        AWAITED ────────────────────────────────────────────> COLLECTED
           └──> LOST   it was no child of ours any more, and nobody told the code

    Args:
        popen: what `multiprocessing` launched the process by. It is told what is collected here,
            and asked what it has collected itself.
        known: the process, to be signalled; owned by the reaper.
        death: a descriptor that gets readable when the process ends; owned by the reaper.
            None: that of the process itself.
        by_server: whether the process is a child of a fork server, which tells the exit code.
        measurement: what takes in the coverage that it has left, once its code is collected.
    """

    def __init__(
        self,
        popen: Any,
        known: KnownProcess,
        death: int | None,
        by_server: bool,
        measurement: Measurement | None = None,
    ) -> None:
        self.state = State.AWAITED
        self.exitcode: int | None = None
        self.peak_memory: int | None = None
        """Bytes of physical memory that it used at most; known of a child of ours."""
        self.known = known
        self._owned = death
        self._closed = False
        self._open = [True]
        """Empty once the descriptors are closed: whoever takes it out closes them."""
        self._waiting: list[int] = []
        """For each thread that waits the number of its process. The descriptors stay open as long,
        since the next file may get their numbers. No lock, which a fork might find held for ever.
        """
        self._popen = popen
        self._by_server = by_server
        self._measurement = measurement

    @property
    def death(self) -> int:
        """What gets readable when the process ends; -1 once that is closed, and in a forked copy
        of the owner that is made after the end."""
        if self._closed:
            return -1
        return self.known.have_pidfd() if self._owned is None else self._owned

    @property
    def dead(self) -> bool:
        """Whether the process has ended. In a forked copy of the owner, too."""
        return self._over or self._ended(0)

    def wait(self, timeout: float | None) -> None:
        """Sleep until the process has ended, or `timeout` seconds have passed."""
        if self._over:
            return
        here = os.getpid()
        self._waiting.append(here)
        try:
            self._ended(timeout)
        finally:
            self._waiting.remove(here)
            if self._closed:
                self._close_unused()

    def _ended(self, timeout: float | None) -> bool:
        death = self.death
        return death < 0 or readable(death, timeout)

    def collect(self) -> bool:
        """Collect the exit code, if the process has ended; whether there is no more to collect.

        One thread at a time may call it.
        """
        if self._over:
            return True
        if not self.dead:
            return False
        guardian.forget(self.known)
        self._collect_soon()
        code, peeked = self.exitcode, CAN_PEEK and not self._by_server
        if code is not None and code < 0 and not peeked:
            self.known.kill_group()  # it has been reaped already, by the server say
        if self._over and self._measurement is not None:
            self._measurement.take_in()
        return self._over

    def close(self) -> None:
        """Let go of the descriptors, once no other thread waits. Harmless when done twice."""
        self._closed = True
        self._close_unused()

    def _close_unused(self) -> None:
        with contextlib.suppress(IndexError):  # they are closed already
            if os.getpid() not in self._waiting:
                self._open.pop()
                self.known.release()
                fd, self._owned = self._owned, None
                if fd is not None:
                    os.close(fd)

    @property
    def _over(self) -> bool:
        return self.state is not State.AWAITED

    def _collect_soon(self) -> None:
        begun = time.monotonic()
        ours = True
        while not self._over:
            ours = self._wait4() and ours
            self.exitcode = self._popen.poll()
            if self.exitcode is not None:
                self.state = State.COLLECTED
            # The fork server learns of it a little later than we do; and another thread that
            # has just reaped it, in `multiprocessing`, says so in a moment.
            elif time.monotonic() <= begun + (REAP_SECONDS if ours else STOLEN_CODE_SECONDS):
                time.sleep(0.001)
            elif ours:
                return  # to be looked for again
            else:
                self.state = State.LOST
                self._popen.returncode = UNKNOWN

    def _wait4(self) -> bool:
        """Reap a child of ours, and see what memory it used; False: it is no child of ours."""
        popen = self._popen
        if self._by_server or popen.returncode is not None:
            return True
        try:
            self._end_its_children()
            pid, status, usage = os.wait4(popen.pid, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == popen.pid:
            popen.returncode = os.waitstatus_to_exitcode(status)
            self.peak_memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return True

    def _end_its_children(self) -> None:
        """Where a signal has killed it, end what it had started: nobody else will. Before it is
        reaped, since until then its number is nobody else's."""
        if not CAN_PEEK:
            self.known.is_there()  # it was until just now, then, when the code is known
            return
        peek = os.waitid(os.P_PID, self.known.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if peek is not None and peek.si_code in (os.CLD_KILLED, os.CLD_DUMPED):
            self.known.kill_group()


def readable(fd: int, timeout: float | None) -> bool:
    """Wait until it can be read, or `timeout` seconds have passed; whether it can."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))
