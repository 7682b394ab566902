"""Which of an actor's requests is to be interrupted, as its control thread finds out."""

from __future__ import annotations

import sys
from collections.abc import Container
from types import CodeType, FrameType
from typing import Final

from .._os.poller import SpinPoller
from .._protocol.messages import Kind
from .clients import Client
from .execution import USER_ENTRY_POINTS, Executor, Running
from .mailbox import INTERNAL_CODE

__all__ = ["CallsOfClient", "is_taking_in"]

_WAITING: Final = SpinPoller.wait.__code__


class CallsOfClient:
    """Some calls of one client, of which one may be running.

    Args:
        call_ids: which; None is all of them, but for casts.
    """

    def __init__(
        self, executor: Executor, client: Client | None, call_ids: Container[int] | None
    ) -> None:
        self._executor = executor
        self._client = client
        self._call_ids = call_ids

    def runs(self) -> bool:
        """Whether one of them is what runs right now."""
        current = self._executor.current
        return current is not None and self._has(current)

    def is_open(self) -> bool:
        """Whether one of them runs, or waits for what runs."""
        return any(map(self._has, self._executor.all_running))

    def _has(self, running: Running) -> bool:
        client, request, _ = running
        if client is not self._client or request.kind != Kind.CALL:
            return False
        return self._call_ids is None or request.call_id in self._call_ids


def is_taking_in(thread: int) -> bool:
    """Whether a thread that runs requests is about to begin one: it neither waits for one, nor is
    it within users' code."""
    frame: FrameType | None = sys._current_frames().get(thread)
    while frame is not None and frame.f_code not in _TELLING:
        frame = frame.f_back
    return frame is not None and frame.f_code in INTERNAL_CODE


_TELLING: Final[frozenset[CodeType]] = frozenset((_WAITING, *USER_ENTRY_POINTS, *INTERNAL_CODE))
"""The code of which the innermost frame tells what a thread is at."""
