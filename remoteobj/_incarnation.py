"""One process of an actor, from its start to its end, as its owner has it: an incarnation.

An actor has one at a time, and a single one unless it is restarted.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from functools import partial

from ._birth import Birth
from ._caller.call_errors import CallErrors
from ._caller.connection import Connection, ReenteredError
from ._caller.shared_reader import OVER
from ._engines.contract import Instance, LaunchSpec
from ._engines.registry import engine_named
from ._inspection import Inspector
from ._lifecycle_errors import LifecycleErrors
from ._listing import Listing
from ._options import Options
from ._os.lazy_import import import_lock
from ._protocol.calls import PendingCall
from ._protocol.frames import encode
from ._protocol.messages import Frame, InterruptOrder, Kind, StopOrder
from ._protocol.requests import observers
from ._wire.channel import ChannelClosedError
from .errors import ActorDiedError, ExitReport, NotListeningError, RemoteObjError

__all__ = ["Incarnation", "error_of_death"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

GRACE_SECONDS = 1.0
"""How long the calls that one runs may hold up the restart of others, for which they may wait."""
TERM_SECONDS = 3.0
"""How long an actor has after SIGTERM, before SIGKILL."""
ANSWER_SECONDS = 0.5
"""How long one that did not stop in time has to say why."""
KILL_SECONDS = 5.0
"""How long the kernel may take to end a process after SIGKILL."""
GIVEN_UP = 64
"""How many calls that nobody waits for the actor is told of: it runs the eldest first."""
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


class Incarnation:
    """A process of an actor; to make one is to start it.

    Args:
        number: how many there were before it.
        check_owner: raises in a forked copy of the owner.

    Raises:
        OSError, UnsendableError, ValueError: it could not be started.
    """

    def __init__(
        self,
        number: int,
        spec: LaunchSpec,
        options: Options,
        errors: LifecycleErrors,
        listing: Listing,
        check_owner: Callable[[], None],
    ) -> None:
        self.number = number
        self.name = spec.name
        self._options = options
        self._errors = errors
        started = time.monotonic()
        self.instance = self._launch(spec)
        self._listing = listing
        listing.begin(self.instance, number)
        self._owner_pid = os.getpid()
        lost = partial(_lost, self._owner_pid, spec.name, self.instance)
        waits_for = self.instance.waits_for
        self.birth = Birth(spec.name, options, started, lost, errors.seen("init"), waits_for)
        self.call_errors = CallErrors(spec.name, self.birth.error, errors.seen("work"))
        self.connection = Connection(
            self.instance.data,
            self.call_errors.lost,
            self.call_errors.goodbye_error,
            renewable=spec.listener is not None,
            peer=listing.peer,
        )
        """The one that was there before the process was."""
        self.birth.expect_by(self.connection, listing)
        self.inspector = Inspector(self.instance, spec, check_owner, self._gone)
        self.forced = False
        """Whether its owner said kill or terminate."""

    def _launch(self, spec: LaunchSpec) -> Instance:
        engine = engine_named(self._options.engine)
        if not observers:
            return engine.launch(spec)
        with import_lock:
            from ._observed_launch import launch_observed  # for a faster start-up: few are observed

        return launch_observed(engine, spec, self.number)

    def _gone(self) -> BaseException:
        if self.instance.is_alive():
            return NotListeningError(f"{self.name} has stopped listening")
        return self.call_errors.lost(False)

    @property
    def only_door_is_left(self) -> bool:
        """Whether it was we who broke the connection off: then there is the way by which others
        come."""
        return self.instance.is_alive() and self.connection.actor_lives_on

    def takes_calls(self, deadline: float | None) -> bool:
        """Whether calls can be sent to it. With one that follows another this waits until it is
        born: if it is not, they are for the next one, and would be lost with it."""
        if self.number and self.connection.closed_because is None:
            self.birth.wait(deadline)
            if self.birth.failed:  # it is about to end
                self.connection.wait(self.connection.closed, deadline, OVER)
        return self.connection.closed_because is None

    def was_born(self) -> bool:
        """Whether its `__init__` has finished; waits until that is known."""
        return self.birth.wait() and not self.birth.failed

    def keep_time(self) -> None:
        """See to it that it ends if it is not born in time, although nobody waits for that."""

        def kill() -> None:
            with contextlib.suppress(RuntimeError):  # a thread can't be killed
                self.instance.kill()

        self.birth.keep_time(kill)

    def reported(self, report: ExitReport) -> ExitReport:
        """What is to be told of its end: if it was ended since it was not born in time, so."""
        if self.birth.late:
            try:
                self.birth.check()
            except BaseException as exc:
                return report._replace(reason="failed", error=exc)
        return report

    def died(self) -> ActorDiedError | None:
        """The error of a death that nobody asked for and no lifecycle error explains."""
        code = self.instance.exitcode
        if self.forced or code == 0 or self._errors.failed() or self.instance.is_alive():
            return None
        if code is None and not self._died_untold():
            return None
        return error_of_death(self.instance)

    def _died_untold(self) -> bool:
        """Whether it died in a place that tells no exit code; a forked copy of the owner knows no
        end of what is no process."""
        return os.getpid() == self._owner_pid and self.instance.exit_report().reason == "died"

    def note_successor(self) -> None:
        """It has ended, and another one will follow it."""
        self._listing.change("restarting")

    # --- orders ----------------------------------------------------------------------------

    def tell_to_stop(self, after_work: bool = False) -> None:
        """Give the order, without waiting for what comes of it. Harmless when done twice."""
        given_up = tuple(self.connection.given_up()[:GIVEN_UP])
        broken_off = self.connection.actor_lives_on
        fulfil = self._options.fulfill_final
        self._listing.change("stopping")
        self.say(StopOrder(fulfil, after_work, broken_off, given_up).frame())

    def interrupt(self, pending: PendingCall) -> None:
        """Have a call interrupted, if it runs, without waiting for that."""
        order = InterruptOrder(b"", pending.call_id)
        self.say(Frame(Kind.INTERRUPT, 0, order.payload()))

    def say(self, frame: Frame) -> None:
        """Tell it something, without waiting for what comes of it."""
        with contextlib.suppress(ChannelClosedError):  # ended already: it need not be told
            self.instance.control.write(encode(frame))

    # --- its end ---------------------------------------------------------------------------

    def end(self, timeout: float | None, after_work: bool, told_at: float | None) -> None:
        """End it in order; by force when that takes too long. Then it has ended, unless it is a
        thread.

        `after_work` lets its work loop come to its own end first, however long that takes. The time
        counts from `told_at`, by `time.monotonic()`, if it was told to stop before.
        """
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

    def retire(self, timeout: float | None) -> None:
        """End it so that another one can follow, together with others that are restarted.

        In order; but what it runs may wait for one of those others, and is dropped after a while.
        One that is not born is ended at once.
        """
        if not self.birth.seems_over():
            self.destroy()
            return
        told_at = time.monotonic()
        patience = told_at + (GRACE_SECONDS if timeout is None else min(GRACE_SECONDS, timeout / 2))
        self.tell_to_stop()
        if self.instance.runs_by_itself:
            self._drain_goodbye(patience)
        if not self.inspector.wait_for_end(max(0.0, patience - time.monotonic())):
            with contextlib.suppress(RuntimeError):  # a thread can't be ended
                self.instance.terminate()
        self.end(timeout, False, told_at)

    def destroy(self) -> None:
        """End one that is not born, without its cleanup."""
        self.record_unborn()
        self.forced = True
        self.say(StopOrder(fulfil=False).frame())
        if not self.instance.wait(EXIT_CODE_SECONDS if self.birth.ends_by_itself else 0.0):
            self.kill()

    def kill(self) -> None:
        """End it now, and wait for that; a thread can't be killed, only told."""
        self.forced = True
        with contextlib.suppress(RuntimeError):
            self.instance.kill()
            self.instance.wait(KILL_SECONDS)

    def close(self) -> None:
        """Let go of what the owner holds of one that has ended."""
        self._drain_goodbye(time.monotonic() + EXIT_CODE_SECONDS)
        self.birth.close()
        self.record_unborn()
        self.connection.close()
        self.inspector.close()
        self.instance.release()

    def record_unborn(self) -> None:
        """Record why it was not born, unless that is known to somebody, or recorded over there, or
        its owner's own doing. Of one that was to follow another, whoever restarts it is told."""
        if self.number or self.forced or self._errors.failed():
            return
        if (error := self.birth.untold_error()) is not None:
            self._errors.record("init", error)

    def _drain_goodbye(self, limit: float | None) -> None:
        """Take in what the actor still says: it ends sooner, and no reply is lost."""
        with contextlib.suppress(ReenteredError):  # stopped by a signal handler, within a call
            self.connection.wait(self.connection.closed, limit, OVER)

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
        self._errors.record("cleanup", error)

    def _kept_by(self) -> str:
        """The threads that keep it from ending, as a part of the error, if it is these."""
        with contextlib.suppress(RemoteObjError):
            if threads := self.inspector.status(ANSWER_SECONDS).waits_for:
                names = ", ".join(map(repr, threads))
                return f": it waited for its thread {names}; end it in time, or make it a daemon"
        return ""
