"""A process that runs a program, and whose death is an event."""

from __future__ import annotations

import contextlib
import errno
import gc
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from functools import partial
from multiprocessing import util as mp_util
from multiprocessing.context import ForkProcess
from typing import Any

from .._os.fork_safety import keep_in_child
from .._os.lazy_import import import_lock
from .._pickling.codec import dumps, loads, share_classes
from .._pickling.exceptions import for_caller, pack_error
from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._protocol.frames import encode
from .._protocol.messages import INIT_ID, Frame, Kind
from .._wire.channel import StreamChannel
from .._wire.duplex import DuplexStream, duplex_pair, socket_pair
from ..errors import UnsendableError
from .child_signals import (
    Terminated,
    end_soon,
    exit_by_signal,
    ignore_sigint,
    ignore_sigterm,
    kill_group,
    lead_group,
    unwind,
)
from .contract import ExitReport, OwnerLink, Program
from .flight_recorder import STACK_SIGNAL, FlightRecorder
from .guardian import guardian
from .out_of_memory import killed_for_memory, watch

__all__ = ["ActorProcess"]

TOO_MANY = "An actor takes 9 descriptors in its owner; allow more: by `ulimit -n`, or setrlimit."
STARTING_TAKES = 8
"""How many descriptors `multiprocessing` has at most, for itself, while it starts a process."""
CAN_PEEK = hasattr(os, "waitid")  # not on macOS before Python 3.13
UNKNOWN = 255
"""What `multiprocessing` is told of an exit code that somebody else has collected."""
STOLEN_CODE_SECONDS = 0.05
"""How long a child that somebody else seems to have reaped may still turn out to be ours."""
REAP_SECONDS = 1.0
"""How long the exit code of a dead process may take to be known."""


