"""What a handle, a plain proxy and strangers do where everything goes over TCP.

Most tests of the suite run over it as well, once each, by the fixture `launch`. Here are the other
ways to start an actor, and what strangers do.
"""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj import ActorDiedError, NotListeningError, Proxy, remote, util
from tests.conftest import Launch
from tests.internals import actor_id_of, address_of
from tests.tools import Call

pytestmark = pytest.mark.engines(
    skip={"tcp": "is fork, and all launches are over TCP here", "ray": "has its own transport"}
)

# ------------------------------------------------------------------ an actor that is reached by TCP


class Refused(Exception):
    pass


@remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start
        self.items = {"a": 1}

    def add(self, n: int = 1) -> int:
        self.value += n
        return self.value

    def refuse(self, why: str) -> None:
        raise Refused(why)

    def rows(self, n: int) -> Iterator[int]:
        yield from range(n)

    def echo(self, value: Any) -> Any:
        return value

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def ask(self, other: Any) -> int:
        """Calls another one, which calls this one while it waits."""
        answer: int = other.ask_back(self.remote)
        return answer

    def ask_back(self, asker: Any) -> int:
        answer: int = asker.add(10)
        return answer

    def location(self) -> str:
        return address_of(self.remote).transport

    def wait_at(self, gate: Any) -> str:
        gate.park()
        return "done"


@pytest.fixture
def counter(over_tcp: None, launch: Launch) -> Iterator[Any]:
    with Counter.options(**launch).spawn(1) as handle:
        yield handle


def test_calls_and_operations_go_over_tcp(counter: Any) -> None:
    assert counter.location() == "tcp"
    assert counter.add(4) == counter.value.__ == 5
    counter.value = 7
    counter.items["b"] = 2
    del counter.items["a"]
    assert "b" in counter.items
    assert len(counter.items) == 1
    assert counter.passto(lambda one: one.value * 2) == 14
    counter.cast_.add(1)
    assert counter.add() == 9


def test_futures_awaits_and_streams_go_over_tcp(counter: Any) -> None:
    assert sum(future.result() for future in [counter.future_.add(0) for _ in range(100)]) == 100
    assert list(counter.rows(100)) == list(range(100))

    async def count() -> list[int]:
        rows = [row async for row in counter.async_.rows(50)]
        return rows + await asyncio.gather(*(counter.async_.add(0) for _ in range(50)))

    assert asyncio.run(count()) == [*range(50), *[1] * 50]


def test_an_error_comes_over_tcp_as_it_was_raised(counter: Any) -> None:
    with pytest.raises(Refused, match=r"^so$"):
        counter.refuse("so")
    assert counter.add() == 2


def test_big_values_go_over_tcp_in_the_stream_itself(counter: Any) -> None:
    value = bytes(range(256)) * 20_000
    assert counter.echo(value) == value


@pytest.mark.engines(skip={"inline": "runs in the thread that would have to call"})
def test_threads_and_strangers_share_an_actor_over_tcp(counter: Any) -> None:
    calls = [Call(lambda: [counter.add() for _ in range(50)]) for _ in range(4)]
    with util.process(lambda one: [one.add() for _ in range(50)], counter) as stranger:
        pass
    assert len({*stranger.result, *(n for call in calls for n in call.result())}) == 250


@pytest.mark.engines(skip={"inline": "runs in the thread that would have to call"})
def test_actors_that_call_each_other_over_tcp_know_for_whom_they_wait(
    counter: Any, launch: Launch
) -> None:
    with Counter.options(**launch).spawn() as other:
        assert counter.ask(other) == 11
        assert other.ask(counter) == 10


@pytest.mark.engines(only=["process"], reason="nothing else can be killed")
def test_the_death_of_an_actor_ends_its_calls_over_tcp(counter: Any) -> None:
    with util.process(_until_death, counter) as stranger:
        begun = time.monotonic()
        with pytest.raises(ActorDiedError) as caught:
            counter.die()
        assert time.monotonic() - begun < 1
    assert caught.value.signal is signal.SIGKILL
    assert stranger.result in {"ActorDiedError", "NotListeningError"}
    counter.kill_()


def _until_death(counter: Any) -> str:
    try:
        while True:
            counter.add()
    except (ActorDiedError, NotListeningError) as exc:
        return type(exc).__name__


@pytest.mark.engines(skip={"inline": "does nothing by itself"})
def test_a_stop_over_tcp_fulfils_what_has_arrived(counter: Any) -> None:
    futures = [counter.future_.add() for _ in range(100)]
    counter.stop_()
    assert [future.result() for future in futures] == list(range(2, 102))
    with pytest.raises(NotListeningError):
        counter.add()


# ------------------------------------------------------------------ a plain proxy, by TCP


def _call_when_listening(proxy: Any) -> list[int]:
    proxy.wait_until_listening(timeout=10)
    proxy.append(3)
    return [*proxy]


def test_a_plain_proxy_is_waited_for_and_called_over_tcp(over_tcp: None, start_method: str) -> None:
    items = [1, 2]
    proxy: Any = Proxy(items)
    assert not proxy.listening_
    with util.process(_call_when_listening, proxy, start_method_=start_method) as stranger:
        with proxy.listen_():
            stranger.join(10)
    assert stranger.result == items == [1, 2, 3]
    assert not proxy.listening_


def test_a_plain_proxy_listens_once_over_tcp(over_tcp: None) -> None:
    proxy: Any = Proxy([])
    with proxy.listen_(), pytest.raises(RuntimeError, match="in another process"):
        with util.process(lambda one: one.listen_(), proxy, start_method_="fork"):
            pass


# ------------------------------------------------------------------ identity


def own_id(counter: Any) -> Any:
    return actor_id_of(counter.remote)


def test_an_actor_has_an_identity_of_its_own_that_all_processes_know_it_by() -> None:
    with Counter.spawn() as one, Counter.spawn() as other:
        known = [handle.passto(own_id) for handle in (one, other)]
        assert known == [actor_id_of(one), actor_id_of(other)]
        assert known[0] != known[1]
