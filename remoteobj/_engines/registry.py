"""Where an object lives: each engine is one file, behind the contract of `_engines.contract`."""

from __future__ import annotations

from .contract import Engine
from .inline import InlineEngine
from .process import ProcessEngine
from .thread import ThreadEngine

__all__ = ["ENGINES", "engine_named"]

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
