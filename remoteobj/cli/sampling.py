"""Whom to ask how it is, and what comes of the answers: what `top` costs is decided here.

To ask an actor takes it, and us, some 0.2 ms together. So a look asks at most `AT_ONCE + IN_TURN`
of them: those on the screen which have run anything since they were asked, and, in turn, all
others. Whether a process has run anything is known from the processor time that it has used, which
costs nothing over there. An actor that has run nothing is as it was.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from .._lookout import Glance
from .rows import Row

__all__ = ["AT_ONCE", "IN_TURN", "PATIENCE", "Glance", "Known", "Sampler"]

AT_ONCE: Final = 30
"""How many are asked in a look since they are on the screen and have run something."""
IN_TURN: Final = 10
"""How many of the others are asked in a look: those that were not asked for the longest."""
PATIENCE: Final = 2.0
"""For so many seconds what an idle actor has told is good enough."""
SILENT: Final = "silent"
"""The state of an actor that did not answer."""


class Known(NamedTuple):
    """What is known of an actor without asking it."""

    key: str
    name: str
    cls: str
    pid: int
    state: str
    used: float
    """Seconds of processor time that its process has used."""
    memory: int


@dataclass(slots=True)
class _Memory:
    """What is remembered of one actor."""

    answer: Glance | None = None
    silent: bool = False
    asked_at: float = -math.inf
    answered_at: float = -math.inf
    settled: float | None = None
    """The processor time of its process when it had been asked. None: not known."""
    calls: float = 0.0
    looked_at: float = -math.inf
    used: float = 0.0
    """The processor time at the look before this one."""


class Sampler:
    """What one observer remembers from look to look.

    A look is: `choose`, then ask those, then `rows`.
    """

    def __init__(self) -> None:
        self._of: dict[str, _Memory] = {}

    def choose(self, now: float, known: Sequence[Known], on_screen: Collection[str]) -> list[Known]:
        """Those that are to be asked in this look.

        Args:
            now: of a clock that never goes back, in seconds.
        """
        self._of = {one.key: self._of.get(one.key) or _Memory() for one in known}
        longest_ago = sorted(known, key=lambda one: self._of[one.key].asked_at)
        urgent = [one for one in longest_ago if one.key in on_screen and self._moved(one)]
        del urgent[AT_ONCE:]
        spared = {one.key for one in urgent}
        due = [
            one
            for one in longest_ago
            if one.key not in spared and now - self._of[one.key].asked_at >= PATIENCE
        ]
        return urgent + due[:IN_TURN]

    def _moved(self, one: Known) -> bool:
        """Whether it may have run anything since it was asked."""
        settled = self._of[one.key].settled
        return settled is None or settled != one.used

    def rows(
        self,
        now: float,
        known: Sequence[Known],
        answers: Mapping[str, Glance | None],
        settled: Mapping[int, float],
    ) -> list[Row]:
        """The rows of a look.

        Args:
            now, known: as `choose` has had them.
            answers: of those that were asked, by their keys; None: it did not answer.
            settled: the processor time that processes have used after that, by their pids, where
                it is known as exactly as `Known.used`.
        """
        for one in known:
            memory = self._of[one.key]
            if one.key in answers:
                _note(memory, now, answers[one.key])
                memory.settled = settled.get(one.pid)
            elif not self._moved(one):
                memory.calls = 0.0
        return [self._row(now, one) for one in known]

    def _row(self, now: float, one: Known) -> Row:
        memory = self._of[one.key]
        told = memory.answer or Glance(one.state, None, 0.0, 0, 0)
        return Row(
            key=one.key,
            name=one.name,
            cls=one.cls,
            pid=one.pid,
            state=SILENT if memory.silent else told.state,
            call=told.call,
            age=told.age + now - memory.answered_at if told.call is not None else 0.0,
            queued=told.queued,
            calls=memory.calls,
            cpu=_share(memory, now, one.used),
            memory=one.memory,
        )


def _note(memory: _Memory, now: float, answer: Glance | None) -> None:
    """Remember what it has told; None: it did not answer, so what it told before may hold."""
    memory.silent = answer is None
    if answer is not None:
        seconds, before = now - memory.answered_at, memory.answer
        # After a restart it counts from zero again.
        done = max(0, answer.done - before.done) if before is not None else 0
        memory.calls = done / seconds if seconds > 0 else 0.0
        memory.answer, memory.answered_at = answer, now
    memory.asked_at = now


def _share(memory: _Memory, now: float, used: float) -> float:
    """Of a core that its process has used since the last look."""
    seconds, before = now - memory.looked_at, memory.used
    memory.looked_at, memory.used = now, used
    return max(0.0, used - before) / seconds if 0 < seconds < math.inf else 0.0
