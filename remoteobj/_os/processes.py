"""Processes that are known by more than their number, which will be another's one day.

The kernel gives a number out again once the process has been reaped and nobody is left in the
group of that number. Where others reap our children, a handler of SIGCHLD or a fork server, that
may happen before we know of the end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time

from .._fast_typing import NamedTuple
from .fork_safety import is_own, no_more_own, own
from .lazy_import import import_lock

__all__ = ["KnownProcess", "ask_ps", "look", "read_stat", "rights"]

TO_THE_GROUP = 4
"""PIDFD_SIGNAL_PROCESS_GROUP, of Linux 6.9."""
MOMENT_SECONDS = 0.1
"""In less than that no number comes round: the kernel gives out all others before."""


class Glimpse(NamedTuple):
    """What the system tells of the process that has a number now."""

    parent: int
    started: str
    """To be compared, and for nothing else. Never the same for two processes of one number."""


def look(pid: int) -> Glimpse | None:
    """See who has a number; None: nobody, or the system does not tell."""
    try:
        ours = os.readlink("/proc/self")
    except OSError:  # no such thing here
        return _look_by_ps(pid)
    if ours != str(os.getpid()):
        return None  # it tells of another namespace, where numbers mean other processes
    fields = read_stat(pid, 20)
    return None if fields is None else Glimpse(int(fields[1]), fields[19].decode())


def read_stat(pid: int, fields: int = 22) -> list[bytes] | None:
    """The first fields of what /proc tells of a process, from its state on; None: nothing."""
    try:
        said = _read(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The name before it, in parentheses, may have spaces and parentheses itself.
    return said.rpartition(b")")[2].split(None, fields)


def _read(path: str) -> bytes:
    """What a short file says; without a file object, whose code and parts would be copied here,
    in each start, while there are forks that share them."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def ask_ps(fields: str, *pids: int) -> str:
    """What `ps` says of these processes, the same in every language and time zone.

    Raises:
        OSError: there is no `ps`.
    """
    with import_lock:
        import subprocess  # for a faster start-up: where there is /proc, it is not needed

    command = ["ps", "-o", fields, "-p", ",".join(map(str, pids))]
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC0"}
    told = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
    return told.stdout


def _look_by_ps(pid: int) -> Glimpse | None:
    try:
        parent, started = ask_ps("ppid=,lstart=", pid).strip().split(None, 1)
        return Glimpse(int(parent), started)
    except (OSError, ValueError):
        return None


def rights() -> tuple[int, ...]:
    """As whom this process acts: what it starts has the same rights, and keeps them."""
    return os.getuid(), os.geteuid(), os.getgid(), os.getegid()


