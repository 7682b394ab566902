"""How the two ends of a socket come to share memory, and pass it to and fro.

::

    SHARE announced ──>   with the first big buffer, which itself goes through the socket
    <── SHARE agreed      from now on the other end looks for descriptors, which costs it time
    frames, descriptors ──>
    <── RELEASE           nobody uses this segment any more
    FORGET ──>            it has been given back to the system
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ._frames import MalformedFrameError, encode
from ._messages import Bytes, Frame, Kind
from ._reactor import reactor
from ._segments import SHARED, Entry, Pool, SegmentError, Shelf

__all__ = ["ANNOUNCED", "Sharing"]

ANNOUNCED, AGREED = 1, 2
"""The two words of a SHARE frame, in place of a call's id."""
IDLE_SECONDS = 1.0
"""How long memory that nobody uses is kept for the next buffer."""
DESCRIPTORS = 64
"""How many are received at once, at most."""
CAN_SHARE = hasattr(socket, "SCM_RIGHTS") and hasattr(socket.socket, "sendmsg")


class Sharing:
    """The shared memory of one end of one socket."""

    def __init__(self) -> None:
        self.tell: Callable[[Frame], object] = _ignore
        """Has a small frame written, now or with the next one; finalizers call it too."""
        self.look: Callable[[], object] | None = None
        """Reads what has come, where nobody else would before memory is given back."""
        self._announced = self._agreed = self._looks = False
        self._pool = Pool(self._dropped)
        self._shelf = Shelf(self._released)
        self.passing: list[int] = []
        """Descriptors that go along with what is written next."""
        self._arrived: deque[int] = deque()
        self._used = 0.0
        self._trimming = False

    # --- sending ---------------------------------------------------------------------------

    def encode(self, frame: Frame) -> list[Bytes]:
        """The parts to write for a frame."""
        kind, call_id, payload, buffers = frame
        if not any(len(one) >= SHARED for one in buffers) or not CAN_SHARE:
            return encode(frame)
        if not self._agreed:
            parts = encode(frame)
            if not self._announced:
                self._announced = True
                parts = [*encode((Kind.SHARE, ANNOUNCED, b"", ())), *parts]
            return parts
        table: list[int] = []
        left: list[Any] = []
        for one in buffers:
            entry = self._put(one) if len(one) >= SHARED else None
            if entry is None:
                left.append(one)
            table.append(len(one) if entry is None else entry)
        return encode((kind, call_id, payload, left), table)

    def _put(self, buffer: Any) -> int | None:
        put = self._pool.put(memoryview(buffer))
        if put is None:
            return None
        entry, fd = put
        if fd >= 0:
            self.passing.append(fd)
        self._use()
        return entry.pack()

    def _use(self) -> None:
        self._used = time.monotonic()
        self._trim_later(self._used + IDLE_SECONDS)

    def send(self, sock: socket.socket, parts: Sequence[Bytes]) -> int:
        """Write, with the descriptors that are to go along."""
        fds = self.passing[:DESCRIPTORS]
        sent = sock.sendmsg(
            parts, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())]
        )
        del self.passing[: len(fds)]
        for fd in fds:
            os.close(fd)
        return sent

    # --- receiving -------------------------------------------------------------------------

    def receive(self, sock: socket.socket, size: int) -> bytes:
        """As `sock.recv`; descriptors that come along are kept for their frames."""
        data, extra, *_ = sock.recvmsg(size, socket.CMSG_SPACE(4 * DESCRIPTORS))
        self._keep(extra)
        return data

    def receive_into(self, sock: socket.socket, space: memoryview) -> int:
        """As `sock.recv_into`, the same."""
        if not self._looks:
            return sock.recv_into(space)
        count, extra, *_ = sock.recvmsg_into([space], socket.CMSG_SPACE(4 * DESCRIPTORS))
        self._keep(extra)
        return count

    def _keep(self, extra: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in extra:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._arrived.extend(array.array("i", data[: len(data) // 4 * 4]))

    def lease(self, packed: int) -> memoryview:
        """The memory that an entry in a frame's table stands for."""
        entry = Entry.unpack(packed)
        self._use()
        try:
            fd = self._arrived.popleft() if entry.new and self._arrived else -1
            return self._shelf.lease(entry, fd)
        except SegmentError as exc:
            raise MalformedFrameError(str(exc)) from exc

    def _dropped(self, number: int) -> None:
        self.tell(Frame(Kind.FORGET, number))

    def _released(self, number: int, discard: bool) -> None:
        self.tell(Frame(Kind.RELEASE, number, b"!" if discard else b""))

    def hear(self, frame: Frame) -> None:
        """Take in what the other end says about its memory, or ours."""
        if frame.kind == Kind.SHARE and frame.call_id == ANNOUNCED:
            self._looks = True
            self.tell(Frame(Kind.SHARE, AGREED))
        elif frame.kind == Kind.SHARE:
            self._agreed = self._announced
        elif frame.kind == Kind.FORGET:
            self._shelf.forget(frame.call_id)
        else:
            try:
                self._pool.release(frame.call_id, discard=bool(frame.payload))
            except SegmentError as exc:
                raise MalformedFrameError(str(exc)) from exc

    # --- giving memory back ----------------------------------------------------------------

    def _trim_later(self, when: float) -> None:
        if not self._trimming:
            self._trimming = True
            reactor.call_at(when, self._trim)

    def _trim(self) -> None:
        """Give back what was not used for a while; look again if more may become free."""
        self._trimming = False
        if self.look is not None:
            self.look()
        idle = time.monotonic() - self._used
        if idle >= IDLE_SECONDS:
            self._pool.trim()
        if not self._pool.empty or (self.look is not None and not self._shelf.empty):
            # What somebody still uses is asked for ever more seldom.
            self._trim_later(time.monotonic() + max(IDLE_SECONDS, idle))

    def close(self) -> None:
        """Let go of all; what somebody here still uses stays until he is done."""
        self._pool.close()
        self._shelf.close()
        for fd in [*self.passing, *self._arrived]:
            with contextlib.suppress(OSError):
                os.close(fd)
        self.passing.clear()
        self._arrived.clear()


def _ignore(frame: Frame) -> None:
    """Where nobody writes, nothing is told."""
