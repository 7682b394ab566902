"""A supervisor whose children fail too often, and children that can't be started again."""

import threading
from pathlib import Path
from typing import Any

import pytest

from remoteobj import (
    ActorDiedError,
    NotListeningError,
    RemoteError,
    RestartLimitError,
    SpawnTimeoutError,
    Supervisor,
)
from tests.lifecycle.programs import Diary
from tests.supervision.children import Breakdown, Child, Starter
from tests.supervision.family import lines, settled, spawn_all
from tests.tools import kill, until


def test_beyond_its_limit_it_stops_all_its_children_in_reverse_order_and_says_why(
    diary: Diary,
) -> None:
    supervisor = Supervisor("one-for-one", max_restarts=1, within=60)
    a, b, c = spawn_all(supervisor, diary)
    with pytest.raises(RestartLimitError) as raised, supervisor:
        kill(b)
        assert b.call() == 1
        kill(b)
        assert supervisor.wait(10)
    assert diary.lines == lines("+a+b+c+b-c-a")
    assert [report.name for report in raised.value.reports] == [b.name_, b.name_]
    assert [report.reason for report in raised.value.reports] == ["died", "died"]
    assert "may restart its children once within 60 s, and they have failed 2 times" in str(
        raised.value
    )
    assert supervisor.children == []
    assert supervisor.error is not None
    assert not any(child.alive_ for child in (a, b, c))


def test_who_calls_a_child_of_one_that_has_failed_is_told_so(diary: Diary) -> None:
    supervisor = Supervisor(max_restarts=0)
    a, b = spawn_all(supervisor, diary, "ab")
    kill(b)
    assert supervisor.wait(10)
    for child in (a, b):
        with pytest.raises(ActorDiedError, match="may restart its children 0 times") as raised:
            child.call()
        assert not raised.value.maybe_executed
        assert [report.name for report in raised.value.reports] == [b.name_]
    with pytest.raises(RestartLimitError):
        supervisor.spawn(Child, "c", diary)
    supervisor.stop()


def test_calls_that_wait_for_a_child_end_when_its_supervisor_fails(diary: Diary, how: Path) -> None:
    supervisor = Supervisor(max_restarts=1)
    child = supervisor.options(spawn_timeout=1.0).spawn(Starter, "a", diary, str(how))
    how.write_text("hang")
    kill(child)
    with pytest.raises((SpawnTimeoutError, ActorDiedError)):
        child.call()  # if it has got to the process that hangs, it ends as the start does
    with pytest.raises(ActorDiedError, match="failed 2 times"):
        child.call()
    supervisor.stop()


def test_the_error_of_the_block_and_that_of_the_supervisor_are_chained(diary: Diary) -> None:
    supervisor = Supervisor(max_restarts=0)
    (child,) = spawn_all(supervisor, diary, "a")
    with pytest.raises(RestartLimitError) as raised, supervisor:
        kill(child)
        supervisor.wait(10)
        raise KeyError("of the block")
    assert isinstance(raised.value.__context__, KeyError)


def test_restarts_of_all_children_count_together(diary: Diary) -> None:
    supervisor = Supervisor(max_restarts=2)
    a, b, c = spawn_all(supervisor, diary)
    with pytest.raises(RestartLimitError) as raised, supervisor:
        for child in (a, b):
            kill(child)
            assert child.call() == 1
        kill(c)
        supervisor.wait(10)
    assert [report.name for report in raised.value.reports] == [a.name_, b.name_, c.name_]


@pytest.mark.parametrize("strategy", ["one-for-one", "one-for-all", "rest-for-one"])
def test_a_storm_of_failures_ends(diary: Diary, strategy: Any) -> None:
    supervisor = Supervisor(strategy, max_restarts=5)
    children = spawn_all(supervisor, diary)
    with pytest.raises(RestartLimitError), supervisor:

        def storm(child: Any) -> None:
            while not supervisor.wait(0):
                try:
                    child.finish("SIGKILL")
                except (ActorDiedError, NotListeningError):  # one that lives is stopped in order
                    continue

        storms = [threading.Thread(target=storm, args=(child,)) for child in children]
        for one in storms:
            one.start()
        for one in storms:
            one.join(20)
        assert supervisor.error is not None
        assert len(supervisor.error.reports) == 6


# ------------------------------------------------------------------ those that can't start


