"""Handlers of signals that are this process's own: whatever is forked from it has the defaults.

A forked child would inherit them, and a signal that is meant for the child would then do there what
it does here. They are undone before the child takes a signal, since these signals are blocked in
the thread that forks, from before the fork until then.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any, Final

__all__ = ["handle", "ignore", "undo_in_child"]

Handler = Callable[[int, Any], object]

_handlers: dict[int, Handler] = {}
"""The handlers of this process, by their signals."""
_undoings: list[Callable[[], object]] = []
"""What else is to be undone in a child."""
_before_fork: Final = threading.local()


def handle(number: int, handler: Handler) -> None:
    """Handle a signal so, in this process alone. To be called in the main thread."""
    _handlers[number] = handler
    signal.signal(number, handler)


def ignore(number: int) -> None:
    """Ignore a signal, in this process alone: what the system ignores, a program that this
    process starts would ignore as well."""
    handle(number, _do_nothing)


def undo_in_child(undo: Callable[[], object]) -> None:
    """Have this called in whatever is forked from this process."""
    _undoings.append(undo)


def _do_nothing(number: int, frame: Any) -> None:
    pass


def _block() -> None:
    # What is blocked is asked first, so that a handler which raises here leaves no wrong answer.
    _before_fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    if _handlers:
        signal.pthread_sigmask(signal.SIG_BLOCK, _handlers)


def _unblock() -> None:
    if _handlers:
        signal.pthread_sigmask(signal.SIG_SETMASK, _before_fork.mask)


def _undo() -> None:
    if not _handlers:
        return
    for number, handler in _handlers.items():
        if signal.getsignal(number) is handler:
            ordinary = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, ordinary)
    for undo in _undoings:
        undo()
    _handlers.clear()
    _undoings.clear()
    signal.pthread_sigmask(signal.SIG_SETMASK, _before_fork.mask)


os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_undo)
