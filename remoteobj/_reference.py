"""What all views of one remote object share: where it is, and how it is reached and served."""

from __future__ import annotations

import select
import sys
import threading
import time
from multiprocessing.context import get_spawning_popen
from typing import Any

from ._actor.server import Mode, Server, local_server
from ._caller.call_options import MISSING
from ._caller.endpoint import Endpoint, Fallback
from ._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from ._protocol.operations import Steps, evaluate
from ._wire.unix import Address, Doorbell, new_address
from .errors import ActorDiedError, NotListeningError, SpawnTimeoutError

__all__ = ["RemoteRef", "describe"]

THREAD_CHECK = 0.02
"""Seconds between looks at a thread that is to listen: threads have no descriptor."""


class RemoteRef:
    """One remote object, as seen from this process.

    `local` is this process's own copy of the object, if it has one: under fork everybody
    has, but only the process that listens has the one that answers.
    """

    def __init__(
        self,
        address: Address,
        name: str,
        local: Any = MISSING,
        *,
        eager: bool = False,
        fulfil: bool = True,
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
        endpoint: Endpoint | None = None,
    ) -> None:
        self.address = address
        self.name = name
        self.local = local
        self.eager = eager
        self.fulfil = fulfil
        self.wire_options = wire_options
        self.endpoint = endpoint or Endpoint(address, name, wire_options=wire_options)

    @classmethod
    def of(cls, obj: object, *, eager: bool, fulfil: bool, wire_options: WireOptions) -> RemoteRef:
        """The anchor of an object that some process may later serve."""
        return cls(
            new_address(), describe(obj), obj, eager=eager, fulfil=fulfil, wire_options=wire_options
        )

    # --- as part of a pickle -------------------------------------------------------------

    def reference(self) -> tuple[Address, str, bool, bool, WireOptions]:
        """What any process needs in order to call the object."""
        return (self.address, self.name, self.eager, self.fulfil, self.wire_options)

    @classmethod
    def from_reference(cls, reference: tuple[Any, ...]) -> RemoteRef:
        """The object in a process that has nothing of it but its `reference`."""
        address, name, eager, fulfil, wire_options = reference
        return cls(address, name, eager=eager, fulfil=fulfil, wire_options=wire_options)

    def local_copy_for_child(self) -> tuple[Any, ...]:
        """The object itself, for a process that is being started and may be the one that
        will listen; nothing for all others, which only call."""
        if get_spawning_popen() is None or self.local is MISSING or self.listening:
            return ()
        return (self.local,)

    # --- calling -----------------------------------------------------------------------

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
        if local_server(self.address) is not None:
            raise RuntimeError(f"{self.name} is listening already")
        if self.local is MISSING:
            raise RuntimeError(f"{self.name} lives in another process: only that one can listen")
        server = Server(self.local, self.address, self.name, self.fulfil, mode, self.wire_options)
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
        return local_server(self.address)

    @property
    def listening(self) -> bool:
        """Whether the object can be called now. True to the fact, from every process."""
        home = local_server(self.address)
        return home.listening if home is not None else self.endpoint.listening()

    def process(self, timeout: float | None, limit: int = sys.maxsize) -> int:
        """Run requests in this thread; how many were run."""
        home = local_server(self.address)
        if home is None:
            raise NotListeningError(f"{self.name} does not listen in this process")
        if home.mode is Mode.BACKGROUND:
            return home.stand_by(timeout)
        home.take_over()
        return home.process(timeout, limit)

    def serve(self) -> None:
        """Run requests until it stops listening, here or wherever `listen` said."""
        home = local_server(self.address)
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
        bell = Doorbell(self.address)
        try:
            # Only now that the bell hangs: who began to listen in between is seen here.
            while not self.listening:
                if _ended(process):
                    if fail:
                        raise self._ended_first(process)
                    return False
                if deadline is not None and time.monotonic() >= deadline:
                    if fail:
                        raise SpawnTimeoutError(f"{self.name} did not listen within {timeout} s")
                    return False
                _sleep(bell, process, deadline)
                bell.drain()
            return True
        finally:
            bell.close()

    def _ended_first(self, process: Any) -> BaseException:
        return ActorDiedError.from_exit(
            f"{process.name}, before {self.name} listened,",
            exitcode=getattr(process, "exitcode", None),
        )


def _sleep(bell: Doorbell, process: Any, deadline: float | None) -> None:
    """Sleep until the bell rings, the process ends, or the time is up."""
    timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    sentinel = getattr(process, "sentinel", None)
    if sentinel is not None:
        poll.register(sentinel, select.POLLIN)
    elif process is not None:
        timeout = THREAD_CHECK if timeout is None else min(timeout, THREAD_CHECK)
    poll.poll(None if timeout is None else timeout * 1000)


def _ended(process: Any) -> bool:
    if process is None:
        return False
    if isinstance(process, threading.Thread):
        return process.ident is not None and not process.is_alive()
    return process.exitcode is not None


def describe(obj: object) -> str:
    """How an object is named where its own repr might be long, or wrong, or remote."""
    return f"<{type(obj).__name__} object at {id(obj):#x}>"
