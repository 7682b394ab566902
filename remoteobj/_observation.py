"""Observing the calls of a program, of its actors, and of the actors that these start.

::

    observe(plan) ──> this process ──> each actor that runs, by an order
                          │                └──> its own actors, by the same order
                          └──> each actor that is started from now on, with its program
"""

from __future__ import annotations

import contextlib
from typing import Final

from ._actor import observed
from ._engines.kinds import engine_kind
from ._observed_launch import await_ends
from ._ownership import OwnedActor
from ._program_end import registered
from ._protocol.observing import ObserverPlan, current_plans
from .errors import RemoteObjError

__all__ = ["observe", "observe_no_more", "pass_on", "plan_of"]

BEGIN_SECONDS: Final = 10.0
"""How long an actor may take to begin, with what it imports for that; else it does so later."""
END_SECONDS: Final = 1.0
"""How long it may take to end that."""
NESTED_SECONDS: Final = 3.0
"""The same for one that an actor has started, whose control thread waits for it."""


def observe(plan: ObserverPlan) -> None:
    """Observe by this plan from now on, in all processes of this program."""
    observed.begin([plan])
    _tell_actors(observed.order_of(plan), BEGIN_SECONDS)


def plan_of(key: str) -> ObserverPlan | None:
    """The plan of this key by which this process observes, if it does."""
    return next((one for one in current_plans() if one.key == key), None)


def observe_no_more(plan: ObserverPlan) -> None:
    """Observe by it no more."""
    await_ends()
    _tell_actors(observed.order_of(key=plan.key), END_SECONDS)
    observed.end(plan.key)


def _owned() -> list[OwnedActor]:
    mine = [one for one in registered() if isinstance(one, OwnedActor)]
    return [one for one in mine if one.ours and engine_kind(one.options.engine).has_process]


def _tell_actors(order: bytes, seconds: float) -> None:
    for actor in _owned():
        with contextlib.suppress(RemoteObjError):  # it ends, or is late: it will hear it
            actor.inspector.observe(order, seconds)


def pass_on(order: bytes) -> None:
    """Tell the actors of an actor, whose control thread this is: it must not wait for long."""
    _tell_actors(order, NESTED_SECONDS)
