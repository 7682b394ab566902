"""How awaits wait for room on a connection: in their order, none forgotten."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from remoteobj._caller.event_loop import LoopBridge, bridge_of_this_loop
from remoteobj._protocol.calls import ConnectionEndedError, PendingCall
from tests.internals import IN_FLIGHT


class FakeConnection:
    """Keeps what is sent on it."""

    def __init__(self) -> None:
        self.backed_up = False
        self.ended = False
        self.sent: list[Any] = []
        self.abandoned: list[PendingCall] = []

    def send(self, name: Any) -> PendingCall:
        if self.ended:
            raise ConnectionEndedError
        self.sent.append(name)
        return PendingCall(len(self.sent))

    def abandon(self, call: PendingCall) -> None:
        self.abandoned.append(call)


class Calls:
    """Calls of the running loop, which end when the test says so."""

    def __init__(self) -> None:
        self.connection: Any = FakeConnection()
        self.bridge: LoopBridge = bridge_of_this_loop()
        self.ends: dict[Any, asyncio.Event] = {}
        self.begun: list[Any] = []

    async def call(self, name: Any) -> None:
        limit = self.bridge.limit_of(self.connection)
        send = lambda: self.connection.send(name)  # noqa: E731
        if limit.has_room:
            limit.begin(send)
        else:
            await limit.begin_in_turn(send)
        self.begun.append(name)
        self.ends[name] = asyncio.Event()
        await self.ends[name].wait()
        limit.end()

    async def start(self, *names: Any) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.call(name)) for name in names]
        await settled()
        return tasks

    async def end(self, *names: Any) -> None:
        for name in names:
            self.ends[name].set()
        await settled()


async def settled() -> None:
    """Let all that is ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def room_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    IN_FLIGHT.set(monkeypatch, 2)


def run(main: Callable[[Calls], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main(Calls())

    asyncio.run(bounded())


def test_calls_that_wait_for_room_are_sent_in_the_order_in_which_they_were_made() -> None:
    async def main(calls: Calls) -> None:
        await calls.start(*range(6))
        assert calls.connection.sent == [0, 1]
        await calls.end(1)
        assert calls.connection.sent == [0, 1, 2]
        await calls.start("newcomer")
        await calls.end(0, 2)
        assert calls.connection.sent == [0, 1, 2, 3, 4]
        await calls.end(3, 4)
        await calls.end(5)
        assert calls.connection.sent == [0, 1, 2, 3, 4, 5, "newcomer"]
        assert calls.begun == calls.connection.sent
        await calls.end("newcomer")

    run(main)


def test_a_call_that_comes_just_as_room_is_made_does_not_overtake_those_that_wait() -> None:
    async def main(calls: Calls) -> None:
        await calls.start(0, 1, 2)
        calls.ends[0].set()
        await asyncio.sleep(0)  # the end of the first is next, and then the newcomer
        await calls.start("newcomer")
        assert calls.connection.sent == [0, 1, 2]
        await calls.end(1, 2)
        await calls.end("newcomer")

    run(main)


def test_a_call_that_is_cancelled_while_it_waits_is_not_sent() -> None:
    async def main(calls: Calls) -> None:
        tasks = await calls.start(0, 1, 2, 3)
        tasks[2].cancel()
        await calls.end(0, 1)
        assert calls.connection.sent == [0, 1, 3]
        assert calls.connection.abandoned == []
        await calls.end(3)

    run(main)


def test_a_call_that_is_cancelled_when_it_was_just_sent_is_abandoned_and_makes_room() -> None:
    async def main(calls: Calls) -> None:
        tasks = await calls.start(0, 1, 2, 3)
        limit = calls.bridge.limit_of(calls.connection)
        limit.end()  # within this turn of the loop the third is sent, and does not know it
        assert calls.connection.sent == [0, 1, 2]
        tasks[2].cancel()
        await settled()
        assert [call.call_id for call in calls.connection.abandoned] == [3]
        assert calls.connection.sent == [0, 1, 2, 3]
        tasks[0].cancel()
        await calls.end(1, 3)

    run(main)


def test_while_much_is_unsent_one_call_at_a_time_is_sent() -> None:
    """The end of that one lets in the next: somebody always does."""

    async def main(calls: Calls) -> None:
        calls.connection.backed_up = True
        await calls.start(0, 1, 2)
        assert calls.connection.sent == [0]
        await calls.end(0)
        assert calls.connection.sent == [0, 1]
        calls.connection.backed_up = False
        await calls.start("newcomer")
        assert calls.connection.sent == [0, 1]
        await calls.end(1)
        assert calls.connection.sent == [0, 1, 2, "newcomer"]
        await calls.end(2, "newcomer")

    run(main)


def test_many_calls_that_wait_are_all_told_when_the_connection_has_ended() -> None:
    async def main(calls: Calls) -> None:
        tasks = await calls.start(*range(3000))
        calls.connection.ended = True
        await calls.end(0, 1)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes[2:]} == {ConnectionEndedError}
        assert calls.bridge.limits == {}

    run(main)


def test_a_limit_is_forgotten_when_no_call_is_under_way() -> None:
    async def main(calls: Calls) -> None:
        await calls.start(0)
        assert len(calls.bridge.limits) == 1
        await calls.end(0)
        assert calls.bridge.limits == {}
        calls.connection.ended = True
        [task] = await calls.start(1)
        assert isinstance(task.exception(), ConnectionEndedError)
        assert calls.bridge.limits == {}

    run(main)
