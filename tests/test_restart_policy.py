"""When an actor that stands alone is restarted, and how long after a failure: without processes."""

import random
from collections.abc import Callable
from typing import Any, cast

import pytest

from remoteobj import ActorDiedError, ExitReport, SpawnOptions
from remoteobj import _restart_policy as policy_module
from remoteobj._options import Options
from remoteobj._restart_policy import RestartPolicy

CRASH = ExitReport("actor", exitcode=-11)
IN_ORDER = ExitReport("actor", exitcode=0, reason="stopped")


class Line:
    """The incarnations of an actor: so many of its starts fail, one after the other."""

    def __init__(self, failing: int = 0) -> None:
        self.failing = failing
        self.pauses: list[float] = []
        self.over = False
        self.why: Callable[[bool], BaseException] | None = None

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return not self.over

    def renew(self) -> ExitReport | None:
        self.failing -= 1
        return CRASH if self.failing >= 0 else None

    def give_up(self, why: Callable[[bool], BaseException] | None = None) -> None:
        self.over, self.why = True, why


class Clock:
    """What the policy takes for `time`."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(policy_module, "time", clock)
    return clock


def policy(**changes: Any) -> RestartPolicy:
    return RestartPolicy(Options().but(cast("SpawnOptions", {"restart": "on-failure", **changes})))


def ended(policy: RestartPolicy, line: Line, report: ExitReport = CRASH) -> Line:
    policy.ended(cast("Any", line), report)
    return line


def pauses_of(backoff: float, failures: int) -> list[float]:
    line = Line(failing=failures - 1)
    return ended(policy(backoff=backoff, max_restarts=failures), line).pauses


def test_a_pause_is_twice_the_one_before_and_never_above_ten_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
    assert pauses_of(1.5, 6) == [1.5, 3.0, 6.0, 10.0, 10.0, 10.0]
    assert pauses_of(0.1, 4) == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert pauses_of(0.0, 3) == [0.0, 0.0, 0.0]
    assert pauses_of(0.1, 2000)[-1] == 10.0
    assert pauses_of(1e300, 2) == [10.0, 10.0]


def test_a_pause_is_up_to_a_quarter_shorter_or_longer_by_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random, "uniform", random.Random(1).uniform)
    firsts = [pauses_of(4.0, 1)[0] for _ in range(200)]
    assert 3.0 <= min(firsts) < 3.1
    assert 4.9 < max(firsts) <= 5.0
    lasts = [pauses_of(9.0, 1)[0] for _ in range(200)]
    assert max(lasts) == 10.0
    assert len(set(lasts)) > 10


def test_after_a_time_without_failures_a_pause_is_short_again(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: 1.0)
    keeper, line = policy(backoff=1.0, max_restarts=3, restart_window=20.0), Line()
    for clock.now in (0.0, 1.0, 2.0, 22.5):
        ended(keeper, line)
    assert line.pauses == [1.0, 2.0, 4.0, 1.0]


def test_restarts_count_within_the_window_that_the_option_says(clock: Clock) -> None:
    for within in (5.0, 500.0):
        keeper, line = policy(max_restarts=1, restart_window=within), Line()
        for clock.now in (0.0, within + 0.5, 2 * within + 1.0):
            ended(keeper, line)
            assert not line.over
        clock.now += within
        ended(keeper, line)
        assert line.over
        assert line.why is not None
        error = line.why(False)
        assert isinstance(error, ActorDiedError)
        assert f"it has failed 2 times within {within:g} s, and may be restarted 1 times" in str(
            error
        )
        assert error.reports == (CRASH, CRASH)


def test_an_end_in_order_is_followed_by_a_restart_with_always_alone() -> None:
    assert ended(policy(), Line(), IN_ORDER).over
    always = ended(policy(restart="always"), Line(), IN_ORDER)
    assert (always.over, len(always.pauses)) == (False, 1)


def test_one_that_is_stopped_in_a_pause_is_not_started_again() -> None:
    line = Line(failing=1)
    line.over = True
    assert len(ended(policy(), line).pauses) == 1
    assert line.failing == 1
