"""The task of a stream whose items are awaited, without a process: how it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from remoteobj._actor.async_streams import AsyncStreamProducer
from remoteobj._actor.begun import Begun
from remoteobj._actor.clients import Client, StreamProducer
from remoteobj._actor.replies import error_frame
from remoteobj._protocol.messages import Frame, Kind


class Channel:
    writable = True


class Consumer:
    """A client that takes whatever it is sent."""

    def __init__(self) -> None:
        self.channel = Channel()
        self.streams: dict[int, Any] = {}
        self.unsent: list[bytes] = []
        self.sent: list[int] = []

    def send(self, frame: Frame) -> None:
        self.sent.append(frame.kind)


class Loop:
    """What a stream needs of the executor, with the tasks on the running loop."""

    others_wait = False

    def __init__(self) -> None:
        self.paused = asyncio.Event()
        self.over = asyncio.Event()

    def start(self, begun: Begun, coroutine: Coroutine[Any, Any, None]) -> None:
        begun.task = asyncio.get_running_loop().create_task(coroutine)

    def begin_work(self, begun: Begun) -> None: ...

    def end_work(self, begun: Begun) -> None: ...

    def step_begins(self, stream: StreamProducer) -> None: ...

    def checked(self, stream: StreamProducer, frame: Frame) -> Frame:
        return frame

    def error_frame(self, call_id: int, exc: BaseException) -> Frame:
        return error_frame(call_id, exc)

    def items_follow(self, stream: StreamProducer) -> None:
        self.paused.set()

    def is_over(self, stream: AsyncStreamProducer, exc: BaseException | None) -> None:
        assert not self.over.is_set()
        self.over.set()

    def unwind(self, exc: BaseException) -> None:
        raise exc


def give_up(stream: AsyncStreamProducer) -> None:
    stream.end()
    stream.close()


def interrupt(stream: AsyncStreamProducer) -> None:
    asyncio.all_tasks().difference({asyncio.current_task()}).pop().cancel()


@pytest.mark.parametrize("end", [give_up, interrupt])
@pytest.mark.parametrize("goes_on", [True, False], ids=["at its turn", "while it waits for that"])
def test_a_stream_that_ends_where_it_waits_for_its_turn_closes_its_iterator(
    end: Callable[[AsyncStreamProducer], None], goes_on: bool
) -> None:
    closed = []

    async def items() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    async def act() -> list[int]:
        loop, consumer = Loop(), Consumer()
        client: Client = consumer  # type: ignore[assignment]
        stream = AsyncStreamProducer(client, Frame(Kind.CALL, 1), items(), loop)
        stream.credit = 1
        stream.go_on()
        await loop.paused.wait()
        await asyncio.sleep(0)
        if goes_on:  # its task has not heard of it when that is cancelled
            stream.credit = 1
            stream.go_on()
        end(stream)
        await asyncio.sleep(0)
        give_up(stream)  # as its consumer does, who is told of the error
        await asyncio.wait_for(loop.over.wait(), 5)
        assert len(asyncio.all_tasks()) == 1
        return consumer.sent

    sent = asyncio.run(act())
    assert closed == [True]
    assert sent == ([Kind.ITEM] if end is give_up else [Kind.ITEM, Kind.ERROR])
