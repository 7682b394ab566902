"""Output of an actor with its name before each line, so that the lines of many can be told apart.

Only what goes through `sys.stdout` and `sys.stderr` is labelled: not what code in C, or a process
that the actor has started, writes to the descriptors below.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

__all__ = ["label_output"]


def label_output(name: str) -> Callable[[], None]:
    """Label what is written from now on. What is returned is to be called at the end of the
    process: it writes the lines that were begun and not ended."""
    out, err = _Labelled(sys.stdout, name), _Labelled(sys.stderr, name)
    sys.stdout, sys.stderr = out, err

    def end_lines() -> None:
        out.end_lines()
        err.end_lines()

    return end_lines


class _Labelled(io.TextIOBase):
    """Writes whole lines, one at a time, each with its label.

    `print` writes a line in parts. Those of different threads are kept apart until they are whole.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._label = f"[{name}] "
        self._lock = threading.RLock()
        self._parts: dict[int, str] = {}
        """The line that each thread has begun."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)  # buffer, reconfigure ...

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def write(self, text: str) -> int:
        me = threading.get_ident()
        *lines, rest = (self._parts.pop(me, "") + text).split("\n")
        if rest:
            self._parts[me] = rest
        if lines:
            self._put(lines)
        return len(text)

    def _put(self, lines: list[str]) -> None:
        with self._lock:
            for line in lines:
                self._stream.write(f"{self._label}{line}\n")
                self._stream.flush()  # in one write, so that no other process gets between

    def flush(self) -> None:
        """What is whole has gone out already. A line that has only begun goes out at the end: by
        then the main thread is the only one, or nobody else writes."""
        self._stream.flush()

    def end_lines(self) -> None:
        """The process ends: no line will be completed any more."""
        with self._lock:
            parts, self._parts = self._parts, {}
        self._put([part for part in parts.values() if part])
