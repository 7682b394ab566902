"""Calls that come back to the actor which waits for them, by whatever way."""

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj import DeadlockError, current, remote
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.tools import until

pytestmark = pytest.mark.engines(skip={"inline": "has no listener that another could reach"})


@remote
class Player:
    """Throws a ball to another one, who may throw it back."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def throw(self, others: list[Any], n: int) -> list[int]:
        """To the next of the others, until none is left."""
        self.seen.append(n)
        if not others:
            return [n]
        return [n, *others[0].throw(others[1:], n + 1)]

    def by_future(self, other: Any, me: Any) -> Any:
        return other.future_.throw([me], 1).result()

    def by_stream(self, other: Any, me: Any) -> list[Any]:
        return list(other.stream(me))

    def stream(self, back: Any) -> Iterator[Any]:
        for i in range(4):
            yield back.throw([], i)

    def by_casts(self, other: Any, me: Any) -> Any:
        return other.cast_back(me)

    def cast_back(self, back: Any) -> Any:
        for i in range(3):
            back.cast_.throw([], i)
        return back.throw([], 3)

    def with_threads(self, other: Any, me: Any) -> list[Any]:
        """Other threads of this actor use the same connection meanwhile."""
        over = threading.Event()

        def use() -> None:
            while not over.is_set():
                other.seen.get_()

        users = [threading.Thread(target=use, name="test-uses") for _ in range(2)]
        for user in users:
            user.start()
        try:
            return [other.throw([me], i) for i in range(50)]
        finally:
            over.set()
            for user in users:
                user.join()

    def meet(self, other: Any, gate: Gate) -> Any:
        gate.park()
        return self.ask(other)

    def ask(self, other: Any) -> Any:
        return other.throw([], 5)

    def park(self, gate: Gate) -> None:
        gate.park()

    def send_then_park(
        self, way: str, other: Any, others: list[Any], third: Any, gate: Gate
    ) -> str:
        """Ask another one for something, and not wait for that."""
        getattr(other, way).throw(others, 1)
        third.park(gate)
        return "parked"

    def park_within(self, other: Any, gate: Gate) -> Iterator[int]:
        """A stream that waits for another actor before its second item."""
        try:
            yield 1
            other.park(gate)
            yield 2
        finally:
            self.seen.append("closed")

    def collect_back(self, other: Any, me: Any) -> list[Any]:
        """What another one collects of our own stream meanwhile."""
        return list(other.collect_plain(me))

    def collect_plain(self, other: Any) -> list[int]:
        return list(other.count(40))

    def count(self, n: int) -> Iterator[int]:
        yield from range(n)

    def raise_back(self, other: Any, me: Any) -> None:
        other.fail_at(me)

    def fail_at(self, back: Any) -> None:
        back.fail()

    def fail(self) -> None:
        raise ValueError("from the far end")


@pytest.fixture
def pair(launch: Launch) -> Iterator[tuple[Any, Any]]:
    spawner = Player.options(**launch)
    with spawner.spawn() as one, spawner.spawn() as other:
        yield one, other


@pytest.mark.parametrize("turns", [1, 2, 5])
def test_a_call_that_comes_back_is_let_in(pair: tuple[Any, Any], turns: int) -> None:
    one, other = pair
    assert one.throw([other, one] * turns, 0) == list(range(2 * turns + 1))
    assert one.seen.get_() == list(range(0, 2 * turns + 1, 2))


def test_it_comes_back_around_a_ring_too(pair: tuple[Any, Any], launch: Launch) -> None:
    with Player.options(**launch).spawn() as third:
        one, other = pair
        assert one.throw([other, third, one, third, other, one], 0) == list(range(7))


@pytest.mark.parametrize("way", ["by_future", "by_stream", "by_casts", "with_threads"])
def test_it_comes_back_whichever_way_it_was_made(pair: tuple[Any, Any], way: str) -> None:
    one, other = pair
    result = getattr(one, way)(other, one)
    expected: dict[str, Any] = {
        "by_future": [1, 2],
        "by_stream": [[0], [1], [2], [3]],
        "by_casts": [3],
        "with_threads": [[i, i + 1] for i in range(50)],
    }
    assert result == expected[way]


def test_what_one_thread_calls_back_stays_in_order(pair: tuple[Any, Any]) -> None:
    one, other = pair
    one.by_casts(other, one)
    assert one.seen.get_() == [0, 1, 2, 3]


def test_an_exception_comes_back_all_the_way(pair: tuple[Any, Any]) -> None:
    one, other = pair
    with pytest.raises(ValueError, match="from the far end"):
        one.raise_back(other, one)
    assert one.seen.get_() == []


def test_calls_of_others_wait_for_their_turn(pair: tuple[Any, Any], gate: Gate) -> None:
    one, other = pair
    parked = other.future_.park(gate)
    gate.wait_for_arrival()
    waits = one.future_.throw([other, one], 0)  # the other one is busy
    later = one.future_.throw([], 99)
    assert not later.done()
    gate.open()
    parked.result()
    assert waits.result() == [0, 1, 2]
    assert later.result() == [99]
    assert one.seen.get_() == [0, 2, 99], "the later call has waited for the whole first one"


def test_one_that_is_not_reentrant_refuses_and_names_the_whole_chain(launch: Launch) -> None:
    with (
        Player.options(**launch, name="proud", reentrant=False).spawn() as proud,
        Player.options(**launch, name="meek").spawn() as meek,
    ):
        with pytest.raises(DeadlockError, match="proud → meek → proud") as caught:
            proud.throw([meek, proud], 0)
        assert "in throw" in str(caught.value), "with the stack of the one who waits"
        assert proud.seen.get_() == [0]
        assert meek.seen.get_() == [1]
        assert proud.throw([meek], 7) == [7, 8]


def test_a_stream_of_an_actor_that_waits_for_its_consumer_goes_on(pair: tuple[Any, Any]) -> None:
    one, other = pair
    assert one.collect_back(other, one) == list(range(40))


def test_a_stream_that_is_given_up_while_its_generator_waits_for_another_is_closed_then(
    pair: tuple[Any, Any], gate: Gate
) -> None:
    one, other = pair
    stream = iter(one.park_within(other, gate))
    assert next(stream) == 1
    gate.wait_for_arrival()
    stream.close()
    assert one.status_().call == "?.park_within(...)"
    gate.open()
    until(lambda: one.seen.get_() == ["closed"])
    assert not one.exc_.group("work")


@remote
class Node:
    """One of several that know each other by name."""

    a: Any
    b: Any

    def __init__(self) -> None:
        self.log: list[int] = []

    def know(self, **others: Any) -> None:
        self.__dict__.update(others)

    def report(self, count: int, size: int) -> str:
        for n in range(count):
            self.a.cast_.take(bytes(size), n)
        return "reported"

    def take(self, _: bytes, n: int) -> None:
        self.log.append(n)

    def have_reported(self, count: int, size: int) -> Any:
        return self.b.report(count, size)


@pytest.mark.parametrize(("count", "size"), [(20_000, 1000), (40, 1_000_000)])
def test_what_an_actor_waits_for_may_come_behind_any_number_of_casts(count: int, size: int) -> None:
    with Node.spawn() as a, Node.spawn() as b:
        a.know(b=b)
        b.know(a=a)
        assert a.future_.have_reported(count, size).result(20) == "reported"
        until(lambda: len(a.log) == count)
        assert a.log.get_() == list(range(count))


@remote
class Relay:
    """Its stream is that of another one, which calls it meanwhile."""

    def know(self, x: Any, y: Any, z: Any, gate: Gate) -> None:
        self.x, self.y, self.z, self.gate = x, y, z, gate

    def start(self, gate: Gate) -> list[int]:
        items = self.x.outer()
        got = [next(items)]
        iter(items)  # goes ahead from here on, and nobody waits for it
        gate.park()
        return got + self.rest_of(items)

    def rest_of(self, items: Any) -> list[int]:
        return list(items)

    def outer(self) -> Iterator[int]:
        yield from self.z.inner()

    def inner(self) -> Iterator[int]:
        yield 1
        self.gate.park()
        self.x.pass_on()
        yield 2

    def pass_on(self) -> Any:
        return self.y.one()

    def one(self) -> int:
        return 1


@pytest.mark.parametrize("first", ["its consumer waits", "its generator calls"])
def test_a_stream_that_goes_ahead_buries_no_request_that_it_needs(gate: Gate, first: str) -> None:
    before_call = Gate()
    with contextlib.ExitStack() as stack:
        x, y, z = (stack.enter_context(Relay.spawn()) for _ in range(3))
        for one in (x, y, z):
            one.know(x, y, z, before_call)
        started = y.future_.start(gate)
        for each in (gate, before_call):
            each.wait_for_arrival()
        steps = [(gate, y, "rest_of"), (before_call, x, "pass_on")]
        for each, actor, method in steps if first == "its consumer waits" else reversed(steps):
            each.open()
            until_within(actor, method)
        assert started.result(15) == [1, 2]


def until_within(actor: Any, method: str) -> None:
    """Wait until an actor is within a method, be it in what it calls there; or through with it."""
    until(lambda: f"in {method}\n" in actor.stack_() or actor.status_().call is None)


def test_a_chain_that_only_waits_for_its_turn_is_left_alone(
    pair: tuple[Any, Any], launch: Launch, gate: Gate
) -> None:
    """Nobody in the chain is waited for by its end."""
    one, other = pair
    with Player.options(**launch).spawn() as third:
        parked = third.future_.park(gate)
        gate.wait_for_arrival()
        middle = other.future_.throw([third], 1)
        first = one.future_.throw([other], 0)
        last = other.future_.throw([], 7)
        for actor in (other, one):
            until_within(actor, "throw")
        assert not any(future.done() for future in (parked, middle, first, last))
        gate.open()
        assert (middle.result(), first.result(), last.result()) == ([1, 2], [0, 1], [7])
        parked.result()
        assert sorted(other.seen.get_()) == [1, 1, 7]
        assert other.seen[0].get_() == 1


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("way", ["cast_", "future_"])
def test_a_call_on_behalf_of_what_nobody_waits_for_waits_for_its_turn(
    pair: tuple[Any, Any], launch: Launch, gate: Gate, way: str, reentrant: bool
) -> None:
    """It is no deadlock, and what the caller is at is not disturbed."""
    third, other = pair
    with Player.options(**launch, reentrant=reentrant).spawn() as one:
        parked = one.future_.send_then_park(way, other, [one], third, gate)
        gate.wait_for_arrival()
        until(lambda: other.status_().call == "?.throw(...)")
        until_within(other, "throw")
        assert not parked.done()
        gate.open()
        assert parked.result(10) == "parked"
        until(lambda: one.seen.get_() == [2])
        assert other.seen.get_() == [1]
        assert not other.exc_.group("work")


@pytest.mark.parametrize("way", ["cast_", "future_"])
def test_who_does_not_wait_for_a_call_is_no_part_of_its_chain(
    pair: tuple[Any, Any], launch: Launch, way: str
) -> None:
    """One has called another, and not waited; that one calls a third, which waits for the first."""
    parker, other = pair
    inner, outer = Gate(), Gate()
    spawner = Player.options(**launch, reentrant=False)
    with spawner.spawn() as one, spawner.spawn() as third:
        meeting = third.future_.meet(one, inner)
        inner.wait_for_arrival()
        parked = one.future_.send_then_park(way, other, [third], parker, outer)
        outer.wait_for_arrival()
        inner.open()
        until_within(third, "ask")
        assert not meeting.done()
        outer.open()
        assert (parked.result(10), meeting.result(10)) == ("parked", [5])
        until(lambda: third.seen.get_() == [2])
        assert not other.exc_.group("work")


@remote
class Looper(Player):
    """Its own loop calls others, and takes requests in now and then."""

    def __init__(self, other: Any) -> None:
        super().__init__()
        self.other = other
        self.got: list[Any] = []

    @remote.work
    def loop(self) -> None:
        current().process_requests()
        while current().listening_:
            try:
                self.got.append(self.other.throw([current()], 0))
            except DeadlockError as error:
                self.got.append(str(error))
            current().process_requests(timeout=None)


@pytest.mark.engines(skip={"inline": "has no work loop"})
def test_a_call_that_comes_back_to_a_work_loop_is_let_in(
    pair: tuple[Any, Any], launch: Launch
) -> None:
    with Looper.options(**launch).spawn(pair[0]) as looper:
        assert until(lambda: looper.got.get_())[0] == [0, 1]
        assert looper.throw([pair[1], looper], 5) == [5, 6, 7]


@pytest.mark.engines(skip={"inline": "has no work loop"})
def test_a_work_loop_that_is_not_reentrant_is_told_that_it_waits_for_itself(
    pair: tuple[Any, Any], launch: Launch
) -> None:
    with Looper.options(**launch, name="proud", reentrant=False).spawn(pair[0]) as looper:
        (told, *_) = until(lambda: looper.got.get_())
        assert re.search(r"proud → Player-\d+ → proud", told)


def test_the_class_may_say_that_its_actors_are_not_reentrant() -> None:
    @remote(reentrant=False)
    class Proud(Player):
        pass

    with Proud.spawn() as proud, Player.spawn() as meek, pytest.raises(DeadlockError):
        proud.throw([meek, proud], 0)


def test_a_time_limit_holds_while_an_actor_waits_for_another(
    pair: tuple[Any, Any], gate: Gate
) -> None:
    one, other = pair
    parked = other.future_.park(gate)
    gate.wait_for_arrival()
    begun = time.monotonic()
    limited = one.passto(_name_of_error, other)
    assert limited == "CallTimeoutError"
    assert time.monotonic() - begun < 5
    gate.open()
    parked.result()
    assert one.throw([other, one], 0) == [0, 1, 2]


def _name_of_error(_: Any, other: Any) -> str:
    try:
        other.with_(timeout=0.1).seen.get_()
    except Exception as error:
        return type(error).__name__
    return ""
