"""What paces a loop: ticks at a steady rate, with the requests that come in between.

Ticks lie on a grid that begins with the first one, so that no error adds up. A tick that can't
begin when it is due, since the loop or a request took too long, begins late; those that are over by
then are skipped.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from .._fast_typing import NamedTuple
from .._os.lazy_import import import_lock

__all__ = ["Pacer", "Tick"]

LONGEST: Final = 1e6
"""Seconds of one wait, at most: the system takes no number that is far larger."""
LOOK_SECONDS: Final = 0.25
"""How often who awaits a tick looks whether there is to be another."""
LATE_SHARE: Final = 0.1
"""The part of a period that requests get where the loop takes longer than all of it."""


class Tick(NamedTuple):
    """One turn of a loop that is paced by `every_`."""

    number: int
    """Its number on the grid, from 0: the periods since the first one. Those that were skipped
    count."""
    due: float
    """When it was to begin, by `time.monotonic()`: that of the first one, and `number` periods."""
    lateness: float
    """Seconds between then and now."""
    overruns: int
    """How often, until now, the loop came back only when the next tick was already due."""
    skipped: int
    """How many ticks were left out until now, whatever the cause."""


class Pacer(Iterator[Tick]):
    """The ticks, as long as they go on.

    Args:
        period: seconds from one to the next.
        serve: runs one request, if one comes within so many seconds; whether one was run.
        goes_on: whether there is to be another tick.
        clock: tells the time.
    """

    def __init__(
        self,
        period: float,
        serve: Callable[[float], object],
        goes_on: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.period = period
        self._serve = serve
        self._goes_on = goes_on
        self._clock = clock
        self._start = 0.0
        self._tick: Tick | None = None
        self.open: bool = True
        """Whether there may be another tick."""

    def __next__(self) -> Tick:
        try:
            tick = self._tick = self._first() if self._tick is None else self._next(self._tick)
            if not (self.open and self._goes_on()):
                raise StopIteration
        except BaseException:  # an interruption, say
            self.close()
            raise
        return tick

    def _first(self) -> Tick:
        self._start = self._clock()
        return Tick(0, self._start, 0.0, 0, 0)

    async def __aiter__(self) -> AsyncIterator[Tick]:
        """The same ticks for a coroutine, which awaits each: what runs in between is the event
        loop's to say."""
        with import_lock:
            import asyncio  # for a faster start-up: whoever awaits has it

        try:
            tick = self._tick = self._first()
            while self.open and self._goes_on():
                yield tick
                due, overrun = self._next_due(tick)
                if overrun:
                    await asyncio.sleep(0)
                # What ends it may come from another thread.
                while self._goes_on() and (left := due - self._clock()) > 0:  # noqa: ASYNC110
                    await asyncio.sleep(min(left, LOOK_SECONDS))
                tick = self._tick = self._after(tick, overrun)
        finally:
            self.close()

    def _next(self, last: Tick) -> Tick:
        due, overrun = self._next_due(last)
        self._wait(due, overrun)
        return self._after(last, overrun)

    def _next_due(self, last: Tick) -> tuple[float, bool]:
        """When the next tick is due, and whether that is over already."""
        due = self._start + (last.number + 1) * self.period
        return due, self._clock() >= due

    def _after(self, last: Tick, overrun: bool) -> Tick:
        now = self._clock()
        number = max(last.number + 1, math.floor((now - self._start) / self.period))
        due = self._start + number * self.period
        return Tick(
            number,
            due,
            max(0.0, now - due),
            last.overruns + overrun,
            last.skipped + number - last.number - 1,
        )

    def _wait(self, due: float, overrun: bool) -> None:
        """Serve until the next tick is due; for some time in any case."""
        clock = self._clock
        if overrun:
            end = clock() + LATE_SHARE * self.period
            while self._goes_on() and self._serve(0.0) and clock() < end:
                pass
        while self._goes_on() and (left := due - clock()) > 0:
            self._serve(min(left, LONGEST))

    def close(self) -> None:
        """End it: there are no more ticks. Harmless when done twice."""
        self.open = False
