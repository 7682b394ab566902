"""What of an actor's calls runs, as whoever asks from outside is told, and may interrupt.

Everything here is done in the control thread. Imported only by actors that somebody asks.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Literal

from .._os.poller import clock
from .._protocol.descriptions import describe_request
from .._protocol.messages import Kind
from .call_stacks import LabelledCall, stacks_by_call
from .clients import Client
from .execution import USER_ENTRY_POINTS, Executor, Running
from .status import RunningCall

__all__ = ["RunningCalls"]


class RunningCalls:
    """The calls that an executor runs, each with a number, by which it can be named later.

    Args:
        executor: gives the one that runs them.
        serving_thread: the thread that runs requests.
    """

    def __init__(self, executor: Callable[[], Executor], serving_thread: Callable[[], int]) -> None:
        self._executor = executor
        self._serving_thread = serving_thread
        self._numbers: dict[tuple[int, float], int] = {}
        self._count = itertools.count(1)
        self._count_of_clients = itertools.count(1)
        self._clients: weakref.WeakKeyDictionary[Client, int] = weakref.WeakKeyDictionary()

    def told(self) -> tuple[RunningCall, ...]:
        """All of them, the innermost of those that run within each other first."""
        return tuple(_told(number, one) for number, one in self._numbered())

    def of_number(self, number: int) -> Running | None:
        """The one that was told with this number; None: it has ended."""
        found = [one for one in self._executor().all_running if self._known(one) == number]
        return found[0] if found else None

    def of_client(self, client: Client | None) -> dict[int, Running]:
        """Those of one client that it waits for, by their ids."""
        running = self._executor().all_running
        return {
            one.request.call_id: one
            for one in running
            if one.client is client and one.request.kind == Kind.CALL
        }

    def stacks(self, first: Running | None = None, most: int | None = None) -> str:
        """Where each of them is, and each thread of this process but the calling one.

        Args:
            first: whose stack comes before the others.
            most: of how many of the others that wait it is told; None: of all.
        """
        calls = [self._labelled(number, one, first) for number, one in self._numbered()]
        return stacks_by_call(calls, USER_ENTRY_POINTS, most)

    def _labelled(self, number: int, one: Running, first: Running | None) -> LabelledCall:
        label = f"call {number}, {describe_request(one.request.payload)}"
        thread = one.thread or self._serving_thread()
        is_first = first is not None and self._key(one) == self._key(first)
        return LabelledCall(label, thread, one.task, is_first)

    def _numbered(self) -> list[tuple[int, Running]]:
        """All that run, with their numbers; those of what has ended are forgotten."""
        running = self._executor().all_running
        kept = {(key := self._key(one)): self._numbers.get(key) for one in running}
        self._numbers = {key: number or next(self._count) for key, number in kept.items()}
        return [(self._numbers[self._key(one)], one) for one in running]

    def _known(self, running: Running) -> int | None:
        return self._numbers.get(self._key(running))

    def _key(self, running: Running) -> tuple[int, float]:
        """What a call has alone. A cast has no id; it began at a moment of its own."""
        client = self._clients.get(running.client)
        if client is None:
            client = self._clients[running.client] = next(self._count_of_clients)
        return client, running.request.call_id or -running.since


def _told(number: int, running: Running) -> RunningCall:
    client, request = running.client, running.request
    kind: Literal["call", "cast", "stream"] = "call"
    if request.kind == Kind.CAST:
        kind = "cast"
    elif request.call_id in client.streams:
        kind = "stream"
    age = max(0.0, clock() - running.since)
    return RunningCall(number, describe_request(request.payload), age, kind, client.pid)
