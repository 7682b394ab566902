"""`interrupt_`: the call that runs ends with an exception, and the actor goes on."""

import contextlib
import signal
import threading
import time
from typing import Any

import pytest

from remoteobj import RemoteError, remote
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.internals import mailbox_depth
from tests.tools import until
from tests.watching.millers import NO_INTERRUPTS, PROCESSES, Miller


@pytest.mark.engines(skip={**PROCESSES, **NO_INTERRUPTS})
@pytest.mark.parametrize("method", ["grind", "for_ever"])
def test_an_interrupted_call_ends_with_that_exception_and_the_actor_goes_on(
    launch: Launch, gate: Gate, method: str
) -> None:
    with Miller.options(**launch).spawn() as miller:
        future = getattr(miller.future_, method)(gate)
        after = miller.future_.ground.get_()
        gate.wait_for_arrival()
        assert miller.interrupt_(ValueError("enough"))
        with pytest.raises(ValueError, match="enough"):
            future.result(10)
        assert after.result(10) == miller.ground.get_()
        assert miller.interrupt_() is False


def sleep_on(_: object, gate: Gate) -> None:
    """Sleep, although the signal has come: it came just before the thread lay down to sleep."""
    send = signal.pthread_kill

    def come_too_early(thread: int, number: int) -> None:
        signal.pthread_kill = send

    signal.pthread_kill = come_too_early
    gate.arrive()
    time.sleep(60)


@pytest.mark.engines(skip={**PROCESSES, **NO_INTERRUPTS})
def test_what_begins_to_sleep_just_when_the_signal_comes_is_interrupted(
    launch: Launch, gate: Gate
) -> None:
    with Miller.options(**launch).spawn() as miller:
        future = miller.future_.passto(sleep_on, gate)
        gate.wait_for_arrival()
        assert miller.interrupt_(ValueError("enough"))
        with pytest.raises(ValueError, match="enough"):
            future.result(10)


