"""How often something may fail before it is no longer started again: rules, without I/O."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .errors import ExitReport

__all__ = ["MODES", "RestartLimit", "check_values", "is_failure"]

MODES: Final = ("never", "on-failure", "always")
"""What the option `restart` may be."""


def check_values(
    engine: str, restart: str, max_restarts: int, restart_window: float, backoff: float
) -> None:
    """Refuse what can't be right among the options of restarts.

    Raises:
        TypeError, ValueError: with what it is, and what it may be.
    """
    if restart not in MODES:
        raise ValueError(f"restart {restart!r} is none of {', '.join(MODES)}")
    RestartLimit(max_restarts, restart_window)
    if isinstance(backoff, bool) or not isinstance(backoff, int | float):
        raise TypeError(f"backoff is a number of seconds, not {backoff!r}")
    if not 0 <= backoff < math.inf:
        raise ValueError(f"backoff must be some seconds, or 0: {backoff!r}")
    if restart != "never" and engine == "inline":
        raise ValueError(
            "an inline actor has no process or thread of its own that could end and be restarted; "
            'use engine="process" or "thread"'
        )


def is_failure(report: ExitReport) -> bool:
    """Whether it ended otherwise than in order, or since its owner wanted it."""
    return report.reason in ("died", "failed")


class RestartLimit:
    """Allows `max_restarts` restarts within any `within` seconds.

    It is told of each failure, with the time by a clock that never goes back. A failure counts as
    long as it is no older than `within` seconds, and the one that makes more than `max_restarts` of
    them is not followed by a restart. It is not thread-safe: whoever restarts has it to himself.

    >>> from remoteobj import ExitReport
    >>> limit = RestartLimit(max_restarts=1, within=60.0)
    >>> first, second = ExitReport("a", exitcode=1), ExitReport("a", exitcode=2)
    >>> limit.allows_after(first, now=0.0), limit.allows_after(second, now=60.0)
    (True, False)
    >>> [report.exitcode for report in limit.reports]
    [1, 2]
    >>> limit.allows_after(first, now=120.5)
    True
    """

    def __init__(self, max_restarts: int, within: float) -> None:
        """Begin with no failure.

        Raises:
            TypeError: `max_restarts` is no whole number, or `within` is no number.
            ValueError: `max_restarts` is below 0, or `within` is not above 0.
        """
        if isinstance(max_restarts, bool) or not isinstance(max_restarts, int):
            raise TypeError(f"max_restarts is a whole number, not {max_restarts!r}")
        if isinstance(within, bool) or not isinstance(within, int | float):
            raise TypeError(f"the time within which restarts count is in seconds, not {within!r}")
        if max_restarts < 0:
            raise ValueError(f"max_restarts can't be below 0, as {max_restarts} is")
        if not within > 0:  # which a NaN is not either
            raise ValueError(f"restarts count within a time above 0 seconds, not within {within}")
        self.max_restarts = max_restarts
        self.within = within
        self._failures: deque[tuple[float, ExitReport]] = deque()

    def allows_after(self, report: ExitReport, now: float) -> bool:
        """Count a failure, and return whether a restart may follow it."""
        self._failures.append((now, report))
        while now - self._failures[0][0] > self.within:
            self._failures.popleft()
        return len(self._failures) <= self.max_restarts

    @property
    def reports(self) -> tuple[ExitReport, ...]:
        """Those of the failures that counted at the last one, the oldest first."""
        return tuple(report for _, report in self._failures)
