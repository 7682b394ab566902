"""What a supervisor can supervise: an actor, or another supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._fast_typing import Protocol

if TYPE_CHECKING:
    from ._restart_strategy import Restart
    from .errors import ExitReport, RestartLimitError

__all__ = ["Child"]


class Child(Protocol):
    """One that is supervised. It has one *life* after another, which are numbered.

    Its methods may be called by several threads at a time. Once it is `over`, none begins a life.
    """

    name: str
    restart: Restart

    @property
    def life(self) -> int:
        """The number of the present life, or of the last one."""
        ...

    @property
    def over(self) -> bool:
        """Whether there will be no other life."""
        ...

    def is_down(self, life: int) -> bool:
        """Whether this life is the last one up to now, and has ended."""
        ...

    def start(self) -> ExitReport | None:
        """Begin the next life, and wait until that has worked out; why it has not, if so."""
        ...

    def retire(self) -> None:
        """End the present life in order, or its start at once; there may be another one."""
        ...

    def stop(self, why: RestartLimitError | None) -> None:
        """End it for good; who calls it then is told why."""
        ...

    def kill(self) -> None:
        """End it for good, at once."""
        ...
