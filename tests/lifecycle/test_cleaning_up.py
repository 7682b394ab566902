"""When the cleanup method of an actor runs, and that nothing cuts it off."""

import os
import signal
from pathlib import Path

import pytest

from remoteobj import remote
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.lifecycle.actors import NO_PROCESS, Patient
from tests.lifecycle.programs import Diary
from tests.tools import Call, ended


def test_cleanup_runs_when_the_actor_is_stopped(launch: Launch, diary: Diary) -> None:
    with Patient.options(**launch).spawn(diary) as actor:
        actor.note("at work")
        assert diary.lines == ["at work"]
    assert diary.lines == ["at work", "cleanup"]


@pytest.mark.engines(skip=NO_PROCESS)
def test_cleanup_runs_when_the_actor_is_terminated(launch: Launch, diary: Diary) -> None:
    with Patient.options(**launch).spawn(diary) as actor:
        actor.terminate_()
        assert actor.join_(10)
        assert actor.exitcode_ == -signal.SIGTERM
    assert diary.lines == ["cleanup"]


def test_cleanup_does_not_run_when_the_actor_is_killed(diary: Diary) -> None:
    with Patient.spawn(diary) as actor:
        actor.kill_()
        assert actor.join_(10)
        assert actor.exitcode_ == -signal.SIGKILL
    assert diary.lines == []


def test_what_interrupts_the_body_cleans_up_and_goes_on(diary: Diary) -> None:
    for error in (SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
        with pytest.raises(type(error)) as caught:
            with Patient.spawn(diary):
                raise error
        assert caught.value is error
    assert diary.lines == ["cleanup"] * 3


@remote
class SlowToClose:
    def __init__(self, gate: Gate, path: Path) -> None:
        self.gate = gate
        self.path = path

    @remote.cleanup
    def close(self) -> None:
        self.gate.park()
        self.path.touch()


def test_a_signal_to_end_that_comes_during_the_cleanup_does_not_cut_it_off(
    gate: Gate, tmp_path: Path
) -> None:
    with ended(SlowToClose.spawn(gate, tmp_path / "closed")) as actor:
        stopping = Call(actor.stop_)
        gate.wait_for_arrival()
        os.kill(actor.pid_, signal.SIGTERM)
        gate.open()
        stopping.wait()
    assert (tmp_path / "closed").exists()
