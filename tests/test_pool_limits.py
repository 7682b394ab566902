"""The limits of a pool: how long a task may take, and how many tasks a worker does."""

import os
import signal
import threading
import time
from collections import Counter
from typing import Any

import pytest

from remoteobj import CallTimeoutError, options
from remoteobj.testing import Gate
from tests.internals import hasten_the_end_of_late_tasks

FORK = options(start_method="fork")


def test_a_task_whose_time_is_up_before_its_worker_began_it_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasten_the_end_of_late_tasks(monkeypatch)
    with FORK.options(task_timeout=0.1).pool(1) as pool:
        pid = pool.submit(os.getpid).result(20)
        os.kill(pid, signal.SIGSTOP)
        late = pool.submit(abs, -1)
        assert type(late.exception(20)) is CallTimeoutError
        assert [pool.submit(abs, -number).result(5) for number in range(3)] == [0, 1, 2]
        assert pool.submit(os.getpid).result(5) != pid


def who_am_i(_: object, seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.parametrize(
    "items", [range(27), [[number] for number in range(27)]], ids=["plain", "parcels"]
)
def test_a_worker_does_no_more_items_of_a_map_than_it_may_do_tasks(items: Any) -> None:
    with FORK.options(max_tasks_per_worker=10).pool(1) as pool:
        pids = [pool.submit(os.getpid).result(20) for _ in range(3)]
        pids += pool.map(who_am_i, items, chunksize=100)
    assert list(Counter(pids).values()) == [10, 10, 10]


def test_a_worker_whose_run_was_cut_since_it_takes_long_does_all_that_it_may() -> None:
    with FORK.options(max_tasks_per_worker=3).pool(1) as pool:
        pids = list(pool.map(who_am_i, range(6), [0.025] * 6, chunksize=6))
    assert list(Counter(pids).values()) == [3, 3]


def test_what_every_worker_does_counts_as_a_task() -> None:
    with FORK.options(max_tasks_per_worker=1).pool(2) as pool:
        assert len({*pool.each(os.getpid), *pool.each(os.getpid)}) == 4


def test_in_a_map_each_item_has_the_time_limit_of_a_task() -> None:
    with FORK.options(task_timeout=0.2).pool(1) as pool:
        results = pool.map(who_am_i, range(3), [0.0, 60.0, 0.0])
        pid = next(results)
        with pytest.raises(CallTimeoutError):
            next(results)
        assert next(results) == pid


def pass_stubbornly(gate: Gate) -> None:
    """Heed no interrupt before the gate is open."""
    while True:
        try:
            gate.park()
            return
        except BaseException:
            pass


def test_a_task_that_is_late_says_so_before_it_has_heeded_its_interrupt(gate: Gate) -> None:
    with FORK.options(task_timeout=0.1).pool(1) as pool:
        pid = pool.submit(os.getpid).result(20)
        assert type(pool.submit(pass_stubbornly, gate).exception(20)) is CallTimeoutError
        gate.open()
        assert pool.submit(os.getpid).result(20) == pid


def test_a_thread_whose_task_heeds_no_interrupt_is_left_to_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasten_the_end_of_late_tasks(monkeypatch)
    with Gate() as gate, options(engine="thread", task_timeout=0.1).pool(1) as pool:
        first = pool.submit(threading.get_ident).result(20)
        late = [pool.submit(pass_stubbornly, gate) for _ in range(2)]
        after = pool.submit(threading.get_ident)
        assert [type(one.exception(20)) for one in late] == [CallTimeoutError] * 2
        assert after.result(20) != first
        gate.open()
        gate.open()
