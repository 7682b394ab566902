"""How the process of an actor ends: by SIGTERM, in order, or because its owner is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import util as mp_util
from typing import Any

from .._os.thread_unwind import ThreadUnwind
from .contract import OwnerLink

__all__ = [
    "exit_by_signal",
    "end_soon",
    "ignore_sigterm",
    "kill_own_group",
    "lead_group",
    "ignore_sigint",
    "unwind",
]

ORPHAN_SECONDS = 1.5
"""How long an actor whose owner is gone has for its cleanup."""


def ignore_sigint(number: int, frame: Any) -> None:
    """Ctrl-C reaches every process of the terminal; what it means is the owner's to say."""


def unwind(link: OwnerLink, number: int, frame: Any) -> None:
    """SIGTERM arrived: unwind the main thread, so that the cleanup runs."""
    ignore_sigterm()  # once is enough
    if link.on_sigterm is not None:
        link.on_sigterm()
    raise ThreadUnwind


def ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


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
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def end_soon(link: OwnerLink, before_kill: Callable[[], None]) -> None:
    """The owner is gone: unwind the main thread, and do not wait for ever for that."""
    link.owner_is_gone = True

    def watch() -> None:
        time.sleep(ORPHAN_SECONDS)
        try:
            before_kill()
        finally:
            kill_own_group()

    threading.Thread(target=watch, name="remoteobj-watchdog", daemon=True).start()
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM)  # it may sleep in the kernel: wake that thread
