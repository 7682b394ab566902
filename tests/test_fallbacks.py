"""What is only there on Linux has a plain fallback: the same holds with each switched off."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj import ActorDiedError, Except, Handle, NotListeningError, remote, util


@remote
class Ledger:
    def __init__(self) -> None:
        self.entries: list[str] = []

    def add(self, entry: str) -> int:
        self.entries.append(entry)
        return len(self.entries)

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(params=["pidfd_open", "memfd_create", "SO_PEERCRED"])
def without(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One of them is not there."""
    name: str = request.param
    place = socket if hasattr(socket, name) else os
    if not hasattr(place, name):
        pytest.skip(f"this system has no {name} to switch off")
    monkeypatch.delattr(place, name)
    return name


@pytest.fixture
def ledger(without: str, start_method: str) -> Iterator[Handle[Any]]:
    with Ledger.options(start_method=start_method).spawn() as handle:
        yield handle


def test_calls_from_here_and_from_a_stranger_are_answered(ledger: Handle[Any]) -> None:
    assert ledger.add("a") == 1
    with util.process(lambda stranger: stranger.add("b"), ledger) as p:
        pass
    assert p.result == 2


def test_a_death_is_noticed_at_once_and_told_with_its_signal(ledger: Handle[Any]) -> None:
    begun = time.monotonic()
    with pytest.raises(ActorDiedError) as caught:
        ledger.die()
    assert time.monotonic() - begun < 1
    assert caught.value.signal is signal.SIGKILL
    ledger.kill_()  # so that leaving `with` has nothing more to say
    assert ledger.exitcode_ == -signal.SIGKILL


def test_a_stopped_actor_is_gone_and_refuses(ledger: Handle[Any]) -> None:
    ledger.stop_()
    assert not ledger.alive_
    with pytest.raises(NotListeningError):
        ledger.add("late")


def test_errors_and_results_come_back_from_a_function(without: str, start_method: str) -> None:
    exc = Except()
    with (
        pytest.raises(ZeroDivisionError),
        util.process(lambda: 1 // 0, exc_=exc, start_method_=start_method),
    ):
        pass
    assert isinstance(exc.last(), ZeroDivisionError)
    exc.close()
