"""Runs: many calls of one function that are sent together, of which a map consists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeAlias

from ._actor.pool_work import run_items
from ._caller.answers import decode_answer
from ._caller.futures import INTERRUPTIONS
from ._pickling.codec import loads, pickled
from ._pool_functions import Function
from ._pool_tasks import Task, TaskOwner, was_refused
from ._protocol.calls import PendingCall
from ._protocol.messages import Frame, Kind

__all__ = ["Parcel", "Run"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

Parcel: TypeAlias = "tuple[bytes, Sequence[Any]]"
"""The arguments of one call, pickled, and their buffers."""


class Run(Task):
    """Some calls of one function, sent together.

    Their arguments are plain values, in columns; or they come in parcels, each of which is
    unpickled when its call is made. The outcomes are plain values, and entries, of which
    `_result_of` makes a value or an error.
    """

    def __init__(
        self,
        owner: TaskOwner,
        func: Function,
        items: int,
        *,
        columns: Sequence[list[Any]] = (),
        parcels: Sequence[Parcel] = (),
    ) -> None:
        super().__init__(owner, func.what)
        self.items = items
        self.seconds = 0.0
        """That its items have taken."""
        self.has_entries = False
        self.outcomes: list[Any] = []
        self._func = func
        self._parcels = parcels
        self._columns = b"" if parcels else pickled(columns, 5)

    @property
    def left(self) -> int:
        """How many of its items have no outcome yet."""
        return self.items - len(self.outcomes)

    def message(self) -> tuple[bytes, list[Any]]:
        """The call by which it is sent, for the next items that have no outcome yet."""
        first = len(self.outcomes)
        end = first + self.portion
        packed: list[tuple[bytes, int, int]] = []
        buffers: list[Any] = []
        for payload, own in self._parcels[first:end]:
            packed.append((payload, len(buffers), len(buffers) + len(own)))
            buffers += own
        head = pickled((first, end, packed), 5)
        return self.call_with(self._func, run_items, head + self._columns, buffers)

    def on_ready(self, pending: PendingCall) -> None:
        """Outcomes are here. They are plain values and bytes, so to unpickle them runs no code."""
        if was_refused(pending):
            self.owner.came_back(self)
            return
        frame = pending.first
        assert frame is not None
        outcomes: list[Any]
        if frame[0] == Kind.ERROR:  # of the worker, which could not do it at all
            outcomes = [(frame[0], bytes(frame[2]), [])] * self.portion
            self.has_entries = True
        else:
            seconds, has_entries, outcomes = loads(frame[2], frame[3])
            self.seconds += seconds
            self.has_entries = self.has_entries or has_entries
        self.outcomes += outcomes
        self.portion -= len(outcomes)
        self._pending = None
        self.end()
        self.owner.answered(self)

    def died(self, noted: list[Any], error: BaseException) -> None:
        """Its worker has died when these had their outcomes: of the next item, if it had that."""
        noted = noted[: self.portion]
        self.outcomes += noted
        self._fail_next(min(1, self.portion - len(noted)), error)
        self.end()

    def fail(self, error: BaseException, told: bool = True) -> None:
        """Give this error to all items that have no outcome."""
        self._fail_next(self.left, error)
        self.end()

    def _fail_next(self, items: int, error: BaseException) -> None:
        self.outcomes += [(None, error, [])] * items
        self.has_entries = True

    def end(self) -> None:
        """Settle it, if it has all outcomes."""
        if not self.left and self.wanted:
            self._set(None, None)
            self._parcels = ()

    def results(self) -> list[Any] | Iterator[Any]:
        """Those of its items; the outcome of all that have none is that it was cancelled."""
        if self.left:
            self._fail_next(self.left, CancelledError())
        return map(_result_of, self.outcomes) if self.has_entries else self.outcomes

    def settle(self, interruptions: tuple[type[BaseException], ...] = INTERRUPTIONS) -> None:
        """This is done within a read."""


def _result_of(outcome: Any) -> Any:
    """The value that an outcome of a run is.

    Raises:
        Exception: the error that it is.
    """
    if type(outcome) is not tuple:
        return outcome
    kind, payload, buffers = outcome
    if kind is None:
        raise payload.with_traceback(None)  # that of others who have the same one is none of ours
    return decode_answer(Frame(kind, 0, payload, buffers))
