"""How one end of a line waits for the other: it polls, and then it sleeps."""

import os
import select
import time
from typing import Any

import pytest

from remoteobj._os import poller
from remoteobj._os.poller import (
    ALONE_SECONDS,
    CROWD_SECONDS,
    FORGIVEN,
    KEPT,
    MAX_CREDIT,
    MISS_COST,
    NAP_SECONDS,
    REST,
    SLICE_SECONDS,
    SPIN_SECONDS,
    TURNS,
    USED_SECONDS,
    WARY,
    SpinPoller,
)
from tests.tools import Call

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
        self.others_use = 0.0
        """Seconds that others take when this process gives way."""
        self.now = 0.0
        self.looks = 0
        self.sleeps = 0
        self.given_way = 0

    def poll(self, timeout: float | None = None) -> Ready:
        if timeout == 0:
            self.looks += 1
            self.now += self.look_seconds
            return self.found.pop(0) if self.found else []
        self.sleeps += 1
        return SLEPT

    def give_way(self) -> None:
        self.given_way += 1
        self.now += self.others_use

    def clock(self) -> float:
        return self.now


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    made = Line()
    monkeypatch.setattr(poller, "clock", made.clock)
    monkeypatch.setattr(poller, "_yield_cpu", made.give_way)
    monkeypatch.setattr(poller, "usable_processors", lambda: 2)
    return made


def waiter(line: Line, spin: float | None = None) -> Any:
    made: Any = SpinPoller(spin)
    made._poll = made._hot = line
    return made


def hit(one: Any, line: Line) -> None:
    """A wait in which polling helps at once."""
    line.found = [ANSWER]
    assert one.wait() == ANSWER


def long_hit(one: Any, line: Line) -> None:
    """A wait in which it helps after it has begun to give way, if it does."""
    line.found = [[]] * int(1.5 * ALONE_SECONDS / LOOK) + [ANSWER]
    assert one.wait() == ANSWER


def miss(one: Any, line: Line) -> None:
    """A wait in which it does not."""
    line.found = []
    assert one.wait() == SLEPT


def lose_a_slice(one: Any, line: Line) -> None:
    """A wait in which somebody who computes takes the processor when it gives way."""
    line.found, line.others_use = [], 2 * SLICE_SECONDS
    assert one.wait() == SLEPT
    line.others_use = 0.0


def sleeps_at_once(one: Any, line: Line) -> int:
    """How many of the next waits do."""
    line.found, line.looks, count = [], 0, 0
    while one._naps:
        assert one.wait() == SLEPT
        count += 1
    assert line.looks == 0
    return count


def wary_polls(one: Any, line: Line) -> int:
    """How many of the next long polls do not give way."""
    count, line.given_way = 0, 0
    while True:
        sleeps_at_once(one, line)
        long_hit(one, line)
        if line.given_way:
            return count
        count += 1


# --- one wait --------------------------------------------------------------------------------


def test_what_comes_at_once_is_found_without_sleeping(line: Line) -> None:
    line.found = [[], [], ANSWER]
    assert waiter(line, spin=1.0).wait() == ANSWER
    assert (line.looks, line.sleeps, line.given_way) == (3, 0, 0)


def test_what_does_not_come_soon_is_slept_for(line: Line) -> None:
    assert waiter(line).wait() == SLEPT
    assert line.sleeps == 1
    assert SPIN_SECONDS <= line.now < SPIN_SECONDS + 3 * LOOK


def test_a_wait_of_no_time_looks_once(line: Line) -> None:
    line.found = [ANSWER]
    assert waiter(line).wait(deadline=0.0) == ANSWER
    assert (line.looks, line.sleeps) == (1, 0)


@pytest.mark.parametrize("spin", [0, 0.0])
def test_polling_can_be_switched_off(line: Line, spin: float) -> None:
    one = waiter(line, spin)
    for _ in range(2 * REST):
        one.wait()
    assert line.looks == 0


def test_one_processor_alone_is_never_polled_on(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "usable_processors", lambda: 1)
    one = waiter(line)
    for _ in range(2 * REST):
        one.wait()
    assert line.looks == 0


# --- whether it pays -------------------------------------------------------------------------


