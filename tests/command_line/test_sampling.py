"""Whom `top` asks in a look, and what it makes of two answers: without any actor, and without
time."""

import pytest

from remoteobj.cli.processes import Usage
from remoteobj.cli.rows import Row
from remoteobj.cli.sampling import AT_ONCE, IN_TURN, PATIENCE, Answer, Known, Sampler

IDLE = Answer("running", None, 0.0, 0, 0)


class Looks:
    """Looks at actors that use and tell what a test says, by a clock that it sets."""

    def __init__(self, count: int = 1) -> None:
        self.known = [Known(n, f"actor-{n}", "Cls", 1000 + n, "running", 5.0) for n in range(count)]
        self.now = 100.0
        self.used = dict.fromkeys((one.pid for one in self.known), 0.0)
        self.tells: dict[int, Answer | None] = {}
        self.asked: list[object] = []
        self._sampler = Sampler()

    def work(self, key: int, seconds: float) -> None:
        self.used[1000 + key] += seconds

    def look(self, after: float = 0.5, on_screen: range | None = None) -> list[Row]:
        self.now += after
        used = {pid: Usage(seconds, 7 << 20) for pid, seconds in self.used.items()}
        seen = range(len(self.known)) if on_screen is None else on_screen
        chosen = self._sampler.choose(self.now, self.known, used, seen)
        self.asked = [one.key for one in chosen]
        answers = {one.key: self.tells.get(int(str(one.key)), IDLE) for one in chosen}
        for one in chosen:
            if one.pid in self.used:
                self.used[one.pid] += 0.0003  # to answer takes it some time
        return self._sampler.rows(self.now, self.known, used, answers, self.used)


def test_an_actor_that_has_run_nothing_is_not_asked_again_for_a_while() -> None:
    looks = Looks()
    looks.look()
    assert looks.asked == [0]
    for _ in range(int(PATIENCE / 0.5) - 1):
        looks.look()
        assert looks.asked == []
    looks.look()
    assert looks.asked == [0]


def test_an_actor_on_the_screen_that_has_run_something_is_asked_at_once() -> None:
    looks = Looks(2)
    looks.look()
    looks.work(1, 1e-9)
    looks.look()
    assert looks.asked == [1]
    looks.work(1, 1e-9)
    looks.look(on_screen=range(1))
    assert looks.asked == []


def test_a_look_asks_no_more_than_it_may_and_leaves_out_nobody_for_ever() -> None:
    looks = Looks(1000)
    asked = set()
    for _ in range(1000 // IN_TURN):
        for key in range(1000):
            looks.work(key, 0.1)
        looks.look(on_screen=range(AT_ONCE + 20))
        assert len(looks.asked) == AT_ONCE + IN_TURN
        asked.update(looks.asked)
    assert len(asked) == 1000


def test_calls_per_second_are_those_between_two_answers() -> None:
    looks = Looks()
    looks.tells[0] = IDLE._replace(done=10)
    assert looks.look()[0].calls == 0  # how long those ten took is not known
    looks.tells[0] = IDLE._replace(done=40)
    looks.work(0, 0.1)
    assert looks.look(after=2.0)[0].calls == 15
    assert looks.look(after=0.5)[0].calls == 0  # it has run nothing since


def test_an_actor_that_was_started_anew_has_not_done_less_than_nothing() -> None:
    looks = Looks()
    looks.tells[0] = IDLE._replace(done=40)
    looks.look()
    looks.tells[0] = IDLE._replace(done=2)
    looks.work(0, 0.1)
    assert looks.look()[0].calls == 0


def test_the_age_of_a_call_grows_without_asking() -> None:
    looks = Looks()
    looks.tells[0] = Answer("running", "?.step(...)", 3.0, 2, 7)
    assert looks.look()[0].age == 3.0
    row = looks.look(after=0.5)[0]
    assert (looks.asked, row.call, row.age, row.queued) == ([], "?.step(...)", 3.5, 2)


def test_the_share_of_a_core_is_what_was_used_between_two_looks() -> None:
    looks = Looks()
    assert looks.look()[0].cpu == 0
    looks.work(0, 0.2 - 0.0003)
    assert looks.look(after=0.5)[0].cpu == pytest.approx(0.4)


def test_an_actor_that_does_not_answer_is_silent_until_it_does() -> None:
    looks = Looks()
    looks.tells[0] = Answer("running", "?.step(...)", 3.0, 2, 7)
    looks.look()
    looks.tells[0] = None
    looks.work(0, 0.1)
    row = looks.look(after=1.0)[0]
    assert (row.state, row.call, row.age) == ("silent", "?.step(...)", 4.0)
    looks.tells[0] = IDLE
    assert looks.look(after=2.0)[0].state == "running"


def test_where_nothing_is_known_of_a_process_it_is_asked_each_time() -> None:
    looks = Looks()
    looks.used.clear()
    looks.look()
    assert looks.look()[0].memory == 0
    assert looks.asked == [0]


def test_the_dead_are_forgotten() -> None:
    looks = Looks(2)
    looks.look()
    del looks.known[0]
    assert [row.name for row in looks.look()] == ["actor-1"]
