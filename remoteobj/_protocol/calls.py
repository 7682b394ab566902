"""The rules of the conversation, without I/O: which call is open, which state we are in.

Everything that decides what happens to a call belongs here; everything that reads, writes,
waits or wakes a thread does not.

Which calls can have run without their caller knowing: an actor begins no further call of a
connection before the reply to the last one is written whole, or else says so before it does, by
BEGUN. So when the actor dies, what it has said holds; where it has said nothing, the oldest call
that has no reply may have run, and the younger have not (but for requests that the oldest one
itself had run, by `process_requests`).
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from .._os.lazy_import import import_lock
from .._os.wakeup import Wakeable
from ..errors import ActorDiedError, DeadlockError, RemoteObjError
from .messages import INIT_ID, Bytes, Frame, Kind

__all__ = [
    "CallTable",
    "ConnectionEndedError",
    "ErrorFactory",
    "GoodbyeErrors",
    "ReenteredError",
    "PendingCall",
    "hung_up",
    "interrupted",
]

ErrorFactory = Callable[[bool], BaseException]
"""Makes the error of a call that got no reply; it is told whether the call may have run."""


GoodbyeErrors = Callable[[Bytes], ErrorFactory]
"""Makes the failure of the calls that a GOODBYE with this payload leaves unanswered."""


class ConnectionEndedError(Exception):
    """The connection had ended before the call was sent: nothing of it went out."""


def interrupted(maybe_executed: bool) -> BaseException:
    """The failure of calls whose connection was ended by an exception in the midst of it."""
    whether = "may have been" if maybe_executed else "was not"
    return RemoteObjError(
        f"an exception in another thread interrupted the connection; this call {whether} executed"
    )


def hung_up(why: str) -> ErrorFactory:
    """The failures of calls whose connection ended since one end could not read on."""

    def failure(maybe_executed: bool) -> BaseException:
        whether = "may have been" if maybe_executed else "was not"
        return RemoteObjError(f"the connection ended: {why}; this call {whether} executed")

    return failure


class ReenteredError(DeadlockError):
    """A signal handler or a finalizer waits for what the code below it, in this same thread,
    is just taking in: it would wait for ever."""

    def __init__(self) -> None:
        super().__init__("this thread is within a call on the same object, further down its stack")


R = TypeVar("R", bound=Wakeable)


class PendingCall:
    """Where the outcome of one call arrives.

    A value, an error or a refusal is `first`. A stream's first frame is `first` too, and
    what follows it goes to `items`. What ends a call without a frame is `failure`.
    """

    # Defaults are in the class, so that to make one, which most calls need, sets its id alone.
    first: Frame | None = None
    items: deque[Frame] | None = None
    failure: Callable[[], BaseException] | None = None
    over: bool = False
    """Nothing more will come."""
    closed: bool = False
    """Nobody wants more items: its end alone is waited for."""
    left = False
    """Whoever waited for it was interrupted, by Ctrl-C, and has not come back to it."""
    ready: bool = False
    """Something is here to take: `first`, or once that was taken an item, or the failure."""
    on_ready: Callable[[PendingCall], object] | None = None
    """Called once, by the thread that reads, when something came: for callers that don't wait."""
    sent: Bytes = b""
    """The call, as it was sent."""
    token = 0
    """By which the call chain of an actor knows the call, if one has made it; 0: it is no call."""
    _waiters: tuple[Wakeable, ...] = ()

    def __init__(self, call_id: int = INIT_ID) -> None:
        self.call_id = call_id

    def deliver(self, frame: Frame) -> bool:
        """Take in a frame about this call; True when it is the last one."""
        kind = frame[0]
        if self.items is None:
            if kind == _STREAM:
                self.items = deque()
            self.first = frame
        elif kind == _ITEM and self.closed:
            return False
        else:
            self.items.append(frame)
        self.over = over = kind not in _GOES_ON
        self.ready = True
        if self._waiters or self.on_ready is not None:
            self.notify()
        return over

    @property
    def answered(self) -> bool:
        """Whether its outcome is here, or was: unlike `ready`, this stays, whoever takes what is
        there. So any number of threads may wait for it."""
        return self.first is not None or self.failure is not None

    def stream(self) -> None:
        """From now on only items are there to take: `first`, which said so, was taken."""
        self.ready = bool(self.items) or self.failure is not None

    def next(self) -> Frame | None:
        """Take the next item; None when only the failure is there."""
        assert self.items is not None
        if not self.items:
            return None
        frame = self.items.popleft()
        if not self.items:
            self.ready = False
            # In this order: another thread, which may deliver at any moment, does the reverse.
            self.stream()
        return frame

    def fail(self, failure: Callable[[], BaseException]) -> None:
        self.failure = failure
        self.over = self.ready = True
        self.notify()

    def give_up(self) -> None:
        """Nobody waits for it any more, nor wants items of it."""
        self.closed = True

    def add_waiter(self, waiter: R) -> R:
        """Have `notify` wake this waiter, for a thread that goes to sleep until then."""
        self._waiters = (*self._waiters, waiter)
        return waiter

    def remove_waiter(self, waiter: Wakeable) -> None:
        self._waiters = tuple(one for one in self._waiters if one is not waiter)

    def notify(self) -> None:
        """Something came: wake the threads that sleep for this call, and call `on_ready`."""
        for waiter in self._waiters:
            waiter.wake()
        on_ready, self.on_ready = self.on_ready, None
        if on_ready is not None:
            on_ready(self)


