"""One worker of a pool, as the pool sees it: from its start to its end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ._actor.pool_work import greet
from ._caller.call_options import FUTURES
from ._caller.endpoint import encode
from ._catching.unseen import tell
from ._handle import Handle
from ._os.io_thread import reactor
from ._pool_runs import Run
from ._pool_tasks import Task
from ._protocol.calls import PendingCall
from ._proxy import Proxy, proxy_of, ref_of
from ._wire.task_board import TaskBoard
from .errors import ActorDiedError

__all__ = ["Worker"]

AHEAD_SECONDS: Final = 0.5e-3
"""So long is what a worker has in hand to take, so that it need not wait for the next."""
SHORT: Final = 5e-3
"""Seconds that tasks take for which that pays at all."""
MOST_AHEAD: Final = 32
"""Tasks that may be in hand at once."""
GRACE_SECONDS: Final = 1.0
"""How long a task has to end that was interrupted, since its time was up."""


class Worker:
    """A worker, and the tasks that it has in hand.

    Args:
        handle: of the actor, which is being started.
        has_board: whether it shares memory with the pool.
        most: how many tasks it may do; None: as many as there are.
        lock: held by whoever calls this, and by its own threads.
        changed: called from any thread when something is to be done: the worker was born, or is no
            more.
    """

    what = "greet"
    """What its first word is, for those who observe calls."""
    function_key = 0
    """Of the function of the last run that was sent to it."""
    born = False
    gone = False
    """It was never born, or its connection has ended, after all its answers were read."""
    dead = False
    """Its process has ended. There may be answers that were not read."""
    dismissed = False
    """It gets no more tasks, whatever it may do."""
    welcomed = False
    """Mark: the pool has taken notice that it was born."""

    def __init__(
        self,
        handle: Handle[Any],
        has_board: bool,
        most: int | None,
        lock: threading.RLock,
        changed: Callable[[], object],
    ) -> None:
        self.handle = handle
        ref = ref_of(handle)
        self.endpoint = ref.endpoint
        self.proxy: object = proxy_of(ref, Proxy)
        self.connection = self.endpoint.ensure_connected()
        self.in_hand: dict[int, Task] = {}
        """By number: what was sent to it and has not come back."""
        self._sent = 0
        """How many tasks were."""
        self._most = most
        self._numbers = 0
        self._corked = False
        self._lock = lock
        self._changed = changed
        self._greeting: PendingCall | None = None
        self.board = TaskBoard.made("tasks") if has_board else None
        self.stopping: threading.Thread | None = None

    def greet(self) -> None:
        """Say the first word. Its answer says that it is born."""
        path = None if self.board is None else self.board.path
        payload, buffers = encode((("passto", greet, (path,), {}),))
        self._greeting = self.connection.call_async(payload, buffers, self._greeted)
        self.connection.hurry()
        self.handle.on_exit_(lambda _: self._ended())

    def _greeted(self, pending: PendingCall) -> None:
        self._greeting = pending
        if self.board is not None:
            self.board.hide()
        if pending.failure is None:
            self.born = True
        else:
            self.gone = True
        self._changed()

    def _ended(self) -> None:
        self.dead = True
        self._changed()

    @property
    def has_left(self) -> bool:
        """Whether it is no more, unasked, and will not be heard of."""
        return self.stopping is None and (self.gone or (self.dead and not self.in_hand))

    def why_not_born(self) -> BaseException:
        """The error of one that was not."""
        pending = self._greeting
        try:
            self.handle.ready_(0.0)
            if pending is not None:
                self.endpoint.check(pending)
        except BaseException as exc:
            return exc
        return ActorDiedError("a worker died right after its start")

    # --- giving it tasks -------------------------------------------------------------------

    @property
    def retiring(self) -> bool:
        """Whether it gets no more tasks: it has, or has had, as many as it may do."""
        return self.dismissed or (self._most is not None and self._sent >= self._most)

    @property
    def usable(self) -> bool:
        """Whether it takes tasks."""
        return self.born and not (self.gone or self.dead or self.retiring)

    def room(self) -> int:
        """How many tasks more it may be given: some, if they are short, so that it need not wait
        for each. There is none until it has done half of what it got, so that it gets the next ones
        together."""
        in_hand = len(self.in_hand)
        pace = 0.0 if self.board is None else self.board.pace
        depth = 1
        if 0.0 < pace < SHORT:
            depth = min(MOST_AHEAD, max(2, int(AHEAD_SECONDS / pace)))
        return depth - in_hand if in_hand <= depth // 2 else 0

    def send(self, task: Task, cork: bool) -> None:
        """Send it a task; with `cork` it may stay here until `flush`.

        Raises:
            ConnectionEndedError: it has ended, and nothing was sent.
        """
        self._numbers += 1
        task.number = self._numbers
        task.to_claim = bool(self.in_hand)
        task.to_be_sent(self, None if self._most is None else self._most - self._sent)
        self._sent += task.portion  # before its answer can be here
        payload, buffers = task.message()
        self.in_hand[task.number] = task
        self._corked = cork
        try:
            pending = self.connection.call_nowait(payload, buffers, cork, task.on_ready)
        except BaseException:
            del self.in_hand[task.number]
            raise
        task.sent(pending)

    def flush(self) -> None:
        """Send what is corked."""
        if self._corked:
            self._corked = False
            self.connection.flush()

    # --- taking them back --------------------------------------------------------------------

    def stuck_since(self, now: float) -> float:
        """How many seconds what it is at has held up others."""
        if self.board is None or len(self.in_hand) < 2:
            return 0.0
        since = self.board.since
        return now - since if since else 0.0

    def not_done(self, task: Task) -> None:
        """What it was given of this task and has not done does not count."""
        self._sent -= task.portion

    def withdraw(self) -> list[Task]:
        """Take back what it has not begun; in order."""
        assert self.board is not None
        withdrawn: list[Task] = []
        for number in sorted(self.in_hand, reverse=True)[:-1]:
            # In this order: one that has died holds no claim any more, and may have begun it.
            if not self.board.claim(number) or number <= self.board.begun:
                break
            task = self.in_hand.pop(number)
            self.not_done(task)
            task.take_back()
            withdrawn.append(task)
        self.function_key = 0  # which one of these may have brought
        return withdrawn[::-1]

    def leave(self) -> tuple[list[Task], list[Task]]:
        """It is gone: what it had begun, and what it had not; each in order."""
        begun = 0 if self.board is None else self.board.begun
        in_hand, self.in_hand = self.in_hand, {}
        lost = [task for number, task in in_hand.items() if number <= begun]
        left = [task for number, task in in_hand.items() if number > begun]
        if self.board is None:
            lost, left = left, []
        return lost, left

    def bury(self, lost: list[Task]) -> None:
        """Settle what it died of. This may take a moment, until its exit code is known."""
        for task in lost:
            if not task.wanted:
                continue
            error = self._error_of(task)
            if isinstance(task, Run):
                noted = self.board is not None and task.number == self.board.begun
                task.died(self.board.noted() if self.board and noted else [], error)
            else:
                task.fail(error)

    def _error_of(self, task: Task) -> BaseException:
        exited = self.handle.exited_
        try:
            report = exited.result(GRACE_SECONDS)
        except TimeoutError:  # it lives on, but its connection has ended
            self.handle.kill_()
            report = exited.result()
        return ActorDiedError.from_exit(report._replace(running=task.what), maybe_executed=True)

    # --- limits ----------------------------------------------------------------------------

    def limit(self, task: Task, seconds: float) -> None:
        """Have this task, which is about to be sent, end when its time is up."""

        def expire() -> None:
            # To ask the worker why it takes so long takes time, in which the I/O thread must go on.
            name = f"remoteobj-late-{self.handle.name_}"
            job = partial(self._expire, task, seconds)
            threading.Thread(target=job, name=name, daemon=True).start()

        task.timer = reactor.call_at(time.monotonic() + seconds, expire)

    def _expire(self, task: Task, seconds: float) -> None:
        with self._lock:
            call = task.call
            if call is None or call.answered or self.in_hand.get(task.number) is not task:
                return  # it has ended in time, or its time begins again with another worker
            task.expired = True
        options = FUTURES._replace(timeout=seconds, interrupt=True)
        task.fail(self.endpoint.timed_out(options, call, f"did not end {task.what}"))
        with contextlib.suppress(Exception):
            self.connection.wait(call, time.monotonic() + GRACE_SECONDS)
        if not call.answered:
            self._give_up()

    def _give_up(self) -> None:
        """End it by force; a thread, which can't be ended, is left to itself."""
        try:
            self.handle.kill_()
        except RuntimeError:
            self.gone = True
            self._changed()

    # --- its end ---------------------------------------------------------------------------

    def stop(self) -> threading.Thread:
        """Have it stop in order, in a thread of its own, which is returned."""
        if self.stopping is None:
            name = f"remoteobj-stop-{self.handle.name_}"
            self.stopping = threading.Thread(target=self._stop, name=name, daemon=True)
            self.stopping.start()
        return self.stopping

    def _stop(self) -> None:
        try:
            self.handle.stop_()
        except BaseException as exc:
            tell(f"{self.handle.name_} could not be stopped", exc)
        self.close()

    def close(self) -> None:
        """Let go of what is shared with it."""
        if self.board is not None:
            self.board.hide()
            self.board.close()
