"""How one end of a line waits for the other: it polls, and then it sleeps."""

from collections.abc import Callable
from typing import Any

import pytest

from remoteobj._os import poller
from remoteobj._os.poller import (
    LONG_RESTS,
    MAX_CREDIT,
    MISS_COST,
    NAP,
    REST_SECONDS,
    RESTS,
    SLICE_SECONDS,
    SPIN_SECONDS,
    USED_SECONDS,
    SpinPoller,
)

Ready = list[tuple[int, int]]
ANSWER: Ready = [(7, 1)]
SLEPT: Ready = [(0, 1)]
LOOK = 1e-6
"""How long a look takes here, by the clock of these tests."""


class Line:
    """Stands where a waiter polls: what the next looks find, and how long each of them takes."""

    def __init__(self) -> None:
        self.found: list[Ready] = []
        self.look_seconds = LOOK
        self.now = 0.0
        self.looks = 0
        self.sleeps = 0

    def poll(self, timeout: float | None = None) -> Ready:
        if timeout == 0:
            self.looks += 1
            self.now += self.look_seconds
            return self.found.pop(0) if self.found else []
        self.sleeps += 1
        return SLEPT

    def clock(self) -> float:
        return self.now


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    made = Line()
    monkeypatch.setattr(poller, "clock", made.clock)
    monkeypatch.setattr(poller, "_processors", lambda: 2)
    return made


def waiter(line: Line, spin: float | None = None) -> Any:
    made: Any = SpinPoller(spin)
    made._poll = made._hot = line
    return made


def hit(one: Any, line: Line) -> None:
    """A wait in which polling helps: the answer is there at the second look."""
    line.found = [[], ANSWER]
    assert one.wait() == ANSWER


def miss(one: Any, line: Line) -> None:
    """A wait in which it does not."""
    line.found = []
    assert one.wait() == SLEPT


def lose_a_slice(one: Any, line: Line) -> None:
    """A wait in which somebody who computes has the processor for a slice of time."""
    line.look_seconds = 3e-3
    miss(one, line)
    line.look_seconds = LOOK


def give_up(one: Any, line: Line, fail: Callable[[Any, Line], None] = miss) -> None:
    while not one._naps:
        fail(one, line)


def rests(one: Any, line: Line) -> int:
    """How many waits sleep at once, from now on."""
    line.found, line.looks = [], 0
    count = 0
    while one._naps or one._left:
        line.looks = 0
        assert one.wait() == SLEPT
        assert line.looks <= 1, "it does not poll, but for a glance before the clock is asked"
        count += 1
    return count


# --- one wait --------------------------------------------------------------------------------


def test_what_comes_at_once_is_found_without_sleeping(line: Line) -> None:
    line.found = [[], [], ANSWER]
    assert waiter(line).wait() == ANSWER
    assert (line.looks, line.sleeps) == (3, 0)


def test_what_does_not_come_soon_is_slept_for(line: Line) -> None:
    assert waiter(line).wait() == SLEPT
    assert line.sleeps == 1
    assert SPIN_SECONDS <= line.now < SPIN_SECONDS + 3 * LOOK


def test_a_wait_of_no_time_looks_once(line: Line) -> None:
    line.found = [ANSWER]
    assert waiter(line).wait(deadline=0.0) == ANSWER
    assert (line.looks, line.sleeps) == (1, 0)


@pytest.mark.parametrize("used", [2 * USED_SECONDS, 2 * SLICE_SECONDS])
def test_polling_ends_as_soon_as_others_use_the_processor(line: Line, used: float) -> None:
    line.look_seconds = used
    assert waiter(line).wait() == SLEPT
    assert line.looks == 2


@pytest.mark.parametrize("spin", [0, 0.0])
def test_polling_can_be_switched_off(line: Line, spin: float) -> None:
    one = waiter(line, spin)
    for _ in range(2 * LONG_RESTS[1]):
        one.wait()
    assert line.looks == 0


