"""What the fork server of this package does beside that of `multiprocessing`, which imports this.

It reaps the actors. So it is the one that can end what an actor has left of its group, when a
signal has ended the actor: for anybody who hears of it later, the number may be another group's.
"""

from __future__ import annotations

import contextlib
import os
import signal
from multiprocessing import forkserver
from typing import Any

__all__ = ["reap"]


def reap(pid: int, options: int) -> tuple[int, int]:
    """`os.waitpid`, by which a fork server reaps any child."""
    ended, status = os.waitpid(pid, options)
    if pid == -1 and ended and os.WIFSIGNALED(status):
        # Its number was its own until this moment, and can't have come round.
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is in it
            os.killpg(ended, signal.SIGKILL)
    return ended, status


class _OsOfServer:
    """`os`, with another way to reap."""

    waitpid = staticmethod(reap)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


forkserver.os = _OsOfServer()  # type: ignore[attr-defined]
