"""The caller's end of an iterator that lives in another process."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from .._fast_typing import Protocol
from .._os.fork_safety import fork_generation
from .._os.lazy_import import import_lock
from .._pickling.codec import dumps
from .._pickling.exceptions import pack_error
from .._protocol.calls import PendingCall
from .._protocol.messages import Bytes, Frame, Kind, credit_frame
from ..errors import CallTimeoutError, NotListeningError
from .answers import RETURNED_SELF, decode_answer
from .call_options import CallOptions

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Stream", "result_of"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

T_co = TypeVar("T_co", covariant=True)

_ITEM = Kind.ITEM  # a bare name: see `endpoint`


class Stream(Iterator[T_co], AsyncIterator[T_co]):
    """The items of an iterator that lives in another process, as they come.

    It begins when it is asked to: `for`, and whatever else calls `iter`, lets it run ahead, by
    at most a window of items; a bare `next`, and `send` and `throw`, which a generator has, go
    step by step. The iterator's exception arrives after the items before it. Closing or dropping
    the stream closes the iterator. All of this has an `async` form.
    """

    def __init__(
        self,
        connection: Connection,
        pending: PendingCall,
        read: Callable[[Frame, Bytes], T_co],
        owner: object = None,
        *,
        window: int,
        timeout: float | None = None,
        timed_out: Callable[[], CallTimeoutError] = CallTimeoutError,
    ) -> None:
        self.connection = connection
        self.pending = pending
        pending.stream()
        self._read = read
        self._owner = owner  # the handle: while items are wanted, its actor must not be stopped
        self._window = window
        self.timeout = timeout
        self.timed_out = timed_out
        """Makes the error when an item takes too long. It asks the actor why, which takes time."""
        self._fork_generation = fork_generation[0]
        self._lock = threading.Lock()
        self._window_now = 1  # items that it may run ahead at present
        self._refill_below = 0  # more items are requested when no more than these are on their way
        self._requested = 0  # items that were requested and not taken
        self._over = False
        self._being_awaited = False

    @property
    def over(self) -> bool:
        """Whether nothing more will be taken from it."""
        return self._over

    def __repr__(self) -> str:
        return f"<Stream of remote items, {'over' if self._over else 'open'}>"

    # --- iterating -------------------------------------------------------------------------

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a stream can't be pickled, since its items come to this process: send the proxy, and "
            "make the call there"
        )

    def __iter__(self) -> Stream[T_co]:
        with self._lock, contextlib.suppress(StopIteration):
            self._run_ahead()
            self._request_items()
        return self

    def __next__(self) -> T_co:
        with self._lock:
            if (
                self._requested <= self._refill_below
                or self._over
                or self._fork_generation != fork_generation[0]
            ):
                self._request_items()
            return self.take() if self.pending.ready else self._next()

    def send(self, value: Any) -> T_co:
        """Give the generator a value, as its own `send` does; the next item.

        Raises:
            RuntimeError: it has run ahead, so that the value would come too late.
            UnsendableError: the value can't be pickled. The stream goes on.
        """
        if value is None:
            return next(self)
        with self._lock:
            self._send_command(Kind.SEND, *dumps(value, "value", self.connection.writable))
            return self._next()

    def throw(self, error: BaseException) -> T_co:
        """Raise an exception in the generator, as its own `throw` does; the next item."""
        with self._lock:
            self._send_command(Kind.RAISE, pack_error(error))
            return self._next()

    def close(self) -> None:
        """End the iterator over there; its `finally` runs. Harmless when it is over."""
        if not self._over and self._fork_generation == fork_generation[0]:
            self._over = True
            self.connection.abandon(self.pending)

    # The names of a module may be gone by the time in which the interpreter ends.
    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():  # in which the connection ends, and all that it has open
            self.close()

    # --- the same, awaited -----------------------------------------------------------------

    def __aiter__(self) -> Stream[T_co]:
        self._run_ahead()
        return self

    def __anext__(self) -> Awaitable[T_co]:
        return self._step(partial(self._request_items, wait=False))

    def asend(self, value: Any) -> Awaitable[T_co]:
        """`send`, awaited."""
        if value is None:
            return self.__anext__()
        said = dumps(value, "value", self.connection.writable)
        return self._step(partial(self._send_command, Kind.SEND, *said, wait=False))

    def athrow(self, error: BaseException) -> Awaitable[T_co]:
        """`throw`, awaited."""
        return self._step(partial(self._send_command, Kind.RAISE, pack_error(error), wait=False))

    async def aclose(self) -> None:
        """`close`, which waits for nothing either."""
        self.close()

    def _step(self, begin: Callable[[], None]) -> Awaitable[T_co]:
        step: Awaitable[T_co] = _event_loop().step(self, begin)
        return step

    # --- the steps of both -------------------------------------------------------------------

    def _run_ahead(self) -> None:
        self._window_now, self._refill_below = self._window, self._window // 2

    def _request_items(self, wait: bool = True) -> None:
        """Let the iterator run as far ahead as it may: again once half of that has been taken."""
        self._check()
        if self._requested <= self._refill_below:
            more = self._window_now - self._requested
            self._requested = self._window_now
            self.connection.post(credit_frame(self.pending.call_id, more), wait)

    def _send_command(
        self, kind: int, payload: bytes, buffers: Any = (), wait: bool = True
    ) -> None:
        self._check()
        if self._requested:
            raise RuntimeError(
                "this stream has run ahead of its consumer, so that what is sent to it would "
                "come too late; use next(), send() and throw() alone, or with_(window=1)"
            )
        self._requested = 1
        self.connection.post(Frame(kind, self.pending.call_id, payload, buffers), wait)

    def _check(self) -> None:
        if self._fork_generation != fork_generation[0]:
            raise NotListeningError("a stream belongs to the process that opened it")
        if self._over:
            raise StopIteration

    def _next(self) -> T_co:
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        if not self.connection.wait(self.pending, deadline):
            error = self.timed_out()
            self.close()
            raise error
        return self.take()

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """The time in which a coroutine waits for an item. Only one at a time may wait."""
        if self._being_awaited:
            raise RuntimeError("this stream is being awaited already")
        self._being_awaited = True
        try:
            yield
        finally:
            self._being_awaited = False

    def take(self) -> T_co:
        """The item that is here; raises what ended the stream, be it StopIteration."""
        if self._over:
            raise StopIteration  # closed by another thread, meanwhile
        frame = self.pending.next()
        if frame is None:
            self._over = True
            assert self.pending.failure is not None
            raise self.pending.failure()
        if frame[0] != _ITEM:
            self._over = True
            # To read it may raise the iterator's own exception.
            raise StopIteration(self._read(frame, self.pending.sent))
        self._requested -= 1
        return self._read(frame, self.pending.sent)


class Explainer(Protocol):
    """Who makes the error of an item that takes too long."""

    def timed_out(
        self, options: CallOptions, pending: PendingCall | None, what: str
    ) -> CallTimeoutError: ...


def result_of(
    endpoint: Explainer,
    connection: Connection,
    pending: PendingCall,
    owner: object,
    options: CallOptions,
) -> Any:
    """The value of a call that was answered; raises the exception that it ended with."""
    assert pending.first is not None
    if pending.first.kind == Kind.STREAM:
        return Stream(
            connection,
            pending,
            decode_answer,
            owner,
            window=1 if pending.first.payload else options.window,
            timeout=options.timeout,
            timed_out=lambda: endpoint.timed_out(options, pending, "gave no item of the stream"),
        )
    result = decode_answer(pending.first, pending.sent)
    return owner if result is RETURNED_SELF and owner is not None else result


@cache
def _event_loop() -> ModuleType:
    with import_lock:
        # asyncio at start-up would double the time of our import.
        from . import event_loop

    return event_loop
