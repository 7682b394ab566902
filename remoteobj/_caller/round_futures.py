"""The future of a round: one for the results of many futures, in a list."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any

from .._catching.unseen import Unseen
from .outcomes import Outcome, failure_of

__all__ = ["RoundFuture", "future_of_round"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


class RoundFuture(Future[list[Any]]):
    """Done once all its futures are. A thread that waits for it waits for each of them in turn, so
    that it reads their outcomes itself.

    Args:
        futures: nobody else has them.
        names: of the actors whose they are.
    """

    def __init__(self, futures: Sequence[Future[Any]], names: Sequence[str]) -> None:
        super().__init__()
        self._futures = futures
        self._names = names
        self._left = len(futures)
        self._count = threading.Lock()
        self._looked_at = False
        self._given_up = False
        self._unseen: Unseen | None = None
        if not futures:
            self._settle()
        for future in futures:
            future.add_done_callback(self._one_is_done)

    def _one_is_done(self, _: Future[Any]) -> None:
        with self._count:
            self._left -= 1
            is_last = not self._left
        if is_last:
            self._settle()

    def _settle(self) -> None:
        if self.cancelled():
            return
        # From now on it leads to none of them, as they do to it: who drops it drops it at once.
        futures, self._futures = self._futures, ()
        outcomes = [_outcome(future) for future in futures]
        error = failure_of(outcomes, self._names)
        try:
            if error is None:
                self.set_result([value for value, _ in outcomes])
            else:
                self._keep_unseen(error)
                self.set_exception(error)
        except InvalidStateError:  # it was cancelled meanwhile
            self._is_seen()

    def _keep_unseen(self, error: BaseException) -> None:
        """Have the error told if nobody ever looks at it."""
        with self._count:
            if not self._looked_at:
                self._unseen = Unseen("a round of calls failed, and nobody asked why", error)

    def cancel(self) -> bool:
        """Give all calls up that have not ended; False if the round has."""
        if not super().cancel():
            return False
        with self._count:
            given_up, self._given_up = self._given_up, True
        if not given_up:
            self.set_running_or_notify_cancel()  # wakes those in `wait` and `as_completed`
            futures, self._futures = self._futures, ()
            for future in futures:
                future.cancel()
        return True

    def result(self, timeout: float | None = None) -> list[Any]:
        """The results, in the order of the actors; raises what a round does.

        Raises:
            TimeoutError: they are not all here after `timeout` seconds. The calls go on.
            CancelledError: it was cancelled.
        """
        left = self._wait(timeout)
        self._is_seen()
        return super().result(left)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What `result` would raise; None if that would not."""
        left = self._wait(timeout)
        self._is_seen()
        return super().exception(left)

    def add_done_callback(self, fn: Callable[[Future[list[Any]]], object]) -> None:
        """Have `fn` called with the future once it is done; it is what looks at the outcome."""
        self._is_seen()
        super().add_done_callback(fn)

    def _is_seen(self) -> None:
        with self._count:
            self._looked_at = True
        if self._unseen is not None:
            self._unseen.seen()

    def _wait(self, timeout: float | None) -> float | None:
        """Wait for all futures; the seconds that are left of so many."""
        if timeout is None:
            for future in self._futures:
                if not self.done():
                    with contextlib.suppress(CancelledError):
                        future.exception()
            return None
        deadline = time.monotonic() + timeout
        for future in self._futures:
            if not self.done():
                with contextlib.suppress(CancelledError):
                    future.exception(max(0.0, deadline - time.monotonic()))
        return max(0.0, deadline - time.monotonic())


def _outcome(future: Future[Any]) -> Outcome:
    error = future.exception()
    return (future.result(), None) if error is None else (None, error)


def future_of_round(
    calls: Sequence[Callable[[], Future[Any]]], names: Sequence[str]
) -> RoundFuture:
    """Make these calls, each of which gives a future, and return one of all results."""
    return RoundFuture([_begun(call) for call in calls], names)


def _begun(call: Callable[[], Future[Any]]) -> Future[Any]:
    """The future of a call; the others are made all the same if this can't be."""
    try:
        return call()
    except Exception as exc:
        failed: Future[Any] = Future()
        failed.set_exception(exc)
        return failed
