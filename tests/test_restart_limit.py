"""How often something may fail before it is no longer started again, with a clock of the test's."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remoteobj import ExitReport
from remoteobj._restart_limit import RestartLimit


def failure(number: int) -> ExitReport:
    return ExitReport("actor", exitcode=number)


def allowed(limit: RestartLimit, *times: float) -> list[bool]:
    return [limit.allows_after(failure(n), now=at) for n, at in enumerate(times)]


@pytest.mark.parametrize("most", [0, 1, 3])
def test_so_many_restarts_are_allowed_at_once_and_no_more(most: int) -> None:
    assert allowed(RestartLimit(most, 60.0), *[5.0] * (most + 1)) == [True] * most + [False]


def test_a_failure_counts_until_it_is_older_than_the_time_within_which_they_count() -> None:
    assert allowed(RestartLimit(1, 10.0), 0.0, 10.0) == [True, False]
    assert allowed(RestartLimit(1, 10.0), 0.0, 10.5) == [True, True]


def test_without_an_end_of_that_time_each_failure_counts_for_ever() -> None:
    assert allowed(RestartLimit(1, math.inf), 0.0, 1e9) == [True, False]


def test_the_reports_are_those_of_the_failures_that_counted() -> None:
    limit = RestartLimit(2, 10.0)
    allowed(limit, 0.0, 8.0, 9.0, 12.0)
    assert [report.exitcode for report in limit.reports] == [1, 2, 3]


WRONG: list[tuple[Any, Any, type[Exception]]] = [
    (-1, 60.0, ValueError),
    (3, 0, ValueError),
    (3, -1.0, ValueError),
    (3, math.nan, ValueError),
    (2.5, 60.0, TypeError),
    (True, 60.0, TypeError),
    (None, 60.0, TypeError),
    (3, "60", TypeError),
    (3, True, TypeError),
]


@pytest.mark.parametrize(("most", "within", "error"), WRONG)
def test_a_limit_that_means_nothing_is_refused(
    most: Any, within: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        RestartLimit(most, within)


@given(
    most=st.integers(0, 4),
    within=st.integers(1, 20),
    waits=st.lists(st.integers(0, 12), max_size=30),
)
def test_a_restart_is_allowed_if_and_only_if_the_window_before_it_has_room(
    most: int, within: int, waits: list[int]
) -> None:
    limit, now, times = RestartLimit(most, within), 0, list[int]()
    for wait in waits:
        now += wait
        times.append(now)
        recent = [at for at in times if now - at <= within]
        assert limit.allows_after(failure(len(times)), now) == (len(recent) <= most)
        assert len(limit.reports) == len(recent)
