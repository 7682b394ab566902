"""Calls that their callers have given up: they hold up no stop, and end at once if that is said."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remoteobj import CallTimeoutError, current, remote
from remoteobj.testing import Gate
from tests.internals import until_sent
from tests.tools import Call, Scripts, until_gone, until_it_sleeps

PROMPT = 2.5
"""Seconds within which nothing is held up; whatever holds it up takes a minute."""


@remote
class Sleeper:
    def __init__(self) -> None:
        self.interrupted: list[str] = []

    def sleep(self, gate: Gate) -> None:
        try:
            gate.arrive()
            time.sleep(60)
        except BaseException as exc:
            self.interrupted.append(type(exc).__name__)
            raise

    def items(self, gate: Gate) -> Iterator[int]:
        yield 1
        self.sleep(gate)
        yield 2

    def ask(self, other: Any, gate: Gate) -> None:
        """Wait in a call of another actor."""
        try:
            other.sleep(gate)
        except BaseException as exc:
            self.interrupted.append(type(exc).__name__)
            raise

    def ping(self) -> str:
        return "pong"


@remote
class Looping(Sleeper):
    """The same, with a loop in which requests run."""

    @remote.work
    def loop(self) -> None:
        while current().listening_:
            current().process_requests(timeout=None)


@remote
class Beside(Sleeper):
    """The same, with a loop beside which they run."""

    @remote.work
    def loop(self) -> None:
        while current().listening_:
            time.sleep(0.001)


def press_ctrl_c(act: Callable[..., object], arrived: Gate, *args: Any) -> None:
    """Ctrl-C while this thread is at something, once it has arrived at the gate."""
    main = threading.get_ident()

    def press() -> None:
        arrived.wait_for_arrival()
        until_it_sleeps(main)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        act(*args)
    thread.join()


def by_ctrl_c(actor: Any, gate: Gate) -> None:
    press_ctrl_c(actor.sleep, gate, gate)


def by_ctrl_c_in_result(actor: Any, gate: Gate) -> None:
    press_ctrl_c(actor.future_.sleep(gate).result, gate)


def by_cancelling_a_future(actor: Any, gate: Gate) -> None:
    future = actor.future_.sleep(gate)
    gate.wait_for_arrival()
    assert future.cancel()


def by_cancelling_an_await(actor: Any, gate: Gate) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(actor.async_.sleep(gate))
        await asyncio.to_thread(gate.wait_for_arrival)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def by_the_time_limit_of_a_block(actor: Any, gate: Gate) -> None:
    async def main() -> None:
        async with asyncio.timeout(None) as scope:
            task = asyncio.ensure_future(asyncio.to_thread(gate.wait_for_arrival))
            task.add_done_callback(lambda _: scope.reschedule(0))
            await actor.async_.sleep(gate)

    with pytest.raises(TimeoutError):
        asyncio.run(main())


WAYS = [
    by_ctrl_c,
    by_ctrl_c_in_result,
    by_cancelling_a_future,
    by_cancelling_an_await,
    by_the_time_limit_of_a_block,
]
Way = Callable[[Any, Gate], None]


def stops_in_order(actor: Any) -> None:
    begun = time.monotonic()
    actor.stop_(timeout=30)
    assert time.monotonic() - begun < PROMPT
    assert (actor.exitcode_, list(actor.exc_.all())) == (0, [])


@pytest.mark.parametrize("cls", [Sleeper, Looping, Beside])
@pytest.mark.parametrize("give_up", WAYS)
def test_a_call_that_was_given_up_does_not_hold_up_a_stop(
    gate: Gate, cls: Any, give_up: Way
) -> None:
    actor = cls.spawn()
    give_up(actor, gate)
    assert actor.status_().call == "?.sleep(...)"
    stops_in_order(actor)


def test_nor_does_one_whose_time_was_up(gate: Gate) -> None:
    actor = Sleeper.spawn()
    with pytest.raises(CallTimeoutError):
        actor.with_(timeout=0.2).sleep(gate)
    gate.wait_for_arrival()
    stops_in_order(actor)


@pytest.mark.parametrize("leave", [lambda stream: stream.close(), None])
def test_nor_does_a_stream_that_was_left(gate: Gate, leave: Callable[[Any], None] | None) -> None:
    actor = Sleeper.spawn()
    stream = iter(actor.items(gate))
    assert next(stream) == 1
    if leave is None:
        press_ctrl_c(next, gate, stream)
    else:
        gate.wait_for_arrival()
        leave(stream)
    stops_in_order(actor)
    del stream


def test_nor_does_one_that_waits_for_another_actor(gate: Gate) -> None:
    with Sleeper.spawn() as other:
        actor = Sleeper.spawn()
        future = actor.future_.ask(other, gate)
        gate.wait_for_arrival()
        future.cancel()
        stops_in_order(actor)
        other.kill_()


@pytest.mark.parametrize("cls", [Sleeper, Looping])
def test_nor_does_one_that_is_just_begun(cls: Any, gate: Gate) -> None:
    for _ in range(10):
        actor = cls.spawn()
        actor.future_.sleep(gate).cancel()
        stops_in_order(actor)


def test_what_others_wait_for_is_finished_all_the_same(gate: Gate) -> None:
    second = Gate()
    with Sleeper.spawn() as actor:
        given_up = actor.future_.sleep(gate)
        gate.wait_for_arrival()
        waited_for = Call(actor.passto, lambda _, gate: gate.park() or "finished", second)
        until_sent(actor, 2)
        assert given_up.cancel()
        stopping = Call(actor.stop_)
        second.wait_for_arrival()
        second.open()
        assert waited_for.result() == "finished"
        stopping.result()


@pytest.mark.parametrize("cls", [Sleeper, Looping])
@pytest.mark.parametrize("give_up", WAYS)
def test_with_interrupt_it_is_interrupted_at_once(gate: Gate, cls: Any, give_up: Way) -> None:
    with cls.spawn() as actor:
        give_up(actor.with_(interrupt=True), gate)
        if give_up is by_ctrl_c_in_result:  # the future is still there, and may be asked again
            assert actor.status_().call == "?.sleep(...)"
            return
        assert actor.with_(timeout=PROMPT).ping() == "pong"
        assert actor.interrupted.get_() == ["KeyboardInterrupt"]


def test_with_interrupt_nothing_else_is(gate: Gate) -> None:
    with Sleeper.spawn() as actor:
        running = Call(actor.passto, lambda _, gate: gate.park() or "finished", gate)
        gate.wait_for_arrival()
        for _ in range(20):
            actor.with_(interrupt=True).future_.ping().cancel()
        gate.open()
        assert running.result() == "finished"
        assert actor.ping() == "pong"


@remote
class Echo:
    """Calls back whoever calls it."""

    def call_back(self, caller: Any, gate: Gate) -> Any:
        return caller.within(gate)


@remote
class Outer:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def call(self, echo: Any, gate: Gate) -> None:
        try:
            echo.call_back(current(), gate)
        except BaseException as exc:
            self.notes.append(type(exc).__name__)
            raise

    def within(self, gate: Gate) -> None:
        gate.park()
        self.notes.append("finished")


def test_what_runs_within_a_call_that_was_given_up_is_finished_first(gate: Gate) -> None:
    with Echo.spawn() as echo, Outer.spawn() as outer:
        future = outer.with_(interrupt=True).future_.call(echo, gate)
        gate.wait_for_arrival()
        future.cancel()
        assert outer.status_().call == "?.within(...)", "the order before was heard, too"
        gate.open()
        assert outer.notes.get_() == ["finished", "KeyboardInterrupt"]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_one_ctrl_c_ends_a_program_that_is_within_a_call(script: Scripts, method: str) -> None:
    started = script(
        """
        import os, sys, time
        from remoteobj import remote
        @remote
        class Slow:
            def sleep(self):
                print(os.getpid(), flush=True)
                time.sleep(60)
            @remote.cleanup
            def close(self):
                print("cleanup", flush=True)
        if __name__ == "__main__":
            with Slow.options(start_method=sys.argv[1]).spawn() as slow:
                slow.sleep()
        """,
        method,
    )
    actor = int(started.line())
    begun = time.monotonic()
    os.killpg(started.process.pid, signal.SIGINT)
    code, out, err = started.finish()
    assert time.monotonic() - begun < PROMPT
    assert code == -signal.SIGINT
    assert out.splitlines()[-1:] == ["cleanup"]
    assert err.strip().splitlines()[-1] == "KeyboardInterrupt"
    assert until_gone(actor, 0.0)
