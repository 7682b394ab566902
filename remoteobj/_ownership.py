"""What an owner has of its actor: how it is reached, asked, stopped, and how it died."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from multiprocessing import util as mp_util
from typing import Any

from ._actor.program import ActorProgram
from ._actor.status import Status, sketch
from ._caller.connection import Connection, ReenteredError
from ._caller.control_client import ControlClient
from ._caller.endpoint import CallErrors, Endpoint, Terms, decode_answer
from ._catching.catchers import Except
from ._engines.registry import Instance, LaunchSpec, engine_named
from ._options import Options
from ._pickling.outcome import pack_error
from ._protocol.calls import PendingCall
from ._protocol.config import WireOptions
from ._protocol.frames import encode
from ._protocol.messages import INIT_ID, InterruptOrder, Kind, StopOrder
from ._wire.channel import ChannelClosedError
from ._wire.unix import Address, unlink
from .errors import (
    ActorDiedError,
    CallTimeoutError,
    NotListeningError,
    RemoteObjError,
    SpawnTimeoutError,
)

__all__ = ["SECOND_CTRL_C", "OwnedActor", "register_at_exit", "stop_in_background"]

TERM_SECONDS = 3.0
"""How long an actor has after SIGTERM, before SIGKILL."""
KILL_SECONDS = 5.0
"""How long the kernel may take to end a process after SIGKILL."""
STACK_SECONDS = 2.0
"""How long a process may take to write its stacks at a signal."""
EXPLAIN_SECONDS = 0.25
"""How long an actor may take to say why a call takes so long."""
SECOND_CTRL_C = "_remoteobj_impatient"
"""Marks the Ctrl-C that came while an actor was being stopped: those outside it need not wait."""
EXIT_CODE_SECONDS = 1.0
"""How long the exit code of a process may take after its connection broke."""


class _OwnedCallErrors(CallErrors):
    """An actor, as its owner knows it: the owner can tell how it died."""

    def __init__(self, name: str, instance: Instance) -> None:
        super().__init__(name)
        self._instance = instance
        self._owner_pid = os.getpid()

    def lost(self, maybe_executed: bool) -> BaseException:
        if os.getpid() != self._owner_pid:
            return super().lost(maybe_executed)
        return died(self.name, self._instance, maybe_executed)


def died(name: str, instance: Instance, maybe_executed: bool | None = None) -> ActorDiedError:
    """The error of a death, with all that is known of it."""
    instance.join(EXIT_CODE_SECONDS)
    known = instance.exit_report()._asdict()
    if known["running"] is not None:
        known["running"] = sketch(known["running"])
    return ActorDiedError.from_exit(name, maybe_executed=maybe_executed, **known)


class _OwnedEndpoint(Endpoint):
    """The owner's way to its actor: a connection that was there before the actor was."""

    def __init__(
        self, address: Address, name: str, instance: Instance, wire_options: WireOptions
    ) -> None:
        partner = _OwnedCallErrors(name, instance)
        super().__init__(address, name, partner, wire_options)
        self._owner_pid = os.getpid()
        self._instance = instance
        self.control_client = ControlClient(instance.control, name, self._gone)
        self.first = Connection(instance.data, partner.lost, partner.goodbye_error)
        self.first.target = address.path
        self._connection = self.first

    def _connect(self) -> Connection:
        if os.getpid() != self._owner_pid or self.first.closed_because is None:
            return super()._connect()
        if self._instance.alive and self.first.interrupted:
            return super()._connect()  # by the door that all others use
        raise self.first.closed_because(False)

    def _gone(self) -> BaseException:
        if self._instance.alive:
            return NotListeningError(f"{self._errors.name} has stopped listening")
        return self._errors.lost(False)

    def timed_out(self, terms: Terms, pending: PendingCall | None = None) -> CallTimeoutError:
        """The error, with what the actor is doing instead, and what it would have done first.

        With `terms.interrupt`, what it does is interrupted, if it is this very call.
        """
        ahead = self._connection.ahead_of(pending) if self._connection and pending else []
        running, stack = None, None
        with contextlib.suppress(RemoteObjError):
            running = self.status(EXPLAIN_SECONDS)
        with contextlib.suppress(RemoteObjError):
            stack = self.stack(EXPLAIN_SECONDS if running else 0.0, EXPLAIN_SECONDS)
        if terms.interrupt and pending is not None:
            with contextlib.suppress(RemoteObjError):
                error = TimeoutError(f"interrupted after {terms.timeout} s")
                self.interrupt(error, EXPLAIN_SECONDS, pending.call_id)
        if running is not None and running.call is not None and ahead:
            ahead = ahead[1:]  # the eldest is the one that runs
        return CallTimeoutError.while_running(
            f"{self._errors.name} did not answer within {terms.timeout} s",
            running=running and running.call,
            age=running.age if running else 0.0,
            remote_stack=stack,
            queued_ahead=[sketch(one) for one in ahead],
        )

    # --- asking ----------------------------------------------------------------------------

    def status(self, timeout: float | None) -> Status:
        """What the actor is doing."""
        return Status(*self._ask(Kind.STATUS, b"", timeout))

    def stack(self, timeout: float | None, more: float = STACK_SECONDS) -> str:
        """The stacks of its threads: as it tells them, or else as faulthandler does."""
        try:
            return str(self._ask(Kind.STACK, b"", timeout))
        except CallTimeoutError:
            try:
                return self._instance.stacks(more)
            except RuntimeError as exc:
                if not self._instance.alive:
                    raise self._gone() from exc
                raise CallTimeoutError(str(exc)) from exc

    def interrupt(
        self, error: BaseException, timeout: float | None, call_id: int = INIT_ID
    ) -> bool:
        """Raise something in what it runs; False: it runs nothing, or not this call."""
        order = InterruptOrder(pack_error(error), call_id)
        return bool(self._ask(Kind.INTERRUPT, order.payload(), timeout))

    def _ask(self, kind: int, payload: bytes, timeout: float | None) -> Any:
        if os.getpid() != self._owner_pid:
            raise NotListeningError(f"only the owner of {self._errors.name} can ask it that")
        return self.control_client.request(kind, payload, timeout)


