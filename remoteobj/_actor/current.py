"""Which actor the running code belongs to."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from .._fast_typing import Protocol
from .._pickling.own_objects import proxy_maker
from .roles import OPTIONS

__all__ = ["ProxyMaker", "current_actor", "give_own_proxy", "own_proxy"]


class ProxyMaker(Protocol):
    """Gives an actor's own proxy, and makes it at the first call.

    An actor that never asks for it has no need of the code of proxies, the import of which would
    be a tenth of its start.
    """

    def __call__(self) -> object: ...


class CurrentActor(threading.local):
    """The proxy of the actor that the calling thread, or else this process, belongs to."""

    process: ProxyMaker | None = None

    def __init__(self) -> None:
        self.thread: ProxyMaker | None = None

    def enter(self, proxy: ProxyMaker, this_thread_only: bool) -> ProxyMaker | None:
        """Belong to this actor; returns what `leave` needs in order to undo it."""
        before = self.thread
        if this_thread_only:
            self.thread = proxy
        else:
            type(self).process = proxy
        return before

    def leave(self, before: ProxyMaker | None) -> None:
        """Belong to what the thread belonged to before."""
        self.thread = before

    def get(self) -> object:
        """The proxy; None where the running code belongs to no actor."""
        make = self.thread if self.thread is not None else self.process
        return None if make is None else make()


current_actor = CurrentActor()


class OwnProxyAttribute:
    """`self.remote` of an actor's object.

    It is found through the class, so that nothing of ours is in the object: not in its `vars`,
    `repr` or comparison, and in none of its copies and pickles. The class has it only where it has
    actors: what tries all names of an object elsewhere finds none that fails.
    """

    def __get__(self, obj: object, cls: type) -> Any:
        if obj is None:
            return self
        make = proxy_maker(obj)
        if make is None:
            raise AttributeError(
                f"this {cls.__qualname__} has no attribute 'remote', since it is no actor: "
                f"{cls.__qualname__}.spawn(...) makes one, and its methods find the proxy there"
            )
        return make()

    def __reduce__(self) -> str:
        return "own_proxy"


own_proxy = OwnProxyAttribute()


def give_own_proxy(cls: type | None) -> None:
    """Have the objects of a class find their proxy, as `self.remote`: only of one that is decorated
    as remote, since other people's classes are left as they are, and if it has no `remote`."""
    if cls is not None and hasattr(cls, OPTIONS) and not hasattr(cls, "remote"):
        with contextlib.suppress(AttributeError, TypeError):  # a class that can't be changed
            setattr(cls, "remote", own_proxy)  # noqa: B010
