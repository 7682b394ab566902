"""Which actor, by a value that stays the same wherever it can be reached; and of which class."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from .._fast_typing import NamedTuple

__all__ = ["NOBODY", "ActorId", "Peer", "class_name"]


class ActorId(NamedTuple):
    """The identity of one remote object.

    It is not the object's address, which only says where and how the object is reached: the owner,
    for one, has a connection that was there before anything listened at the address.

    >>> ActorId.new("counter") == ActorId.new("counter")
    False
    """

    token: str
    """Random, so that no two objects have the same one, in whatever process they were made."""
    name: str
    """What error messages call the object; others may have the same name."""

    @classmethod
    def new(cls, name: str) -> ActorId:
        """The identity of an object that is just being made."""
        return cls(os.urandom(8).hex(), name)


NOBODY: Final = ActorId("", "")
"""Stands where no actor is known."""


def _unknown() -> None:
    """What nobody knows."""


class Peer(NamedTuple):
    """The actor at the other end of a connection, for those who tell of its calls."""

    actor: ActorId
    told_class: Callable[[], type[Any] | str | None] = _unknown
    """The class of its object, or what that is called, as far as it is known."""
    pid: Callable[[], int | None] = _unknown
    """The process in which it lives, as far as that is known."""


_module_of, _qualname_of = (vars(type)[name].__get__ for name in ("__module__", "__qualname__"))


def class_name(cls: type[Any]) -> str:
    """What another process may find a class by, if it has it: `"module:qualname"`.

    No code of a metaclass is run for it.

    >>> class_name(ActorId)
    'remoteobj._protocol.identity:ActorId'
    """
    module = _module_of(cls)
    return f"{module if type(module) is str else '?'}:{_qualname_of(cls)}"
