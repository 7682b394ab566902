"""The tasks of a pool, each of which is the future that its user has.

::

    queued ──> sent to a worker ──> its answer is here ──> settled
      ^            │    └──────────> its worker has died of it ──> settled
      └────────────┘
        its worker has died, or is busy with another one, before it was begun

A `Task` is one call. Many calls of one function are a `Run` (`_pool_runs`): each of its items keeps
its own outcome.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Final

from ._actor.pool_work import run_task
from ._caller.call_options import FUTURES
from ._caller.connection import Connection
from ._caller.endpoint import Endpoint
from ._caller.futures import INTERRUPTIONS, RemoteFuture
from ._fast_typing import Protocol
from ._os.fork_safety import fork_generation
from ._os.io_thread import Timer
from ._os.poller import nap
from ._pickling.codec import dumps, pickled
from ._pickling.out_of_band import all_plain
from ._pool_functions import Function
from ._protocol.calls import PendingCall
from ._protocol.messages import Kind
from ._protocol.requests import observers
from .errors import NotListeningError

__all__ = ["Holder", "Task", "TaskOwner", "was_refused"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


class Holder(Protocol):
    """The worker that a task was sent to."""

    endpoint: Endpoint
    connection: Connection
    proxy: object
    """What a call gives that returns the worker's object itself."""


class TaskOwner(Protocol):
    """The pool, as its tasks see it."""

    name: str
    has_objects: bool
    """Whether its workers have objects."""

    def answered(self, task: Task) -> None:
        """The answer of a task is here. This is called within a read."""

    def came_back(self, task: Task) -> None:
        """A task was sent, and is not answered: its worker has died. Within a read, too."""

    @property
    def has_queued(self) -> bool:
        """Whether there are tasks that no worker is free for."""
        ...


class _NotSent:
    """Stands for the connection of a task that was not sent."""

    runs_inline = False

    def hurry(self) -> None:
        """Nothing is to be read yet."""


_NOT_SENT: Final[Any] = _NotSent()


