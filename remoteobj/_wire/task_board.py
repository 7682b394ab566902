"""Memory that a pool shares with one of its workers: which task has begun, and what came of it.

Tasks are numbered in the order in which they are sent to a worker. Several may lie in its
connection; so before it begins one, it *claims* its number, and the pool claims those that it wants
back. A claim is a lock of the operating system on one byte of the file: one of the two gets it, and
whoever is killed holds nothing up.

What a worker has made of the items of a run is noted here, item by item, before the next one
begins. So nothing that is done is lost when it dies, and the item that it died of is known.

Invariants:

- Only the worker writes.
- A process opens the file once: the locks of a process end when it closes any descriptor of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import mmap
import os
import pickle
from collections.abc import Iterator
from typing import Any, Final

from .._os.fork_safety import close_in_child
from .runtime_directory import runtime_directory

__all__ = ["MOST_ITEMS", "SIZE", "Notes", "TaskBoard"]

SIZE: Final = 1 << 18
"""Bytes. Of those that are never written, the system gives none."""
MOST_ITEMS: Final = 8192
"""Of a run."""
HEAD: Final = 64
"""Where the kinds of the outcomes begin, each a byte."""
NUMBERS: Final = HEAD + MOST_ITEMS
PICKLES: Final = NUMBERS + 8 * MOST_ITEMS
_SINCE, _PACE, _BEGUN = 0, 1, 2
"""The places of the numbers in the head: two floats, and an integer."""


class TaskBoard:
    """One side's view of the file of one worker."""

    def __init__(self, path: str, made: bool) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags | os.O_CREAT | os.O_EXCL if made else flags, 0o600)
        try:
            if made:
                os.ftruncate(self._fd, SIZE)
            self._memory = mmap.mmap(self._fd, SIZE)
        except BaseException:
            os.close(self._fd)
            raise
        whole = memoryview(self._memory)
        self._times, self._counts = whole.cast("d"), whole.cast("q")

    @classmethod
    def made(cls, name: str) -> TaskBoard:
        """A new one, of this process, whose forked children have no part in it.

        Raises:
            OSError: there is no room, or no descriptor.
        """
        path = os.path.join(runtime_directory.get(), f"{name}-{os.urandom(8).hex()}")
        return close_in_child(cls(path, made=True))

    @classmethod
    def of(cls, path: str) -> TaskBoard:
        """The one that another process has made."""
        return cls(path, made=False)

    def hide(self) -> None:
        """Remove the name: whoever was to open the file has done so, or never will."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def close(self) -> None:
        """Let go of it, also of its memory, for which somebody may still have this object. The
        numbers in the head stay as they were. Harmless when done twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
            head = memoryview(bytearray(self._memory[:HEAD]))
            self._times, self._counts = head.cast("d"), head.cast("q")
            del self._memory

    # --- which task has begun --------------------------------------------------------------

    def claim(self, number: int) -> bool:
        """Whether the task of this number is from now on this side's; False: it is the other's."""
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError:
            return False
        return True

    def begins(self, number: int, now: float) -> None:
        """The worker begins this task, at `now` by `time.monotonic`."""
        self._memory[HEAD] = 0  # no item of it has an outcome
        self._counts[_BEGUN] = number
        self._times[_SINCE] = now

    def ends(self, now: float) -> None:
        """The worker has ended what it had begun."""
        times = self._times
        took, before = now - times[_SINCE], times[_PACE]
        times[_PACE] = took if not before else before + (took - before) / 4
        times[_SINCE] = 0.0

    @property
    def since(self) -> float:
        """When the task was begun that the worker is at; 0: it is at none."""
        return self._times[_SINCE]

    @property
    def pace(self) -> float:
        """Seconds that its last tasks took, each; 0: it has ended none."""
        return self._times[_PACE]

    @property
    def begun(self) -> int:
        """The number of the task that was begun last; 0: none was."""
        return self._counts[_BEGUN]

    # --- what came of the items of a run -----------------------------------------------------

    def notes(self, count: int) -> Notes:
        """Where the worker notes what comes of the items of a run, of which there are so many."""
        return Notes(self._memory, count)

    def noted(self) -> list[Any]:
        """What is noted of the last run, in order. Nothing but plain values was."""
        return list(Notes(self._memory).values())


class Notes:
    """What came of each item of a run, in columns: of what kind it is, and the number that it is.
    What is no number is pickled, one after the other, behind the columns.

    The kind is written last: an item without a kind has no outcome.

    Args:
        count: how many items there are to be notes of; None: those that are there are read.
    """

    INTEGER, FLOAT, PICKLED = 1, 2, 3

    def __init__(self, memory: mmap.mmap, count: int | None = None) -> None:
        whole = memoryview(memory)
        self.kinds = whole[HEAD:NUMBERS]
        self.integers = whole[NUMBERS:PICKLES].cast("q")
        self.floats = whole[NUMBERS:PICKLES].cast("d")
        self._memory = memory
        if count is not None:
            self.kinds[:count] = bytes(count)
            memory.seek(PICKLES)
            # One pickler for all: to make one for each would take longer than to pickle a text.
            # That it knows a text again which it has seen does no harm, since no value can change.
            self._dump = pickle.Pickler(memory, 5).dump

    def add(self, index: int, value: Any) -> bool:
        """Note a plain value that is no number; False: there is no room for it."""
        try:
            self._dump(value)
        except ValueError:
            return False
        self.kinds[index] = self.PICKLED
        return True

    def values(self) -> Iterator[Any]:
        """What is noted."""
        unpickler = pickle.Unpickler(io.BytesIO(self._memory[PICKLES:]))
        for index, kind in enumerate(self.kinds):
            if kind == self.INTEGER:
                yield self.integers[index]
            elif kind == self.FLOAT:
                yield self.floats[index]
            elif kind == self.PICKLED:
                yield unpickler.load()
            else:
                return
