"""What a row of records adds up to, for several threads, signal handlers and forked children."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from .._os.fork_safety import fork_generation

__all__ = ["Projection"]

S = TypeVar("S")


class Projection(Generic[S]):
    """What a row of records adds up to: a state, and the one safe way to a newer one.

    >>> total = Projection(0)
    >>> total.advance(lambda state: state + 2)
    2
    >>> total.state
    2
    """

    def __init__(self, state: S) -> None:
        self.state = state
        self._locks: dict[int, Any] = {}
        """By fork generation: the thread that held one when this process was forked is not here.
        Made when it is needed, so that a fork need not touch all that there are."""

    @property
    def _lock(self) -> Any:
        # Reentrant: a signal handler may come here while its own thread holds it. And `setdefault`
        # is one step, so that two threads get the same one.
        generation = fork_generation[0]
        return self._locks.get(generation) or self._locks.setdefault(generation, threading.RLock())

    def advance(self, step: Callable[[S], S]) -> S:
        """Replace the state by `step(state)`; `step` may run again, and must change nothing else.

        The state changes in one assignment: a Ctrl-C half-way loses and doubles nothing.
        """
        with self._lock:
            while True:
                before = self.state
                after = step(before)
                # If not, a signal handler has been here, and its state is the newer one.
                if self.state is before:
                    self.state = after
                    return after
