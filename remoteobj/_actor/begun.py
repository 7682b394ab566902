"""What an actor has begun and not ended, where it can have begun many things at once."""

from __future__ import annotations

import asyncio

from .execution import Running

__all__ = ["Begun"]


class Begun:
    """A request that is awaited, or a stream while it makes items."""

    __slots__ = ("given_up", "running", "task")

    def __init__(self, running: Running) -> None:
        self.running = running
        self.task: asyncio.Task[None] | None = None
        """None until its first step has been run."""
        self.given_up = False
        """Whether it is to end since nobody waits for it, or since the actor ends."""

    def cancel(self) -> None:
        """Have it end at what it awaits."""
        self.given_up = True
        if self.task is not None:
            self.task.cancel()
