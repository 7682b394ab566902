"""The future of an actor's end. Imported when somebody asks for one, as `concurrent.futures` is
large."""

from __future__ import annotations

from concurrent.futures import Future

from .errors import ExitReport

__all__ = ["end_to_come"]


def end_to_come() -> Future[ExitReport]:
    """A future of an actor's end that nobody can cancel."""
    future: Future[ExitReport] = Future()
    future.set_running_or_notify_cancel()
    return future
