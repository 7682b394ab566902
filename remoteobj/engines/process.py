"""An object in a process of its own, started by fork, forkserver or spawn.

The child never imports the program's `__main__` again: what it needs of it travels by
value. So an unguarded script, `python -c` and a notebook work under every start method.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import multiprocessing
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import util as mp_util
from multiprocessing.context import ForkProcess
from typing import Any

from .._codec import dumps, loads, share_classes
from .._frames import encode
from .._interruption import Interruption
from .._late import importing
from .._line import line, socket_line
from .._messages import BIRTH
from .._peer import error_frame
from .._sockets import inheriting
from .._transport import TRAITS, LineChannel, Traits
from ..errors import UnsendableError
from ._base import Launch, Link, Program

__all__ = ["ActorProcess", "ProcessEngine", "Terminated"]

ORPHAN_SECONDS = 1.5
"""How long an actor whose owner is gone has for its cleanup."""
REAP_SECONDS = 1.0
"""How long the exit code of a dead process may take to be known."""


class Terminated(Interruption):
    """SIGTERM arrived: unwind the main thread, so that cleanup runs."""


# --- the process ---------------------------------------------------------------------------


class ActorProcess(multiprocessing.Process):
    """A process that runs a program, and whose death is an event."""

    def __init__(
        self,
        program: Program,
        *,
        name: str,
        daemon: bool = True,
        start_method: str | None = None,
        traits: Traits = TRAITS,
    ) -> None:
        super().__init__(name=name, daemon=daemon)
        # What of it belongs in the new process: multiprocessing's own part, and our link.
        self._state: tuple[str, ...] = (*vars(self), "_link", "start_method")
        known = multiprocessing.get_all_start_methods()
        chosen = start_method or multiprocessing.get_start_method(allow_none=True)
        self.start_method: str = chosen or known[0]
        if self.start_method not in known:
            raise ValueError(f"start_method {start_method!r} is none of {', '.join(known)}")
        self._program: Program | None = program
        self._link: Link | None = None
        self._traits = traits
        self._death: int | None = None
        self._close_death: Any = None
        self._code: int | None = None
        self._reaping = threading.Lock()
        self._owner_pid = os.getpid()

    def start(self) -> None:
        """Start it; then `data` and `control` lead to it."""
        assert self._program is not None
        data, their_data = line()
        control, their_control = socket_line()
        self._link = Link(their_data, their_control)
        try:
            if self.start_method == "fork":
                share_classes(*(part for _, part in self._program.parts()))
            with inheriting(their_data, their_control):
                self._start_even_if_daemonic()
            self._death = self._open_death()
        except BaseException:
            data.close()
            control.close()
            raise
        finally:
            their_data.close()
            their_control.close()
            self._link = None
            self._program = None
        self.data: LineChannel = LineChannel(data, self._death, self._traits)
        self.control: LineChannel = LineChannel(control)

    def _start_even_if_daemonic(self) -> None:
        """Inside a daemonic process of others, `multiprocessing` would refuse to start one."""
        config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
        daemonic = config.pop("daemon", None)
        try:
            super().start()
        finally:
            if daemonic is not None:
                config["daemon"] = daemonic

    def close_sentinel(self) -> None:
        """Let go of multiprocessing's own descriptors too, but not of the exit code."""
        self._popen.close()  # type: ignore[attr-defined]

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        if process_obj.start_method == "fork":
            return ForkProcess._Popen(process_obj)
        with importing:
            from . import _popen  # for a faster start-up: a fork does without

        return _popen.POPEN[process_obj.start_method](process_obj)

    def __getstate__(self) -> dict[str, Any]:
        """What the new process needs: multiprocessing's own part, and what it is to run."""
        payload, buffers = self._packed_program()
        state = {name: self.__dict__[name] for name in self._state if name in self.__dict__}
        return {**state, "_program": (payload, [bytes(one) for one in buffers])}

    def _packed_program(self) -> tuple[bytes, list[memoryview]]:
        assert self._program is not None
        try:
            return dumps(self._program, "program")
        except UnsendableError as exc:
            error = exc
        for name, part in self._program.parts():
            dumps(part, name)  # says which one it is
        raise error

    # --- its death ---

    def _open_death(self) -> int:
        """A descriptor that gets readable when the process ends.

        multiprocessing's sentinel is a pipe that lives on in the process's own children;
        under forkserver it is the server that holds it, and may die first.
        """
        if not hasattr(os, "pidfd_open"):
            return self.sentinel
        assert self.pid is not None
        try:
            fd = os.pidfd_open(self.pid)
        except OSError:
            return self.sentinel
        self._close_death = mp_util.Finalize(self, os.close, (fd,))
        if self.start_method == "forkserver" and _readable(self.sentinel, 0):
            return self.sentinel  # it has been reaped: the pid may be another process's now
        return fd

    def release(self) -> None:
        """Let go of the descriptors of a process that has been reaped."""
        self.data.close()
        self.control.close()
        if self.reap() is not None:
            self._death = None
            if self._close_death is not None:
                self._close_death()

    def join(self, timeout: float | None = None) -> None:
        if self._death is not None:
            _readable(self._death, timeout)
            self.reap()
        elif self._code is None:  # else it has been joined, perhaps by the parent of a fork
            super().join(timeout)

    def is_alive(self) -> bool:
        if self._death is None or self._code is not None:
            return False
        if os.getpid() != self._owner_pid:
            return not _readable(self._death, 0)
        return self.reap() is None

    def reap(self) -> int | None:
        """The exit code, collected if the process has ended; None while it runs.

        Only its parent can collect it: in a forked copy of the parent it stays None.
        """
        if os.getpid() != self._owner_pid:
            return self._code
        with self._reaping:
            if self._death is None or not _readable(self._death, 0):
                return self._code
            end = time.monotonic() + REAP_SECONDS
            while (code := self.exitcode) is None and time.monotonic() < end:
                time.sleep(0.001)  # the fork server learns of it a little later than we
            if code is not None:
                super().join(0)
                self._code = code
            return code

    # --- in the child ---

    def run(self) -> None:
        """Run the program, in the new process."""
        # The collector leaves alone what is here already. To look at an object is to write to
        # it, and so would in time make a copy of all the memory that a fork shares.
        gc.freeze()
        link = self._link
        assert link is not None
        program = self._unpacked_program(link)
        link.orphaned = _end_soon
        link.undisturbed = _ignore_sigterm
        # Daemonic means that it ends with its owner, not that it may have no children.
        self._config["daemon"] = False  # type: ignore[attr-defined]
        # Whoever started it may have had them blocked, and a mask is inherited.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGURG})
        signal.signal(signal.SIGINT, _leave_to_the_owner)
        signal.signal(signal.SIGTERM, partial(_unwind, link))
        with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):
            if not faulthandler.is_enabled():
                faulthandler.enable()  # there may be no stderr, or not a real one
        try:
            program.run(link)
        except Terminated:
            mp_util._exit_function()  # type: ignore[attr-defined]
            _die_of(signal.SIGTERM)

    def _unpacked_program(self, link: Link) -> Program:
        program = self._program
        if isinstance(program, tuple):
            try:
                program = loads(*program)
            except BaseException as exc:
                LineChannel(link.data).write(encode(error_frame(BIRTH, exc)))
                raise SystemExit(1) from None
        assert program is not None
        return program


