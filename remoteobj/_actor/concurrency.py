"""How many requests of an actor are begun at once, and by what they are driven.

::

    class with `async def` methods ──> one event loop in the thread that serves (`loop_runner`)
    max_concurrency above 1        ──> so many threads (`thread_runner`)
    all others                     ──> one at a time, by the mailbox itself

The first two are imported by actors that need them alone.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Final, TypeAlias

from .._fast_typing import NamedTuple
from .._os.lazy_import import import_lock
from .awaitables import has_coroutines, is_coroutine_function

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from .actor_server import ActorServer
    from .loop_runner import LoopRunner

__all__ = ["AS_USUAL", "Concurrency"]

USUAL_LIMIT: Final = 100
"""How many requests are begun at once in an actor with `async def` methods, if it is not said."""


AtHome: TypeAlias = "Callable[[], AbstractContextManager[None]]"


class Concurrency(NamedTuple):
    """What the options say about it."""

    limit: int | None = None
    """How many requests may be begun and not over; None: as many as is usual for the class."""
    event_loop: str = "asyncio"
    """The kind of the event loop, where there is one."""

    def needs(self, cls: type) -> str:
        """What it is about objects of a class that needs more than the thread of their owner; empty
        if there is nothing."""
        if cls is CoroutineType or has_coroutines(cls):
            return "`async def` methods"
        return f"max_concurrency={self.limit}" if (self.limit or 1) > 1 else ""

    def apply(self, server: ActorServer, at_home: AtHome) -> None:
        """Have the requests of a server driven as its object needs it, from now on.

        Args:
            at_home: the time in which a thread is the object's home.
        """
        if server.runner is not server.mailbox:
            return  # it has its loop since before it was made
        if is_coroutine_function(server.root) or has_coroutines(type(server.root)):
            self.give_loop(server)
        elif (self.limit or 1) > 1:
            self._give_threads(server, at_home)

    def _give_threads(self, server: ActorServer, at_home: AtHome) -> None:
        with import_lock:
            from . import thread_runner  # for a faster start-up: few need it

        assert self.limit is not None
        server.runner = server.many = thread_runner.of_server(server, self.limit, at_home)

    def give_loop(self, server: ActorServer) -> LoopRunner:
        """Have them driven by an event loop, which is made."""
        with import_lock:
            from . import loop_runner  # for a faster start-up: it needs asyncio

        limit = USUAL_LIMIT if self.limit is None else self.limit
        runner = loop_runner.of_server(server, self.event_loop, limit)
        server.runner = server.many = server.loop_runner = runner
        return runner


AS_USUAL = Concurrency()
"""Where nothing is said about it."""
