"""What all views of one remote object share: where it is, and how it is reached and served."""

from __future__ import annotations

import select
import sys
import threading
import time
from multiprocessing.context import get_spawning_popen
from typing import Any, Final

from ._actor.server import Mode, Server, local_server, local_servers
from ._caller.endpoint import RETURNED_SELF, TERMS, Endpoint, Fallback, Terms
from ._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from ._protocol.identity import ActorId
from ._protocol.views import Steps, evaluate
from ._wire.registry import new_address, transport_of
from ._wire.transport import Address, ListenEvent
from .errors import ActorDiedError, NotListeningError, SpawnTimeoutError

__all__ = ["RETURNED_SELF", "MISSING", "Reference", "RemoteRef"]

THREAD_CHECK = 0.02
"""Seconds between looks at a thread that is to listen: threads have no descriptor."""
LISTEN_CHECK = 0.02
"""Seconds between attempts to reach a listener whose transport has no event for its beginning."""

Reference = tuple[ActorId, Address, bool, bool, WireOptions]
"""What any process needs in order to call an object."""


class _Unset:
    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        return "UNSET"


MISSING: Final[Any] = _Unset()
"""Stands for "not given" where None is a value."""


class RemoteRef:
    """One remote object, as seen from this process.

    `local` is this process's own copy of the object, if it has one: under fork everybody
    has, but only the process that listens has the one that answers.
    """

    def __init__(
        self,
        actor_id: ActorId,
        address: Address,
        local: Any = MISSING,
        *,
        eager: bool = False,
        fulfil: bool = True,
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
        endpoint: Endpoint | None = None,
    ) -> None:
        self.actor_id = actor_id
        self.address = address
        self.name = actor_id.name
        self.local = local
        self.eager = eager
        self.fulfil = fulfil
        self.wire_options = wire_options
        self.endpoint = endpoint or Endpoint(actor_id, address, wire_options=wire_options)

    @classmethod
    def of(cls, obj: object, *, eager: bool, fulfil: bool, wire_options: WireOptions) -> RemoteRef:
        """The anchor of an object that some process may later serve."""
        actor_id = ActorId.new(describe(obj))
        return cls(
            actor_id, new_address(), obj, eager=eager, fulfil=fulfil, wire_options=wire_options
        )

    @classmethod
    def from_reference(cls, reference: Reference) -> RemoteRef:
        """The object that another process's `reference()` stands for."""
        actor_id, address, eager, fulfil, wire_options = reference
        return cls(actor_id, address, eager=eager, fulfil=fulfil, wire_options=wire_options)

    # --- as part of a pickle -------------------------------------------------------------

    def reference(self) -> Reference:
        """What any process needs in order to call the object."""
        return (self.actor_id, self.address, self.eager, self.fulfil, self.wire_options)

    def local_copy_for_child(self) -> tuple[Any, ...]:
        """The object itself, for a process that is being started and may be the one that
        will listen; nothing for all others, which only call."""
        if get_spawning_popen() is None or self.local is MISSING or self.listening:
            return ()
        return (self.local,)

    # --- calling -----------------------------------------------------------------------

    def evaluate(
        self,
        steps: Steps,
        owner: object = None,
        default: Any = MISSING,
        default_local: bool = False,
        terms: Terms = TERMS,
    ) -> Any:
        """The value of a view; `RETURNED_SELF` when that is the object.

        At the object's home it is evaluated directly. `default` (called, if it can be) or
        this process's own copy (`default_local`) stand in when nobody listens.
        """
        if local_servers and (home := local_server(self.actor_id)) is not None:
            result = evaluate(steps, home.root)
            return RETURNED_SELF if result is home.root else result
        if default is MISSING and not default_local:
            return self.endpoint.call(steps, owner, None, terms)
        return self.endpoint.call(steps, owner, self.fallback(steps, default, default_local), terms)

    def fallback(self, steps: Steps, default: Any, local: bool) -> Fallback:
        """What makes the value where nobody listens; None where nothing was said."""
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
            raise RuntimeError(f"{self.name} lives in another process: only that one can listen")
        server = Server(
            self.local, self.actor_id, self.address, self.fulfil, mode, self.wire_options
        )
        try:
            server.open()
        except FileExistsError:
            server.abort()
            raise RuntimeError(f"{self.name} is listening already, in another process") from None
        if mode is not Mode.MANUAL:
            server.run_in_background()
        return server

    @property
    def home(self) -> Server | None:
        """The server of the object, if it is served from here."""
        return local_server(self.actor_id)

    @property
    def listening(self) -> bool:
        """Whether the object can be called now. True to the fact, from every process."""
        home = local_server(self.actor_id)
        return home.listening if home is not None else self.endpoint.listening()

    def process(self, timeout: float | None, limit: int = sys.maxsize) -> int:
        """Run requests in this thread; how many were run."""
        home = local_server(self.actor_id)
        if home is None:
            raise NotListeningError(f"{self.name} does not listen in this process")
        if home.mode is Mode.BACKGROUND:
            return home.stand_by(timeout)
        home.take_over()
        return home.process(timeout, limit)

    def serve(self) -> None:
        """Run requests until it stops listening, here or wherever `listen` said."""
        home = local_server(self.actor_id)
        if home is not None and home.mode is Mode.MANUAL:
            home.mailbox.serve(until=lambda: False)
            home.stop()
        elif home is not None:
            home.join()

    # --- waiting -----------------------------------------------------------------------

    def wait(self, process: Any, fail: bool, timeout: float | None) -> bool:
        """Wait until somebody listens; False, or an error if `fail`, when that can't be."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if self.listening:
            return True
        event = transport_of(self.address).listen_event(self.address)
        try:
            # Only now that there is an event: a listener that began in between is seen here.
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
        return ActorDiedError.from_exit(
            f"{process.name}, before {self.name} listened,",
            exitcode=getattr(process, "exitcode", None),
        )


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
    """How an object is named where its own repr might be long, or wrong, or remote."""
    return f"<{type(obj).__name__} object at {id(obj):#x}>"
