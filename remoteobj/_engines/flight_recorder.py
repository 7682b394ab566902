"""What an actor leaves behind when it ends: what it was running, how its program ended, its last
output, and the stacks of a crash.

::

    | running | end u64 | outcome | output (a ring) | the program's error | faulthandler's stacks |
              ^ HEAD    ^ WORD    ^ RING            ^ FAILURE             ^ STACKS

A file in anonymous memory that the owner made and both have, so that a SIGKILL takes nothing
of it. faulthandler writes there without the interpreter: also when the interpreter is what
crashed, or is held by code in C.
"""

from __future__ import annotations

import contextlib
import enum
import faulthandler
import mmap
import os
import signal
import struct
import sys
import threading
from multiprocessing import reduction
from typing import Any, Final

from .._os.memfd import anonymous_file
from .._os.own_signals import undo_in_child
from .._protocol.messages import Bytes

__all__ = ["STACK_SIGNAL", "FlightRecorder", "Outcome"]

_RUNNING = struct.Struct("<?255s")
"""Whether a request is being run, and the beginning of its payload."""
_END = struct.Struct("<Q")
_WORD = struct.Struct("<BI")
"""How the program ended, and the length of its error."""
HEAD: Final = _RUNNING.size
WORD: Final = HEAD + _END.size
RING: Final = WORD + _WORD.size
OUTPUT = 1 << 14
"""Bytes of output that are kept."""
FAILURE: Final = RING + OUTPUT
LONGEST_ERROR = 1 << 16
"""Bytes of an error that is kept; a longer one is not."""
STACKS: Final = FAILURE + LONGEST_ERROR
STACKS_READ = 1 << 16
"""Bytes of stacks that are read."""

STACK_SIGNAL: Final[int] = getattr(signal, "SIGRTMAX", signal.SIGUSR2 + 1) - 1
"""By which the owner asks for the stacks. Of the real-time signals, which few programs use."""


class Outcome(enum.IntEnum):
    """How a program ended, by its own word."""

    NONE = 0  # it has not, or died without a word
    IN_ORDER = 1
    FAILED = 2
    BEGUN = 3  # and from now on it takes `STACK_SIGNAL`, by which it would have died before


_OUTCOMES: Final = frozenset(Outcome)


class FlightRecorder:
    """One file of that kind. Both ends have one object each, on the same file."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = anonymous_file("blackbox") if fd is None else fd
        self._running: Any = None  # once it is installed, its head in memory
        self._lock = threading.RLock()  # a signal handler may print within a print
        if fd is None:
            os.ftruncate(self._fd, STACKS)
            os.lseek(self._fd, STACKS, os.SEEK_SET)  # where faulthandler goes on, in both

    # --- in the actor ----------------------------------------------------------------------

    def install(self) -> None:
        """From now on crashes, requests for stacks, and what goes to `sys.stderr` end up here."""
        self._running = mmap.mmap(self._fd, HEAD)
        faulthandler.enable(self._fd)
        with contextlib.suppress(ValueError, RuntimeError):  # no such signal here
            faulthandler.register(STACK_SIGNAL, self._fd)
        undo_in_child(_leave_alone)
        stream: Any = sys.stderr
        if stream is not None:
            # That of an owner which is an actor itself has been inherited, and is not ours.
            sys.stderr = _Tee(stream.stream if isinstance(stream, _Tee) else stream, self)
        self.note_outcome(Outcome.BEGUN)

    def begins(self, payload: Bytes) -> None:
        """A request is going to be run."""
        start = payload if type(payload) is bytes else bytes(payload[: HEAD - 1])
        _RUNNING.pack_into(self._running, 0, True, start)

    def ends(self) -> None:
        """None is being run."""
        self._running[0] = 0

    def note(self, data: bytes) -> None:
        """Add to the output, of which the beginning is forgotten once it is long."""
        with self._lock:
            (end,) = _END.unpack(os.pread(self._fd, _END.size, HEAD))
            data = data[-OUTPUT:]
            at = end % OUTPUT
            os.pwrite(self._fd, data[: OUTPUT - at], RING + at)
            if len(data) > OUTPUT - at:
                os.pwrite(self._fd, data[OUTPUT - at :], RING)
            os.pwrite(self._fd, _END.pack(end + len(data)), HEAD)

    def note_outcome(self, outcome: Outcome, error: bytes = b"") -> None:
        """The program has begun, or has ended, of itself; with its packed error, if it failed."""
        if len(error) > LONGEST_ERROR:
            error = b""
        with contextlib.suppress(OSError):  # no memory: the word is a help, and must hinder nobody
            if error:
                os.pwrite(self._fd, error, FAILURE)
            os.pwrite(self._fd, _WORD.pack(outcome, len(error)), WORD)

    # --- in the owner ----------------------------------------------------------------------
    #
    # The actor may have written anything, or cut the file off: what is not there was not noted.

    def running(self) -> bytes | None:
        """The beginning of the payload of what was being run at the end; None: nothing was."""
        runs, payload = _RUNNING.unpack(self._read(HEAD, 0))
        return payload if runs else None

    def outcome(self) -> tuple[Outcome, bytes]:
        """How the program ended by its own word, and its packed error, if that is known."""
        word, length = _WORD.unpack(self._read(_WORD.size, WORD))
        outcome = Outcome(word) if word in _OUTCOMES else Outcome.NONE
        return outcome, os.pread(self._fd, min(length, LONGEST_ERROR), FAILURE) if length else b""

    def output(self) -> str:
        """The last output."""
        data = self._read(FAILURE, 0)
        (end,) = _END.unpack_from(data, HEAD)
        ring, at = data[RING:], end % OUTPUT
        whole = ring[:at] if end <= OUTPUT else ring[at:] + ring[:at]
        return whole.decode(errors="replace")

    def stacks(self) -> str:
        """What faulthandler wrote since the last `forget`."""
        return os.pread(self._fd, STACKS_READ, STACKS).decode(errors="replace")

    def _read(self, size: int, at: int) -> bytes:
        return os.pread(self._fd, size, at).ljust(size, b"\0")

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


def _leave_alone() -> None:
    """In a forked child: its crashes and stacks are not those of the actor."""
    faulthandler.disable()
    with contextlib.suppress(ValueError, RuntimeError):
        faulthandler.unregister(STACK_SIGNAL)


def _arrived(fd: Any) -> FlightRecorder:
    return FlightRecorder(fd.detach())


class _Tee:
    """A text stream whose text is noted too, and which is the original in all else."""

    def __init__(self, stream: Any, recorder: FlightRecorder) -> None:
        self.stream = stream
        self._recorder = recorder
        self._pid = os.getpid()

    def write(self, text: str) -> Any:
        # A forked child says no last words of the actor's; and another thread of that may have
        # held the lock when it forked.
        if os.getpid() == self._pid:
            with contextlib.suppress(Exception):  # the box is a help, and must hinder nobody
                self._recorder.note(text.encode(errors="replace"))
        return self.stream.write(text)

    def writelines(self, lines: Any) -> None:
        for one in lines:
            self.write(one)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
