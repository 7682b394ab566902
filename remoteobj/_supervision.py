"""What a supervisor does with its children, whatever these are: actors, or supervisors.

::

         one of them has failed too often, or the one above restarts it
      UP ─────────────────────────────────────> DOWN <──── one of them can't be started ────┐
      ^ │                                        └────────────> STARTING ───────────────────┤
      │ └──────────> OVER  stopped, or failed with nobody above    └── all of them run      │
      └─────────────────────────────────────────────────────────────────────────────────────┘

Threads: one, the supervisor's own, takes in failures and acts on them; it is there while there is
something to do. It never waits for a start: each has a thread of its own, so that a failure that
comes meanwhile is seen to at once, also where the child that is being started waits for the one
that failed. Whoever stops or retires the supervisor waits for its threads.
"""

from __future__ import annotations

import enum
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from ._child import Child
from ._fast_typing import NamedTuple
from ._os.callback_errors import report_callback_error
from ._os.thread_group import ThreadGroup
from ._restart_limit import RestartLimit
from ._restart_strategy import Restart, RestartPlan, Strategy, check_strategy, is_restarted_after
from .errors import ExitReport, RestartLimitError, describe

__all__ = ["Supervision"]


class Phase(enum.Enum):
    """What a supervisor is at."""

    UP = "it sees to its children"
    DOWN = "its children are stopped, or about to be; the one above decides what comes then"
    STARTING = "its children are being started again, all of them"
    OVER = "its children are stopped, or about to be, for good"


AT_WORK = (Phase.UP, Phase.STARTING)
ABORT_SECONDS = 0.05
"""How long a start that was cut short may take to see that, before it is cut short again."""


class _Failure(NamedTuple):
    child: Child
    life: int
    report: ExitReport
    of_start: bool = False
    """Whether it is a start that failed: that counts, although what ran before may run still."""


