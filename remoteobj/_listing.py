"""What an owner says of its actor where other processes of this user can read it.

::

    (a place) ──> starting ──> running ──> stopping ──> (gone)
                    └──<── restarting ──<──┘
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ._engines.contract import Instance
from ._engines.kinds import engine_kind
from ._options import Options
from ._os.fork_safety import fork_generation
from ._os.lazy_import import import_lock
from ._protocol.identity import Peer, class_name
from ._reference import RemoteRef
from ._wire import roster
from ._wire.auth import Key
from ._wire.roster import Entry, Place

__all__ = ["Listing", "listed"]


class Listing:
    """The entry of one actor in the roster of its owner.

    It is a help, and hinders nobody: where there is no room for it any more, the actor goes on
    without. Only a public name has to be there, and that is seen to before the actor is started.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._place: Place | None = None
        self._lock = threading.RLock()
        """Held while it is written, by whichever thread."""
        self._generation = fork_generation[0]

    def take_place(self) -> None:
        """Have a place to be written to.

        Raises:
            OSError: there can be none.
        """
        self._place = roster.take(self.entry)

    def write(self) -> None:
        """Write it.

        Raises:
            OSError: there is no room for it.
        """
        if self._generation != fork_generation[0]:
            return  # it is the parent's; and a thread of that may have held the lock
        with self._lock:
            if self._place is not None:
                self._place = roster.write(self.entry, self._place)

    def begin(self, instance: Instance, number: int) -> None:
        """It lives in this process from now on, which is the one of this number: once it is
        started, and started anew."""
        # The number of one on another machine would be taken for that of a process here.
        pid = os.getpid() if engine_kind(self.entry.engine).elsewhere else instance.pid
        recorder = instance.recorder_place
        self.renew(
            pid=pid,
            started=instance.started,
            incarnation=number,
            recorder=recorder,
            state="starting",
        )

    @property
    def of_birth(self) -> tuple[str, int] | None:
        """Where the actor says that it is born; None: nowhere."""
        return None if self._place is None else self._place.of_birth

    @property
    def peer(self) -> Peer:
        """The actor, for those who tell of its calls: as it is listed at that moment."""
        return Peer(
            self.entry.actor_id, lambda: self.entry.class_name or None, lambda: self.entry.pid
        )

    def born(self, class_named: str) -> None:
        """Its `__init__` is done, and this is its class."""
        # One that is elsewhere has no file in which it could have said so itself.
        if class_named != self.entry.class_name or engine_kind(self.entry.engine).elsewhere:
            self.renew(state="running", class_name=class_named)

    def change(self, state: str) -> None:
        """It is in this state from now on."""
        if self.entry.state != state:
            self.renew(state=state)

    def renew(self, **changes: Any) -> None:
        """Write it as it is from now on."""
        self.entry = self.entry._replace(**changes)
        with contextlib.suppress(OSError):
            self.write()

    def end(self) -> None:
        """It has ended. Harmless when done twice."""
        if self._generation != fork_generation[0]:
            return
        with self._lock:
            place, self._place = self._place, None
            if place is not None:
                roster.clear(place)

    def __del__(self) -> None:  # an exception may come before there is an actor that ends it
        self.end()


@contextlib.contextmanager
def listed(
    ref: RemoteRef, factory: Callable[..., Any], options: Options, lasting: bool
) -> Iterator[Listing]:
    """The time in which an actor is started, and its entry; which ends, if that fails.

    Args:
        lasting: whether it may be started anew.

    Raises:
        NameTakenError: it is public, and another one that lives has the name.
        ValueError: it is public and can't be.
        OSError: it is public, and can't be registered.
    """
    address = ref.address
    if not options.picklable:
        # Its owner wants nobody to have the key, who is not given it by a call.
        address = address._replace(key=Key(b""))
    entry = Entry(
        ref.actor_id,
        address,
        ref.options,
        class_name(factory) if isinstance(factory, type) else "",
        options.engine,
        "starting",
        os.getpid(),  # until it has a process of its own
        "",
        time.monotonic(),
        options.public,
        lasting,
    )
    listing = Listing(entry)
    try:
        if options.public:
            with import_lock:
                from ._public_names import claim  # for a faster start-up: few actors are public

            listing.take_place()
            claim(options, listing.write)
        elif options.engine != "inline":  # that lives in its owner's calls, and nobody can reach it
            with contextlib.suppress(OSError):
                listing.take_place()
        yield listing
    except BaseException:
        listing.end()
        raise
