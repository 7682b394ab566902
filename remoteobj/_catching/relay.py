"""An `Except` whose records are told to another process, which shares no memory with this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from .._pickling.codec import dumps, loads
from .._pickling.exceptions import pack_error, unpack_error
from .catchers import Except, recording_in, store_of
from .store import CAUGHT, RESULT, Groups, LocalStore

__all__ = ["Record", "relayed", "take_in"]

Record: TypeAlias = "tuple[int, Groups, Any]"
"""The kind of a record, its group, and its value, packed."""


class _RelayedStore(LocalStore):
    """Has its records here, and tells each of them."""

    def __init__(self, tell: Callable[[Record], None]) -> None:
        super().__init__()
        self._tell = tell

    def append(self, kind: int, group: Groups, value: Any = None) -> None:
        super().append(kind, group, value)
        if kind == CAUGHT:
            value = pack_error(value)
        elif kind == RESULT:
            payload, buffers = dumps(value, "result")
            value = payload, list(map(bytes, buffers))
        self._tell((kind, group, value))


def relayed(tell: Callable[[Record], None]) -> Except:
    """One that tells each record."""
    return recording_in(_RelayedStore(tell))


def take_in(exc: Except, record: Record) -> None:
    """Add a record that was told."""
    kind, group, value = record
    if kind == CAUGHT:
        value = unpack_error(value)
    elif kind == RESULT:
        value = loads(*value)
    store_of(exc).append(kind, group, value)
