"""Calls that began independently and wait for each other: one ends, and the others go on.

The actors look for a ring after `DELAY`, which is shorter than what users have, but for one test.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remoteobj import CallTimeoutError, DeadlockError, current, remote
from remoteobj.testing import Gate
from tests.conftest import START_METHODS, Launch
from tests.internals import PROBE_DELAY, actor_id_of, at_each_probe
from tests.tools import until

DELAY = 0.1
ITEMS = list(range(40))
pytestmark = pytest.mark.engines(skip={"inline": "has no listener that another could reach"})


@pytest.fixture(autouse=True)
def _short_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    PROBE_DELAY.set(monkeypatch, DELAY)  # of actors in threads of this process


@remote
class Member:
    """One of several that call each other, each the next."""

    def __init__(self, name: str = "", delay: float = DELAY) -> None:
        PROBE_DELAY.set_for_good(delay)
        self.name = name
        self.seen: list[str] = []

    def meet(self, gate: Gate, way: str, other: Any, *args: Any) -> Any:
        gate.park()
        return getattr(self, way)(other, *args)

    def call_on(self, other: Any) -> Any:
        return other.note(self.name)

    def call_after_cast(self, other: Any) -> Any:
        other.cast_.note("cast")
        return self.call_on(other)

    def call_by_future(self, other: Any) -> Any:
        return other.future_.note(self.name).result()

    def call_by_stream(self, other: Any) -> list[int]:
        return list(other.count(40))

    def call_with_large(self, other: Any, size: int) -> int:
        return int(other.size_of("x" * size))

    def call_through(self, red: Any, green: Any, blue: Any, gate: Gate) -> Any:
        return red.call_to_be_called_back(green, blue, gate)

    def call_to_be_called_back(self, green: Any, blue: Any, gate: Gate) -> Any:
        return green.call_back(current(), blue, gate)

    def call_back(self, red: Any, blue: Any, gate: Gate) -> Any:
        return red.meet(gate, "call_on", blue)

    def call_with_limit(self, other: Any, seconds: float) -> str:
        try:
            return str(other.with_(timeout=seconds).note(self.name))
        except CallTimeoutError:
            return "late"

    def nest(self, other: Any, ring: list[Any], depth: int) -> int:
        """Call on, by a future, from one to the next, with all of them at it at once."""
        if not depth:
            return 0
        rest = [*ring[1:], ring[0]]
        return 1 + int(other.future_.nest(rest[0], rest, depth - 1).result())

    def note(self, who: str) -> str:
        self.seen.append(who)
        return who

    def count(self, n: int) -> Iterator[int]:
        yield from range(n)

    def size_of(self, value: str) -> int:
        return len(value)

    def park(self, gate: Gate) -> str:
        gate.park()
        return "parked"


NAMES = ["red", "green", "blue", "white", "black"]


@contextlib.contextmanager
def ring_of(size: int, *launches: Launch, **options: Any) -> Iterator[list[Any]]:
    """So many members; afterwards each of them must answer."""
    delay = options.pop("delay", DELAY)
    with contextlib.ExitStack() as stack:
        members = [
            stack.enter_context(
                Member.options(**launches[i % len(launches)], name=NAMES[i], **options).spawn(
                    NAMES[i], delay
                )
            )
            for i in range(size)
        ]
        yield members
        assert [one.with_(timeout=10).note("after") for one in members] == ["after"] * size


def meet(members: list[Any], way: str | list[str] = "call_on", *args: Any) -> list[Any]:
    """Have each call the next one, when all of them are within a call; the futures."""
    ways = [way] * len(members) if isinstance(way, str) else way
    gates = [Gate() for _ in members]
    nexts = [*members[1:], members[0]]
    futures = [
        one.future_.meet(gate, how, other, *args)
        for one, gate, how, other in zip(members, gates, ways, nexts, strict=True)
    ]
    for gate in gates:
        gate.wait_for_arrival()
    for gate in gates:
        gate.open()
    return futures


def loser_of(futures: list[Any], *, seconds: float = 10.0) -> int:
    """The one whose call has ended by an error, which says of all where they wait."""
    errors = [future.exception(seconds) for future in futures]
    [loser] = [n for n, error in enumerate(errors) if error is not None]
    names = [NAMES[(loser + n) % len(futures)] for n in range(len(futures) + 1)]
    error = errors[loser]
    assert type(error) is DeadlockError
    text = str(error)
    assert text.startswith(f"these actors wait for each other: {' → '.join(names)}. ")
    stacks = re.split(r"^(\w+) waits here:\n", text, flags=re.MULTILINE)[1:]
    assert stacks[::2] == names[:-1]
    for stack in stacks[1::2]:
        assert re.match(r'  File ".*test_rings\.py", line \d+, in (meet|loop)\n', stack)
        assert "in call_" in stack
        assert "/remoteobj/_" not in stack, "frames of the package"
    return loser


def until_blocked(member: Any) -> None:
    """Wait until this one has made its call."""
    until(lambda: re.search(r"in (call_|relay)\w*\n", member.stack_()))


# ------------------------------------------------------------------ one call of a ring ends


@pytest.mark.parametrize(("reentrant", "size"), [(True, 5), (False, 2)])
def test_of_a_ring_one_call_ends_and_the_others_get_their_values(
    launch: Launch, size: int, reentrant: bool
) -> None:
    with ring_of(size, launch, reentrant=reentrant) as members:
        begun = time.monotonic()
        futures = meet(members)
        loser = loser_of(futures)
        assert DELAY <= time.monotonic() - begun < 5.0
        for n, (future, name) in enumerate(zip(futures, NAMES, strict=False)):
            assert n == loser or future.result() == name
        for n in range(size):
            caller = NAMES[n - 1 if n else size - 1]
            expected = [] if (n - 1) % size == loser else [caller]
            assert members[n].seen.get_() == expected, "the call that ended is not run later"


def test_with_the_delay_that_users_have_it_ends_as_well() -> None:
    with ring_of(3, {}, delay=1.0) as members:
        begun = time.monotonic()
        loser_of(meet(members))
        assert 1.0 <= time.monotonic() - begun < 6.0


@pytest.mark.parametrize("order", [[2, 1, 0], [1, 0, 2]])
def test_members_that_begin_to_wait_one_after_the_other_lose_one_call(
    order: list[int], gate: Gate
) -> None:
    """The first have asked in vain, twice, before the last one closes the ring."""
    with ring_of(3, {}) as members:
        gates = [Gate() for _ in members]
        asked = Gate()
        members[order[0]].passto(tell_of_probes, asked.arrive)
        futures = [
            one.future_.meet(gates[n], "call_on", members[(n + 1) % 3])
            for n, one in enumerate(members)
        ]
        for each in gates:
            each.wait_for_arrival()
        for n in order[:2]:
            gates[n].open()
            until_blocked(members[n])
        asked.wait_for_arrival()
        asked.wait_for_arrival()
        assert not any(future.done() for future in futures)
        begun = time.monotonic()
        gates[order[2]].open()
        loser_of(futures)
        assert time.monotonic() - begun < DELAY + 1.5, "as soon as the last one asks"


def tell_of_probes(_: object, tell: Callable[[], object]) -> None:
    at_each_probe(tell)


@pytest.mark.parametrize(
    "ways",
    [
        ["call_by_future"] * 3,
        ["call_by_stream"] * 2,
        ["call_on", "call_by_stream", "call_by_future"],
        ["call_by_stream", "call_on"],
    ],
    ids="-".join,
)
def test_it_is_the_same_for_futures_and_streams(launch: Launch, ways: list[str]) -> None:
    with ring_of(len(ways), launch) as members:
        futures = meet(members, ways)
        loser = loser_of(futures)
        for n, way in enumerate(ways):
            expected = ITEMS if way == "call_by_stream" else NAMES[n]
            assert n == loser or futures[n].result() == expected


@pytest.mark.parametrize(("count", "size"), [(2, 5_000_000), (3, 300_000)])
def test_large_arguments_to_each_other_do_not_hang_in_the_write(
    launch: Launch, size: int, count: int
) -> None:
    """Each of them takes in what the other writes, though it does not run it."""
    with ring_of(count, launch) as members:
        futures = meet(members, "call_with_large", size)
        loser = loser_of(futures)
        assert [n == loser or future.result() == size for n, future in enumerate(futures)]


def test_a_ring_goes_through_actors_of_all_ways_to_start() -> None:
    launches: list[Launch] = [{"start_method": one} for one in START_METHODS]
    with ring_of(4, *launches, {"engine": "thread"}) as members:
        loser_of(meet(members))


def test_calls_that_nest_by_futures_all_end(launch: Launch) -> None:
    with ring_of(3, launch) as members:
        for _ in range(3):
            nexts = [*members[1:], members[0]]
            futures = [
                one.future_.nest(other, members, 3)
                for one, other in zip(members, nexts, strict=True)
            ]
            errors = [future.exception(10) for future in futures]
            for error, future in zip(errors, futures, strict=True):
                assert type(error) is DeadlockError if error else future.result() == 3


def test_a_time_limit_that_ends_sooner_ends_the_ring(launch: Launch) -> None:
    with ring_of(2, launch, delay=60.0) as members:
        outcomes = [one.result(10) for one in meet(members, "call_with_limit", 0.3)]
        assert "late" in outcomes
        assert set(outcomes) <= {"late", *NAMES}


def test_one_who_waits_at_the_end_of_a_tail_gets_his_value_when_the_ring_has_ended() -> None:
    """What leads into a ring is none of it, though it may be the one that finds it."""
    with ring_of(4, {}) as members:
        *ring, tail = members
        gate = Gate()
        waiting = tail.future_.meet(gate, "call_on", ring[0])
        gate.wait_for_arrival()
        gate.open()
        futures = meet(ring)
        loser_of(futures)
        assert waiting.result(10) == NAMES[3]


def test_a_member_may_try_again_when_it_has_lost(launch: Launch) -> None:
    with ring_of(2, launch) as members:
        loser = loser_of(meet(members))
        winner = members[1 - loser]
        assert members[loser].call_on(winner) == NAMES[loser]
        loser_of(meet(members))


def test_a_ring_that_goes_through_a_call_that_was_let_in_ends_as_well(gate: Gate) -> None:
    """It needs, by way of another actor, what a request beneath it on the stack has still to give.

    red waits for green, which calls red back; that waits for blue, which waits for white, which
    waits for red.
    """
    with ring_of(4, {}) as members:
        red, green, blue, white = members
        begun = Gate()
        first = white.future_.call_through(red, green, blue, gate)
        gate.wait_for_arrival()
        second = blue.future_.meet(begun, "call_on", white)
        begun.wait_for_arrival()
        begun.open()
        until_blocked(blue)
        gate.open()
        outcomes = [first.exception(10), second.exception(10)]
        [error] = [one for one in outcomes if one is not None]
        turns = ["red → blue → white → red", "blue → white → red → blue"]
        turns.append("white → red → blue → white")
        assert type(error) is DeadlockError
        assert any(f"each other: {turn}." in str(error) for turn in turns)
        assert first.exception() or first.result() == "red"


@remote
class Looper(Member):
    """Its own loop calls another one when it is told to."""

    def __init__(self, name: str, gate: Gate, other: Any) -> None:
        super().__init__(name)
        self.gate, self.other, self.got = gate, other, list[Any]()

    @remote.work
    def loop(self) -> None:
        current().process_requests()  # from now on this thread runs them, and no other
        self.gate.park()
        try:
            self.got.append(self.call_on(self.other))
        except DeadlockError as error:
            self.got.append(error)
        while current().listening_:
            current().process_requests(timeout=None)


@pytest.mark.engines(skip={"inline": "has no work loop"})
def test_a_work_loop_may_be_in_a_ring(launch: Launch) -> None:
    begin = Gate()
    with (
        Member.options(**launch, name="green").spawn("green") as other,
        Looper.options(**launch, name="red").spawn("red", begin, other) as looper,
    ):
        begin.wait_for_arrival()
        gate = Gate()
        called = other.future_.meet(gate, "call_on", looper)
        gate.wait_for_arrival()
        begin.open()
        gate.open()
        [got] = until(lambda: looper.got.get_())
        loser_of([Outcome(got), called])


class Outcome:
    """What came of something, as a future tells it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def exception(self, seconds: float = 0.0) -> BaseException | None:
        return self.value if isinstance(self.value, BaseException) else None


