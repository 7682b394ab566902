"""What a caller holds while more is to come: the stream of a remote iterator."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ._connection import Connection
from ._messages import WINDOW, Frame, Kind
from ._protocol import Ticket
from .errors import NotListeningError

__all__ = ["Stream"]


class Stream(Iterator[Any]):
    """The items of an iterator that lives in another process, as they come.

    The iterator over there runs at most a window of items ahead of this one. Its exception
    arrives after the items before it; closing or dropping the stream closes it.
    """

    def __init__(
        self,
        connection: Connection,
        ticket: Ticket,
        read: Callable[[Frame], Any],
        owner: object = None,
    ) -> None:
        self._connection = connection
        self._ticket = ticket
        ticket.streaming = True
        self._read = read
        self._owner = owner  # the handle: while items are wanted, its actor must not stop
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._taken = 0
        self._over = False

    def __iter__(self) -> Stream:
        return self

    def __repr__(self) -> str:
        return f"<Stream of remote items, {'over' if self._over else 'open'}>"

    def __next__(self) -> Any:
        if self._pid != os.getpid():
            raise NotListeningError("a stream belongs to the process that opened it")
        with self._lock:
            if self._over:
                raise StopIteration
            self._connection.wait(self._ticket)
            if self._over:
                raise StopIteration  # closed by another thread, meanwhile
            if not self._ticket.items:
                self._over = True
                assert self._ticket.failure is not None
                raise self._ticket.failure()
            return self._take(self._ticket.items.popleft())

    def _take(self, frame: Frame) -> Any:
        if frame.kind != Kind.ITEM:
            self._over = True
            value = self._read(frame)  # raises the iterator's own exception
            raise StopIteration(value)
        self._taken += 1
        if self._taken * 2 >= WINDOW:
            self._connection.grant(self._ticket, self._taken)
            self._taken = 0
        return self._read(frame)

    def close(self) -> None:
        """End the iterator over there; its `finally` runs. Harmless when it is over."""
        if not self._over and self._pid == os.getpid():
            self._over = True
            self._connection.abandon(self._ticket)

    def __del__(self) -> None:
        self.close()
