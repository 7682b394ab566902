"""Programs that have given SIGPIPE its default back, as many that print into `head` do.

Whoever writes to a process that is gone would die of it there, without a word. So the signal is
held back from our own writes, which fail with EPIPE as they do in all other programs.
"""

from __future__ import annotations

import contextlib
import signal

# A tenth of `signal.getsignal`, which makes an enum of the answer.
from _signal import getsignal  # type: ignore[import-not-found]
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

__all__ = [
    "SIG_DFL",
    "sigpipe_blocked",
    "sigpipe_blocked_if_default",
    "sigpipe_handler",
    "sigpipe_is_default",
]

SIG_DFL: Final = int(signal.SIG_DFL)
sigpipe_handler: Final = partial(getsignal, int(signal.SIGPIPE))
"""The handler, as a number if it is none of Python's. For a write, which has no time for more."""


def sigpipe_is_default() -> bool:
    """Whether a write to nobody ends this process."""
    return bool(sigpipe_handler() == SIG_DFL)


@contextlib.contextmanager
def sigpipe_blocked() -> Iterator[None]:
    """The time in which such a write is an error, in this thread, and no more."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        yield
    finally:
        if signal.SIGPIPE not in before:
            if signal.SIGPIPE in signal.sigpending():
                signal.sigwait({signal.SIGPIPE})
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def sigpipe_blocked_if_default() -> AbstractContextManager[None]:
    """`sigpipe_blocked`, if it is needed."""
    return sigpipe_blocked() if sigpipe_is_default() else contextlib.nullcontext()