# ------------------------------------------------------------------ what is no ring


def test_a_long_wait_for_a_busy_actor_is_left_alone(gate: Gate) -> None:
    asked = Gate()
    with ring_of(2, {}) as (one, other):
        one.passto(tell_of_probes, asked.arrive)
        parked = other.future_.park(gate)
        gate.wait_for_arrival()
        waiting = one.future_.call_on(other)
        for _ in range(3):
            asked.wait_for_arrival()
        assert not waiting.done()
        gate.open()
        assert (parked.result(), waiting.result(10)) == ("parked", "red")


def test_a_chain_that_waits_for_its_turn_is_left_alone(gate: Gate) -> None:
    asked = Gate()
    with ring_of(4, {}) as members:
        *chain, last = members
        parked = last.future_.park(gate)
        gate.wait_for_arrival()
        for one in chain:
            one.passto(tell_of_probes, asked.arrive)
        futures = []
        for one, other in zip(reversed(chain), reversed(members), strict=False):
            futures.append(one.future_.call_on(other))
            until_blocked(one)
        for _ in range(3 * 3):
            asked.wait_for_arrival()
        assert not any(future.done() for future in futures)
        gate.open()
        parked.result()
        assert [future.result(10) for future in futures] == ["blue", "green", "red"]


@remote
class Boss:
    """Calls a helper, which calls back; what is let in so is slow."""

    def __init__(self) -> None:
        PROBE_DELAY.set_for_good(DELAY)
        self.notes: list[str] = []

    def begin(self, helper: Any, method: str, *args: Any) -> Any:
        return getattr(helper, method)(current(), *args)

    def park(self, gate: Gate) -> str:
        gate.park()
        return "parked"

    def items(self, gate: Gate) -> Iterator[int]:
        for i in range(3):
            gate.park()
            yield i

    def send_large(self, third: Any) -> int:
        return int(third.size_of("x" * 5_000_000))

    def take_one_in(self, gate: Gate) -> list[str]:
        gate.arrive()
        while not self.notes:
            current().process_requests(timeout=20)
        return self.notes

    def note(self, what: str) -> None:
        self.notes.append(what)