class ActorProcess(multiprocessing.Process):
    """A process that runs a program, and whose death is an event."""

    def __init__(
        self,
        program: Program,
        *,
        name: str,
        daemon: bool = True,
        start_method: str | None = None,
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
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
        self._link: OwnerLink | None = None
        self._wire_options = wire_options
        self._recorder: FlightRecorder | None = None
        self._peak: int | None = None
        self._exit_report: ExitReport | None = None
        self._death: int | None = None
        self._close_death: Any = None
        self._code: int | None = None
        self._not_our_child = False
        self._reaped_elsewhere = False
        """Whether somebody else has reaped it, so that its exit code will never be known."""
        self._reaping = threading.Lock()
        self._owner_pid = os.getpid()

    def start(self) -> None:
        """Start it; then `data` and `control` lead to it."""
        watch()
        try:
            self._start()
        except OSError as exc:
            if exc.errno == errno.EMFILE:
                exc.add_note(TOO_MANY)
            raise

    def _start(self) -> None:
        assert self._program is not None
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            data, control, *death_lines = self._link_up(ours, theirs)
            try:
                if self.start_method == "fork":
                    share_classes(*(part for _, part in self._program.parts()))
                guardian.summon()
                _need_descriptors(STARTING_TAKES)
                self._start_even_if_daemonic()
                guardian.watch(self._popen.pid)  # type: ignore[attr-defined]
                self._death = self._open_death(*death_lines)
            finally:
                self._link = None
                self._program = None
            ours.pop_all()
        self.data: StreamChannel = StreamChannel(data, self._death, self._wire_options)
        self.control: StreamChannel = StreamChannel(control)

    def _link_up(
        self, ours: contextlib.ExitStack, theirs: contextlib.ExitStack
    ) -> list[DuplexStream]:
        """Make what leads to it. Our ends are closed by one of the stacks, and its by the other,
        which until then keeps them for a forked child."""
        makers = (
            (duplex_pair, socket_pair) if _has_pidfds() else (duplex_pair, socket_pair, socket_pair)
        )
        ends, its = [], []
        for make in makers:
            end, other = make()
            ours.callback(end.close)
            theirs.callback(other.close)
            ends.append(end)
            its.append(other)
        self._link = OwnerLink(its[0], its[1])
        self._link.death_lines = its[2:]
        self._recorder = self._link.recorder = FlightRecorder()
        ours.callback(self._recorder.close)
        theirs.enter_context(keep_in_child(*its))
        return ends

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
        with import_lock:
            from . import without_main  # for a faster start-up: a fork does without

        return without_main.POPEN[process_obj.start_method](process_obj)

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

    def _open_death(self, death_lines: DuplexStream | None = None) -> int:
        """A descriptor that gets readable when the process ends.

        That is not multiprocessing's sentinel, a pipe that lives on in the process's own children;
        under forkserver it is the server that holds it, and may die first. Where processes have no
        descriptors, it is a line that a process closes in its children, and never writes to.
        """
        assert self.pid is not None
        if death_lines is not None:
            fd = os.dup(death_lines.fileno())  # a forked child may look, too
            death_lines.close()
        else:
            fd = os.pidfd_open(self.pid)
        self._close_death = mp_util.Finalize(self, os.close, (fd,))
        if (
            death_lines is None
            and self.start_method == "forkserver"
            and _readable(self.sentinel, 0)
        ):
            return self.sentinel  # it has been reaped: the pid may be another process's now
        return fd

    def release(self) -> None:
        """Let go of the descriptors of a process that has been reaped."""
        self.data.close()
        self.control.close()
        if not self.is_alive():
            self.exit_report()
            if self._recorder is not None:
                self._recorder.close()
                self._recorder = None
            self._death = None
            if self._close_death is not None:
                self._close_death()

    def join(self, timeout: float | None = None) -> None:
        if self._death is not None:
            _readable(self._death, timeout)
            self.reap()
        elif self._code is None and not self._reaped_elsewhere:
            super().join(timeout)
        # Else it has been joined, perhaps by the parent of a fork.

    def is_alive(self) -> bool:
        if self._death is None or self._code is not None:
            return False
        if os.getpid() != self._owner_pid:
            return not _readable(self._death, 0)
        return self.reap() is None and not self._reaped_elsewhere

    def terminate(self) -> None:
        if self.is_alive():
            super().terminate()

    def reap(self) -> int | None:
        """The exit code, collected if the process has ended; None while it runs.

        Only its parent can collect it: in a forked copy of the parent it stays None; and so it does
        where a handler of SIGCHLD, say, collects whatever there is.
        """
        if os.getpid() != self._owner_pid:
            return self._code
        with self._reaping:
            known = self._code is not None or self._reaped_elsewhere
            if known or self._death is None or not _readable(self._death, 0):
                return self._code
            guardian.forget(self._popen.pid)  # type: ignore[attr-defined]
            code = self._collect_soon()
            peeked = CAN_PEEK and self.start_method != "forkserver"
            if code is not None and code < 0 and self.pid and not peeked:
                # Reaped already, by the server say, but a number is not given out again so soon.
                kill_group(self.pid)
            if code is not None or self._reaped_elsewhere:
                super().join(0)
                self._code = code
            return code

    def _collect_soon(self) -> int | None:
        """The exit code of one that has ended; None: it can't be had."""
        begun = time.monotonic()
        while (code := self._collect()) is None:
            # The fork server learns of it a little later than we do; and another thread that
            # has just reaped it, in `multiprocessing`, says so in a moment.
            limit = STOLEN_CODE_SECONDS if self._not_our_child else REAP_SECONDS
            if time.monotonic() > begun + limit:
                self._reaped_elsewhere = self._not_our_child
                break
            time.sleep(0.001)
        if self._reaped_elsewhere:
            self._popen.returncode = UNKNOWN  # type: ignore[attr-defined]
        return code

    def _collect(self) -> int | None:
        """The exit code; where it is a child of ours, with the memory that it used."""
        popen: Any = self._popen  # type: ignore[attr-defined]
        if self.start_method != "forkserver" and popen.returncode is None:
            try:
                self._end_its_children(popen.pid)
                pid, status, usage = os.wait4(popen.pid, os.WNOHANG)
            except ChildProcessError:
                self._not_our_child = True
                return self.exitcode
            if pid == popen.pid:
                popen.returncode = os.waitstatus_to_exitcode(status)
                self._peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return self.exitcode

    def _end_its_children(self, pid: int) -> None:
        """Where a signal has killed it, end what it had started: nobody else will. Before it is
        reaped, since until then its number is nobody else's."""
        if CAN_PEEK:
            peek = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if peek is not None and peek.si_code in (os.CLD_KILLED, os.CLD_DUMPED):
                kill_group(pid)

    def kill(self) -> None:
        """End the process at once, and those that it had started."""
        if self.pid is not None and self.is_alive():
            kill_group(self.pid)
            super().kill()

    def exit_report(self) -> ExitReport:
        """What is known of its end."""
        code, recorder = self.reap(), self._recorder
        if (
            (code is not None or self._reaped_elsewhere)
            and recorder is not None
            and self._exit_report is None
        ):
            killed = code == -signal.SIGKILL and killed_for_memory()
            with contextlib.suppress(OSError):  # another thread has just done so, and closed it
                stack, output = recorder.stacks() or None, recorder.output() or None
                self._exit_report = ExitReport(
                    code, stack, recorder.running(), output, self._peak, killed
                )
        return self._exit_report or ExitReport(code)

    def stacks(self, seconds: float) -> str:
        """The stacks of all its threads, written by faulthandler at a signal."""
        if self._recorder is None or self.pid is None or not self.is_alive():
            raise RuntimeError(f"{self.name} does not run")
        self._recorder.forget()
        os.kill(self.pid, STACK_SIGNAL)
        end = time.monotonic() + seconds
        found = ""
        # There is no event for it: it is whole once nothing has been added for a moment.
        while time.monotonic() < end and not (found and found == self._recorder.stacks()):
            found = self._recorder.stacks()
            time.sleep(0.005)
        self._recorder.forget()
        if not found:
            raise RuntimeError(f"{self.name} took no signal in {seconds} s: it is stopped")
        return found

    # --- in the child ---

    def run(self) -> None:
        """Run the program, in the new process."""
        # The collector leaves alone what is here already. To look at an object is to write to
        # it, and so would in time make a copy of all the memory that a fork shares.
        gc.freeze()
        lead_group()
        link = self._link
        assert link is not None
        program = self._unpacked_program(link)
        link.end_orphan = partial(end_soon, link)
        link.ignore_sigterm = ignore_sigterm
        # Daemonic means that it ends with its owner, not that it may have no children.
        self._config["daemon"] = False  # type: ignore[attr-defined]
        # Whoever started it may have had them blocked, and a mask is inherited.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGURG})
        signal.signal(signal.SIGINT, ignore_sigint)
        signal.signal(signal.SIGTERM, partial(unwind, link))
        if link.recorder is not None:
            link.recorder.install()
        try:
            program.run(link)
        except Terminated:
            mp_util._exit_function()  # type: ignore[attr-defined]
            if link.owner_is_gone:
                kill_group(0)
            exit_by_signal(signal.SIGTERM)

    def _unpacked_program(self, link: OwnerLink) -> Program:
        program = self._program
        if isinstance(program, tuple):
            try:
                program = loads(*program)
            except BaseException as exc:
                StreamChannel(link.data).write(
                    encode(Frame(Kind.ERROR, INIT_ID, pack_error(for_caller(exc))))
                )
                raise SystemExit(1) from None
        assert program is not None
        return program


def _has_pidfds() -> bool:
    """Whether processes have descriptors here: on Linux, but not in every sandbox."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _need_descriptors(count: int) -> None:
    """EMFILE unless so many are free. Where they run out half-way, `multiprocessing` loses those
    that it has got, and its fork server ends."""
    spare = [*os.pipe()]
    try:
        spare.extend(os.dup(spare[0]) for _ in range(count - 2))
    finally:
        for fd in spare:
            os.close(fd)


def _readable(fd: int, timeout: float | None) -> bool:
    """Wait until it can be read, or `timeout` seconds have passed; whether it can."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))