class Supervision:
    """The children of one supervisor; it is itself a `Child`, of the one above it.

    Args:
        above: the one that restarts this one when it has failed. None: nobody does.

    Invariant: nothing here leads to the `Supervisor`, whose end as garbage is the end of this.
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        max_restarts: int,
        within: float,
        restart: Restart = "on-failure",
        above: Supervision | None = None,
    ) -> None:
        check_strategy(strategy)
        self.name = name
        self.strategy = strategy
        self.restart: Restart = restart
        self.life = 0
        self.error: RestartLimitError | None = None
        """Why it has failed, since it was last started."""
        self._stuck = False
        """Whether it can't be started again, since a child of it can't be ended."""
        self._above = above
        self._new_limit = partial(RestartLimit, max_restarts, within)
        self._limit = self._new_limit()
        self._changed = threading.Condition()
        """Held for moments alone, to read and change all that follows."""
        self._phase = Phase.UP
        self._plan = RestartPlan[Child](strategy)
        self._failures: deque[_Failure] = deque()
        self._start_error: ExitReport | None = None
        self._at_work = False
        self._threads = ThreadGroup()
        self._starters: dict[Child, threading.Thread] = {}
        self._ended = False

    # --- its children ----------------------------------------------------------------------

    @property
    def children(self) -> list[Child]:
        """Those that may live again, the first started first."""
        return [child for child in self._all() if not child.over]

    def _all(self) -> list[Child]:
        """These, and those whose end has not been told yet."""
        with self._changed:
            return self._plan.children

    def await_up(self) -> None:
        """Wait until it sees to its children, which it may not while it is restarted itself.

        Raises:
            RestartLimitError: it has failed.
            RuntimeError: it has been stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._phase in (Phase.UP, Phase.OVER))
            if self._phase is Phase.UP:
                return
        self.check()
        raise RuntimeError(f"{self.name} has been stopped, and starts nothing any more")

    def check(self) -> None:
        """Raise the error with which it has failed for good, if it has."""
        if self.error is not None and self._phase is Phase.OVER:
            error = RestartLimitError(*self.error.args, reports=self.error.reports)
            raise error from self.error.__cause__

    def add(self, child: Child) -> bool:
        """See to it from now on, as the last; False: that can't be, as `await_up` says."""
        with self._changed:
            if self._phase is Phase.UP:
                self._plan.add(child)
            return self._phase is Phase.UP

    def child_failed(self, child: Child, life: int, report: ExitReport) -> None:
        """It has ended, and nobody had told it to. Does not wait."""
        with self._changed:
            self._failures.append(_Failure(child, life, report))
            self._see_to_it()

    def child_over(self, child: Child) -> None:
        """There will be no other life of it. Does not wait."""
        with self._changed:
            self._plan.remove(child)
            self._see_to_it()

    # --- in its own thread -----------------------------------------------------------------

    def _see_to_it(self) -> None:
        """Have the thread see what there is to do; the lock is held."""
        if not self._at_work and self._phase in AT_WORK:
            try:
                self._threads.begin(f"remoteobj-supervise-{self.name}", self._work)
            except RuntimeError:
                # At the program's end, when all children are ended, there can be no more threads.
                if threading.main_thread().is_alive():
                    raise
            else:
                self._at_work = True

    def _work(self) -> None:
        while (step := self._next_step()) is not None:
            try:
                step()
            except BaseException as exc:  # else the children would be left to themselves
                report_callback_error(exc)
                self._break_down(exc)

    def _next_step(self) -> Callable[[], None] | None:
        with self._changed:
            if self._phase in AT_WORK:
                if self._failures:
                    return partial(self._take_in, self._failures.popleft())
                if (child := self._plan.next_start()) is not None:
                    return partial(self._begin_start, child)
                if self._phase is Phase.STARTING and self._plan.complete:
                    self._enter(Phase.UP)
            self._at_work = False
            return None

    def _take_in(self, failure: _Failure) -> None:
        child, life, report, of_start = failure
        with self._changed:
            tells_something = self._plan.tells_something(child)
        if not tells_something or child.over or not (of_start or child.is_down(life)):
            return
        runs_on = of_start and not child.is_down(life)
        if self._phase is Phase.STARTING:
            self._stuck = runs_on
            self._abort_start(report)
        elif runs_on:  # another attempt would find it as this one did
            self._limit.allows_after(report, time.monotonic())
            self._fail(self._breakdown(report.error))
        elif not is_restarted_after(child.restart, report):
            self._take_out(child)
        elif self._limit.allows_after(report, time.monotonic()):
            self._prepare_restart(child)
        else:
            self._fail(self._limit_error())

    def _prepare_restart(self, child: Child) -> None:
        """Put down those that are to be restarted with it. It may have been taken out meanwhile."""
        with self._changed:
            known = self._phase is Phase.UP and child in self._plan.children
            together = self._plan.failed(child) if known else []
        for one in together:
            if self._phase is Phase.UP:
                self._put_down(one)

    def _put_down(self, child: Child) -> None:
        """Retire it, and what is just being started of it; or end it, if it has one life alone."""
        if child.restart == "never":
            self._take_out(child)
            return
        child.retire()
        starter = self._starters.get(child)
        while starter is not None and starter.is_alive():  # it may come to begin a life only now
            starter.join(ABORT_SECONDS)
            child.retire()

    def _take_out(self, child: Child) -> None:
        self.child_over(child)
        child.stop(None)

    def _begin_start(self, child: Child) -> None:
        with self._changed:
            if self._phase in AT_WORK and self._plan.next_start() is child:
                act = partial(self._start, child, self._starters.get(child))
                self._plan.starting(child)
                self._starters[child] = self._threads.begin(f"remoteobj-start-{child.name}", act)

    def _start(self, child: Child, before: threading.Thread | None) -> None:
        """In a thread of its own."""
        if before is not None:  # it has been overtaken by a failure, and is about to end
            before.join()
        try:
            report = child.start()
        except BaseException as exc:  # else it would wait for ever
            report = ExitReport(child.name, reason="failed", error=exc)
        with self._changed:
            if self._starters.get(child) is threading.current_thread():
                del self._starters[child]
            if report is None:
                self._plan.started(child)
            elif self._plan.start_failed(child):
                self._failures.append(_Failure(child, child.life, report, of_start=True))
            self._see_to_it()

    # --- when it fails itself ----------------------------------------------------------------

    def _limit_error(self) -> RestartLimitError:
        limit = self._limit
        times = "once" if limit.max_restarts == 1 else f"{limit.max_restarts} times"
        return RestartLimitError(
            f"{self.name} may restart its children {times} within {limit.within:g} s, and they "
            f"have failed {len(limit.reports)} times; it has stopped all of them",
            reports=limit.reports,
        )

    def _break_down(self, exc: BaseException) -> None:
        """It could not do what is its task."""
        if self._phase is Phase.STARTING:
            self._abort_start(ExitReport(self.name, reason="failed", error=exc))
            return
        self._fail(self._breakdown(exc))

    def _breakdown(self, cause: BaseException | None) -> RestartLimitError:
        why = "" if cause is None else f": {describe(cause)}"
        error = RestartLimitError(
            f"{self.name} could not see to its children, and has stopped them{why}",
            reports=self._limit.reports,
        )
        error.__cause__ = cause
        return error

    def _fail(self, error: RestartLimitError) -> None:
        with self._changed:
            if self._phase is not Phase.UP:
                return
            self.error = error
            self._enter(Phase.OVER if self._above is None else Phase.DOWN)
        if self._above is None:
            self._stop_children(error)
        else:
            self._put_down_children()
            report = ExitReport(self.name, reason="failed", error=error)
            self._above.child_failed(self, self.life, report)

    def _abort_start(self, report: ExitReport) -> None:
        """Of its own start all over: one of its children has failed."""
        try:
            self._put_down_children()
        finally:
            with self._changed:
                if self._phase is Phase.STARTING:
                    self._start_error = report
                    self._enter(Phase.DOWN)

    def _put_down_children(self) -> None:
        for child in reversed(self._all()):
            self._put_down(child)

    def _stop_children(self, why: RestartLimitError | None) -> None:
        for child in reversed(self._all()):
            child.stop(why)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _enter(self, phase: Phase) -> None:
        """The lock is held."""
        self._phase = phase
        self._changed.notify_all()

    # --- as a child of the one above -------------------------------------------------------

    @property
    def over(self) -> bool:
        return self._phase is Phase.OVER

    def is_down(self, life: int) -> bool:
        return self._phase is Phase.DOWN and self.life == life and not self._stuck

    def start(self) -> ExitReport | None:
        with self._changed:
            if self._phase is not Phase.DOWN:
                return None
            self.life += 1
            self.error = self._start_error = None
            self._stuck = False
            self._limit = self._new_limit()
            self._failures.clear()
            self._plan.all_due()
            self._enter(Phase.STARTING)
            self._see_to_it()
            self._changed.wait_for(lambda: self._phase is not Phase.STARTING)
            return self._start_error

    def retire(self) -> None:
        with self._changed:
            if self._phase is Phase.OVER:
                return
            self._enter(Phase.DOWN)
        self._put_down_children()
        self._threads.join()

    def stop(self, why: RestartLimitError | None) -> None:
        with self._changed:
            why = why or self.error
            self._enter(Phase.OVER)
        try:
            self._stop_children(why)
            self._threads.join()
        except BaseException:
            self.kill()
            raise
        if self._above is not None:
            self._above.child_over(self)

    def kill(self) -> None:
        with self._changed:
            self._enter(Phase.OVER)
        for child in reversed(self._all()):
            child.kill()

    def wait(self, timeout: float | None) -> bool:
        """Wait until it has ended, stopped or failed; False when that did not come in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended, timeout)
