"""Streams whose bytes travel in exchanges, without a cluster: the exchanges are calls of this
process, made when and in which order the test says."""

import contextlib
import itertools
import select
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from remoteobj._engines.ray_lines import HostLine
from remoteobj._wire import ray_line
from remoteobj._wire.queue_stream import QueueStream, queue_pair
from remoteobj._wire.ray_line import (
    BROUGHT,
    IDLE,
    IN_STORE,
    MOST_IDLE,
    NOTHING,
    TAKEN,
    RayLine,
    parts_of,
)
from tests.tools import until

SECONDS = 10
KEY = b"the line"


class Outcome:
    """As the reference that Ray gives."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self._run = run
        self._tell: Callable[[Any], object] | None = None
        self._known = threading.Event()

    def _on_completed(self, tell: Callable[[Any], object]) -> None:
        self._tell = tell
        self._known.set()

    def come(self) -> None:
        try:
            outcome = self._run()
        except Exception as exc:
            outcome = exc
        assert self._known.wait(SECONDS)
        assert self._tell is not None
        self._tell(outcome)


class Network:
    """Makes the exchanges of one stream, in threads; or keeps them until they are let go. It may be
    behind another one, which nothing of it overtakes."""

    def __init__(self, behind: "Network | None" = None) -> None:
        self.host: HostLine
        self.host = HostLine(self.put, None if behind is None else behind.host)
        self.stored: dict[int, bytes] = {}
        self._numbers = itertools.count()
        self.made = self.brought = 0
        self.broken = False
        self.held: list[Outcome] | None = None
        self.threads: list[threading.Thread] = []
        get = self.stored.__getitem__
        self.line: RayLine
        self.line = RayLine(KEY, self.exchange, get, None if behind is None else behind.line)

    def put(self, part: Any) -> int:
        number = next(self._numbers)
        self.stored[number] = bytes(memoryview(part))
        return number

    def exchange(self, message: Any) -> Outcome:
        if not isinstance(message, bytes):
            message = [bytes(memoryview(part)) for part in message]
        self.made += 1
        outcome = Outcome(lambda: self.run(message))
        if self.held is not None:
            self.held.append(outcome)
        else:
            self.begin(outcome)
        return outcome

    def begin(self, outcome: Outcome) -> None:
        thread = threading.Thread(target=outcome.come)
        thread.start()
        self.threads.append(thread)

    def run(self, message: Any) -> Any:
        if self.broken:
            raise ConnectionError("the worker has died")
        (_, number, before, flags), parts = parts_of(message, BROUGHT)
        self.brought += 1
        return self.host.exchange(number, before, flags, parts, SECONDS)

    def let_go(self) -> None:
        """Those that were kept, the last one first."""
        held, self.held = self.held or [], None
        for outcome in reversed(held):
            self.begin(outcome)

    def close(self) -> None:
        self.line.stream.close()
        self.host.stream.close()
        for thread in self.threads:
            thread.join(SECONDS)


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network()
    yield network
    network.close()


def received(stream: QueueStream, size: int) -> bytes:
    data = b""
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLIN)
    while len(data) < size:
        assert poll.poll(SECONDS * 1000), f"nothing came after {len(data)} bytes"
        more = stream.read(size - len(data))
        if more == b"":
            break
        data += more or b""
    return data


def test_a_request_and_its_reply_are_one_exchange(network: Network) -> None:
    for number in range(5):
        network.line.stream.write(b"request %d" % number)
        assert received(network.host.stream, 9) == b"request %d" % number
        made = network.made
        network.host.stream.write(b"reply %d" % number)
        assert received(network.line.stream, 7) == b"reply %d" % number
        assert network.made <= made + 1  # the second one is there if this thread was slow


def test_what_overtakes_on_the_way_arrives_in_order(network: Network) -> None:
    network.held = []
    for number in range(100):
        network.line.stream.write(b"%02d" % number)
    network.let_go()
    assert received(network.host.stream, 200) == b"".join(b"%02d" % one for one in range(100))
    for number in range(100):
        network.host.stream.write(b"%02d" % number)
    assert received(network.line.stream, 200) == b"".join(b"%02d" % one for one in range(100))


def test_what_is_said_behind_another_stream_overtakes_nothing_of_it(network: Network) -> None:
    with contextlib.closing(Network(behind=network)) as control:
        network.held = []
        network.line.stream.write(b"a call")
        control.line.stream.write(b"stop")
        until(lambda: control.brought)
        assert control.host.stream.read(9) is None
        network.let_go()
        assert received(control.host.stream, 4) == b"stop"
        assert received(network.host.stream, 6) == b"a call"
        control.line.stream.write(b"status")
        assert received(control.host.stream, 6) == b"status"


def test_what_is_written_unasked_comes_too(network: Network) -> None:
    network.line.begin()
    network.host.stream.write(b"first")
    assert received(network.line.stream, 5) == b"first"
    network.host.stream.write(b"second")
    assert received(network.line.stream, 6) == b"second"


class Clock:
    """In place of the time, and of the thread that does something at a time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        return self.now

    def call_at(self, when: float, job: Callable[[], None]) -> None:
        self.due.append((when, job))


