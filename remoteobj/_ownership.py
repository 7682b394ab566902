"""What an owner has of its actor: how it is reached, asked, stopped, and how it died."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from ._birth import Birth
from ._caller.call_errors import CallErrors
from ._caller.call_options import CallOptions
from ._caller.connection import Connection, ReenteredError
from ._caller.endpoint import Endpoint, OwnedParts
from ._caller.shared_reader import OVER
from ._catching.catchers import Except
from ._catching.unseen import Witness, tell, witness_of
from ._engines.contract import ExitCallback, Instance, LaunchSpec
from ._engines.registry import engine_named
from ._inspection import Inspector
from ._options import Options
from ._program_end import forget_at_exit
from ._protocol.calls import PendingCall
from ._protocol.frames import encode
from ._protocol.identity import ActorId
from ._protocol.messages import Frame, InterruptOrder, Kind, StopOrder
from ._wire.channel import ChannelClosedError
from ._wire.registry import transport_of
from ._wire.transport import Address
from .errors import (
    ActorDiedError,
    ExitReport,
    NotListeningError,
    RemoteObjError,
)

__all__ = [
    "SECOND_CTRL_C",
    "OwnedActor",
    "error_of_death",
    "stop_in_background",
]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

TERM_SECONDS = 3.0
"""How long an actor has after SIGTERM, before SIGKILL."""
ANSWER_SECONDS = 0.5
"""How long one that did not stop in time has to say why."""
KILL_SECONDS = 5.0
"""How long the kernel may take to end a process after SIGKILL."""
GIVEN_UP = 64
"""How many calls that nobody waits for the actor is told of: it runs the eldest first."""
SECOND_CTRL_C = "_remoteobj_impatient"
"""Marks the Ctrl-C that came while an actor was being stopped: those outside it need not wait."""
EXIT_CODE_SECONDS = 1.0
"""How long the exit code of a process may take after its connection broke."""


def error_of_death(instance: Instance, maybe_executed: bool | None = None) -> ActorDiedError:
    """The error of a death, with all that is known of it."""
    instance.wait(EXIT_CODE_SECONDS)
    return ActorDiedError.from_exit(instance.exit_report(), maybe_executed)


def _lost(owner_pid: int, name: str, instance: Instance, maybe_executed: bool) -> ActorDiedError:
    """The error of a call: the owner can tell how the actor died, and a forked copy of it can't."""
    if os.getpid() == owner_pid:
        return error_of_death(instance, maybe_executed)
    return ActorDiedError.from_exit(ExitReport(name), maybe_executed)


def _is_seen(witness: Witness | None, group: str) -> Callable[[], object]:
    """To be called when what is recorded in this group is told otherwise than by the `Except`."""
    return lambda: None if witness is None else witness.see_last(group)


