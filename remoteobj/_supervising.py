"""What a supervisor and its children are made of, which is imported when there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from ._engines.contract import unique_name
from ._handle import Handle, owned_by
from ._options import Options
from ._restart_strategy import Restart, Strategy
from ._spawning import spawn
from ._supervised_actor import SupervisedActor
from ._supervision import Supervision

__all__ = ["new_supervision", "spawn_child"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

T = TypeVar("T")


def new_supervision(
    strategy: Strategy,
    max_restarts: int,
    within: float,
    restart: Restart = "on-failure",
    above: Supervision | None = None,
) -> Supervision:
    """One with a name of its own; it raises as `Supervision` does."""
    name = unique_name("Supervisor")
    return Supervision(name, strategy, max_restarts, within, restart, above)


def spawn_child(
    supervision: Supervision,
    factory: Callable[..., T],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: Options,
) -> tuple[SupervisedActor, Handle[T]]:
    """A child that is yet to be added, and its handle; raises as `spawn` does."""
    child = SupervisedActor(supervision, cast("Restart", options.restart))
    handle = spawn(factory, args, kwargs, options, child)
    child.owns(owned_by(handle))
    return child, handle
