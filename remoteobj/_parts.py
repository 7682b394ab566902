"""What travels for a part of a remote object that stands among the operands of a call.

========================================  =====================================================
a part of the same object                 itself, to be evaluated over there: `h.add(h.value)`
another's, an operand of Python's syntax  its value, fetched by the caller: `b.x = a.x`
another's, an argument                    a proxy, so that it can be called back
a whole object                            a proxy
========================================  =====================================================

Parts are also found in the lists, tuples, dicts and slices among the operands. What else holds a
part keeps it as a proxy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ._protocol.identity import ActorId
from ._protocol.operations import OPERATIONS, Step, Steps
from ._protocol.parts import PARTS, Part, replaced

__all__ = ["VIEW_OF", "settled"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

VIEW_OF: Final[dict[type, Callable[[Any], Any]]] = {}
"""The classes of proxies, and what gives the `View` of one."""

ARGUMENTS: Final = ("args", "kwargs", "func")
"""The operands that whoever is called may call back."""

Give = Callable[[Any], Any]
"""Given a part of another object, gives what stands for it."""


def settled(steps: Steps, actor_id: ActorId, fetch: Give) -> Steps:
    """The steps with each part among their operands as it has to travel.

    Args:
        actor_id: of the object on which the steps are done.
        fetch: gives the value of another object's part.
    """
    new = tuple(_settled_step(step, actor_id, fetch) for step in steps)
    changed = any(one is not other for one, other in zip(steps, new, strict=True))
    return (PARTS, *new) if changed else steps


def _settled_step(step: Step, actor_id: ActorId, fetch: Give) -> Step:
    name, *operands = step
    names = OPERATIONS[name].operands
    new = [
        replaced(one, VIEW_OF, partial(_stand_in, actor_id, fetch, of in ARGUMENTS))
        for of, one in zip(names, operands, strict=True)
    ]
    return step if all(map(_same, operands, new)) else (name, *new)


def _same(one: object, other: object) -> bool:
    return one is other


def _stand_in(actor_id: ActorId, fetch: Give, is_argument: bool, proxy: Any) -> Any:
    view = VIEW_OF[type(proxy)](proxy)
    if not view.steps:
        return proxy
    if view.ref.actor_id == actor_id:
        return Part(settled(view.steps, actor_id, fetch))
    return proxy if is_argument else fetch(proxy)
