"""What a forked child may do with its parent's actors and streams, and with actors of its own."""

import contextlib
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from remoteobj import ActorDiedError, NotListeningError
from remoteobj.testing import Gate
from tests.conftest import NO_FORKS, Launch
from tests.forks import code_of, in_child
from tests.internals import is_read, sweep
from tests.lifecycle.actors import Counter, Patient, Plain
from tests.tools import Call, process, until, until_gone

ORPHAN = 2.0
"""Seconds that an actor may outlive its owner."""


def test_a_forked_child_may_spawn() -> None:
    def life() -> bool:
        with Counter.spawn(1) as counter:
            return bool(counter.add() == 2)

    with Counter.spawn() as other:  # so that something of ours is inherited
        assert code_of(in_child(life)) == 0
        assert other.add() == 1


def test_an_actor_of_a_forked_child_that_just_exits_ends_too(tmp_path: Path) -> None:
    path = tmp_path / "pid"

    def leave() -> bool:
        path.write_text(str(Counter.spawn().pid_))
        return True

    assert code_of(in_child(leave)) == 0
    assert until_gone(int(path.read_text()), ORPHAN)
    sweep()


@pytest.mark.engines(skip=NO_FORKS)
def test_a_handle_works_on_both_sides_of_a_fork(launch: Launch) -> None:
    if launch["engine"] == "inline":
        pytest.skip("lives in the caller's thread, and the fork copies it")
    with Counter.options(**launch).spawn() as counter:
        assert counter.add() == 1
        assert code_of(in_child(lambda: [counter.add() for _ in range(3)] == [2, 3, 4])) == 0
        assert counter.add() == 5

        def leave_with() -> bool:
            with counter:
                return bool(counter.add() == 6)

        assert code_of(in_child(leave_with)) == 0
        assert counter.add() == 7, "only its owner stops an actor"


def test_a_forked_child_learns_of_the_death_of_its_parent_s_actor() -> None:
    actor = Patient.spawn()
    os.kill(actor.pid_, signal.SIGKILL)
    actor.join_(10)

    def call() -> bool:
        try:
            actor.note(1)
        except (ActorDiedError, NotListeningError):
            return True
        return False

    assert code_of(in_child(call)) == 0
    actor.stop_()


def test_a_stream_of_the_parent_ends_in_a_forked_child_though_a_thread_was_reading(
    gate: Gate,
) -> None:
    with Plain.spawn() as actor:
        stream = actor.count()
        assert next(stream) == 0
        reading = Call(actor.wait_at, gate)
        gate.wait_for_arrival()
        until(partial(is_read, actor))
        with process("fork", read_to_the_end, stream) as child:
            child.join(10)
            code = child.exitcode
        gate.open()
        reading.result()
        stream.close()
    assert code == 0


def read_to_the_end(stream: Iterator[int]) -> None:
    with contextlib.suppress(NotListeningError):
        for _ in stream:
            pass
