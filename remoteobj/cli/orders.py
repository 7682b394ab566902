"""The verbs that take a name and no more: status, stack, interrupt, stop, kill."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Final

from .. import Status
from .._observer import Observer, find
from ..errors import RemoteObjError
from .text import Column, duration, shown, size, table

__all__ = ["order", "told_of"]

CALLS: Final = (
    Column("NUMBER", right=True),
    Column("CALL"),
    Column("AGE", right=True),
    Column("KIND"),
    Column("CALLER", right=True),
)
"""What `status` shows of each of several calls."""


class NothingRunsError(RemoteObjError):
    """There is nothing to interrupt."""


def order(asked: argparse.Namespace) -> int:
    """Do what the verb says with the actor of that name, and say what came of it."""
    with Observer(find(asked.name)) as observer:
        said = VERBS[asked.verb](observer, asked)
    print(said)
    return 0


def _status(observer: Observer, asked: argparse.Namespace) -> str:
    status = observer.status(asked.timeout)
    lines = {
        "name": observer.info.name,
        "class": observer.info.class_name or "not known yet",
        "pid": str(observer.info.pid),
        "state": status.state + " (at a breakpoint)" * status.debugged,
        "call": told_of(status),
        "queued": ", ".join(_queued(status)) or "nothing",
        "done": str(status.done),
        "memory": size(status.memory),
        "threads": ", ".join(status.threads),
    }
    if len(status.calls) > 1:
        lines["running"] = f"{len(status.calls)} calls, as below"
    if status.waits_for:
        lines["waits for"] = ", ".join(status.waits_for)
    wide = max(map(len, lines))
    told = [f"{name:{wide}}  {shown(value)}" for name, value in lines.items()]
    return "\n".join([*told, *(_calls(status) if len(status.calls) > 1 else ())])


def _queued(status: Status) -> Iterator[str]:
    """The requests that wait, and how many there are beside those that are named."""
    yield from status.queued
    if (more := status.queue_length - len(status.queued)) > 0:
        yield f"at least {more:,}" + " more" * bool(status.queued)


def _calls(status: Status) -> Iterator[str]:
    """All calls that it runs, as a table."""
    yield ""
    rows = [
        (str(one.number), shown(one.call), duration(one.age), one.kind, str(one.caller or ""))
        for one in status.calls
    ]
    yield from table(CALLS, rows, None)


def told_of(status: Status) -> str:
    """The call that it runs, and for how long."""
    return "none" if status.call is None else f"{status.call} for {duration(status.age)}"


def _stack(observer: Observer, asked: argparse.Namespace) -> str:
    return "\n".join(map(shown, observer.stack(asked.timeout).splitlines()))


def _interrupt(observer: Observer, asked: argparse.Namespace) -> str:
    name = shown(observer.info.name)
    if not observer.interrupt(timeout=asked.timeout, call=asked.call):
        if observer.status(asked.timeout).state == "starting":
            raise NothingRunsError(
                f"{name} is starting, and its __init__ can't be interrupted; kill can end it"
            )
        what = "nothing that could be interrupted" if asked.call is None else "no such call"
        raise NothingRunsError(f"{name} runs {what}")
    return f"{name}: interrupted"


def _stop(observer: Observer, asked: argparse.Namespace) -> str:
    return _ended(observer, "stopped", observer.stop(asked.timeout))


def _kill(observer: Observer, asked: argparse.Namespace) -> str:
    return _ended(observer, "killed", observer.kill(asked.timeout))


def _ended(observer: Observer, how: str, is_started_again: bool) -> str:
    again = "; its owner starts it again" if is_started_again else ""
    return f"{shown(observer.info.name)}: {how}{again}"


VERBS: Final[dict[str, Callable[[Observer, argparse.Namespace], str]]] = {
    "status": _status,
    "stack": _stack,
    "interrupt": _interrupt,
    "stop": _stop,
    "kill": _kill,
}
"""What is done, and gives what to say; `arguments.ORDERS` has the same verbs."""
