"""How one end of a line waits for the other: it polls, and then it sleeps."""

from typing import Any

import pytest

from remoteobj._os import poller
from remoteobj._os.poller import MAX_CREDIT, RETRY_EVERY, SpinPoller


class Looks:
    """Stands where a waiter polls: what the next looks find, and how many there were."""

    def __init__(self) -> None:
        self.found: list[list[tuple[int, int]]] = []
        self.looks = 0
        self.sleeps = 0

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        if timeout == 0:
            self.looks += 1
            return self.found.pop(0) if self.found else []
        self.sleeps += 1
        return [(0, 1)]


@pytest.fixture
def looks() -> Looks:
    return Looks()


def waiter(looks: Looks, spin: float | None = None) -> Any:
    made: Any = SpinPoller(spin)
    made._poll = made._hot = looks
    return made


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "_processors", lambda: 2)


def test_what_comes_at_once_is_found_without_sleeping(looks: Looks) -> None:
    looks.found = [[], [], [(7, 1)]]
    assert waiter(looks, spin=1.0).wait() == [(7, 1)]
    assert (looks.looks, looks.sleeps) == (3, 0)


def test_what_does_not_come_soon_is_slept_for(looks: Looks) -> None:
    assert waiter(looks).wait() == [(0, 1)]
    assert looks.looks > 0
    assert looks.sleeps == 1


def test_polling_that_does_not_pay_is_given_up_and_tried_again_now_and_then(looks: Looks) -> None:
    one = waiter(looks)
    while one._credit > 0:
        one.wait()
    looks.looks = 0
    for _ in range(RETRY_EVERY - 1):
        one.wait()
    assert looks.looks == 0
    one.wait()
    assert looks.looks > 0


def test_polling_that_pays_again_is_trusted_again(looks: Looks) -> None:
    one = waiter(looks)
    while one._credit > 0:
        one.wait()
    one._skipped = RETRY_EVERY - 1
    for _ in range(MAX_CREDIT):
        looks.found = [[(7, 1)]]
        assert one.wait() == [(7, 1)]
    assert one._credit == MAX_CREDIT


@pytest.mark.parametrize("spin", [0, 0.0])
def test_polling_can_be_switched_off(looks: Looks, spin: float) -> None:
    one = waiter(looks, spin)
    for _ in range(2 * RETRY_EVERY):
        one.wait()
    assert looks.looks == 0


def test_one_processor_alone_is_never_polled_on(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_processors", lambda: 1)
    one = waiter(looks)
    for _ in range(2 * RETRY_EVERY):
        one.wait()
    assert looks.looks == 0


def test_who_polls_for_long_gives_way_and_is_not_charged_for_what_others_used(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, given_way = [0.0], []

    def give_way() -> None:
        given_way.append(now[0])
        now[0] += 20e-6  # another process runs for so long

    def clock() -> float:
        now[0] += 1e-6
        return now[0]

    monkeypatch.setattr(poller, "clock", clock)
    monkeypatch.setattr(poller, "_yield_cpu", give_way)
    looks.found = [[]] * 25 + [[(7, 1)]]
    one = waiter(looks)  # 50 µs by default, of which others use none
    assert one.wait() == [(7, 1)]
    assert len(given_way) > 5
    assert one._contended


def test_polling_ends_though_others_always_use_the_processor(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def give_way() -> None:
        now[0] += 20e-6

    def clock() -> float:
        now[0] += 1e-6
        return now[0]

    monkeypatch.setattr(poller, "clock", clock)
    monkeypatch.setattr(poller, "_yield_cpu", give_way)
    waiter(looks).wait()
    assert looks.sleeps == 1
    assert now[0] < 3e-3


def test_a_machine_that_is_full_ends_the_polling(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def give_way() -> None:
        now[0] += 3e-3  # somebody computes

    def clock() -> float:
        now[0] += 1e-6
        return now[0]

    monkeypatch.setattr(poller, "clock", clock)
    monkeypatch.setattr(poller, "_yield_cpu", give_way)
    one = waiter(looks)
    one.wait()
    assert looks.sleeps == 1
    assert now[0] < 4e-3