def _readable(fd: int, timeout: float | None) -> bool:
    """Wait until it can be read, or `timeout` seconds have passed; whether it can."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))


def _leave_to_the_owner(number: int, frame: Any) -> None:
    """Ctrl-C reaches every process of the terminal; what it means is the owner's to say."""


def _unwind(link: Link, number: int, frame: Any) -> None:
    _ignore_sigterm()  # once is enough
    if link.told_to_end is not None:
        link.told_to_end()
    raise Terminated


def _ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _die_of(number: signal.Signals) -> None:
    """End as if the signal had ended us, so that the exit code tells the truth."""
    mp_util._flush_std_streams()  # type: ignore[attr-defined]
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _end_soon(last_rites: Callable[[], None]) -> None:
    """The owner is gone: unwind the main thread, and do not wait for ever for that."""

    def watch() -> None:
        time.sleep(ORPHAN_SECONDS)
        last_rites()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="remoteobj-watchdog", daemon=True).start()
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM)  # it may sleep in the kernel: wake that thread


# --- the engine ----------------------------------------------------------------------------


class ProcessVessel:
    """A program in a process."""

    autonomous: bool = True

    def __init__(self, process: ActorProcess) -> None:
        self._process = process
        self.data: LineChannel = process.data
        self.control: LineChannel = process.control

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def exitcode(self) -> int | None:
        return self._process.reap()

    def join(self, timeout: float | None = None) -> bool:
        self._process.join(timeout)
        return not self._process.is_alive()

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.release()
        if self._process.reap() is not None:
            self._process.close_sentinel()


class ProcessEngine:
    """Launches programs in processes."""

    def launch(self, launch: Launch) -> ProcessVessel:
        process = ActorProcess(
            launch.program,
            name=launch.name,
            daemon=launch.daemon,
            start_method=launch.start_method,
            traits=launch.traits,
        )
        process.start()
        return ProcessVessel(process)
