"""Bytes in a file that outlives the program, and which are replaced whole.

::

    file       mark of the format | size and checksum of the record | record
    file.new   the next one, while it is written: then it is synced, and gets the file's name
    file.lock  whoever has it open, and locked, is the only one who reads and writes the file
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
import time
import zlib
from collections.abc import Sequence
from typing import Final

from .records import Part, TornRecordError, read_record, record_of, write_at

__all__ = ["AtomicFile"]

_FORMAT: Final = b"remoteobj state\1"
_HEADER: Final = struct.Struct(f"<{len(_FORMAT)}sQI")

PATIENCE = 2.0
"""Seconds in which whoever has a file open may let go of it: an actor whose program was killed ends
by itself, and the program may be started again at once."""
LOOK_SECONDS: Final = 0.01
"""How often is looked whether he has: who waits for a lock can't say for how long."""

_open_here: set[str] = set()
"""The files that are open in this process: the locks of one process do not exclude each other."""


class AtomicFile:
    """A record that is replaced whole, in a file that one at a time has open.

    Guarantee: whenever the writer is killed, or the machine fails, the file holds the record before
    or the new one.

    Args:
        path: of the file. A symbolic link is followed now, and a relative path is made absolute.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        self._lock = -1

    def open(self) -> None:
        """Be the only one who has it.

        Raises:
            RuntimeError: another one has it open.
            OSError: its directory is not there, or can't be written.
        """
        if self.path in _open_here:
            raise self._taken()
        # It outlives who locks it: were it removed, two could lock two files of its name.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._lock = os.open(f"{self.path}.lock", flags, 0o600)
        try:
            self._take_lock(time.monotonic() + PATIENCE)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._new)  # somebody was killed while he wrote it
        except BaseException:
            os.close(self._lock)
            self._lock = -1
            raise
        _open_here.add(self.path)

    def _take_lock(self, deadline: float) -> None:
        while True:
            try:
                fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as exc:
                if exc.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            if time.monotonic() > deadline:
                raise self._taken()
            time.sleep(LOOK_SECONDS)

    def _taken(self) -> RuntimeError:
        return RuntimeError(
            f"the state in {self.path} is that of another actor, which is alive; stop that one, or "
            "give this one another checkpoint_path"
        )

    def read(self) -> list[bytearray] | None:
        """The parts that were written last; None: there is no such file.

        Raises:
            ValueError: what is there is not what was written.
            OSError: it can't be read.
        """
        try:
            # What is no file, a pipe say, must not be waited for.
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        try:
            return self._read(fd)
        finally:
            os.close(fd)

    def _read(self, fd: int) -> list[bytearray]:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise self._wrong("is no file")
        # What is in it is going to be unpickled, and that may run code.
        if status.st_uid not in (os.geteuid(), 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise self._wrong("can be written by other users")
        header = os.pread(fd, _HEADER.size, 0)
        if header[: len(_FORMAT)] != _FORMAT[: len(header)] or not header:
            raise self._wrong("holds no state of an actor, or that of another version")
        if len(header) < _HEADER.size:
            raise self._wrong("is torn")
        _, size, checksum = _HEADER.unpack(header)
        if status.st_size != _HEADER.size + size:
            raise self._wrong("is torn")
        try:
            parts = read_record(fd, _HEADER.size, size)
        except TornRecordError:
            raise self._wrong("is torn") from None
        if _checksum(record_of(parts)[0]) != checksum:
            raise self._wrong("is damaged")
        return parts

    def _wrong(self, what: str) -> ValueError:
        return ValueError(
            f"{self.path} {what}: the actor can't have its state from it. Move it away, and the "
            "actor begins without"
        )

    def write(self, parts: Sequence[Part]) -> None:
        """Put these in place of what was written before.

        Raises:
            OSError: it can't be written. What was written before stays.
        """
        pieces, size = record_of(parts)
        header = _HEADER.pack(_FORMAT, size, _checksum(pieces))
        try:
            self._write_new([header, *pieces])
            os.replace(self._new, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(self._new)
            raise
        self._sync_directory()

    def _write_new(self, pieces: Sequence[Part]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(self._new, flags, 0o600)
        try:
            offset = 0
            for piece in pieces:
                write_at(fd, [piece], offset)
                offset += len(piece)
            os.fsync(fd)
        finally:
            os.close(fd)

    def _sync_directory(self) -> None:
        fd = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    @property
    def _new(self) -> str:
        return f"{self.path}.new"

    def leave(self) -> None:
        """Let others open it. Harmless when it is not open."""
        if self._lock >= 0:
            lock, self._lock = self._lock, -1
            _open_here.discard(self.path)
            os.close(lock)

    def close(self) -> None:
        """The owner of whoever has it open has nothing of it."""

    def __str__(self) -> str:
        return self.path

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return AtomicFile, (self.path,)


def _checksum(pieces: Sequence[Part]) -> int:
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    return checksum


os.register_at_fork(after_in_child=_open_here.clear)
