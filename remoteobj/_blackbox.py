"""What an actor leaves behind when it dies: its last output, and the stacks of a crash.

::

    | end u64 | output, the last of it ... (a ring) | stacks, as faulthandler writes them ... |
                                                    ^ STACKS

A file in anonymous memory that the owner made and both have, so that a SIGKILL takes nothing
of it. faulthandler writes there without the interpreter: also when the interpreter is what
crashed, or is held by code in C.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import struct
import sys
import threading
from multiprocessing import reduction
from typing import Any, Final

from ._memory import anonymous_file

__all__ = ["STACK_SIGNAL", "BlackBox"]

_END = struct.Struct("<Q")
OUTPUT = 1 << 14
"""Bytes of output that are kept."""
STACKS: Final = _END.size + OUTPUT
LONGEST = 1 << 16
"""Bytes of stacks that are read."""

STACK_SIGNAL: Final[int] = getattr(signal, "SIGRTMAX", signal.SIGUSR2 + 1) - 1
"""By which the owner asks for the stacks. Of the real-time signals, which few programs use."""


class BlackBox:
    """One file of that kind. Both ends have one object each, on the same file."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = anonymous_file("blackbox") if fd is None else fd
        self._lock = threading.Lock()
        if fd is None:
            os.ftruncate(self._fd, STACKS)
            os.lseek(self._fd, STACKS, os.SEEK_SET)  # where faulthandler goes on, in both

    # --- in the actor ----------------------------------------------------------------------

    def install(self) -> None:
        """From now on crashes, requests for stacks, and what goes to `sys.stderr` end up here."""
        faulthandler.enable(self._fd)
        with contextlib.suppress(ValueError, RuntimeError):  # no such signal here
            faulthandler.register(STACK_SIGNAL, self._fd)
        if sys.stderr is not None:
            sys.stderr = _Tee(sys.stderr, self)

    def note(self, data: bytes) -> None:
        """Add to the output, of which the beginning is forgotten once it is long."""
        with self._lock:
            (end,) = _END.unpack(os.pread(self._fd, _END.size, 0))
            data = data[-OUTPUT:]
            at = end % OUTPUT
            os.pwrite(self._fd, data[: OUTPUT - at], _END.size + at)
            if len(data) > OUTPUT - at:
                os.pwrite(self._fd, data[OUTPUT - at :], _END.size)
            os.pwrite(self._fd, _END.pack(end + len(data)), 0)

    # --- in the owner ----------------------------------------------------------------------

    def output(self) -> str:
        """The last output."""
        data = os.pread(self._fd, STACKS, 0)
        (end,) = _END.unpack_from(data)
        ring, at = data[_END.size :], end % OUTPUT
        whole = ring[:at] if end <= OUTPUT else ring[at:] + ring[:at]
        return whole.decode(errors="replace")

    def stacks(self) -> str:
        """What faulthandler wrote since the last `forget`."""
        return os.pread(self._fd, LONGEST, STACKS).decode(errors="replace")

    def forget(self) -> None:
        """Forget the stacks."""
        os.lseek(self._fd, STACKS, os.SEEK_SET)
        os.ftruncate(self._fd, STACKS)

    def close(self) -> None:
        """Let go of it. Harmless when done twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __reduce__(self) -> tuple[Any, ...]:
        """To a process that is being started."""
        return _arrived, (reduction.DupFd(self._fd),)


def _arrived(fd: Any) -> BlackBox:
    return BlackBox(fd.detach())


class _Tee:
    """A text stream whose text is noted too, and which is the original in all else."""

    def __init__(self, stream: Any, box: BlackBox) -> None:
        self._stream = stream
        self._box = box

    def write(self, text: str) -> int:
        with contextlib.suppress(Exception):  # the box is a help, and must hinder nobody
            self._box.note(text.encode(errors="replace"))
        return int(self._stream.write(text))

    def writelines(self, lines: Any) -> None:
        for one in lines:
            self.write(one)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
