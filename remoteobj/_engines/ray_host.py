"""The Ray actor in which a program runs, and the ends of its streams there.

Its methods run in threads of Ray. The program has a thread of its own, and finds there what it finds
in a thread of its owner's: the two streams to its owner, and a listener for all others.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from .._catching.relay import Record, relayed
from .._os.thread_unwind import ThreadUnwind, raise_in_thread
from .._os.wakeup import Wakeup
from .._pickling.exceptions import pack_error
from .._wire.duplex import DuplexStream
from .._wire.ray_transport import served_here
from .._wire.unix import dial
from .contract import OwnerLink, ProgramFailedError
from .packing import PackedProgram, Pickles, unpack

__all__ = ["CONTROL", "DATA", "Event", "Packed", "RayHost"]

DATA: Final = b"data"
CONTROL: Final = b"control"
"""The keys of the two streams to the owner; those of others are random."""
AT_ONCE: Final = 1 << 16
"""Bytes: what is larger is probably not all there is."""
MOST: Final = 1 << 28
"""The most bytes that one exchange takes along."""

Packed = tuple[bytes, list[bytes], list[bytes], Any, bool, list[Any]]
"""A packed program without descriptors."""
Event = tuple[str, Any]
"""What the owner is told: `began` with the process, `record` of an `Except`, `ended` with the exit
code and a failure."""


class HostLine:
    """The host's end of a stream: bytes that exchanges bring are written into a socket, and what
    the program writes there is taken along by the last of them that waits."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._lock = threading.Lock()
        self._brought: dict[int, Any] = {}
        self._next = 0
        self._feeding = False
        self._turn = 0
        self._waiting = 0
        self._wakeup = Wakeup()
        self._taking = threading.Lock()
        self._taken = 0

    def exchange(self, number: int, data: Any, seconds: float) -> tuple[int, bytes, bool]:
        """Hand on what was brought, and what was brought before it; take something along."""
        with self._lock:
            self._brought[number] = data
            feeds = not self._feeding
            self._feeding = True
        if feeds:
            self._feed()
        return self._take(seconds)

    def _feed(self) -> None:
        while True:
            with self._lock:
                if self._next not in self._brought:
                    self._feeding = False
                    return
                data = self._brought.pop(self._next)
                self._next += 1
            with contextlib.suppress(OSError):  # the program reads no more
                if data is None:
                    self._socket.shutdown(socket.SHUT_WR)
                elif len(data):
                    self._socket.sendall(data)

    def _take(self, seconds: float) -> tuple[int, bytes, bool]:
        with self._lock:
            self._turn += 1
            mine = self._turn
            if self._waiting:
                self._wakeup.set()
            self._waiting += 1
        try:
            return self._wait(mine, time.monotonic() + seconds)
        finally:
            with self._lock:
                self._waiting -= 1

    def _wait(self, mine: int, deadline: float) -> tuple[int, bytes, bool]:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        while True:
            for fd, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                if fd == self._wakeup.fileno():
                    self._wakeup.clear()
                elif (found := self._read()) is not None:
                    return found
            if self._turn != mine or time.monotonic() >= deadline:
                return -1, b"", False

    def _read(self) -> tuple[int, bytes, bool] | None:
        """What is there, with its place among all that was taken; None: another has it."""
        with self._taking:
            parts, size, over = [], 0, False
            while size < MOST:
                try:
                    part = self._socket.recv(1 << 20, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    if size < AT_ONCE or not select.select([self._socket], [], [], 0.001)[0]:
                        break
                    continue
                except OSError:
                    part = b""
                over = not part
                if over:
                    break
                parts.append(part)
                size += len(part)
            if not (parts or over):
                return None
            place = self._taken
            self._taken += 1
            return place, b"".join(parts), over


class RayHost:
    """The Ray actor.

    Args:
        packed: the program.
        name: the name of the actor, ours.
        ray_name: that by which Ray finds it.
    """

    def __init__(self, packed: Packed, name: str, ray_name: str) -> None:
        self._ray_name = ray_name
        self._lock = threading.Lock()
        self._lines: dict[bytes, HostLine] = {}
        self._events: list[Event] = [("began", (os.getpid(), os.uname().nodename))]
        self._happened = threading.Condition()
        self._link = OwnerLink(self._new_line(DATA), self._new_line(CONTROL), shared_process=True)
        self._program = threading.Thread(target=self._run, args=(packed,), name=name, daemon=True)
        self._program.start()

    def _new_line(self, key: bytes) -> DuplexStream:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._lines[key] = HostLine(ours)
        return DuplexStream(theirs)

    def exchange(
        self, key: bytes, number: int, data: Any, seconds: float
    ) -> tuple[int, bytes, bool]:
        """Bring bytes to one of the streams of the program, and take along what it has written."""
        line = self._lines.get(key)
        if line is None and (line := self._opened(key)) is None:
            return number, b"", True
        return line.exchange(number, data, seconds)

    def _opened(self, key: bytes) -> HostLine | None:
        """The line of a new caller, who has begun a stream of this key; None: nobody listens."""
        with self._lock:
            local = served_here.get(self._ray_name)
            if key not in self._lines and local is not None:
                with contextlib.suppress(OSError):
                    sock = dial(local.location)
                    sock.settimeout(None)
                    self._lines[key] = HostLine(sock)
            return self._lines.get(key)

    def events(self, seen: int, seconds: float) -> list[Event]:
        """What has happened after the first `seen` things; waits for the next one, for so long."""
        with self._happened:
            self._happened.wait_for(lambda: len(self._events) > seen, seconds)
            return self._events[seen:]

    def unwind(self) -> None:
        """Have the program end, its cleanup included, when it next runs Python code."""
        if self._link.on_sigterm is not None:
            self._link.on_sigterm()
        raise_in_thread(self._program, ThreadUnwind)

    # --- the program -------------------------------------------------------------------------

    def _tell(self, kind: str, what: Any) -> None:
        with self._happened:
            self._events.append((kind, what))
            self._happened.notify_all()

    def _run(self, packed: Packed) -> None:
        code, failure = 1, b""
        record: Callable[[Record], None] = lambda one: self._tell("record", one)
        try:
            program = _unpacked(packed)
            del packed
            program.catching_by(relayed(record)).run(self._link)
            code = 0
        except ProgramFailedError as exc:
            failure = exc.error
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        except ThreadUnwind:
            code = 0
        except BaseException as exc:
            failure = pack_error(exc)
        finally:
            self._link.data.close()
            self._link.control.close()
            self._tell("ended", (code, failure))


def _unpacked(packed: Packed) -> Any:
    payload, buffers, more, script, imports, filters = packed
    return unpack(PackedProgram(Pickles(payload, buffers, more), script, imports, filters, None))
