"""The verbs that take a name and no more: status, stack, interrupt, stop, kill."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from .. import Status
from .._looking import Observer, find
from ..errors import RemoteObjError
from .text import duration, shown, size

__all__ = ["order", "told_of"]


class NothingRunsError(RemoteObjError):
    """There is nothing to interrupt."""


def order(asked: argparse.Namespace) -> int:
    """Do what the verb says with the actor of that name, and say what came of it."""
    with Observer(find(asked.name)) as observer:
        said = VERBS[asked.verb](observer, asked.timeout)
    print(said)
    return 0


def _status(observer: Observer, seconds: float) -> str:
    status = observer.status(seconds)
    lines = {
        "name": observer.info.name,
        "class": observer.info.class_name,
        "pid": str(observer.info.pid),
        "state": status.state + " (at a breakpoint)" * status.debugged,
        "call": told_of(status),
        "queued": ", ".join(status.queued) or "nothing",
        "done": str(status.done),
        "memory": size(status.memory),
        "threads": ", ".join(status.threads),
    }
    if status.waits_for:
        lines["waits for"] = ", ".join(status.waits_for)
    wide = max(map(len, lines))
    return "\n".join(f"{name:{wide}}  {shown(value)}" for name, value in lines.items())


def told_of(status: Status) -> str:
    """The call that it runs, and for how long."""
    return "none" if status.call is None else f"{status.call} for {duration(status.age)}"


def _stack(observer: Observer, seconds: float) -> str:
    return "\n".join(map(shown, observer.stack(seconds).splitlines()))


def _interrupt(observer: Observer, seconds: float) -> str:
    if not observer.interrupt(timeout=seconds):
        raise NothingRunsError(f"{observer.info.name} runs nothing that could be interrupted")
    return f"{shown(observer.info.name)}: interrupted"


def _stop(observer: Observer, seconds: float) -> str:
    observer.stop(seconds)
    return f"{shown(observer.info.name)}: stopped"


def _kill(observer: Observer, seconds: float) -> str:
    observer.kill(seconds)
    return f"{shown(observer.info.name)}: killed"


VERBS: Final[dict[str, Callable[[Observer, float], str]]] = {
    "status": _status,
    "stack": _stack,
    "interrupt": _interrupt,
    "stop": _stop,
    "kill": _kill,
}
"""What is done, and gives what to say; `arguments.ORDERS` has the same verbs."""
