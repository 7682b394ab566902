"""An actor in a process of its own, started by fork, forkserver or spawn.

The child does not import the program's `__main__` again, unless it is told to: what it needs of it
travels by value. So an unguarded script, `python -c` and a notebook work under every start method.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import weakref
from multiprocessing import process as mp_process
from multiprocessing.context import ForkProcess
from typing import Any, ClassVar

from .._os.descriptors import need_descriptors
from .._os.io_thread import reactor
from .._os.lazy_import import import_lock
from .._os.processes import KnownProcess
from .._pickling.exceptions import unpack_error
from .._pickling.fork_classes import share_classes
from .._protocol.frames import encode
from .._protocol.messages import Frame, Kind
from .._wire.channel import ChannelClosedError, StreamChannel
from .child_signals import PROGRAM_GROUP
from .contract import (
    ExitCallback,
    ExitCallbacks,
    ExitReason,
    ExitReport,
    LaunchSpec,
    OwnerLink,
    Program,
    chosen_start_method,
)
from .flight_recorder import FlightRecorder, Outcome
from .forking import ForkPopen
from .guardian import guardian
from .linking import link_up
from .new_process import NewProcess
from .out_of_memory import killed_for_memory, watch
from .packing import MAINS, PackedProgram, pack
from .reaper import Reaper
from .reduction import OWNERS, reduction

__all__ = ["ActorProcess", "ProcessEngine"]

TAKES = 5
"""How many descriptors an actor takes in its owner, where processes have such."""
TOO_MANY = (
    f"An actor takes {TAKES} descriptors in its owner; allow more: by `ulimit -n`, or setrlimit."
)
GUARDED = b"!"
"""What a new process waits for before it runs anything of users' code."""
STARTING_TAKES = 8
"""How many descriptors `multiprocessing` has at most, for itself, while it starts a process."""
_REASONS: dict[int, ExitReason] = {signal.SIGKILL: "killed", signal.SIGTERM: "stopped"}
"""Why it ended, by the signal from its owner that ended it."""


