"""Faults 53 to 60: what is restarted dies, and what is kept, supervised, pooled or named."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import pytest

from remoteobj import (
    ActorDiedError,
    NotListeningError,
    RestartLimitError,
    Supervisor,
    connect,
    options,
    remote,
)
from remoteobj.testing import Gate
from tests.faults._actors import DEATH, ORPHAN, Subject, assert_died, parked
from tests.faults._table import fault
from tests.faults.conftest import Within
from tests.tools import Call, Scripts, kill, left_in, until, until_gone

RESTART = 5.0
"""Seconds that a restart may take, with any start method on a slow machine."""


@remote(start_method="fork", restart="on-failure", backoff=0.0, checkpoint_every=0.0)
class Kept(Subject):
    """Keeps its notes; at a gate, if there is one, it stays in the midst of a checkpoint."""

    gate: Gate | None = None

    @remote.checkpoint
    def save(self) -> list[Any]:
        if self.gate is not None:
            self.gate.park()
        return self.notes

    @remote.restore
    def load(self, notes: list[Any]) -> None:
        self.notes = notes

    def note_and_keep_at(self, gate: Gate) -> None:
        self.notes.append("lost")
        self.gate = gate


@fault(
    53,
    "SIGKILL during a call to an actor with `restart`",
    sees="`ActorDiedError` for this call; the next one waits for the new process, which answers it",
)
def test_53_a_call_ends_with_the_death_and_the_next_one_is_answered_by_the_next_process(
    start_method: str, gate: Gate, within: Within
) -> None:
    restarts = Subject.options(start_method=start_method, restart="on-failure", backoff=0.0)
    with restarts.spawn() as actor:
        first = actor.pid_
        call = parked(actor, gate)
        with within(DEATH):
            os.kill(first, signal.SIGKILL)
            error = call.wait().error
        assert_died(error, -signal.SIGKILL, executed=True)
        with within(RESTART):
            assert actor.ping() == "pong"
        assert actor.pid_ != first
        assert actor.restarts_ == 1


@fault(
    53,
    "The same for a caller in another process",
    sees="the same; its proxy goes on, too",
)
def test_53_a_proxy_in_another_process_goes_on(within: Within) -> None:
    with Kept.spawn() as actor, Subject.options(start_method="fork").spawn() as other:
        assert other.passto(lambda obj, kept: kept.note(1), actor) == 1
        kill(actor)
        with within(RESTART):
            assert other.passto(lambda obj, kept: kept.note(2), actor) == 2
        assert actor.notes.__ == [1, 2]


@fault(
    54,
    "The new process is killed while its `__init__` runs",
    sees="calls wait on; this counts as one more failure, and the next process answers them",
)
def test_54_a_death_in_the_midst_of_a_restart_is_one_more_failure(
    gate: Gate, tmp_path: Path, within: Within
) -> None:
    starts = tmp_path / "starts"

    def park_at_the_second_start() -> None:
        with starts.open("a") as file:
            file.write(f"{os.getpid()}\n")
        if len(starts.read_text().split()) == 2:
            gate.park()

    with Kept.options(initializer=park_at_the_second_start).spawn() as actor:
        actor.note("kept")
        kill(actor)
        gate.wait_for_arrival()
        call = Call(lambda: actor.notes.__)
        with within(RESTART):
            os.kill(int(starts.read_text().split()[1]), signal.SIGKILL)
            assert call.result() == ["kept"]
        assert actor.restarts_ == 2


@fault(
    54,
    "The owner is killed between two processes of an actor",
    sees="no process is left, nor a file in its runtime directory",
)
def test_54_an_owner_that_is_killed_in_the_midst_of_a_restart_leaves_nothing(
    script: Scripts, within: Within, runtime: Path
) -> None:
    program = script(
        """
        from remoteobj import options
        actor = options(restart="always", max_restarts=1000, backoff=0.0).spawn(dict)
        say(actor.pid_)
        while True:
            with contextlib.suppress(ProcessLookupError):
                os.kill(actor.pid_, signal.SIGKILL)
            say(actor.pid_)
        """,
        XDG_RUNTIME_DIR=str(runtime),
    )
    pids = [int(program.line()) for _ in range(20)]
    assert left_in(runtime)
    with within(ORPHAN + 1.0):
        program.process.kill()
        # The first may be the end of one of which `line` has read the beginning; and the kill may
        # have cut the last one short.
        pids += map(int, program.finish().out.split("\n")[1:-1])
        assert [pid for pid in pids if not until_gone(pid, ORPHAN)] == []
    until(lambda: left_in(runtime) == [])


@fault(
    55,
    "An actor fails more often than `max_restarts` allows",
    sees="`ActorDiedError` that says so, with all `reports`; it stays dead",
)
def test_55_beyond_the_limit_it_stays_dead_with_the_reports(within: Within) -> None:
    actor = Kept.options(max_restarts=2).spawn()
    for restarts in range(1, 3):
        kill(actor)
        assert actor.ping() == "pong"
        assert actor.restarts_ == restarts
    kill(actor)
    with within(DEATH), pytest.raises(ActorDiedError, match="stays dead") as caught:
        actor.ping()
    error = assert_died(caught.value, -signal.SIGKILL, executed=False)
    assert [report.signal for report in error.reports] == [signal.SIGKILL] * 3
    actor.stop_()


@fault(
    56,
    "The process is killed in the midst of a checkpoint",
    sees=(
        "`ActorDiedError` with `maybe_executed=True`; the new process has the state of the "
        "checkpoint before"
    ),
)
def test_56_a_death_within_a_checkpoint_leaves_the_one_before(gate: Gate, within: Within) -> None:
    with Kept.spawn() as actor:
        actor.note("kept")
        call = Call(actor.note_and_keep_at, gate)
        gate.wait_for_arrival()
        with within(DEATH):
            os.kill(actor.pid_, signal.SIGKILL)
            error = call.wait().error
        assert_died(error, -signal.SIGKILL, executed=True)
        assert actor.notes.__ == ["kept"]


TORN: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda state: state[:-3],
    "a byte is wrong": lambda state: state[:-3] + b"?" + state[-2:],
    "empty": lambda state: b"",
    "of another program": lambda state: b"name,price\ntea,4\n",
}


@fault(
    57,
    "The file of `checkpoint_path` is torn, or is none",
    sees="`spawn` raises `ValueError` that names the file; the file stays as it is",
)
@pytest.mark.parametrize("damage", TORN.values(), ids=TORN)
def test_57_a_torn_or_foreign_state_is_never_used(
    damage: Callable[[bytes], bytes], tmp_path: Path, within: Within
) -> None:
    path = tmp_path / "state"
    with Kept.options(checkpoint_path=path).spawn() as actor:
        actor.note("kept")
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with within(DEATH), pytest.raises(ValueError, match=str(path)):
        Kept.options(checkpoint_path=path).spawn()
    assert path.read_bytes() == damaged


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@fault(
    58,
    "A worker of a pool is killed during a task",
    sees="`ActorDiedError` for this task alone; the worker is replaced, and all others are done",
)
def test_58_a_dead_worker_fails_one_task(within: Within) -> None:
    with options(start_method="fork").pool(2) as pool:
        before = [pool.submit(abs, -number) for number in range(20)]
        dying = pool.submit(die)
        after = [pool.submit(abs, -number) for number in range(20)]
        with within(RESTART), pytest.raises(ActorDiedError) as caught:
            dying.result(10)
        assert_died(caught.value, -signal.SIGKILL, executed=True)
        assert [one.result(10) for one in before + after] == [*range(20), *range(20)]


@fault(
    58,
    "The workers of a pool cannot start",
    sees="`BrokenExecutor` for all tasks, after three attempts in a row, with the reason",
)
def test_58_a_pool_whose_workers_can_not_start_is_broken(within: Within) -> None:
    def refuse() -> None:
        raise OSError("no licence")

    with within(RESTART), options(start_method="fork", initializer=refuse).pool(2) as pool:
        with pytest.raises(BrokenExecutor, match="no licence"):
            pool.submit(abs, -1).result(10)


@fault(
    59,
    "The children of a supervisor fail more often than it may restart them",
    sees="`RestartLimitError` with all `reports` on leaving; all its children are stopped",
)
def test_59_a_supervisor_that_gives_up_stops_all_and_says_why(within: Within) -> None:
    children: list[Any] = []
    with pytest.raises(RestartLimitError) as caught:
        with Supervisor("one-for-one", max_restarts=1, start_method="fork") as supervisor:
            children += [supervisor.spawn(Kept) for _ in range(2)]
            kill(children[0])
            assert children[0].ping() == "pong"
            with within(RESTART):
                kill(children[0])
                assert supervisor.wait(10)
    assert [report.signal for report in caught.value.reports] == [signal.SIGKILL] * 2
    assert not any(child.alive_ for child in children)


@fault(
    60,
    "An actor with a public name is killed",
    sees="`connect` raises `NotListeningError`, and the name is free at once",
)
def test_60_the_name_of_a_killed_actor_is_free_at_once(within: Within) -> None:
    spawner = Subject.options(start_method="fork", name="fault 60", public=True)
    actor = spawner.spawn()
    assert connect("fault 60").ping() == "pong"
    kill(actor)
    with within(DEATH):
        with pytest.raises(NotListeningError):
            connect("fault 60")
        heir = spawner.spawn()
    assert connect("fault 60").passto(lambda _: os.getpid()) == heir.pid_
    heir.stop_()
    actor.stop_()
    actor.exc_.clear()


@fault(
    60,
    "An actor with a public name and `restart` is killed",
    sees="the name stays, and leads to the new process",
)
def test_60_the_name_of_a_restarted_actor_stays(within: Within) -> None:
    with Kept.options(name="fault 60 again", public=True).spawn() as actor:
        actor.note("kept")
        kill(actor)
        with within(RESTART):
            assert connect("fault 60 again").notes.__ == ["kept"]
