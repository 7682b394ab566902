"""Which actor: a value that stays the same wherever the actor can be reached."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

__all__ = ["NOBODY", "ActorId"]


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
