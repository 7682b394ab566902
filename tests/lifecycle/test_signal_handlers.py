"""Signal handlers that spawn, call and stop in the middle of a spawn, a call and a stop."""

import os
import signal
from typing import Any

import pytest

from tests.internals import at_next
from tests.lifecycle.actors import Counter
from tests.tools import Scripts


def test_a_signal_handler_may_spawn_within_a_spawn(monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[Any] = []

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)  # when all that leads to the outer one is there

    at_next("make a recorder", after=interrupt, monkeypatch=monkeypatch)
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.append(Counter.spawn(1)))
    try:
        with Counter.options(start_method="fork").spawn(2) as outer, handled[0] as inner:
            assert (outer.add(), inner.add()) == (3, 2)
    finally:
        signal.signal(signal.SIGUSR1, before)
        handled.clear()


def test_a_signal_handler_that_calls_during_a_call_ends(script: Scripts) -> None:
    calling = script("""
        @remote
        class Actor:
            def slow(self, pid):
                time.sleep(0.1)
                os.kill(pid, signal.SIGALRM)
                time.sleep(0.1)
                return "slow"
            def ping(self):
                return "pong"
        def handle(*_):
            try:
                print(actor.ping())
            except DeadlockError:
                print("pong")
        actor = Actor.spawn()
        signal.signal(signal.SIGALRM, handle)
        print(actor.slow(os.getpid()))
        print(actor.ping())
        actor.stop_()
    """)
    assert calling.finish() == (0, "pong\nslow\npong\n", "")


def test_a_signal_handler_that_comes_just_after_a_lock_was_taken_ends(
    script: Scripts,
) -> None:
    calling = script("""
        from tests.internals import at_next_reading
        @remote
        class Actor:
            def ping(self):
                return "pong"
        actor = Actor.spawn()
        signal.signal(signal.SIGALRM, lambda *_: print("handler:", actor.ping()))
        at_next_reading(actor, lambda: signal.raise_signal(signal.SIGALRM))
        print(actor.ping())
        actor.stop_()
    """)
    assert calling.finish() == (0, "handler: pong\npong\n", "")


def test_a_signal_handler_that_stops_during_a_stop_ends(script: Scripts) -> None:
    stopping = script("""
        @remote
        class Actor:
            def __init__(self, pid):
                self.pid = pid
            @remote.cleanup
            def close(self):
                os.kill(self.pid, signal.SIGALRM)
                time.sleep(0.1)
        def handle(*_):
            actor.stop_()
            print("handled")
        signal.signal(signal.SIGALRM, handle)
        actor = Actor.spawn(os.getpid())
        actor.stop_()
        print(actor.alive_, actor.exitcode_)
    """)
    assert stopping.finish() == (0, "handled\nFalse 0\n", "")
