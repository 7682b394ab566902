"""What an owner has of its actor: how it is reached, asked, stopped, and how it died."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from ._birth import Birth
from ._caller.call_options import CallOptions
from ._caller.connection import Connection
from ._caller.endpoint import Endpoint, OwnedParts
from ._engines.contract import ExitCallback, Instance, LaunchSpec
from ._incarnation import Incarnation
from ._inspection import Inspector
from ._lifecycle_errors import LifecycleErrors
from ._options import Options
from ._os.lazy_import import import_lock
from ._program_end import SECOND_CTRL_C, forget_at_exit
from ._protocol.calls import PendingCall
from ._protocol.identity import ActorId
from ._wire.registry import transport_of
from ._wire.transport import Address
from .errors import (
    CallTimeoutError,
    ExitReport,
    NotListeningError,
    RemoteObjError,
)

if TYPE_CHECKING:
    import weakref

    from ._catching.catchers import Except
    from ._listing import Listing
    from ._succession import Keeper, Succession

__all__ = ["OwnedActor", "stop_in_background"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


class OwnedActor:
    """What an owner has of its actor; it may outlive the handle.

    Invariant: nothing here leads to the handle, which would then never be collected.

    Args:
        keeper: decides what becomes of the actor when its process has ended. None: it is dead then.
    """

    line: Succession | None = None
    """Its incarnations, if one may follow another."""

    def __init__(
        self,
        spec: LaunchSpec,
        actor_id: ActorId,
        address: Address,
        options: Options,
        exc: Except,
        listing: Listing,
        keeper: Keeper | None = None,
    ) -> None:
        self.actor_id = actor_id
        self.name = spec.name
        self.options = options._replace(exc=None)
        self.address = address
        self.errors = LifecycleErrors(exc, spec.name, own=options.exc is None)
        self._listing = listing
        self.finalizer: weakref.finalize[..., Any] | None = None
        self._owner_pid = os.getpid()
        self._kept = spec.kept
        self._ending = threading.RLock()
        self._at_it = False
        self.closed = False
        if keeper is None:
            self._only = self._launch(spec, 0)
        else:
            self.line = self._begin_line(spec, keeper)
        self.errors.actor_begins()
        self.endpoint = Endpoint(
            actor_id, address, spec.wire_options, self._parts(), restarts=keeper is not None
        )
        self.endpoint.peer = listing.peer

    def _launch(self, spec: LaunchSpec, number: int) -> Incarnation:
        if number:
            self.errors.begin_anew()
        return Incarnation(number, spec, self.options, self.errors, self._listing, self.check_owner)

    def _begin_line(self, spec: LaunchSpec, keeper: Keeper) -> Succession:
        with import_lock:
            from ._succession import Succession  # for a faster start-up of what is never restarted

        listener = transport_of(self.address).listen(self.address, fresh=True)
        spec = spec._replace(listener=listener)
        try:
            return Succession(
                self.name, partial(self._launch, spec), keeper, listener, self._ending
            )
        except BaseException:
            listener.close()
            raise

    def _parts(self) -> OwnedParts:
        return OwnedParts(
            lambda: self.incarnation.call_errors,
            self.incarnation.connection,
            self._await_incarnation,
            self._explain,
            self._interrupt,
        )

    @property
    def incarnation(self) -> Incarnation:
        """The present one; the last one, when it is dead."""
        return self._only if self.line is None else self.line.current

    @property
    def instance(self) -> Instance:
        return self.incarnation.instance

    @property
    def birth(self) -> Birth:
        return self.incarnation.birth

    @property
    def inspector(self) -> Inspector:
        return self.incarnation.inspector

    @property
    def restarts(self) -> int:
        """How often it has been started again."""
        return self.incarnation.number

    @property
    def ours(self) -> bool:
        """Whether this is the process that owns it, and no forked copy."""
        return os.getpid() == self._owner_pid

    def check_owner(self) -> None:
        """Refuse what only the owner can ask.

        Raises:
            NotListeningError: this process is a forked copy of the owner.
        """
        if not self.ours:
            raise NotListeningError(f"only the owner of {self.name} can ask it that")

    # --- calls -------------------------------------------------------------------------------

    def _await_incarnation(self, deadline: float | None) -> Connection | None:
        """The connection that was there from the first is the way to it. When that has ended, so
        has the actor, and perhaps there is a next one; unless it was we who broke it off: then
        there is the door that others use, and this returns None.

        Raises:
            BaseException: what there is to say of a call of one that is dead.
            CallTimeoutError: `deadline` passed before the next one was there.
        """
        if not self.ours:
            if self.line is None:
                self.birth.look_for_door(self.address, self.instance.is_alive)
            return None
        while True:
            incarnation = self.incarnation
            if incarnation.takes_calls(deadline):
                return incarnation.connection
            if incarnation.only_door_is_left:
                return None
            because = incarnation.connection.closed_because
            assert because is not None, "one that takes no calls has an end"
            if self.line is None:
                raise because(False)
            if not self.line.next_after(incarnation, deadline):
                raise (self.line.why or because)(False)

    def _explain(self, *args: Any) -> CallTimeoutError:
        return self.inspector.explain(*args)

    def _interrupt(self, pending: PendingCall) -> None:
        if self.ours:
            self.incarnation.interrupt(pending)

    # --- being told of its end ---------------------------------------------------------------

    def on_death(self, callback: ExitCallback) -> None:
        """Have the end of each of its processes told to this callback.

        Raises:
            NotListeningError: this process is a forked copy of the owner.
        """
        self.check_owner()
        tell = self._seeing(callback)
        if self.line is None:
            self.instance.on_exit(tell)
        else:
            self.line.on_death(tell)

    def on_end(self, callback: ExitCallback) -> None:
        """The same of its last one."""
        self.check_owner()
        tell = self._seeing(callback)
        if self.line is None:
            self.instance.on_exit(tell)
        else:
            self.line.on_end(tell)

    def _seeing(self, callback: ExitCallback) -> ExitCallback:
        seen = self.errors.seen("work")

        def tell_exit(report: ExitReport) -> object:
            if report.error is not None:
                seen()
            return callback(report)

        return tell_exit

    def wait_for_end(self, timeout: float | None) -> bool:
        """Wait until it has ended for good; False when that did not come in time."""
        if self.line is None or not self.ours:
            return self.instance.wait(timeout)
        return self.line.wait_for_end(timeout)

    def died(self) -> BaseException | None:
        """The error of a death that nobody asked for, no restart has mended and no lifecycle error
        explains."""
        if self.line is None:
            return self.incarnation.died()
        return None if self.line.why is None else self.line.why(False)

    # --- its birth ---------------------------------------------------------------------------

    def ready(self, timeout: float | None = None) -> None:
        """Wait until it is born; raises what `spawn` raises, and then it has ended.

        Raises:
            CallTimeoutError: it is not after `timeout` seconds, and goes on with its start.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if self.line is not None and self.ours:
            self._await_incarnation(deadline)
        birth = self.birth
        if not birth.over:
            self.check_owner()
            if not birth.wait(deadline):
                asked = CallOptions(timeout=timeout)
                raise self.inspector.explain(asked, None, (), "was not ready")
        try:
            birth.check()
        except BaseException:
            if self.restarts == 0:
                self.destroy()
            raise

    def ready_or_ended(self) -> None:
        """The same for somebody who is left without it by any exception: it ends then, too."""
        try:
            self.ready()
        except BaseException:
            self.destroy()
            raise

    def keep_time_of_birth(self) -> None:
        """See to it that it ends if it is not born in time, although nobody may wait for it."""
        self.birth.keep_time(self.destroy)

    def taken_names(self) -> Collection[str]:
        """Those of `OF_SERVING` that the object has, which is known once it is born."""
        self.ready()
        return self.birth.taken_names()

    def wait_for_door(self) -> None:
        """Wait until other processes can call it, or it has ended."""
        if self.ours and self.line is None and not self.birth.over:
            with contextlib.suppress(RemoteObjError):
                self.inspector.status(self.birth.time_left)  # it answers once it can be called

    # --- its end -----------------------------------------------------------------------------

    def destroy(self) -> None:
        """End one that is not born, without its cleanup."""
        self._be_the_last()
        with self._ending:
            if not self.closed and self.ours:
                self.incarnation.destroy()
                self._close()
        self._join()

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
        self._be_the_last()
        with self._ending:
            if self.closed or self._at_it:  # the latter in a signal handler, within stop
                return
            self._at_it = True
            try:
                self.incarnation.end(timeout, after_work, told_at)
                self._close()
            except KeyboardInterrupt as exc:
                setattr(exc, SECOND_CTRL_C, True)
                self.kill_now()
                raise
            finally:
                self._at_it = False
        self._join()

    def kill_now(self) -> None:
        """Ctrl-C has come again, while it was being stopped: whoever presses it has waited long
        enough. Its cleanup has had its time, and what there is of it is lost."""
        if self.closed or not self.ours:
            return
        self._force_end()
        self.incarnation.kill()
        if not self.instance.is_alive():  # a thread goes on
            self._close()

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._force_end()
        self.instance.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._force_end()
        self.instance.kill()

    def _force_end(self) -> None:
        # In this order: who is just starting the next one does the reverse, and kills it.
        self.incarnation.forced = True
        self._be_the_last()
        self.incarnation.forced = True

    def tell_to_stop(self, after_work: bool = False) -> None:
        """Give the order, without waiting for what comes of it. Harmless when done twice."""
        self._be_the_last()
        self.incarnation.tell_to_stop(after_work)

    def _be_the_last(self) -> None:
        """Its owner wants it to end: there is no other incarnation after the present one."""
        if self.line is not None and self.ours:
            self.line.end()

    def _join(self) -> None:
        if self.line is not None and self.ours:
            self.line.join()

    def _tell_at_exit(self) -> None:
        self.tell_to_stop(after_work=not self.options.daemon)

    def _stop_at_exit(self, told_at: float) -> None:
        self.stop(self.options.stop_timeout, not self.options.daemon, told_at)

    def _kill_at_exit(self) -> None:
        self.kill_now()

    def _close(self) -> None:
        was_closed, self.closed = self.closed, True
        self.incarnation.close()
        self.endpoint.close()
        for one in self._kept:
            one.close()
        transport_of(self.address).remove(self.address)
        self._listing.end()
        forget_at_exit(self)
        if self.finalizer is not None:
            self.finalizer.detach()
        if not was_closed:
            self.errors.actor_ended()
        self.errors.close()


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
