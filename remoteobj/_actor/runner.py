"""What drives the requests of a mailbox, as its server sees it: the mailbox itself, or what does so
in its place, where several requests may be begun at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from .._fast_typing import Protocol
from .._protocol.messages import Bytes
from .clients import Client
from .execution import Executor
from .interrupting import Interruptible

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

__all__ = ["LoopDriver", "ManyAtOnce", "Runner"]

T = TypeVar("T")


class Runner(Protocol):
    """Drives the requests of a mailbox."""

    def serve(self, until: Callable[[], bool]) -> None:
        """Run requests until `until()` or the listener stops."""

    def process(self, deadline: float | None, limit: int, lasting: bool) -> int:
        """Run what is there, waiting for the first until `deadline`; how much was run."""
        ...

    def drain(self, fulfil: bool, last_word: Bytes) -> None:
        """Fulfil or refuse every request that has arrived, say goodbye, and close."""


class ManyAtOnce(Runner, Protocol):
    """One that can have begun several requests at once."""

    in_serving_thread: Executor | None
    """What runs requests in the thread that serves, one at a time, if anything does."""

    def give_up(self, client: Client | None, call_ids: Container[int] | None) -> None:
        """Nobody waits any more for these calls of a client, or for any. From any thread."""


class LoopDriver(ManyAtOnce, Interruptible, Protocol):
    """One that has an event loop; what can be interrupted is a coroutine of the actor's own."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    def finish(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the actor's own to its end, and requests meanwhile.

        Raises:
            BaseException: what it raises.
        """
        ...

    def begin(self, awaitable: Awaitable[T]) -> Future[T]:
        """Have something awaited in the loop, which the object's own code has begun by itself. From
        any thread."""
        ...

    def close(self) -> None:
        """End what the object has left running in the loop, and the loop."""
