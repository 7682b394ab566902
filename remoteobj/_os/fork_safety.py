"""Connections that belong to this process alone, whatever is forked from it."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from .._fast_typing import Protocol

__all__ = [
    "Closable",
    "close_in_child",
    "creation_lock",
    "fork_generation",
    "fork_lean",
    "is_lean",
    "is_own",
    "keep_in_child",
    "leave_to_parent",
    "no_more_own",
    "own",
]

# A forked child that kept a copy of our end of a connection would hide our death from the
# other end, which sees EOF only when the last copy closes. So a child closes what it
# inherits of ours, but for the ends that were made for it.
#
# An owner of many actors has many such ends. To look at each is to write to the pages that they
# are in, and so to copy them, for each new actor again. So a child that is to be an actor, and
# ends without the interpreter's own end, closes the descriptors of most by their numbers. Its
# copies of the ends are of no use then, and find that out when somebody wants to use one.


class Closable(Protocol):
    """One end of something."""

    def close(self) -> None: ...


class Numbered(Closable, Protocol):
    """An end that consists of descriptors alone. To be marked by `own`."""

    numbers: tuple[int, ...]
    """Those that are open."""
    generation: int
    """`fork_generation`, of the process that it is the end of."""


C = TypeVar("C", bound=Closable)

# Sets of plain references: a `WeakSet` guards its iterations, by code that a fork would touch.
_ours: set[weakref.ref[Closable]] = set()
_numbered: set[weakref.ref[Numbered]] = set()
"""Those ends whose descriptors are all among `_numbers`."""
_numbers = bytearray()
"""For each number of a descriptor, whether it is one of those."""
_parts: dict[int, tuple[object, ...]] = {}
"""By the first number of an end, the objects that it consists of."""
_forking = threading.local()

creation_lock: Final = threading.RLock()
"""Held while a connection is made and not yet marked as private: a fork waits for it."""


@contextlib.contextmanager
def keep_in_child(*ends: Closable) -> Iterator[None]:
    """A child that this thread forks in here keeps these ends."""
    before = getattr(_forking, "kept", ())  # a signal handler may start one within a start
    _forking.kept = ends
    try:
        yield
    finally:
        _forking.kept = before


def fork_lean() -> int:
    """Fork a child that is to be an actor, and is to end by `os._exit` alone."""
    _forking.lean = True
    try:
        return os.fork()
    finally:
        _forking.lean = False


fork_generation = [0]
"""How many lie between this process and the first one. To compare that number costs a tenth of
asking for the process id."""


def _close_inherited() -> None:
    kept = getattr(_forking, "kept", ())
    kept_numbered: list[Numbered] = [end for end in kept if weakref.ref(end) in _numbered]
    _forking.kept = ()  # its own children get nothing of that
    if is_lean():
        _close_numbers([end.numbers for end in kept_numbered])
        inherited: list[weakref.ref[Any]] = [*_ours]
    else:
        inherited = [*_ours, *_numbered]
    try:
        for one in inherited:
            if (end := one()) is not None and end not in kept:
                end.close()
    finally:
        fork_generation[0] += 1  # until here the ends were this process's
    for end in kept_numbered:
        end.generation = fork_generation[0]


def is_lean() -> bool:
    """In what is called in a child after the fork: whether that was `fork_lean`."""
    return getattr(_forking, "lean", False)


def _close_numbers(kept: list[tuple[int, ...]]) -> None:
    """Close all of `_numbers` but these, row by row."""
    global _parts
    leave_to_parent(_parts)
    _parts = {numbers[0]: _parts[numbers[0]] for numbers in kept if numbers}
    for number in itertools.chain(*kept):
        _numbers[number] = False
    start = _numbers.find(True)
    while start >= 0:
        end = _numbers.find(False, start)
        end = len(_numbers) if end < 0 else end
        os.closerange(start, end)
        _numbers[start:end] = bytes(end - start)
        start = _numbers.find(True, end)
    for number in itertools.chain(*kept):
        _numbers[number] = True


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
    _ours.add(weakref.ref(end, _ours.discard))
    return end


def own(end: Numbered, *parts: Closable) -> None:
    """As `close_in_child`; but a child that is an actor closes the descriptors, and leaves the
    end as it is. Its `close` must do nothing then: see `is_own`.

    `parts` are what would close its descriptors once nobody has it any more. Whatever becomes of
    the end, they are held on to until `no_more_own`; in such a child, for ever.
    """
    end.generation = fork_generation[0]
    if (missing := max(end.numbers) + 1 - len(_numbers)) > 0:
        _numbers.extend(bytes(missing))
    for number in end.numbers:
        _numbers[number] = True
    _parts[end.numbers[0]] = parts
    _numbered.add(weakref.ref(end, _numbered.discard))
    for part in parts:
        _ours.discard(weakref.ref(part))  # it may have been marked alone


def is_own(end: Numbered) -> bool:
    """Whether it is this process's, and no copy of the parent's whose descriptors are closed."""
    return end.generation == fork_generation[0]


def no_more_own(*numbers: int) -> None:
    """These are about to be closed."""
    for number in numbers:
        _numbers[number] = False
        _parts.pop(number, None)


_left: list[object] = []


def leave_to_parent(what: object) -> None:
    """In a forked child: hold on to something of the parent's that is of no use here. To free it
    would be to write to each of its parts, and so to copy the memory that they are in."""
    _left.append(what)
