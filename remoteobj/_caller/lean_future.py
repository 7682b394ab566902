"""A `concurrent.futures.Future` that is made and settled in a third of the time, as most are.

One of the standard library has a lock, on which threads wait, and lists of those who are to be
told. Most futures of calls need neither: their outcome is stored before anybody asks for more than
that. So these parts are made once something reads one of them: a method of `Future`,
`concurrent.futures.wait` or whatever else knows how futures are built.

Invariants:

- Who makes them, and who settles a future without them, holds `settler.parts_lock`. So whatever
  makes them finds the outcome that is there; or they are there before it is, and then `Future`'s
  own methods store it, which tell everyone.
- A read waits for none of these locks. Where a future has its parts, a thread may hold them while
  the garbage collector runs a finalizer, which may call the very actor that is read from.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from concurrent.futures._base import (
    CANCELLED,
    CANCELLED_AND_NOTIFIED,
    FINISHED,
    PENDING,
    RUNNING,
)
from typing import Any, Final

from .settling import settler

__all__ = ["LeanFuture"]

_DONE: Final = frozenset((CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED))


class _Part:
    """An attribute of `Future` that is made with its likes when one of them is first read."""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    def __get__(self, future: LeanFuture | None, cls: type[Any]) -> Any:
        if future is None:
            return self
        future._make_parts()
        return vars(future)[self._name]


class LeanFuture(Future[Any]):
    """A future whose lock and lists are made when they are needed."""

    _has_parts = False
    _condition: Any = _Part()
    _waiters: Any = _Part()
    _done_callbacks: Any = _Part()
    # What `Future` sets in each, and what is the same in all that have no outcome.
    _state: str = PENDING
    _result: Any = None
    _exception: BaseException | None = None

    def __init__(self) -> None:
        """Unlike that of `Future`, it has nothing to do; so a derived class may do without."""

    def _make_parts(self) -> None:
        # Before the lock: to make objects may run finalizers.
        made: tuple[Any, Any, Any] = threading.Condition(), [], []
        own = vars(self)
        with settler.parts_lock:
            if "_condition" not in own:
                self._has_parts = True
                self._condition, self._waiters, self._done_callbacks = made

    def settle_alone(self, value: Any, error: BaseException | None, wait: bool = True) -> bool:
        """Give it its outcome, unless it has one, or its parts, by which others may wait for it.

        Calls nobody's code. `wait`: whether it waits for its turn; within a read it must not.
        """
        lock = settler.parts_lock
        try:
            if not lock.acquire(wait):
                return False
            before = self._state
            if self._has_parts or before in _DONE:
                return False
            self._result, self._exception = value, error
            self._state = FINISHED
            if self._has_parts:  # since just now: by a signal handler on top of this
                self._state = before
                return False
            return True
        finally:
            if lock._is_owned():  # else Ctrl-C came first
                lock.release()

    def set_running_or_notify_cancel(self) -> bool:
        """It begins, and can't be cancelled any more; False if it was."""
        with settler.parts_lock:
            if not self._has_parts and self._state is PENDING:
                self._state = RUNNING
                return True
        return super().set_running_or_notify_cancel()

    def done(self) -> bool:
        """Whether it has its outcome, or was cancelled."""
        return self._state in _DONE

    def __reduce__(self) -> Any:
        # One of the standard library can't be pickled because of its lock.
        raise TypeError("a future stays in its process; send its result")
