"""Which children are stopped and started again when one of them fails: the rules, without I/O.

::

    failed(c) ──> others to stop, the last started first       one-for-one    none
                  children to start, the first started first   one-for-all    all
                                                               rest-for-one   those after c

A child that is to be started is *due*. It is started only while all that were started before it run
again, unless the strategy is one-for-one, whose children have nothing to do with each other. When a
start fails, the child and those after it stay due, until that failure has been counted.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, get_args

if TYPE_CHECKING:
    from ._exit_report import ExitReport

__all__ = ["Restart", "RestartPlan", "Strategy", "check_strategy", "is_restarted_after"]

Strategy = Literal["one-for-one", "one-for-all", "rest-for-one"]
"""Which children are restarted when one of them fails: see `Supervisor`."""
Restart = Literal["never", "on-failure", "always"]
"""After which ends a child is restarted. OTP calls them temporary, transient and permanent."""

C = TypeVar("C", bound=Hashable)


def check_strategy(strategy: str) -> None:
    """Refuse what is no strategy.

    Raises:
        ValueError: there is none of this name.
    """
    if strategy not in (known := get_args(Strategy)):
        raise ValueError(f"there is no strategy {strategy!r}; there are {', '.join(known)}")


def is_restarted_after(restart: Restart, report: ExitReport) -> bool:
    """Whether a child of this type is restarted after this end, to which nobody has told it.

    >>> from remoteobj import ExitReport
    >>> ended, crashed = ExitReport(exitcode=0, reason="stopped"), ExitReport(exitcode=-11)
    >>> [is_restarted_after("on-failure", report) for report in (ended, crashed)]
    [False, True]
    """
    return restart == "always" or (restart == "on-failure" and report.reason != "stopped")


class RestartPlan(Generic[C]):
    """The children of one supervisor, in the order in which they were started, and what is due.

    >>> plan = RestartPlan[str]("rest-for-one")
    >>> for name in ("database", "cache", "server"):
    ...     plan.add(name)
    >>> plan.failed("cache")
    ['server']
    >>> plan.next_start()
    'cache'
    >>> plan.started("cache")
    >>> plan.next_start()
    'server'
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._children: list[C] = []
        self._due: list[C] = []
        self._uncounted: set[C] = set()
        """Those whose start has failed, which `failed` has not been told of. They are due."""

    @property
    def children(self) -> list[C]:
        """All of them, the first started first."""
        return list(self._children)

    def add(self, child: C) -> None:
        """It has been started, as the last."""
        self._children.append(child)

    def remove(self, child: C) -> None:
        """It is no child any more; harmless when it is none."""
        for some in (self._children, self._due):
            if child in some:
                some.remove(child)
        self._uncounted.discard(child)

    def is_due(self, child: C) -> bool:
        """Whether it is to be started anyway, so that another failure of it tells nothing new."""
        return child in self._due and child not in self._uncounted

    def failed(self, child: C) -> list[C]:
        """A failure of it has been counted: those that must be stopped now, in this order."""
        self._uncounted.discard(child)
        group = self._group(child)
        stopped = [one for one in reversed(group) if one != child and one not in self._due]
        if self._strategy == "one-for-one":  # a child that can't start does not hold up the others
            self._due = [one for one in self._due if one != child] + group
        else:
            self._due = [one for one in self._children if one in group or one in self._due]
        return stopped

    def _group(self, child: C) -> list[C]:
        if self._strategy == "one-for-all":
            return self.children
        at = self._children.index(child)
        return self._children[at : at + 1 if self._strategy == "one-for-one" else None]

    def all_due(self) -> None:
        """All are to be started, whatever was due before."""
        self._due = self.children
        self._uncounted.clear()

    def next_start(self) -> C | None:
        """The child to be started now, if there is one."""
        for one in self._due:
            if one not in self._uncounted:
                return one
            if self._strategy != "one-for-one":
                return None
        return None

    def started(self, child: C) -> None:
        """It runs."""
        self._due.remove(child)

    def start_failed(self, child: C) -> None:
        """It does not; `failed` will be told of that."""
        self._uncounted.add(child)
