"""What descriptors there can be: of processes, copies, and how many."""

from __future__ import annotations

import os

from .fork_safety import close_in_child

__all__ = ["Duplicate", "has_pidfds", "need_descriptors"]


class Duplicate:
    """A copy of a descriptor, which stays open when the original is closed. A forked child closes
    its own.

    Raises:
        OSError: no descriptor is free, or the original is closed.
    """

    fd = -1
    """-1 once closed."""

    def __init__(self, fd: int) -> None:
        self.fd = os.dup(fd)
        close_in_child(self)

    def close(self) -> None:
        """Harmless when done twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close


def has_pidfds() -> bool:
    """Whether processes have descriptors here: on Linux, but not in every sandbox."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def need_descriptors(count: int) -> None:
    """EMFILE unless so many are free. Where they run out half-way, `multiprocessing` loses those
    that it has got, and its fork server ends."""
    spare: list[int] = []
    try:
        while len(spare) < count:
            spare += os.pipe()  # two by one call: each start asks
    finally:
        for fd in spare:
            os.close(fd)
