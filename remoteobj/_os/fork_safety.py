"""Connections that belong to this process alone, whatever is forked from it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Final, Protocol, TypeVar

__all__ = ["fork_generation", "keep_in_child", "close_in_child", "creation_lock", "leave_to_parent"]

# A forked child that kept a copy of our end of a connection would hide our death from the
# other end, which sees EOF only when the last copy closes. So a child closes what it
# inherits of ours, but for the ends that were made for it.


class _Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)

_ours: weakref.WeakSet[_Closable] = weakref.WeakSet()
_kept_ends = threading.local()

creation_lock: Final = threading.RLock()
"""Held while a connection is made and not yet marked as private: a fork waits for it."""


@contextlib.contextmanager
def keep_in_child(*ends: _Closable) -> Iterator[None]:
    """A child that this thread forks in here keeps these ends."""
    before = getattr(_kept_ends, "ends", ())  # a signal handler may start one within a start
    _kept_ends.ends = ends
    try:
        yield
    finally:
        _kept_ends.ends = before


fork_generation = [0]
"""How many lie between this process and the first one. To compare that number costs a tenth of
asking for the process id."""


def _close_inherited() -> None:
    fork_generation[0] += 1
    kept = getattr(_kept_ends, "ends", ())
    _kept_ends.ends = ()  # its own children get nothing of that
    for end in list(_ours):
        if all(end is not one for one in kept):
            end.close()


def _forget_executors() -> None:
    """Forget the threads of the parent's executors, which are not here. Whoever forks in one of
    them is it himself, and the interpreter, at the end of the child, would wait for him: that
    fails, and the child ends with the exit code 1."""
    executors: Any = sys.modules.get("concurrent.futures.thread")
    threads = getattr(executors, "_threads_queues", None)
    if threads is not None:
        threads.clear()


# No code of ours between a fork and its release: a Ctrl-C there would leave it held.
os.register_at_fork(
    before=creation_lock.acquire,
    after_in_parent=creation_lock.release,
    after_in_child=creation_lock.release,
)
os.register_at_fork(after_in_child=_close_inherited)
os.register_at_fork(after_in_child=_forget_executors)


def close_in_child(end: C) -> C:
    """Mark an end of a connection as this process's own: a forked child closes its copy."""
    _ours.add(end)
    return end


_left: list[object] = []


def leave_to_parent(what: object) -> None:
    """In a forked child: hold on to something of the parent's that is of no use here. To free it
    would be to write to each of its parts, and so to copy the memory that they are in."""
    _left.append(what)
