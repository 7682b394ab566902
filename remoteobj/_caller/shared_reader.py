"""The read side of a connection: one thread reads for all that wait (leader and followers).

There is no reader thread. A thread that waits for its reply takes the turn to read, and hands what
is not its own to the others, which sleep. When its reply is here, it wakes one of them to take the
turn. So a lone caller pays for no switch between threads, and many share one connection.

Invariants:

- Only the thread that has the turn reads from the channel and delivers frames.
- While a thread sleeps in `wait`, another one has the turn, or has just given it up and wakes one
  that sleeps.
- An exception in the midst of a read ends the connection, as in a write (`frame_writer`). An
  exception in a wait for something to read ends only that wait.

Lock order: as in `frame_writer`. Who has the turn to read never waits for the writer's lock.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from .._os.wakeup import OneShotEvent
from .._protocol.calls import ConnectionEndedError, PendingCall, ReenteredError
from .._protocol.chains import serving_thread, serving_threads
from .._protocol.messages import MalformedFrameError
from .._wire.channel import Channel, ChannelClosedError
from .incoming import Incoming

__all__ = ["ANSWERED", "OVER", "READY", "Done", "ReadingTurn", "SharedReader"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

LINGER = 1.0
"""Seconds in which what a closed connection still holds can be read."""

NOW: Final = 0.0
"""A deadline that has passed."""

Done = Callable[[PendingCall], bool]
READY: Final[Done] = attrgetter("ready")
"""What a wait is done by: something is here to take."""
ANSWERED: Final[Done] = attrgetter("answered")
"""What a wait is done by, of which there may be several for one call: its outcome came."""
OVER: Final[Done] = attrgetter("over")
"""What a wait is done by: nothing more will come."""


class ReadingTurn:
    """The turn to read, which one thread at a time has::

        with turn as mine:  # False if another thread has it
            ...

    No exception, whenever it comes, leaves the turn to a thread that is gone.
    """

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """In a forked child: a thread of the parent may have the turn."""
        # Reentrant because it then knows its owner, like the writer's lock.
        self.lock: Any = threading.RLock()
        self.sleepers: dict[OneShotEvent, None] = {}
        """The threads that wait without the turn, those that came first at first."""

    def __enter__(self) -> bool:
        try:
            mine: bool = self.lock.acquire(False)
            return mine
        except BaseException:  # a signal handler's, just after the lock was taken
            self.give_up()
            raise

    def give_up(self, *_: object) -> None:
        """End this thread's turn, if it has it, and wake a sleeper to take it."""
        if self.lock._is_owned():
            self.lock.release()
            if self.sleepers:
                with contextlib.suppress(StopIteration, RuntimeError):  # it left, or another came
                    next(iter(self.sleepers)).wake()

    __exit__ = give_up

    def hand_over(self) -> bool:
        """If no thread has the turn, let a sleeper take it; whether none had it."""
        with self as mine:
            return mine


class SharedReader:
    """Reads a channel for all threads of this process."""

    def __init__(self, channel: Channel, incoming: Incoming) -> None:
        self._channel = channel
        self._incoming = incoming
        self.turn = ReadingTurn()

    def wait(self, call: PendingCall, done: Done, deadline: float | None = None) -> bool:
        """Wait until a call is `done`; False when `deadline` passed first.

        Raises:
            ReenteredError: this thread has the turn, further down its stack.
        """
        turn, incoming = self.turn, self._incoming
        while not done(call):
            if turn.lock._is_owned():
                raise ReenteredError
            with turn as mine:
                while mine and incoming.closed_because is None and not done(call):
                    self._read_once(deadline)
                    if deadline is not None and time.monotonic() >= deadline:
                        break
            if incoming.closed_because is not None:
                incoming.fail_if_closed(call)
            if not mine:
                self._sleep(call, done, deadline)
            if deadline is not None and time.monotonic() >= deadline:
                return done(call)
        if turn.sleepers:
            turn.hand_over()
        return True

    def _sleep(self, call: PendingCall, done: Done, deadline: float | None) -> None:
        """Sleep until the thread that reads wakes this one, or the time is up."""
        event = call.add_waiter(OneShotEvent())
        sleepers = self.turn.sleepers
        sleepers[event] = None
        self._channel.keep_cpu()
        try:
            # Both are looked at once this thread can be woken: no wake-up is missed.
            if not (done(call) or self.turn.hand_over()):
                event.wait(-1.0 if deadline is None else max(0.0, deadline - time.monotonic()))
        finally:
            sleepers.pop(event, None)
            call.remove_waiter(event)

    def poll(self, once: bool = False) -> bool:
        """Take in all that is there, or what one read gives, without waiting. False: another thread
        has the turn, or this one has it further down its stack."""
        if self.turn.lock._is_owned():
            return False
        with self.turn as mine:
            if mine:
                while self._incoming.closed_because is None and self._read_once(NOW) and not once:
                    pass
            return mine

    def wait_writable(self) -> None:
        """Wait until the channel may take more, and take in what comes meanwhile: the other side
        may be waiting for that before it reads on.

        Raises:
            ChannelClosedError: the connection has ended.
        """
        host = serving_thread() if serving_threads else None
        with self.turn as mine:
            if self._incoming.closed_because is not None:
                raise ChannelClosedError
            if not self._channel.wait_to_write(mine, None, host) and mine:
                self._read_once(time.monotonic())

    def fail_unsent(self, call: PendingCall) -> None:
        """Give a call its outcome that could not be sent, since the other side has closed.

        Raises:
            ConnectionEndedError: it has none yet, and is to be sent by another connection.
        """
        self._read_to_the_end()
        if self._incoming.renewable:
            raise ConnectionEndedError
        self._incoming.fail_unsent(call)

    def _read_to_the_end(self) -> None:
        """Take in the replies and the last word that may still be there to read."""
        while self._incoming.closed_because is None:
            with self.turn as mine:
                if not mine:
                    return  # the thread that reads will find the end
                if not self._read_once(time.monotonic() + LINGER):
                    self._incoming.close()

    def close_channel(self, writing: Any) -> None:
        """Let go of the channel, while no other thread reads or writes: the numbers of its
        descriptors may be those of other files in the next moment. `writing` is held to write."""
        self._channel.shutdown()
        self._channel.wake()
        # In this order, as everywhere; a limit, since this thread may have the turn already.
        taken = [lock for lock in (writing, self.turn.lock) if lock.acquire(timeout=LINGER)]
        try:
            self._channel.close()
        finally:
            for lock in taken:
                lock.release()

    def _read_once(self, deadline: float | None) -> bool:
        """Wait for something to read and deliver it; False when the deadline passed first."""
        if not self._channel.wait(deadline):
            return False
        self.take()
        return True

    def take(self) -> None:
        """Deliver what is there to be read. For the thread that has the turn."""
        try:
            for frame in self._channel.take():
                self._incoming.deliver(frame)
        except BaseException as exc:
            self.failed(exc)

    def failed(self, exc: BaseException) -> None:
        """End the connection since reading has failed; an interruption of it is raised again."""
        if isinstance(exc, ChannelClosedError):
            self._incoming.close()
        elif isinstance(exc, MalformedFrameError):
            self._incoming.hang_up(str(exc))
        else:
            self._incoming.interrupt()
            raise exc