@pytest.mark.parametrize(
    ("words", "error"), [("raise", Breakdown), ("exit", RemoteError), ("leave", type(None))]
)
def test_a_child_that_can_not_be_started_again_is_tried_within_the_limit(
    diary: Diary, how: Path, words: str, error: type
) -> None:
    supervisor = Supervisor(max_restarts=3)
    (other,) = spawn_all(supervisor, diary, "a")
    with pytest.raises(RestartLimitError) as raised, supervisor:
        child = supervisor.spawn(Starter, "b", diary, str(how))
        how.write_text(words)
        kill(child)
        supervisor.wait(10)
        assert other.restarts_ == 0
    assert diary.lines == lines("+a+b!b!b!b-a")
    died, *failed = raised.value.reports
    assert died.reason == "died"
    assert [report.reason for report in failed] == ["failed"] * 3
    assert {type(report.error) for report in failed} == {error}


def test_a_child_that_hangs_while_it_starts_is_killed_and_counts(diary: Diary, how: Path) -> None:
    supervisor = Supervisor(max_restarts=1)
    with pytest.raises(RestartLimitError) as raised, supervisor:
        child = supervisor.options(spawn_timeout=1.0).spawn(Starter, "a", diary, str(how))
        how.write_text("hang")
        kill(child)
        supervisor.wait(10)
    assert diary.lines == lines("+a!a")
    assert isinstance(raised.value.reports[1].error, SpawnTimeoutError)


def test_one_that_can_be_started_after_some_attempts_goes_on(diary: Diary, how: Path) -> None:
    with Supervisor("rest-for-one", max_restarts=100_000) as supervisor:
        child = supervisor.spawn(Starter, "a", diary, str(how))
        (after,) = spawn_all(supervisor, diary, "b")
        how.write_text("raise")
        kill(child)
        until(lambda: "!a" in diary.lines)
        how.write_text("")
        until(lambda: diary.lines.count("+b") == 2)
        assert [child.call(), after.call()] == [1, 1]
    words = [line for line in diary.lines if line != "!a"]
    assert words == lines("+a+b-b+a+b-b-a")


def test_one_that_hangs_while_it_starts_holds_up_no_other_under_one_for_one(
    diary: Diary, how: Path
) -> None:
    with Supervisor("one-for-one") as supervisor:
        child = supervisor.spawn(Starter, "a", diary, str(how))
        (other,) = spawn_all(supervisor, diary, "b")
        how.write_text("hang")
        kill(child)
        until(lambda: "!a" in diary.lines)
        kill(other)
        assert other.call() == 1


@pytest.mark.parametrize("strategy", ["one-for-all", "rest-for-one"])
def test_a_failure_while_another_hangs_in_its_start_restarts_both(
    diary: Diary, how: Path, strategy: Any
) -> None:
    with Supervisor(strategy) as supervisor:
        (first,) = spawn_all(supervisor, diary, "a")
        child = supervisor.spawn(Starter, "b", diary, str(how))
        how.write_text("hang")
        kill(child)
        until(lambda: "!b" in diary.lines)
        how.write_text("")
        kill(first)
        assert [first.call(), child.call()] == [1, 1]
    again = "+a+b-a+a!b+a+b-b-a" if strategy == "one-for-all" else "+a+b!b+a+b-b-a"
    assert diary.lines == lines(again)


def test_a_child_that_fails_at_its_first_start_is_none(diary: Diary, how: Path) -> None:
    how.write_text("raise")
    with Supervisor() as supervisor:
        with pytest.raises(Breakdown):
            supervisor.spawn(Starter, "a", diary, str(how))
        assert supervisor.children == []
        late = supervisor.options(wait=False).spawn(Starter, "a", diary, str(how))
        with pytest.raises(Breakdown):
            late.ready_()
        until(lambda: supervisor.children == [])
    assert diary.lines == lines("!a!a")


def test_a_child_that_does_not_stop_in_time_drops_its_calls_and_is_restarted_with_the_others(
    diary: Diary,
) -> None:
    with Supervisor("one-for-all", stop_timeout=1) as supervisor:
        a, b = spawn_all(supervisor, diary, "ab")
        a.cast_.hang()
        until(lambda: "~a" in diary.lines)
        kill(b)
        until(lambda: [a.restarts_, b.restarts_] == [1, 1])
        assert [a.call(), b.call()] == [1, 1]
        assert not a.exc_.get("cleanup")
    assert diary.lines == lines("+a+b~a-a+a+b-b-a")


# ------------------------------------------------------------------ nesting


