"""The time in which a process serves an object, as a `with` block."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = ["ListenScope"]


class ListenScope:
    """What `listen_` gives: leaving it, by `with`, ends the serving."""

    def __init__(self, proxy: object, stop: Callable[[], None]) -> None:
        self._proxy = proxy
        self._stop = stop

    def __enter__(self) -> Any:
        return self._proxy

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()
