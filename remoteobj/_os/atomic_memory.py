"""Bytes in anonymous memory, which several processes share, and which are replaced whole.

::

    file = header | room for a small record | room for another | ... large records ...
             │                     ^
             └─ place of what ─────┘  the one byte that says which of two places in the header
                holds                 holds is written last

A process that is killed while it writes leaves the record before, since the header leads to that
until the new one is whole. So the memory of one who was killed can be given to another.

Small records are written by the processor, into the first page, which is mapped: two system calls
would take three times as long. Large ones are written by the kernel, which says if there is no
memory; what is mapped would end the process then.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from multiprocessing import reduction
from typing import Any, Final

from .fork_safety import close_in_child
from .memfd import anonymous_file
from .records import Part, read_record, record_of, write_at

__all__ = ["AtomicMemory"]

_PAGE: Final = 4096
_HEADER: Final = 64
"""Bytes of the header: five numbers, of which the first says which place holds, the first or the
second; then the place and the size of the first record, then those of the second."""
_ROOM: Final = (_PAGE - _HEADER) // 2
"""Bytes of a small record, at most."""
_SPARE: Final = 1 << 20
"""Bytes of room that are kept, although the record is small."""


class AtomicMemory:
    """A record that is replaced whole, in memory that processes share by being started with it.

    Guarantee: whenever the writer is killed, `read` gives the record before or the new one.

    It has one writer at a time, and keeps no state of its own beside the file: what is written
    there is true, also after an exception that came in the midst of a `write`.

    >>> memory = AtomicMemory()
    >>> memory.open()
    >>> memory.read() is None
    True
    >>> memory.write([b"some", b"parts"])
    >>> memory.read()
    [bytearray(b'some'), bytearray(b'parts')]
    >>> memory.close()
    """

    _fd = -1
    _map: mmap.mmap | None = None
    _numbers: memoryview
    """The header, as numbers; to write one is one step of the processor."""

    def __init__(self) -> None:
        self._fd = anonymous_file("state")
        close_in_child(self)
        os.pwrite(self._fd, bytes(_PAGE), 0)  # there is room for what is going to be mapped

    def open(self) -> None:
        """Be ready to read and write it; its owner, who does neither, needs no map."""
        if self._map is None:
            self._map = mmap.mmap(self._fd, _PAGE)
            self._numbers = memoryview(self._map)[:_HEADER].cast("Q")

    def read(self) -> list[bytearray] | None:
        """The parts that were written last; None: none were."""
        holds = self._numbers[0]
        place, size = self._numbers[1 + 2 * holds : 3 + 2 * holds]
        return read_record(self._fd, place, size) if size else None

    def write(self, parts: Sequence[Part]) -> None:
        """Put these in place of what was written before.

        Raises:
            OSError: there is not enough memory. What was written before stays.
        """
        assert self._map is not None, "it is not open"
        pieces, size = record_of(parts)
        numbers = self._numbers
        new = 1 - numbers[0]
        place, old_size = numbers[3 - 2 * new], numbers[4 - 2 * new]
        if size <= _ROOM:
            begin = _HEADER + new * _ROOM
            self._map[begin : begin + size] = pieces[0]
        else:  # before the record that holds if there is room enough, else behind it
            end = place + old_size
            begin = _PAGE if end <= _PAGE or _PAGE + size <= place else end
            write_at(self._fd, pieces, begin)
        numbers[1 + 2 * new], numbers[2 + 2 * new] = begin, size
        numbers[0] = new
        if begin < place and place + old_size > 4 * (begin + size) + _SPARE:
            os.ftruncate(self._fd, max(_PAGE, begin + size))

    def leave(self) -> None:
        """Nothing is to be given up with it."""

    def close(self, close: Callable[[int], None] = os.close) -> None:
        """Let go of it. It lives on for the others that have it; twice is harmless."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close(fd)
        mapped, self._map = self._map, None
        if mapped is not None:
            self._numbers.release()
            mapped.close()

    __del__ = close

    def __str__(self) -> str:
        return "memory"

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (reduction.DupFd(self._fd),)


def _arrived(sent: Any) -> AtomicMemory:
    """That of its owner, in a process that was started with it."""
    memory = AtomicMemory.__new__(AtomicMemory)
    memory._fd = sent.detach()
    return close_in_child(memory)
