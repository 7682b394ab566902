"""Awaited calls that wait until their connection is made. Imported only by what awaits."""

from __future__ import annotations

import asyncio
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
        attempt = asyncio.ensure_future(asyncio.to_thread(self._endpoint.ensure_connected))
        attempt.add_done_callback(self._made)

    def _made(self, attempt: asyncio.Future[Connection]) -> None:
        # Asked for also where all who waited have been cancelled: asyncio is not to tell of it.
        error = None if attempt.cancelled() else attempt.exception()
        for turn in self._take_all():
            if attempt.cancelled():
                turn.cancel()
            elif error is not None:
                turn.set_exception(error)
            else:
                turn.set_result(attempt.result())
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
