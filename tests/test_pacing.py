"""Loops that are paced: `every_` in actors, and where a process serves an object itself."""

import itertools
import math
import statistics
import threading
import time
from fractions import Fraction
from typing import Any

import pytest

from remoteobj import CallTimeoutError, NotListeningError, Proxy, remote
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.tools import Call, until

NO_THREAD = {"inline": "has no thread for a loop"}
LONG = 600.0
"""A period whose end no test waits for."""


@remote
class Paced:
    def __init__(self, period: float, came_back: Gate | None = None) -> None:
        self.period = period
        self.came_back = came_back
        self.ticks: list[Any] = []
        self.cpu: list[float] = []
        self.loop_thread = 0

    @remote.work
    def loop(self) -> None:
        self.loop_thread = threading.get_ident()
        for tick in self.remote.every_(self.period):
            self.ticks.append(tick)
            self.cpu.append(time.process_time())
        if self.came_back is not None:
            self.came_back.arrive()

    def runs_in_the_loop(self) -> bool:
        return threading.get_ident() == self.loop_thread

    def count(self) -> int:
        return len(self.ticks)

    def pace_in_a_request(self) -> None:
        self.remote.every_(1.0)

    def pace_in_a_thread(self) -> None:
        call = Call(self.remote.every_, 1.0)
        call.wait()
        call.result()


@remote
class Beside(Paced):
    @remote.work(requests="thread")
    def loop(self) -> None:
        super().loop()


@remote
class Nested:
    def __init__(self) -> None:
        self.said: list[str] = []

    @remote.work
    def loop(self) -> None:
        pacer = self.remote.every_(0.001)
        for _ in pacer:
            with pytest.raises(RuntimeError) as error:
                self.remote.every_(2.0)
            self.said.append(str(error.value))
            beside = Call(self.remote.every_, 3.0).wait()
            self.said.append(str(beside.error))
            break
        pacer.close()
        for _ in self.remote.every_(0.001):
            break
        for _ in self.remote.every_(LONG):
            self.said.append("paced again")


