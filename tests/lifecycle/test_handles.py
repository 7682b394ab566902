"""A handle: what it prints, how it travels, and that its actor stops once nobody holds it."""

import gc
import multiprocessing
import threading
import weakref
from typing import Any

import pytest

import remoteobj
from remoteobj import ActorDiedError, NotListeningError, remote
from remoteobj.testing import Gate
from tests.conftest import NO_FORKS, Launch
from tests.internals import waiter_for_end_of
from tests.lifecycle.actors import Counter, Patient, SpawnError, Worker
from tests.lifecycle.programs import Diary


def test_what_a_handle_prints_is_local() -> None:
    with Counter.options(name="c").spawn() as counter:
        assert repr(counter) == f"<Remote 'c' (pid {counter.pid_}) : (?)>"
        assert str(counter.a[0]) == "<Remote c : (?.a[0])>"
    assert "'c'" in repr(counter)


def test_a_handle_that_is_garbage_collected_stops_its_actor(launch: Launch, diary: Diary) -> None:
    actor: Any = Patient.options(**launch).spawn(diary)
    ends = waiter_for_end_of(actor)
    part = actor.done
    del actor
    gc.collect()
    assert part.get_() == [], "a part of it is held, so it is"
    del part
    gc.collect()
    for thread in threading.enumerate():
        if thread.name.startswith("remoteobj-stop-"):
            thread.join(10)
    assert ends(10)
    assert diary.lines == ["cleanup"]


@pytest.mark.engines(skip={"thread": "can't die", "inline": "can't die"})
def test_a_handle_whose_error_was_raised_is_collected_all_the_same(
    launch: Launch, gate: Gate, diary: Diary
) -> None:
    def look() -> tuple[weakref.ref[Any], Any]:
        worker: Any = Worker.options(**launch).spawn("raise", gate, diary)
        gate.wait_for_arrival()
        gate.open()
        assert worker.join_(10)
        with pytest.raises(SpawnError):
            worker.exc_.raise_any("work")
        return weakref.ref(worker), waiter_for_end_of(worker)

    handle, ends = look()
    gc.collect()
    assert handle() is None
    assert ends(10)
    assert diary.lines == ["cleanup"]


def _add_thrice(counter: Any, results: Any) -> None:
    results.send([counter.add() for _ in range(3)])


def test_a_handle_may_be_given_to_a_process(start_method: str) -> None:
    context: Any = multiprocessing.get_context(start_method)
    with Counter.spawn() as counter:
        assert counter.add() == 1
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_add_thrice, args=(counter, theirs))
        process.start()
        theirs.close()
        assert ours.recv() == [2, 3, 4]
        process.join(10)
        process.close()
        ours.close()
        assert counter.add() == 5


@remote
class Borrower:
    def use(self, counter: Any) -> Any:
        return counter.add()

    def keep(self, counter: Any) -> None:
        self.counter = counter

    def use_kept(self) -> Any:
        return self.counter.add()


@pytest.mark.engines(skip=NO_FORKS)
def test_a_handle_may_be_an_argument_of_a_call(launch: Launch) -> None:
    with Counter.spawn() as counter, Borrower.options(**launch).spawn() as borrower:
        assert borrower.use(counter) == 1
        borrower.keep(counter)
        assert borrower.use_kept() == 2
        assert counter.add() == 3
        counter.stop_()
        with pytest.raises((NotListeningError, ActorDiedError)):
            borrower.use_kept()


def test_a_handle_that_came_from_elsewhere_does_not_own_the_actor() -> None:
    with Counter.spawn() as counter, Borrower.spawn() as borrower:
        echoed = borrower.passto(_echo, counter)
        assert type(echoed) is remoteobj.Proxy
        assert echoed.add() == 1
        del echoed
        gc.collect()
        assert counter.add() == 2


def _echo(obj: object, value: Any) -> Any:
    return value
