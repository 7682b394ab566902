"""A terminal that several processes ask in, one at a time, as pdb wants it: a text file.

::

    write, before it is our turn ──> kept
    readline ──> wait for our turn ──> say who asks, and what was kept ──> read ──> keep the turn
                                                                                 for a moment
"""

from __future__ import annotations

import io
import os
import threading
from multiprocessing import current_process
from typing import Final

from .._wire.turns import Turn
from .job_control import in_group_of_program

__all__ = ["SharedTerminal", "find_terminal"]

VARIABLE: Final = "REMOTEOBJ_TERMINAL"
"""The variable of the environment that names another terminal than that of the session."""
MOMENT_SECONDS = 0.5
"""How long the turn is kept when a line was read. Most commands ask for the next one sooner, and
nobody gets in between. What takes longer may wait for somebody who waits for the turn."""


def find_terminal() -> str:
    """The path of the terminal in which the program runs.

    Raises:
        RuntimeError: there is none.
    """
    named = os.environ.get(VARIABLE)
    path = named or os.ctermid()
    try:
        os.close(_opened(path))
    except OSError as exc:
        where = f"{VARIABLE} names {named}, which can't be opened" if named else "there is none"
        raise RuntimeError(
            f"breakpoint() finds no terminal for {current_process().name}: {where} ({exc.strerror})"
            f". Run the program in a terminal; or set {VARIABLE} to the name of one, as `tty` tells"
            ' it there; or spawn the actor with the option engine="thread" or engine="inline", so '
            "that the debugger of this program stops in it; or set PYTHONBREAKPOINT to a debugger "
            "that is reached in another way; or read handle.stack_()"
        ) from None
    return path


def _opened(path: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    if os.isatty(fd):
        return fd
    os.close(fd)
    raise OSError(0, "it is no terminal")


class SharedTerminal(io.TextIOBase):
    """A terminal, as one of those who ask there has it. It is open while it is our turn."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._turn: Turn | None = None
        self._fd = -1
        self._kept: list[str] = []
        """What was written and not yet shown."""
        self._lock = threading.RLock()
        """Held while the turn comes and goes."""
        self._reading = False
        self._timer: threading.Timer | None = None

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        """A line, when it is our turn; "" at its end, which makes pdb quit.

        So does an interruption: who asked for it wants the call to end, not another prompt.
        """
        try:
            self._take()
            with in_group_of_program(self._fd):
                self._show()
                line = self._read()
        except KeyboardInterrupt:
            line = ""
        except BaseException:
            self.give()
            raise
        self._keep_for_a_moment()
        return line

    def write(self, text: str, /) -> int:
        with self._lock:
            self._kept.append(text)
            if self._turn is not None:
                self._show()
        return len(text)

    def give(self) -> None:
        """It is the next one's turn. Harmless when it is not ours."""
        with self._lock:
            self._reading = False
            self._cancel()
            turn, fd = self._turn, self._fd
            self._turn, self._fd = None, -1
            if turn is not None:
                turn.give()
                os.close(fd)

    def _take(self) -> None:
        with self._lock:
            self._reading = True
            self._cancel()
            if self._turn is None:
                fd = _opened(self._path)
                turn = Turn(f"terminal-{_key(fd)}")
                try:
                    turn.take()
                except BaseException:
                    os.close(fd)
                    raise
                self._turn, self._fd = turn, fd
                me = current_process()
                self._kept.insert(0, f"\n--- {me.name} (pid {me.pid}) ---\n")

    def _keep_for_a_moment(self) -> None:
        with self._lock:
            self._reading = False
            self._timer = threading.Timer(MOMENT_SECONDS, self._give_if_idle)
            self._timer.name = "remoteobj-terminal"
            self._timer.daemon = True
            self._timer.start()

    def _give_if_idle(self) -> None:
        with self._lock:
            if not self._reading:
                self.give()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _show(self) -> None:
        text, self._kept = "".join(self._kept), []
        data = text.encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._fd, data) :]

    def _read(self) -> str:
        data = b""
        while not data.endswith(b"\n") and (more := os.read(self._fd, 4096)):
            data += more
        return data.decode("utf-8", "backslashreplace")


def _key(terminal: int) -> str:
    """The same in all processes that have this terminal, and for no other: that of a session has
    the same name, `/dev/tty`, in each."""
    try:
        os.tcgetpgrp(terminal)
    except OSError:
        return f"{os.fstat(terminal).st_rdev:x}"
    return f"of-{os.getsid(0):x}"
