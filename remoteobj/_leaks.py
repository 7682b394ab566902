"""The leak check for tests of programs that use actors; `remoteobj.testing` has it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

from ._engines.guardian import guardian
from ._engines.without_main import fork_server
from ._fast_typing import NamedTuple
from ._wire.roster import roster_paths
from ._wire.runtime_directory import runtime_directory

__all__ = ["Kept", "descriptors", "kept", "no_leaks"]

SETTLE_SECONDS = 5.0
"""How long what is ending may take to be gone."""


@contextlib.contextmanager
def no_leaks(seconds: float = SETTLE_SECONDS) -> Iterator[None]:
    """Whatever is started within is gone at the end: processes, threads, descriptors.

    What `multiprocessing` and this package start once and keep, for those to come, is no leak.

    As a fixture of pytest: `pytest_plugins = ["remoteobj.pytest_plugin"]`, then `no_leaks`.

    Args:
        seconds: how long what is ending may take.

    Raises:
        AssertionError: something is left; it says what.

    >>> with no_leaks():
    ...     pass
    >>> with no_leaks(seconds=0):
    ...     file = open(os.devnull)
    Traceback (most recent call last):
        ...
    AssertionError: left behind: descriptor ...: /dev/null
    >>> file.close()
    """
    before = _standing()
    yield
    end = time.monotonic() + seconds
    while (left := _standing() - before) and time.monotonic() < end:
        time.sleep(0.01)
    if left:
        raise AssertionError(f"left behind: {', '.join(sorted(left))}")


def _standing() -> set[str]:
    """What there is of processes, threads and descriptors of this process, each by a name."""
    exempt = [*kept()]
    pids, fds = {one.pid for one in exempt}, {one.fd for one in exempt}
    return {
        *(f"process {pid}" for pid in _children() if pid not in pids),
        *(f"descriptor {fd}: {where}" for fd, where in descriptors() if fd not in fds),
        *(f"thread {one.name}" for one in _threads()),
    }


class Kept(NamedTuple):
    """Something that is started once, and kept until the program ends."""

    pid: int | None = None
    fd: int | None = None
    """The descriptor that it hangs on, or is."""
    path: str | None = None
    """Of the socket at which it listens, or of the list that it reads, or is."""


def kept() -> Iterator[Kept]:
    """All that is kept, of this package and of `multiprocessing`."""
    for post in guardian.posts():
        yield Kept(post.pid, post.pipe, post.list.path)
    for lock in runtime_directory.locks():
        yield Kept(fd=lock)
    for path in roster_paths():
        yield Kept(path=path)
    tracker = resource_tracker._resource_tracker
    yield Kept(getattr(tracker, "_pid", None), getattr(tracker, "_fd", None))
    for server in (fork_server.server, forkserver._forkserver):
        parts = ("_forkserver_pid", "_forkserver_alive_fd", "_forkserver_address")
        yield Kept(*(getattr(server, part, None) for part in parts))


def _threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if not isinstance(one, threading._DummyThread)]


def descriptors() -> Iterator[tuple[int, str]]:
    """Every open descriptor as (number, what it leads to): a number is taken again at once."""
    linux = sys.platform == "linux"
    for name in os.listdir("/proc/self/fd" if linux else "/dev/fd"):
        with contextlib.suppress(OSError):  # the one by which the list was read
            status = os.fstat(int(name))
            inode = f"mode {status.st_mode:o}, inode {status.st_ino}"
            yield int(name), os.readlink(f"/proc/self/fd/{name}") if linux else inode


def _children() -> Iterator[int | None]:
    if sys.platform == "linux":
        for path in Path("/proc/self/task").glob("*/children"):
            with contextlib.suppress(OSError):
                yield from map(int, path.read_text().split())
    else:
        yield from (one.pid for one in multiprocessing.active_children())
