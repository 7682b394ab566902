"""Programs that SIGPIPE ends, as it ends most that are not written in Python."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj import ActorDiedError, remote, util
from remoteobj._os.sigpipe import sigpipe_blocked, sigpipe_is_default
from remoteobj.testing import Gate
from tests.tools import Scripts


@pytest.fixture
def deadly() -> Iterator[None]:
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGPIPE, before)


@remote
class Teller:
    def __init__(self) -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    def tell(self) -> str:
        return "told"

    def wait(self, gate: Gate) -> str:
        gate.park()
        return "too late"


def test_the_owner_is_told_of_a_death_and_does_not_die_of_it(
    start_method: str, script: Scripts
) -> None:
    source = """
        import os, signal, sys
        from remoteobj import ActorDiedError, remote
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        @remote
        class Actor:
            def ping(self):
                return "pong"
        for way in ("call", "cast", "future", "large"):
            actor = Actor.options(start_method=sys.argv[1]).spawn()
            assert actor.ping() == "pong"
            os.kill(actor.pid_, signal.SIGKILL)
            assert actor.join_(10)
            try:
                if way == "call":
                    actor.ping()
                elif way == "cast":
                    actor.cast_.ping()
                elif way == "future":
                    actor.future_.ping().result()
                else:
                    actor.ping(bytes(5_000_000))
            except ActorDiedError as error:
                print(way, error.signal.name, flush=True)
            actor.kill_()
    """
    owner = script(source, start_method)
    told = [f"{way} SIGKILL" for way in ("call", "cast", "future", "large")]
    assert owner.finish() == (0, "\n".join([*told, ""]), "")


def test_an_actor_does_not_die_of_a_client_that_was_killed(start_method: str, gate: Gate) -> None:
    def call(teller: Any) -> None:
        teller.wait(gate)

    with Teller.options(start_method=start_method).spawn() as teller:
        client = util.process(call, teller, raises_=False).start()
        gate.wait_for_arrival()
        assert client.pid is not None
        os.kill(client.pid, signal.SIGKILL)
        client.join()
        gate.open()
        assert teller.tell() == "told"


def test_who_is_spared_has_no_signal_left_and_dies_of_the_next(deadly: None) -> None:
    assert sigpipe_is_default()
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError), sigpipe_blocked():
        os.write(writing, b"!")
    assert signal.SIGPIPE not in signal.sigpending()
    assert signal.SIGPIPE not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    heard = threading.Event()
    signal.signal(signal.SIGPIPE, lambda *_: heard.set())
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"!")
    assert heard.is_set()
    os.close(writing)


def test_who_has_it_blocked_keeps_it_so(deadly: None) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        with sigpipe_blocked():
            pass
        assert signal.SIGPIPE in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPIPE})


def test_a_death_is_told_here_too(deadly: None) -> None:
    teller: Any = Teller.spawn()
    os.kill(teller.pid_, signal.SIGKILL)
    with pytest.raises(ActorDiedError):
        teller.tell()
    teller.kill_()
