"""Which actor the running code belongs to."""

from __future__ import annotations

import threading

from .._proxy import Proxy

__all__ = ["current", "here"]


class CurrentActor(threading.local):
    """Which actor the calling thread, or else this process, belongs to."""

    process: Proxy | None = None

    def __init__(self) -> None:
        self.thread: Proxy | None = None

    def enter(self, proxy: Proxy, home_threads: bool) -> Proxy | None:
        """Belong to this actor; what `leave` wants in order to undo it."""
        before = self.thread
        if home_threads:
            self.thread = proxy
        else:
            type(self).process = proxy
        return before

    def leave(self, before: Proxy | None) -> None:
        self.thread = before


here = CurrentActor()


def current() -> Proxy:
    """The proxy of the actor that the caller is in.

    Raises:
        RuntimeError: the caller is in no actor.
    """
    found = here.thread if here.thread is not None else here.process
    if found is None:
        raise RuntimeError("current() is for code that runs inside an actor")
    return found
