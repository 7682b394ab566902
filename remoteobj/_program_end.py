"""The end of the program: no actor and no process of ours is left then."""

from __future__ import annotations

import atexit
import os
import time
import weakref
from multiprocessing import util as mp_util
from typing import Final

from ._fast_typing import Protocol
from ._os.fork_safety import leave_to_parent

__all__ = ["SECOND_CTRL_C", "forget_at_exit", "register_at_exit", "registered"]

SECOND_CTRL_C: Final = "_remoteobj_impatient"
"""Marks the Ctrl-C that came while an actor was being stopped: those outside it need not wait."""


class _Mortal(Protocol):
    """What must not be left when the program ends."""

    def _tell_at_exit(self) -> None:
        """Give the order to end, without waiting for what comes of it."""

    def _stop_at_exit(self, told_at: float) -> None:
        """Wait until it has ended; by force if that takes too long, since the order was given."""

    def _kill_at_exit(self) -> None:
        """End it at once: somebody is impatient."""


_mortals: weakref.WeakSet[_Mortal] = weakref.WeakSet()
_registered_in = _early_in = -1


def register_at_exit(mortal: _Mortal, early: bool = False) -> None:
    """See to it that this is not left when the program ends, if it is still there then.

    Args:
        early: before what was registered with `atexit` up to now is done: it would end it.
    """
    global _registered_in, _early_in
    if _registered_in != os.getpid():  # once in each process
        _registered_in = os.getpid()
        # Before multiprocessing ends its daemonic processes, without their cleanup.
        mp_util.Finalize(None, _stop_all, exitpriority=100)
    if early and _early_in != os.getpid():
        _early_in = os.getpid()
        atexit.register(_stop_all)
    _mortals.add(mortal)


def forget_at_exit(mortal: _Mortal) -> None:
    """It has ended already."""
    _mortals.discard(mortal)


def registered() -> list[object]:
    """All that is to be seen to at the end."""
    return list(_mortals)


def _stop_all() -> None:
    """Tell all of them first, then wait: together they take as long as the slowest."""
    mortals = list(_mortals)
    try:
        for mortal in mortals:
            mortal._tell_at_exit()
        told_at = time.monotonic()
        for mortal in mortals:
            mortal._stop_at_exit(told_at)
    except KeyboardInterrupt:
        for mortal in mortals:
            mortal._kill_at_exit()
        raise


def _forget() -> None:
    global _mortals
    leave_to_parent(_mortals)
    _mortals = weakref.WeakSet()


os.register_at_fork(after_in_child=_forget)
