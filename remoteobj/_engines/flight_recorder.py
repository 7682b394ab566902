"""What an actor leaves behind when it ends: what it was running, how its program ended, its last
output, and the stacks of a crash.

::

    | running | end u64 | outcome | output (a ring) | the program's error | beside    | stacks
              ^ HEAD    ^ WORD    ^ RING            ^ FAILURE             ^ BESIDE    ^ STACKS

What runs alone is noted in `running`; each of those that run beside it, or beside each other, has a
place of its own in `beside`, which is mapped when there first is one. faulthandler writes `stacks`.
It lies in anonymous memory that the owner made and both have, so that a SIGKILL takes nothing of
it: in a slot of its own (`recorder_slots`). faulthandler writes there without the interpreter: also
when the interpreter is what crashed, or is held by code in C. Nothing here takes a lock for a
request: a place is taken out of a list, and put back there, which are single steps.
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
import time
from collections.abc import Callable
from multiprocessing import reduction
from typing import Any, Final

from .._os.own_signals import undo_in_child
from .._protocol.messages import Bytes
from .recorder_slots import HEAD, Slot, claim_slot, open_anew

__all__ = ["PLACES", "STACK_SIGNAL", "FlightRecorder", "Outcome"]

_RUNNING = struct.Struct(f"<?{HEAD - 1}s")
"""Whether a request is being run, and the beginning of its payload."""
_END = struct.Struct("<Q")
_WORD = struct.Struct("<BI")
"""How the program ended, and the length of its error."""
WORD: Final = HEAD + _END.size
RING: Final = WORD + _WORD.size
OUTPUT = 1 << 14
"""Bytes of output that are kept."""
FAILURE: Final = RING + OUTPUT
LONGEST_ERROR = 1 << 16
"""Bytes of an error that is kept; a longer one is not."""
BESIDE: Final = 1 << 17
"""Where pages begin on every system, and the error has ended."""
PLACES: Final = 512
"""How many requests that run beside each other are noted."""
PLACE: Final = 128
"""Bytes of the place of one of them."""
_BESIDE = struct.Struct(f"<?{PLACE - 1}s")
NO_PLACE: Final = -1
STACKS: Final = BESIDE + PLACES * PLACE
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
    """One of that kind. Both ends have one object each, for the same memory.

    Args:
        inherited: the actor is a fork, so that it has the head of the slot too.
    """

    def __init__(self, inherited: bool = True, arrived: tuple[int, int] | None = None) -> None:
        self._inherited = inherited
        self._slot: Slot | None = claim_slot() if arrived is None else None
        """None in a process that is no fork."""
        place = (self._slot.fd, self._slot.start) if self._slot is not None else arrived
        assert place is not None
        self._fd, self._start = place
        self._seen = STACKS
        """Where the stacks begin that were not to be forgotten."""
        self._running: Any = None  # once it is installed, its head in memory
        self._beside: Any = None  # and once requests have run beside each other, their places
        self._free: list[int] = []
        """Where the places begin that nothing is noted in."""
        self._lock = threading.RLock()  # a signal handler may print within a print

    @property
    def place(self) -> tuple[int, int]:
        """The descriptor of the file in which it lies, and where it begins there."""
        return self._fd, self._start

    @property
    def kept_by_fork(self) -> Any:
        """What a forked actor is to keep."""
        assert self._slot is not None
        return self._slot.file

    # --- in the actor ----------------------------------------------------------------------

    def install(self) -> None:
        """From now on crashes, requests for stacks, and what goes to `sys.stderr` end up here."""
        if (anew := open_anew(self._fd)) is not None:
            # Else no other recorder lies there.
            os.close(self._fd) if self._slot is None else self._slot.file.close()
            self._fd = anew
        if self._inherited:
            assert self._slot is not None
            self._running = self._slot.head
        else:
            self._running = mmap.mmap(self._fd, HEAD, offset=self._start)
        os.lseek(self._fd, self._start + STACKS, os.SEEK_SET)
        faulthandler.enable(self._fd)
        with contextlib.suppress(ValueError, RuntimeError):  # no such signal here
            faulthandler.register(STACK_SIGNAL, self._fd)
        undo_in_child(self._leave_alone)
        stream: Any = sys.stderr
        if stream is not None:
            # That of an owner which is an actor itself has been inherited, and is not ours.
            sys.stderr = _Tee(stream.stream if isinstance(stream, _Tee) else stream, self)
        self.note_outcome(Outcome.BEGUN)

    def _leave_alone(self) -> None:
        """In a forked child: its crashes and stacks are not those of the actor."""
        faulthandler.disable()
        with contextlib.suppress(ValueError, RuntimeError):
            faulthandler.unregister(STACK_SIGNAL)
        fd, self._fd = self._fd, -1
        if self._slot is None or fd != self._slot.fd:
            os.close(fd)

    def begins(self, payload: Bytes) -> None:
        """A request is going to be run, alone."""
        start = payload if type(payload) is bytes else bytes(payload[: HEAD - 1])
        _RUNNING.pack_into(self._running, 0, True, start)

    def ends(self) -> None:
        """It has ended."""
        self._running[0] = 0

    def joins(self, payload: Bytes) -> int:
        """A request is going to be run beside others, or within another one: what `leaves` needs.

        Where more run than there are places, those that are too many are not noted.
        """
        start = payload if type(payload) is bytes else bytes(payload[: PLACE - 1])
        try:
            at = self._free.pop()
        except IndexError:
            at = self._first_place()
        if at != NO_PLACE:
            _BESIDE.pack_into(self._beside, at, True, start)
        return at

    def leaves(self, place: int) -> None:
        """It has ended."""
        if place != NO_PLACE:
            self._beside[place] = 0
            self._free.append(place)

    def _first_place(self) -> int:
        """A place, if they have not been made yet, or just were; else all are taken."""
        with self._lock, contextlib.suppress(OSError, IndexError):  # which must hinder nobody
            if self._beside is None:
                size = PLACES * PLACE
                self._beside = mmap.mmap(self._fd, size, offset=self._start + BESIDE)
                self._free += reversed(range(0, size, PLACE))
            return self._free.pop()
        return NO_PLACE

    def note(self, data: bytes) -> None:
        """Add to the output, of which the beginning is forgotten once it is long."""
        with self._lock:
            (end,) = _END.unpack(self._read(_END.size, HEAD))
            data = data[-OUTPUT:]
            at = end % OUTPUT
            self._write(data[: OUTPUT - at], RING + at)
            if len(data) > OUTPUT - at:
                self._write(data[OUTPUT - at :], RING)
            self._write(_END.pack(end + len(data)), HEAD)

    def note_outcome(self, outcome: Outcome, error: bytes = b"") -> None:
        """The program has begun, or has ended, of itself; with its packed error, if it failed."""
        if len(error) > LONGEST_ERROR:
            error = b""
        with contextlib.suppress(OSError):  # no memory: the word is a help, and must hinder nobody
            if error:
                self._write(error, FAILURE)
            self._write(_WORD.pack(outcome, len(error)), WORD)

    # --- in the owner ----------------------------------------------------------------------
    #
    # The actor may have written anything, or cut the file off: what is not there was not noted.

    def running(self) -> list[bytes]:
        """The beginnings of the payloads of what was being run at the end: first those that ran
        beside others or within one, the innermost before the outer ones; at most `PLACES` so."""
        slot = self._slot if self._inherited else None
        alone = _RUNNING.unpack(self._read(HEAD, 0) if slot is None else slot.head)
        beside = _BESIDE.iter_unpack(self._read(PLACES * PLACE, BESIDE))
        return [payload for runs, payload in reversed((alone, *beside)) if runs]

    def outcome(self) -> tuple[Outcome, bytes]:
        """How the program ended by its own word, and its packed error, if that is known."""
        word, length = _WORD.unpack(self._read(_WORD.size, WORD))
        outcome = Outcome(word) if word in _OUTCOMES else Outcome.NONE
        return outcome, self._read(min(length, LONGEST_ERROR), FAILURE) if length else b""

    def output(self) -> str:
        """The last output."""
        data = self._read(FAILURE, 0)
        (end,) = _END.unpack_from(data, HEAD)
        ring, at = data[RING:], end % OUTPUT
        whole = ring[:end] if end <= OUTPUT else ring[at:] + ring[:at]
        return whole.decode(errors="replace")

    def stacks(self) -> str:
        """What faulthandler wrote since the last `forget`."""
        return self._stacks(self._seen).decode(errors="replace")

    def ask_for_stacks(self, name: str, send: Callable[[int], object], seconds: float) -> str:
        """The stacks of all threads of the actor of this name, to which `send` sends a signal.

        Raises:
            RuntimeError: it takes no signal, or none yet.
        """
        if self.outcome()[0] is Outcome.NONE:
            raise RuntimeError(f"{name} has just been started, and takes no signals yet")
        self.forget()
        send(STACK_SIGNAL)
        end = time.monotonic() + seconds
        found = ""
        # There is no event for it: it is whole once nothing has been added for a moment.
        while time.monotonic() < end and not (found and found == self.stacks()):
            found = self.stacks()
            time.sleep(0.005)
        self.forget()
        if not found:
            raise RuntimeError(f"{name} took no signal in {seconds} s: it is stopped")
        return found

    def _stacks(self, at: int) -> bytes:
        # Nothing but text is written there, so that it ends where the zeros begin.
        return os.pread(self._fd, STACKS_READ, self._start + at).partition(b"\0")[0]

    def _read(self, size: int, at: int) -> bytes:
        return os.pread(self._fd, size, self._start + at).ljust(size, b"\0")

    def _write(self, data: bytes, at: int) -> None:
        os.pwrite(self._fd, data, self._start + at)

    def forget(self) -> None:
        """Forget the stacks."""
        before = self._seen
        while found := len(self._stacks(self._seen)):
            self._seen += found
        if self._slot is not None and self._seen > before:
            self._slot.clear(before, self._seen, whole_pages=True)

    def close(self) -> None:
        """Let go of it, now that its actor has ended. Harmless when done twice."""
        if self._fd >= 0 and self._slot is not None and self._slot.fd >= 0:
            self.forget()
            self._slot.give_back(self._seen)
        self._fd = -1

    def abandon(self) -> None:
        """Let go of it, where its actor may have been begun."""
        if self._fd >= 0 and self._slot is not None:
            self._slot.abandon()
        self._fd = -1

    def __reduce__(self) -> tuple[Any, ...]:
        """To a process that is being started."""
        return _arrived, (reduction.DupFd(self._fd), self._start)


def _arrived(fd: Any, start: int) -> FlightRecorder:
    return FlightRecorder(False, (fd.detach(), start))


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
