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

__all__ = ["GRACE_SECONDS", "SLOT", "clear", "clear_unless_held", "keep"]

SLOT = 128
"""Bytes of an entry in the list."""
GRACE_SECONDS = 1.6
"""How long an actor has to end by itself, once its owner is gone."""
DESCENDANTS_SECONDS = 0.2
"""How long those below one that had to be killed have."""
KILL_SECONDS = 1.0
"""How long the kernel may take to end what was killed."""
LOOK_SECONDS = 0.02
"""How often it is looked whether it has."""


class Watched:
    """An actor, of which nothing more is known than its pid; it may lead a process group."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = -1
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self.pidfd = os.pidfd_open(pid)

    def ended(self) -> bool:
        """Whether it has; a zombie that nobody reaps has ended too, where the kernel tells."""
        if self.pidfd >= 0:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            return bool(poll.poll(0))
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def kill(self) -> None:
        """End it, and the processes of its group, which may have outlived it."""
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):  # it may not have had the time to lead a group
            if self.pidfd >= 0:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            elif not self.ended():
                os.kill(self.pid, signal.SIGKILL)

    def release(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)


def keep(life: int, names: int) -> None:
    """Sleep until the owner has ended, then see to what it has left, by its list.

    Args:
        life: a pipe that closes with the owner.
        names: a file of slots, each empty, or `+7` for an actor of pid 7, or `/a/b` for what is to
            be removed: a directory unless somebody holds it, or a socket, with its directory if
            that is empty then; and `=8` for the guardian, by its pid. One whose pid is not there
            was started in vain, by an owner that was interrupted, and does nothing.
    """
    poll = select.poll()
    poll.register(life, 0)  # nothing but its closing
    poll.poll()
    slots = _read(names)
    if b"=%d" % os.getpid() not in slots:
        return
    pids = [int(one[1:]) for one in slots if one[:1] == b"+" and one[1:].isdigit()]
    paths = [os.fsdecode(one) for one in slots if one[:1] == b"/"]
    _end([Watched(pid) for pid in pids])
    # The end of the pipe may come before the end of the owner's lock on its directory.
    deadline = time.monotonic() + KILL_SECONDS
    while (paths := [one for one in paths if not _removed(one)]) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def _removed(path: str) -> bool:
    """Remove it; False: another process holds it."""
    try:
        if os.path.isdir(path):
            clear_unless_held(path)
        else:
            os.unlink(path)
            os.rmdir(os.path.dirname(path))
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _read(names: int) -> list[bytes]:
    data = os.pread(names, os.fstat(names).st_size, 0)
    return [data[at : at + SLOT].rstrip(b"\0") for at in range(0, len(data), SLOT)]


def _end(wards: list[Watched]) -> None:
    left = _wait_for_ends(wards, GRACE_SECONDS)
    below = [Watched(pid) for ward in left for pid in _descendants(ward.pid)]
    for ward in left:
        ward.kill()
    # Actors of theirs hear of it now; but those may be no more able to end than they were.
    left = _wait_for_ends([*left, *below], DESCENDANTS_SECONDS)
    for ward in left:
        ward.kill()
    _wait_for_ends(left, KILL_SECONDS)  # what they hold is free only then


def _descendants(pid: int) -> list[int]:
    """The processes below another one, as far as the system tells."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as children:
                found += map(int, children.read().split())
    return found + [one for child in found for one in _descendants(child)]


def _wait_for_ends(wards: list[Watched], seconds: float) -> list[Watched]:
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
    keep(0, 1)
    os._exit(0)