def test_the_longer_calls_go_on_the_more_rarely_is_looked_whether_they_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(ray_line, "time", clock)
    monkeypatch.setattr(ray_line, "reactor", clock)
    replies = itertools.count()
    exchanges: list[Outcome] = []

    def run(message: bytes) -> bytes:
        asked = len(message) > BROUGHT.size
        return TAKEN.pack(next(replies), 0) + b"reply" if asked else TAKEN.pack(0, NOTHING)

    def exchange(message: Any) -> Outcome:
        exchanges.append(Outcome(partial(run, message)))
        return exchanges[-1]

    def call() -> float:
        """One that ends now."""
        line.stream.write(b"request")
        exchanges.pop().come()
        return clock.now

    line = RayLine(KEY, exchange, bytes)
    last, delays = call(), []
    for _ in range(5):
        when, look = clock.due.pop()
        delays.append(when - last)
        clock.now = when - IDLE / 2
        last = call()
        clock.now = when
        look()
        assert exchanges == []  # it comes too early: there has just been a call
    assert delays == pytest.approx([IDLE, 2 * IDLE, 4 * IDLE, MOST_IDLE, MOST_IDLE])

    (when, look), clock.due = clock.due[0], []
    clock.now = when
    look()
    exchanges.pop().come()  # none came too early: so it is asked for what comes by itself
    assert clock.due[0][0] - when == pytest.approx(IDLE)
    line.stream.close()
    exchanges.pop().come()


def test_many_bytes_go_through_the_store_as_they_were_when_they_were_written(
    network: Network,
) -> None:
    data = bytearray(b"x" * IN_STORE)
    network.line.stream.writev([b"head", data, b"tail"])
    assert received(network.host.stream, IN_STORE + 8) == b"head" + data + b"tail"
    network.host.stream.writev([b"head", data, b"tail"])
    data[:] = b"y" * IN_STORE
    assert received(network.line.stream, IN_STORE + 8) == b"head" + b"x" * IN_STORE + b"tail"
    assert len(network.stored) == 1


def test_each_side_finds_the_end_after_what_the_other_wrote(network: Network) -> None:
    network.line.stream.write(b"last words")
    network.line.stream.end_writing()
    assert received(network.host.stream, 99) == b"last words"
    network.host.stream.write(b"goodbye")
    network.host.stream.close()
    assert received(network.line.stream, 99) == b"goodbye"
    with pytest.raises(BrokenPipeError):
        network.line.stream.write(b"too late")


def test_a_call_that_fails_ends_the_stream(network: Network) -> None:
    network.broken = True
    network.line.stream.write(b"request")
    assert received(network.line.stream, 1) == b""
    with pytest.raises(BrokenPipeError):
        network.line.stream.write(b"request")


def test_a_pair_within_a_process_carries_bytes_both_ways() -> None:
    one, other = queue_pair()
    one.write(b"there")
    other.write(b"back")
    assert (received(other, 5), received(one, 4)) == (b"there", b"back")
    room = bytearray(2)
    one.write(b"abc")
    assert other.read_into(memoryview(room)) == 2
    assert (bytes(room), other.read(9), other.read(9)) == (b"ab", b"c", None)
    assert not select.select([other.fileno()], [], [], 0)[0], "there is nothing to read"
    one.close()
    assert select.select([other.fileno()], [], [], SECONDS)[0]
    assert other.read(9) == b""
    with pytest.raises(OSError, match="closed"):
        other.write(b"too late")
    other.close()
    assert other.fileno() == -1


def test_the_actor_is_told_when_a_caller_lets_go_of_the_stream(network: Network) -> None:
    network.line.stream.write(b"request")
    network.line.stream.close()
    assert received(network.host.stream, 99) == b"request"
    assert network.host.gone
    with pytest.raises(BrokenPipeError):
        network.host.stream.write(b"reply")


def test_a_read_gives_all_that_has_arrived() -> None:
    one, other = queue_pair()
    for data in (b"a call", b", and", b" its cancel"):
        one.write(data)
    assert other.read(9) == b"a call, a"
    assert other.read(1 << 16) == b"nd its cancel"
    assert other.read(1 << 16) is None
    one.close()
    assert other.read(1 << 16) == b""
    other.close()
