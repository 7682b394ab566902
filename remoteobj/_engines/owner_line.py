"""What an actor says to its owner beside its calls: answers to orders, and records of `logging`.

Several threads say something, and each frame goes out whole, in the order in which it was said.
"""

from __future__ import annotations

import signal
import threading
import time

# A tenth of those of `signal`, which make enums of the numbers.
from _signal import pthread_sigmask, valid_signals  # type: ignore[import-not-found]
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from .._protocol.frames import encode
from .._protocol.messages import Frame
from .._wire.channel import ChannelClosedError, StreamChannel
from .._wire.transport import ByteStream

__all__ = ["OwnerLine"]

_FAULTS: Final = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
_CAN_WAIT: Final = frozenset(valid_signals() - _FAULTS - {signal.SIGPIPE})
"""Signals whose handlers may raise. SIGPIPE is the channel's own matter."""


class OwnerLine:
    """The actor's end of the control channel. One thread reads from `channel`, any may `say`."""

    def __init__(self, control: ByteStream) -> None:
        self.channel: StreamChannel = StreamChannel(control)
        self._lock = threading.RLock()
        self._unsent: deque[Any] = deque()
        """What was said, and had no room; of the first one, its rest."""
        self.no_room: Callable[[], object] = _nothing
        """Told when there was no room: whoever can is to `catch_up` once there is."""
        self.room_again: Callable[[], object] = _nothing
        """Told by `catch_up` when all that was said is written."""

    @property
    def is_behind(self) -> bool:
        """Whether something that was said is not written yet, since the owner does not read."""
        return bool(self._unsent)

    def say(self, frame: Frame, patience: float = 0.0) -> bool:
        """Write a frame; False: there was no room for `patience` seconds, and it is dropped.

        Raises:
            ChannelClosedError: the owner is gone.
        """
        data = b"".join(encode(frame))
        # A signal handler, in the midst of what this thread is writing: that goes first.
        if self._lock._is_owned():  # type: ignore[attr-defined]
            self._unsent.append(data)
            return True
        deadline = time.monotonic() + patience
        with self._lock:
            said = self._flush(deadline)
            if said:
                self._unsent.append(data)
                self._flush(deadline)
        if not said or self._unsent:
            self.no_room()
        return said

    def catch_up(self, patience: float = 0.0) -> bool:
        """Write what had no room; False: there is still none, or another thread is at it. Where the
        owner is gone, there is nothing left to do."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            done = self._flush(time.monotonic() + patience)
        except ChannelClosedError:
            return True
        finally:
            self._lock.release()
        if done:
            self.room_again()
        return done

    def _flush(self, deadline: float) -> bool:
        """Write what there is room for until then; whether all is written."""
        while self._unsent:
            if self._write_first():
                continue
            if time.monotonic() >= deadline or not self.channel.wait_to_write(False, deadline):
                return False
        return True

    def _write_first(self) -> bool:
        """Write what there is room for of the first one; whether that is all of it.

        No handler of a signal runs between the write and the note of it: one that raises there, as
        an interruption does, would have the same bytes written again.
        """
        # Asked first: a handler that raises here has changed nothing.
        before = pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            pthread_sigmask(signal.SIG_BLOCK, _CAN_WAIT)
            left = self.channel.write([self._unsent[0]])
            if left:
                self._unsent[0] = left[0]
            else:
                self._unsent.popleft()
        finally:
            pthread_sigmask(signal.SIG_SETMASK, before)
        return not left


def _nothing() -> None:
    """Nobody is there yet who could do more."""
