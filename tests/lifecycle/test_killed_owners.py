"""Nothing that a program has started outlives the program when it is killed."""

import os
import signal

import pytest

from tests.lifecycle.programs import Diary
from tests.tools import Scripts, until_gone

ORPHAN = 2.0
"""Seconds that an actor may outlive its owner."""

BUSY = {
    "idle": "",
    "sleeping": "actor.sleep(60)",
    "about to sleep": "actor.passto(sleep_on)",
    "computing": "actor.passto(lambda a: [None for _ in iter(int, 1)])",
}


@pytest.mark.parametrize("busy", BUSY)
def test_an_actor_does_not_outlive_an_owner_that_is_killed(
    script: Scripts, diary: Diary, busy: str
) -> None:
    call = BUSY[busy]
    started = script(
        f"""
        from tests.tools import until

        def sleep_on(_):  # although the signal has come: just before the thread lay down to sleep
            send = signal.pthread_kill

            def come_too_early(thread, number):
                signal.pthread_kill = send

            signal.pthread_kill = come_too_early
            time.sleep(60)

        actor = spawn()
        if {call!r}:
            threading.Thread(target=lambda: {call or None}, daemon=True).start()
            until(lambda: actor.status_().call)
        print("ready", flush=True)
        sys.stdin.read() or signal.pause()
        """
    )
    pid = int(started.line())
    assert started.line() == "ready"
    os.kill(started.process.pid, signal.SIGKILL)
    gone = until_gone(pid, ORPHAN)
    if not gone:
        os.kill(pid, signal.SIGKILL)
    assert gone
    if busy != "computing":
        assert diary.lines == ["cleanup"]


def test_an_actor_that_is_being_made_does_not_outlive_an_owner_that_is_killed(
    script: Scripts,
) -> None:
    started = script(
        """
        import contextlib
        @remote
        class Slow:
            def __init__(self):
                print(os.getpid(), flush=True)
                time.sleep(60)
        Slow.spawn()
        """
    )
    pid = int(started.line())
    os.kill(started.process.pid, signal.SIGKILL)
    assert until_gone(pid, ORPHAN)


def test_an_actor_of_an_actor_does_not_outlive_the_owner_of_both(
    script: Scripts,
) -> None:
    started = script(
        """
        actor = spawn()
        actor.passto(lambda a: setattr(a, "child", spawn()))
        signal.pause()
        """
    )
    pids = [int(started.line()) for _ in range(2)]
    os.kill(started.process.pid, signal.SIGKILL)
    assert [until_gone(pid, ORPHAN) for pid in pids] == [True, True]


def test_when_the_owner_is_killed_what_its_actors_had_started_goes_too(script: Scripts) -> None:
    started = script(
        """
        import subprocess
        @remote
        class Starter:
            def start(self):
                self.child = subprocess.Popen(["sleep", "60"])
                return self.child.pid

        starter = Starter.spawn()
        print(starter.pid_, starter.start(), flush=True)
        time.sleep(60)
        """
    )
    pids = [int(pid) for pid in started.line().split()]
    started.process.kill()
    assert all(until_gone(pid, 2) for pid in pids)