class KnownProcess:
    """A process that may be signalled, since that reaches it and nobody else.

    Invariants: `pidfd`, if there is one, is of the process that `started` then; and no signal is
    sent, to it or to the group that it leads, without a proof that its number is still its own.

    Args:
        started: as `look` has told while it was there; "": it did not tell.
        held: whether its number was kept by a parent that reaps nobody before it knows of its end.
    """

    def __init__(self, pid: int, started: str = "", pidfd: int = -1, held: bool = False) -> None:
        self.pid = pid
        self.started = started
        self.held = held
        self._seen = time.monotonic() if started else -MOMENT_SECONDS
        self.numbers: tuple[int, ...] = ()
        self.generation = -1
        self._hold(pidfd)

    @property
    def pidfd(self) -> int:
        """The descriptor of the process; -1: there is none, or it is the parent's."""
        return self.numbers[0] if self.numbers and is_own(self) else -1

    def _hold(self, pidfd: int) -> None:
        self.numbers = (pidfd,) if pidfd >= 0 else ()
        if self.numbers:
            own(self)

    @classmethod
    def meet(cls, pid: int, parent: int) -> KnownProcess:
        """The process of that number, if it is a child of `parent`; else one that has ended."""
        pidfd, seen = _pidfd(pid), look(pid)
        if seen is not None and seen.parent != parent:
            seen = None  # it has been reaped, and the number is a stranger's
            pidfd = _closed(pidfd)
        held = parent == os.getpid() and signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
        return cls(pid, seen.started if seen else "", pidfd, held)

    @classmethod
    def meet_again(cls, pid: int, started: str, held: bool) -> KnownProcess:
        """The process of that number which had started then; it may have ended."""
        known = cls(pid, started, _pidfd(pid), held)
        known._seen = -MOMENT_SECONDS
        if not known.is_there():
            known.release()
        return known

    def is_there(self) -> bool:
        """Whether the number is proved to be its own still; a zombie's is."""
        if self.started:
            seen = look(self.pid)
            there = seen is not None and seen.started == self.started
        else:
            there = _is_child(self.pid)
        if there:
            self._seen = time.monotonic()
        return there

    def ended(self) -> bool:
        """Whether it has; a zombie that nobody reaps has ended too, where the kernel tells."""
        if self.pidfd >= 0:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            over = bool(poll.poll(0))
        elif self._seen_just_now():
            over = _is_nobodys(self.pid)
        else:
            over = not self.is_there()
        if not over:
            self._seen = time.monotonic()
        return over

    def signal(self, number: int) -> None:
        """Send it a signal. One that has ended, or can't be proved to be there, gets none.

        Raises:
            PermissionError: it has other rights than we have.
        """
        with contextlib.suppress(ProcessLookupError):
            if not self._took_by_pidfd(number) and self.is_there():
                os.kill(self.pid, number)

    def kill_group(self) -> None:
        """End the processes of the group that it leads, or led: they may have outlived it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is in it
            if not self._took_by_pidfd(signal.SIGKILL, TO_THE_GROUP) and self._has_group():
                os.killpg(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End it, and its group."""
        self.kill_group()
        with contextlib.suppress(PermissionError):
            self.signal(signal.SIGKILL)  # it may not have had the time to lead a group

    def _took_by_pidfd(self, number: int, flags: int = 0) -> bool:
        """Whether the kernel took the signal: it is for this process, whoever has its number now.

        Raises:
            ProcessLookupError: it has ended, or nobody is in its group.
        """
        if self.pidfd < 0:
            return False
        try:
            signal.pidfd_send_signal(self.pidfd, number, None, flags)
        except ProcessLookupError:
            raise
        except OSError:  # an older kernel, or a sandbox
            return False
        return True

    def release(self) -> None:
        """Let go of its descriptor. Harmless when done twice."""
        pidfd, self.numbers = self.pidfd, ()
        if pidfd >= 0:
            no_more_own(pidfd)
            os.close(pidfd)

    def close(self) -> None:
        """Let go of it in a forked child, which may want one of its own."""
        self.release()

    def have_pidfd(self) -> int:
        """The descriptor, opened anew in a forked child; -1: the process is not there any more."""
        if self.pidfd < 0:
            self._hold(_pidfd(self.pid))
            if not self.is_there():
                self.release()
        return self.pidfd

    def _has_group(self) -> bool:
        """Whether the group of that number is proved to be its own.

        A number stays with a group until the last has left it. So where it is no process's, and
        was this one's until just now, the group, if there is one, is what this one has left.
        """
        if self.is_there():
            return True
        return (self.held or self._seen_just_now()) and _is_nobodys(self.pid)

    def _seen_just_now(self) -> bool:
        return time.monotonic() - self._seen < MOMENT_SECONDS


def _pidfd(pid: int) -> int:
    """A descriptor of the process that has a number now; -1 where there are none, or no process.

    Raises:
        OSError: no descriptor is free.
    """
    if hasattr(os, "pidfd_open"):
        try:
            return os.pidfd_open(pid)
        except OSError as exc:
            if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
    return -1


def _closed(fd: int) -> int:
    if fd >= 0:
        os.close(fd)
    return -1


def _is_nobodys(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _is_child(pid: int) -> bool:
    """Whether it is a child of this process that has not been reaped, where the system tells."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return False
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    return False
