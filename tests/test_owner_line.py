"""What an actor says to its owner, with the test at the other end: each frame whole, and once."""

from __future__ import annotations

import atexit
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remoteobj._engines.log_forwarding import Forwarder, unpacked
from remoteobj._engines.owner_line import OwnerLine
from remoteobj._wire.channel import StreamChannel
from remoteobj._wire.duplex import DuplexStream, duplex_pair
from tests.internals import Frame, Kind

Ends = tuple[DuplexStream, DuplexStream]


class Interrupted(Exception):
    """What a handler of a signal raises."""


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = duplex_pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def record(number: int, size: int = 10) -> Frame:
    return Frame(Kind.LOG, number, bytes(size))


def taken(reader: StreamChannel) -> list[int]:
    """The numbers of the frames that have arrived; they are whole, or it raises."""
    numbers: list[int] = []
    while frames := reader.take():
        numbers += [frame.call_id for frame in frames]
    return numbers


class Interrupting:
    """A stream of which each write takes a few bytes, and is then interrupted by a signal."""

    def __init__(self, stream: DuplexStream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, data: Any) -> int | None:
        sent = self._stream.write(memoryview(data)[:16])
        signal.raise_signal(signal.SIGUSR1)
        return sent


@pytest.fixture
def raising_signal() -> Iterator[None]:
    def interrupt(number: int, frame: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


def catch_up(line: OwnerLine) -> None:
    """Go on after each interruption, for a number of times that is more than enough."""
    for _ in range(100):
        with contextlib.suppress(Interrupted):
            if line.catch_up():
                return
    pytest.fail("it never comes to its end")


@pytest.mark.usefixtures("raising_signal")
def test_an_interruption_of_a_write_has_nothing_written_twice(ends: Ends) -> None:
    interrupting: Any = Interrupting(ends[0])
    line, reader = OwnerLine(interrupting), StreamChannel(ends[1])
    with pytest.raises(Interrupted):
        line.say(record(1))
    catch_up(line)
    with pytest.raises(Interrupted):
        line.say(record(2))
    catch_up(line)
    assert taken(reader) == [1, 2]


def test_what_has_no_room_is_said_once_there_is_some(ends: Ends) -> None:
    line, reader = OwnerLine(ends[0]), StreamChannel(ends[1])
    told: list[str] = []
    line.no_room = lambda: told.append("no room")
    line.room_again = lambda: told.append("room again")
    assert line.say(record(1, 1 << 20)), "it has begun to be written, and so is said"
    assert not line.say(record(2)), "there is no room to begin"
    assert told == ["no room", "no room"]
    numbers = taken(reader)
    while not line.catch_up():
        numbers += taken(reader)
    assert numbers + taken(reader) == [1]
    assert told == ["no room", "no room", "room again"]
    assert line.say(record(3))
    assert taken(reader) == [3]


def test_an_owner_that_is_gone_leaves_nothing_to_catch_up_with(ends: Ends) -> None:
    line = OwnerLine(ends[0])
    assert line.say(record(1, 1 << 20))
    ends[1].close()
    assert line.catch_up()


def test_a_process_that_ends_waits_a_moment_to_say_how_many_records_are_lost(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[Callable[[], object]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    line, reader = OwnerLine(ends[0]), StreamChannel(ends[1])
    forwarder = Forwarder(line)
    assert line.say(record(1, 1 << 20))
    begun = time.monotonic()
    forwarder.handle(logging.makeLogRecord({"msg": "lost"}))
    assert time.monotonic() - begun < 0.5, "it does not wait where others have waited in vain"
    frames: list[Frame] = []

    def read() -> None:
        while len(frames) < 2:
            reader.wait(None)
            frames.extend(reader.take())

    reading = threading.Thread(target=read)
    reading.start()
    at_exit[0]()
    ends[0].close()
    reading.join(10)
    told = unpacked(frames[1].payload, frames[1].buffers)
    assert told.getMessage().startswith("1 records of this actor are lost")
