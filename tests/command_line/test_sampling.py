"""Whom `top` asks in a look, and what it makes of two answers: without any actor, and without
time."""

from typing import Any

import pytest

from remoteobj import ActorInfo
from remoteobj.cli.rows import Row
from remoteobj.cli.sampling import AT_ONCE, IN_TURN, Sampler
from tests.internals import Glance


def glance(key: str, state: str = "running") -> Glance:
    info = ActorInfo(f"actor-{key}", "Cls", 1000, 999, state, 0.0, False, "process", key)
    return Glance(info, state, None, 0.0, 0, 0, 0.0, 7 << 20, 0.0)


class Looks:
    """Looks at actors that tell what a test says, by a clock that it sets."""

    def __init__(self, count: int = 1) -> None:
        self.now = 100.0
        self.tells = {str(n): glance(str(n)) for n in range(count)}
        self.asked: list[str] = []
        self._sampler = Sampler()

    def tell(self, **changes: Any) -> None:
        self.tells["0"] = self.tells["0"]._replace(**changes)

    def look(self, after: float = 0.5, on_screen: range = range(1000)) -> list[Row]:
        self.now += after
        self.asked = self._sampler.choose(self.now, list(self.tells), list(map(str, on_screen)))
        return self._sampler.rows(self.now, list(self.tells.values()))


def test_few_actors_are_all_asked_in_each_look() -> None:
    looks = Looks(AT_ONCE)
    for _ in range(3):
        looks.look()
        assert sorted(looks.asked, key=int) == [str(n) for n in range(AT_ONCE)]


def test_a_look_asks_no_more_than_it_may_and_leaves_out_nobody_for_ever() -> None:
    looks = Looks(1000)
    asked: set[str] = set()
    for _ in range(1000 // IN_TURN):
        looks.look(on_screen=range(AT_ONCE + 20))
        assert len(looks.asked) == len(set(looks.asked)) == AT_ONCE + IN_TURN
        asked.update(looks.asked)
    assert len(asked) == 1000


def test_those_on_the_screen_are_asked_the_most_often() -> None:
    looks = Looks(200)
    for _ in range(3):
        looks.look(on_screen=range(100, 110))
        assert {str(n) for n in range(100, 110)} <= set(looks.asked)


def test_calls_per_second_are_those_between_two_answers() -> None:
    looks = Looks(AT_ONCE + 2 * IN_TURN)
    looks.tell(done=10)
    nobody = range(0)
    assert looks.look(on_screen=range(1))[0].calls == 0  # how long those ten took is not known
    looks.tell(done=40)
    assert looks.look(after=1.5, on_screen=nobody)[0].calls == 0
    assert "0" not in looks.asked
    assert looks.look(after=0.5, on_screen=range(1))[0].calls == 15
    assert looks.look(after=0.5, on_screen=range(1))[0].calls == 0


def test_an_actor_that_was_started_anew_has_not_done_less_than_nothing() -> None:
    looks = Looks()
    looks.tell(done=40)
    looks.look()
    looks.tell(done=2)
    assert looks.look()[0].calls == 0


def test_the_share_of_a_core_is_what_was_used_between_two_looks() -> None:
    looks = Looks()
    looks.tell(cpu_seconds=5.0)
    assert looks.look()[0].cpu == 0
    looks.tell(cpu_seconds=5.2)
    assert looks.look(after=0.5)[0].cpu == pytest.approx(0.4)


def test_an_actor_that_does_not_answer_is_silent_until_it_does() -> None:
    looks = Looks()
    looks.tell(call="?.step(...)", age=3.0, done=7)
    looks.look()
    looks.tell(age=4.0, silent=1.0)
    row = looks.look(after=1.0)[0]
    assert (row.state, row.call, row.age) == ("silent", "?.step(...)", 4.0)
    looks.tell(silent=0.0, done=11)
    row = looks.look(after=1.0)[0]
    assert (row.state, row.calls) == ("running", 2)


def test_one_that_is_known_not_to_answer_says_why_instead() -> None:
    looks = Looks()
    looks.tells["0"] = glance("0", "suspended")._replace(silent=1.0)
    assert looks.look()[0].state == "suspended"


def test_the_dead_are_forgotten() -> None:
    looks = Looks(2)
    looks.look()
    del looks.tells["0"]
    assert [row.name for row in looks.look()] == ["actor-1"]
