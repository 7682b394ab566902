"""Who works in a pool: the seats, the workers that sit there, and who follows whom.

::

    _fill ──> born ──> works ──┬── has died ──────────> what it had begun fails ──┐
                ^              └── has done its tasks ─> is stopped in order ─────┤
                └─────────────── another one takes its seat <─────────────────────┘

What takes its time (to start a process, to learn how one has died, to stop one) is done in threads
of its own, the helpers.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ._handle import Handle
from ._os.thread_group import ThreadGroup
from ._pool_runs import Run
from ._pool_tasks import Task
from ._pool_worker import Worker

__all__ = ["FAILED_STARTS", "Seat", "Staff"]

FAILED_STARTS: Final = 3
"""So many in a row break the pool."""


class Seat:
    """The place of a worker, which others take after it."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.pinned: deque[Task] = deque()
        """The tasks that are for whoever sits here."""


class Staff:
    """The workers of a pool, in their seats.

    Args:
        name: of the pool.
        size: how many seats there are.
        spawn: starts a worker, and does not wait for it.
        has_boards: whether each lives in a process, with which memory can be shared.
        max_tasks: how many tasks a worker does.
        lock: held by whoever calls this, and by its own threads.
        changed: called from any thread when there is something to look at.
    """

    def __init__(
        self,
        name: str,
        size: int,
        spawn: Callable[[], Handle[Any]],
        has_boards: bool,
        max_tasks: int | None,
        lock: threading.RLock,
        changed: Callable[[], object],
    ) -> None:
        self.name = name
        self.seats = [Seat() for _ in range(size)]
        self.returned: list[Task] = []
        """Tasks that were not done, since their worker has died, and are to be sent again."""
        self.burials = 0
        """Of how many workers that died the tasks are not settled yet."""
        self.broken: BaseException | None = None
        """Why the last of several could not be started."""
        self._spawn = spawn
        self._has_boards = has_boards
        self._max_tasks = max_tasks
        self._lock = lock
        self._changed = changed
        self._failed_starts = 0
        self._helpers = ThreadGroup()
        self._open = True

    def workers(self) -> list[Worker]:
        """Those that there are."""
        return [seat.worker for seat in self.seats if seat.worker is not None]

    # --- the beginning -----------------------------------------------------------------------

    def start(self) -> None:
        """Start all workers, side by side.

        Raises:
            Exception: one can't be started at all; none is left.
        """
        try:
            for seat in self.seats:
                seat.worker = self._new_worker()
        except BaseException:
            self.close()
            for worker in self.workers():
                worker.stop().join()
            raise
        self._changed()  # one may have died before it had its seat, where it is looked for

    def _new_worker(self) -> Worker:
        handle = self._spawn()
        try:
            worker = Worker(handle, self._has_boards, self._max_tasks, self._lock, self._changed)
            worker.greet()
        except BaseException:
            handle.kill_()
            raise
        return worker

    def _refill(self, seat: Seat) -> None:
        """Have a new worker take a seat."""
        if self._open and self.broken is None:
            self._help("start", lambda: self._fill(seat))

    def _fill(self, seat: Seat) -> None:
        try:
            worker = self._new_worker()
        except Exception as exc:
            self._failed_start(seat, exc)
            return
        with self._lock:
            seat.worker = worker

    def _failed_start(self, seat: Seat, error: BaseException) -> None:
        with self._lock:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS and self.broken is None:
                self.broken = error
            else:
                self._refill(seat)

    # --- looking at them ---------------------------------------------------------------------

    def left(self) -> list[Worker]:
        """Those that are no more. Their last answers were read before: see to these first."""
        return [worker for worker in self.workers() if worker.has_left]

    def look(self, left: list[Worker]) -> None:
        """Replace those who have left, and those who have done as much as they may."""
        for seat in self.seats:
            worker = seat.worker
            if worker is None:
                continue
            if worker in left:
                self._succeed(seat, worker)
            elif worker.retiring and not worker.in_hand:
                seat.worker = None
                self._help("retire", worker.stop().join)
                self._refill(seat)
            elif worker.born and not worker.welcomed:
                worker.welcomed = True
                self._failed_starts = 0

    def _succeed(self, seat: Seat, worker: Worker) -> None:
        """A worker is no more: see to what it had, and have another one take its seat."""
        seat.worker = None
        lost, left = worker.leave()
        self._return(left)
        self.burials += 1
        self._help("bury", lambda: self._bury(worker, lost))
        if worker.born:
            self._refill(seat)
        else:
            self._help("failed", lambda: self._failed_start(seat, worker.why_not_born()))

    def _return(self, tasks: list[Task]) -> None:
        """Have those of them sent again that have no outcome."""
        wanted = [task for task in tasks if task.wanted]
        for task in wanted:
            task.take_back()
        self.returned += wanted

    def _bury(self, worker: Worker, lost: list[Task]) -> None:
        worker.bury(lost)
        with self._lock:
            self._return([task for task in lost if isinstance(task, Run) and task.left])
            self.burials -= 1
        self._changed()
        worker.stop().join()

    def _help(self, what: str, job: Callable[[], object]) -> None:
        """Do something that may take a while, in a thread of its own."""

        def help_and_tell() -> None:
            try:
                job()
            finally:
                self._changed()

        self._helpers.begin(f"remoteobj-pool-{what}-{self.name}", help_and_tell)

    # --- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """Start no more workers."""
        self._open = False

    def stop(self) -> None:
        """Have all workers stop, without waiting for that."""
        self.close()
        for worker in self.workers():
            worker.stop()

    def join(self, deadline: float | None) -> None:
        """Wait until all have stopped, also those that were just being started, and all helpers
        have ended."""
        joined: set[threading.Thread] = set()
        while True:
            with self._lock:
                self.stop()
                stopping = {worker.stop() for worker in self.workers()}
                threads = (stopping | self._helpers.others) - joined
            if not threads:
                return
            for thread in threads:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                thread.join(left)
            joined |= threads
