"""A failure that nobody looks at is told in the log, once and by its owner."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remoteobj import ActorDiedError, Except, remote, util
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.tools import Scripts, until

ONLY_THERE = {"inline": "has no work loop"}


class LeakError(Exception):
    pass


@remote
class Pump:
    """Fails in the ways that it is told."""

    def __init__(self, *ways: str) -> None:
        self.ways = ways

    def fail(self, word: str) -> None:
        raise LeakError(word)

    def drip(self) -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            self.fail("drip")

    @remote.cleanup
    def close(self) -> None:
        if "cleanup" in self.ways:
            self.fail("cleanup")


@remote
class Mill:
    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    @remote.work
    def turn(self) -> None:
        self.gate.park()
        raise LeakError("work")


# ------------------------------------------------------------------ what actors record


def test_a_cast_that_failed_is_told_when_the_handle_is_dropped(
    launch: Launch, told: Callable[[], list[str]]
) -> None:
    pump = Pump.options(**launch).spawn()
    pump.cast_.fail("cast")
    pump.stop_()
    assert told() == [], "somebody may still look"
    del pump
    until(lambda: told() == ["cast"])


def test_a_cleanup_that_fails_once_the_handle_was_dropped_is_told(
    launch: Launch, told: Callable[[], list[str]]
) -> None:
    pump = Pump.options(**launch).spawn("cleanup")
    del pump
    until(lambda: told() == ["cleanup"])


@pytest.mark.engines(skip=ONLY_THERE)
def test_a_work_loop_that_failed_is_told(
    launch: Launch, told: Callable[[], list[str]], gate: Gate
) -> None:
    mill = Mill.options(**launch).spawn(gate)
    gate.open()
    mill.join_(10)
    del mill
    until(lambda: told() == ["work"])


def raise_any(exc: Except) -> None:
    with pytest.raises(LeakError):
        exc.raise_any("work")


LOOKS: dict[str, Callable[[Any], object]] = {
    "raise_any": raise_any,
    "last": lambda exc: exc.last("work"),
    "first": lambda exc: exc.first("work"),
    "group": lambda exc: exc["work"],
    "all": lambda exc: list(exc),
    "clear": lambda exc: exc.clear(),
    "log": lambda exc: exc.log_tracebacks(),
}


@pytest.mark.parametrize("look", LOOKS)
def test_what_somebody_has_looked_at_is_not_told_again(
    look: str, told: Callable[[], list[str]]
) -> None:
    pump = Pump.spawn()
    pump.cast_.fail("cast")
    pump.stop_()
    LOOKS[look](pump.exc_)
    del pump
    assert told() == (["cast"] if look == "log" else [])


def test_of_several_failures_those_that_nobody_saw_are_told(
    told: Callable[[], list[str]],
) -> None:
    with pytest.raises(LeakError, match="cleanup"), Pump.spawn("cleanup") as pump:
        pump.cast_.fail("cast")
    del pump
    until(lambda: told() == ["cast"])


def test_what_with_raises_is_not_told(launch: Launch, told: Callable[[], list[str]]) -> None:
    with pytest.raises(LeakError), Pump.options(**launch).spawn("cleanup"):
        pass
    assert told() == []


def test_who_is_told_why_an_actor_died_has_seen_it(told: Callable[[], list[str]]) -> None:
    with Gate() as gate:
        mill = Mill.spawn(gate)
        gate.open()
        mill.join_(10)
        with pytest.raises(ActorDiedError, match="LeakError: work") as caught:
            mill.gate.get_()
        assert isinstance(caught.value.__cause__, LeakError)
        mill.stop_()
        del mill, caught
    assert told() == []


def test_who_is_told_of_the_end_has_seen_what_caused_it(told: Callable[[], list[str]]) -> None:
    with Gate() as gate:
        mill = Mill.spawn(gate)
        heard = threading.Event()
        mill.on_exit_(lambda _: heard.set())
        gate.open()
        assert heard.wait(10)
        mill.stop_()
        del mill
    assert told() == []


def test_what_a_shared_except_has_is_told_when_that_is_dropped(
    told: Callable[[], list[str]],
) -> None:
    exc = Except()
    for word in ("one", "two"):
        pump = Pump.options(exc=exc).spawn()
        pump.cast_.fail(word)
        pump.stop_()
        del pump
    assert told() == []
    assert str(exc.last()) == "two"
    del exc
    assert told() == ["one"]


def test_what_is_logged_when_it_is_caught_is_not_told_again(
    told: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    pump = Pump.options(engine="thread", exc=Except(log=True)).spawn()
    pump.cast_.fail("cast")
    pump.stop_()
    del pump
    assert told() == ["cast"]
    caplog.clear()  # the traceback leads to the actor


# ------------------------------------------------------------------ futures


def test_an_exception_of_a_future_that_nobody_retrieves_is_told(
    launch: Launch, told: Callable[[], list[str]]
) -> None:
    with Pump.options(**launch).spawn() as pump:
        pump.future_.fail("dropped")
        future = pump.future_.fail("kept")
        pump.passto(id)
        until(lambda: told() == ["dropped"])
        del future
        until(lambda: told() == ["dropped", "kept"])


@pytest.mark.parametrize("look", ["result", "exception", "callback", "cancel"])
def test_an_exception_of_a_future_that_somebody_retrieves_is_not_told(
    look: str, told: Callable[[], list[str]], gate: Gate
) -> None:
    with Pump.spawn() as pump:
        parked = pump.future_.passto(lambda _, gate: gate.park(), gate)
        gate.wait_for_arrival()
        future = pump.future_.fail("seen")
        heard = threading.Event()
        if look == "callback":
            future.add_done_callback(lambda _: heard.set())
        if look == "cancel":
            assert future.cancel()
        gate.open()
        parked.result()
        if look == "callback":
            assert heard.wait(10)
        if look == "result":
            with pytest.raises(LeakError):
                future.result()
        if look == "exception":
            assert isinstance(future.exception(), LeakError)
        del future
    assert told() == []


# ------------------------------------------------------------------ listeners


@pytest.mark.parametrize("bg", [False, True, None])
def test_a_cast_that_fails_and_a_stream_that_fails_at_its_end_never_end_a_listener(
    bg: bool | None, script: Scripts
) -> None:
    """In a program of its own: pytest has put hooks of its own in place of the interpreter's."""
    source = PROGRAM + (
        "with util.listener(Pump('nothing'), bg={bg}) as serving:\n"
        "    serving.remote.cast_.fail()\n"
        "    steps = serving.remote.drip()\n"
        "    next(steps); steps.close()\n"
        "    print(serving.remote.how.get_())\n"
    )
    ended = script(source.replace("{bg}", str(bg)), "nothing", "fork").finish()
    assert (ended.code, ended.out) == (0, "the end\nnothing\n")
    assert ended.err.count("ValueError: unplugged") == 2


