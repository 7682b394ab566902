"""What an owner knows of each engine before it is imported: where its actors live."""

from __future__ import annotations

from typing import Final

from .._fast_typing import NamedTuple

__all__ = ["ENGINES", "EngineKind", "engine_kind"]


class EngineKind(NamedTuple):
    """One engine."""

    cls: str
    """Its class, in the module of the engine's name."""
    has_process: bool = True
    """Whether an actor has a process of its own, which can be killed."""
    elsewhere: bool = False
    """Whether that may be on another machine. It shares neither memory nor files with its owner
    then, the number of the process means nothing to others, and what is said to it takes long."""
    transport: str | None = None
    """By which it is reached; None: by the default one."""


ENGINES: Final = {
    "process": EngineKind("ProcessEngine"),
    "thread": EngineKind("ThreadEngine", has_process=False),
    "inline": EngineKind("InlineEngine", has_process=False),
    "ray": EngineKind("RayEngine", elsewhere=True, transport="ray"),
}


def engine_kind(name: str) -> EngineKind:
    """What is known of the engine of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in ENGINES:
        raise ValueError(f"no engine {name!r}: there are {', '.join(ENGINES)}")
    return ENGINES[name]
