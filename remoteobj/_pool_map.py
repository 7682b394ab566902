"""The results of a map over a pool: in order or as they come, for any number of loops and threads.

::

    items ──`Source`──> runs that were submitted ──`Line`──> one that is done ──> its results
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from itertools import chain
from typing import Any, TypeVar

from ._fast_typing import Protocol
from ._pool_source import Source
from ._pool_tasks import Task

__all__ = ["AsTheyCome", "Bar", "Flow", "InOrder", "Results"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

R = TypeVar("R")

# --- whose turn it is ------------------------------------------------------------------------


class Line(Protocol):
    """The runs that were read, and what of them is next."""

    def add(self, task: Task) -> None: ...

    def take(self, timeout: float | None) -> Task:
        """The next one that is done, waiting so long for it.

        Raises:
            TimeoutError: it is not done by then.
        """
        ...

    def __len__(self) -> int: ...

    def cancel(self) -> None:
        """Cancel what has not begun."""


class InOrder:
    """The runs in the order of their items."""

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()

    def add(self, task: Task) -> None:
        self._tasks.append(task)

    def take(self, timeout: float | None) -> Task:
        task = self._tasks[0]
        with suppress(CancelledError):
            task.exception(timeout)
        return self._tasks.popleft()

    def __len__(self) -> int:
        return len(self._tasks)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()


class AsTheyCome:
    """The runs in the order in which they are done.

    Args:
        check_owner: refuses to wait in a fork, where none will be done.
    """

    def __init__(self, check_owner: Callable[[], object]) -> None:
        self._check_owner = check_owner
        self._done: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._tasks: set[Task] = set()

    def add(self, task: Task) -> None:
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._done.put(task))

    def take(self, timeout: float | None) -> Task:
        if self._done.empty():
            self._check_owner()
        try:
            task = self._done.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        self._tasks.discard(task)
        return task

    def __len__(self) -> int:
        return len(self._tasks)

    def cancel(self) -> None:
        for task in list(self._tasks):
            task.cancel()


# --- what comes of it ------------------------------------------------------------------------


class Bar(Protocol):
    """Shows how far it is."""

    def update(self, n: int) -> object: ...

    def close(self) -> object: ...


class Flow:
    """The results of a map, as whoever asks for them shares them: each is given once.

    When nobody can ask any more, what has not begun is cancelled.
    """

    def __init__(self, source: Source, line: Line, timeout: float | None, bar: Bar | None) -> None:
        self.source = source
        self.values: Iterator[Any] = iter(())
        """Those that are next, as far as they are here. To take one is one step, also where
        another thread does so at the same time."""
        self._line = line
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._bar = bar
        # Two locks, and each may be taken again by an input that asks for results.
        self._reading = threading.RLock()
        self._advancing = threading.RLock()
        self._outcomes: Iterator[Any] = iter(())
        """Those that are next after `values`, of a run with errors: they raise these."""

    def read(self, all_of_them: bool = False) -> None:
        """Read ahead."""
        with self._reading:
            for task in self.source.runs(all_of_them):
                self._line.add(task)

    def batches(self) -> Iterator[Iterator[Any]]:
        """The results, some at a time, for one loop; an error ends it, and others go on."""
        values = self.values
        while True:
            yield values
            with self._advancing:
                if values is self.values and not self._advance():  # else another one has done so
                    return
                values = self.values

    def _advance(self) -> bool:
        """Have the next `values`, which may be none yet; False: there are no more."""
        for value in self._outcomes:
            self._have([value])
            return True
        self.read()
        if not self._line:
            self._end()
            return False
        task = self._taken()
        results = task.results()
        if isinstance(results, list):
            self._have(results)
        else:
            self._outcomes = results
        self.read()  # before the results are used, so that the workers go on meanwhile
        return True

    def _taken(self) -> Task:
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        try:
            task = self._line.take(left)
        except TimeoutError:
            raise TimeoutError(
                f"not all results were there {self._timeout} s after the call of map"
            ) from None
        with self._reading:
            self.source.taken(task)
        return task

    def _have(self, values: list[Any]) -> None:
        self.values = iter(values)
        if self._bar is not None:
            self._bar.update(len(values))

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.close()
        error, self.source.error = self.source.error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # it leads to this frame

    def __del__(self) -> None:
        self._line.cancel()


class Results(Iterator[R]):
    """The results of `Pool.map`, as an iterator.

    If a call failed, its error is raised in place of its result. What comes after that is still
    there: `next` goes on with it, and so does another loop. Several threads may ask.
    """

    def __init__(self, flow: Flow, keep: object) -> None:
        self._flow = flow
        self._keep = keep
        """The pool, which lives for as long as somebody may ask for results."""

    def __iter__(self) -> Iterator[R]:
        return chain.from_iterable(self._flow.batches())

    def __next__(self) -> R:
        for value in self._flow.values:
            return value  # type: ignore[no-any-return]
        return next(iter(self))
