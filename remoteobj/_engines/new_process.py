"""The object of a process, as that process has it: what it does from its first moment to its last.

Its owner has an `ActorProcess`, which is this and what the owner does with it. A process that is no
fork imports nothing of that.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import select
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing import process as mp_process
from multiprocessing import util as mp_util
from typing import Any

from .._wire.transport import ByteStream
from .child import run_program, wait_until_guarded
from .contract import OwnerLink, Program
from .exit_handlers import forget_inherited, run_exit_handlers
from .packing import PackedProgram
from .process_options import ProcessOptions

__all__ = ["NewProcess", "ended_line"]


class NewProcess(multiprocessing.Process):
    """A process that runs a program, in itself."""

    start_method: str
    _link: OwnerLink | None
    _options: ProcessOptions
    _program: Program | PackedProgram | None
    """Packed in a new process that is no fork."""

    def _after_fork(self) -> None:
        super()._after_fork()  # type: ignore[misc]
        assert self._link is not None
        if not self._link.death_lines:
            owner: Any = multiprocessing.parent_process()
            if isinstance(owner._sentinel, int) and self.start_method == "spawn":
                os.close(owner._sentinel)
            mine = OwnerProcess(owner.name, owner.pid, self._link.control)
            mp_process.__dict__["_parent_process"] = mine

    def run(self) -> None:
        """Run the program, in the new process."""
        assert self._link is not None
        assert self._program is not None
        # Daemonic means that it ends with its owner, not that it may have no children.
        self._config["daemon"] = False  # type: ignore[attr-defined]
        if self.start_method == "spawn":
            gc.enable()  # it was off for the imports, which make none: that takes a twentieth less
        else:
            forget_inherited()
        if self.start_method == "forkserver":
            _forget_relative_paths()
        run_program(self._program, self._link, partial(self._options.apply, self.name))

    def live(self) -> int:
        """Do all that the new process is for; its exit code."""
        return self._bootstrap()

    def _bootstrap(self, *args: Any, **kwargs: Any) -> int:
        """Run, in the new process, whose exit code this gives."""
        assert self._link is not None
        wait_until_guarded(self._link)
        bootstrap: Callable[..., int] = super()._bootstrap  # type: ignore[misc]
        code = bootstrap(*args, **kwargs)
        # Now that its threads have ended, as in any program.
        run_exit_handlers()
        mp_util._flush_std_streams()  # type: ignore[attr-defined]
        return code


def _forget_relative_paths() -> None:
    """Have relative entries of `sys.path` looked up in the directory of this process. A fork server
    may have looked them up where it was started, as that of Python 3.14 does."""
    for path in list(sys.path_importer_cache):
        if not os.path.isabs(path):
            del sys.path_importer_cache[path]


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
