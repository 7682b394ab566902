"""How an event loop reads a connection: by itself, for as long as its coroutines wait for outcomes.

No thread comes in between. What the loop watches is a duplicate of the connection's descriptor:
another thread may close the connection at any moment, and the number of a closed descriptor, which
the loop would still watch, may be given to anything.

While a loop is blocked by what it runs, or has been closed with calls open, it reads nothing. The
outcomes that it awaits can wait then, but not the actor, which has to keep what nobody takes. And
that its process has ended may be told by something else than this descriptor. So the I/O thread
looks in on such connections, some times in the first second and twice a second after that. Futures
it reads for anyhow, and a thread that waits for an outcome reads for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import time
from collections.abc import Callable

from .._os.callback_errors import report_callback_error
from .._os.descriptors import Duplicate
from .._os.io_thread import reactor
from .._protocol.calls import PendingCall
from .connection import Connection

__all__ = ["LoopReader", "runs_here"]

TRIES = 16
"""Times in a row that a loop finds another thread reading, before it takes a nap."""
NAP = 1e-3
"""Seconds for which it then leaves the reading to that thread, which has a long frame to take."""
FIRST_LOOK, AFTER_HELP, LAST_LOOK = 0.05, 1e-3, 0.5
"""Seconds after which the I/O thread looks in: at first, when it has just found something to read,
and at most. Each time in vain it takes twice as long."""


def runs_here(loop: asyncio.AbstractEventLoop | None) -> bool:
    """Whether this loop is the one that runs in this thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


class LoopReader:
    """One connection, as one event loop reads it.

    It watches the connection from the first `begin` until the turn of the loop after the last
    `end`, so that of calls that are awaited one after the other not each is registered anew. Then
    it calls `forget`.

    All but `help` is for the loop's own thread; only `end` may come from a finalizer in another.
    """

    def __init__(
        self,
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        connection: Connection,
        forget: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._connection = connection
        self._forget = forget
        self._leaving = False
        self._waiting: set[PendingCall] = set()
        self._watched: Duplicate | None = None
        self._in_vain = 0
        self._nap: asyncio.TimerHandle | None = None

    def begin(self, call: PendingCall) -> bool:
        """Read, for this call; False: it must be done in another way."""
        if self._watched is None and not self._watch():
            return False
        self._waiting.add(call)
        return True

    def end(self, call: PendingCall) -> None:
        """Read for this call no longer."""
        self._waiting.discard(call)
        if self._waiting or self._leaving:
            return
        loop, self._leaving = self._loop(), True
        if self._watched is None or loop is None or loop.is_closed():
            self._leave()
        elif runs_here(loop):
            loop.call_soon(self._leave)
        elif self._watched.fd >= 0:  # else this is a fork, of a loop that it must not touch
            # A coroutine was collected in another thread, or while the loop does not run.
            with contextlib.suppress(RuntimeError):  # it has just been closed
                loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._leaving = False
        if not self._waiting:
            _standby.dismiss(self)
            self._unwatch()
            self._forget()

    def help(self) -> bool:
        """Read in place of the loop, from the I/O thread; whether it was in need of that."""
        needed = _readable(self._connection.fileno())
        self._connection.poll()  # finds the end of the other process, too
        loop = self._loop()
        if loop is None or loop.is_closed():
            self._unwatch()
            if all(call.ready for call in list(self._waiting)):
                _standby.dismiss(self)
        return needed

    def _watch(self) -> bool:
        loop = self._loop()
        assert loop is not None
        try:
            watched = Duplicate(self._connection.fileno())
            loop.add_reader(watched.fd, self._read)
        except (NotImplementedError, OSError):  # no selector, no descriptor is free, or closed
            return False
        self._watched = watched
        _standby.call(self)
        return True

    def _unwatch(self) -> None:
        watched, self._watched = self._watched, None
        nap, self._nap = self._nap, None
        if nap is not None:
            nap.cancel()
        if watched is not None:
            loop = self._loop()
            if loop is not None and watched.fd >= 0:  # else this is a fork, of a loop that has it
                with contextlib.suppress(RuntimeError):  # it is closed
                    loop.remove_reader(watched.fd)
            watched.close()

    def _read(self) -> None:
        """There is something to read. One read at a time: the loop has other things to do."""
        if self._connection.poll(once=True):
            self._in_vain = 0
            return
        self._in_vain += 1
        loop = self._loop()
        if self._in_vain >= TRIES and self._watched is not None and loop is not None:
            self._in_vain = 0
            loop.remove_reader(self._watched.fd)
            self._nap = loop.call_later(NAP, self._wake_up)

    def _wake_up(self) -> None:
        self._nap = None
        loop = self._loop()
        if self._watched is not None and loop is not None:
            loop.add_reader(self._watched.fd, self._read)


def _readable(fd: int) -> bool:
    if fd < 0:  # it is closed
        return False
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


class _Standby:
    """Has the I/O thread look in on what event loops read."""

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._readers: set[LoopReader] = set()
        self._called = False
        self._delay = FIRST_LOOK

    def call(self, reader: LoopReader) -> None:
        """Look in on this one until it is dismissed."""
        self._readers.add(reader)
        if not self._called:
            self._delay = FIRST_LOOK
            self._come_again()

    def dismiss(self, reader: LoopReader) -> None:
        self._readers.discard(reader)

    def _come_again(self) -> None:
        self._called = True
        try:
            reactor.call_at(time.monotonic() + self._delay, self._look)
        except RuntimeError:  # too late in the program's end for a thread
            self._called = False

    def _look(self) -> None:
        self._called = False  # before it looks: who comes now calls again
        needed = False
        for reader in list(self._readers):
            try:
                needed = reader.help() or needed
            except BaseException as exc:  # it has ended the connection
                report_callback_error(exc)
        if self._readers and not self._called:
            self._delay = AFTER_HELP if needed else min(2 * self._delay, LAST_LOOK)
            self._come_again()


_standby = _Standby()
