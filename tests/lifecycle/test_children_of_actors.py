"""What becomes of the processes that an actor has started or forked."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from remoteobj import remote, util
from tests.lifecycle.actors import Plain
from tests.lifecycle.busy import Busy
from tests.tools import Scripts, ended, until_gone

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


# ------------------------------------------------------------------ what it forks


@remote
class Forker:
    """Forks, by whatever means."""

    def __init__(self) -> None:
        self.child: Any = None

    def terminated(self, times: int) -> list[int | None]:
        """The exit codes of children that are terminated as soon as they are started."""
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=signal.pause) for _ in range(times)]
        for child in children:
            child.start()
            child.terminate()
        for child in children:
            child.join(10)
        codes = [child.exitcode for child in children]
        for child in children:
            child.kill()
        return codes

    def defaults(self) -> Any:
        """How signals are handled in a child, and which are blocked there."""
        return pooled(handled)

    def pools(self, times: int) -> list[list[int]]:
        return [pooled(abs, 1) for _ in range(times)]

    def leave(self, daemon: bool) -> int:
        """Start a child that goes on; its pid."""
        context = multiprocessing.get_context("fork")
        self.child = context.Process(target=time.sleep, args=(60,), daemon=daemon)
        self.child.start()
        pid: int = self.child.pid
        return pid


def pooled(func: Any, *args: Any) -> Any:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.apply(func, args)


def handled() -> dict[int, Any]:
    own = (signal.SIGTERM, signal.SIGINT, signal.SIGURG)
    found: dict[int, Any] = {number: signal.getsignal(number) for number in own}
    return {**found, 0: signal.pthread_sigmask(signal.SIG_BLOCK, ())}


ORDINARY = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
    signal.SIGURG: signal.SIG_DFL,
    0: set(),
}


def test_what_an_actor_forks_is_ended_by_sigterm_however_soon_that_comes(
    start_method: str,
) -> None:
    with Forker.options(start_method=start_method).spawn() as forker:
        assert forker.terminated(20) == [-signal.SIGTERM] * 20


def test_what_an_actor_forks_has_the_ordinary_handlers_of_signals(start_method: str) -> None:
    with Forker.options(start_method=start_method).spawn() as forker:
        assert forker.defaults() == ORDINARY


def test_what_a_function_in_a_process_forks_has_them_too(start_method: str) -> None:
    with util.process(pooled, handled, start_method_=start_method) as job:
        pass
    assert job.result == ORDINARY


def test_a_pool_within_a_method_ends_each_time(
    start_method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with Forker.options(start_method=start_method).spawn() as forker:
        assert forker.with_(timeout=60).pools(30) == [1] * 30
    assert capfd.readouterr().err == ""


def test_a_handler_of_the_object_s_own_is_inherited_as_it_is() -> None:
    def with_own(_: object) -> Any:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return pooled(handled)[signal.SIGINT]

    with Forker.spawn() as forker:
        assert forker.passto(with_own) == signal.SIG_IGN


def test_a_signal_that_comes_right_after_a_fork_is_the_child_s_own(
    script: Scripts, tmp_path: Path
) -> None:
    """It is sent by what runs first in the child, before anything of ours."""
    hooks = tmp_path / "sitecustomize.py"
    hooks.write_text(
        "import os, signal\n"
        "os.armed = False\n"
        "def send():\n"
        "    if os.armed:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "os.register_at_fork(after_in_child=send)\n"
    )
    started = script(
        """
        def fork(actor):
            os.armed = True
            child = os.fork()
            if not child:
                os._exit(0)
            os.armed = False
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with spawn(start_method="fork") as actor:
            print(actor.passto(fork), actor.passto(lambda _: "still there"), flush=True)
        """,
        PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]),
        PYTHONWARNINGS="ignore::DeprecationWarning",  # from Python 3.12 on, such a fork is one
    )
    started.line()
    assert started.line() == f"{-signal.SIGTERM} still there"
    assert started.finish() == (0, "", "")


def test_an_orderly_end_neither_waits_for_a_child_nor_ends_it(start_method: str) -> None:
    forker = Forker.options(start_method=start_method).spawn()
    child = forker.leave(daemon=False)
    forker.stop_(timeout=20)
    assert (forker.exitcode_, list(forker.exc_.all())) == (0, [])
    assert not until_gone(child, 0.05)
    os.kill(child, signal.SIGKILL)
    assert until_gone(child, 5)


def test_an_orderly_end_ends_the_daemons_among_the_children(start_method: str) -> None:
    with Forker.options(start_method=start_method).spawn() as forker:
        child = forker.leave(daemon=True)
    assert until_gone(child, 5)


def test_terminate_does_not_wait_for_a_child(start_method: str) -> None:
    with ended(Forker.options(start_method=start_method).spawn()) as forker:
        child = forker.leave(daemon=False)
        forker.terminate_()
        assert forker.join_(10)
        assert forker.exitcode_ == -signal.SIGTERM
    assert until_gone(child, 5)
