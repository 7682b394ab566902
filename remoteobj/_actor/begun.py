"""What an actor has begun and not ended, where it can have begun many things at once."""

from __future__ import annotations

import asyncio

from .._os.poller import clock
from .._protocol.messages import Frame
from .clients import Client
from .execution import Running

__all__ = ["Begun"]


class Begun:
    """A request that is awaited, or a stream while it makes items."""

    __slots__ = ("client", "given_up", "request", "since", "task")

    def __init__(self, client: Client, request: Frame) -> None:
        self.client = client
        self.request = request
        self.since = clock()
        self.task: asyncio.Task[None] | None = None
        """None until its first step has been run."""
        self.given_up = False
        """Whether it is to end since nobody waits for it, or since the actor ends."""

    @property
    def running(self) -> Running:
        """The same as others are told of it."""
        return Running(self.client, self.request, self.since)

    def is_of(self, client: Client, call_id: int) -> bool:
        """Whether it is this call."""
        return self.client is client and self.request.call_id == call_id

    def cancel(self) -> None:
        """Have it end at what it awaits."""
        self.given_up = True
        if self.task is not None:
            self.task.cancel()
