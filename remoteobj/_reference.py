"""The reference: where a remote object is, how it is reached, and how it is served from here.

All proxies of one object in one process share its reference.
"""

from __future__ import annotations

import math
import os
import pickle
import select
import sys
import threading
import time
from collections.abc import Callable, Collection
from functools import cache, partial
from multiprocessing.context import get_spawning_popen
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ._actor.served_here import LocalServer, Mode, local_server, local_servers
from ._caller.answers import Fallback
from ._caller.call_options import MISSING
from ._os.lazy_import import import_lock
from ._protocol.config import RefOptions
from ._protocol.identity import ActorId, Peer, class_name
from ._protocol.operations import Steps, evaluate
from .errors import ActorDiedError, ExitReport, NotListeningError, SpawnTimeoutError

if TYPE_CHECKING:
    from ._actor.pacing import Pacer
    from ._actor.server import Server
    from ._caller.endpoint import Endpoint
    from ._wire.transport import Address, ListenEvent

T = TypeVar("T")

__all__ = ["Reference", "RemoteRef", "describe"]

THREAD_CHECK = 0.02
"""Seconds between two looks whether a thread has ended that is to listen: unlike a process, a
thread has no descriptor that could be waited for."""
LISTEN_CHECK = 0.02
"""Seconds between two attempts to reach a listener whose transport can't tell when it begins."""

Reference: TypeAlias = "tuple[ActorId, Address, tuple[Any, ...], Any, str | None]"
"""All that another process needs in order to call an object: in the end the `RefOptions`, as a
plain tuple, since each class that a pickle names costs time, the `default`, and what the object's
class is called, as far as that is known."""


