"""Signals to the main thread, which reach it also where it is just about to sleep."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["repeat_until_handled", "signal_main_thread"]

FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 1.0
"""Seconds between a signal and the next; each pause is twice as long as the one before."""


def signal_main_thread(number: int) -> None:
    """Send a signal to the main thread."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, number)


def repeat_until_handled(
    number: int, handled: Callable[[], bool], seconds: float = math.inf
) -> None:
    """Send a signal to the main thread again and again, until its handler has run.

    A signal ends what the thread waits for in the kernel. One that comes just before the thread
    begins to wait does not: its handler runs between two instructions of the interpreter, and so
    when that wait is over, which may be in an hour.

    Args:
        number: of the signal, which has been sent once.
        handled: whether its handler has run.
        seconds: when to give it up.
    """
    end = time.monotonic() + seconds
    pause = FIRST_PAUSE
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        if handled():
            return
        signal_main_thread(number)
        pause = min(2 * pause, LONGEST_PAUSE)
