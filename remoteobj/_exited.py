"""The future of an actor's end. Imported when somebody asks for one, as `concurrent.futures` is
large."""

from __future__ import annotations

from concurrent.futures import Future

from ._ownership import OwnedActor
from .errors import ExitReport

__all__ = ["end_of"]


def end_of(actor: OwnedActor) -> Future[ExitReport]:
    """A future that is done when this actor has ended for good."""
    future: Future[ExitReport] = Future()
    future.set_running_or_notify_cancel()
    actor.on_end(future.set_result)
    return future