_new = object.__new__
# Bare names: on Python 3.11 to look them up in their class takes longer than to compare them.
_STREAM, _ITEM = Kind.STREAM, Kind.ITEM
_GOES_ON: Final = frozenset((_STREAM, _ITEM))


class _Abandoned:
    """Stands in the table for a call that nobody waits for: its late reply is dropped."""

    closed: bool = True
    left = True

    def __init__(self, call_id: int, close: Callable[[int], None]) -> None:
        self.call_id = call_id
        self._close = close

    def deliver(self, frame: Frame) -> bool:
        if frame.kind == Kind.STREAM:
            self._close(self.call_id)
        return True

    def fail(self, failure: Callable[[], BaseException]) -> None:
        pass


_END = INIT_ID - 1


class CallTable:
    """The calls of one connection that have no outcome yet."""

    def __init__(self) -> None:
        self._open: dict[int, PendingCall | _Abandoned] = {}
        self._ids = itertools.count(INIT_ID + 1)
        self.fast_call_id = 0
        """The call of a thread that alone uses the connection, and has no entry; 0: none."""
        self.begun_up_to: int | None = None
        """Up to which one they may have begun; None: the oldest alone may."""

    def expect_birth(self) -> PendingCall:
        """The entry for the actor's first word: that it is made, or why not."""
        pending = self._open[INIT_ID] = PendingCall(INIT_ID)
        return pending

    def expect_end(self) -> PendingCall:
        """An entry that only the end of the connection makes ready."""
        pending = self._open[_END] = PendingCall(_END)
        return pending

    def open(self) -> PendingCall:
        """The entry of a new call."""
        pending = _new(PendingCall)
        pending.call_id = call_id = next(self._ids)
        self._open[call_id] = pending
        return pending

    def open_fast(self) -> int:
        """The id of a new call that has no entry, unless `promote` makes one."""
        self.fast_call_id = next(self._ids)
        return self.fast_call_id

    def promote(self) -> PendingCall:
        """Give the call that `open_fast` began its entry after all."""
        pending = self._open[self.fast_call_id] = PendingCall(self.fast_call_id)
        self.fast_call_id = 0
        return pending

    def receive(self, frame: Frame) -> None:
        """Give a frame to the call it is about; one about no open call is dropped."""
        sink = self._open.get(frame[1])
        if sink is not None and sink.deliver(frame):
            self._open.pop(frame[1], None)

    def answer(self, call: PendingCall, frame: Frame) -> None:
        """Give a call the frame that is its answer, and the only one about it: as `receive`, of a
        call of this very class."""
        call.first = frame
        call.over = call.ready = True
        on_ready = call.on_ready
        if call._waiters:
            call.notify()
        elif on_ready is not None:  # as `notify`, a function call less
            call.on_ready = None
            on_ready(call)
        # At the end: until then, an interruption finds it among those that are to have an outcome.
        self._open.pop(frame[1], None)

    def ahead_of(self, pending: PendingCall) -> list[PendingCall]:
        """The calls before this one that have no answer yet, the eldest first."""
        calls = [call for call in list(self._open.values()) if isinstance(call, PendingCall)]
        before = [call for call in calls if INIT_ID < call.call_id < pending.call_id]
        before.sort(key=lambda call: call.call_id)
        return [call for call in before if call.first is None]

    def given_up(self) -> list[int]:
        """The calls that nobody waits for and that may still run over there, the eldest first."""
        calls = list(self._open.items())
        return sorted(call_id for call_id, call in calls if call.closed or call.left)

    def withdraw(self, pending: PendingCall) -> None:
        """Take a call out that was not sent."""
        self._open.pop(pending.call_id, None)

    def abandon(self, pending: PendingCall, close: Callable[[int], None]) -> None:
        """Nobody waits for this call any more; `close` withdraws it over there if it has not
        begun, and ends its stream if it has one."""
        if pending.call_id not in self._open or pending.closed:
            return
        pending.give_up()
        if pending.first is None:
            self._open[pending.call_id] = _Abandoned(pending.call_id, close)
        close(pending.call_id)  # the END that answers it wakes whoever waits for an item

    def fail_all(self, failure: ErrorFactory) -> None:
        """End every open call. One may have run if it was said to have begun; and if nothing was
        said, exactly the oldest one without a reply may."""
        oldest = True
        for call_id in sorted(self._open):
            sink = self._open.pop(call_id, None)
            if sink is None:
                continue  # its last frame came this very moment
            # That the object is made is no call, and a stream was answered by its first frame.
            apart = call_id <= INIT_ID or (isinstance(sink, PendingCall) and sink.first is not None)
            told = self.begun_up_to is not None and not apart
            begun = call_id <= (self.begun_up_to or 0) if told else apart or oldest
            oldest = oldest and apart
            sink.fail(partial(_failure, failure, begun, sink, begun and told))

    def __len__(self) -> int:
        return len(self._open)


def _failure(
    failure: ErrorFactory, begun: bool, call: PendingCall | _Abandoned, surely: bool
) -> BaseException:
    """The failure of a call; that of one that is known to have begun says that it was running."""
    error = failure(begun)
    if begun and isinstance(error, ActorDiedError) and isinstance(call, PendingCall) and call.sent:
        with import_lock:
            from .descriptions import describe_request  # for a faster start-up

        return error.of_call(describe_request(call.sent), surely)
    return error
