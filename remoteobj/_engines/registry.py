"""Where an object lives: each engine is one file, behind the contract of `_engines.contract`."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from .._os.lazy_import import import_lock
from .contract import Engine
from .kinds import engine_kind

__all__ = ["engine_named"]


def engine_named(name: str) -> Engine:
    """The engine of this name: one object, imported when it is first asked for.

    Raises:
        ValueError: there is none.
    """
    cls = engine_kind(name).cls
    with import_lock:
        return _engine(name, cls)


@cache
def _engine(name: str, cls: str) -> Engine:
    module = import_module(f".{name}", __package__)  # for a faster start-up: most use one
    engine: Engine = getattr(module, cls)()
    return engine
