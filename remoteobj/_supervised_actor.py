"""An actor as a child of a supervisor."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from .errors import ActorDiedError, ExitReport, RestartLimitError

if TYPE_CHECKING:
    from ._ownership import OwnedActor
    from ._restart_strategy import Restart
    from ._succession import Succession
    from ._supervision import Supervision

__all__ = ["SupervisedActor"]

END_SECONDS: Final = 5.0
"""How long a process may take to end that has said that it is not born, or was killed."""


class SupervisedActor:
    """An actor as a `Child`; and the `Keeper` of its incarnations, which are its lives.

    It leads to no handle: those are kept by the `Supervisor`.
    """

    _actor: OwnedActor
    _line: Succession

    def __init__(self, supervision: Supervision, restart: Restart) -> None:
        self.restart: Restart = restart
        self._supervision = supervision
        self._lock = threading.Lock()
        self._known = False
        """Whether the supervision knows of it."""
        self._early: tuple[int, ExitReport] | None = None
        """A failure that came before that."""

    def owns(self, actor: OwnedActor) -> None:
        """This is the actor. It is born."""
        assert actor.line is not None, "an actor with a keeper can be restarted"
        self._actor, self._line, self.name = actor, actor.line, actor.name

    def is_known(self) -> None:
        """The supervision knows of it from now on."""
        with self._lock:
            self._known = True
            early = self._early
        if early is not None:
            self._supervision.child_failed(self, *early)
        self._line.on_end(lambda _: self._supervision.child_over(self))

    def ended(self, line: Succession, report: ExitReport) -> None:
        """As `Keeper` says."""
        if not line.current.was_born():
            return  # `start` sees to it
        with self._lock:
            if not self._known:
                self._early = line.restarts, report
                return
        self._supervision.child_failed(self, line.restarts, report)

    # --- as a child ------------------------------------------------------------------------

    @property
    def life(self) -> int:
        return self._line.restarts

    @property
    def over(self) -> bool:
        return self._line.over

    def is_down(self, life: int) -> bool:
        current = self._line.current
        return current.number == life and not current.instance.is_alive()

    def start(self) -> ExitReport | None:
        line, seconds = self._line, self._actor.options.spawn_timeout
        if not line.await_end_of_present(seconds):
            error = RuntimeError(
                f"{self.name} still runs {seconds} s after it was to be started again: a thread "
                "can't be ended, only told to"
            )
            return ExitReport(self.name, reason="failed", error=error)
        report = line.renew()
        current = line.current
        if report is not None or line.over:
            return report
        if current.was_born():
            return None
        current.instance.wait(END_SECONDS)
        return current.reported(current.instance.exit_report())._replace(reason="failed")

    def retire(self) -> None:
        self._line.retire(self._actor.options.stop_timeout)

    def stop(self, why: RestartLimitError | None) -> None:
        if why is not None:
            self._line.give_up(partial(_stopped_with_others, self._actor, why))
        if self._line.restarts and not self._actor.birth.seems_over():
            self._actor.destroy()  # there is nothing yet that would be lost
        else:
            self._actor.stop(self._actor.options.stop_timeout)

    def kill(self) -> None:
        self._actor.kill_now()


def _stopped_with_others(
    actor: OwnedActor, why: RestartLimitError, maybe_executed: bool
) -> ActorDiedError:
    """The error of a call of a child whose supervisor has failed."""
    whether = "may have been executed" if maybe_executed else "was not executed"
    return ActorDiedError(
        f"{actor.name} is dead; the call {whether}: {why}",
        report=actor.instance.exit_report(),
        maybe_executed=maybe_executed,
        reports=why.reports,
    )
