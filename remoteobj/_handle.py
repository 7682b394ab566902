"""The handle: a proxy that owns the actor behind it, from spawn to the end."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from multiprocessing import util as mp_util
from types import TracebackType
from typing import Any

from ._actor import ActorProgram, role_of
from ._address import Address, new_address, withdraw
from ._anchor import Anchor
from ._connection import Connection, ReenteredError
from ._endpoint import Endpoint, Partner, read
from ._except import Except
from ._frames import encode
from ._messages import StopOrder
from ._options import Options
from ._proxy import Proxy
from ._transport import ChannelClosedError, Traits
from ._view import show
from .engines import Launch, Vessel, engine_named, numbered
from .errors import ActorDiedError, SpawnTimeoutError

__all__ = ["Handle", "spawn"]

TERM_SECONDS = 3.0
"""How long an actor has after SIGTERM, before SIGKILL."""
KILL_SECONDS = 5.0
"""How long the kernel may take to end a process after SIGKILL."""
CERTIFICATE_SECONDS = 1.0
"""How long the exit code of a process may take after its connection broke."""


class _OwnedPartner(Partner):
    """An actor, as its owner knows it: the owner can tell how it died."""

    def __init__(self, name: str, vessel: Vessel) -> None:
        super().__init__(name)
        self._vessel = vessel
        self._owner_pid = os.getpid()

    def lost(self, maybe_executed: bool) -> BaseException:
        if os.getpid() != self._owner_pid:
            return super().lost(maybe_executed)
        self._vessel.join(CERTIFICATE_SECONDS)
        return ActorDiedError.from_exit(
            self.name, exitcode=self._vessel.exitcode, maybe_executed=maybe_executed
        )


class _OwnedEndpoint(Endpoint):
    """The owner's way to its actor: a connection that was there before the actor was."""

    def __init__(self, address: Address, name: str, vessel: Vessel, traits: Traits) -> None:
        partner = _OwnedPartner(name, vessel)
        super().__init__(address, name, partner, traits)
        self._owner_pid = os.getpid()
        self._vessel = vessel
        self.first = Connection(vessel.data, partner.lost, partner.farewell)
        self._connection = self.first

    def _connect(self) -> Connection:
        if os.getpid() != self._owner_pid or self.first.end is None:
            return super()._connect()
        if self._vessel.alive and self.first.interrupted:
            return super()._connect()  # by the door that all others use
        raise self.first.end(False)


