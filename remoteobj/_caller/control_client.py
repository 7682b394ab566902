"""Questions to an actor beside its calls, which its control thread answers at once."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from .._protocol.frames import encode
from .._protocol.messages import Flag, Frame, Kind, MalformedFrameError
from .._wire.channel import Channel, ChannelClosedError
from ..errors import CallTimeoutError, NotListeningError
from .answers import decode_answer

__all__ = ["ControlClient"]

CLOSE_SECONDS = 1.0
"""How long a thread may still be at it when the channel is closed."""


class ControlClient:
    """The owner's end of the control channel, for one question at a time."""

    def __init__(self, channel: Channel, name: str, lost: Callable[[], BaseException]) -> None:
        self._channel = channel
        self._name = name
        self._lost = lost
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self.on_record: Callable[[Frame], object] = _ignore
        """Gets what arrives without having been asked for: records of `logging`."""
        self.ended = False
        """Whether nothing more will be read."""

    def fileno(self) -> int:
        """What tells when there is something to read; -1 once closed."""
        return self._channel.fileno()

    def request(self, kind: int, payload: bytes = b"", seconds: float | None = None) -> Any:
        """The answer to a question of this kind.

        Raises:
            CallTimeoutError: there was no answer within `seconds`.
            ActorDiedError: there will be no answer.
            NotListeningError: the actor does not know such a question.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        if not self._lock.acquire(timeout=-1 if seconds is None else seconds):
            raise self._late(seconds)
        try:
            call_id = next(self._ids)
            self._channel.write(encode(Frame(kind, call_id, payload, (), b"", Flag.ANSWER)))
            while True:
                for frame in self._take():
                    if frame.kind != Kind.LOG and frame.call_id == call_id:
                        return self._read(frame)
                if deadline is not None and time.monotonic() >= deadline:
                    raise self._late(seconds)
                self._channel.wait(deadline)
        except (ChannelClosedError, MalformedFrameError) as exc:
            raise self._lost() from exc
        finally:
            self._lock.release()

    def take_in(self, wait: bool = False) -> bool:
        """Take in what is there; False: another thread is at it, for which this may `wait`."""
        if not self._lock.acquire(blocking=wait):
            return False
        try:
            while not self.ended and self._take():
                pass
        except (ChannelClosedError, MalformedFrameError):
            self.ended = True
        finally:
            self._lock.release()
        return True

    def close(self) -> None:
        """Let go of the channel, while no other thread uses it: the number of its descriptor may be
        that of another file in the next moment."""
        self._channel.shutdown()
        taken = self._lock.acquire(timeout=CLOSE_SECONDS)
        try:
            self.ended = True
            self._channel.close()
        finally:
            if taken:
                self._lock.release()

    def _take(self) -> list[Frame]:
        """What is there; the records among it are handed on."""
        frames = self._channel.take()
        for frame in frames:
            if frame.kind == Kind.LOG:
                self.on_record(frame)
        return frames

    def _read(self, answer: Frame) -> Any:
        if answer.kind == Kind.REFUSED:
            why = bytes(answer.payload).decode(errors="replace")
            raise NotListeningError(f"{self._name} can't be asked: {why}")
        return decode_answer(answer)

    def _late(self, seconds: float | None) -> CallTimeoutError:
        return CallTimeoutError(
            f"{self._name} did not answer within {seconds} s what it is doing: it is stopped, or "
            "code that holds the interpreter keeps it busy; stack_() shows where"
        )


def _ignore(record: Frame) -> None:
    """Where records are the actor's own, none arrives."""
