"""Threads for jobs that may take for ever."""

import threading
from collections.abc import Callable, Iterator

import pytest

from remoteobj._os import job_threads
from remoteobj._os.job_threads import JobThreads
from tests.tools import until

NAME = "test-jobs"


def threads() -> int:
    return sum(thread.name == NAME for thread in threading.enumerate())


@pytest.fixture
def jobs() -> Iterator[JobThreads]:
    jobs = JobThreads(NAME)
    yield jobs
    until(lambda: not threads())


def test_quick_jobs_run_in_their_order_in_one_thread(
    jobs: JobThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_threads, "PATIENCE", 20.0)  # however slow the machine is
    ran_in: list[tuple[int, threading.Thread]] = []

    def job(number: int) -> Callable[[], None]:
        return lambda: ran_in.append((number, threading.current_thread()))

    for number in range(200):
        jobs.run(job(number))
    jobs.wait(10)
    assert [number for number, _ in ran_in] == list(range(200))
    assert len({thread for _, thread in ran_in}) == 1
    assert not jobs.has_work


def test_what_hangs_holds_up_none_of_those_behind_it(jobs: JobThreads) -> None:
    go_on, ran = threading.Event(), threading.Semaphore(0)
    for _ in range(3):
        jobs.run(lambda: go_on.wait(20))
        jobs.run(ran.release)
    for _ in range(3):
        assert ran.acquire(timeout=10)
    assert jobs.has_work
    jobs.wait(0.01)
    go_on.set()
    jobs.wait(10)
    assert not jobs.has_work


def test_a_job_that_comes_while_a_thread_is_idle_starts_no_other(
    jobs: JobThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_threads, "LINGER", 2.0)
    ran_in: set[threading.Thread] = set()
    for _ in range(20):
        jobs.run(lambda: ran_in.add(threading.current_thread()))
        jobs.wait(10)
    assert len(ran_in) == 1


def test_what_a_job_raises_is_told_and_the_next_one_runs(
    jobs: JobThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda failure: told.append(failure.exc_value))
    failure, ran = ValueError("of a job"), threading.Event()

    def fail() -> None:
        raise failure

    jobs.run(fail)
    jobs.run(ran.set)
    assert ran.wait(10)
    assert told == [failure]
    told.clear()


def test_without_a_thread_a_job_is_refused_and_not_kept(
    jobs: JobThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError):
            jobs.run(lambda: None)
    assert not jobs.has_work
    ran = threading.Event()
    jobs.run(ran.set)
    assert ran.wait(10)