@pytest.mark.parametrize("threaded", [False, True])
def test_a_log_handler_that_raises_never_ends_a_listener(
    threaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError("the disk is full")

    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(logging.getLogger("remoteobj"), "handlers", [Broken()])
    with util.listener(Pump(), bg=None, threaded_=threaded) as serving:
        serving.remote.cast_.fail("cast")
        assert serving.remote.ways.get_() == ()


# ------------------------------------------------------------------ the end of the program


PROGRAM = """
import sys, time
from remoteobj import remote, util
@remote
class Pump:
    def __init__(self, how): self.how = how
    @remote.work
    def loop(self):
        if self.how == "work": raise ValueError("unplugged")
    @remote.cleanup
    def close(self):
        if self.how == "cleanup": raise ValueError("unplugged")
    def fail(self): raise ValueError("unplugged")
    def drip(self):
        try: yield 1
        finally: self.fail()
def fail(): raise ValueError("unplugged")
how, start_method = sys.argv[1:]
if how == "process":
    kept = util.process(fail, start_method_=start_method, daemon_=False).start()
elif how == "thread":
    kept = util.thread(fail).start()
    while kept.is_alive(): pass
else:
    pump = Pump.options(start_method=start_method).spawn(how)
    if how == "cast": pump.cast_.fail()
    if how == "future": pump.future_.fail()
    if how == "kept": kept = pump.future_.fail()
print("the end", flush=True)
"""


@pytest.mark.parametrize("how", ["work", "cleanup", "cast", "future", "kept", "process", "thread"])
def test_what_nobody_has_looked_at_is_told_once_at_the_end_of_the_program(
    how: str, start_method: str, script: Scripts
) -> None:
    ended = script(PROGRAM, how, start_method).finish()
    assert (ended.code, ended.out) == (0, "the end\n")
    assert ended.err.count("ValueError: unplugged") == 1, ended.err
    assert "nobody has" in ended.err


SETTLED_LATE = """
import threading, time
from multiprocessing import util as mp_util
from remoteobj import remote
begun, at_the_end = threading.Event(), threading.Event()
def made_again():
    if threading.current_thread() is threading.main_thread(): return Slow("unplugged")
    begun.set()
    at_the_end.wait(10)
    time.sleep(0.3)  # the program's end goes on meanwhile
    return Slow("unplugged")
class Slow(Exception):
    def __reduce__(self): return made_again, ()
@remote
class Pump:
    def fail(self): raise Slow("unplugged")
pump = Pump.options(start_method="fork").spawn()
kept = pump.future_.fail()
assert begun.wait(10)
mp_util.Finalize(None, at_the_end.set, exitpriority=-5)
"""


def test_a_future_that_is_settled_while_the_program_ends_is_told(script: Scripts) -> None:
    ended = script(SETTLED_LATE).finish()
    assert (ended.code, ended.err.count("Slow: unplugged")) == (0, 1), ended.err


def test_a_program_whose_failures_were_seen_tells_nothing(script: Scripts) -> None:
    source = PROGRAM + (
        "try: pump.future_.fail().result()\nexcept ValueError: pass\n"
        "pump.cast_.fail(); pump.stop_(); pump.exc_.all()\n"
    )
    assert script(source, "nothing", "fork").finish().err == ""


def test_a_fork_tells_nothing_of_what_its_parent_may_look_at(script: Scripts) -> None:
    source = PROGRAM + (
        "import multiprocessing, gc\n"
        "f = pump.future_.fail()\n"
        "while not f.done(): time.sleep(0.001)\n"
        "def drop():\n"
        "    global f, pump\n"
        "    del f, pump\n"
        "    gc.collect()\n"
        "child = multiprocessing.get_context('fork').Process(target=drop)\n"
        "child.start(); child.join()\n"
        "f.exception(); pump.stop_(); pump.exc_.all()\n"
    )
    assert script(source, "cast", "fork").finish().err == ""
