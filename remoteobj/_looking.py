"""Looking in: which actors this user's programs have, and a proxy of one that has a public name.

How one of them is asked, and told what to do, is `_observer`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ._fast_typing import NamedTuple
from ._os.lazy_import import import_lock

if TYPE_CHECKING:
    from ._proxy import Proxy
    from ._wire.rosters import Listed

__all__ = ["ActorInfo", "actors", "connect", "info_of", "state_of"]


class ActorInfo(NamedTuple):
    """An actor of this user that lives, as `remoteobj.actors` lists it."""

    name: str
    """Its name, which others may have too, unless it is public."""
    class_name: str
    """What its object's class is called; "" where its owner does not know it yet."""
    pid: int
    """The process in which it lives; that of its owner, for a thread, or while it has none."""
    owner_pid: int
    """The process that has spawned it."""
    state: str
    """`starting`, `running`, `restarting` or `stopping`, as its owner knows it; `suspended` where
    its process was stopped by a signal; `orphaned` where its owner has died, so that it ends."""
    age: float
    """Seconds since it was spawned."""
    public: bool
    """Whether its name is public, so that `remoteobj.connect` finds it."""
    engine: str
    """`process`, or `thread` for one that shares the process of its owner."""
    id: str
    """Its own for ever: no other actor has it, and it keeps it when it is started anew."""


def actors() -> list[ActorInfo]:
    """List the live actors of all programs of this user, the oldest first.

    None of them is asked, so that it takes a few milliseconds, whatever they are busy with. Inline
    actors are not listed, nor are objects that a program serves by `Proxy.listen_`.

    >>> from remoteobj import actors, options
    >>> with options(name="stock").spawn(dict):
    ...     [one.class_name for one in actors() if one.name == "stock"]
    ['dict']
    """
    with import_lock:
        from ._wire.rosters import living  # for a faster start-up: few programs look in

    return sorted((info_of(one) for one in living()), key=lambda info: -info.age)


def info_of(listed: Listed) -> ActorInfo:
    """What there is to know of it."""
    entry = listed.entry
    return ActorInfo(
        entry.actor_id.name,
        entry.class_name.rpartition(":")[2],
        entry.pid,
        listed.owner_pid,
        state_of(listed),
        max(0.0, time.monotonic() - entry.began),
        entry.public,
        entry.engine,
        entry.actor_id.token,
    )


def state_of(listed: Listed) -> str:
    """Its state, as its owner and the system tell it."""
    if not listed.owner_lives:
        return "orphaned"
    if not listed.lives:
        return "restarting"
    if listed.seen is not None and listed.seen.state in ("stopped", "debugged"):
        return "suspended"
    return listed.entry.state


def connect(name: str) -> Proxy:
    """Return a proxy of the actor of this user that has this public name.

    An actor has a public name if it was spawned with `options(name=..., public=True)`. Any process
    of the same user on the same machine can ask for it. The proxy does not own the actor: to
    forget it does not stop the actor.

    Raises:
        NotListeningError: no actor that lives has this name; with the names that are similar.
        TypeError: the name is no text.

    >>> from remoteobj import connect, options
    >>> with options(name="prices of today", public=True).spawn(dict, bread=3):
    ...     connect("prices of today")["bread"].get_()
    3
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of an actor is a text: {name!r}")
    with import_lock:
        from ._public_names import proxy_of  # for a faster start-up: few programs look in

    return proxy_of(name)