class _Actor:
    """What an owner has of its actor; it may outlive the handle.

    Invariant: nothing here leads to the handle, which would then never be collected. An
    exception leads to whoever raised it last, so the `Except` is the handle's, not ours.
    """

    def __init__(
        self, program: ActorProgram, address: Address, name: str, options: Options, exc: Except
    ) -> None:
        self.name = name
        self.options = options._replace(exc=None)
        self.address = address
        self._exc = weakref.ref(exc)
        self._own_exc = options.exc is None
        self._errors_before = 0 if self._own_exc else len(exc)
        self.finalizer: weakref.finalize[..., Any] | None = None
        self.owner_pid = os.getpid()
        traits = Traits(options.spin, options.writable)
        self.vessel = engine_named(options.engine).launch(
            Launch(program, name, options.daemon, options.start_method, traits)
        )
        self.endpoint = _OwnedEndpoint(address, name, self.vessel, traits)
        self.forced = False  # its owner said kill or terminate
        self._ending = threading.RLock()
        self._at_it = False
        self._closed = False

    def wait_for_birth(self) -> None:
        """Wait until `__init__` is done; raises what it raised."""
        timeout = self.options.spawn_timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        connection = self.endpoint.first
        try:
            if not connection.wait(connection.born, deadline):
                how = "killed" if self.options.engine == "process" else "told to stop"
                raise SpawnTimeoutError(
                    f"{self.name} was not ready after {timeout} s and was {how}; give "
                    "options(spawn_timeout=...) more, or do less in __init__"
                )
            if connection.born.failure is not None:
                raise connection.born.failure()
            assert connection.born.first is not None
            read(connection.born.first)
        except BaseException:
            self._destroy()
            raise

    def _destroy(self) -> None:
        """End one that was not born."""
        self.forced = True
        self._order(StopOrder(fulfil=False))
        if not self.vessel.join(CERTIFICATE_SECONDS if self.endpoint.first.born.over else 0.0):
            with contextlib.suppress(RuntimeError):  # a thread can't be killed, only told
                self.vessel.kill()
                self.vessel.join(KILL_SECONDS)
        self._close()

    def stop(self, timeout: float | None = None, after_work: bool = False) -> None:
        """End it in order; by force when that takes too long. Then it has ended.

        `after_work` lets its work loop come to its own end first, however long that takes.
        """
        if os.getpid() != self.owner_pid:
            return
        with self._ending:
            if self._closed or self._at_it:  # the latter in a signal handler, within stop
                return
            self._at_it = True
            try:
                self.tell_to_stop(after_work)
                limit = None if after_work or timeout is None else time.monotonic() + timeout
                if self.vessel.autonomous:
                    self._take_leave(limit)
                left = None if limit is None else max(0.0, limit - time.monotonic())
                if not self.vessel.join(left):
                    self._force(timeout)
                self._close()
            finally:
                self._at_it = False

    def tell_to_stop(self, after_work: bool = False) -> None:
        """Give the order, without waiting for what comes of it. Harmless when done twice."""
        self._order(StopOrder(self.options.fulfill_final, after_work))

    def _take_leave(self, limit: float | None) -> None:
        """Take in what the actor still says: it ends sooner, and no reply is lost."""
        with contextlib.suppress(ReenteredError):  # stopped by a signal handler, within a call
            self.endpoint.first.wait(self.endpoint.first.over, limit, whole=True)

    def _order(self, order: StopOrder) -> None:
        with contextlib.suppress(ChannelClosedError):  # ended already: it need not be told
            self.vessel.control.write(encode(order.frame()))

    def _force(self, timeout: float | None) -> None:
        """SIGTERM, then SIGKILL; that it came to this is a lifecycle error."""
        try:
            self.vessel.terminate()
            how = "was ended by SIGTERM"
            if not self.vessel.join(TERM_SECONDS):
                how = "was ended by SIGKILL"
                self.vessel.kill()
                self.vessel.join(KILL_SECONDS)
        except RuntimeError as exc:
            how = f"goes on: {exc}"
        error = ActorDiedError(
            f"{self.name} did not stop within {timeout} s and {how}",
            exitcode=self.vessel.exitcode,
            maybe_executed=False,
        )
        record = self._exc()
        if record is not None:  # else nobody is left to read it
            with record("cleanup", raises=False, types=ActorDiedError):
                raise error

    def _close(self) -> None:
        self._closed = True
        self._take_leave(time.monotonic() + CERTIFICATE_SECONDS)
        self.endpoint.close()
        self.vessel.close()
        withdraw(self.address)
        _actors.discard(self)
        if self.finalizer is not None:
            self.finalizer.detach()
        record = self._exc()
        if record is not None and self._own_exc:
            record.close()  # it stays readable; its memory is ours to give back

    def failed(self) -> bool:
        """Whether something was recorded since it was spawned: its `Except` may be shared."""
        record = self._exc()
        return record is not None and len(record) > self._errors_before

    def died(self) -> ActorDiedError | None:
        """The error of a death that nobody asked for and no lifecycle error explains."""
        code = self.vessel.exitcode
        if self.forced or code in (None, 0) or self.failed():
            return None
        return ActorDiedError.from_exit(self.name, exitcode=code)


