"""Where the items of a map come from: read as far ahead as is wanted, and sent in runs.

The items are read in the thread that asks for results, as `map` of Python does. A run is so long
that it takes about `RUN_SECONDS`, as far as it is known how long an item takes; a run of items that
take longer has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import islice
from typing import Any, Final

from ._pickling.codec import dumps
from ._pickling.out_of_band import all_plain
from ._pool_crew import Crew
from ._pool_functions import Function
from ._pool_runs import Parcel, Run
from ._pool_tasks import Task
from ._wire.task_board import MOST_ITEMS
from .errors import UnsendableError

__all__ = ["Source"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

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
        self._is_one = len(iterables) == 1
        items = iterables[0] if self._is_one else zip(*iterables, strict=False)
        self._items: Iterator[Any] = iter(items)
        self._read: list[Any] = []
        """Items of which no run was made yet."""
        self._rest = _rest_of(iterables)
        self._length = length
        self._size = length or 1  # of the first one, to see what the items are
        self._most = most
        self.ahead = 0
        """Items that were read, and whose outcomes nobody has asked for."""
        self.under_way = 0
        """Runs of which that is so."""
        self.ended = False
        """Whether all items were read."""
        self.error: BaseException | None = None
        """What has raised when they were read, or sent; whose turn it is after what was sent."""
        self.length = self._rest
        """How many items there are; None: that is not known, and they may have no end."""

    def runs(self, all_of_them: bool = False) -> Iterator[Task]:
        """The next runs, as far as may be read ahead; they have been submitted.

        Raises:
            BaseException: Ctrl-C, say: nothing is lost by that which was read before.
        """
        while (self._read or not self.ended) and (all_of_them or self._may_read()):
            try:
                tasks = self._next_runs()
            except Exception as exc:  # what was submitted before is done all the same
                self._read, self.ended, self.error = [], True, exc
                return
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
        return max(1, min(size, self.crew.most_together))

    def _next_runs(self) -> list[Task]:
        """The next items, as runs, which have been submitted; none: there are no more."""
        if self._rest != 0:  # else that may be the end
            self.crew.check_open()  # before anything is read in vain
        if not self.ended:
            self._read_up_to(self._next_size())
        read = self._read
        if not read:
            return []
        tasks = self._tasks([read] if self._is_one else list(map(list, zip(*read, strict=True))))
        self._read = []
        self.crew.submit(*(task for task in tasks if task.wanted))
        self.ahead += len(read)
        self.under_way += len(tasks)
        if self._rest is not None:
            self._rest -= len(read)
        return tasks

    def _read_up_to(self, size: int) -> None:
        """Read so many items, and take note if there are no more."""
        read = self._read
        try:
            read += islice(self._items, max(0, size - len(read)))
        except Exception as exc:  # what was read before is sent all the same
            self.ended, self.error = True, exc
        self.ended = self.ended or not read

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
