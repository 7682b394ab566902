"""Which classes a process and its forks have to agree on; `sharing` gives them ids."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from functools import cache
from typing import Any

from .._os.lazy_import import import_lock
from .main_module import MAIN

__all__ = ["share_classes"]


def share_classes(*parts: object) -> None:
    """Let this process and the one about to be forked agree on classes that travel by value.

    To be called just before a fork. It covers the classes in ``__main__``, those of the objects
    there, those nested in them, and those to which local ``parts`` lead. The local functions to
    which these lead are covered, too.

    >>> share_classes()
    """
    main = sys.modules.get("__main__")
    by_value = _search.news(vars(main)) if main is not None else []
    local = [part for part in parts if _is_local(part)]
    if by_value or local:
        _sharing().register([*by_value, *local])


class _Search:
    """For the classes of the main module that other processes can't find by name.

    To look at an object is to write to it, into the count of its references, and the first write
    to a page after a fork copies the page. So it looks again only when there are other names, or
    another class by a name: in a program that starts many processes, a tenth of each start.
    """

    def __init__(self) -> None:
        self._names: dict[str, Any] = {}
        self._seen: tuple[int, str | None] = (0, None)
        self._found: dict[str, type] = {}

    def news(self, names: dict[str, Any]) -> list[type]:
        """The classes, if there may be others than the last time; else none."""
        seen = len(names), next(reversed(names), None)
        same = names is self._names and seen == self._seen
        if same and all(names.get(name) is cls for name, cls in self._found.items()):
            return []
        items = list(names.items())
        self._found = {name: cls for name, cls in items if _is_class(cls) and _has_no_name(cls)}
        self._names, self._seen = names, seen
        types = {id(type(item)): type(item) for _, item in items}
        return [*self._found.values(), *filter(_has_no_name, types.values())]


_search = _Search()


def _is_class(item: Any) -> bool:
    return issubclass(type(item), type)


def _has_no_name(cls: type) -> bool:
    with suppress(Exception):  # a metaclass may do as it likes, and must not prevent the fork
        found: Any = sys.modules.get(cls.__module__)
        for name in cls.__qualname__.split("."):
            found = getattr(found, "__dict__", {}).get(name)
        return cls.__module__ in MAIN or (found is not cls and cls.__module__ != "builtins")
    return False


def _is_local(part: Any) -> bool:
    named = part if hasattr(part, "__qualname__") else type(part)
    return named.__module__ == "__main__" or "<locals>" in named.__qualname__


@cache
def _sharing() -> Any:
    with import_lock:
        from . import sharing as module  # for a faster start-up: it needs cloudpickle

    return module


def _free_tracker_lock() -> None:
    # Another thread may hold it at the moment of a fork, and would never release it in the child.
    cloudpickle: Any = sys.modules.get("cloudpickle.cloudpickle")
    if cloudpickle is not None:
        cloudpickle._DYNAMIC_CLASS_TRACKER_LOCK = threading.Lock()


os.register_at_fork(after_in_child=_free_tracker_lock)