def test_a_supervisor_below_another_is_restarted_as_a_whole(diary: Diary) -> None:
    with Supervisor("one-for-one") as top:
        (a,) = spawn_all(top, diary, "a")
        below = top.supervisor("one-for-one", max_restarts=1)
        b, c = spawn_all(below, diary, "bc")
        (d,) = spawn_all(top, diary, "d")
        assert top.children == [a, below, d]
        kill(c)
        assert c.call() == 1
        kill(c)
        until(lambda: diary.lines == lines("+a+b+c+d+c-b+b+c") and settled())
        assert [child.call() for child in (a, b, c, d)] == [1, 1, 1, 1]
        assert [child.restarts_ for child in (a, b, c, d)] == [0, 1, 2, 0]
        assert below.children == [b, c]
        kill(c)  # whose failures are counted anew
        assert c.call() == 1
    assert diary.lines == lines("+a+b+c+d+c-b+b+c+c-d-c-b-a")


def test_the_strategy_of_the_one_above_holds_for_the_whole_of_the_one_below(diary: Diary) -> None:
    with Supervisor("rest-for-one") as top:
        (a,) = spawn_all(top, diary, "a")
        below = top.supervisor("one-for-all")
        b, c = spawn_all(below, diary, "bc")
        (d,) = spawn_all(top, diary, "d")
        kill(a)
        until(lambda: diary.lines == lines("+a+b+c+d-d-c-b+a+b+c+d"))
        assert [child.call() for child in (a, b, c, d)] == [1, 1, 1, 1]


def test_failures_escalate_until_the_outermost_raises_with_all_reports(diary: Diary) -> None:
    top = Supervisor(max_restarts=1)
    (a,) = spawn_all(top, diary, "a")
    below = top.supervisor(max_restarts=0)
    b, c = spawn_all(below, diary, "bc")
    with pytest.raises(RestartLimitError) as raised, top:
        kill(b)
        until(lambda: diary.lines == lines("+a+b+c-c+b+c") and settled())
        kill(c)
        assert top.wait(10)
        assert below.wait(10)
    assert diary.lines == lines("+a+b+c-c+b+c-b-a")
    assert [report.reason for report in raised.value.reports] == ["failed", "failed"]
    inner = [report.error for report in raised.value.reports]
    assert all(isinstance(error, RestartLimitError) for error in inner)
    assert b.name_ in str(inner[0])
    assert c.name_ in str(raised.value)
    with pytest.raises(ActorDiedError, match="may restart its children"):
        a.call()


def test_one_below_that_can_not_be_started_again_is_a_failure_of_the_one_above(
    diary: Diary, how: Path
) -> None:
    top = Supervisor(max_restarts=2)
    below = top.supervisor("one-for-all", max_restarts=0)
    (b,) = spawn_all(below, diary, "b")
    c = below.spawn(Starter, "c", diary, str(how))
    with pytest.raises(RestartLimitError) as raised, top:
        how.write_text("raise")
        kill(c)
        top.wait(10)
    assert diary.lines == lines("+b+c-b+b!c-b+b!c-b")
    assert not b.alive_
    first, *others = raised.value.reports
    assert isinstance(first.error, RestartLimitError)
    assert [report.name for report in others] == [c.name_, c.name_]


def test_one_below_that_is_never_restarted_goes_alone(diary: Diary) -> None:
    with Supervisor() as top:
        (a,) = spawn_all(top, diary, "a")
        below = top.options(restart="never").supervisor(max_restarts=0)
        (b,) = spawn_all(below, diary, "b")
        kill(b)
        assert below.wait(10)
        until(lambda: top.children == [a])
        with pytest.raises(RestartLimitError):
            below.spawn(Child, "c", diary)
        with pytest.raises(ActorDiedError, match="may restart its children 0 times"):
            b.call()
        assert a.call() == 1


def test_what_is_spawned_while_the_supervisor_is_restarted_waits_for_that(
    diary: Diary, how: Path
) -> None:
    with Supervisor() as top:
        below = top.supervisor(max_restarts=0)
        child = below.spawn(Starter, "a", diary, str(how))
        how.write_text("hang")
        kill(child)
        until(lambda: "!a" in diary.lines and child.restarts_)
        spawned: list[Any] = []
        thread = threading.Thread(target=lambda: spawned.extend(spawn_all(below, diary, "b")))
        thread.start()
        how.write_text("")
        kill(child)
        thread.join(20)
        assert spawned[0].call() == 1
        assert below.children == [child, *spawned]
