"""Whether and when an actor that stands alone is restarted: what its options say."""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from ._options import Options
from ._restart_limit import RestartLimit, is_failure
from .errors import ActorDiedError, ExitReport

if TYPE_CHECKING:
    from ._succession import Succession

__all__ = ["RestartPolicy"]

LONGEST_PAUSE: Final = 10.0
"""Seconds between a failure and the restart, at most."""
JITTER: Final = 0.25
"""By which part of it a pause is longer or shorter, so that many who failed at once, since what
they all use was gone, do not all come back at once."""


class RestartPolicy:
    """The `Keeper` of an actor by the options `restart`, `max_restarts`, `restart_window` and
    `backoff`."""

    def __init__(self, options: Options) -> None:
        self._always = options.restart == "always"
        self._limit = RestartLimit(options.max_restarts, options.restart_window)
        self._backoff = options.backoff

    def ended(self, line: Succession, report: ExitReport) -> None:
        """Restart it, if that is to be."""
        failed: ExitReport | None = report
        while failed is not None:
            if not (self._always or is_failure(failed)):
                line.give_up()
            elif not self._limit.allows_after(failed, time.monotonic()):
                line.give_up(partial(self._beyond, failed))
            elif line.pause(self.pause_before_next()):
                failed = line.renew()
                continue
            return

    def pause_before_next(self) -> float:
        """Seconds until the restart that follows the last failure: twice as many each time."""
        doubled = self._backoff * 2.0 ** min(len(self._limit.reports) - 1, 60)
        return min(LONGEST_PAUSE, doubled * random.uniform(1 - JITTER, 1 + JITTER))

    def _beyond(self, report: ExitReport, maybe_executed: bool) -> ActorDiedError:
        limit = self._limit
        error = ActorDiedError.from_exit(report, maybe_executed)
        died = ActorDiedError(
            f"{error}\n\nIt stays dead: it has failed {len(limit.reports)} times within "
            f"{limit.within:g} s, and may be restarted {limit.max_restarts} times (max_restarts, "
            "restart_window)",
            report=report,
            maybe_executed=maybe_executed,
            reports=limit.reports,
        )
        died.__cause__ = error.__cause__
        return died
