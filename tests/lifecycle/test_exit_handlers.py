"""What an actor still does when its process ends, as any program of Python does."""

import atexit
import signal
import threading
import weakref
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from remoteobj import ActorDiedError, remote
from remoteobj.testing import Gate
from tests.lifecycle.programs import Diary
from tests.tools import Scripts, ended


class Thing:
    pass


@remote
class Registrar:
    """Registers what is to be called at the end of its process."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary

    def register(self, *words: str) -> None:
        for word in words:
            atexit.register(self.diary.add, word)

    def temporary(self) -> Path:
        """A directory that is removed at the end."""
        self.directory = TemporaryDirectory()
        return Path(self.directory.name)

    def start_thread(self, gate: Gate) -> None:
        def wait() -> None:
            gate.park()
            self.diary.add("the thread")

        threading.Thread(target=wait, name="feeder").start()

    @remote.cleanup
    def close(self) -> None:
        self.diary.add("cleanup")


def test_what_an_actor_registered_is_called_at_its_end_the_last_first(
    start_method: str, diary: Diary
) -> None:
    with Registrar.options(start_method=start_method).spawn(diary) as registrar:
        registrar.register("first", "last")
        directory = registrar.temporary()
        assert directory.exists()
    assert diary.lines == ["cleanup", "last", "first"]
    assert not directory.exists()


def test_it_is_called_after_sigterm_too(start_method: str, diary: Diary) -> None:
    with ended(Registrar.options(start_method=start_method).spawn(diary)) as registrar:
        registrar.register("first", "last")
        registrar.terminate_()
        assert registrar.join_(10)
        assert registrar.exitcode_ == -signal.SIGTERM
    assert diary.lines == ["cleanup", "last", "first"]


def test_what_its_owner_registered_is_the_owner_s_alone(
    script: Scripts, diary: Diary, tmp_path: Path
) -> None:
    owner = script(
        """
        import atexit, tempfile, weakref
        directory = tempfile.TemporaryDirectory(dir=sys.argv[2])
        atexit.register(note, "atexit")
        class Thing: pass
        thing = Thing()
        weakref.finalize(thing, note, "finalizer")
        with spawn(start_method="fork"):
            pass
        print(os.path.exists(directory.name), flush=True)
        """,
        tmp_path,
    )
    owner.line()
    assert owner.line() == "True"
    assert owner.finish() == (0, "", "")
    assert diary.lines == ["cleanup", "atexit", "finalizer"]


def test_it_is_called_once_the_threads_have_ended(
    start_method: str, diary: Diary, gate: Gate
) -> None:
    with Registrar.options(start_method=start_method).spawn(diary) as registrar:
        registrar.register("atexit")
        registrar.start_thread(gate)
        gate.wait_for_arrival()
        gate.open()
    assert diary.lines.index("the thread") < diary.lines.index("atexit")


def test_a_thread_that_keeps_an_actor_from_ending_is_named(
    start_method: str, diary: Diary, gate: Gate
) -> None:
    registrar = Registrar.options(start_method=start_method, stop_timeout=0.5).spawn(diary)
    registrar.start_thread(gate)
    gate.wait_for_arrival()
    with pytest.raises(ActorDiedError, match=r"within 0\.5 s .* SIGTERM: .* thread 'feeder'"):
        with registrar:
            pass
    assert registrar.exitcode_ == -signal.SIGTERM
    assert diary.lines == ["cleanup"]


def test_terminate_does_not_wait_for_such_a_thread(diary: Diary, gate: Gate) -> None:
    with ended(Registrar.spawn(diary)) as registrar:
        registrar.start_thread(gate)
        gate.wait_for_arrival()
        registrar.terminate_()
        assert registrar.join_(10)


def test_a_finalizer_of_an_actor_s_own_is_called(start_method: str, diary: Diary) -> None:
    def finalize(registrar: Any) -> None:
        registrar.thing = Thing()
        weakref.finalize(registrar.thing, registrar.diary.add, "finalizer")

    with Registrar.options(start_method=start_method).spawn(diary) as registrar:
        registrar.passto(finalize)
    assert diary.lines == ["cleanup", "finalizer"]
