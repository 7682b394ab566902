"""How a process is forked so that it costs its owner one descriptor, that of the process itself.

`multiprocessing` makes two pipes, by which the two processes learn of each other's end. Of each
one end stays in the owner, and goes on to all that it forks later.
"""

from __future__ import annotations

import contextlib
import os
import select
from multiprocessing import popen_fork
from multiprocessing import process as mp_process
from typing import Any

from .._os.fork_safety import fork_lean, leave_to_parent
from .._wire.transport import ByteStream

__all__ = ["ForkPopen", "OwnerProcess", "ended_line"]


class ForkPopen(popen_fork.Popen):
    """`multiprocessing`'s, but without its pipes: whoever uses it gives it a `sentinel`."""

    sentinel = -1

    def _launch(self, process_obj: Any) -> None:
        self.pid = fork_lean()
        if self.pid == 0:
            code = 1
            try:
                leave_to_parent(vars(mp_process)["_children"])
                code = process_obj.live()
            finally:
                os._exit(code)


class OwnerProcess(mp_process._ParentProcess):  # type: ignore[name-defined,misc]
    """The owner, as `multiprocessing.parent_process()` gives it in what it has started.

    The descriptor of it is opened by the first who asks whether it lives.
    """

    def __init__(self, name: str, pid: int, control: ByteStream) -> None:
        self._control = control
        self._opened: int | None = None
        super().__init__(name, pid, None)

    @property
    def _sentinel(self) -> int:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    @_sentinel.setter
    def _sentinel(self, nothing: None) -> None:
        """There is none before it is needed."""

    def _open(self) -> int:
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(self.pid)
            if _is_open(self._control):
                return pidfd  # the number was still its own
            os.close(pidfd)
        return ended_line()


def ended_line() -> int:
    """A descriptor that is readable: what stands for a process that is not there any more."""
    reading, writing = os.pipe()
    os.close(writing)
    return reading


def _is_open(stream: ByteStream) -> bool:
    """Whether the other end is."""
    poll = select.poll()
    poll.register(max(stream.fileno(), 0), 0)
    return stream.fileno() >= 0 and not poll.poll(0)