def test_polling_that_does_not_pay_is_given_up_and_tried_again_now_and_then(line: Line) -> None:
    one = waiter(line)
    for _ in range(MAX_CREDIT // MISS_COST):
        assert not one._naps
        miss(one, line)
    assert sleeps_at_once(one, line) == REST
    miss(one, line)
    assert line.looks > 0
    assert sleeps_at_once(one, line) == REST


def test_polling_that_pays_again_is_trusted_again(line: Line) -> None:
    one = waiter(line)
    while not one._naps:
        miss(one, line)
    sleeps_at_once(one, line)
    for _ in range(MAX_CREDIT):
        hit(one, line)
    for _ in range(MAX_CREDIT // MISS_COST - 1):
        miss(one, line)
    assert not one._naps


# --- others who use the processor --------------------------------------------------------------


def test_who_polls_for_long_gives_way_and_is_not_charged_for_what_others_used(line: Line) -> None:
    one = waiter(line)
    line.others_use = 10 * USED_SECONDS
    line.found = [[]] * (int(ALONE_SECONDS / LOOK) + 20) + [ANSWER]
    assert one.wait() == ANSWER
    assert line.now > 2 * SPIN_SECONDS
    line.given_way, line.found = 0, [[], ANSWER]
    assert one.wait() == ANSWER
    assert line.given_way == 2, "it gives way from the first on, while others use it"


def test_polling_ends_though_others_always_use_the_processor(line: Line) -> None:
    line.others_use = 10 * USED_SECONDS
    assert waiter(line).wait() == SLEPT
    assert CROWD_SECONDS < line.now < 2 * CROWD_SECONDS


def test_a_long_wait_that_nobody_used_the_processor_in_does_not_have_the_next_one_give_way(
    line: Line,
) -> None:
    one = waiter(line)
    long_hit(one, line)
    assert line.given_way > 0
    line.given_way, line.found = 0, [[], ANSWER]
    assert one.wait() == ANSWER
    assert line.given_way == 0


def test_who_is_told_to_keep_the_processor_gives_way_only_some_long_waits_later(
    line: Line,
) -> None:
    one = waiter(line)
    for _ in range(2):  # to be told again is to be told from now on
        one.keep_cpu()
        for _ in range(KEPT - 1):
            hit(one, line)
            long_hit(one, line)
    assert line.given_way == 0
    long_hit(one, line)
    assert line.given_way == 0
    long_hit(one, line)
    assert line.given_way > 0


def test_two_who_take_turns_on_one_processor_part_by_a_sleep(line: Line) -> None:
    """Who sleeps is woken on another processor, if that is free. Else they go on to take turns."""
    one = waiter(line)
    line.others_use = 2 * USED_SECONDS
    for _ in range(2):
        for _ in range(TURNS):
            assert not one._naps
            long_hit(one, line)
        assert sleeps_at_once(one, line) == 1


def test_who_keeps_the_processor_takes_no_turns_on_it(line: Line) -> None:
    one = waiter(line)
    one.keep_cpu()
    line.look_seconds = 2 * USED_SECONDS
    long_hit(one, line)
    assert one._turns == 0


def test_who_waits_in_vain_while_others_use_the_processor_takes_no_turn(line: Line) -> None:
    one = waiter(line)
    line.others_use = 10 * USED_SECONDS
    for _ in range(MAX_CREDIT // MISS_COST - 1):
        miss(one, line)
    assert one._turns == 0


def test_who_loses_a_slice_of_time_by_giving_way_sleeps_at_once_and_then_does_not_give_way(
    line: Line,
) -> None:
    one = waiter(line)
    lose_a_slice(one, line)
    assert sleeps_at_once(one, line) == REST
    assert wary_polls(one, line) == WARY[0]


def test_an_answer_that_is_there_after_a_lost_slice_is_taken_and_the_loss_counts(
    line: Line,
) -> None:
    one = waiter(line)
    line.others_use = 2 * USED_SECONDS
    long_hit(one, line)  # the next wait gives way from the first on
    line.others_use = 2 * SLICE_SECONDS
    hit(one, line)
    assert sleeps_at_once(one, line) == REST


def test_who_is_wary_ends_polling_as_soon_as_others_use_the_processor(line: Line) -> None:
    one = waiter(line)
    lose_a_slice(one, line)
    sleeps_at_once(one, line)
    line.looks, line.look_seconds = 0, ALONE_SECONDS
    assert one.wait() == SLEPT
    assert line.looks == 2, "one before it would give way, and one that takes too long"


def test_each_loss_makes_wary_for_twice_as_long_as_the_last(line: Line) -> None:
    one = waiter(line)
    found = []
    for _ in range(12):
        lose_a_slice(one, line)
        found.append(wary_polls(one, line))
    assert found == [min(WARY[0] * 2**n, WARY[1]) for n in range(12)]


def test_losses_are_forgiven_once_it_has_given_way_often_without_one(line: Line) -> None:
    one = waiter(line)
    for _ in range(3):
        lose_a_slice(one, line)
        wary_polls(one, line)
    for _ in range(FORGIVEN):
        long_hit(one, line)
    lose_a_slice(one, line)
    assert wary_polls(one, line) == WARY[0]


@pytest.mark.parametrize("too_high", [False, True], ids=["", "above the numbers that select takes"])
def test_a_wait_with_a_deadline_ends_there_and_not_with_its_millisecond(
    monkeypatch: pytest.MonkeyPatch, too_high: bool
) -> None:
    one = SpinPoller(spin=0)
    if too_high:

        def refuse(*_: object) -> Ready:
            raise ValueError("filedescriptor out of range in select()")

        monkeypatch.setattr(select, "select", refuse)
    took = []
    for _ in range(30):
        begun = time.monotonic()
        assert one.wait(begun + 0.0002) == []
        took.append(time.monotonic() - begun)
    assert min(took) >= 0.0002
    assert (min(took) < 0.0009) is not too_high  # of 30, one at least is not held up by others


def test_what_comes_in_the_last_millisecond_before_a_deadline_ends_the_wait() -> None:
    reads, writes = os.pipe()
    try:
        one = SpinPoller(spin=0)
        one.register(reads)
        os.write(writes, b"!")
        assert one.wait(time.monotonic() + 0.0009) == [(reads, select.POLLIN)]
        assert one.wait(time.monotonic() + 60) == [(reads, select.POLLIN)]
    finally:
        os.close(reads)
        os.close(writes)


def test_the_main_thread_of_a_program_looks_up_while_it_waits_for_an_answer(line: Line) -> None:
    """A signal that has come just before a sleep has its handler run then."""
    naps: list[Any] = []

    def nap(timeout: float | None = None) -> Ready:
        naps.append(timeout)
        return ANSWER if len(naps) > 3 else []

    one: Any = SpinPoller(spin=0, looks_up=True)
    one._poll = line
    line.poll = nap  # type: ignore[method-assign]
    assert one.wait() == ANSWER
    assert naps == [NAP_SECONDS * 1000] * 4
    naps.clear()
    assert one.wait(time.monotonic() + 60) == ANSWER
    assert naps == [NAP_SECONDS * 1000] * 4
    naps[:] = [0] * 3
    assert Call(one.wait).result() == ANSWER  # by another thread, in which no handler runs
    assert naps == [0, 0, 0, None]
