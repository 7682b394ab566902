"""The thread that waits for descriptors and times on behalf of everybody, while there are any."""

import threading
import time
from typing import Any

import pytest

from remoteobj._os.io_thread import Reactor
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
    reactor.call_at(now + 0.03, lambda: order.append("late"))
    reactor.call_at(now + 0.04, done.set)
    reactor.call_at(now + 0.01, lambda: order.append("early"))
    reactor.call_at(now + 0.02, lambda: order.append("never")).cancel()
    assert done.wait(10)
    assert order == ["early", "late"]
    assert time.monotonic() >= now + 0.03
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
