"""Rows of `top`, and the seam through which it gets them: a `Source`.

What `top` shows and does, it does through a `Source`: of live actors (`live`), or, in a test, of
made-up ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from .._fast_typing import NamedTuple, Protocol
from .text import Column, amount, duration, shown, size

__all__ = ["COLUMNS", "ORDERS", "Row", "Source", "cells", "matches", "sorted_rows"]


class Row(NamedTuple):
    """One actor, as it was when somebody looked last."""

    key: str
    """Which actor it is: the same in each look."""
    name: str
    cls: str
    pid: int
    state: str
    """What it says of itself, or `silent`: it did not answer."""
    call: str | None = None
    """The call that it is running, if it is running one."""
    age: float = 0.0
    """For how many seconds it has been running that."""
    queued: int = 0
    calls: float = 0.0
    """Calls that it has done per second."""
    cpu: float = 0.0
    """How much of a core its process has used: 1.0 is all of one."""
    memory: int = 0
    """Bytes."""
    running: int = 0
    """How many calls it is running, `call` being one of them."""

    @property
    def told_call(self) -> str:
        """What it is running, in one line."""
        return f"{self.call or ''}{f' +{self.running - 1}' if self.running > 1 else ''}"


class Source(Protocol):
    """Where rows come from, and orders go to.

    `look` runs in one thread at a time, and orders run in others meanwhile. All of them may take a
    second, and `stop` as long as the actor takes to end.

    What goes wrong is a `RemoteObjError`, whose first line says what.
    """

    def look(self, on_screen: Collection[str]) -> list[Row]:
        """All actors there are; those that are on the screen are wanted the most."""
        ...

    def stack(self, key: str) -> str:
        """The stacks of an actor's threads."""
        ...

    def interrupt(self, key: str) -> bool:
        """Raise KeyboardInterrupt in what it runs; False: it runs nothing."""
        ...

    def stop(self, key: str) -> bool:
        """Have it stop in order, and wait until it has; whether its owner starts it again."""
        ...

    def kill(self, key: str) -> bool:
        """End its process; whether its owner starts it again."""
        ...


COLUMNS: Final = (
    Column("NAME", least=8),
    Column("CLASS", least=8, rank=5),
    Column("PID", right=True, rank=1),
    Column("STATE"),
    Column("CALL", least=8, rank=2),
    Column("AGE", right=True, rank=3),
    Column("QUEUE", right=True, rank=4),
    Column("CALLS/S", right=True, rank=6),
    Column("CPU", right=True, rank=3),
    Column("MEMORY", right=True, rank=7),
)


def cells(row: Row) -> tuple[str, ...]:
    """What stands in the columns of a row.

    >>> cells(Row("1", "front", "Camera", 7, "running", "?.grab(...)", 0.5, 2, 30.0, 0.25, 1 << 20))
    ('front', 'Camera', '7', 'running', '?.grab(...)', '500ms', '2', '30', '25%', '1.0 MB')
    >>> cells(Row("1", "web", "Site", 7, "running", "?.get(...)", running=3))[4]
    '?.get(...) +2'
    """
    return (
        shown(row.name),
        shown(row.cls),
        str(row.pid),
        shown(row.state),
        shown(row.told_call),
        duration(row.age) if row.call else "",
        str(row.queued or ""),
        amount(row.calls) if row.calls else "",
        f"{row.cpu * 100:.0f}%",
        size(row.memory) if row.memory else "",
    )


ORDERS: Final[dict[str, Callable[[Row], tuple[float | str, ...]]]] = {
    "name": lambda row: (row.name, row.pid),
    "cpu": lambda row: (-row.cpu, row.name, row.pid),
    "memory": lambda row: (-row.memory, row.name, row.pid),
    "calls/s": lambda row: (-row.calls, row.name, row.pid),
    "queue": lambda row: (-row.queued, row.name, row.pid),
    "age": lambda row: (-row.age, row.name, row.pid),
    "pid": lambda row: (row.pid, row.name),
}
"""The orders that rows can be in: what is looked for stands first."""


def sorted_rows(rows: Collection[Row], order: str, backwards: bool = False) -> list[Row]:
    """The rows in one of the `ORDERS`."""
    return sorted(rows, key=ORDERS[order], reverse=backwards)


def matches(row: Row, words: str) -> bool:
    """Whether a row has each of these words in its name, class, pid, state or call.

    >>> row = Row("1", "front", "Camera", 7, "running", "?.grab(...)")
    >>> matches(row, "cam run"), matches(row, "lidar")
    (True, False)
    """
    text = " ".join((row.name, row.cls, str(row.pid), row.state, row.call or "")).casefold()
    return all(word in text for word in words.casefold().split())
