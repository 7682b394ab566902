"""The future of an actor's end. Imported when somebody asks for one, as `concurrent.futures` is
large."""

from __future__ import annotations

from concurrent.futures import Future

from .errors import ExitReport

__all__ = ["new_end"]


def new_end() -> Future[ExitReport]:
    """A future for the report of an end, which can't be cancelled."""
    future: Future[ExitReport] = Future()
    future.set_running_or_notify_cancel()
    return future
