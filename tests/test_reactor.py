"""The thread that waits for descriptors and times on behalf of everybody, while there are any."""

import os
import select
import threading
import time
from typing import Any

import pytest

from remoteobj._os.io_thread import Reactor
from remoteobj._os.wakeup import Wakeup
from tests.tools import until


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "reactor" in thread.name]


def test_the_reactor_runs_what_it_is_given_and_then_leaves(reactor: Reactor) -> None:
    ran: list[str] = []
    done = threading.Event()
    reactor.call_soon(lambda: ran.append(threading.current_thread().name))
    reactor.call_soon(done.set)
    assert done.wait(10)
    assert ran == ["remoteobj-reactor"]
    until(lambda: threads() == [])


def test_a_timer_runs_at_its_time_unless_it_is_cancelled(reactor: Reactor) -> None:
    order: list[str] = []
    done = threading.Event()
    now = time.monotonic()

    def set_all() -> None:  # in its thread, where none of them runs before all are there
        reactor.call_at(now + 0.03, lambda: order.append("late"))
        reactor.call_at(now + 0.04, done.set)
        reactor.call_at(now + 0.01, lambda: order.append("early"))
        reactor.call_at(now + 0.02, lambda: order.append("never")).cancel()

    reactor.call_soon(set_all)
    assert done.wait(10)
    assert order == ["early", "late"]
    assert time.monotonic() >= now + 0.03
    until(lambda: threads() == [])


class Failing:
    """A connection that fails."""

    def __init__(self, fd: int) -> None:
        self.interest = {fd: select.POLLIN}

    def do_io(self) -> bool:
        self.interest = {}
        raise MemoryError

    look = do_io


@pytest.mark.parametrize("attended", ["register", "look_after"])
def test_a_connection_that_fails_is_reported_and_hinders_no_other(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch, attended: str
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_type))
    reads, writes = os.pipe()
    try:
        os.write(writes, b"x")
        getattr(reactor, attended)(Failing(reads))
        until(lambda: MemoryError in reported)
        done = threading.Event()
        reactor.call_soon(done.set)
        assert done.wait(10)
        until(lambda: threads() == [])
    finally:
        os.close(reads)
        os.close(writes)


def test_of_many_timers_none_but_an_earlier_one_wakes_the_thread(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[None] = []

    def wake() -> None:
        woken.append(None)
        Reactor.wake(reactor)

    monkeypatch.setattr(reactor, "wake", wake)
    end = time.monotonic() + 60
    timers = [reactor.call_at(end + n, list) for n in range(20)]
    assert len(woken) == 1, "by the first one"
    done = threading.Event()
    reactor.call_at(time.monotonic() + 0.01, done.set)
    assert done.wait(10)
    assert len(woken) == 2
    for timer in timers:
        timer.cancel()
    reactor.wake()
    until(lambda: threads() == [])


def test_a_job_that_raises_is_reported_and_hinders_no_other(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_type))
    done = threading.Event()
    reactor.call_soon(lambda: 1 / 0)
    reactor.call_soon(done.set)
    assert done.wait(10)
    assert reported == [ZeroDivisionError]
    until(lambda: threads() == [])


class RecordingPoll:
    """A poll object that notes how long it was let sleep."""

    def __init__(self) -> None:
        self._poll = _poll()
        self.patience: list[float | None] = []

    def register(self, fd: Any, events: int) -> None:
        self._poll.register(fd, events)

    def unregister(self, fd: Any) -> None:
        self._poll.unregister(fd)

    def poll(self, patience: float | None) -> Any:
        self.patience.append(patience)
        return self._poll.poll(patience)


_poll = select.poll


def test_a_descriptor_that_is_waited_for_costs_no_wake_up_until_it_is_readable(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls: list[RecordingPoll] = []

    def make() -> RecordingPoll:
        polls.append(RecordingPoll())
        return polls[-1]

    monkeypatch.setattr("remoteobj._os.io_thread.select.poll", make)
    reader, writer = os.pipe()
    arrived = threading.Event()
    reactor.when_readable(reader, arrived.set)
    until(lambda: polls and polls[0].patience[-1:] == [None])
    patience = set(polls[0].patience)
    os.write(writer, b"!")
    assert arrived.wait(10)
    assert patience <= {0.0, None}, "it slept until there was something"
    os.close(reader)
    os.close(writer)
    until(lambda: threads() == [])


def test_a_descriptor_that_is_waited_for_may_be_closed_and_its_number_used_again(
    reactor: Reactor,
) -> None:
    reader, writer = os.pipe()
    arrived: list[str] = []
    done = threading.Event()
    reactor.when_readable(reader, lambda: arrived.append("first"))
    reactor.call_soon(done.set)
    assert done.wait(10)
    os.close(reader)
    others = os.pipe()
    assert reader in others
    os.write(others[1], b"!")
    os.close(writer)
    until(lambda: arrived)
    for fd in others:
        os.close(fd)
    until(lambda: threads() == [])


def test_a_wakeup_that_is_closed_just_before_another_thread_sets_it_leaves_other_files_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wakeup = Wakeup()
    opened: list[int] = []
    write = os.write

    def write_late(fd: int, data: bytes) -> int:
        wakeup.close()
        opened.extend(os.pipe())
        return write(fd, data)

    monkeypatch.setattr("remoteobj._os.wakeup.os.write", write_late)
    wakeup.set()
    try:
        os.set_blocking(opened[0], False)
        with pytest.raises(BlockingIOError):
            os.read(opened[0], 8)
    finally:
        for fd in opened:
            os.close(fd)
    assert wakeup.fileno() == -1
