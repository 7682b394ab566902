"""What an actor says to its owner beside its calls: answers to orders, and records of `logging`.

Several threads say something, and each frame goes out whole, in the order in which it was said.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from .._protocol.frames import encode
from .._protocol.messages import Frame
from .._wire.channel import StreamChannel
from .._wire.transport import ByteStream

__all__ = ["OwnerLine"]


class OwnerLine:
    """The actor's end of the control channel. One thread reads from `channel`, any may `say`."""

    def __init__(self, control: ByteStream) -> None:
        self.channel: StreamChannel = StreamChannel(control)
        self._lock = threading.RLock()
        self._unsent: deque[Any] = deque()

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
            if not self._flush(deadline):
                return False
            self._unsent.append(data)
            self._flush(deadline)
            return True

    def _flush(self, deadline: float) -> bool:
        """Write what there is room for until then; whether all is written."""
        while self._unsent:
            left = self.channel.write([self._unsent[0]])
            if not left:
                self._unsent.popleft()
                continue
            self._unsent[0] = left[0]
            if time.monotonic() >= deadline or not self.channel.wait_to_write(False, deadline):
                return False
        return True
