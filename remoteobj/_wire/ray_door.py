"""The door of an actor in a cluster that is restarted, as its owner keeps it.

Callers find the present Ray actor by its name. Between two of them there is none of this name, and
a mark that the cluster keeps says that one is to come. The mark names the job that has the owner:
with that job it loses its meaning.
"""

from __future__ import annotations

import os
from typing import NoReturn

from .._os.fork_safety import Closable
from .ray_cluster import cluster, forget, keep, kept, runs

__all__ = ["RayDoor", "is_open"]


class RayDoor:
    """A `transport.Listener` that nobody accepts at: its copies over there do."""

    def __init__(self, name: str) -> None:
        self._key = f"door:{name}"
        self._owner_pid = os.getpid()
        self._closed = False
        keep(self._key, cluster().get_runtime_context().get_job_id().encode())

    def fileno(self) -> int:
        return -1

    def accept(self) -> NoReturn:
        raise OSError("callers come to where the object lives")

    def lend(self) -> RayDoor:
        return self

    @property
    def kept_by_fork(self) -> Closable:
        return self

    def close(self) -> None:
        closed, self._closed = self._closed, True
        if not closed and self._owner_pid == os.getpid():
            forget(self._key)


def is_open(name: str) -> bool:
    """Whether an actor of this name is to come, if there is none."""
    job = kept(f"door:{name}")
    return job is not None and runs(job.decode())
