"""An owner's side of its guardian: it is started with the first actor, and has a list of all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import threading
from multiprocessing import util as mp_util

from .._os import guardian_main
from .._os.guardian_main import SLOT
from .._os.memfd import anonymous_file
from .._wire.runtime_directory import runtime_directory

__all__ = ["guardian"]

BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that are for the owner, while its guardian is still in the same process group."""


class Guardian:
    """The guardian of this process, and the list that it reads when this process has ended.

    Invariant: no other process than the owner has the end of the pipe of which the guardian has
    the other, since its closing is the news of the owner's death. So a fork waits for the lock, and
    then closes it.
    """

    def __init__(self) -> None:
        self.pid: int | None = None
        self.pipe: int | None = None
        self.list: int | None = None
        # Reentrant, since a signal handler may spawn an actor too.
        self._lock = lock = threading.RLock()
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._registered_in = -1
        # No code of ours between a fork and its release: a Ctrl-C there would leave it held.
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )
        os.register_at_fork(after_in_child=self._renew)

    def summon(self) -> None:
        """Have it there, before there is an actor. Where no interpreter can be run, it is not."""
        with self._lock:
            if self.pid is None or not _lives(self.pid):
                self._close()
                self._start()

    def watch(self, pid: int) -> None:
        """See to it that an actor does not outlive this process, nor a directory of ours."""
        self._enter(f"+{pid}")
        if directory := runtime_directory.if_made():
            self._enter(directory)

    def forget(self, pid: int) -> None:
        """An actor has ended; to be said before it is reaped, and its pid another's."""
        self._erase(f"+{pid}")

    def remove(self, path: str) -> None:
        """See to it that a socket does not outlive this process."""
        self._enter(path)

    def _enter(self, what: str) -> None:
        with self._lock:
            if what in self._slots or len(os.fsencode(what)) > SLOT:
                return
            self._have_list()
            assert self.list is not None
            slot = self._free.pop() if self._free else len(self._slots)
            self._slots[what] = slot
            os.pwrite(self.list, os.fsencode(what).ljust(SLOT, b"\0"), slot * SLOT)

    def _erase(self, what: str) -> None:
        with self._lock:
            slot = self._slots.pop(what, None)
            if slot is not None and self.list is not None:
                os.pwrite(self.list, bytes(SLOT), slot * SLOT)
                self._free.append(slot)

    def _start(self) -> None:
        if (executable := _executable()) is None:
            return
        self._have_list()
        assert self.list is not None
        reading, writing = map(_beyond_stdio, os.pipe())
        try:
            pid = os.posix_spawn(
                executable,
                [executable, "-I", "-S", guardian_main.__file__],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, reading, 0),
                    (os.POSIX_SPAWN_DUP2, self.list, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                setsigmask=BLOCKED,
            )
        except BaseException as exc:
            # If one was started all the same, it ends: its pid is not in the list.
            os.close(writing)
            if isinstance(exc, (FileNotFoundError, PermissionError)):
                return  # a sandbox: actors end by themselves in all other cases
            raise
        finally:
            os.close(reading)
        self._close()  # of a signal handler that has started one meanwhile
        self.pid, self.pipe = pid, writing
        self._enter(f"={pid}")
        if self._registered_in != os.getpid():
            self._registered_in = os.getpid()
            # After all processes have been stopped, and multiprocessing has joined its own.
            mp_util.Finalize(None, self._dismiss, exitpriority=-100)

    def _have_list(self) -> None:
        if self.list is None:
            self.list = _beyond_stdio(anonymous_file("guardian"))

    def _dismiss(self) -> None:
        """This process ends, in order."""
        with self._lock:
            if not any(what.startswith("+") for what in self._slots):
                self._close()

    def _close(self) -> None:
        """End it, at once: what it is for is over, or is another one's."""
        pid, self.pid = self.pid, None
        pipe, self.pipe = self.pipe, None
        if pid is not None:
            if _lives(pid):
                with contextlib.suppress(OSError):  # we may have given up the right to
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
            self._erase(f"={pid}")
        if pipe is not None:
            os.close(pipe)

    def _renew(self) -> None:
        """In a forked child, which has no actors yet."""
        for fd in (self.pipe, self.list):
            if fd is not None:
                os.close(fd)
        self.pid = self.pipe = self.list = None
        self._slots = {}
        self._free = []


def _lives(pid: int) -> bool:
    """Whether a child of ours does; it is reaped, if not."""
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:  # reaped by a wait for any child
        return False


def _beyond_stdio(fd: int) -> int:
    """The same, where a program that has closed its standard streams does not print to."""
    if fd > 2:
        return fd
    other = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return other


def _executable() -> str | None:
    """The interpreter: as `multiprocessing.set_executable` said, or our own.

    None where there is none to be started: in a frozen program, or one that Python is embedded in.
    """
    spawn = sys.modules.get("multiprocessing.spawn")  # not loaded: then nobody has said so
    path = os.fsdecode((spawn.get_executable() if spawn else sys.executable) or "")
    known = "py" in os.path.basename(path) and not getattr(sys, "frozen", False)
    return path if known and os.access(path, os.X_OK) else None


guardian = Guardian()
