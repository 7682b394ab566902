"""An append-only file of records, in anonymous memory that several processes share.

    writer A ──┐  one write() each, O_APPEND:         ┌── read(cursor) in any process,
    writer B ──┼─►  the kernel puts them in a row  ───┤   by pread: no shared position
    writer C ──┘                                      └── read(cursor) ...

    file    =  marker  record*
    record  =  marker  size  ident  kind  |  payload  |  ident
               ──────── header ─────────                 trailer

Guarantees:

* Records of different processes and threads never mix. The kernel holds the file's own lock for
  the length of one write, and releases it when the writer dies. There is no other lock and no
  thread, so nobody waits for a reader and nobody can deadlock.
* What was appended stays readable after the writer is killed.
* A writer killed in mid-write leaves the beginning of a record. Readers pass over it and find the
  next one by the marker: 16 random bytes that occur nowhere but in this file.
* A record that is not whole yet is no error. It is read once it is whole.

A record counts only when its trailer repeats the random `ident` of its header. A fixed trailer
would not do: the record after a torn one can end exactly where the torn one should have ended.
An `ident` ends in a zero byte and a marker has none, so that a trailer cut short is never
completed by the first bytes of the next record.

What does not belong here: what the payloads mean. Nothing in this module pickles or unpickles one.
What the records add up to is a `projection.Projection`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import weakref
from collections.abc import Callable, Sequence
from multiprocessing import reduction
from typing import Any, TypeAlias

from .._fast_typing import NamedTuple
from .._os.memfd import anonymous_file

__all__ = ["START", "Cursor", "Journal", "Record", "join", "split"]

Payload: TypeAlias = "bytes | bytearray | memoryview"
Record: TypeAlias = "tuple[int, bytes]"

_MARKER = 16
_HEADER = struct.Struct(f"<{_MARKER}sQ8sI")
_IDENT = 8

# What Linux takes in one write(), a page short of 2 GiB. A record must be one write.
_LARGEST = 0x7FFF_F000
# Up to here one joined write() is cheaper than a writev(), which saves the copy.
_JOIN_BELOW = 1 << 16
_MOST_PARTS = 1000  # writev() takes 1024
_CHUNK = 1 << 20


class Cursor(NamedTuple):
    """A place in a journal: where the next record begins, and how far was looked beyond it.

    >>> Cursor(16, 16) == START
    True
    """

    offset: int
    scanned: int


START = Cursor(_MARKER, _MARKER)


class _File:
    """A descriptor that is closed when nobody uses it any more.

    An operation under way holds a reference, so closing a journal in one thread can't make
    another thread write to whatever file got the same number next.
    """

    __slots__ = ("__weakref__", "fd", "marker")

    def __init__(self, fd: int, marker: bytes) -> None:
        self.fd = fd
        self.marker = marker
        _files[marker] = self

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.fd)


# By marker, the files this process has open. Under "spawn" a journal that arrives twice has one
# descriptor; two owners would close it twice, and the second time it may be somebody else's.
_files: weakref.WeakValueDictionary[bytes, _File] = weakref.WeakValueDictionary()


class Journal:
    """An append-only record file that processes share by fork, or by pickling the journal.

    >>> journal = Journal()
    >>> journal.append(1, b"hello")
    >>> records, cursor = journal.read()
    >>> records
    [(1, b'hello')]
    >>> journal.append(2, b"in two ", b"parts")
    >>> records, cursor = journal.read(cursor)      # only what is new
    >>> records
    [(2, b'in two parts')]
    >>> journal.close()

    A journal holds no position and no lock: any number of threads may append and read at once,
    each reader with a cursor of its own.
    """

    __slots__ = ("__weakref__", "_file")

    def __init__(self) -> None:
        fd = anonymous_file("journal")
        marker = os.urandom(_MARKER).replace(b"\0", b"\1")
        self._file: _File | None = _File(fd, marker)
        os.write(fd, marker)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)

    def append(self, kind: int, *parts: Payload) -> None:
        """Write one record, whose payload is the parts one after the other.

        OSError if memory ran out: readers will pass over what was written of it. ValueError if
        it is larger than one write can be, just under 2 GiB.

        >>> journal = Journal()
        >>> journal.append(7, b"abc", bytearray(b"def"))
        >>> journal.read()[0]
        [(7, b'abcdef')]
        """
        file = self._opened()
        size = sum(memoryview(part).nbytes for part in parts)
        total = _HEADER.size + size + _IDENT
        if total > _LARGEST:
            raise ValueError(f"a record of {size} bytes is too large: 2 GiB is the limit")
        if not 0 <= kind < 1 << 32:
            raise ValueError(f"the kind of a record must fit in 32 bits, not {kind}")
        ident = os.urandom(_IDENT - 1) + b"\0"
        record = (_HEADER.pack(file.marker, size, ident, kind), *parts, ident)
        if total < _JOIN_BELOW or len(record) > _MOST_PARTS:
            written = os.write(file.fd, b"".join(record))
        else:
            written = os.writev(file.fd, record)
        if written != total:
            # Writing the rest would be a second write, with other records in between.
            reason = f"no room for a record of {size} bytes: {written} of {total} were written"
            raise OSError(errno.ENOSPC, reason)

    def read(self, cursor: Cursor = START) -> tuple[list[Record], Cursor]:
        """The whole records from `cursor` on, and the cursor to go on from.

        >>> journal = Journal()
        >>> journal.read() == ([], START)
        True
        """
        file = self._opened()
        # A fixed end: a reader returns even if writers are faster than it is.
        end = os.fstat(file.fd).st_size
        records: list[Record] = []
        offset, scanned = cursor
        while offset < end:
            chunk = _pread(file.fd, min(_CHUNK, end - offset), offset)
            used = _parse(chunk, file.marker, records)
            offset += used
            if not used:
                # Too large for a chunk, or torn, or not whole yet.
                here = Cursor(offset, max(offset, scanned))
                moved = _parse_one(file, here, end, records)
                if moved.offset == offset:
                    return records, moved
                offset, scanned = moved
        return records, Cursor(offset, max(offset, scanned))

    def end(self) -> Cursor:
        """Where what is appended from now on begins.

        >>> Journal().end() == START
        True
        """
        size = os.fstat(self._opened().fd).st_size
        return Cursor(size, size)

    @classmethod
    def find(cls, key: bytes) -> Journal | None:
        """One more on the file of this key, if somebody in this process has it open.

        >>> journal = Journal()
        >>> Journal.find(journal.key).key == journal.key
        True
        """
        file = _files.get(key)
        return None if file is None else cls._on(file)

    @classmethod
    def _on(cls, file: _File) -> Journal:
        journal = cls.__new__(cls)
        journal._file = file
        return journal

    def fileno(self) -> int:
        """The descriptor, for those that must know which ones to keep open.

        >>> Journal().fileno() > 2
        True
        """
        return self._opened().fd

    @property
    def closed(self) -> bool:
        """Whether `close` was called on this object.

        >>> Journal().closed
        False
        """
        return self._file is None

    @property
    def key(self) -> bytes:
        """Equal for two journals of this process exactly if they are the same file.

        >>> Journal().key == Journal().key
        False
        """
        return self._opened().marker

    def close(self) -> None:
        """Let go of the file. It lives on for the others that have it; twice is a no-op.

        >>> journal = Journal()
        >>> journal.close()
        >>> journal.append(1, b"")
        Traceback (most recent call last):
            ...
        ValueError: this journal is closed
        """
        self._file = None

    def _opened(self) -> _File:
        file = self._file
        if file is None:
            raise ValueError("this journal is closed")
        return file

    def __repr__(self) -> str:
        file = self._file
        return "<Journal closed>" if file is None else f"<Journal fd={file.fd}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # While a process is being started, the descriptor goes to it directly; at any other time
        # multiprocessing's resource sharer hands it to whoever unpickles. The marker stays out:
        # a journal inside a payload must not look like the beginning of a record.
        return _rebuild, (reduction.DupFd(self._opened().fd),)

    def __copy__(self) -> Journal:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Journal:
        return self


def join(parts: Sequence[Payload]) -> tuple[Payload, ...]:
    """What to append so that `split` gives the parts back; large ones are not copied."""
    sizes = [memoryview(part).nbytes for part in parts]
    return struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes), *parts


def split(payload: bytes) -> list[bytes]:
    """Undo `join`.

    >>> split(b"".join(join([b"ab", b"", b"c"])))
    [b'ab', b'', b'c']
    """
    (count,) = struct.unpack_from("<I", payload)
    begin, parts = 4 + 8 * count, []
    for size in struct.unpack_from(f"<{count}Q", payload, 4):
        parts.append(payload[begin : begin + size])
        begin += size
    return parts


def _rebuild(sent: Any) -> Journal:
    fd: int = sent.detach()
    marker = _pread(fd, _MARKER, 0)
    file = _files.get(marker)
    if file is None:
        file = _File(fd, marker)
    elif file.fd != fd:
        os.close(fd)
    return Journal._on(file)


def _pread(fd: int, size: int, offset: int) -> bytes:
    data = os.pread(fd, size, offset)
    if len(data) == size:
        return data
    pieces = [data]
    while data and (size := size - len(data)):
        offset += len(data)
        data = os.pread(fd, size, offset)
        pieces.append(data)
    return b"".join(pieces)


def _parse(chunk: bytes, marker: bytes, records: list[Record]) -> int:
    """Add the whole records of a chunk to `records`; how many bytes of it are done with."""
    position, last = 0, len(chunk) - _HEADER.size - _IDENT
    while position <= last:
        found, size, ident, kind = _HEADER.unpack_from(chunk, position)
        if found == marker:
            begin = position + _HEADER.size
            end = begin + size
            if end + _IDENT > len(chunk):
                break
            if chunk[end : end + _IDENT] == ident:
                records.append((kind, chunk[begin:end]))
                position = end + _IDENT
                continue
        # Torn. Its header may be torn too, so the next marker can begin inside it.
        position = chunk.find(marker, position + 1)
        if position < 0:
            return max(len(chunk) - _MARKER + 1, 1)
    return position


def _parse_one(file: _File, cursor: Cursor, end: int, records: list[Record]) -> Cursor:
    """Deal with the one record at `cursor`, that no chunk holds from beginning to end.

    The cursor comes back unmoved, except in how far was looked, if the record is not whole.
    """
    offset, scanned = cursor
    header = _pread(file.fd, _HEADER.size, offset)
    if len(header) < _HEADER.size or end - offset < _HEADER.size:
        return cursor
    found, size, ident, kind = _HEADER.unpack(header)
    begin = offset + _HEADER.size
    stop = begin + size
    # The size is to be believed only once the trailer is there: a torn header says anything.
    ended = found == file.marker and stop + _IDENT <= end
    if ended and _pread(file.fd, _IDENT, stop) == ident:
        records.append((kind, _pread(file.fd, size, begin)))
        return Cursor(stop + _IDENT, stop + _IDENT)
    # Another record after the beginning of this one: its writer is dead.
    following = _find(file, max(offset + 1, scanned), end)
    if following is not None:
        return Cursor(following, following)
    return Cursor(offset, max(scanned, end - _MARKER + 1))


def _find(file: _File, offset: int, end: int) -> int | None:
    while end - offset >= _MARKER:
        chunk = _pread(file.fd, min(_CHUNK, end - offset), offset)
        at = chunk.find(file.marker)
        if at >= 0:
            return offset + at
        offset += len(chunk) - _MARKER + 1  # a marker may lie across two chunks
    return None