class OwnedActor:
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
        wire_options = WireOptions(options.spin, options.writable)
        self.instance = engine_named(options.engine).launch(
            LaunchSpec(program, name, options.daemon, options.start_method, wire_options)
        )
        self.endpoint = _OwnedEndpoint(address, name, self.instance, wire_options)
        self.forced = False  # its owner said kill or terminate
        self._ending = threading.RLock()
        self._at_it = False
        self.closed = False

    def wait_for_birth(self) -> None:
        """Wait until `__init__` is done; raises what it raised."""
        timeout = self.options.spawn_timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        connection = self.endpoint.first
        try:
            if not connection.wait(connection.init_call, deadline):
                how = "killed" if self.options.engine == "process" else "told to stop"
                raise SpawnTimeoutError(
                    f"{self.name} was not ready after {timeout} s and was {how}; give "
                    "options(spawn_timeout=...) more, or do less in __init__"
                )
            if connection.init_call.failure is not None:
                raise connection.init_call.failure()
            assert connection.init_call.first is not None
            decode_answer(connection.init_call.first)
        except BaseException:
            self._destroy()
            raise

    def _destroy(self) -> None:
        """End one that was not born."""
        self.forced = True
        self._order(StopOrder(fulfil=False))
        if not self.instance.join(EXIT_CODE_SECONDS if self.endpoint.first.init_call.over else 0.0):
            with contextlib.suppress(RuntimeError):  # a thread can't be killed, only told
                self.instance.kill()
                self.instance.join(KILL_SECONDS)
        self._close()

    def stop(self, timeout: float | None = None, after_work: bool = False) -> None:
        """End it in order; by force when that takes too long. Then it has ended.

        `after_work` lets its work loop come to its own end first, however long that takes.
        """
        if os.getpid() != self.owner_pid:
            return
        with self._ending:
            if self.closed or self._at_it:  # the latter in a signal handler, within stop
                return
            self._at_it = True
            try:
                self._end(timeout, after_work)
            except KeyboardInterrupt as exc:
                setattr(exc, SECOND_CTRL_C, True)
                self.kill_now()
                raise
            finally:
                self._at_it = False

    def _end(self, timeout: float | None, after_work: bool) -> None:
        self.tell_to_stop(after_work)
        limit = None if after_work or timeout is None else time.monotonic() + timeout
        if self.instance.runs_by_itself:
            self._drain_goodbye(limit)
        left = None if limit is None else max(0.0, limit - time.monotonic())
        if not self.instance.join(left):
            self._force(timeout)
        self._close()

    def kill_now(self) -> None:
        """Ctrl-C has come again, while it was being stopped: whoever presses it has waited long
        enough. Its cleanup has had its time, and what there is of it is lost."""
        if self.closed or os.getpid() != self.owner_pid:
            return
        self.forced = True
        with contextlib.suppress(RuntimeError):  # a thread goes on
            self.instance.kill()
            self.instance.join(KILL_SECONDS)
            self._close()

    def tell_to_stop(self, after_work: bool = False) -> None:
        """Give the order, without waiting for what comes of it. Harmless when done twice."""
        self._order(StopOrder(self.options.fulfill_final, after_work))

    def _drain_goodbye(self, limit: float | None) -> None:
        """Take in what the actor still says: it ends sooner, and no reply is lost."""
        with contextlib.suppress(ReenteredError):  # stopped by a signal handler, within a call
            self.endpoint.first.wait(self.endpoint.first.closed, limit, whole=True)

    def _order(self, order: StopOrder) -> None:
        with contextlib.suppress(ChannelClosedError):  # ended already: it need not be told
            self.instance.control.write(encode(order.frame()))

    def _force(self, timeout: float | None) -> None:
        """SIGTERM, then SIGKILL; that it came to this is a lifecycle error."""
        try:
            self.instance.terminate()
            how = "was ended by SIGTERM"
            if not self.instance.join(TERM_SECONDS):
                how = "was ended by SIGKILL"
                self.instance.kill()
                self.instance.join(KILL_SECONDS)
        except RuntimeError as exc:
            how = f"goes on: {exc}"
        error = ActorDiedError(
            f"{self.name} did not stop within {timeout} s and {how}",
            exitcode=self.instance.exitcode,
            maybe_executed=False,
        )
        record = self._exc()
        if record is not None:  # else nobody is left to read it
            with record("cleanup", raises=False, types=ActorDiedError):
                raise error

    def _close(self) -> None:
        self.closed = True
        self._drain_goodbye(time.monotonic() + EXIT_CODE_SECONDS)
        self.endpoint.close()
        self.instance.close()
        unlink(self.address)
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
        code = self.instance.exitcode
        if self.forced or code in (None, 0) or self.failed():
            return None
        return died(self.name, self.instance)


def stop_in_background(actor: OwnedActor) -> None:
    """The handle is gone. This may run anywhere, so it must neither wait nor raise."""
    if not actor.closed and os.getpid() == actor.owner_pid:
        actor.tell_to_stop()
        with contextlib.suppress(RuntimeError):  # too late in the program's end for a thread
            threading.Thread(
                target=actor.stop,
                args=(actor.options.stop_timeout,),
                name=f"remoteobj-stop-{actor.name}",
                daemon=True,
            ).start()


# --- the end of the program ----------------------------------------------------------------


def register_at_exit(actor: OwnedActor) -> None:
    """See to it that an actor is not left when the program ends."""
    _end_with_the_program()
    _actors.add(actor)


_actors: set[OwnedActor] = set()
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
    try:
        for actor in actors:
            actor.stop(actor.options.stop_timeout, after_work=not actor.options.daemon)
    except KeyboardInterrupt:
        for actor in list(_actors):
            actor.kill_now()
        raise


os.register_at_fork(after_in_child=_actors.clear)
