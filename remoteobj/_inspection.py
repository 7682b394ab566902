"""What an owner asks its actor beside its calls: the actor's control thread answers at once.

Or else, where code in C holds the interpreter over there, faulthandler does, for the stacks alone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ._actor.status import Explanation, Status
from ._caller.call_options import CallOptions
from ._caller.control_client import ControlClient
from ._engines.contract import Instance, LaunchSpec
from ._os.lazy_import import import_lock
from ._pickling.exceptions import pack_error
from ._protocol.calls import PendingCall
from ._protocol.messages import INIT_ID, InterruptOrder, Kind
from .errors import CallTimeoutError, RemoteObjError

if TYPE_CHECKING:
    from ._caller.log_intake import LogIntake

__all__ = ["Inspector"]

STACK_SECONDS = 2.0
"""How long a process may take to write its stacks at a signal."""
EXPLAIN_SECONDS = 0.25
"""How long it may take to find out why a call takes so long."""
ANSWER_SECONDS = 0.15
"""How much of that the actor itself has to say so; the rest is for faulthandler."""

DEBUGGED_SECONDS = 0.5
"""How long one that has not ended in time may take to say that somebody debugs it."""


class Inspector:
    """The questions of one owner.

    Args:
        check_owner: raises in a forked copy of the owner, which has no part in its control channel.
        gone: makes the error for when there will be no answer.
    """

    def __init__(
        self,
        instance: Instance,
        spec: LaunchSpec,
        check_owner: Callable[[], None],
        gone: Callable[[], BaseException],
    ) -> None:
        self._instance = instance
        self._name = spec.name
        self._check_owner = check_owner
        self._gone = gone
        self._client = ControlClient(instance.control, spec.name, gone)
        self._log_intake: LogIntake | None = None
        if spec.process_options.logging is not None:
            self._take_records()

    def _take_records(self) -> None:
        """Have the records of `logging` handled that the actor sends."""
        with import_lock:
            from ._caller.log_intake import LogIntake  # at start-up only where logging is used

        self._log_intake = LogIntake(self._client)

    def close(self) -> None:
        """The actor has ended: what it has said last is heard."""
        intake, self._log_intake = self._log_intake, None
        if intake is not None:
            intake.close()
        self._client.close()

    def status(self, timeout: float | None) -> Status:
        """What the actor is doing."""
        return Status.of(self._ask(Kind.STATUS, b"", timeout))

    def stack(self, timeout: float | None) -> str:
        """The stacks of its threads: as it tells them, or else as faulthandler does."""
        try:
            return str(self._ask(Kind.STACK, b"", timeout))
        except CallTimeoutError:
            try:
                return self._instance.stacks(STACK_SECONDS)
            except RuntimeError as exc:
                if not self._instance.is_alive():
                    raise self._gone() from exc
                raise CallTimeoutError(str(exc)) from exc

    def interrupt(self, error: BaseException, timeout: float | None, number: int = 0) -> bool:
        """Raise something in what it runs, or in the call of this number; False: it does not run
        it."""
        order = InterruptOrder(pack_error(error), number=number)
        return bool(self._ask(Kind.INTERRUPT, order.payload(), timeout))

    def observe(self, order: bytes, timeout: float | None) -> None:
        """Have its calls observed from now on, or no more."""
        self._ask(Kind.OBSERVE, order, timeout)

    def wait_for_end(self, seconds: float | None) -> bool:
        """Wait for its end; False when that did not come in time, and nobody debugs it."""
        while not self._instance.wait(seconds):
            if not self._is_debugged():
                return False
            seconds = max(seconds or 0.0, 1.0)  # so long when somebody has debugged it
        return True

    def _is_debugged(self) -> bool:
        with contextlib.suppress(RemoteObjError):
            return self.status(DEBUGGED_SECONDS).debugged
        return False

    def explain(
        self,
        options: CallOptions,
        pending: PendingCall | None,
        ahead: Sequence[PendingCall],
        what: str = "did not answer",
    ) -> CallTimeoutError:
        """The error of a call that took too long: with what the actor is doing, this very call
        perhaps, and which calls it would have begun first of those `ahead`.

        With `options.interrupt` this call is interrupted then, if it runs. All of it takes at most
        `EXPLAIN_SECONDS`.
        """
        end = time.monotonic() + EXPLAIN_SECONDS
        message = f"{self._name} {what} within {options.timeout} s"
        error = TimeoutError(f"interrupted after {options.timeout} s")
        interrupts = options.interrupt and pending is not None
        order = InterruptOrder(
            pack_error(error) if interrupts else b"",
            INIT_ID if pending is None else pending.call_id,
        )
        try:
            told = Explanation(*self._ask(Kind.EXPLAIN, order.payload(), ANSWER_SECONDS))
        except CallTimeoutError:
            queued, stack = _described(ahead), None
            with contextlib.suppress(RuntimeError):
                stack = self._instance.stacks(max(0.0, end - time.monotonic()))
            return CallTimeoutError.while_running(
                message, running=None, remote_stack=stack, queued_ahead=queued
            )
        except RemoteObjError:  # it has ended: nothing is to be said of it
            return CallTimeoutError.while_running(
                message, running=None, queued_ahead=_described(ahead)
            )
        return _explained(message, told, pending, ahead)

    def _ask(self, kind: int, payload: bytes, timeout: float | None) -> Any:
        self._check_owner()
        return self._client.request(kind, payload, timeout)


def _explained(
    message: str,
    told: Explanation,
    pending: PendingCall | None,
    ahead: Sequence[PendingCall],
) -> CallTimeoutError:
    """The error of a call of which its actor has told what it knows."""
    status = Status.of(told.status)
    running, age = status.call, status.age
    queued = [call for call in ahead if call.call_id not in told.begun]
    if told.age is not None and pending is not None:
        [running], age, queued = _described([pending]), told.age, []
    beside = [call.call for call in status.calls]
    if running in beside:
        beside.remove(running)
    return CallTimeoutError.while_running(
        message,
        running=running,
        age=age,
        remote_stack=told.stack,
        queued_ahead=_described(queued),
        running_beside=beside,
    )


def _described(calls: Sequence[PendingCall]) -> list[str]:
    with import_lock:
        from ._protocol.descriptions import describe_request  # for a faster start-up

    return [describe_request(call.sent) for call in calls]
