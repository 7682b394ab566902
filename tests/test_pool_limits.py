"""The limits of a pool: how long a task may take, and how many tasks a worker does."""

import os
import signal

import pytest

from remoteobj import CallTimeoutError, options
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
