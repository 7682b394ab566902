"""How the process of an actor ends: by SIGTERM, in order, or because its owner is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import util as mp_util
from typing import Any, Final

from .._os import own_signals
from .._os.main_thread import repeat_until_handled, signal_main_thread
from .._os.thread_unwind import ThreadUnwind
from .contract import OwnerLink

__all__ = [
    "PROGRAM_GROUP",
    "exit_by_signal",
    "end_soon",
    "ignore_sigterm",
    "kill_own_group",
    "lead_group",
    "listen",
    "listen_to_the_end",
    "repeat_sigterm",
]

PROGRAM_GROUP: Final = "remoteobj_group"
"""By which the settings of a process of `multiprocessing`, which it hands on to all that it starts,
have the group of the program, to which the terminal belongs."""
ORPHAN_SECONDS = 1.5
"""How long an actor whose owner is gone has for its cleanup."""


def listen(link: OwnerLink) -> None:
    """Take signals from now on."""
    # Whoever started it may have had them blocked, and a mask is inherited.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGURG})
    link.unwind = partial(_unwind, link)
    own_signals.handle(signal.SIGTERM, link.unwind)


def listen_to_the_end(link: OwnerLink) -> None:
    """The program has ended, and been cleaned up: SIGTERM has nothing to unwind any more, and ends
    what may still wait for its threads."""

    def end(number: int, frame: Any) -> None:
        if link.owner_is_gone:
            kill_own_group()
        exit_by_signal(signal.SIGTERM)

    own_signals.handle(signal.SIGTERM, end)


def _unwind(link: OwnerLink, number: int, frame: Any) -> None:
    """SIGTERM arrived: unwind the main thread, so that the cleanup runs."""
    ignore_sigterm()  # once is enough
    if link.on_sigterm is not None:
        link.on_sigterm()
    raise ThreadUnwind


def ignore_sigterm() -> None:
    """What asks the process to end is ignored from now on."""
    own_signals.ignore(signal.SIGTERM)


def exit_by_signal(number: signal.Signals) -> None:
    """End as if the signal had ended us, so that the exit code tells the truth."""
    mp_util._flush_std_streams()  # type: ignore[attr-defined]
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def lead_group() -> None:
    """Have a process group of our own, by which the owner finds what we started.

    The terminal's Ctrl-C reaches the owner's group alone then: what it means is the owner's to say.
    """
    with contextlib.suppress(OSError):  # we lead a session already
        os.setpgid(0, 0)


def kill_own_group() -> None:
    """End this process, and what it has started."""
    # By its number, which is nobody else's: at a prompt we are in the program's group for a while.
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is in it
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def repeat_sigterm(link: OwnerLink) -> None:
    """SIGTERM has been sent: have it wake the main thread, also where that was about to sleep."""
    handled = partial(_is_handled, link)
    if not handled():
        threading.Thread(
            target=repeat_until_handled,
            args=(signal.SIGTERM, handled),
            name="remoteobj-terminate",
            daemon=True,
        ).start()


def _is_handled(link: OwnerLink) -> bool:
    # Whatever handles it sets another handler, first of all.
    return signal.getsignal(signal.SIGTERM) is not link.unwind


def end_soon(link: OwnerLink, before_kill: Callable[[], None]) -> None:
    """The owner is gone: unwind the main thread, and do not wait for ever for that."""
    link.owner_is_gone = True

    def watch() -> None:
        end = time.monotonic() + ORPHAN_SECONDS
        repeat_until_handled(signal.SIGTERM, partial(_is_handled, link), ORPHAN_SECONDS)
        time.sleep(max(0.0, end - time.monotonic()))
        try:
            before_kill()
        finally:
            kill_own_group()

    threading.Thread(target=watch, name="remoteobj-watchdog", daemon=True).start()
    signal_main_thread(signal.SIGTERM)  # it may sleep in the kernel: wake that thread
