"""The file in which the requests of one actor are recorded, as it is written: bounded, in steps
that survive the death of whoever writes it.

What is written has been handed to the kernel when `begin` returns, so that a SIGKILL takes nothing
of it; the file is not synced, so that a failure of the machine may.

When a limit is passed the eldest requests are cut off, and at a checkpoint all that are over: a new
file is written then, and takes the place of the one before at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from .._catching.unseen import tell
from .._os.fork_safety import close_in_child
from .._os.records import Part
from .._os.wall_clock import wall_clock
from .._protocol.messages import Bytes, FrameParts
from .record_entries import (
    BEFORE_STATE,
    BEGIN,
    CUT,
    END,
    FORMAT,
    HEAD,
    MADE,
    NEXT,
    STATE,
    TOO_LARGE,
    Begin,
    End,
    entry_of,
)

__all__ = ["RecordFile"]

SHOWN: Final = 2000
"""Bytes that are kept of a request that is too large: they tell what it calls."""
CHUNK: Final = 1 << 20
"""Bytes that are copied at a time."""
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_APPEND


class _Writer:
    """A new file, to which one appends."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, _FLAGS, 0o600)
        self.size = 0

    def append(self, pieces: Sequence[Part]) -> None:
        """Hand these to the kernel.

        Raises:
            OSError: there is no room for them; some may be written.
        """
        for piece in pieces:
            written = os.write(self.fd, piece)
            self.size += written
            if written != len(piece):  # a system call takes no more than 2 GiB
                self.append([memoryview(piece)[written:]])

    def copy(self, other: _Writer, begin: int) -> None:
        """Append what stands in another file from a place on."""
        while begin < other.size:
            chunk = os.pread(other.fd, min(CHUNK, other.size - begin), begin)
            if not chunk:
                raise OSError("somebody else has cut off its end")
            self.append([chunk])
            begin += len(chunk)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class RecordFile:
    """One file, from the start of an actor's process to its end. All methods: from any thread.

    Args:
        path: of the file, which must not be there.
        max_bytes: of the requests and what came of them.
        max_requests: how many requests are kept.

    Raises:
        OSError: it can't be made.
    """

    def __init__(self, path: str, max_bytes: int, max_requests: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._max_requests = max_requests
        self._lock = threading.RLock()  # a signal handler may end the process within a write
        self._writer: _Writer | None = _Writer(path)
        close_in_child(self)
        self._preface: list[Part] = [FORMAT]
        """What each version of the file begins with: who it is, and how the object is made."""
        self._state: Sequence[Part] | None = None
        self._base = 0
        """Where the requests begin."""
        self._begins: deque[tuple[int, int]] = deque()
        """The number of each request that is there, and its place."""
        self._open: dict[int, Begin] = {}
        """The requests that have begun and are not over."""
        self._last = 0
        self._cut = 0

    # --- what it begins with -------------------------------------------------------------

    def start(self, head: dict[str, object], made: Sequence[Part]) -> None:
        """Say who it is and how its object is made, which is about to happen: as request 0."""
        for kind, parts in ((HEAD, [json.dumps(head).encode()]), (MADE, made)):
            self._preface += entry_of(kind, parts)[0]
        with self._lock:
            assert self._writer is not None
            self._writer.append(self._preface)
            self._base = self._writer.size
            self._write(Begin(0, wall_clock(), NEXT))

    def begin_anew(self, state: Sequence[Part]) -> None:
        """A checkpoint is taken: what is over by now is in this state, and needed no more."""
        with self._lock:
            self._state, self._cut = [bytes(one) for one in state], 0
            for number, one in self._open.items():
                self._open[number] = one._replace(flags=one.flags | BEFORE_STATE)
            self._begins.clear()
            self._guarded(self._rewrite, list(self._open.values()))

    # --- requests ------------------------------------------------------------------------

    def begin(
        self, kind: int, stream: int, caller: str, payload: Bytes, buffers: Sequence[Bytes]
    ) -> int:
        """Write a request down, which is about to begin; its number."""
        with self._lock:
            number = self._last = self._last + 1
            begin = Begin(number, wall_clock(), kind, stream, 0, caller, payload, buffers)
            self._guarded(self._write, begin)
            return number

    def end(self, number: int, reply: FrameParts | None) -> None:
        """Write down what came of a request; None: there is no answer."""
        pieces, _ = entry_of(END, End.of(number, reply).parts())
        with self._lock:
            if self._open.pop(number, None) is not None and self._writer is not None:
                self._guarded(self._writer.append, pieces)

    @property
    def has_open(self) -> bool:
        """Whether there are requests that are not over."""
        return bool(self._open)

    def _write(self, begin: Begin) -> None:
        writer = self._writer
        if writer is None:
            return
        pieces, size = entry_of(BEGIN, begin.parts())
        if size > self._max_bytes:
            shown = bytes(begin.payload[:SHOWN])
            begin = begin._replace(payload=shown, buffers=(), flags=begin.flags | TOO_LARGE)
            pieces, size = entry_of(BEGIN, begin.parts())
        full = writer.size - self._base + size > self._max_bytes
        if full or len(self._begins) >= self._max_requests:
            writer = self._make_room(writer, size)
        self._begins.append((begin.number, writer.size))
        self._open[begin.number] = begin
        writer.append(pieces)

    # --- the bounds ----------------------------------------------------------------------

    def _make_room(self, writer: _Writer, size: int) -> _Writer:
        """Cut off the eldest requests: half of all, at least, so that it need not be done soon."""
        first = writer.size - min(self._max_bytes // 2, max(0, self._max_bytes - size))
        begins, most = self._begins, self._max_requests // 2
        while begins and (begins[0][1] < first or len(begins) > most):
            number, _ = begins.popleft()
            self._cut += number > 0 and number not in self._open
        kept = {number for number, _ in begins}
        place = begins[0][1] if begins else writer.size
        return self._rewrite([one for n, one in self._open.items() if n not in kept], place)

    def _rewrite(self, first: list[Begin], place: int | None = None) -> _Writer:
        """Put a new file in place of the old one: these requests, and what stands there from a
        place on."""
        old, path = self._writer, f"{self.path}.new"
        if old is None:
            raise OSError("the file is closed")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        new = _Writer(path)
        try:
            new.append(self._preface)
            new.append(entry_of(CUT, [str(self._cut).encode()])[0])
            if self._state is not None:
                new.append(entry_of(STATE, self._state)[0])
            base, carried = new.size, []
            for one in first:
                carried.append((one.number, new.size))
                new.append(entry_of(BEGIN, one.parts())[0])
            shift = new.size - (place or 0)
            if place is not None:
                new.copy(old, place)
            os.replace(path, self.path)
        except BaseException:
            new.close()
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        self._base, self._writer = base, new
        self._begins = deque([*carried, *((n, at + shift) for n, at in self._begins)])
        old.close()
        return new

    # --- its end -------------------------------------------------------------------------

    def _guarded(self, method: Callable[..., object], *args: object) -> None:
        """Call it. Where it fails, the disk is full, say: the actor goes on, without a record."""
        try:
            method(*args)
        except OSError as exc:
            if self._writer is not None:
                self.close()
                tell(f"no more requests are recorded in {self.path}", exc)

    def close(self) -> None:
        """Write nothing more; the file stays."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def remove(self) -> None:
        """It is not needed any more."""
        with self._lock:
            self.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
