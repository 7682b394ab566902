"""Whom `top` asks in a look, and what it makes of two answers: without any actor, and without
time."""

import pytest

from remoteobj.cli.rows import Row
from remoteobj.cli.sampling import AT_ONCE, IN_TURN, PATIENCE, Glance, Known, Sampler

IDLE = Glance("running", None, 0.0, 0, 0)


class Looks:
    """Looks at actors that use and tell what a test says, by a clock that it sets."""

    def __init__(self, count: int = 1) -> None:
        self.keys = list(range(count))
        self.now = 100.0
        self.used = dict.fromkeys(self.keys, 0.0)
        self.exact = True
        self.tells: dict[int, Glance | None] = {}
        self.asked: list[int] = []
        self._sampler = Sampler()

    def work(self, key: int, seconds: float) -> None:
        self.used[key] += seconds

    def look(self, after: float = 0.5, on_screen: range = range(1000)) -> list[Row]:
        self.now += after
        known = [
            Known(str(key), f"actor-{key}", "Cls", 1000 + key, "running", self.used[key], 7 << 20)
            for key in self.keys
        ]
        chosen = self._sampler.choose(self.now, known, set(map(str, on_screen)))
        self.asked = [int(one.key) for one in chosen]
        for one in chosen:
            self.used[one.pid - 1000] += 0.0003  # to answer takes it some time
        answers = {one.key: self.tells.get(one.pid - 1000, IDLE) for one in chosen}
        settled = {one.pid: self.used[one.pid - 1000] for one in known} if self.exact else {}
        return self._sampler.rows(self.now, known, answers, settled)


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
    asked: set[int] = set()
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
    looks.tells[0] = Glance("running", "?.step(...)", 3.0, 2, 7)
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
    looks.tells[0] = Glance("running", "?.step(...)", 3.0, 2, 7)
    looks.look()
    looks.tells[0] = None
    looks.work(0, 0.1)
    row = looks.look(after=1.0)[0]
    assert (row.state, row.call, row.age) == ("silent", "?.step(...)", 4.0)
    looks.tells[0] = IDLE
    assert looks.look(after=2.0)[0].state == "running"


def test_where_the_system_tells_no_exact_time_those_on_the_screen_are_asked_each_time() -> None:
    looks = Looks(2)
    looks.exact = False
    looks.look()
    looks.look(on_screen=range(1))
    assert looks.asked == [0]


def test_the_dead_are_forgotten() -> None:
    looks = Looks(2)
    looks.look()
    del looks.keys[0]
    assert [row.name for row in looks.look()] == ["actor-1"]