class RemoteRef:
    """One remote object, as seen from this process.

    `local` is this process's own copy of the object, or `MISSING`. A forked process inherits a
    copy, but calls are answered by the copy in the process that listens.
    """

    def __init__(
        self,
        actor_id: ActorId,
        address: Address,
        options: RefOptions,
        local: Any = MISSING,
        *,
        endpoint: Endpoint | None = None,
        default: Any = MISSING,
    ) -> None:
        self.actor_id = actor_id
        self.address = address
        self.name = actor_id.name
        self.local = local
        self.options = options
        self.eager = options.eager
        self._served_in = 0
        """The process that last served it, of those that share this copy of the reference."""
        self.default = default
        """The value where nobody listens, or what makes it; `MISSING`: that is an error."""
        self.taken_names: Callable[[], Collection[str]] = tuple
        """Of `OF_SERVING`, the names that the object has itself, as its handle learns from it."""
        self.wait_for_door: Callable[[], object] = tuple
        """Called before this leaves for another process, which is to find somebody to call."""
        self.told_class: Callable[[], type | str | None] = _nothing
        """The object's class, or what it is called, as the owner or the sender of this knows it."""
        self.wire_options = options.wire_options
        self.endpoint = endpoint or _endpoints()(
            actor_id, address, wire_options=self.wire_options, restarts=options.restarts
        )

    @classmethod
    def of(cls, obj: object, options: RefOptions, default: Any = MISSING) -> RemoteRef:
        """The reference of an object that this process, or one that it starts, may later serve."""
        with import_lock:
            from ._wire.registry import new_address  # for a faster start-up, as in `_endpoints`

        ref = cls(ActorId.new(describe(obj)), new_address(), options, obj, default=default)
        ref.endpoint.peer = Peer(ref.actor_id, partial(_value, class_name(type(obj))))
        return ref

    # --- as part of a pickle -------------------------------------------------------------

    def reference(self) -> Reference:
        """All that another process needs in order to call the object."""
        self.wait_for_door()
        found = self.object_class()
        named = class_name(found) if isinstance(found, type) else found
        return (self.actor_id, self.address, tuple(self.options), self.default, named)

    @classmethod
    def from_reference(cls, reference: Reference) -> RemoteRef:
        """The other way round: the reference, in a process that was sent this."""
        actor_id, address, options, default, class_named = reference
        ref = cls(actor_id, address, RefOptions(*options), default=default)
        if class_named is not None:
            ref.told_class = lambda: class_named
            ref.endpoint.peer = Peer(actor_id, ref.told_class)
        return ref

    def check_picklable(self) -> None:
        """To be asked where a pickler is at work that is none of ours.

        Raises:
            pickle.PicklingError: no process is being started, and its owner forbids all else.
        """
        if not self.options.picklable and get_spawning_popen() is None:
            raise pickle.PicklingError(
                f"{self.name} was made with picklable=False, so this proxy of it can't be pickled: "
                "who reads the pickle can run code in its process. Hand the proxy to other "
                "processes as an argument of a call, or of the process that you start; or make "
                "the object with picklable=True"
            )

    def local_copy_for_child(self) -> tuple[Any, ...]:
        """The object itself, in a tuple, if this is pickled for a process that is being started:
        that process may be the one to listen. Otherwise nothing: other processes only call."""
        if get_spawning_popen() is None or self.local is MISSING or self.listening:
            return ()
        return (self.local,)

    # --- what it is ----------------------------------------------------------------------

    def object_class(self) -> type | str | None:
        """The object's class, or what it is called, as far as this process knows it: the actor is
        not asked."""
        home = local_servers.get(self.actor_id)
        local = self.local if home is None else home.root
        return self.told_class() if local is MISSING or local is None else type(local)

    # --- calling -----------------------------------------------------------------------

    def fallback(self, steps: Steps, default: Any, local: bool) -> Fallback:
        """What makes the value if nobody listens; None if there is to be none.

        Args:
            default: the value, or a callable that makes it; `MISSING`: there is none.
            local: whether the chain is evaluated on `self.local`, if this process has a copy.
        """
        if local and self.local is not MISSING:
            return lambda: evaluate(steps, self.local)
        if default is MISSING:
            return None
        return default if callable(default) else lambda: default

    # --- serving -----------------------------------------------------------------------

    def listen(self, mode: Mode) -> Server:
        """Serve the object from this process.

        Raises:
            RuntimeError: it is served already, or this process does not have it.
        """
        if local_server(self.actor_id) is not None:
            raise RuntimeError(f"{self.name} is listening already")
        if self.local is MISSING:
            raise RuntimeError(
                f"{self.name} lives in another process: only that one can listen; and only the "
                "handle that spawn() returned stops an actor, by `with` or stop_()"
            )
        with import_lock:
            from ._actor.server import Server  # for a faster start-up: few processes serve
            from ._protocol.requests import observers  # likewise for a faster start-up

        server = Server(
            self.local, self.actor_id, self.address, self.options.fulfil, mode, self.wire_options
        )
        try:
            server.open()
        except FileExistsError:
            server.abort()
            raise RuntimeError(f"{self.name} is listening already, in another process") from None
        self._served_in = os.getpid()
        if observers:
            with import_lock:
                from ._actor.observed import attend  # for a faster start-up: few are observed
            attend(server)
        if mode is not Mode.MANUAL:
            server.run_in_background()
        return server

    @property
    def was_served_here(self) -> bool:
        """Whether this process serves the object, or did."""
        return self._served_in == os.getpid()

    def stop(self) -> None:
        """Stop serving the object, if it is served from here."""
        home = local_server(self.actor_id)
        if home is not None:
            home.stop()

    @property
    def home(self) -> LocalServer | None:
        """The server of the object, if it is served from here."""
        return local_server(self.actor_id)

    @property
    def listening(self) -> bool:
        """Whether the object can be called now. It is asked for, not assumed, in every process."""
        home = local_server(self.actor_id)
        return home.listening if home is not None else self.endpoint.listening()

    def process(self, timeout: float | None, limit: int = sys.maxsize) -> int:
        """Run requests in this thread, or wait while a background thread does; how many were run.

        Raises:
            NotListeningError: the object is not served from this process.
        """
        home = local_server(self.actor_id)
        if home is None:
            raise NotListeningError(f"{self.name} does not listen in this process")
        if home.mode is Mode.BACKGROUND:
            return home.stand_by(timeout)
        home.take_over()
        return home.process(timeout, limit)

    def paced(self, period: float) -> Pacer:
        """The ticks of a loop in this thread, which runs requests in between.

        Raises:
            ValueError, NotListeningError, RuntimeError: see `every_`.
        """
        seconds = float(period)
        if not 0 < seconds < math.inf:
            raise ValueError(f"the period must be some seconds, above zero: {period!r}")
        home = local_server(self.actor_id)
        if home is None:
            raise NotListeningError(
                f"{self.name} does not listen in this process, and every_ is for the loop of the "
                "process in which it lives"
            )
        return home.paced(seconds)

    def serve(self) -> None:
        """Run requests until the object is served no more, in this thread or in the background, as
        was said when it began to listen."""
        home = local_server(self.actor_id)
        if home is not None:
            home.serve_to_the_end()

    # --- waiting -----------------------------------------------------------------------

    def wait(self, process: Any, fail: bool, timeout: float | None) -> bool:
        """Wait until some process serves the object; whether one does.

        Raises:
            ActorDiedError: `process`, which was to serve it, ended first, and `fail` is true.
            SpawnTimeoutError: the time was up first, and `fail` is true.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if self.listening:
            return True
        with import_lock:
            from ._wire.registry import transport_of  # for a faster start-up, as in `_endpoints`

        event = transport_of(self.address).listen_event(self.address)
        try:
            # Asked again now that there is an event: a process that began to listen just before
            # had none to set.
            while not self.listening:
                if _ended(process):
                    if fail:
                        raise self._ended_first(process)
                    return False
                if deadline is not None and time.monotonic() >= deadline:
                    if fail:
                        raise SpawnTimeoutError(f"{self.name} did not listen within {timeout} s")
                    return False
                _sleep(event, process, deadline)
                if event is not None:
                    event.drain()
            return True
        finally:
            if event is not None:
                event.close()

    def _ended_first(self, process: Any) -> BaseException:
        """The error of a process that ended; with the reason, where it is one of ours."""
        exit_report = getattr(process, "exit_report", None)
        if exit_report is None:
            report = ExitReport(exitcode=getattr(process, "exitcode", None))
        else:
            report = exit_report()
        name = f"{process.name}, before {self.name} listened,"
        return ActorDiedError.from_exit(report._replace(name=name))


@cache
def _endpoints() -> type[Endpoint]:
    with import_lock:
        # For a faster start-up: what calls others is needed once there is something to be called.
        from ._caller.endpoint import Endpoint

    return Endpoint


def _sleep(event: ListenEvent | None, process: Any, deadline: float | None) -> None:
    """Sleep until somebody listens, the process ends, or the time is up; for a moment, where one of
    the first two has no descriptor to wait for."""
    limits = [] if deadline is None else [max(0.0, deadline - time.monotonic())]
    poll = select.poll()
    if event is not None:
        poll.register(event, select.POLLIN)
    else:
        limits.append(LISTEN_CHECK)
    sentinel = getattr(process, "sentinel", None)
    if sentinel is not None:
        poll.register(sentinel, select.POLLIN)
    elif process is not None:
        limits.append(THREAD_CHECK)
    poll.poll(min(limits) * 1000 if limits else None)


def _ended(process: Any) -> bool:
    if process is None:
        return False
    if isinstance(process, threading.Thread):
        return process.ident is not None and not process.is_alive()
    return process.exitcode is not None


def describe(obj: object) -> str:
    """A name for an object, for texts in which its own repr might be long, or fail, or be a
    remote call."""
    return f"<{type(obj).__name__} object at {id(obj):#x}>"


def _value(value: T) -> T:
    """Gives what it is given."""
    return value


def _nothing() -> None:
    """Gives None."""