def test_one_processor_alone_is_never_polled_on(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_processors", lambda: 1)
    one = waiter(line)
    for _ in range(2 * LONG_RESTS[1]):
        one.wait()
    assert line.looks == 0


# --- whether it pays -------------------------------------------------------------------------


def test_polling_that_does_not_help_is_given_up_and_tried_again_after_a_rest(line: Line) -> None:
    one = waiter(line)
    for _ in range(MAX_CREDIT // MISS_COST):
        assert not one._naps
        miss(one, line)
    assert rests(one, line) == RESTS[0]
    hit(one, line)


def test_polling_that_mostly_helps_goes_on(line: Line) -> None:
    one = waiter(line)
    for _ in range(100):
        miss(one, line)
        for _ in range(MISS_COST):
            hit(one, line)
    assert not one._naps


def test_polling_that_helps_half_the_time_is_given_up(line: Line) -> None:
    one = waiter(line)
    for _ in range(MAX_CREDIT):
        if not one._naps:
            miss(one, line)
        if not one._naps:
            hit(one, line)
    assert one._naps


def test_polling_that_has_helped_for_long_is_given_up_as_soon(line: Line) -> None:
    one = waiter(line)
    for _ in range(100 * MAX_CREDIT):
        hit(one, line)
    for _ in range(MAX_CREDIT // MISS_COST):
        miss(one, line)
    assert one._naps


def test_what_was_there_before_the_wait_does_not_speak_for_polling(line: Line) -> None:
    one = waiter(line)
    for _ in range(MAX_CREDIT // MISS_COST):
        miss(one, line)
        if not one._naps:
            line.found = [ANSWER]
            for _ in range(MISS_COST):
                line.found = [ANSWER]
                assert one.wait() == ANSWER
    assert one._naps


def test_each_rest_is_twice_as_long_as_the_last_while_polling_goes_on_to_fail(line: Line) -> None:
    one = waiter(line)
    found = []
    for _ in range(7):
        give_up(one, line)
        found.append(rests(one, line))
    assert found == [64, 128, 256, 512, 1024, 1024, 1024]


def test_rests_are_short_again_once_polling_has_helped_for_as_long(line: Line) -> None:
    one = waiter(line)
    for _ in range(3):
        give_up(one, line)
        rests(one, line)
    for _ in range(4 * RESTS[0]):
        hit(one, line)
    give_up(one, line)
    assert rests(one, line) == RESTS[0]
    give_up(one, line)
    assert rests(one, line) == 2 * RESTS[0], "how it helped before counts once"


def test_a_slice_of_time_that_others_took_makes_the_rest_long_at_once(line: Line) -> None:
    one = waiter(line)
    lose_a_slice(one, line)
    assert rests(one, line) == LONG_RESTS[0]


def test_polling_that_loses_a_slice_now_and_then_rests_for_longer_and_longer(line: Line) -> None:
    one = waiter(line)
    found = []
    for _ in range(5):
        for _ in range(300):  # as many calls go well in a slice of one's own
            hit(one, line)
        lose_a_slice(one, line)
        found.append(rests(one, line))
    assert found == [1024, 2048, 4096, 8192, 8192]


def test_no_rest_goes_on_for_longer_than_its_time_however_few_the_waits_are(line: Line) -> None:
    one = waiter(line)
    lose_a_slice(one, line)
    for _ in range(NAP):
        assert one.wait() == SLEPT
    line.now += REST_SECONDS
    hit(one, line)


def test_on_a_machine_that_is_quiet_again_polling_is_what_it_was(line: Line) -> None:
    one = waiter(line)
    for _ in range(5):
        lose_a_slice(one, line)
        rests(one, line)
    for _ in range(2 * LONG_RESTS[1]):
        hit(one, line)
    assert line.sleeps == 5 + sum((1024, 2048, 4096, 8192, 8192))
    for _ in range(MAX_CREDIT // MISS_COST - 1):
        miss(one, line)
    assert not one._naps
