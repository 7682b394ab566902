"""What descriptors there can be: of processes, and how many."""

from __future__ import annotations

import os

__all__ = ["has_pidfds", "need_descriptors"]


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
    spare = [*os.pipe()]
    try:
        spare.extend(os.dup(spare[0]) for _ in range(count - 2))
    finally:
        for fd in spare:
            os.close(fd)
