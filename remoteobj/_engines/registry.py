"""Where an object lives: each engine is one file, behind the contract of `_engines.contract`."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from .._os.lazy_import import import_lock
from .contract import Engine

__all__ = ["ENGINES", "engine_named"]

ENGINES = {
    "process": "ProcessEngine",
    "thread": "ThreadEngine",
    "inline": "InlineEngine",
    "ray": "RayEngine",
}
"""The class of each, in the module of the engine's name."""


def engine_named(name: str) -> Engine:
    """The engine of this name: one object, imported when it is first asked for.

    Raises:
        ValueError: there is none.
    """
    if name not in ENGINES:
        raise ValueError(f"no engine {name!r}: there are {', '.join(ENGINES)}")
    with import_lock:
        return _engine(name)


@cache
def _engine(name: str) -> Engine:
    module = import_module(f".{name}", __package__)  # for a faster start-up: most use one
    engine: Engine = getattr(module, ENGINES[name])()
    return engine
