"""Values as bytes: C pickle first, cloudpickle where that can't.

::

    value ── dumps ──> payload (bytes) + buffers (large arrays, not copied) ── loads ──> value

    C pickle ─ fails, or names something that the receiver has not ─> `_pickling.cloudpickling`
                                                                          └ fails ─> UnsendableError

Here belongs what it takes to move one value. Not here: frames and sockets (`_wire.channel`),
exceptions with their tracebacks (`_pickling.outcome`).
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, Final

from .._os.lazy_import import import_lock
from .._os.thread_unwind import ThreadUnwind
from .out_of_band import extract_large

__all__ = [
    "Buffers",
    "dumps",
    "dumps_call",
    "loads",
    "pickled",
    "share_classes",
    "unpickled",
]

Buffers = Sequence[Any]
"""Contiguous bytes-like objects, in the order in which `dumps` gave them out."""

# A buffer of its own costs a system call's scatter entry and a separate allocation on the other
# side; below this size copying it into the payload is cheaper.
OUT_OF_BAND: Final = 32 * 1024

_MAIN = ("__main__", "__mp_main__")

pickled, unpickled = pickle.dumps, pickle.loads


# What holds no class, no array and nothing that could fail: most calls take and return no other.
SCALARS = frozenset({type(None), bool, int, float, complex, str})


def dumps(
    value: object, what: str = "value", writable: bool = True
) -> tuple[bytes, list[memoryview]]:
    """Pickle ``value``; return the payload, and the large buffers, which stay outside of it.

    With ``writable=False`` all buffers do, so that the receiver can make each read-only.

    ``what`` is how an error names the value. The buffers are views of the value's own memory:
    they show changes made until they are written. Raises `UnsendableError` whatever the value's
    own methods raise, ``SystemExit`` too; only ``KeyboardInterrupt`` goes through.

    >>> payload, buffers = dumps({"a": 1})
    >>> loads(payload, buffers)
    {'a': 1}
    >>> dumps([open], "args[0]")[1]
    []
    >>> import threading
    >>> dumps([1, {"lock": threading.Lock()}], "args[0]")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    remoteobj.errors.UnsendableError: args[0][1]['lock'] can't be sent to another process: ...
    """
    if type(value) in SCALARS:
        return pickled(value, 5), []
    value = extract_large(value)
    found: list[pickle.PickleBuffer] = []
    buffers: list[memoryview] = []
    try:
        # A C function as the callback, and no closure: they are a third of a small value's time.
        payload = pickled(value, 5, buffer_callback=found.append)
        if found:
            keep = partial(_keep_in_band, buffers=buffers, writable=writable)
            if any(map(keep, found)):
                buffers.clear()
                payload = pickle.dumps(value, 5, buffer_callback=keep)
    except (KeyboardInterrupt, ThreadUnwind):
        raise
    except BaseException:
        return _dumps_by_value(value, what, writable)
    # `_main__` finds both names of the main module, which the receiver may not have. Connections
    # do pickle, but as the bare number of a descriptor, which means another file over there.
    find = payload.find
    if find(b"_main__") >= 0 or find(b"multiprocessing.connection") >= 0:
        return _dumps_by_value(value, what, writable)
    return payload, buffers


def dumps_call(steps: tuple[Any, ...], writable: bool = True) -> tuple[bytes, list[memoryview]]:
    """Pickle the steps of a chain, as `dumps` pickles a value: they travel as a list.

    But most chains call a method with a few plain arguments. Of these just the method's name and
    the arguments travel, as a tuple, which takes two thirds of the time.

    >>> loads(dumps_call((("attr", "add"), ("call", (1,), {})))[0])
    ('add', (1,))
    >>> loads(dumps_call((("attr", "add"), ("call", (1,), {"to": 2})))[0])
    [('attr', 'add'), ('call', (1,), {'to': 2})]
    """
    if len(steps) == 2 and steps[1][0] == "call" and steps[0][0] == "attr":
        _, args, kwargs = steps[1]
        for one in () if kwargs else args:
            if type(one) not in SCALARS:
                break
        else:
            if not kwargs:
                return pickled((steps[0][1], args), 5), []
    return dumps(list(steps), "call", writable)


def loads(payload: bytes | bytearray | memoryview, buffers: Buffers = ()) -> Any:
    """Undo `dumps`. Raises whatever the unpickling raises, be it ``SystemExit``.

    Arrays use the memory of ``buffers``, and are as writable as these are.
    """
    return unpickled(payload, buffers=buffers)


def share_classes(*parts: object) -> None:
    """Let this process and the one about to be forked agree on classes that travel by value.

    To be called just before a fork. It covers the classes in ``__main__``, those of the objects
    there, those nested in them, and those to which local ``parts`` lead.

    >>> share_classes()
    """
    main = sys.modules.get("__main__")
    by_value = _search.news(vars(main)) if main is not None else []
    local = [part for part in parts if _is_local(part)]
    if by_value or local:
        _by_value().register_classes(by_value, local)


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
        return cls.__module__ in _MAIN or (found is not cls and cls.__module__ != "builtins")
    return False


def _is_local(part: Any) -> bool:
    named = part if hasattr(part, "__qualname__") else type(part)
    return named.__module__ == "__main__" or "<locals>" in named.__qualname__


def _keep_in_band(buffer: pickle.PickleBuffer, buffers: list[memoryview], writable: bool) -> bool:
    raw = buffer.raw()  # never fails: pickle itself refuses buffers that are not contiguous
    if writable and raw.nbytes < OUT_OF_BAND:
        return True
    buffers.append(raw)
    return False


def _dumps_by_value(value: object, what: str, writable: bool) -> tuple[bytes, list[memoryview]]:
    buffers: list[memoryview] = []
    keep = partial(_keep_in_band, buffers=buffers, writable=writable)
    return _by_value().dumps(value, what, keep), buffers


@cache
def _by_value() -> Any:
    with import_lock:
        from . import cloudpickling as module  # for a faster start-up: most of it is cloudpickle

    return module


# ------------------------------------------------------------------ forks


def _free_tracker_lock() -> None:
    # Another thread may hold it at the moment of a fork, and would never release it in the child.
    cloudpickle: Any = sys.modules.get("cloudpickle.cloudpickle")
    if cloudpickle is not None:
        cloudpickle._DYNAMIC_CLASS_TRACKER_LOCK = threading.Lock()


os.register_at_fork(after_in_child=_free_tracker_lock)
