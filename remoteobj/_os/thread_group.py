"""Threads that do one piece of work each, and their owner, who can wait for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["ThreadGroup"]


class ThreadGroup:
    """The threads of one owner that have not ended.

    They are daemons: whoever needs them to have ended calls `join`.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may join them within `begin`
        self._threads: set[threading.Thread] = set()

    def begin(self, name: str, act: Callable[[], object]) -> threading.Thread:
        """Call `act` in a thread of this name.

        Raises:
            RuntimeError: there can be no other thread, or it is too late in the program's end.
        """

        def run() -> None:
            try:
                act()
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:  # nobody joins one that has not been started
            thread.start()
            self._threads.add(thread)
        return thread

    @property
    def others(self) -> set[threading.Thread]:
        """Those that have begun, but for the calling one."""
        with self._lock:
            return self._threads - {threading.current_thread()}

    def join(self) -> None:
        """Wait for those that have begun; one of them does not wait for itself."""
        for thread in self.others:
            thread.join()