@remote
class Helper:
    """Asks for a ring while the boss is at work for it."""

    def __init__(self, opened_by_probe: Gate) -> None:
        PROBE_DELAY.set_for_good(DELAY)
        at_each_probe(opened_by_probe.open)

    def both(self, boss: Any, third: Any, gate: Gate) -> list[str]:
        """By way of a third, and by itself: both are let in, one after the other."""
        slow = third.future_.pass_on(boss, gate)
        gate.wait_for_arrival()
        return [boss.note("fast"), slow.result()]

    def pass_on(self, boss: Any, gate: Gate) -> str:
        return str(boss.park(gate))

    def consume(self, boss: Any, gate: Gate) -> list[int]:
        return list(boss.items(gate))

    def call_back(self, boss: Any, method: str, *args: Any) -> Any:
        return getattr(boss, method)(*args)


@pytest.mark.parametrize("helper_would_lose", [True, False])
def test_a_call_that_waits_behind_another_that_was_let_in_is_left_alone(
    gate: Gate, helper_would_lose: bool
) -> None:
    """It comes together with the probe of the one who waits, when the slow one has ended."""
    with contextlib.ExitStack() as stack:
        third = stack.enter_context(Helper.spawn(Gate()))

        def pair() -> tuple[Any, Any]:
            return stack.enter_context(Boss.spawn()), stack.enter_context(Helper.spawn(gate))

        boss, helper = pair()
        while (actor_id_of(helper) > actor_id_of(boss)) is not helper_would_lose:
            boss, helper = pair()  # both: one of them may have an id that hardly any other exceeds
        assert boss.begin(helper, "both", third, gate) == [None, "parked"]


