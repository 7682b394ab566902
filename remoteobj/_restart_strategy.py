"""Which children are stopped and started again when one of them fails: the rules, without I/O.

::

    failed(c) ──> others to stop, the last started first       one-for-one    none
                  children to start, the first started first   one-for-all    all
                                                               rest-for-one   those after c

A child that is to be started is *due*. Its start begins only when none before it is due any more,
unless the strategy is one-for-one, whose children have nothing to do with each other. When a start
fails, the child and those after it stay due, and wait until that failure has been counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Literal, TypeVar, get_args

from ._restart_limit import is_failure

if TYPE_CHECKING:
    from .errors import ExitReport

__all__ = ["Restart", "RestartPlan", "Strategy", "check_strategy", "is_restarted_after"]

Strategy = Literal["one-for-one", "one-for-all", "rest-for-one"]
"""Which children are restarted when one of them fails: see `Supervisor`."""
Restart = Literal["never", "on-failure", "always"]
"""After which ends a child is restarted. OTP calls them temporary, transient and permanent."""

C = TypeVar("C")


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
    return restart == "always" or (restart == "on-failure" and is_failure(report))


class RestartPlan(Generic[C]):
    """The children of one supervisor, in the order in which they were started, and what is due.

    >>> plan = RestartPlan[str]("rest-for-one")
    >>> for name in ("database", "cache", "server"):
    ...     plan.add(name)
    >>> plan.failed("cache")
    ['server']
    >>> plan.next_start()
    'cache'
    >>> plan.starting("cache")
    >>> plan.next_start() is None
    True
    >>> plan.started("cache")
    True
    >>> plan.next_start()
    'server'
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._in_turn = strategy != "one-for-one"
        """Whether one that is due waits for those before it."""
        self._children: list[C] = []
        self._due: list[C] = []
        self._starting: set[C] = set()
        """Those of them of whose start the outcome is not known."""
        self._uncounted: set[C] = set()
        """Those of them whose start has failed, which `failed` has not been told of."""

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
        self._starting.discard(child)
        self._uncounted.discard(child)

    def tells_something(self, child: C) -> bool:
        """Whether a failure of it is to be counted: it is a child, and not to be started anyway."""
        waits = child in self._due and child not in self._starting | self._uncounted
        return child in self._children and not waits

    def failed(self, child: C) -> list[C]:
        """A failure of it has been counted: those that must be stopped now, in this order."""
        if self.complete:
            self._in_turn = self._strategy != "one-for-one"
        group = self._group(child)
        waiting = [one for one in self._due if one not in self._starting]
        stopped = [one for one in reversed(group) if one != child and one not in waiting]
        self._uncounted.discard(child)
        self._starting.difference_update(group)
        if not self._in_turn:
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
        """None of them runs, and all are to be started, one after the other."""
        self._due = self.children
        self._in_turn = True
        self._starting.clear()
        self._uncounted.clear()

    @property
    def complete(self) -> bool:
        """Whether all of them have been started."""
        return not self._due

    def next_start(self) -> C | None:
        """The child whose start can begin now, if there is one."""
        for one in self._due:
            if one not in self._starting | self._uncounted:
                return one
            if self._in_turn:
                return None
        return None

    def starting(self, child: C) -> None:
        """Its start has begun."""
        self._starting.add(child)

    def started(self, child: C) -> bool:
        """It runs; False: it is to be started once more, since others failed meanwhile."""
        if child not in self._starting:
            return False
        self._starting.remove(child)
        self._due.remove(child)
        return True

    def start_failed(self, child: C) -> bool:
        """It does not, of which `failed` is to be told; False: as for `started`."""
        if child not in self._starting:
            return False
        self._starting.remove(child)
        self._uncounted.add(child)
        return True
