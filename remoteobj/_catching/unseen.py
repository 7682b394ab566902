"""Failures that nobody has looked at: each is told in the log, once, when nobody can any more.

::

    a future's exception ───────> Unseen ── dropped, or the program ends ──┐
    a function's exception ─────┘   └ seen(): not told                     ├──> tell ──> logging
    an actor's records ─────────> Witness ── its `Except` and its actors ──┘
    in an `Except`                           are gone, or the program ends

It is the process which could have looked that tells, never the one in which something failed; a
forked copy of it tells nothing. The logger is `remoteobj`, the level ERROR: where a program has not
set logging up, that is a text with the traceback on `sys.stderr`.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections.abc import Callable
from multiprocessing import util as mp_util
from typing import TYPE_CHECKING, Final

from .._os.callback_errors import report_callback_error
from .._os.fork_safety import leave_to_parent
from .._os.lazy_import import import_lock

if TYPE_CHECKING:
    from .catchers import Except, LocalExcept
    from .store import Entry, LocalStore

__all__ = [
    "Unseen",
    "Witness",
    "before_telling",
    "expect_failures",
    "tell",
    "was_seen",
    "witness_of",
]


def tell(what: str, error: BaseException) -> None:
    """Write a failure to the log, with its traceback. Raises nothing: also for finalizers."""
    _under_way.append(what)  # first: see `_fall_silent`
    try:
        if not (_silent or sys.is_finalizing()):  # else what there was to tell has been told
            _log(what, error)
    finally:
        _under_way.pop()


def _log(what: str, error: BaseException) -> None:
    with import_lock:
        import logging  # for a faster start-up: most programs have nothing to tell

    try:
        logging.getLogger("remoteobj").error("%s", what, exc_info=error)
    except Exception as exc:  # a handler of the program's: what is told here must go on
        report_callback_error(exc)


class Unseen:
    """An exception that somebody may still look at. When it is dropped before that, it is told."""

    def __init__(self, what: str, error: BaseException) -> None:
        self._what = what
        self._error: BaseException | None = error
        self._pid = os.getpid()
        expect_failures()
        _unseen.add(self)

    def seen(self) -> None:
        """Somebody has looked at it."""
        self._error = None

    def tell(self) -> None:
        """Tell it, unless somebody has seen it, or it was told."""
        error, self._error = self._error, None
        if error is not None and self._pid == os.getpid():
            tell(self._what, error)

    def __del__(self) -> None:
        self.tell()


LAST_SECONDS = 1.0
"""How long a program that ends waits for the threads that are telling something."""
GROUPS: Final = {
    "init": "it was not born",
    "work": "its work loop or a one-way call failed",
    "cleanup": "its cleanup failed",
}
"""What an actor records. Of `__init__`, `spawn` raises it, and so does what waits for it."""


class Witness:
    """What actors record in an `Except`, as its owner reads it when nobody else can any more.

    Invariant: nothing here leads to the `Except`, nor to an exception that was given to anybody:
    whoever raised that may be all that keeps a handle.
    """

    def __init__(self, exc: Except, store: LocalStore, name: str | None) -> None:
        self._store = store
        self._name = name or "an actor"
        self._since = store.read().caught
        self._pid = os.getpid()
        self._actors = 0
        self._readable = True
        """Whether somebody has the `Except`."""
        self._logged = bool(exc().options.log)
        finalizer = weakref.finalize(exc, self._except_gone)
        finalizer.atexit = False

    def actor_begins(self) -> None:
        """One more actor records there."""
        self._actors += 1

    def actor_ended(self) -> None:
        """One of them has ended, and records nothing more."""
        self._store.read()  # before it may be closed
        self._actors -= 1
        self._tell_if_last()

    def see_last(self, group: str) -> None:
        """The last failure of a group was told to somebody by other means."""
        entry = next(self._store.read().of(group, newest_first=True), None)
        if entry is not None:
            self._store.seen.add(entry.number)

    def _except_gone(self) -> None:
        self._readable = False
        self._tell_if_last()

    def _tell_if_last(self) -> None:
        if not self._readable and self._actors <= 0:
            self.tell()
            _witnesses.discard(self)

    def tell(self) -> None:
        """Tell what nobody has seen so far."""
        if self._logged or self._pid != os.getpid():
            return  # it was logged when it was caught
        for group, what in GROUPS.items():
            for entry in self._store.read().of(group):
                self._tell(entry, what)

    def _tell(self, entry: Entry, what: str) -> None:
        if entry.number >= self._since and entry.number not in self._store.seen:
            self._store.seen.add(entry.number)
            tell(f"{self._name}: {what}, and nobody has looked at that", entry.value.error)


def witness_of(exc: Except, name: str | None) -> Witness | None:
    """The witness of an `Except`; made for the first actor. `name` says whose records it has,
    where that is one actor alone. None: it is not one that an actor can record in."""
    expect_failures()
    witness = _by_except.get(exc)
    if witness is None:
        store = exc().store.another_reader()
        if store is None:
            return None
        witness = _by_except[exc] = Witness(exc, store, name)
        _witnesses.add(witness)
    return witness


def was_seen(exc: Except | LocalExcept) -> bool:
    """Whether somebody has looked at all that functions have recorded in their `exc_`."""
    store = exc().store
    recorded = [entry.number for entry in store.read().of(None)]
    return bool(recorded) and store.seen.issuperset(recorded)


# --- the end of the program, and forks -------------------------------------------------------

_unseen: weakref.WeakSet[Unseen] = weakref.WeakSet()
_witnesses: set[Witness] = set()
_by_except: weakref.WeakKeyDictionary[Except, Witness] = weakref.WeakKeyDictionary()
_jobs: list[Callable[[], object]] = []
_under_way: list[str] = []
"""What is being told, in whatever thread."""
_silent = False
_registered_in = -1


def before_telling(job: Callable[[], object]) -> None:
    """Have this done at the end of each process, before what nobody has seen is told."""
    _jobs.append(job)


def expect_failures() -> None:
    """There may be something to tell when this process ends."""
    global _registered_in
    if _registered_in != os.getpid():  # once in each process
        _registered_in = os.getpid()
        # After all actors and processes have ended: below 0 means that.
        mp_util.Finalize(None, _tell_all, exitpriority=-10)


def _tell_all() -> None:
    for job in _jobs:
        job()
    for unseen in list(_unseen):
        unseen.tell()
    for witness in list(_witnesses):
        witness.tell()
    _fall_silent()


def _fall_silent() -> None:
    """Let other threads finish what they are telling, and tell nothing more: the interpreter aborts
    where a thread still writes to `sys.stderr` while it ends. No lock, since what is told in a
    finalizer may come while its thread holds one of `logging`."""
    global _silent
    _silent = True
    deadline = time.monotonic() + LAST_SECONDS
    while _under_way and time.monotonic() < deadline:
        time.sleep(0.01)


def _forget() -> None:
    global _silent, _unseen, _witnesses, _by_except
    _silent = False
    leave_to_parent((_unseen, _witnesses, _by_except))
    _unseen, _witnesses, _by_except = weakref.WeakSet(), set(), weakref.WeakKeyDictionary()
    _under_way.clear()


os.register_at_fork(after_in_child=_forget)
