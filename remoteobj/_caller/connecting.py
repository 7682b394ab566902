"""Awaited calls that wait until their connection is made. Imported only by what awaits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable

from .connection import Connection
from .endpoint import Endpoint

__all__ = ["Connecting"]


class Connecting:
    """The calls of one event loop on one object for which a thread makes the connection.

    They go on in the order in which they were made. Calls that are made meanwhile line up behind
    them, also once the connection is there, until all who came before have been sent; then it calls
    `forget`.
    """

    def __init__(self, endpoint: Endpoint, forget: Callable[[], object]) -> None:
        self._endpoint = endpoint
        self._forget = forget
        self._waiting: deque[asyncio.Future[Connection]] = deque()
        self._connect()

    async def connection(self) -> Connection:
        """The connection, in turn.

        Raises:
            NotListeningError: nobody listens.
        """
        turn: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        return await turn

    def _connect(self) -> None:
        """Have the connection made in a thread of its own: that may take as long as the restart of
        an actor, and the end of the loop waits for those of `asyncio.to_thread`."""
        loop = asyncio.get_running_loop()

        def run() -> None:
            connection = error = None
            try:
                connection = self._endpoint.ensure_connected()
            except BaseException as exc:
                error = exc
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._made, connection, error)

        name = f"remoteobj-connect-{self._endpoint.name}"
        threading.Thread(target=run, name=name, daemon=True).start()

    def _made(self, connection: Connection | None, error: BaseException | None) -> None:
        for turn in self._take_all():
            if connection is None:
                turn.set_exception(error or RuntimeError("the connection was not made"))
            else:
                turn.set_result(connection)
        self._look_again()

    def _look_again(self) -> None:
        """See who has come meanwhile, once those before have gone on: they do so first."""
        asyncio.get_running_loop().call_soon(self._let_in)

    def _let_in(self) -> None:
        connection = self._endpoint.open_connection
        if not self._waiting:
            self._forget()
        elif connection is None:
            self._connect()
        else:
            for turn in self._take_all():
                turn.set_result(connection)
            self._look_again()

    def _take_all(self) -> list[asyncio.Future[Connection]]:
        waiting, self._waiting = self._waiting, deque()
        return [turn for turn in waiting if not turn.done()]
