"""The results of a map over a pool: read ahead so far and no farther, in order or as they come.

The items are read in the thread that asks for results, as `map` of Python does. They are sent in
runs, so long that each takes about `RUN_SECONDS`, as far as it is known how long an item takes; a
run of items that take longer has one.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import CancelledError
from contextlib import suppress
from itertools import chain, islice
from typing import Any, Final, Protocol, TypeVar

from ._pickling.codec import dumps
from ._pickling.out_of_band import all_plain
from ._pool_crew import Crew
from ._pool_functions import Function
from ._pool_tasks import Parcel, Run, Task, outcome_of_entry
from ._wire.task_board import MOST_ITEMS
from .errors import UnsendableError

__all__ = ["AsTheyCome", "Bar", "Flow", "InOrder", "Results", "Source"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

R = TypeVar("R")

RUN_SECONDS: Final = 2e-3
"""How long a run should take: so long that what it costs to send it is little."""
PARCEL_BYTES: Final = 1 << 18
"""Of a run whose items are no plain values; beyond, it ends."""
FASTER: Final = 32
"""How many times as long as the last run the next may be."""
AHEAD: Final = 3
"""Runs for each worker that may be read ahead."""


class Source:
    """Makes runs of the items of a map, and has the pool work at some of them ahead.

    Args:
        crew: of the pool.
        single: makes a task of the arguments of one call.
        func: makes of the function what is sent.
        iterables: its arguments.
        length: of a run, if that is chosen; None: as their time tells.
        most: items that may be read and not yet asked for; None: some runs for each worker.
    """

    def __init__(
        self,
        crew: Crew,
        single: Callable[[tuple[Any, ...]], Task],
        func: Callable[[], Function],
        iterables: tuple[Iterable[Any], ...],
        length: int | None,
        most: int | None,
    ) -> None:
        self.crew = crew
        self._single = single
        self._func = func() if crew.chunks else None
        self._iterators = [iter(one) for one in iterables]
        self._rest = _rest_of(iterables)
        self._length = length
        self._size = min(length or 1, MOST_ITEMS)  # of the first one, to see what the items are
        self._most = most
        self.ahead = 0
        """Items that were read, and whose outcomes nobody has asked for."""
        self.under_way = 0
        """Runs of which that is so."""
        self.ended = False
        """Whether all items were read."""
        self.error: BaseException | None = None
        """What reading them has raised."""
        self.length = self._rest
        """How many items there are; None: that is not known, and they may have no end."""

    def runs(self, all_of_them: bool = False) -> Iterator[Task]:
        """The next runs, as far as may be read ahead; they have been submitted."""
        while not self.ended and (all_of_them or self._may_read()):
            columns = self._read(self._next_size())
            if columns is None:
                return
            tasks = self._tasks(columns)
            self.ahead += len(columns[0])
            self.under_way += len(tasks)
            self.crew.submit(*(task for task in tasks if task.wanted))
            yield from tasks

    def taken(self, task: Task) -> None:
        """Somebody has asked for the outcomes of this run, which tells how long others may be."""
        self.ahead -= task.items
        self.under_way -= 1
        if self._length is None and isinstance(task, Run) and task.seconds > 0:
            assert self._func is not None
            pace = task.seconds / task.items
            size = min(_size_at(pace), task.items * FASTER)
            # What a short run takes is mostly its own beginning and end: it shortens none.
            if size > self._size or task.seconds > 2 * RUN_SECONDS:
                self._size, self._func.pace = size, pace

    def _may_read(self) -> bool:
        if self._most is not None:
            return self.ahead < self._most
        return self.under_way < AHEAD * len(self.crew.seats)

    def _next_size(self) -> int:
        size = self._size if self._most is None else min(self._size, self._most - self.ahead)
        if self._rest is not None and self._length is None:
            # At the end the workers are to be done at the same time.
            share = self._rest // (2 * len(self.crew.seats)) + 1
            size = min(size, max(share, size // 4))
        return max(1, size)

    def _read(self, size: int) -> list[list[Any]] | None:
        """So many items, as columns of arguments; None: there are no more."""
        one = len(self._iterators) == 1
        read: list[Any] = []
        try:
            read += islice(self._iterators[0] if one else zip(*self._iterators, strict=False), size)
        except BaseException as exc:  # what was read before is done all the same
            self.ended, self.error = True, exc
        if not read:
            self.ended = True
            return None
        if self._rest is not None:
            self._rest -= len(read)
        return [read] if one else list(map(list, zip(*read, strict=True)))

    def _tasks(self, columns: list[list[Any]]) -> list[Task]:
        if self._func is None:
            return [self._single(args) for args in zip(*columns, strict=True)]
        if all(all_plain(map(type, column)) for column in columns):
            if self._length is None and self._func.pace:
                self._size = max(self._size, _size_at(self._func.pace))
            return [Run(self.crew, self._func, len(columns[0]), columns=columns)]
        return self._runs_of_parcels(self._func, list(zip(*columns, strict=True)))

    def _runs_of_parcels(self, func: Function, calls: list[tuple[Any, ...]]) -> list[Task]:
        """Runs of items that are pickled one by one, each of so many bytes at most."""
        tasks: list[Task] = []
        parcels: list[Parcel] = []
        size = 0
        for args in calls:
            try:
                parcel = dumps(args, "the arguments")
            except UnsendableError as exc:
                failed = Task(self.crew, func.what)
                failed.take_on()
                failed.fail(exc, told=False)
                parcels, tasks = [], [*tasks, *self._run_of(func, parcels), failed]
                continue
            size += len(parcel[0]) + sum(buffer.nbytes for buffer in parcel[1])
            parcels.append(parcel)
            if size > PARCEL_BYTES:
                parcels, size, tasks = [], 0, [*tasks, *self._run_of(func, parcels)]
        # What there may be of these is seen from one run to the next.
        self._size = min(self._size, max(1, len(calls) // (len(tasks) + 1)))
        return [*tasks, *self._run_of(func, parcels)]

    def _run_of(self, func: Function, parcels: list[Parcel]) -> list[Task]:
        return [Run(self.crew, func, len(parcels), parcels=parcels)] if parcels else []


def _size_at(pace: float) -> int:
    """How many items are a run, if each takes so many seconds."""
    return max(1, min(MOST_ITEMS, int(RUN_SECONDS / pace)))


def _rest_of(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """How many items there are, if all the iterables know; an estimate is none."""
    if all(isinstance(one, Sized) for one in iterables):
        return min(len(one) for one in iterables if isinstance(one, Sized))
    return None


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
    """The runs in the order in which they are done."""

    def __init__(self) -> None:
        self._done: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._tasks: set[Task] = set()

    def add(self, task: Task) -> None:
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._done.put(task))

    def take(self, timeout: float | None) -> Task:
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
    """The results of a map, as whoever asks for them shares them.

    When nobody can ask any more, what has not begun is cancelled.
    """

    def __init__(self, source: Source, line: Line, timeout: float | None, bar: Bar | None) -> None:
        self.source = source
        self.failed = False
        """Whether `lists` has ended with an error, and there may be more."""
        self._line = line
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._bar = bar
        self._reading = threading.Lock()
        self._entries: Iterator[Any] = iter(())
        """Those of the last run that were not given out yet."""

    def read(self, all_of_them: bool = False) -> None:
        """Read ahead."""
        with self._reading:
            for task in self.source.runs(all_of_them):
                self._line.add(task)

    def lists(self) -> Iterator[list[Any]]:
        """The results, some at a time. After an error this can be called again, for the rest."""
        try:
            while (values := self._next()) is not None:
                yield values
        except BaseException:
            self.failed = True
            raise

    def _next(self) -> list[Any] | None:
        for entry in self._entries:
            return self._given([outcome_of_entry(entry) if type(entry) is tuple else entry])
        self.read()
        if not self._line:
            self._end()
            return None
        task = self._taken()
        self.read()  # before the results are used, so that the workers go on meanwhile
        if not isinstance(task, Run):
            return self._given([task.result()])
        outcomes: list[Any] = task.result()
        if not task.has_entries:
            return self._given(outcomes)
        self._entries = iter(outcomes)
        return self._next()

    def _taken(self) -> Task:
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        try:
            task = self._line.take(left)
        except TimeoutError:
            raise TimeoutError(
                f"not all results were there {self._timeout} s after the call of map"
            ) from None
        self.source.taken(task)
        return task

    def _given(self, values: list[Any]) -> list[Any]:
        if self._bar is not None:
            self._bar.update(len(values))
        return values

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
    there: `next` goes on with it, and so does another loop.
    """

    def __init__(self, flow: Flow, keep: object) -> None:
        self._flow = flow
        self._keep = keep
        """The pool, which lives for as long as somebody may ask for results."""
        self._values: Iterator[R] = chain.from_iterable(flow.lists())

    def __iter__(self) -> Iterator[R]:
        if self._flow.failed:
            self._flow.failed = False
            self._values = chain.from_iterable(self._flow.lists())
        return self._values

    def __next__(self) -> R:
        return next(iter(self))