class Task(RemoteFuture):
    """A task, and the future of its outcome.

    `RemoteFuture` reads and unpickles the answer, once it is sent; until then there is no call.
    """

    number = 0
    """By which its worker knows it."""
    to_claim = False
    """Whether its worker has others before it, so that it may be taken back."""
    holder: Holder | None = None
    call: PendingCall | None = None
    """The call by which it was sent."""
    timer: Timer | None = None
    """Ends it when its time is up."""
    items = 1
    """For how many tasks it counts."""
    portion = 1
    """How many of them its worker was given, and has not answered."""
    expired = False
    """Whether its time is up: what comes of it now is not its outcome."""
    _taken = False
    _abandonment: BaseException | None = None
    """Its error, if it was cancelled while it was at work, which a plain future can't be."""

    def __init__(self, owner: TaskOwner, what: str) -> None:
        self._connection = _NOT_SENT
        self._locks_of = fork_generation[0]
        self.owner = owner
        self.context = copy_context() if observers else None
        """Where it was submitted, for those who observe."""
        self.what = what
        """The function that it calls, for error messages."""
        self._sendable: tuple[Function, Any, Sequence[Any]] | None = None
        """The function; the arguments, as they are if they are plain, else pickled; and what these
        have of buffers."""

    def prepare(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Pickle what it calls, with these arguments.

        Raises:
            UnsendableError: an argument can't be pickled.
        """
        if not kwargs and all_plain(map(type, args)):
            self._sendable = func, args, ()
        else:
            self._sendable = func, *dumps((args, kwargs), "the arguments")

    # --- as its pool sees it ---------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether it is to be sent: it has no outcome, and none is on its way."""
        return not (self.done() or self._given_up or self.expired)

    def take_on(self) -> bool:
        """It leaves the queue: from now on it can't be cancelled. False: it is not wanted."""
        if not self._taken:
            self._taken = not self._given_up and self.set_running_or_notify_cancel()
        return self._taken and self.wanted

    def message(self) -> tuple[bytes, list[Any]]:
        """The call by which it is sent."""
        assert self._sendable is not None
        func, payload, buffers = self._sendable
        return self.call_with(func, run_task, payload, buffers)

    def call_with(
        self, func: Function, job: Callable[..., Any], payload: Any, buffers: Sequence[Any]
    ) -> tuple[bytes, list[Any]]:
        """The call by which it is sent, with the function, unless its worker has that."""
        holder: Any = self.holder
        brought = b"" if holder.function_key == func.key else func.payload
        holder.function_key = func.key
        args: tuple[Any, ...] = (self.number, self.to_claim, func.key, brought, payload)
        if not buffers and not self.owner.has_objects:
            return pickled((job.__name__, args), 5), []  # see `NoObject`
        kept: list[Any] = []
        steps: list[Any] = [("passto", job, (*args, *map(pickle.PickleBuffer, buffers)), {})]
        call = pickle.dumps(steps, 5, buffer_callback=lambda one: kept.append(one.raw()))
        return call, kept

    def sent(self, call: PendingCall) -> None:
        """It was sent, as this call, whose `on_ready` is ours."""
        self.call = call
        if not call.answered:
            self._pending = call

    @property
    def left(self) -> int:
        """How many of its items have no outcome yet."""
        return self.items

    def to_be_sent(self, holder: Holder, most: int | None) -> None:
        """It is about to be, with so many of its items at most."""
        self.portion = self.left if most is None else min(self.left, most)
        self.holder = holder
        self._connection = holder.connection
        self._call = (holder.endpoint, holder.proxy, None, FUTURES)

    def take_back(self) -> None:
        """It was not begun, and will be sent again."""
        self._pending, self._connection = None, _NOT_SENT
        if self.timer is not None:
            self.timer.cancel()
        call, self.call = self.call, None
        holder, self.holder = self.holder, None
        if call is not None and holder is not None and not call.answered:
            holder.connection.fail(call, CancelledError)  # which wakes whoever waits for it

    def fail(self, error: BaseException, told: bool = True) -> None:
        """Settle it with an error; `told`: that is told in the log if nobody ever looks."""
        if told and not self.done() and self.holder is not None:
            self._keep_unseen(error)
        self._set(None, error)
        self._sendable = None

    def results(self) -> list[Any] | Iterator[Any]:
        """The results of its items, now that it is done; if there are errors among them, they are
        raised where it is their turn, and the iterator can be gone on with."""
        return map(Future.result, (self,))

    def abandon(self) -> None:
        """Cancel it, although it may be running: nobody is to wait for it any more."""
        call, holder = self.call, self.holder
        if call is not None and holder is not None and not call.answered:
            holder.connection.fail(call, CancelledError)
        self._abandonment = CancelledError()
        self.fail(self._abandonment, told=False)

    # --- as the connection sees it -----------------------------------------------------------

    def on_ready(self, pending: PendingCall) -> None:
        """The outcome is here, or it is known that there will be none."""
        if was_refused(pending):
            self.owner.came_back(self)
            return
        if not self.expired:
            super().on_ready(pending)
        self.owner.answered(self)

    def settle(self, interruptions: tuple[type[BaseException], ...] = INTERRUPTIONS) -> None:
        """Give it the outcome that is here. Of a worker that died, the pool says what it is; and
        who waited for that call may find here the next one, which has no answer yet."""
        pending = self._pending
        if self.expired or pending is None or pending.first is None:
            return
        if not was_refused(pending):
            super().settle(interruptions)

    def _let_go(self) -> None:
        super()._let_go()
        self._sendable = None  # arguments may be large

    # --- as its user sees it -----------------------------------------------------------------

    def cancel(self) -> bool:
        """Cancel it, if it was not sent to a worker; else return False."""
        if not super().cancel():
            return False
        self._sendable = None
        return True

    def cancelled(self) -> bool:
        """Whether it was cancelled; by Ctrl-C, it may be while it is at work."""
        why = self._abandonment
        if why is None or not self.done():
            return super().cancelled()
        return super().cancelled() or Future.exception(self, 0) is why

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the call raised, once that is known; None if it did not.

        Raises:
            TimeoutError: it is not known after `timeout` seconds.
            CancelledError: it was cancelled.
        """
        error = super().exception(timeout)
        if error is not None and error is self._abandonment:
            raise error
        return error

    def _wait(self, timeout: float | None) -> None:
        """Wait until it is done, for so long: by reading, if nothing else is to be done."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._locks_of != fork_generation[0]:
            if self.done():
                return
            raise NotListeningError(f"{self.owner.name} belongs to the parent process")
        if self.timer is not None:
            self._connection.hurry()  # when its time is up, there may be no answer to wake a reader
        elif self._pending is not None and not self.owner.has_queued:
            super()._wait(timeout)
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        while not self.done():
            with suppress(CancelledError, TimeoutError):
                Future.exception(self, nap(left))
            if deadline is not None and (left := deadline - time.monotonic()) <= 0:
                return


def was_refused(pending: PendingCall) -> bool:
    """Whether a call has ended without an answer."""
    first = pending.first
    return pending.failure is not None or (first is not None and first[0] == Kind.REFUSED)
