"""Ctrl-C: the owner decides what becomes of its actors, and a second Ctrl-C kills them."""

import os
import signal
from pathlib import Path

import pytest

from remoteobj.testing import Gate
from tests.lifecycle.programs import Diary
from tests.tools import Scripts, until_gone

ORPHAN = 2.0
"""Seconds that an actor may outlive its owner."""


def test_ctrl_c_in_the_owner_while_spawn_waits_leaves_no_actor(
    script: Scripts, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "never")
    started = script(
        """
        import contextlib
        @remote
        class Slow:
            def __init__(self, path):
                print(os.getpid(), flush=True)
                open(path).read()
        try:
            Slow.spawn(sys.argv[2])
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        sys.stdin.read()
        """,
        tmp_path / "never",
    )
    actor = int(started.line())
    os.kill(started.process.pid, signal.SIGINT)
    assert started.line() == "interrupted"
    assert until_gone(actor, ORPHAN), "the owner has no handle to stop it by"


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_ctrl_c_is_for_the_owner_to_decide(script: Scripts, diary: Diary, method: str) -> None:
    started = script(
        """
        actor = spawn(start_method=sys.argv[2])
        try:
            print("ready", flush=True)
            pause()
        except KeyboardInterrupt:
            answer = actor.passto(lambda a: "still there")
        print(answer, flush=True)
        pause()
        """,
        method,
    )
    pid = int(started.line())
    assert started.line() == "ready"
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.line() == "still there"
    os.killpg(started.process.pid, signal.SIGINT)
    code, _, err = started.finish()
    assert code == -signal.SIGINT
    assert err.count("Traceback") == 1, err
    assert until_gone(pid, 0.0)
    assert diary.lines == ["cleanup"]


def test_ctrl_c_in_a_call_does_not_disturb_the_actor(
    script: Scripts, diary: Diary, gate: Gate
) -> None:
    started = script(
        """
        from remoteobj.testing import Gate
        with spawn() as actor:
            try:
                actor.passto(lambda a, directory: Gate(directory).park(), sys.argv[2])
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            print(actor.passto(lambda a: "the next answer"), flush=True)
        """,
        gate.directory,
    )
    started.line()
    gate.wait_for_arrival()
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.line() == "interrupted"
    gate.open()
    assert started.line() == "the next answer"
    assert started.finish() == (0, "", "")
    assert diary.lines == ["cleanup"]


@pytest.mark.parametrize("held", ["with", "handles"])
def test_a_second_ctrl_c_kills_what_is_still_being_stopped(script: Scripts, held: str) -> None:
    started = script(
        """
        import contextlib
        @remote
        class Slow:
            @remote.cleanup
            def close(self):
                os.write(1, b"cleaning\\n")
                signal.pause()
        with contextlib.ExitStack() as stack:
            actors = [Slow.spawn() for _ in range(2)]
            if sys.argv[2] == "with":
                for actor in actors:
                    stack.enter_context(actor)
            print(*[actor.pid_ for actor in actors], flush=True)
            pause()
        """,
        held,
    )
    pids = list(map(int, started.line().split()))
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.line() == "cleaning"
    os.killpg(started.process.pid, signal.SIGINT)
    code, _, err = started.finish()
    assert code == -signal.SIGINT
    assert err.count("KeyboardInterrupt") == 2
    assert [until_gone(pid, 0.0) for pid in pids] == [True, True]


def test_a_ctrl_c_that_is_raised_anew_is_no_second_one(script: Scripts, diary: Diary) -> None:
    started = script("""
        with spawn() as actor:
            print("ready", flush=True)
            try:
                pause()
            except KeyboardInterrupt:
                raise KeyboardInterrupt("and out")
    """)
    started.line()
    started.line()
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.finish().code == -signal.SIGINT
    assert diary.lines == ["cleanup"]


def test_a_second_ctrl_c_kills_a_function_that_is_being_ended(
    script: Scripts,
) -> None:
    started = script("""
        from remoteobj import util
        def stubborn():
            while True:
                try:
                    os.write(1, f"{os.getpid()}\\n".encode())
                    pause()
                except BaseException:
                    pass
        with util.process(stubborn):
            os.write(1, b"0\\n")
            pause()
    """)
    pid = max(int(started.line()) for _ in "12")
    os.killpg(started.process.pid, signal.SIGINT)
    assert int(started.line()) == pid, "it has taken the SIGTERM, and goes on"
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.finish().code == -signal.SIGINT
    assert until_gone(pid, 0.0)