@remote
class Late:
    """Comes to its pace only after something else."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.paced = False

    @remote.work
    def loop(self) -> None:
        self.gate.park()
        for _ in self.remote.every_(LONG):
            self.paced = True


@remote
class Interrupted:
    def __init__(self) -> None:
        self.ticks = 0
        self.caught = ""

    @remote.work
    def loop(self) -> None:
        try:
            for _ in self.remote.every_(LONG):
                self.ticks += 1
        except KeyboardInterrupt:
            self.caught = "in the wait for the next tick"


# ------------------------------------------------------------------ in actors


@pytest.mark.engines(skip=NO_THREAD)
def test_between_ticks_requests_run_in_the_loops_thread_and_a_stop_ends_it(
    launch: Launch, gate: Gate
) -> None:
    with Paced.options(**launch).spawn(LONG, gate) as paced:
        until(paced.count)  # the first tick is at once
        assert paced.runs_in_the_loop()
        assert [paced.count() for _ in range(20)] == [1] * 20
        tick = paced.ticks[0].__
        assert (tick.number, tick.lateness, tick.overruns, tick.skipped) == (0, 0.0, 0, 0)
    assert paced.exitcode_ == 0
    assert not len(paced.exc_)
    gate.wait_for_arrival()


def test_requests_wait_for_a_loop_that_will_be_paced(gate: Gate) -> None:
    with Late.spawn(gate) as late:
        gate.wait_for_arrival()
        with pytest.raises(CallTimeoutError):
            late.with_(timeout=0.1).paced.get_()
        asked = late.future_.paced.get_()
        gate.open()
        assert asked.result() is True


def test_a_paced_loop_takes_over_from_the_thread_that_served_beside_it() -> None:
    with Beside.spawn(LONG) as beside:
        until(beside.count)
        assert beside.runs_in_the_loop()


def test_ticks_keep_their_rate_while_a_client_polls_whose_calls_take_below_1_ms() -> None:
    with Paced.spawn(0.02) as paced:
        until(paced.count)
        took = []
        while paced.count() < 15:
            begun = time.perf_counter()
            paced.count()
            took.append(time.perf_counter() - begun)
        ticks = paced.ticks.__
    assert statistics.median(took) < 1e-3
    last = ticks[-1]
    assert last.due == pytest.approx(ticks[0].due + last.number * 0.02)
    assert last.number == len(ticks) - 1 + last.skipped
    assert statistics.median(tick.lateness for tick in ticks) < 0.002


def test_a_paced_loop_uses_no_processor_between_ticks() -> None:
    with Paced.spawn(0.1) as paced:
        time.sleep(0.35)
        cpu = paced.cpu.__
    assert len(cpu) >= 3
    assert min(after - before for before, after in itertools.pairwise(cpu)) < 0.003


def test_an_interruption_reaches_a_loop_that_waits_for_its_tick() -> None:
    with Interrupted.spawn() as actor:
        until(actor.ticks.get_)
        assert actor.interrupt_()
        assert until(actor.caught.get_) == "in the wait for the next tick"


# ------------------------------------------------------------------ where the owner serves


class Box:
    def __init__(self) -> None:
        self.value = 0

    def put(self, value: int) -> int:
        self.value = value
        return threading.get_ident()

    def end(self, proxy: Any) -> None:
        proxy.stop_listen_()


@pytest.mark.parametrize("bg", [None, False])
def test_a_loop_of_the_owner_serves_what_other_processes_ask(bg: bool | None) -> None:
    box = Box()
    served = Proxy(box)
    with served.listen_(bg=bg), Asker.spawn() as asker:
        for tick in served.every_(0.001):
            if tick.number == 0:
                asker.cast_.ask(served, 5)
            if box.value:
                break
        assert box.value == 5
        assert served.every_(1.0).period == 1.0


def test_a_loop_beside_a_background_that_serves_keeps_time_only() -> None:
    box = Box()
    served = Proxy(box)
    with served.listen_(bg=True), Asker.spawn() as asker:
        thread = None
        for tick in served.every_(0.001):
            if tick.number >= 3:
                thread = asker.ask(served, 5)
                break
        assert thread != threading.get_ident()


def test_the_loop_of_the_owner_ends_with_the_serving() -> None:
    served = Proxy(Box())
    with served.listen_(bg=False), Asker.spawn() as asker:
        asker.cast_.end(served)
        assert len(list(served.every_(LONG))) == 1
        assert not served.listening_


@remote
class Asker:
    def ask(self, box: Any, value: int) -> Any:
        return box.put(value)

    def end(self, box: Any) -> None:
        box.end(box)


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize("period", [0, -1.0, math.inf, math.nan])
def test_a_period_must_be_above_zero_and_finite(period: float) -> None:
    served = Proxy(Box())
    with served, pytest.raises(ValueError, match="above zero"):
        served.every_(period)


def test_a_period_is_any_number_also_one_of_ages() -> None:
    served: Any = Proxy(Box())
    with served, Asker.spawn() as asker:
        assert next(iter(served.every_(Fraction(1, 1000)))).number == 0
        asker.cast_.end(served)
        assert len(list(served.every_(1e300))) == 1


def test_only_the_process_in_which_the_object_lives_can_pace_its_loop() -> None:
    with Paced.spawn(LONG) as paced, pytest.raises(NotListeningError, match="this process"):
        paced.every_(1.0)


def test_only_the_actors_own_loop_can_be_paced() -> None:
    with Paced.spawn(LONG) as paced:
        with pytest.raises(RuntimeError, match=r"within a request.*@remote.work"):
            paced.pace_in_a_request()
        with pytest.raises(RuntimeError, match="another thread"):
            paced.pace_in_a_thread()


def test_a_part_has_no_loop() -> None:
    with pytest.raises(TypeError, match="every_ is of the whole object"):
        Proxy(Box()).value.every_(1.0)


def test_a_loop_is_paced_by_one_rate_at_a_time_and_then_by_another() -> None:
    with Nested.spawn() as nested:
        error, beside, then = until(lambda: nested.said.__ if len(nested.said) > 2 else None)
    assert "every_(0.001) already" in error
    assert "another thread" in beside
    assert then == "paced again"
