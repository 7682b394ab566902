"""What an actor's new process does: get ready for signals, and run its program to the end."""

from __future__ import annotations

import gc
import select
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing import util as mp_util

from .._os import own_signals
from .._os.lazy_import import import_lock
from .._os.thread_unwind import ThreadUnwind
from .._pickling.exceptions import for_caller, pack_error
from .._pickling.main_module import enter_fork
from .._protocol.frames import encode
from .._protocol.messages import INIT_ID, Frame, Kind
from .._wire.channel import StreamChannel
from .child_signals import (
    end_soon,
    exit_by_signal,
    ignore_sigterm,
    kill_own_group,
    lead_group,
    listen,
    listen_to_the_end,
    repeat_sigterm,
)
from .contract import OwnerLink, Program, ProgramFailedError
from .exit_handlers import leave_children_alone, run_exit_handlers
from .flight_recorder import Outcome
from .owner_line import OwnerLine
from .packing import PackedProgram, unpack

__all__ = ["not_unpacked", "run_program", "wait_until_guarded"]


def run_program(
    program: Program | PackedProgram, link: OwnerLink, set_up: Callable[[OwnerLine], object]
) -> None:
    """Set this process up, which is new, and has nothing else to do; and run the program in it.

    Raises:
        SystemExit: with the exit code.
    """
    # The collector leaves alone what is here already. To look at an object is to write to
    # it, and so would in time make a copy of all the memory that a fork shares.
    gc.freeze()
    lead_group()
    if link.measured is not None:
        with import_lock:
            from .measuring import measure  # for a faster start-up of what is not measured

        measure(link.measured)
    link.end_orphan = partial(end_soon, link)
    link.ignore_sigterm = ignore_sigterm
    link.repeat_sigterm = partial(repeat_sigterm, link)
    try:
        try:
            _run(program, link, set_up)
        finally:
            ignore_sigterm()
            leave_children_alone()
            mp_util._exit_function()  # type: ignore[attr-defined]
            listen_to_the_end(link)
    except ThreadUnwind:
        run_exit_handlers()
        if link.owner_is_gone:
            kill_own_group()
        exit_by_signal(signal.SIGTERM)


def _run(
    program: Program | PackedProgram, link: OwnerLink, set_up: Callable[[OwnerLine], object]
) -> None:
    try:
        program = _unpacked(program, link, set_up)
        listen(link)
        if link.recorder is not None:
            link.recorder.install()
        program.run(link)
        _note(link, Outcome.IN_ORDER)
    except ProgramFailedError as exc:
        _note(link, Outcome.FAILED, exc.error)
        raise SystemExit(1) from None


def wait_until_guarded(link: OwnerLink) -> None:
    """Run nothing of users' code before the owner has told its guardian of this process: where such
    code holds the interpreter, nothing else could end it once the owner is dead. To be called first
    of all, by whoever is about to run some; again, it does nothing.

    Raises:
        SystemExit: the owner has ended before that, or failed in starting this process.
    """
    if link.guarded:
        return
    # Ctrl-C reaches every process of the terminal; what it means is the owner's to say.
    own_signals.ignore(signal.SIGINT)
    poll = select.poll()
    poll.register(link.control.fileno(), select.POLLIN)
    poll.poll()
    if not link.control.read(1):
        raise SystemExit(1)
    link.guarded = True


def _unpacked(
    program: Program | PackedProgram, link: OwnerLink, set_up: Callable[[OwnerLine], object]
) -> Program:
    try:
        if not isinstance(program, PackedProgram):
            set_up(link.line)
            enter_fork()
            return program
        program.enter_environment()
        set_up(link.line)
        unpacked: Program = unpack(program)
    except BaseException as exc:
        raise not_unpacked(link, exc) from None
    return unpacked


def not_unpacked(link: OwnerLink, exc: BaseException) -> ProgramFailedError:
    """Tell the owner that the program could not be had, and why."""
    error = pack_error(for_caller(exc))
    StreamChannel(link.data).write(encode(Frame(Kind.ERROR, INIT_ID, error)))
    return ProgramFailedError(error)


def _note(link: OwnerLink, outcome: Outcome, error: bytes = b"") -> None:
    if link.recorder is not None:
        link.recorder.note_outcome(outcome, error)
