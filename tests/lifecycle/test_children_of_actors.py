"""What becomes of the processes that an actor has started or forked."""

import os
import signal
import subprocess
from typing import Any

import pytest

from remoteobj import remote
from tests.lifecycle.actors import Plain
from tests.lifecycle.busy import Busy
from tests.tools import Scripts, until_gone

ORPHAN = 3.0
"""Seconds within which nothing may be left of a program that was killed."""


def test_what_the_method_of_a_busy_actor_starts_can_be_terminated() -> None:
    with Busy.spawn() as actor:
        assert actor.terminate_a_program() == -signal.SIGTERM
        assert actor.terminate_an_actor() == -signal.SIGTERM


def test_a_function_that_waits_for_its_threads_does_not_outlive_a_program_that_is_killed(
    script: Scripts,
) -> None:
    owner = script("""
        def outlive():
            while threading.main_thread().is_alive():
                time.sleep(0.001)
            print(os.getpid(), flush=True)
            time.sleep(20)
        def leave_a_thread():
            threading.Thread(target=outlive).start()
        left = util.process(leave_a_thread, start_method_="fork").start()
        time.sleep(60)
    """)
    left = int(owner.line())
    owner.process.kill()
    assert until_gone(left, ORPHAN)


def test_what_a_method_forks_is_gone_after_the_method() -> None:
    with Plain.spawn() as actor:
        assert until_gone(actor.fork(), ORPHAN)
        assert actor.ping() == "pong"


@remote
class Starter:
    def start(self) -> int:
        self.child = subprocess.Popen(["sleep", "60"])
        return self.child.pid


@pytest.mark.parametrize("way", ["kill_", "SIGKILL"])
def test_a_killed_actor_takes_with_it_what_it_had_started(start_method: str, way: str) -> None:
    starter: Any = Starter.options(start_method=start_method).spawn()
    child = starter.start()
    if way == "kill_":
        starter.kill_()
    else:
        os.kill(starter.pid_, signal.SIGKILL)
    assert starter.join_(5)
    assert starter.exitcode_ == -signal.SIGKILL
    assert until_gone(child, 2)
    starter.kill_()
    starter.stop_()


def test_an_actor_that_ends_by_itself_leaves_alone_what_it_had_started() -> None:
    with Starter.spawn() as starter:
        child = starter.start()
    assert not until_gone(child, 0.05)
    os.kill(child, signal.SIGKILL)
    assert until_gone(child, 5)
