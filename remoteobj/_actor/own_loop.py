"""The loop that an object has of its own: what paces it, and what must not outlast it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

from .._os.fork_safety import Closable
from .pacing import Pacer
from .serving import Serving

__all__ = ["OwnLoop"]


class OwnLoop:
    """The loop, as far as its server has to do with it.

    Args:
        name: the object's.
        serving: who runs the requests.
        thread: the one thread that may have the loop; None: any may.
    """

    def __init__(self, name: str, serving: Serving, thread: int | None) -> None:
        self._name = name
        self._serving = serving
        self._thread = thread
        self._pacer: Callable[[], Pacer | None] = lambda: None
        """What paces it, or did; None once that is forgotten."""
        self._lock = threading.RLock()
        self._waited_for: weakref.WeakSet[Closable] = weakref.WeakSet()

    def check(self, others_may_serve: bool) -> None:
        """Refuse to pace what is no loop of this thread.

        Args:
            others_may_serve: whether another thread may be serving just now: it goes on, or is
                taken over from.

        Raises:
            RuntimeError: this thread is within a request, or in another loop so paced, or it is not
                the one that runs requests, or may.
        """
        serving, name = self._serving, self._name
        if serving.within_request:
            raise RuntimeError(
                f"every_ paces a loop of {name}'s own, and this is within a request: mark a method "
                "that is to run by itself as @remote.work"
            )
        another = serving.depth > 0 and not (others_may_serve or serving.by_loop)
        if another or self._thread not in (None, threading.get_ident()):
            raise RuntimeError(
                f"another thread than this one runs the requests of {name}: call every_ in the "
                "loop that serves it, which for an actor is its @remote.work method"
            )
        pacer = self._pacer()
        if pacer is not None and pacer.open:
            raise RuntimeError(
                f"the loop of {name} is paced by every_({pacer.period}) already: count its ticks "
                "for what is to be done less often, or leave it first, by `break` or its close()"
            )

    def paced(
        self, period: float, serve: Callable[[float], object], goes_on: Callable[[], bool]
    ) -> Pacer:
        """Its ticks."""
        pacer = Pacer(period, serve, goes_on)
        self._pacer = weakref.ref(pacer)
        return pacer

    def closes(self, follower: Closable) -> bool:
        """Whether this, which the calling code has just made, is the loop's, and is closed with it.
        Else the loop could wait for an item for ever."""
        if self._thread != threading.get_ident() or self._serving.within_request:
            return False
        with self._lock:
            self._waited_for.add(follower)
        return True

    def end(self) -> None:
        """It is to end: what it waits for does. From any thread."""
        with self._lock:
            ending = list(self._waited_for)
        for one in ending:
            one.close()
