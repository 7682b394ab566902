"""Whom to ask how it is, and what comes of two answers: what `top` costs is decided here.

To ask an actor takes it, and us, some 0.1 ms together. So a look asks at most `AT_ONCE` of those on
the screen, and `IN_TURN` of the others. Of these, one that has used no processor time since it was
asked has done nothing either, and is spared: see `_watching`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from .._watching import Glance
from .rows import Row

__all__ = ["AT_ONCE", "IN_TURN", "Sampler"]

AT_ONCE: Final = 30
"""How many of those on the screen are asked in a look."""
IN_TURN: Final = 10
"""How many of the others: those that were not asked for the longest."""
SILENT: Final = "silent"
"""The state of an actor that does not answer."""


@dataclass(slots=True)
class _Memory:
    """What is remembered of one actor."""

    asked_at: float = -math.inf
    done: int | None = None
    """How many requests it had done when it answered last; None: it has not answered yet."""
    answered_at: float = -math.inf
    calls: float = 0.0
    used: float = 0.0
    """The processor time of its process at the look before this one."""
    looked_at: float = -math.inf


class Sampler:
    """What one observer remembers from look to look. A look is: `choose`, then `rows`."""

    def __init__(self) -> None:
        self._of: dict[str, _Memory] = {}

    def choose(self, now: float, actors: Sequence[str], on_screen: Collection[str]) -> list[str]:
        """Those that are to be asked in this look.

        Args:
            now: of a clock that never goes back, in seconds.
        """
        self._of = {one: self._of.get(one) or _Memory() for one in actors}
        seen = set(on_screen)
        longest_ago = sorted(actors, key=lambda one: self._of[one].asked_at)
        urgent = [one for one in longest_ago if one in seen][:AT_ONCE]
        spared = set(urgent)
        chosen = urgent + [one for one in longest_ago if one not in spared][:IN_TURN]
        for one in chosen:
            self._of[one].asked_at = now
        return chosen

    def rows(self, now: float, glances: Sequence[Glance]) -> list[Row]:
        """The rows of a look that has begun at this time."""
        return [self._row(now, one, self._of[one.info.id]) for one in glances]

    @staticmethod
    def _row(now: float, glance: Glance, memory: _Memory) -> Row:
        answered = glance.state != "" and not glance.silent
        if memory.asked_at == now and answered:
            _note(memory, now, glance.done)
        info, silent = glance.info, glance.silent > 0
        return Row(
            key=info.id,
            name=info.name,
            cls=info.class_name,
            pid=info.pid,
            state=SILENT if silent and info.state == "running" else glance.state,
            call=glance.call,
            age=glance.age,
            queued=glance.queued,
            calls=memory.calls,
            cpu=_share(memory, now, glance.cpu_seconds),
            memory=glance.memory,
            running=glance.running,
        )


def _note(memory: _Memory, now: float, done: int) -> None:
    """Remember how much it had done by now, and how fast that went."""
    before, seconds = memory.done, now - memory.answered_at
    # After a restart it counts from zero again.
    memory.calls = max(0, done - before) / seconds if before is not None and seconds > 0 else 0.0
    memory.done, memory.answered_at = done, now


def _share(memory: _Memory, now: float, used: float) -> float:
    """Of a core that its process has used since the last look."""
    seconds, before = now - memory.looked_at, memory.used
    memory.looked_at, memory.used = now, used
    return max(0.0, used - before) / seconds if 0 < seconds < math.inf else 0.0
