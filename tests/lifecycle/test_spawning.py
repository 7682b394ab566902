"""Spawning an actor: who may spawn, what `__init__` may do, and what a failed start leaves."""

import gc
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, Except, RemoteError, SpawnTimeoutError, remote
from remoteobj.testing import Gate
from tests.conftest import NO_CODES, Launch
from tests.lifecycle.actors import NO_PROCESS, NO_THREAD, Counter, SpawnError, Stillborn
from tests.tools import Call, Scripts, until_gone

ORPHAN = 2.0
"""Seconds that an actor may outlive its owner."""


def test_spawn_returns_an_actor_that_is_made_and_answers(launch: Launch) -> None:
    with Counter.options(**launch).spawn(10) as counter:
        assert counter.value.get_() == 10
        assert counter.add(5) == 15
        assert counter.alive_
        assert counter.exitcode_ is None
    assert not counter.alive_
    assert counter.exitcode_ == 0


def test_its_garbage_is_collected_as_in_any_program(launch: Launch) -> None:
    with Counter.options(**launch).spawn(10) as counter:
        assert counter.passto(lambda _: gc.isenabled())


def test_spawn_waits_for_init(gate: Gate) -> None:
    spawning = Call(Waiting.spawn, gate)
    gate.wait_for_arrival()
    assert spawning.running
    gate.open()
    with spawning.wait().value as actor:
        assert actor.made.get_() is True


@remote
class Waiting:
    made = False

    def __init__(self, gate: Gate) -> None:
        gate.park()
        self.made = True


def test_what_init_raises_is_raised_by_spawn_and_kept_in_group_init(launch: Launch) -> None:
    exc = Except()
    with pytest.raises(SpawnError, match="7: no camera") as caught:
        Stillborn.options(exc=exc, **launch).spawn("raise")
    assert caught.value.code == 7
    assert "self" not in vars(caught.value)
    assert [type(error) for error in exc.group("init")] == [SpawnError]
    with pytest.raises(SpawnError):
        exc.raise_any("init")
    exc.close()


def test_init_that_calls_sys_exit_fails_the_spawn(launch: Launch) -> None:
    with pytest.raises(RemoteError, match="SystemExit: 3") as caught:
        Stillborn.options(**launch).spawn("sys.exit")
    assert isinstance(caught.value.__cause__, SystemExit)
    assert caught.value.__cause__.code == 3


def test_init_that_raises_keyboard_interrupt_fails_the_spawn(launch: Launch) -> None:
    with pytest.raises(RemoteError, match="KeyboardInterrupt"):
        Stillborn.options(**launch).spawn("interrupt")


@pytest.mark.engines(skip={**NO_PROCESS, **NO_CODES})
def test_init_that_ends_the_process_is_a_death_with_its_code(launch: Launch) -> None:
    began = time.monotonic()
    with pytest.raises(ActorDiedError, match="exited with code 4") as caught:
        Stillborn.options(**launch).spawn("os._exit")
    assert caught.value.exitcode == 4
    assert time.monotonic() - began < 10


@pytest.mark.engines(skip=NO_PROCESS)
def test_init_that_hangs_is_killed_when_its_time_is_up(launch: Launch, tmp_path: Path) -> None:
    fifo = tmp_path / "never"
    os.mkfifo(fifo)
    with pytest.raises(SpawnTimeoutError, match=r"after 0\.1 s and was killed"):
        Stillborn.options(spawn_timeout=0.1, **launch).spawn("fifo", str(fifo))
    # Nobody waits at the pipe any more (and the leak check finds no process).
    with pytest.raises(OSError, match="No such device"):
        os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)


def test_init_of_a_thread_that_hangs_is_a_spawn_timeout_too(gate: Gate) -> None:
    """A thread can't be killed, but its owner need not wait for it, nor be told nonsense."""
    spawning = Call(Waiting.options(engine="thread", spawn_timeout=0.1).spawn, gate)
    gate.wait_for_arrival()
    spawning.wait()
    gate.open()
    assert isinstance(spawning.error, SpawnTimeoutError)


def test_a_thread_may_spawn() -> None:
    actor = Call(Counter.spawn, 5).wait().value
    with actor:
        assert actor.add() == 6


def test_threads_may_spawn_at_once() -> None:
    barrier = threading.Barrier(4)

    def life(i: int) -> int:
        barrier.wait()
        with Counter.spawn(i) as counter:
            return int(counter.add(10))

    lives = [Call(life, i) for i in range(4)]
    assert [one.wait().value for one in lives] == [10, 11, 12, 13]


@remote
class Nest:
    def __init__(self, launch: Launch) -> None:
        self.inner = Counter.options(**launch).spawn(100)

    def add(self) -> Any:
        return self.inner.add(), self.inner.pid_

    def lend(self) -> Any:
        return self.inner


@pytest.mark.engines(skip=NO_THREAD)
def test_an_actor_may_spawn_an_actor_which_ends_with_it(launch: Launch) -> None:
    with Nest.options(**launch).spawn(launch) as nest:
        value, pid = nest.add()
        assert value == 101
        assert launch["engine"] == "thread" or pid not in (nest.pid_, os.getpid())
        assert nest.lend().add() == 102, "the handle of an actor may be a result"
    assert launch["engine"] == "thread" or until_gone(pid, ORPHAN)


def _spawn_inside(results: Any) -> None:
    with Counter.spawn(7) as counter:
        results.send(counter.add())


def test_a_daemonic_process_may_spawn(start_method: str) -> None:
    context: Any = multiprocessing.get_context(start_method)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_spawn_inside, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    assert ours.recv() == 8
    process.join(10)
    assert process.exitcode == 0
    process.close()
    ours.close()


def test_an_actor_starts_without_a_stderr(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(
        "import sys\n"
        "from remoteobj import remote\n"
        "@remote\n"
        "class Actor:\n"
        "    def ping(self):\n"
        "        return 'pong'\n"
        "print(sys.stderr)\n"
        "for how in ('fork', 'forkserver', 'spawn'):\n"
        "    with Actor.options(start_method=how).spawn() as actor:\n"
        "        print(actor.ping())\n"
    )
    command = ["sh", "-c", 'exec "$0" "$1" 2>&-', sys.executable, str(path)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (0, "None\npong\npong\npong\n")


def test_the_first_actors_of_threads_that_start_at_once_share_one_directory(
    script: Scripts,
) -> None:
    runtime = tempfile.mkdtemp(prefix="s")
    try:
        starting = script(
            """
            from tests.internals import before_each_sweep
            before_each_sweep(lambda: time.sleep(0.05))
            @remote
            class Actor:
                def ping(self):
                    return "pong"
            actors, barrier = [], threading.Barrier(12)
            def start():
                barrier.wait()
                actors.append(Actor.options(start_method="fork").spawn())
            threads = [threading.Thread(target=start) for _ in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            root = f"{os.environ['XDG_RUNTIME_DIR']}/remoteobj-{os.getuid()}"
            print([actor.ping() for actor in actors].count("pong"), len(os.listdir(root)))
            """,
            XDG_RUNTIME_DIR=runtime,
        )
        assert starting.finish() == (0, "12 1\n", "")
    finally:
        shutil.rmtree(runtime)
