"""Output of an actor with its name before each line, so that the lines of many can be told apart.

Only what goes through `sys.stdout` and `sys.stderr` is labelled: not what code in C, or a process
that the actor has started, writes to the descriptors below.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_UN, lockf
from typing import Any, Final, TextIO

__all__ = ["label_output", "unlabel_output"]

FORK_SECONDS: Final = 0.5
"""How long a fork waits for a thread that is writing."""
_NO_LOCK: Final = OSError, TypeError, ValueError
"""What tells that there is no lock for a stream, which may be any object that can be written to."""


def label_output(name: str) -> Callable[[], None]:
    """Label what is written from now on. What is returned is to be called at the end of the
    process: it writes the lines that were begun and not ended."""
    lock = _Lock()
    labelled: list[_Labelled] = []
    for which in ("stdout", "stderr"):
        stream = _unlabelled(getattr(sys, which))
        if stream is not None:  # None: the program was started with this descriptor closed
            labelled.append(_Labelled(stream, name, lock))
            setattr(sys, which, labelled[-1])

    def end_lines() -> None:
        for one in labelled:
            one.end_lines()

    return end_lines


def unlabel_output() -> None:
    """Undo what a fork has inherited of an actor that had its output labelled."""
    sys.stdout, sys.stderr = _unlabelled(sys.stdout), _unlabelled(sys.stderr)


def _unlabelled(stream: Any) -> Any:
    return stream.stream if isinstance(stream, _Labelled) else stream


class _Lock:
    """One for both streams of a process, since they may lead to the same place.

    A fork waits for a thread that is writing: the stream below has a lock of its own, and in the
    child nobody would give that back. But not for ever, as that thread may wait for the fork.
    """

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(
            before=self._wait, after_in_parent=self._let_go, after_in_child=self._renew
        )

    def _wait(self) -> None:
        self.held.acquire(timeout=FORK_SECONDS)

    def _let_go(self) -> None:
        if self.held._is_owned():  # type: ignore[attr-defined]  # else it could not be had in time
            self.held.release()

    def _renew(self) -> None:
        self.held = threading.RLock()


class _Labelled(io.TextIOBase):
    """Writes whole lines, one at a time, each with its label.

    `print` writes a line in parts. Those of different threads are kept apart until they are whole.
    """

    def __init__(self, stream: TextIO, name: str, lock: _Lock) -> None:
        self.stream = stream
        printable = (char if char.isprintable() else ascii(char)[1:-1] for char in name)
        self._label = f"[{''.join(printable)}] "
        self._lock = lock
        self._parts: dict[int, str] = {}
        """The line that each thread has begun. A forked child begins none of them."""
        os.register_at_fork(after_in_child=self._parts.clear)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)  # buffer, reconfigure ...

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.stream.errors

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.stream.fileno()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def write(self, text: str) -> int:
        me = threading.get_ident()
        *lines, rest = (self._parts.pop(me, "") + text).split("\n")
        if rest:
            self._parts[me] = rest
        if lines:
            self._put(lines)
        return len(text)

    def _put(self, lines: list[str]) -> None:
        with self._lock.held, self._alone():
            for line in lines:
                self.stream.write(f"{self._label}{line}\n")
                self.stream.flush()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other actors from writing to the same place: a pipe takes a long line in pieces.
        The kernel ends such a lock with its process. Where it has none for what is written to,
        the lines that a pipe takes at once are whole all the same."""
        with suppress(*_NO_LOCK):
            lockf(self.stream, LOCK_EX)
        try:
            yield
        finally:
            with suppress(*_NO_LOCK):
                lockf(self.stream, LOCK_UN)

    def flush(self) -> None:
        """What is whole has gone out already. A line that has only begun goes out at the end: by
        then the main thread is the only one, or nobody else writes."""
        self.stream.flush()

    def end_lines(self) -> None:
        """The process ends: no line will be completed any more."""
        with self._lock.held:
            parts = list(self._parts.values())
            self._parts.clear()
        self._put(parts)
