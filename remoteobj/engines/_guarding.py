"""An owner's side of its guardian: it is started with the first actor, and told of each."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from multiprocessing import util as mp_util

from .. import _guardian
from .._address import own_directory
from .._sigpipe import sparing

__all__ = ["guardian"]

BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that are for the owner, while its guardian is still in the same process group."""


class Guardian:
    """The guardian of this process.

    Invariant: no other process than the owner has the end of the pipe that is written to, since
    its closing is the news of the owner's death. So a fork waits for the lock, and then closes it.
    """

    def __init__(self) -> None:
        self.pid: int | None = None
        self.pipe: int | None = None
        self._lock = threading.RLock()  # a signal handler may spawn an actor, too
        self._told: dict[str, None] = {}  # in order, what it is to know
        self._registered_in = -1
        os.register_at_fork(
            before=lambda: self._lock.acquire(),
            after_in_parent=lambda: self._lock.release(),
            after_in_child=self._renew,
        )

    def summon(self) -> None:
        """Have it there, so that it can be told of an actor as soon as that is."""
        with self._lock:
            if self.pipe is None:
                self._start()

    def watch(self, pid: int) -> None:
        """See to it that an actor does not outlive this process, nor a directory of ours."""
        self._hand_over(f"+{pid}")
        if directory := own_directory():
            self._hand_over(directory)

    def forget(self, pid: int) -> None:
        """An actor has ended; to be said before it is reaped, and its pid another's."""
        with self._lock:
            if self._told.pop(f"+{pid}", ...) is None:
                self._write(f"-{pid}")

    def remove(self, path: str) -> None:
        """See to it that a socket does not outlive this process."""
        self._hand_over(path)

    def _hand_over(self, what: str) -> None:
        with self._lock:
            if what not in self._told:
                self._told[what] = None
                self._tell(what)

    def _tell(self, line: str) -> None:
        if not self._write(line):
            self._close()
            self._start()

    def _write(self, line: str) -> bool:
        """False: there is none, it has been killed, or the pipe is full: it reads at our end only,
        and the next one is told no more than is the case then."""
        if self.pipe is not None:
            with contextlib.suppress(OSError), sparing():
                return os.write(self.pipe, f"{line}\n".encode()) > 0
        return False

    def _start(self) -> None:
        """Start one, and tell it all. Where no interpreter can be run, there is none."""
        if (executable := _executable()) is None:
            return
        reading, self.pipe = os.pipe()
        try:
            self.pid = os.posix_spawn(
                executable,
                [executable, "-I", "-S", _guardian.__file__],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, reading, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsigmask=BLOCKED,
            )
        except BaseException as exc:
            self._close()
            if isinstance(exc, (FileNotFoundError, PermissionError)):
                return  # a sandbox: actors end by themselves in all other cases
            raise
        finally:
            os.close(reading)
        # Killed already: the next word starts another.
        with contextlib.suppress(BrokenPipeError), sparing():
            os.write(self.pipe, "".join(f"{line}\n" for line in self._told).encode())
        os.set_blocking(self.pipe, False)
        if self._registered_in != os.getpid():
            self._registered_in = os.getpid()
            # After all processes have been stopped, and multiprocessing has joined its own.
            mp_util.Finalize(None, self._dismiss, exitpriority=-100)

    def _dismiss(self) -> None:
        """This process ends, in order."""
        with self._lock:
            if not any(line.startswith("+") for line in self._told):
                self._close()

    def _close(self) -> None:
        """End it, at once: what it is for is over, or is told to another one."""
        pid, self.pid = self.pid, None
        pipe, self.pipe = self.pipe, None
        if pid is not None:
            with contextlib.suppress(ChildProcessError):  # reaped by a wait for any child
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
        if pipe is not None:
            os.close(pipe)

    def _renew(self) -> None:
        """In a forked child, which has no actors yet."""
        if self.pipe is not None:
            os.close(self.pipe)
        self.pid = self.pipe = None
        self._told = {}
        self._lock = threading.RLock()


def _executable() -> str | None:
    """The interpreter: as `multiprocessing.set_executable` said, or our own.

    None where there is none to be started: in a frozen program, or one that Python is embedded in.
    """
    spawn = sys.modules.get("multiprocessing.spawn")  # not loaded: then nobody has said so
    path = os.fsdecode((spawn.get_executable() if spawn else sys.executable) or "")
    known = "py" in os.path.basename(path) and not getattr(sys, "frozen", False)
    return path if known and os.access(path, os.X_OK) else None


guardian = Guardian()
