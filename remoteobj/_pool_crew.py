"""The workers of a pool and the queue of its tasks: who gets what, and who follows whom.

::

    submit ──> queue ──hand_out──> workers ──answers──> take_in ──> room for the next
                 ^                    │
                 └── not begun ───────┴── died ──> what it had begun fails; its seat is filled again

Everything is decided in `pump`, under one lock: in the thread that submits, while a worker is free,
and else in the I/O thread. Nothing in there waits, and no code of a user's runs.

Nothing here leads to the `Pool`, which can so be collected while its tasks are at work.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from multiprocessing import util as mp_util
from typing import Any, Final

from ._handle import Handle
from ._os.fork_safety import leave_to_parent
from ._os.io_thread import reactor
from ._pool_tasks import Run, Task
from ._pool_worker import Worker
from .errors import NotListeningError, describe

__all__ = ["Crew"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

FAILED_STARTS: Final = 3
"""So many in a row break the pool."""
LOOK_SECONDS: Final = 5e-3
"""How long a task may hold up others that were sent with it, before these are taken back."""


class Seat:
    """The place of a worker, which others take after it."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.pinned: deque[Task] = deque()
        """The tasks that are for whoever sits here."""


class Crew:
    """The workers, in their seats, and what they are to do.

    Args:
        spawn: starts one, and does not wait for it.
        has_boards: whether each lives in a process, with which memory can be shared.
        task_timeout: seconds for a task, from its beginning.
        max_tasks: how many tasks a worker does.
        patience: how many seconds the end of the program waits for tasks; None: as long as it
            takes.
    """

    def __init__(
        self,
        name: str,
        size: int,
        spawn: Callable[[], Handle[Any]],
        *,
        has_boards: bool,
        task_timeout: float | None,
        max_tasks: int | None,
        patience: float | None,
    ) -> None:
        self.name = name
        self.has_boards = has_boards
        self._spawn = spawn
        self._task_timeout = task_timeout
        self._max_tasks = max_tasks
        self._patience = patience
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self.queue: deque[Task] = deque()
        self.seats = [Seat() for _ in range(size)]
        self._arrived: deque[Task] = deque()
        """Tasks that have come back, of which nobody has taken notice. Added to without a lock."""
        self._asked = False
        self._watching = False
        self._has_pinned = False
        self._full = False
        """Whether all workers had as much as they take, when that was last looked at."""
        self._failed_starts = 0
        self._burials = 0
        """Of how many workers that died the tasks are not settled yet."""
        self._helpers: set[threading.Thread] = set()
        self.closed = False
        self.broken: BaseException | None = None

    @property
    def chunks(self) -> bool:
        """Whether several items may travel together: not where each has a limit of its own."""
        return self.has_boards and self._task_timeout is None

    @property
    def max_tasks(self) -> int | None:
        """How many tasks a worker does."""
        return self._max_tasks

    def start(self) -> None:
        """Start all workers, side by side.

        Raises:
            Exception: one can't be started at all; none is left.
        """
        try:
            for seat in self.seats:
                seat.worker = self._new_worker()
        except BaseException:
            self.closed = True
            for worker in self.workers():
                worker.stop().join()
            raise
        _end_with_program(self)

    def workers(self) -> list[Worker]:
        """Those that there are."""
        return [seat.worker for seat in self.seats if seat.worker is not None]

    def _new_worker(self) -> Worker:
        handle = self._spawn()
        try:
            worker = Worker(handle, self.has_boards, self.pump_soon)
            worker.greet()
        except BaseException:
            handle.kill_()
            raise
        return worker

    # --- from tasks, from any thread --------------------------------------------------------

    def check_owner(self) -> None:
        """Refuse a forked copy of the process that has the pool.

        Raises:
            NotListeningError: this is one.
        """
        if os.getpid() != self._pid:
            raise NotListeningError(
                f"{self.name} belongs to the parent process; make a pool of this process's own"
            )

    @property
    def is_own(self) -> bool:
        """Whether this process has the pool, and is no forked copy."""
        return os.getpid() == self._pid

    def submit(self, *tasks: Task, seat: Seat | None = None) -> None:
        """Have tasks done.

        Raises:
            RuntimeError: the pool was shut down.
            BrokenExecutor: it is broken.
        """
        self.check_owner()
        with self._lock:
            self.check_open()
            queue = self.queue if seat is None else seat.pinned
            self._has_pinned = self._has_pinned or seat is not None
            queue.extend(tasks)  # before it looks who is free: `answered` does the reverse
            if self._arrived:
                self._take_in()
            if not self._full:
                self._hand_out()

    def check_open(self) -> None:
        """Refuse what comes too late.

        Raises:
            RuntimeError: the pool was shut down, or is broken.
        """
        if self.broken is not None:
            raise self._error_of_broken()
        if self.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _error_of_broken(self) -> BaseException:
        assert self.broken is not None
        error = BrokenExecutor(
            f"{self.name} is broken: {FAILED_STARTS} workers in a row could not be started; the "
            f"last one failed with {describe(self.broken)}"
        )
        error.__cause__ = self.broken
        return error

    @property
    def has_queued(self) -> bool:
        """Whether there are tasks that no worker is free for."""
        return bool(self.queue)

    def answered(self, task: Task) -> None:
        """The answer of a task is here. This is called within a read."""
        self._arrived.append(task)
        worker: Any = task.holder
        # In this order: `submit` does the reverse.
        if self.queue or self._has_pinned or self.closed or worker.retiring or task.wanted:
            self.pump_soon()

    def came_back(self, task: Task) -> None:
        """A task was sent, and is not answered: its worker has died. Within a read, too."""
        worker: Any = task.holder
        if worker is not None:
            worker.gone = True
        self.pump_soon()

    def pump_soon(self) -> None:
        """Have the I/O thread `pump`."""
        if not self._asked:
            self._asked = True
            reactor.call_soon(self.pump)

    # --- who gets what -------------------------------------------------------------------------

    def pump(self) -> None:
        """Take notice of what has changed, and give the workers what they are free for."""
        self._asked = False
        with self._lock:
            self._take_in()
            self._look_at_workers()
            self._hand_out()
            for worker in self.workers():
                worker.connection.hurry()  # since nobody else may read what comes of it
            self._end_if_done()
            self._changed.notify_all()

    def _take_in(self) -> None:
        """Take notice of the tasks that have come back."""
        arrived = self._arrived
        while arrived:
            task = arrived.popleft()
            worker: Any = task.holder
            if worker is not None and worker.in_hand.pop(task.number, None) is None:
                continue  # it was taken back
            if task.timer is not None:
                task.timer.cancel()
            if isinstance(task, Run) and task.left and task.wanted:
                task.take_back()
                self.queue.appendleft(task)
        self._full = False

    def _look_at_workers(self) -> None:
        """Replace those who have died, and those who have done as much as they may."""
        for seat in self.seats:
            worker = seat.worker
            if worker is None:
                continue
            if worker.gone:
                self._succeed(seat, worker)
            elif worker.retiring and not worker.in_hand:
                seat.worker = None
                self._help("retire", lambda worker=worker: worker.stop().join())
                self._refill(seat)
            elif worker.born and not worker.welcomed:
                worker.welcomed = True
                self._failed_starts = 0

    def _succeed(self, seat: Seat, worker: Worker) -> None:
        """A worker is no more: see to what it had, and have another one take its seat."""
        seat.worker = None
        lost, left = worker.leave()
        for task in left:
            task.take_back()
        self.queue.extendleft(reversed(left))
        self._burials += 1
        self._help("bury", lambda: self._bury(worker, lost))
        if worker.born:
            self._refill(seat)
        else:
            self._help("failed", lambda: self._failed_start(seat, worker.why_not_born()))

    def _bury(self, worker: Worker, lost: list[Task]) -> None:
        worker.bury(lost)
        with self._lock:
            again = [task for task in lost if isinstance(task, Run) and task.left]
            for task in again:
                task.take_back()
            self.queue.extendleft(reversed(again))
            self._burials -= 1
        self.pump_soon()
        worker.stop().join()

    def _refill(self, seat: Seat) -> None:
        """Have a new worker take a seat."""
        if self.broken is None and not (self.closed and not self._has_work()):
            self._help("start", lambda: self._fill(seat))

    def _fill(self, seat: Seat) -> None:
        try:
            worker = self._new_worker()
        except Exception as exc:
            self._failed_start(seat, exc)
            return
        with self._lock:
            seat.worker = worker
        self.pump_soon()

    def _failed_start(self, seat: Seat, error: BaseException) -> None:
        with self._lock:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS and self.broken is None:
                self.broken = error
                self.closed = True
                self._fail_queued(self._error_of_broken)
            else:
                self._refill(seat)
        self.pump_soon()

    def _fail_queued(self, error: Callable[[], BaseException]) -> None:
        queues = [self.queue, *(seat.pinned for seat in self.seats)]
        for queue in queues:
            while queue:
                task = queue.popleft()
                if task.take_on():
                    task.fail(error())

    def _help(self, what: str, job: Callable[[], object]) -> None:
        """Do something that may take a while, in a thread of its own."""

        def help_and_leave() -> None:
            try:
                job()
            finally:
                with self._lock:
                    self._helpers.discard(threading.current_thread())
                self.pump_soon()

        name = f"remoteobj-pool-{what}-{self.name}"
        with self._lock:  # so that it is not done before it is noted
            helper = threading.Thread(target=help_and_leave, name=name, daemon=True)
            helper.start()
            self._helpers.add(helper)

    def _hand_out(self) -> None:
        """Give each worker what it has room for: first one task to those that have none."""
        workers = []
        for seat in self.seats:
            worker = seat.worker
            if worker is not None and worker.usable:
                workers.append(worker)
                if not worker.in_hand:
                    self._give(seat, 1)
        if self.queue or self._has_pinned:
            # A time limit counts from the moment in which a task is sent, so it is begun then.
            for seat in self.seats if self._task_timeout is None else ():
                self._give(seat, 0 if seat.worker is None else seat.worker.room())
            self._full = bool(self.queue)
            self._has_pinned = any(seat.pinned for seat in self.seats)
            self._watch()
        for worker in workers:
            worker.flush()

    def _give(self, seat: Seat, room: int) -> None:
        worker = seat.worker
        while room > 0 and worker is not None and worker.usable:
            room -= 1
            if (task := self._next(seat)) is None:
                return
            self._send(worker, task)

    def _next(self, seat: Seat) -> Task | None:
        """The next task for this seat."""
        for queue in (seat.pinned, self.queue):
            while queue:
                task = queue.popleft()
                if task.take_on():
                    return task
        return None

    def _send(self, worker: Worker, task: Task) -> None:
        try:
            worker.send(task, cork=bool(self.queue))
        except Exception:  # its end was not noticed until now
            worker.gone = True
            task.take_back()
            self.queue.appendleft(task)
            self.pump_soon()
            return
        except BaseException as exc:  # Ctrl-C: whether it was sent is not known
            task.fail(exc)
            raise
        if self._max_tasks is not None and worker.sent >= self._max_tasks:
            worker.retiring = True
        if self._task_timeout is not None:
            worker.limit(task, self._task_timeout)

    # --- tasks that hold up others -----------------------------------------------------------

    def _watch(self) -> None:
        """Look in a moment whether a worker that has several tasks in hand is busy with one."""
        if not self._watching and any(len(worker.in_hand) > 1 for worker in self.workers()):
            self._watching = True
            reactor.call_at(time.monotonic() + LOOK_SECONDS, self._look)

    def _look(self) -> None:
        with self._lock:
            self._watching = False
            self._take_in()
            now = time.monotonic()
            for worker in self.workers():
                if worker.usable and worker.stuck_since(now) > LOOK_SECONDS:
                    self.queue.extendleft(reversed(worker.withdraw()))
            self._watch()
        self.pump()

    # --- the end -----------------------------------------------------------------------------

    def _has_work(self) -> bool:
        """Whether something is queued or in hand."""
        return bool(self.queue) or any(
            seat.pinned or (seat.worker is not None and seat.worker.in_hand) for seat in self.seats
        )

    def _end_if_done(self) -> None:
        if self.closed and not self._has_work() and not self._burials:
            for worker in self.workers():
                worker.stop()

    def close(self, cancel: bool = False) -> None:
        """Take no more tasks; `cancel` those that are queued. The workers end after the last."""
        with self._lock:
            self.closed = True
            if cancel:
                self._cancel_queued()
        self.pump()

    def _cancel_queued(self) -> None:
        for queue in (self.queue, *(seat.pinned for seat in self.seats)):
            while queue:
                task = queue.popleft()
                if not task.cancel():  # it had been sent before
                    task.abandon()

    def close_in_background(self) -> None:
        """The same, in a finalizer: what a thread holds at that moment is not to be waited for."""
        name = f"remoteobj-close-{self.name}"
        threading.Thread(target=self.close, name=name, daemon=True).start()

    def give_up(self) -> None:
        """Nobody waits for what is at work: it is interrupted when its worker stops."""
        with self._lock:
            for worker in self.workers():
                while worker.in_hand:
                    worker.in_hand.popitem()[1].abandon()
        self.pump()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all tasks are done, and all workers and helpers have ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            if not self._changed.wait_for(self._is_done, timeout):
                return False
        for worker in self.workers():
            worker.stop().join(_left(deadline))
        with self._lock:
            helpers = list(self._helpers)
        for helper in helpers:
            helper.join(_left(deadline))
        return True

    def end_with_program(self) -> None:
        """Have the tasks done that there are, as far as `patience` goes."""
        self.close()
        if not self.wait(self._patience):
            self.close(cancel=True)
            self.give_up()

    def _is_done(self) -> bool:
        return not self._has_work() and not self._burials


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


# --- the end of the program --------------------------------------------------------------------

_crews: weakref.WeakSet[Crew] = weakref.WeakSet()
_registered_in = -1


def _end_with_program(crew: Crew) -> None:
    global _registered_in
    if _registered_in != os.getpid():  # once in each process
        _registered_in = os.getpid()
        # Before the actors are stopped, which have a lower priority.
        mp_util.Finalize(None, _end_all, exitpriority=110)
    _crews.add(crew)


def _end_all() -> None:
    for crew in list(_crews):
        crew.end_with_program()


def _forget() -> None:
    global _crews
    leave_to_parent(_crews)
    _crews = weakref.WeakSet()


os.register_at_fork(after_in_child=_forget)
