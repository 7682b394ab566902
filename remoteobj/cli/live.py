"""The source of rows over live actors: what `top` shows when it is used."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final

from .._looking import ActorInfo
from .._observer import Observer
from .._watching import Watch
from ..errors import NotListeningError
from .arguments import ANSWER_SECONDS, STOP_SECONDS
from .rows import Row
from .sampling import Sampler

__all__ = ["LiveSource"]

LOOK_SECONDS: Final = 0.25
"""How long those that are asked in a look have to answer, all together."""


class LiveSource:
    """A `Source` of all actors of this user's programs."""

    def __init__(self) -> None:
        self._watch = Watch()
        self._sampler = Sampler()
        self._infos: dict[str, ActorInfo] = {}
        """Those of the last look. It is replaced whole, since orders come by other threads."""

    def look(self, on_screen: Collection[str]) -> list[Row]:
        """All there are; some of them are asked what they are doing."""
        now = time.monotonic()
        glances = self._watch.look(
            LOOK_SECONDS, lambda actors: self._sampler.choose(now, actors, on_screen)
        )
        self._infos = {one.info.id: one.info for one in glances}
        return self._sampler.rows(now, glances)

    def stack(self, key: str) -> str:
        """The stacks of its threads."""
        with self._observer(key) as observer:
            return observer.stack(ANSWER_SECONDS)

    def interrupt(self, key: str) -> bool:
        """Raise KeyboardInterrupt in what it runs."""
        with self._observer(key) as observer:
            return observer.interrupt(timeout=ANSWER_SECONDS)

    def stop(self, key: str) -> bool:
        """Have it stop in order; whether its owner starts it again."""
        with self._observer(key) as observer:
            return observer.stop(STOP_SECONDS)

    def kill(self, key: str) -> bool:
        """End its process; whether its owner starts it again."""
        with self._observer(key) as observer:
            return observer.kill(ANSWER_SECONDS)

    def _observer(self, key: str) -> Observer:
        if (info := self._infos.get(key)) is None:
            raise NotListeningError("it has ended")
        return Observer(info)

    def close(self) -> None:
        """Let go of all connections."""
        self._watch.close()
