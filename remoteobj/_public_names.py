"""Public names: who may have one, and a proxy of the actor that has it.

There is no registry of its own. A public actor's entry in the roster of its owner says that it is
public, and a name is taken if such an entry is about an actor that lives. So nothing remains of the
dead, however they died. That two do not register one name at the same time is seen to by the lock
of `roster.claiming`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from ._caller.call_options import MISSING
from ._options import Options
from ._os.lazy_import import import_lock
from ._proxy import Proxy, proxy_from
from ._wire import roster
from ._wire.rosters import Listed, has_door, living
from .errors import NameTakenError, NotListeningError

__all__ = ["claim", "is_printable", "proxy_of", "proxy_to", "shown", "similar", "told_of"]

JOINERS = ("\u200c", "\u200d")
"""Characters that are not to be seen, but for what they make of those beside them: emoji of several
persons, say."""
TAGS = ("\U000e0020", "\U000e007f")
"""The first and the last of those that make flags of emoji."""
DOOR_SECONDS = 60.0
"""How long a process may take from its start until it can be called."""
DOOR_CHECK = 0.01
"""Seconds between two looks whether an actor that is just being started can be called."""


def is_printable(name: str) -> bool:
    """Whether all of a name can be printed.

    >>> is_printable("lab/camera 1"), is_printable("👨\u200d👩\u200d👧"), is_printable("a\\n")
    (True, True, False)
    """
    return all(one.isprintable() or one in JOINERS or TAGS[0] <= one <= TAGS[1] for one in name)


def claim(options: Options, reserve: Callable[[], None]) -> None:
    """Register the public name of an actor that is going to be started.

    Args:
        reserve: writes its entry.

    Raises:
        NameTakenError: another one that lives has the name.
        ValueError: no actor can have it, or this one can't be public.
        OSError: there is no place to register it.
    """
    name = _checked_name(options)
    with roster.claiming():
        if (holder := holder_of(name)) is not None:
            raise NameTakenError(
                f"the public name {shown(name)} is taken by {told_of(holder)}; choose another "
                "name, or stop that one"
            )
        reserve()


def _checked_name(options: Options) -> str:
    name = options.name
    if not name:
        raise ValueError("public=True takes a name: options(name=..., public=True)")
    if not is_printable(name):
        raise ValueError(f"a public name is of characters that can be printed: {name!r}")
    if len(name.encode()) > roster.MAX_NAME:
        raise ValueError(f"a public name takes at most {roster.MAX_NAME} bytes: {shown(name)}")
    if options.engine == "inline":
        raise ValueError(
            "an inline actor can't be public: it lives in the thread of its owner, and only while "
            'that calls it; use engine="thread" or "process"'
        )
    if not options.picklable:
        raise ValueError(
            "public=True gives every process of this user a proxy of the actor, and "
            "picklable=False forbids just that; choose one of them"
        )
    return name


def holder_of(name: str) -> Listed | None:
    """The actor that lives and has this public name."""
    return next(iter(_public(name)), None)


def _public(name: str | None = None) -> list[Listed]:
    """The actors that have a public name, or this one."""

    def is_wanted(entry: roster.Entry) -> bool:
        return entry.public and name in (None, entry.actor_id.name)

    # One whose owner was killed is about to end, and its name is free.
    return [one for one in living(is_wanted) if one.owner_lives]


def proxy_of(name: str) -> Proxy:
    """What `connect` returns; raises as that."""
    deadline = time.monotonic() + DOOR_SECONDS
    while True:
        holder = holder_of(name)
        if holder is None:
            names = [one.entry.actor_id.name for one in _public()]
            said = f"no actor has the public name {shown(name)}"
            raise NotListeningError(f"{said}{similar(name, names)}")
        entry = holder.entry
        is_open = entry.state != "starting" or has_door(entry)
        if is_open or time.monotonic() > deadline:
            return proxy_to(entry)
        time.sleep(DOOR_CHECK)  # its process is being started: there is no event for its door


def proxy_to(entry: roster.Entry) -> Proxy:
    """A proxy of the actor of an entry."""
    named = entry.class_name or None
    proxy: Proxy = proxy_from((entry.actor_id, entry.address, tuple(entry.options), MISSING, named))
    return proxy


def told_of(listed: Listed) -> str:
    """Who that is, for an error."""
    entry = listed.entry
    cls = entry.class_name.rpartition(":")[2] or "an actor"
    where = "a thread of" if entry.engine == "thread" else f"process {entry.pid}, owned by"
    ours = " (this one)" if listed.owner_pid == os.getpid() else ""
    return f"{cls} in {where} process {listed.owner_pid}{ours}"


def similar(name: str, names: list[str]) -> str:
    """The names that are nearly this one, as the end of an error."""
    with import_lock:
        import difflib  # for a faster start-up: it is for errors

    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(map(shown, near))}?"
    return (
        f"; there are {', '.join(map(shown, sorted(names)[:10]))}" if names else "; nobody has one"
    )


def shown(name: str) -> str:
    """A name as an error shows it, which may be a page long."""
    return repr(name if len(name) <= 80 else f"{name[:60]}...{name[-17:]}")