class Handle(Proxy):
    """A proxy that owns the actor behind it.

    Leaving `with handle:` stops the actor, and raises the last of its lifecycle errors. A
    handle that is garbage-collected stops its actor too, in the background.
    """

    __slots__ = ("_actor", "_exc")

    _actor: _Actor
    _exc: Except

    @property
    def pid_(self) -> int | None:
        """The process in which the object lives."""
        return self._actor.vessel.pid

    @property
    def name_(self) -> str:
        """The actor's name."""
        return self._actor.name

    @property
    def alive_(self) -> bool:
        """Whether the actor runs. True to the fact."""
        return self._actor.vessel.alive

    @property
    def exitcode_(self) -> int | None:
        """Its exit code: negative for a signal, None while it runs."""
        return self._actor.vessel.exitcode

    @property
    def exc_(self) -> Except:
        """Its lifecycle errors, in the groups `init`, `work` and `cleanup`."""
        return self._exc

    def stop_(self, timeout: float | None = None) -> None:
        """End the actor: requests in hand, then its cleanup, then the process.

        Harmless when it has ended. When it has not ended after `timeout` seconds (by
        default the option `stop_timeout`) it gets SIGTERM, then SIGKILL, and `exc_`
        records that in the group `cleanup`.
        """
        self._actor.stop(self._actor.options.stop_timeout if timeout is None else timeout)

    def join_(self, timeout: float | None = None) -> bool:
        """Wait until the actor has ended by itself; False when that took too long."""
        return self._actor.vessel.join(timeout)

    def terminate_(self) -> None:
        """Send SIGTERM: the actor drops what it is doing, cleans up and ends."""
        self._actor.forced = True
        self._actor.vessel.terminate()

    def kill_(self) -> None:
        """End the process at once. Nothing of it runs any more, its cleanup neither."""
        self._actor.forced = True
        self._actor.vessel.kill()

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop_()
        if self._actor.failed():
            self._exc.raise_any()
        death = self._actor.died()
        if death is not None and not isinstance(exc, ActorDiedError):
            raise death

    def __repr__(self) -> str:
        return f"<Remote {self.name_!r} (pid {self.pid_}) : ({show(self._steps)})>"


def spawn(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options) -> Handle:
    """Make an actor of a class; returns when its `__init__` has finished over there."""
    if options.engine == "inline" and role_of(cls, "work"):
        raise ValueError(
            f"{cls.__name__} has a @remote.work loop, and an inline actor has no thread to run "
            'it in; use engine="thread" or "process"'
        )
    name = options.name or numbered(cls.__name__)
    address = new_address()
    exc = options.exc if options.exc is not None else Except()
    _end_with_the_program()
    program = ActorProgram(
        cls,
        args,
        kwargs,
        address=address,
        name=name,
        exc=exc,
        eager=options.eager_proxy,
        traits=Traits(options.spin, options.writable),
    )
    actor = _Actor(program, address, name, options, exc)
    _actors.add(actor)
    handle = _handle_of(actor, exc)  # made while the process starts
    actor.wait_for_birth()
    return handle


def _handle_of(actor: _Actor, exc: Except) -> Handle:
    anchor = Anchor(
        actor.address,
        actor.name,
        eager=actor.options.eager_proxy,
        traits=Traits(actor.options.spin, actor.options.writable),
        endpoint=actor.endpoint,
    )
    handle: Handle = Handle._at(anchor)
    object.__setattr__(handle, "_actor", actor)
    object.__setattr__(handle, "_exc", exc)
    actor.finalizer = weakref.finalize(handle, _stop_in_background, actor)
    actor.finalizer.atexit = False
    return handle


def _stop_in_background(actor: _Actor) -> None:
    """The handle is gone. This may run anywhere, so it must neither wait nor raise."""
    if not actor._closed and os.getpid() == actor.owner_pid:
        actor.tell_to_stop()
        with contextlib.suppress(RuntimeError):  # too late in the program's end for a thread
            threading.Thread(
                target=actor.stop,
                args=(actor.options.stop_timeout,),
                name=f"remoteobj-stop-{actor.name}",
                daemon=True,
            ).start()


# --- the end of the program ----------------------------------------------------------------

_actors: set[_Actor] = set()
_registered_in = -1


def _end_with_the_program() -> None:
    """See to it, once in each process, that no actor is left when the process ends."""
    global _registered_in
    if _registered_in != os.getpid():
        _registered_in = os.getpid()
        # Before multiprocessing ends its daemonic processes, without their cleanup.
        mp_util.Finalize(None, _stop_all, exitpriority=100)


def _stop_all() -> None:
    """Tell all of them first, then wait: together they take as long as the slowest."""
    actors = list(_actors)
    for actor in actors:
        actor.tell_to_stop(after_work=not actor.options.daemon)
    for actor in actors:
        actor.stop(actor.options.stop_timeout, after_work=not actor.options.daemon)


os.register_at_fork(after_in_child=_actors.clear)
