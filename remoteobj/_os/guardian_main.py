"""The guardian of an owner: a small process that outlives it, and ends and removes what it left.

An actor ends by itself when its owner is gone, with its cleanup. One whose interpreter is held,
by a call into C or while it starts, can't; nor can one that is stopped. The kernel's own
PR_SET_PDEATHSIG would kill at once, without cleanup, and also when only the thread that started
the actor has ended.

A guardian keeps the rights that its owner had when it was started, and the owner may give them up.
So it believes nothing that a process without them could have said: its list is a file that only
they open, and which the owner opens anew for each entry; and it removes one directory alone, by a
descriptor that it was started with.

This module is run by a bare interpreter, which has nothing but the standard library and this room.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time

from .directories import discard_unless_held
from .processes import KnownProcess

__all__ = ["DIRECTORY", "GRACE_SECONDS", "SLOT", "entry_of", "keep", "main"]

SLOT = 128
"""Bytes of an entry in the list."""
DIRECTORY = 3
"""The descriptor by which it gets the owner's directory."""
GRACE_SECONDS = 1.6
"""How long an actor has to end by itself, once its owner is gone."""
DESCENDANTS_SECONDS = 0.2
"""How long those below one that had to be killed have."""
KILL_SECONDS = 1.0
"""How long the kernel may take to end what was killed."""
HELD_SECONDS = 5.0
"""How long the directory may stay locked by processes that are ending."""
LOOK_SECONDS = 0.02
"""How often it is looked whether it has."""


def main() -> None:
    """Run as a guardian, in a process of its own; its one argument is the directory's name."""
    os.setsid()  # neither the terminal's signals nor those for the owner's group are for it
    os.chdir("/")  # where it was started may be removed, or unmounted
    # Who waits for the closing of others must not wait for us.
    os.closerange(DIRECTORY + 1, os.sysconf("SC_OPEN_MAX"))
    keep(0, 1, DIRECTORY, sys.argv[-1])
    os._exit(0)


def keep(life: int, names: int, directory: int, name: str) -> None:
    """Sleep until the owner has ended, then see to what it has left.

    Args:
        life: a pipe that closes with the owner.
        names: a file of slots, each empty, or `entry_of` an actor, or `=8` for the guardian, by its
            pid. One whose pid is not there was started in vain, by an owner that was interrupted,
            and does nothing.
        directory: the owner's, which is removed unless somebody holds it.
        name: where that is in the one above it.
    """
    poll = select.poll()
    poll.register(life, 0)  # nothing but its closing
    poll.poll()
    slots = _read(names)
    if b"=%d" % os.getpid() not in slots:
        return
    _end([ward for ward in map(_ward_of, slots) if ward is not None])
    # The end of the pipe may come before the end of the owner's lock on its directory.
    deadline = time.monotonic() + HELD_SECONDS
    while not _removed(directory, name) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def entry_of(actor: KnownProcess) -> str:
    """What stands in the list for an actor: its pid, and what proves that this is still its own."""
    return f"+{actor.pid} {'held' if actor.held else 'free'} {actor.started}"


def _ward_of(entry: bytes) -> KnownProcess | None:
    pid, _, rest = entry.partition(b" ")
    held, _, started = rest.partition(b" ")
    if pid[:1] != b"+" or not pid[1:].isdigit() or not started:
        return None
    return KnownProcess.meet_again(int(pid[1:]), started.decode(), held == b"held")


def _removed(directory: int, name: str) -> bool:
    """Remove it; False: another process holds it."""
    try:
        discard_unless_held(directory, name)
    except BlockingIOError:
        return False
    return True


def _read(names: int) -> list[bytes]:
    data = os.pread(names, os.fstat(names).st_size, 0)
    return [data[at : at + SLOT].rstrip(b"\0") for at in range(0, len(data), SLOT)]


def _end(wards: list[KnownProcess]) -> None:
    left = _wait_for_ends(wards, GRACE_SECONDS)
    below = [one for ward in left for one in _descendants(ward)]
    for ward in left:
        ward.kill()
    # Actors of theirs hear of it now; but those may be no more able to end than they were.
    left = _wait_for_ends([*left, *below], DESCENDANTS_SECONDS)
    for ward in left:
        ward.kill()
    _wait_for_ends(left, KILL_SECONDS)  # what they hold is free only then


def _descendants(ward: KnownProcess) -> list[KnownProcess]:
    """The processes below another one, as far as the system tells."""
    pids: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{ward.pid}/task"):
            with open(f"/proc/{ward.pid}/task/{thread}/children") as children:
                pids += map(int, children.read().split())
    if not ward.is_there():
        return []  # what was read may be of another process
    found = [child for pid in pids if (child := KnownProcess.meet(pid, ward.pid)).started]
    return found + [one for child in found for one in _descendants(child)]


def _wait_for_ends(wards: list[KnownProcess], seconds: float) -> list[KnownProcess]:
    """Wait until they have ended; those that have not. Whatever one leaves of its group goes."""
    left = list(wards)
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        for ward in [one for one in left if one.ended()]:
            ward.kill_group()
            ward.release()
            left.remove(ward)
        time.sleep(LOOK_SECONDS)
    return left