class Slow:
    """Takes its time to arrive."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self.gate.park()


@pytest.mark.engines(skip=PROCESSES)
def test_a_call_whose_arguments_are_still_being_unpickled_does_not_run_yet(gate: Gate) -> None:
    with Miller.spawn() as miller:
        future = miller.future_.passto(lambda _, slow: type(slow).__name__, Slow(gate))
        gate.wait_for_arrival()
        assert miller.status_().call is None
        assert miller.interrupt_() is False
        gate.open()
        assert future.result(10) == "Slow"


@pytest.mark.engines(skip=PROCESSES)
def test_by_default_it_is_a_keyboard_interrupt_which_the_caller_gets_wrapped(gate: Gate) -> None:
    with Miller.spawn() as miller:
        future = miller.future_.for_ever(gate)
        gate.wait_for_arrival()
        assert miller.interrupt_()
        with pytest.raises(RemoteError) as caught:
            future.result(10)
        assert isinstance(caught.value.__cause__, KeyboardInterrupt)


@pytest.mark.engines(skip=PROCESSES)
def test_a_method_may_catch_what_interrupts_it(gate: Gate) -> None:
    with Miller.spawn() as miller:
        future = miller.future_.stubborn(gate)
        gate.wait_for_arrival()
        assert miller.interrupt_(ValueError)
        assert future.result(10) == "caught it"


@pytest.mark.engines(skip=PROCESSES)
def test_a_stream_is_interrupted_between_its_items(gate: Gate) -> None:
    with Miller.spawn() as miller:
        stream = iter(miller.sacks(gate))
        assert next(stream) == 1
        gate.wait_for_arrival()
        assert miller.status_().call == "?.sacks(...)"
        assert miller.interrupt_(KeyError("stop"))
        with pytest.raises(KeyError, match="stop"):
            next(stream)
        assert miller.ground.get_() == 0


@pytest.mark.engines(skip=PROCESSES)
def test_a_call_within_a_call_is_interrupted_where_it_waits(gate: Gate) -> None:
    with Miller.spawn() as outer, Miller.spawn() as inner:
        future = outer.future_.nested(inner, gate)
        gate.wait_for_arrival()
        assert outer.interrupt_(ValueError("outer"))
        with pytest.raises(ValueError, match="outer"):
            future.result(10)
        gate.open()
        assert outer.ground.get_() == 0
        assert until(lambda: inner.ground.get_()) == 1, "the inner call went on, its reply dropped"
        assert outer.passto(lambda m, other: other.ground.get_(), inner) == 1


def test_a_request_in_the_background_is_not_interrupted_and_neither_is_the_loop(
    gate: Gate,
) -> None:
    @remote
    class Busy:
        @remote.work
        def loop(self) -> None:
            while self.remote.listening_:
                time.sleep(0.01)

        def wait(self, gate: Gate) -> str:
            gate.park()
            return "done"

    with Busy.spawn() as busy:
        future = busy.future_.wait(gate)
        gate.wait_for_arrival()
        assert busy.interrupt_(ValueError("no")) is False
        gate.open()
        assert future.result(10) == "done"


@pytest.mark.parametrize("engine", ["thread", "inline"])
def test_where_the_main_thread_is_the_owners_nothing_is_interrupted(engine: str) -> None:
    with Miller.options(engine=engine).spawn() as miller:
        assert miller.interrupt_() is False


def test_interrupting_over_and_over_loses_no_reply() -> None:
    """Wherever the signal comes, between calls too, each call has its outcome."""
    with Miller.spawn() as miller:
        over = threading.Event()

        def interrupt() -> None:
            while not over.is_set():
                miller.interrupt_(ValueError("again"))

        interrupting = threading.Thread(target=interrupt, name="test-interrupts")
        interrupting.start()
        outcomes = {"value": 0, "error": 0}
        for _ in range(400):
            try:
                assert miller.passto(lambda m: sum(range(2000))) == 1999000
                outcomes["value"] += 1
            except ValueError:
                outcomes["error"] += 1
        over.set()
        interrupting.join()
        assert sum(outcomes.values()) == 400
        assert miller.ground.get_() == 0


@remote
class Looper:
    def __init__(self, gate: Gate) -> None:
        self.gates = [gate]
        self.seen: list[str] = []

    @remote.work
    def loop(self) -> None:
        while self.remote.listening_:
            try:
                while self.gates:
                    self.gates.pop().arrive()  # from here on whatever is thrown is caught
                while self.remote.listening_:
                    self.remote.process_requests(timeout=0.05)
            except ValueError as error:
                self.seen.append(str(error))


def test_a_work_loop_is_interrupted_too_and_may_go_on(gate: Gate) -> None:
    with Looper.spawn(gate) as looper:
        gate.wait_for_arrival()
        assert looper.interrupt_(ValueError("loop"))
        assert until(lambda: looper.seen.get_()) == ["loop"]


def test_a_work_loop_that_is_interrupted_over_and_over_keeps_its_mailbox_in_order() -> None:
    """Wherever in the taking in and running of requests it comes."""

    @remote
    class Stubborn:
        def __init__(self) -> None:
            self.caught = 0

        @remote.work
        def loop(self) -> None:
            while self.remote.listening_:
                with contextlib.suppress(ValueError):  # it may come while one is being caught
                    self.go_on()

        def go_on(self) -> None:
            while self.remote.listening_:
                try:
                    while self.remote.listening_:
                        self.remote.process_requests(timeout=0.01)
                except ValueError:
                    self.caught += 1

        def echo(self, value: int) -> int:
            return value

    with Stubborn.spawn() as stubborn:
        over = threading.Event()

        def interrupt() -> None:
            while not over.is_set():
                stubborn.interrupt_(ValueError("again"))

        interrupting = threading.Thread(target=interrupt, name="test-interrupts")
        interrupting.start()
        answered = 0
        for i in range(300):
            try:
                assert stubborn.with_(timeout=10).echo(i) == i
                answered += 1
            except ValueError:
                pass
        over.set()
        interrupting.join()
        assert stubborn.echo(1) == 1
        assert stubborn.caught.get_() > 0
        assert stubborn.passto(lambda s: mailbox_depth(s.remote)) == 1
