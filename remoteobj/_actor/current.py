"""Which actor the running code belongs to."""

from __future__ import annotations

import threading

__all__ = ["current_actor"]


class CurrentActor(threading.local):
    """The proxy of the actor that the calling thread, or else this process, belongs to."""

    process: object = None

    def __init__(self) -> None:
        self.thread: object = None

    def enter(self, proxy: object, this_thread_only: bool) -> object:
        """Belong to this actor; returns what `leave` needs in order to undo it."""
        before = self.thread
        if this_thread_only:
            self.thread = proxy
        else:
            type(self).process = proxy
        return before

    def leave(self, before: object) -> None:
        """Belong to what the thread belonged to before."""
        self.thread = before

    def get(self) -> object:
        """The proxy; None where the running code belongs to no actor."""
        return self.thread if self.thread is not None else self.process


current_actor = CurrentActor()
