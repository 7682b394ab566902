"""Where an object lives: each engine is one file, behind the contract of `_base`."""

from __future__ import annotations

from ._base import Engine, Launch, Link, Program, Vessel, numbered
from ._process import ActorProcess
from .inline import InlineEngine
from .process import ProcessEngine
from .thread import ThreadEngine

__all__ = [
    "ENGINES",
    "ActorProcess",
    "Engine",
    "Launch",
    "Link",
    "Program",
    "Vessel",
    "engine_named",
    "numbered",
]

ENGINES: dict[str, Engine] = {
    "process": ProcessEngine(),
    "thread": ThreadEngine(),
    "inline": InlineEngine(),
}


def engine_named(name: str) -> Engine:
    """The engine of this name.

    Raises:
        ValueError: there is none.
    """
    try:
        return ENGINES[name]
    except KeyError:
        raise ValueError(f"no engine {name!r}: there are {', '.join(ENGINES)}") from None
