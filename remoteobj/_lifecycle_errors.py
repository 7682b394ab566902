"""The lifecycle errors of an actor, as its owner records them and asks for them."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from ._catching.catchers import Except
from ._catching.unseen import tell, witness_of

__all__ = ["LifecycleErrors"]


class LifecycleErrors:
    """The `Except` of an actor, on its owner's side.

    Invariant: nothing here leads to the `Except`. An exception leads to whoever raised it last, and
    so to the handle, which would then never be collected; it is the handle that keeps the `Except`.

    Args:
        own: whether the `Except` was made for this actor alone.
    """

    def __init__(self, exc: Except, name: str, own: bool) -> None:
        self._exc = weakref.ref(exc)
        self._own = own
        self._before = 0 if own else len(exc)
        self._witness = witness_of(exc, name if own else None)

    def actor_begins(self) -> None:
        """The actor has been started."""
        if self._witness is not None:
            self._witness.actor_begins()

    def actor_ended(self) -> None:
        """It has ended for good."""
        if self._witness is not None:
            self._witness.actor_ended()

    def begin_anew(self) -> None:
        """It is started again: what was recorded up to now does not concern its present life."""
        if (record := self._exc()) is not None:
            self._before = len(record)

    def seen(self, group: str) -> Callable[[], object]:
        """To be called when what is recorded in this group is told otherwise than by the `Except`.

        It leads to nothing of this object but to the witness.
        """
        witness = self._witness
        return lambda: None if witness is None else witness.see_last(group)

    def record(self, group: str, error: BaseException) -> None:
        """Record an error; where nobody is left to read it, it is told in the log."""
        record = self._exc()
        if record is not None:
            with record(group, raises=False, types=BaseException):
                raise error
        else:
            tell(str(error), error)

    def failed(self) -> bool:
        """Whether something was recorded since it was started: its `Except` may be shared."""
        record = self._exc()
        return record is not None and len(record) > self._before

    def close(self) -> None:
        """Give the memory back that is its own; what was recorded stays readable."""
        record = self._exc()
        if record is not None and self._own:
            record.close()
