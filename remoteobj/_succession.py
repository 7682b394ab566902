"""How one process of an actor follows another, at one address.

::

    incarnation ── ends ──> Keeper.ended ──┬─> renew ────> the next one: calls go there
                                           └─> give_up ──> there is none: calls fail

Between two incarnations calls wait. Those of the owner's process wait here; those of others stand
in the queue of the listening socket, which the owner keeps open all the while. A call that has been
sent belongs to one incarnation, and ends with it: nothing is sent twice.

What becomes of an actor is decided by its keeper, in a thread of its own for each death, so that it
may wait; deaths are rare.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from ._engines.contract import ExitCallback, ExitCallbacks
from ._fast_typing import Protocol
from ._incarnation import Incarnation
from ._os.io_thread import reactor
from ._os.thread_group import ThreadGroup
from ._protocol.calls import ErrorFactory
from ._wire.transport import Listener
from .errors import CallTimeoutError, DeadlockError, ExitReport

__all__ = ["Keeper", "Succession"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


class Keeper(Protocol):
    """Who decides what becomes of an actor whose process has ended."""

    def ended(self, line: Succession, report: ExitReport) -> None:
        """An incarnation has ended, and its owner has not told it to.

        Called in a thread of its own, which may wait by `line.pause`. It calls `line.renew`, or
        `line.give_up`, or has another thread do so.
        """


class Succession:
    """The incarnations of one actor.

    Guarantee: once it is `over`, no other one begins.

    Args:
        launch: starts the incarnation of this number.
        listener: the door, which stays where it is as long as there may be another incarnation.
        begin_or_end: held while an incarnation is begun, or ended in order.
    """

    def __init__(
        self,
        name: str,
        launch: Callable[[int], Incarnation],
        keeper: Keeper,
        listener: Listener,
        begin_or_end: threading.RLock,
    ) -> None:
        self.name = name
        self._launch = launch
        self._keeper = keeper
        self._listener = listener
        self._changed = threading.Condition()
        self._begin_or_end = begin_or_end
        self.current = launch(0)
        self.over = False
        """Whether the present incarnation is the last one."""
        self.why: ErrorFactory | None = None
        """Makes the error of a call when there is no other one, where the keeper knows it."""
        self._retired = -1
        """The number of the incarnation that the keeper itself has ended."""
        self._retirements = 0
        """How often it was told to."""
        self._deaths: list[ExitCallback] = []
        self._end = ExitCallbacks()
        self._last: ExitReport | None = None
        """That of the present incarnation, once it has ended."""
        self._threads = ThreadGroup()
        self._watch(self.current)

    @property
    def restarts(self) -> int:
        """How often it has been started again."""
        return self.current.number

    # --- for those who call ----------------------------------------------------------------

    def next_after(self, incarnation: Incarnation, deadline: float | None) -> bool:
        """Wait for the one that follows; False: there is none.

        Raises:
            CallTimeoutError: `deadline` passed first.
            DeadlockError: this is the thread that tells of deaths, without which there is none.
        """
        with self._changed:
            while self.current is incarnation and not self.over:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise CallTimeoutError(
                        f"{self.name} has ended, and was not started again in time; the call was "
                        "not executed"
                    )
                if reactor.is_calling:
                    raise self._waits_for_itself()
                self._changed.wait(left)
            return self.current is not incarnation

    def _waits_for_itself(self) -> DeadlockError:
        return DeadlockError(
            f"{self.name} has ended, and this call would wait for its restart in the thread that "
            "tells of ends, and that calls callbacks of on_exit_ and of futures: the restart would "
            "wait for the call. Nothing was executed; call it in a thread of your own"
        )

    def wait_for_end(self, timeout: float | None) -> bool:
        """Wait until it has ended for good; False when that did not come in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            incarnation = self.current
            if not incarnation.instance.wait(left):
                return False
            try:
                if not self.next_after(incarnation, deadline):
                    return True
            except CallTimeoutError:
                return False

    # --- for those who are told of deaths --------------------------------------------------

    def on_death(self, callback: ExitCallback) -> None:
        """Have each end of an incarnation told; after the last one at once."""
        with self._changed:
            if not (self.over and self._last is not None):
                self._deaths.append(callback)
                return
        callback(self._last)

    def on_end(self, callback: ExitCallback) -> None:
        """Have the last end told."""
        self._end.add(callback)
        self._settle()

    def _watch(self, incarnation: Incarnation) -> None:
        incarnation.instance.on_exit(partial(self._ended, incarnation))

    def _ended(self, incarnation: Incarnation, report: ExitReport) -> None:
        """It has ended. In the thread of the reactor, which must not wait."""
        report = incarnation.reported(report)
        deaths = ExitCallbacks()
        with self._changed:
            is_current = incarnation is self.current  # else the next one was begun before this came
            if is_current:
                self._last = report
                self._changed.notify_all()
            for callback in self._deaths:
                deaths.add(callback)
        deaths.tell(report)
        if is_current and not self.over and incarnation.number != self._retired:
            self._decide(incarnation, report)
        self._settle()

    def _settle(self) -> None:
        if self.over and self._last is not None:
            self._end.tell(self._last)

    def _decide(self, incarnation: Incarnation, report: ExitReport) -> None:
        ask = partial(self._ask_keeper, incarnation, report)
        try:
            self._threads.begin(f"remoteobj-restart-{self.name}", ask)
        except RuntimeError:  # too late in the program's end for a thread
            self.end()

    def _ask_keeper(self, incarnation: Incarnation, report: ExitReport) -> None:
        try:
            if incarnation.number == 0 and not incarnation.was_born():
                self.end()  # it is `spawn` that raises why
            elif not self.over:
                self._keeper.ended(self, report)
        except BaseException:
            self.end()  # else calls would wait for ever
            raise

    # --- for the keeper --------------------------------------------------------------------

    def pause(self, seconds: float) -> bool:
        """Wait, since another incarnation is to follow then; False: it is over meanwhile."""
        if not self.over:
            self.current.note_successor()
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self.over and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self.over

    def await_end_of_present(self, seconds: float | None) -> bool:
        """Wait until the present incarnation has ended, or it is over; False: the incarnation runs
        still, since it is a thread, or it is to be retired once more meanwhile."""
        instance = self.current.instance
        with self._changed:
            told = self._retirements
            self._changed.wait_for(
                lambda: self.over or self._retirements != told or not instance.is_alive(), seconds
            )
            return self.over or not instance.is_alive()

    def renew(self) -> ExitReport | None:
        """Begin the next incarnation; why that failed, if it did. Nothing is done once it is over,
        or while the present one runs."""
        with self._begin_or_end:
            before = self.current
            if self.over or before.instance.is_alive():
                return None
            before.close()
            try:
                incarnation = self._launch(before.number + 1)
            except Exception as exc:
                return ExitReport(self.name, reason="failed", error=exc)
            with self._changed:
                too_late = self.over
                self.current, self._last = incarnation, None
                self._changed.notify_all()
            self._watch(incarnation)
            if too_late and before.forced:
                incarnation.kill()  # who has killed it has not seen this one
            # Who ends it in order waits for the lock, and then ends this one: it may serve already.
        incarnation.keep_time()
        return None

    def retire(self, timeout: float | None) -> None:
        """End the present incarnation, as `Incarnation.retire` does; calls that come then wait for
        the next one. A thread that goes on after that has had its time, and is not waited for
        again."""
        with self._changed:
            self._retirements += 1
            self._changed.notify_all()
        with self._begin_or_end:
            if not self.over and self._retired != self.current.number:
                self._retired = self.current.number
                self.current.retire(timeout)

    def give_up(self, why: ErrorFactory | None = None) -> None:
        """There is no other incarnation; `why` makes the error of who calls, if not the death."""
        if not self.over:
            self.why = why
        self.end()

    # --- for the owner ---------------------------------------------------------------------

    def end(self) -> None:
        """The present incarnation is the last one. Harmless when done twice; does not wait."""
        with self._changed:
            self.over = True
            self._changed.notify_all()
        self._listener.close()
        self._settle()

    def join(self) -> None:
        """Wait until nobody decides any more, since it is over."""
        self._threads.join()
