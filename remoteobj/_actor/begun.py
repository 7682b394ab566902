"""What an actor has begun and not ended, where it can have begun many things at once."""

from __future__ import annotations

import asyncio

from .._os.poller import clock
from .._protocol.messages import Frame, Kind
from .clients import Client
from .execution import Running

__all__ = ["Begun"]

_NO_REQUEST = Frame(Kind.CALL, 0)


class Begun:
    """A request that is awaited, or a stream while it makes items."""

    # In the class, since most are over before there is anything else to say of them.
    place: int | None = None
    """Where a `Recorder` has noted it."""
    task: asyncio.Task[None] | None = None
    """None until its first step has been run, and when it is over."""
    given_up = False
    """Whether it is to end since nobody waits for it, or since the actor ends."""
    _error: BaseException | None = None
    """By which it is to end, rather than as one that is cancelled."""

    def __init__(self, client: Client, request: Frame) -> None:
        self.client = client
        self.request = request
        self.since = clock()

    def let_go(self) -> None:
        """It is over. Its task, and those that it has made, which may live on, lead here by their
        contexts: by this neither the task nor what was sent waits for a garbage collector."""
        self.task, self.request = None, _NO_REQUEST

    @property
    def running(self) -> Running:
        """The same as others are told of it."""
        return Running(self.client, self.request, self.since, 0, self.task, self.interrupt)

    def is_of(self, client: Client, call_id: int) -> bool:
        """Whether it is this call."""
        return self.client is client and self.request.call_id == call_id

    def interrupt(self, error: BaseException) -> None:
        """Have it end by an error at what it awaits. Its own code is told that it is cancelled."""
        self._error = error
        if self.task is not None:
            self.task.cancel()

    def raised(self, exc: BaseException) -> BaseException:
        """What is to be told as raised, where users' code has let this through."""
        error, self._error = self._error, None
        if error is None or not isinstance(exc, asyncio.CancelledError):
            return exc
        # As if it had been raised where it was cancelled.
        return error.with_traceback(exc.__traceback__)

    def cancel(self) -> None:
        """Have it end at what it awaits."""
        self.given_up = True
        if self.task is not None:
            self.task.cancel()
