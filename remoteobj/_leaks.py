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
from ._wire.unix import _session

__all__ = ["kept", "no_leaks"]

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
    names = {f"process {pid}" for pid, _ in kept()} | {f"descriptor {fd}" for _, fd in kept()}
    found = [*_children(), *_descriptors(), *(f"thread {one.name}" for one in _threads())]
    return {what for what in found if what.partition(":")[0] not in names}


def kept() -> Iterator[tuple[int | None, int | None]]:
    """What is started once, and kept until the program ends: pids, and what they are held by."""
    yield guardian.pid, guardian.pipe
    yield from ((None, fd) for fd in (guardian.list, _session.lock))
    tracker = resource_tracker._resource_tracker
    yield getattr(tracker, "_pid", None), getattr(tracker, "_fd", None)
    for server in (fork_server.server, forkserver._forkserver):
        held = getattr(server, "_forkserver_alive_fd", None)
        yield getattr(server, "_forkserver_pid", None), held


def _threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if not isinstance(one, threading._DummyThread)]


def _descriptors() -> Iterator[str]:
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # the one by which the list was read
            where = os.readlink(f"/dev/fd/{name}") if sys.platform == "linux" else ""
            os.fstat(int(name))
            yield f"descriptor {name}: {where}"


def _children() -> Iterator[str]:
    if sys.platform == "linux":
        for path in Path("/proc/self/task").glob("*/children"):
            with contextlib.suppress(OSError):
                yield from (f"process {pid}" for pid in path.read_text().split())
    else:
        yield from (f"process {one.pid}" for one in multiprocessing.active_children())