class OwnedActor:
    """What an owner has of its actor; it may outlive the handle.

    Invariant: nothing here leads to the handle, which would then never be collected. An
    exception leads to whoever raised it last, so the `Except` is the handle's, not ours.
    """

    def __init__(
        self,
        spec: LaunchSpec,
        actor_id: ActorId,
        address: Address,
        options: Options,
        exc: Except,
    ) -> None:
        self.actor_id = actor_id
        self.name = spec.name
        self.options = options._replace(exc=None)
        self.address = address
        self._exc = weakref.ref(exc)
        self._own_exc = options.exc is None
        self._errors_before = 0 if self._own_exc else len(exc)
        self._witness = witness_of(exc, spec.name if self._own_exc else None)
        self.finalizer: weakref.finalize[..., Any] | None = None
        self._owner_pid = os.getpid()
        started = time.monotonic()
        self.instance = engine_named(options.engine).launch(spec)
        if self._witness is not None:
            self._witness.actor_begins()
        lost = partial(_lost, self._owner_pid, self.name, self.instance)
        self.birth = Birth(self.name, self.options, started, lost, _is_seen(self._witness, "init"))
        self._errors = CallErrors(self.name, self.birth.error, _is_seen(self._witness, "work"))
        self._first = Connection(self.instance.data, self._errors.lost, self._errors.goodbye_error)
        self.birth.expect_by(self._first)
        self.inspector = Inspector(self.instance, spec, self.check_owner, self._gone)
        self.endpoint = Endpoint(actor_id, address, spec.wire_options, self._parts())
        self.forced = False  # its owner said kill or terminate
        self._ending = threading.RLock()
        self._at_it = False
        self.closed = False

    def _parts(self) -> OwnedParts:
        return OwnedParts(
            self._errors,
            self._first,
            self._check_connecting,
            self.inspector.explain,
            self._interrupt,
        )

    @property
    def ours(self) -> bool:
        """Whether this is the process that owns it, and no forked copy."""
        return os.getpid() == self._owner_pid

    def on_exit(self, callback: ExitCallback) -> None:
        """Have its end told to this callback.

        Raises:
            NotListeningError: this process is a forked copy of the owner.
        """
        self.check_owner()
        seen = _is_seen(self._witness, "work")

        def tell_exit(report: ExitReport) -> object:
            if report.error is not None:
                seen()
            return callback(report)

        self.instance.on_exit(tell_exit)

    def check_owner(self) -> None:
        """Refuse what only the owner can ask.

        Raises:
            NotListeningError: this process is a forked copy of the owner.
        """
        if not self.ours:
            raise NotListeningError(f"only the owner of {self.name} can ask it that")

    def _check_connecting(self) -> None:
        """The connection that was there from the first is the way to it. When that has ended, so
        has the actor; unless it was we who broke it off: then there is the door that others use."""
        if not self.ours:
            self.birth.look_for_door(self.address, self.instance.is_alive)
            return
        if self._first.closed_because is None:
            return
        if not (self.instance.is_alive() and self._first.actor_lives_on):
            raise self._first.closed_because(False)

    def _gone(self) -> BaseException:
        if self.instance.is_alive():
            return NotListeningError(f"{self.name} has stopped listening")
        return self._errors.lost(False)

    # --- its birth -----------------------------------------------------------------------

    def ready(self, timeout: float | None = None) -> None:
        """Wait until it is born; raises what `spawn` raises, and then it has ended.

        Raises:
            CallTimeoutError: it is not after `timeout` seconds, and goes on with its start.
        """
        if not self.birth.over:
            self.check_owner()
            if not self.birth.wait(None if timeout is None else time.monotonic() + timeout):
                asked = CallOptions(timeout=timeout)
                raise self.inspector.explain(asked, None, (), "was not ready")
        try:
            self.birth.check()
        except BaseException:
            self.destroy()
            raise

    def ready_or_ended(self) -> None:
        """The same for somebody who is left without it by any exception: it ends then, too."""
        try:
            self.ready()
        except BaseException:
            self.destroy()
            raise

    def taken_names(self) -> Collection[str]:
        """Those of `OF_SERVING` that the object has, which is known once it is born."""
        self.ready()
        return self.birth.taken_names()

    def wait_for_door(self) -> None:
        """Wait until other processes can call it, or it has ended."""
        if self.ours and not self.birth.over:
            with contextlib.suppress(RemoteObjError):
                self.inspector.status(self.birth.time_left)  # it answers once it can be called

    def destroy(self) -> None:
        """End one that is not born, without its cleanup."""
        with self._ending:
            if self.closed or not self.ours:
                return
            self._record_unborn()
            self.forced = True
            self._order(StopOrder(fulfil=False))
            if not self.instance.wait(EXIT_CODE_SECONDS if self.birth.ends_by_itself else 0.0):
                with contextlib.suppress(RuntimeError):  # a thread can't be killed, only told
                    self.instance.kill()
                    self.instance.wait(KILL_SECONDS)
            self._close()

    def _record_unborn(self) -> None:
        """Record why it was not born, unless that is known to somebody, or recorded over there, or
        its owner's own doing."""
        error = None if self.forced or self.failed() else self.birth.untold_error()
        if error is not None:
            self._record("init", error)

    def stop(
        self,
        timeout: float | None = None,
        after_work: bool = False,
        told_at: float | None = None,
    ) -> None:
        """End it in order; by force when that takes too long. Then it has ended.

        `after_work` lets its work loop come to its own end first, however long that takes. The time
        counts from `told_at`, by `time.monotonic()`, if it was told to stop before.
        """
        if not self.ours:
            return
        with self._ending:
            if self.closed or self._at_it:  # the latter in a signal handler, within stop
                return
            self._at_it = True
            try:
                self._end(timeout, after_work, told_at)
            except KeyboardInterrupt as exc:
                setattr(exc, SECOND_CTRL_C, True)
                self.kill_now()
                raise
            finally:
                self._at_it = False

    def _end(self, timeout: float | None, after_work: bool, told_at: float | None) -> None:
        begun = time.monotonic() if told_at is None else told_at
        self.tell_to_stop(after_work)
        limit = None if after_work or timeout is None else begun + timeout
        if not self.birth.over:
            self.birth.wait(limit)
            if self.birth.late:
                self.destroy()
                return
        if self.instance.runs_by_itself:
            self._drain_goodbye(limit)
        left = None if limit is None else max(0.0, limit - time.monotonic())
        if not self.inspector.wait_for_end(left):
            self._force(timeout)
        self._close()

    def kill_now(self) -> None:
        """Ctrl-C has come again, while it was being stopped: whoever presses it has waited long
        enough. Its cleanup has had its time, and what there is of it is lost."""
        if self.closed or not self.ours:
            return
        self.forced = True
        with contextlib.suppress(RuntimeError):  # a thread goes on
            self.instance.kill()
            self.instance.wait(KILL_SECONDS)
            self._close()

    def tell_to_stop(self, after_work: bool = False) -> None:
        """Give the order, without waiting for what comes of it. Harmless when done twice."""
        given_up = tuple(self._first.given_up()[:GIVEN_UP])
        broken_off = self._first.actor_lives_on
        self._order(StopOrder(self.options.fulfill_final, after_work, broken_off, given_up))

    def _tell_at_exit(self) -> None:
        self.tell_to_stop(after_work=not self.options.daemon)

    def _stop_at_exit(self, told_at: float) -> None:
        self.stop(self.options.stop_timeout, not self.options.daemon, told_at)

    def _kill_at_exit(self) -> None:
        self.kill_now()

    def _drain_goodbye(self, limit: float | None) -> None:
        """Take in what the actor still says: it ends sooner, and no reply is lost."""
        with contextlib.suppress(ReenteredError):  # stopped by a signal handler, within a call
            self._first.wait(self._first.closed, limit, OVER)

    def _interrupt(self, pending: PendingCall) -> None:
        """Have a call interrupted, if it runs, without waiting for that."""
        if self.ours:
            order = InterruptOrder(b"", pending.call_id)
            self._say(Frame(Kind.INTERRUPT, 0, order.payload()))

    def _order(self, order: StopOrder) -> None:
        self._say(order.frame())

    def _say(self, frame: Frame) -> None:
        with contextlib.suppress(ChannelClosedError):  # ended already: it need not be told
            self.instance.control.write(encode(frame))

    def _force(self, timeout: float | None) -> None:
        """SIGTERM, then SIGKILL; that it came to this is a lifecycle error."""
        why = self._kept_by()
        try:
            self.instance.terminate()
            how = "was ended by SIGTERM"
            if not self.instance.wait(TERM_SECONDS):
                how = "was ended by SIGKILL"
                self.instance.kill()
                self.instance.wait(KILL_SECONDS)
        except RuntimeError as exc:
            how = f"goes on: {exc}"
        error = ActorDiedError(
            f"{self.name} did not stop within {timeout} s and {how}{why}",
            report=self.instance.exit_report(),
            maybe_executed=False,
        )
        self.forced = True
        self._record("cleanup", error)

    def _record(self, group: str, error: BaseException) -> None:
        record = self._exc()
        if record is not None:
            with record(group, raises=False, types=BaseException):
                raise error
        else:  # nobody is left to read it
            tell(str(error), error)

    def _kept_by(self) -> str:
        """The threads that keep it from ending, as a part of the error, if it is these."""
        with contextlib.suppress(RemoteObjError):
            if threads := self.inspector.status(ANSWER_SECONDS).waits_for:
                names = ", ".join(map(repr, threads))
                return f": it waited for its thread {names}; end it in time, or make it a daemon"
        return ""

    def _close(self) -> None:
        was_closed, self.closed = self.closed, True
        self._drain_goodbye(time.monotonic() + EXIT_CODE_SECONDS)
        self.birth.close()
        self._record_unborn()
        self.endpoint.close()
        self.inspector.close()
        self.instance.release()
        transport_of(self.address).remove(self.address)
        forget_at_exit(self)
        if self.finalizer is not None:
            self.finalizer.detach()
        if self._witness is not None and not was_closed:
            self._witness.actor_ended()
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
        return error_of_death(self.instance)


def stop_in_background(actor: OwnedActor) -> None:
    """The handle is gone. This may run anywhere, so it must neither wait nor raise."""
    if not actor.closed and actor.ours:
        actor.tell_to_stop()
        with contextlib.suppress(RuntimeError):  # too late in the program's end for a thread
            threading.Thread(
                target=actor.stop,
                args=(actor.options.stop_timeout,),
                name=f"remoteobj-stop-{actor.name}",
                daemon=True,
            ).start()
