"""How an owner learns that a process has ended, whoever else reaps it or asks for its exit code."""

import contextlib
import os
import signal
import threading
from multiprocessing import forkserver
from multiprocessing.connection import wait
from typing import Any

import pytest

from remoteobj import util
from remoteobj.testing import Gate
from tests.internals import (
    another_fork_server,
    connection_of,
    do_before_a_wait_for_an_end,
    exit_code_reader_of,
    exit_lock,
    kill_fork_server,
    process_of,
    sleeping_readers,
    tell_to_stop,
)
from tests.lifecycle.actors import Counter, Plain
from tests.tools import Call, Scripts, process, run, until, until_gone

ORPHAN = 3.0
"""Seconds within which nothing may be left of a program that was killed."""


def test_join_says_whether_the_actor_has_ended() -> None:
    with Counter.spawn() as counter:
        assert counter.join_(0.0) is False
        counter.terminate_()
        assert counter.join_() is True
        assert counter.join_(0.0) is True


@pytest.mark.parametrize("how", ["handler", "ignored"])
def test_where_somebody_else_reaps_all_children_ends_are_seen_all_the_same(
    script: Scripts, how: str
) -> None:
    started = script(
        """
        import multiprocessing
        from remoteobj import ActorDiedError, util
        multiprocessing.set_start_method("fork")  # those of a fork server are its children
        def reap(*_):
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        signal.signal(signal.SIGCHLD, reap if sys.argv[2] == "handler" else signal.SIG_IGN)
        begun = time.monotonic()
        with spawn() as actor:
            assert actor.alive_
        assert not actor.alive_ and actor.exitcode_ is None
        dead = spawn()
        try:
            dead.passto(lambda _: os._exit(3))
        except ActorDiedError as error:
            print(error.exitcode, error.maybe_executed)
        assert not dead.alive_
        dead.stop_()
        assert not len(dead.exc_)
        killed = spawn()
        killed.kill_()
        assert killed.join_(5) and not killed.alive_
        killed.stop_()
        with util.process(lambda: 5) as p:
            pass
        assert p.result == 5 and not p.is_alive()
        print(time.monotonic() - begun < 5)
        """,
        how,
    )
    code, out, err = started.finish()
    assert (code, err) == (0, "")
    assert "None True" in out.splitlines()
    assert out.splitlines()[-1] == "True"


def test_five_threads_may_join_one_function(gate: Gate) -> None:
    waiting = util.process(gate.park).start()
    joining = [Call(waiting.join) for _ in range(5)]
    assert connection_of(waiting) is not None
    gate.wait_for_arrival()
    until(lambda: sleeping_readers(waiting) == 4)
    gate.open()
    for one in joining:
        one.result()
    assert waiting.exitcode == 0


def test_a_forked_child_may_ask_for_a_life_that_a_thread_of_its_parent_is_asking_for() -> None:
    with Plain.spawn() as actor:
        asked, told = threading.Event(), threading.Event()

        def hold() -> None:
            with exit_lock(actor):
                asked.set()
                told.wait(20)

        holding = Call(hold)
        asked.wait(20)
        try:
            with process("fork", ask, actor) as child:
                child.join(10)
                assert child.exitcode == 0
        finally:
            told.set()
            holding.wait()
    assert run("fork", ask_of_one_that_ended, actor) == 0


def test_a_forked_child_may_join_an_actor_that_its_parent_has_stopped() -> None:
    actor = Plain.spawn()
    actor.stop_()
    assert run("fork", join_one_that_ended, actor) == 0


def ask(actor: Any) -> None:
    assert actor.alive_
    assert actor.exitcode_ is None
    assert not actor.join_(0.01)


def ask_of_one_that_ended(actor: Any) -> None:
    assert not actor.alive_
    assert actor.exitcode_ == 0


def join_one_that_ended(actor: Any) -> None:
    assert actor.join_(5)


def test_of_two_that_ask_a_fork_server_for_an_exit_code_both_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It can be read once: the second would find the end of the pipe, and take it for 255."""
    with Plain.options(start_method="forkserver").spawn() as actor:
        popen = exit_code_reader_of(actor)
        original = forkserver.read_signed
        asked = threading.Event()

        def read_signed(fd: int) -> int:
            code = int(original(fd))
            asked.set()
            until(lambda: second and second[0].is_in(popen.poll))  # before this one knows
            return code

        second: list[Call] = []
        monkeypatch.setattr(forkserver, "read_signed", read_signed)
        tell_to_stop(actor)
        first = Call(popen.poll, 0)
        assert asked.wait(20)
        second.append(Call(popen.poll, 0))
        assert second[0].result() == first.result() == 0


def test_an_actor_outlives_the_fork_server_that_started_it() -> None:
    with another_fork_server():
        actor = Plain.options(start_method="forkserver").spawn()
        try:
            kill_fork_server()
            wait([process_of(actor).sentinel], 10)  # the news is here
            assert actor.ping() == "pong"
            assert actor.alive_
            pid = actor.pid_
            actor.stop_()
            assert until_gone(pid, ORPHAN)
        finally:
            actor.stop_()


def test_who_waits_for_an_end_that_another_thread_has_seen_waits_for_no_other_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next file may get the number of a descriptor that is closed."""
    counter = Counter.spawn()
    with contextlib.ExitStack() as files:

        def end_and_open_others() -> None:
            os.kill(counter.pid_, signal.SIGKILL)
            assert Call(counter.join_, 10).result()
            Call(counter.stop_).result()
            for end in (end for _ in range(20) for end in os.pipe()):
                files.callback(os.close, end)

        got = do_before_a_wait_for_an_end(monkeypatch, end_and_open_others)
        assert counter.join_(1.0)
    assert got == [True]
    counter.exc_.clear()
