"""The pacer by itself, with a clock that moves only as the test says."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from remoteobj._actor.pacing import Pacer

# All times are sums of powers of two, so that they are exact, unless a test says otherwise.


class Request(NamedTuple):
    """When it comes, and how long it takes."""

    at: float
    takes: float


class World:
    """A clock, and requests. Time goes by only in the loop's body, in requests, and in waits."""

    def __init__(self, *requests: Request, oversleeps: float = 0.0) -> None:
        self.now = 0.0
        self.requests = list(requests)
        self.served_at: list[float] = []
        self.goes_on: Callable[[], bool] = lambda: True
        self._oversleeps = oversleeps

    def serve(self, timeout: float) -> int:
        assert timeout >= 0
        if self.requests and self.requests[0].at <= self.now + timeout:
            at, takes = self.requests.pop(0)
            self.now = max(self.now, at)
            self.served_at.append(self.now)
            self.now += takes
            return 1
        self.now += timeout + self._oversleeps
        return 0

    def paced(self, period: float) -> Pacer:
        return Pacer(period, self.serve, lambda: self.goes_on(), lambda: self.now)


def run(world: World, period: float, bodies: list[float]) -> list[tuple[float, ...]]:
    """The ticks, and when each began; its body takes that long."""
    begun: list[tuple[float, ...]] = []
    for takes, tick in zip(bodies, world.paced(period), strict=False):
        begun.append((*tick, world.now))
        world.now += takes
    return begun


def test_ticks_lie_on_a_grid_whatever_the_body_takes() -> None:
    assert run(World(), 1.0, [0.25, 0.5, 0.0, 0.75]) == [
        (0, 0.0, 0.0, 0, 0, 0.0),
        (1, 1.0, 0.0, 0, 0, 1.0),
        (2, 2.0, 0.0, 0, 0, 2.0),
        (3, 3.0, 0.0, 0, 0, 3.0),
    ]


def test_a_wait_that_ends_too_late_moves_no_later_tick() -> None:
    late = [tick[2] for tick in run(World(oversleeps=0.125), 1.0, [0.25] * 5)]
    assert late == [0.0, 0.125, 0.125, 0.125, 0.125]


def test_a_request_is_run_when_it_comes_and_the_tick_is_on_time() -> None:
    world = World(Request(0.5, 0.125), Request(0.625, 0.0), Request(1.75, 0.0))
    begun = run(world, 1.0, [0.25] * 3)
    assert [tick[-1] for tick in begun] == [0.0, 1.0, 2.0]
    assert world.served_at == [0.5, 0.625, 1.75]


def test_a_request_that_comes_during_the_body_is_run_after_it() -> None:
    world = World(Request(0.125, 0.0))
    run(world, 1.0, [0.25, 0.0])
    assert world.served_at == [0.25]


def test_a_body_that_takes_a_little_too_long_makes_one_tick_late_and_loses_none() -> None:
    assert run(World(), 1.0, [1.25, 0.25, 0.25]) == [
        (0, 0.0, 0.0, 0, 0, 0.0),
        (1, 1.0, 0.25, 1, 0, 1.25),
        (2, 2.0, 0.0, 1, 0, 2.0),
    ]


def test_ticks_that_are_over_are_skipped_and_counted_and_not_made_up_for() -> None:
    assert run(World(), 1.0, [3.5, 0.25, 5.0, 0.0]) == [
        (0, 0.0, 0.0, 0, 0, 0.0),
        (3, 3.0, 0.5, 1, 2, 3.5),
        (4, 4.0, 0.0, 1, 2, 4.0),
        (9, 9.0, 0.0, 2, 6, 9.0),
    ]


def test_a_long_request_skips_ticks_and_is_no_overrun_of_the_body() -> None:
    assert run(World(Request(0.5, 2.25)), 1.0, [0.25, 0.0]) == [
        (0, 0.0, 0.0, 0, 0, 0.0),
        (2, 2.0, 0.75, 0, 1, 2.75),
    ]


def test_a_loop_that_is_always_late_gives_requests_a_share_of_its_time() -> None:
    flood = [Request(0.0, 1 / 32)] * 1000
    world = World(*flood)
    run(world, 1.0, [1.5] * 11)
    assert len(world.served_at) == 10 * 4  # a tenth of a second, and what was begun in it


def test_a_flood_of_requests_does_not_hold_up_the_ticks() -> None:
    world = World(*[Request(0.0, 1 / 32)] * 1000)
    late = [tick[2] for tick in run(world, 1.0, [0.25] * 10)]
    assert max(late) <= 1 / 32


def test_the_rate_is_kept_to_a_percent_over_ten_seconds_while_a_client_polls() -> None:
    polls = [Request(n / 1000, 50e-6) for n in range(11_000)]
    world = World(*polls, oversleeps=300e-6)
    ticks = []
    for tick in world.paced(1 / 30):
        if world.now >= 10:
            break
        ticks.append(tick)
        world.now += 0.005 + 0.04 * (tick.number % 20 == 0)  # now and then it takes too long
    last = ticks[-1]
    assert last.number == pytest.approx(300, abs=1)
    assert last.overruns == 15
    assert len(ticks) + last.skipped == last.number + 1


def test_no_error_adds_up_over_a_day() -> None:
    world = World()
    pacer = world.paced(0.1)
    next(pacer)
    world.now = 86_400.03
    assert next(pacer).due == pytest.approx(86_400.0, abs=1e-6)


def test_it_ends_when_the_host_stops_within_a_wait() -> None:
    world = World(Request(0.5, 0.0))
    world.goes_on = lambda: not world.served_at
    assert [tick[0] for tick in run(world, 1.0, [0.25] * 9)] == [0]
    assert world.now == 0.5


def test_it_ends_when_the_host_stops_within_the_body() -> None:
    world = World()
    world.goes_on = lambda: world.now < 1.5
    assert [tick[0] for tick in run(world, 1.0, [0.25, 0.75, 0.0])] == [0, 1]


def test_an_exception_in_a_wait_ends_it() -> None:
    world = World()
    pacer = world.paced(1.0)
    next(pacer)
    world.requests = [Request(0.5, 0.0)]
    world.served_at = None  # type: ignore[assignment] # which breaks the next request
    with pytest.raises(AttributeError):
        next(pacer)
    assert not pacer.open
    assert list(pacer) == []


def test_it_has_no_tick_after_its_close() -> None:
    pacer = World().paced(1.0)
    next(pacer)
    pacer.close()
    pacer.close()
    assert list(pacer) == []