class ActorProcess(NewProcess):
    """A process that runs a program: an `Instance`, once it is started.

    A subclass may have attributes and a `run` of its own, as one of `multiprocessing.Process`.

    Invariant: under spawn and forkserver the new process gets all of it but what `OWNERS` names,
    and the program packed.
    """

    runs_by_itself: bool = True
    OWNERS: ClassVar[frozenset[str]] = OWNERS
    """The attributes that are its owner's alone."""

    def __init__(self, spec: LaunchSpec) -> None:
        before = set(vars(self))
        super().__init__(name=spec.name, daemon=spec.daemon)
        self._config.setdefault(PROGRAM_GROUP, os.getpgrp())  # type: ignore[attr-defined]
        self._plain = {*vars(self), "_link", "_options", "start_method"} - before
        """What `multiprocessing`'s own pickler sends."""
        self.start_method: str = chosen_start_method(spec.start_method)
        if spec.main not in MAINS:
            raise ValueError(f"main {spec.main!r} is none of {', '.join(MAINS)}")
        self._main = spec.main
        self._options = spec.process_options
        self._listener = spec.listener
        self._program: Program | PackedProgram | None = spec.program
        """Until it is started; packed in a new process that is no fork."""
        self._packed: object = None
        """What travels beside it, until it is started: see `Pickles`."""
        self._kept = spec.kept
        self._describe = spec.program.describe
        self._find_record = spec.find_record
        self._wire_options = spec.wire_options
        self._link: OwnerLink | None = None
        self._recorder: FlightRecorder | None = None
        self._reaper: Reaper | None = None
        self._reaping = threading.Lock()
        self._report: ExitReport | None = None
        """What is known of its end, but for the error that it failed with."""
        self._packed_error = b""
        """That error, packed. Each report gets one of its own, since an exception that was raised
        leads to whoever raised it, and what is kept here must not."""
        self._exit_callbacks = ExitCallbacks()
        self._watched = False
        self._signals_sent: set[int] = set()
        self._owner_pid = os.getpid()

    # --- its beginning ---

    def start(self) -> None:
        """Start it; then `data` and `control` lead to it."""
        self._check_closed()  # type: ignore[attr-defined]
        if self._popen is not None:
            raise AssertionError("cannot start a process twice")  # as the base class says it
        watch()
        try:
            self._start()
        except OSError as exc:
            if exc.errno == errno.EMFILE:
                exc.add_note(TOO_MANY)
            raise
        # It may begin, now that it can't outlive us: see `child.wait_until_guarded`. At the end, so
        # that no Ctrl-C at its first word comes while our copies of its lines are let go of.
        with contextlib.suppress(ChannelClosedError):  # it has ended already
            self.control.write([GUARDED])

    def _start(self) -> None:
        program = self._program
        assert program is not None
        assert not isinstance(program, PackedProgram)
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            is_fork = self.start_method == "fork"
            lines = link_up(ours, theirs, is_fork, self._kept, self._listener)
            self._link, self._recorder = lines.link, lines.recorder
            try:
                if self.start_method == "fork":
                    share_classes(*(part for _, part in program.parts()))
                guardian.summon()
                need_descriptors(STARTING_TAKES)
                popen = self._launch()
                known = KnownProcess.meet(popen.pid, self._parent_of(popen))
                guardian.watch(known)
                death = lines.open_death(known, popen.sentinel, self._by_server)
                self._reaper = Reaper(popen, known, death, self._by_server, lines.measurement)
                weakref.finalize(self, self._reaper.close).atexit = False
                if death is None and not self._by_server:
                    self._be_its_own_sentinel(popen, self._reaper)
                weakref.finalize(self, lines.recorder.close).atexit = False
            finally:
                self._link = self._packed = self._listener = None
            self._program, self._kept = None, ()
            ours.pop_all()
        self.data: StreamChannel = StreamChannel(lines.data, self._reaper.death, self._wire_options)
        self.control: StreamChannel = StreamChannel(lines.control)

    def _launch(self) -> Any:
        """Start it, as `multiprocessing` does; but inside a daemonic process of others too, and
        without a look at each child that there is, which takes longer the more there are."""
        if self._owner_pid != os.getpid():
            raise AssertionError("can only start a process object created by current process")
        self._popen = popen = self._Popen(self)
        self._sentinel = popen.sentinel
        del self._target, self._args, self._kwargs  # type: ignore[attr-defined]
        vars(mp_process)["_children"].add(self)
        return popen

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        if process_obj.start_method == "fork":
            has_lines = bool(process_obj._link.death_lines)
            return (ForkProcess._Popen if has_lines else ForkPopen)(process_obj)
        with import_lock:
            from . import without_main  # for a faster start-up: a fork does without

        return without_main.POPEN[process_obj.start_method](process_obj)

    def __reduce__(self) -> tuple[Any, ...]:
        program = self._program
        assert program is not None
        assert not isinstance(program, PackedProgram)
        packed = pack(program, self._main, self.start_method)
        reduced, attributes = reduction(
            self, packed, self._main, self.start_method, self._plain, self.OWNERS
        )
        self._packed = packed, attributes
        return reduced

    @property
    def _by_server(self) -> bool:
        return self.start_method == "forkserver"

    def _parent_of(self, popen: Any) -> int:
        return popen.server_pid if self._by_server else self._owner_pid

    def _be_its_own_sentinel(self, popen: Any, reaper: Reaper) -> None:
        """Have the descriptor of the process do what `multiprocessing` has its pipes for."""
        if popen.finalizer is not None:
            popen.finalizer()
        self._sentinel = popen.sentinel = reaper.death
        popen.finalizer = reaper.close

    # --- its end ---

    def is_alive(self) -> bool:
        """Whether the process runs. True to the fact, in a forked copy of the owner too."""
        self._check_closed()  # type: ignore[attr-defined]
        return self.runs()

    @property
    def started(self) -> str:
        """When it did, as the system told; "": it did not tell."""
        return "" if self._reaper is None else self._reaper.known.started

    @property
    def recorder_place(self) -> tuple[int, int]:
        """By which descriptor of this process, and where, its last words are; -1: nowhere."""
        return (-1, 0) if self._recorder is None else self._recorder.place

    def runs(self) -> bool:
        """The same, and False once it is closed."""
        if self._report is not None or self._reaper is None:
            return False
        if os.getpid() != self._owner_pid:
            return not self._reaper.dead
        return not self._reap()

    @property
    def exitcode(self) -> int | None:
        """Negative for a signal; None while it runs, and where the code can't be known."""
        self.is_alive()
        return None if self._report is None else self._report.exitcode

    def waits_for(self) -> str:
        """Nothing of which its owner could know."""
        return ""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end; False when that did not come in time."""
        assert self._reaper is not None, "it has not been started"
        self._reaper.wait(timeout)
        return not self.runs()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        if self._reaper is None or self._popen is None:
            super().join(timeout)  # says what is wrong, unless its start has failed half-way
        else:
            self.wait(timeout)

    def terminate(self) -> None:
        """Send SIGTERM, if it runs."""
        if self.is_alive():
            self._signals_sent.add(signal.SIGTERM)
            self._signal(signal.SIGTERM)
            with contextlib.suppress(ChannelClosedError):  # it ends already
                self.control.write(encode(Frame(Kind.TERMINATE, 0)))

    def kill(self) -> None:
        """End the process at once, and those that it had started."""
        if self.is_alive():
            self._signals_sent.add(signal.SIGKILL)
            self._signal(signal.SIGKILL, and_its_group=True)

    def _signal(self, number: int, and_its_group: bool = False) -> None:
        """Send it a signal, if it has not been reaped meanwhile, and its number is another's."""
        is_owner = os.getpid() == self._owner_pid  # in a copy of it the lock may be held for ever
        with self._reaping if is_owner else contextlib.nullcontext():
            assert self._reaper is not None
            if self._report is None:
                if and_its_group:
                    self._reaper.known.kill_group()
                self._reaper.known.signal(number)

    def on_exit(self, callback: ExitCallback) -> None:
        """Have its end told to this callback, as the contract of engines says."""
        assert self._reaper is not None, "it has not been started"
        with self._reaping:  # the descriptor is not closed meanwhile
            if not self._watched and self._report is None:
                reactor.when_readable(self._reaper.death, self._tell_exit)
                self._watched = True
        self._exit_callbacks.add(callback)
        if self._reaper.dead:
            self._tell_exit()

    def _tell_exit(self) -> None:
        if self._exit_callbacks:
            self._exit_callbacks.tell(self.exit_report())

    def exit_report(self) -> ExitReport:
        """What is known of its end; before that, and in a forked copy of the owner, nothing is."""
        self.runs()
        if self._report is None:
            return ExitReport(self.name, self.pid)
        error = unpack_error(self._packed_error) if self._packed_error else None
        return self._report._replace(error=error)

    def _reap(self) -> bool:
        """Collect its exit code, and what it left behind, if it has ended; whether it has."""
        with self._reaping:
            assert self._reaper is not None
            if self._report is None and self._reaper.collect():
                super().join(0)
                self._report = self._read_report(self._reaper)
            return self._report is not None

    def _read_report(self, reaper: Reaper) -> ExitReport:
        code, recorder = reaper.exitcode, self._recorder
        assert recorder is not None
        outcome, self._packed_error = recorder.outcome()
        running = recorder.running()
        described = {payload: self._describe(payload) for payload in running}
        return ExitReport(
            self.name,
            self.pid,
            code,
            self._reason(code, outcome),
            running=described[running[0]] if running else None,
            last_stack=recorder.stacks() or None,
            last_output=recorder.output() or None,
            peak_memory=reaper.peak_memory,
            out_of_memory=code == -signal.SIGKILL and killed_for_memory(),
            all_running=tuple(described[payload] for payload in running),
            record=None if self._find_record is None else self._find_record(self.pid),
        )

    def _reason(self, code: int | None, outcome: Outcome) -> ExitReason:
        """Why it ended. Where the exit code is not known, what was said and done has to do."""
        if code == 0 or (code is None and outcome is Outcome.IN_ORDER):
            return "stopped"
        if code in (1, None) and outcome is Outcome.FAILED:
            return "failed"
        for number, reason in _REASONS.items():
            if number in self._signals_sent and code in (-number, None):
                return reason
        return "died"

    def release(self, *, keep_sentinel: bool = False) -> None:
        """Let go of the lines to it; and, once it has ended, of its other descriptors."""
        self.data.close()
        self.control.close()
        if self.runs():
            return
        with self._reaping:
            if self._recorder is not None:
                self._recorder.close()
                self._recorder = None
            if self._reaper is not None and not (
                keep_sentinel and self._reaper.death == self.sentinel
            ):
                self._reaper.close()
        if not keep_sentinel:
            self._popen.close()

    def stacks(self, seconds: float) -> str:
        """The stacks of all its threads, written by faulthandler at a signal."""
        if self._recorder is None or not self.is_alive():
            raise RuntimeError(f"{self.name} does not run")
        return self._recorder.ask_for_stacks(self.name, self._signal, seconds)


class ProcessEngine:
    """Launches programs in processes."""

    def launch(self, spec: LaunchSpec) -> ActorProcess:
        process = ActorProcess(spec)
        process.start()
        return process