def test_a_slow_stream_that_was_let_in_is_left_alone(gate: Gate) -> None:
    with Boss.spawn() as boss, Helper.spawn(gate) as helper:
        assert boss.begin(helper, "consume", gate) == [0, 1, 2]


def test_what_was_let_in_and_waits_for_room_to_write_is_left_alone(gate: Gate) -> None:
    """While it writes, the boss takes the probe in, and is blocked on the helper further down."""
    asked = Gate()
    with Member.spawn() as third, Boss.spawn() as boss, Helper.spawn(asked) as helper:
        parked = third.future_.park(gate)
        gate.wait_for_arrival()
        called = boss.future_.begin(helper, "call_back", "send_large", third)
        until(lambda: "in send_large" in boss.stack_())
        for _ in range(2):
            open_and_wait(asked)
        gate.open()
        assert (parked.result(), called.result(10)) == ("parked", 5_000_000)


def open_and_wait(asked: Gate) -> None:
    """Wait until a helper has opened this gate."""
    asked.park(10.0)
    asked.wait_for_arrival()  # of ourselves


def test_what_was_let_in_and_processes_requests_is_left_alone(gate: Gate) -> None:
    asked = Gate()
    with Boss.spawn() as boss, Helper.spawn(asked) as helper:
        called = boss.future_.begin(helper, "call_back", "take_one_in", gate)
        gate.wait_for_arrival()
        for _ in range(2):
            open_and_wait(asked)
        boss.note("done")
        assert called.result(10) == ["done"]


def test_a_probe_waits_for_no_room_so_that_the_time_limit_holds(gate: Gate) -> None:
    """The line to the busy one is full, of a call that nobody waits for."""
    with ring_of(2, {}) as (one, other):
        parked = other.future_.park(gate)
        gate.wait_for_arrival()
        begun = time.monotonic()
        assert one.passto(limited_call_behind_a_large_one, other) == "late"
        assert time.monotonic() - begun < 5
        gate.open()
        parked.result()


def limited_call_behind_a_large_one(_: object, other: Any) -> str:
    large = other.future_.size_of("x" * 900_000)
    try:
        large.result(10 * DELAY)
    except TimeoutError:
        return "late"
    return "in time"


def test_the_order_of_what_a_member_has_sent_holds_in_a_ring() -> None:
    """Its call comes after its cast, whether the ring costs that call or another one."""
    with ring_of(3, {}) as members:
        green = members[1]
        loser = loser_of(meet(members, ["call_after_cast", "call_on", "call_on"]))
        expected = ["cast"] if loser == 0 else ["cast", "red"]
        until(lambda: green.seen.get_() == expected)
