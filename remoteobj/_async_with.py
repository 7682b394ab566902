"""`async with`: to wait for the birth of an actor, and for the end of one or many, beside the loop.

Each waits in a thread of its own: those of `asyncio.to_thread` are few, and others need them.
Imported when it is first used, as asyncio is large.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future

from ._ownership import OwnedActor
from .errors import NotListeningError

__all__ = ["enter", "leave", "wait_beside"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


async def enter(actor: OwnedActor) -> None:
    """Wait until the actor is born; a failure, or a cancellation meanwhile, ends it."""
    if actor.birth.over:
        actor.ready_or_ended()
        return

    def give_up() -> None:
        actor.birth.give_up(NotListeningError(f"{actor.name} was given up before it was ready"))
        actor.destroy()

    await wait_beside(actor.name, actor.ready_or_ended, give_up)


async def leave(actor: OwnedActor, stop: Callable[[], None]) -> None:
    """Stop the actor; a cancellation meanwhile kills it."""

    def kill() -> None:
        with contextlib.suppress(RuntimeError):  # a thread can't be killed
            actor.kill()

    if actor.instance.runs_by_itself:
        await wait_beside(actor.name, stop, kill)
    else:
        stop()  # it lives in this very thread


async def wait_beside(name: str, act: Callable[[], None], cut_short: Callable[[], None]) -> None:
    """Run `act` in a thread, and wait for its end; a cancellation has it `cut_short` first."""
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            act()
        except BaseException as exc:
            outcome.set_exception(exc)
        else:
            outcome.set_result(None)

    def begin(target: Callable[[], None]) -> None:
        threading.Thread(target=target, name=f"remoteobj-wait-{name}", daemon=True).start()

    begin(run)
    ended = asyncio.wrap_future(outcome)
    ended.add_done_callback(_take)
    try:
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        begin(cut_short)
        await asyncio.wait([ended])
        raise


def _take(ended: asyncio.Future[None]) -> None:
    """Whoever waited for it may have been cancelled: asyncio is not to tell of it."""
    if not ended.cancelled():
        ended.exception()
