"""The guardian of an owner: a small process that outlives it, and ends and removes what it left.

An actor ends by itself when its owner is gone, with its cleanup. One whose interpreter is held,
by a call into C or while it starts, can't; nor can one that is stopped. The kernel's own
PR_SET_PDEATHSIG would kill at once, without cleanup, and also when only the thread that started
the actor has ended.

This module is run as a script, by a bare interpreter: it imports the standard library alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import time

__all__ = ["GRACE_SECONDS", "clear", "clear_unless_held", "keep"]

GRACE_SECONDS = 1.7
"""How long an actor has to end by itself, once its owner is gone."""
KILL_SECONDS = 1.0
"""How long the kernel may take to end what was killed."""
LOOK_SECONDS = 0.02
"""How often it is looked whether it has."""


class Ward:
    """An actor, of which nothing more is known than its pid; it may lead a process group."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._pidfd = -1
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(pid)

    def ended(self) -> bool:
        """Whether it has; a zombie that nobody reaps has ended too, where the kernel tells."""
        if self._pidfd >= 0:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            return bool(poll.poll(0))
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return True
        return False

    def kill(self) -> None:
        """End it, and the processes of its group, which may have outlived it."""
        with contextlib.suppress(OSError):
            os.killpg(self._pid, signal.SIGKILL)
        with contextlib.suppress(OSError):  # it may not have had the time to lead a group
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            elif not self.ended():
                os.kill(self._pid, signal.SIGKILL)

    def release(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)


def keep(source: int) -> None:
    """Sleep until the owner has ended, then see to what it has left, by the lines it has written.

    `+7` is an actor of pid 7 and `-7` one that has ended. `/a/b` is to be removed: a directory
    unless somebody holds it, or a socket, with its directory if that is empty then.
    """
    poll = select.poll()
    poll.register(source, 0)  # nothing but the closing of the other end: no line wakes us
    poll.poll()
    pids, paths = _read(source)
    _end([Ward(pid) for pid in pids])
    for path in paths:
        with contextlib.suppress(OSError):
            if os.path.isdir(path):
                clear_unless_held(path)
            else:
                os.unlink(path)
                os.rmdir(os.path.dirname(path))


def _read(source: int) -> tuple[list[int], list[str]]:
    """The actors that have not ended, and what is to be removed."""
    left: dict[str, None] = {}
    with open(source) as lines:
        for line in lines.read().splitlines():
            if line.startswith("-"):
                left.pop(f"+{line[1:]}", None)
            else:
                left[line] = None
    pids = [int(one[1:]) for one in left if one[:1] == "+" and one[1:].isdecimal()]
    return pids, [one for one in left if one[:1] == "/"]


def _end(wards: list[Ward]) -> None:
    left = _wait_for_ends(wards, GRACE_SECONDS)
    for ward in left:
        ward.kill()
    _wait_for_ends(left, KILL_SECONDS)  # what they hold is free only then


def _wait_for_ends(wards: list[Ward], seconds: float) -> list[Ward]:
    """Wait until they have ended; those that have not. Whatever one leaves of its group goes."""
    left = list(wards)
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        for ward in [one for one in left if one.ended()]:
            ward.kill()
            ward.release()
            left.remove(ward)
        time.sleep(LOOK_SECONDS)
    return left


# --- the files -----------------------------------------------------------------------------


def clear_unless_held(path: str) -> None:
    """Remove a session's directory, if no process has a lock on it.

    Raises:
        OSError: one has, or it can't be looked into.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        clear(path)
        # A child forked meanwhile shares the lock: closing would leave it held.
        fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


def clear(path: str) -> None:
    """Remove a directory with all that is in it, as far as that goes."""
    for place, _, names in os.walk(path, topdown=False):
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(place, name))
        with contextlib.suppress(OSError):
            os.rmdir(place)


if __name__ == "__main__":
    os.setsid()  # neither the terminal's signals nor those for the owner's group are for it
    os.chdir("/")  # its directory may be removed, or unmounted
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # who waits for their closing must not wait for us
    keep(0)
    os._exit(0)
