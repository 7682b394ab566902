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
from ._os.poller import nap
from ._pool_runs import Run
from ._pool_staff import FAILED_STARTS, Seat, Staff
from ._pool_tasks import Task
from ._pool_worker import Worker
from ._wire.task_board import MOST_ITEMS
from .errors import NotListeningError, describe

__all__ = ["Crew"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

LOOK_SECONDS: Final = 5e-3
"""How long a task may hold up others that were sent with it, before these are taken back."""


class Crew:
    """The workers, in their seats, and what they are to do.

    Args:
        spawn: starts one, and does not wait for it.
        has_objects: whether each has an object that a factory has made.
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
        has_objects: bool,
        has_boards: bool,
        task_timeout: float | None,
        max_tasks: int | None,
        patience: float | None,
    ) -> None:
        self.name = name
        self.has_objects = has_objects
        self._has_boards = has_boards
        self._task_timeout = task_timeout
        self.most_together = MOST_ITEMS if max_tasks is None else min(MOST_ITEMS, max_tasks)
        """How many items of a map may be sent together at most."""
        self._patience = patience
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._staff = Staff(name, size, spawn, has_boards, max_tasks, self._lock, self.pump_soon)
        self.seats = self._staff.seats
        self.queue: deque[Task] = deque()
        self._arrived: deque[Task] = deque()
        """Tasks that have come back, of which nobody has taken notice. Added to without a lock."""
        self._asked = False
        """Whether the I/O thread is to `pump`."""
        self._watching = False
        self._has_pinned = False
        self._full = False
        """Whether all workers had as much as they take, when that was last looked at."""
        self.closed = False

    @property
    def chunks(self) -> bool:
        """Whether several items may travel together: not where each has a limit of its own."""
        return self._has_boards and self._task_timeout is None

    def start(self) -> None:
        """Start all workers; raises as `Staff.start`."""
        self._staff.start()
        _end_with_program(self)

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

    def task(self, name: str) -> Task:
        """One that is to be submitted, of a function of this name."""
        return Task(self, name)

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
        if self._staff.broken is not None:
            raise self._error_of_broken()
        if self.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _error_of_broken(self) -> BaseException:
        cause = self._staff.broken
        assert cause is not None
        error = BrokenExecutor(
            f"{self.name} is broken: {FAILED_STARTS} workers in a row could not be started; the "
            f"last one failed with {describe(cause)}"
        )
        error.__cause__ = cause
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
            left = self._staff.left()
            self._take_in()
            # One whose last answer has just been taken in has nothing to lose any more.
            left += [one for one in self._staff.left() if not (one.in_hand or one in left)]
            if self.closed and not self._has_work():
                self._staff.close()
            self._staff.look(left)
            returned, self._staff.returned = self._staff.returned, []
            self.queue.extendleft(reversed(returned))
            if self._staff.broken is not None:
                self.closed = True
                self._fail_queued()
            self._hand_out()
            for worker in self._staff.workers():
                worker.connection.hurry()  # since nobody else may read what comes of it
            if self._is_done() and self.closed:
                self._staff.stop()
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
            if worker is not None and isinstance(task, Run) and task.left and task.wanted:
                worker.not_done(task)
                task.take_back()
                self.queue.appendleft(task)
        self._full = False

    def _fail_queued(self) -> None:
        for queue in (self.queue, *(seat.pinned for seat in self.seats)):
            while queue:
                task = queue.popleft()
                if task.take_on():
                    task.fail(self._error_of_broken())

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
            if self._task_timeout is not None:
                worker.limit(task, self._task_timeout)
            worker.send(task, cork=bool(self.queue))
        except Exception:  # its end was not noticed until now
            worker.gone = True
            task.take_back()
            self.queue.appendleft(task)
            self.pump_soon()
            return
        except BaseException:  # Ctrl-C: whether it was sent is not known, and who waits is told
            task.abandon()
            raise

    # --- tasks that hold up others -----------------------------------------------------------

    def _watch(self) -> None:
        """Look in a moment whether a worker that has several tasks in hand is busy with one."""
        if not self._watching and any(len(worker.in_hand) > 1 for worker in self._staff.workers()):
            self._watching = True
            reactor.call_at(time.monotonic() + LOOK_SECONDS, self._look)

    def _look(self) -> None:
        with self._lock:
            self._watching = False
            self._take_in()
            now = time.monotonic()
            for worker in self._staff.workers():
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
            for worker in self._staff.workers():
                worker.dismissed = True  # it is not free, although nothing is in hand any more
                while worker.in_hand:
                    worker.in_hand.popitem()[1].abandon()
            self._cancel_queued()
        self.pump()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all tasks are done, and all workers and helpers have ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._changed.wait_for(self._is_done, nap(timeout)):
                timeout = None if deadline is None else deadline - time.monotonic()
                if timeout is not None and timeout <= 0:
                    return False
        self._staff.join(deadline)
        return True

    def end_with_program(self) -> None:
        """Have the tasks done that there are, as far as `patience` goes."""
        self.close()
        if not self.wait(self._patience):
            self.close(cancel=True)
            self.give_up()

    def _is_done(self) -> bool:
        return not self._has_work() and not self._staff.burials


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
