"""Where flight recorders lie: in slots of a file in anonymous memory, which many of them share.

::

    file    =  slot*            each SLOT bytes, of which only what is written takes memory
    heads   =  head*            of the same number, in memory that a fork inherits

So a recorder costs its owner no descriptor. Its actor has one, which it opens anew, since
faulthandler goes on where the last write by an open file has ended. Where a file can't be opened
anew, each recorder has a file of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import sys
import threading
from typing import Final

from .._os.fork_safety import close_in_child
from .._os.memfd import anonymous_file

__all__ = ["HEAD", "Slot", "claim_slot", "open_anew"]

HEAD: Final = 256
"""Bytes of the head of a slot."""
SLOT: Final = 1 << 32
"""Bytes from one slot to the next: more than faulthandler will ever write."""
SLOTS: Final = 64
"""How many lie in one file."""
CHUNK: Final = 1 << 16
"""Bytes that are cleared at once."""


class _File:
    """One such file. It is closed when no slot of it is in use any more."""

    def __init__(self) -> None:
        self.fd = anonymous_file("blackbox", sealable=True)
        try:
            anew = open_anew(self.fd)
            if anew is not None:
                os.close(anew)
            count = 1 if anew is None else SLOTS
            os.ftruncate(self.fd, count * SLOT)
            _seal(self.fd)
            self.heads = mmap.mmap(-1, count * HEAD)
        except BaseException:
            os.close(self.fd)
            raise
        self.free = list(reversed(range(count)))
        self.claimed = 0
        close_in_child(self)

    def close(self) -> None:
        """Close the file: what is left are the heads, of which a forked actor has one."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Slot:
    """The place of one recorder.

    Args:
        file: in which it lies.
        number: the how many-th it is there.
    """

    def __init__(self, file: _File, number: int) -> None:
        self.file = file
        self._number = number
        self.start: int = number * SLOT
        """Where it begins in the file."""
        self.head = memoryview(file.heads)[number * HEAD : (number + 1) * HEAD]
        """Its head, which a forked actor has too."""
        self._held = True

    @property
    def fd(self) -> int:
        """That of the file; -1 in a forked child, and once no slot of it is in use."""
        return self.file.fd

    def clear(self, begin: int, end: int, whole_pages: bool = False) -> None:
        """Make a part of it zero, and give its memory back: all pages that the part lies in, or
        only those that lie in the part."""
        begin -= begin % mmap.PAGESIZE - mmap.PAGESIZE * whole_pages
        end -= end % mmap.PAGESIZE - mmap.PAGESIZE * (not whole_pages)
        if begin >= end:
            return
        with contextlib.suppress(OSError, ValueError, AttributeError):  # Linux, as far as it goes
            with mmap.mmap(self.fd, end - begin, offset=self.start + begin) as memory:
                memory.madvise(mmap.MADV_REMOVE)
            return
        for at in range(begin, end, CHUNK):
            os.pwrite(self.fd, bytes(min(CHUNK, end - at)), self.start + at)

    def give_back(self, used: int) -> None:
        """Let another recorder have it, of whose actor nothing runs any more.

        Args:
            used: how many bytes from its start may have been written to.
        """
        if self.fd >= 0:
            self.head[:] = bytes(HEAD)
            self.clear(0, used)
            self._let_go(self._number)

    def abandon(self) -> None:
        """Let go of it, but let no other have it: its actor may still write there."""
        self._let_go(None)

    def _let_go(self, free: int | None) -> None:
        held, self._held = self._held, False
        if held and self.fd >= 0:
            self.head.release()
            _release(self.file, free)

    def __del__(self) -> None:  # an exception may come before its owner knows of it
        self.abandon()


_lock = threading.RLock()  # a signal handler may start an actor within a start
_last: list[_File] = []
"""The file of which the next slot is, if it has one."""


def claim_slot() -> Slot:
    """A slot for a new recorder.

    Raises:
        OSError: there is no descriptor, or no memory.
    """
    with _lock:
        if not _last or _last[0].fd < 0 or not _last[0].free:
            _last[:] = [_File()]
        file = _last[0]
        file.claimed += 1
        return Slot(file, file.free.pop())


def _release(file: _File, number: int | None) -> None:
    with _lock:
        file.claimed -= 1
        if number is not None:
            file.free.append(number)
            _last[:] = [file]
        if not file.claimed:
            file.close()
            file.heads.close()


def _seal(fd: int) -> None:
    """Let nobody cut the file off, whose other parts are others'. One on a disk can't be sealed."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)


def open_anew(fd: int) -> int | None:
    """The same file, opened once more, with a position of its own; None where that can't be."""
    if sys.platform == "linux":  # elsewhere what lies there is a duplicate
        with contextlib.suppress(FileNotFoundError, PermissionError):
            return os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    return None


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()  # a thread of the parent may have held it
    _last.clear()


os.register_at_fork(after_in_child=_renew_lock)
