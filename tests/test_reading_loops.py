"""Event loops that read connections by themselves: in every state that such a read can be in."""

import asyncio
import contextlib
import gc
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from remoteobj import ActorDiedError, remote
from remoteobj.testing import Gate
from tests.forks import code_of, in_child
from tests.internals import SHORT_CALL, at_next_take_of, close_connection, open_calls, spy_on_looks
from tests.tools import Call, until

BIG = 30_000


@remote
class Clerk:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def write(self, line: Any) -> Any:
        self.lines.append(line)
        return line

    def wait_at(self, gate: Gate) -> str:
        gate.park()
        return "waited"

    def make(self, n: int) -> str:
        return "x" * n

    def count(self, n: int) -> Iterator[int]:
        yield from range(n)

    def leave_a_fork(self) -> int:
        """One that has a copy of every descriptor, so that no end of this actor's is closed."""
        for fd in range(3, 64):
            with contextlib.suppress(OSError):
                os.dup(fd)
        pid = os.fork()
        if not pid:
            try:
                time.sleep(60)
            finally:
                os._exit(0)
        return pid


@pytest.fixture
def clerk() -> Iterator[Any]:
    with Clerk.options(start_method="fork").spawn() as clerk:
        yield clerk


class Selector(selectors.DefaultSelector):
    """Counts how often it returns."""

    selects = 0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(timeout)
        self.selects += 1
        return ready


class Loop(asyncio.SelectorEventLoop):
    """Notes what is registered with it."""

    def __init__(self) -> None:
        self.selector = Selector()
        self.log: list[str] = []
        self.reads = 0
        super().__init__(self.selector)

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        def read() -> None:
            self.reads += 1
            callback(*args)

        super().add_reader(fd, read)
        self.log.append("added")

    def remove_reader(self, fd: Any) -> bool:
        removed: bool = super().remove_reader(fd)
        self.log.append("removed")
        return removed

    @property
    def watched(self) -> int:
        """The descriptors that it waits for, beside its own."""
        return len(self.selector.get_map()) - 1


class LoopWithoutReaders(Loop):
    """Has no selector, as far as its users know."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        raise NotImplementedError


def run(main: Callable[[Loop], Awaitable[Any]], new_loop: Callable[[], Loop] = Loop) -> Any:
    async def bounded() -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        async with asyncio.timeout(20):
            return await main(loop)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(bounded())


async def turns(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    while not condition():  # noqa: ASYNC110  (nothing tells when it is)
        await asyncio.sleep(0)


async def parked(clerk: Any, gate: Gate, loop: Loop) -> "asyncio.Task[Any]":
    """A call that does not end before the gate is opened, and for which the loop reads."""
    task = loop.create_task(clerk.async_.wait_at(gate))
    await asyncio.to_thread(gate.wait_for_arrival)
    await turns(lambda: loop.watched > 0)
    return task


# ------------------------------------------------------------------ what is registered


def test_a_loop_watches_a_connection_for_as_long_as_its_awaits_are_open(
    clerk: Any, gate: Gate
) -> None:
    async def main(loop: Loop) -> None:
        first = await parked(clerk, gate, loop)
        others = [asyncio.ensure_future(clerk.async_.write(i)) for i in range(10)]
        await asyncio.sleep(0)
        gate.open()
        assert [await first, *[await other for other in others]] == ["waited", *range(10)]
        await turns(lambda: not loop.watched)
        assert loop.log == ["added", "removed"]

    run(main)


def test_a_short_call_is_over_before_its_loop_has_anything_to_watch(
    clerk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    SHORT_CALL.set(monkeypatch, 10.0)

    async def main(loop: Loop) -> None:
        for _ in range(100):
            await clerk.async_.write(1)
        assert loop.log == []

    run(main)


def test_one_await_at_a_time_looks_for_its_outcome_and_the_loop_reads_for_the_others(
    clerk: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    SHORT_CALL.set(monkeypatch, 10.0)

    async def main(loop: Loop) -> None:
        looking = loop.create_task(clerk.async_.wait_at(gate))
        await turns(lambda: open_calls(clerk) == 1)
        assert loop.watched == 0
        other = loop.create_task(clerk.async_.write(1))
        await turns(lambda: open_calls(clerk) == 2)
        assert loop.watched == 1
        gate.open()
        assert [await looking, await other] == ["waited", 1]
        await turns(lambda: not loop.watched)

    run(main)


def test_looks_that_never_help_are_given_up_but_for_now_and_then(
    clerk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No outcome comes in no time at all."""
    SHORT_CALL.set(monkeypatch, -1.0)
    looks = spy_on_looks(monkeypatch)

    async def main(loop: Loop) -> None:
        for _ in range(100):
            await clerk.async_.passto(nap)
        await turns(lambda: not loop.watched)

    run(main)
    assert 4 <= len(looks) <= 20


def nap(_: Any) -> None:
    time.sleep(0.002)


def test_of_calls_one_after_the_other_not_each_is_registered_anew(
    clerk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    SHORT_CALL.set(monkeypatch, -1.0)

    async def main(loop: Loop) -> None:
        for _ in range(50):
            await clerk.async_.passto(nap)
        await turns(lambda: not loop.watched)
        assert loop.log.count("added") < 25

    run(main)


def test_a_stream_that_is_awaited_leaves_nothing_registered(clerk: Any) -> None:
    async def main(loop: Loop) -> None:
        assert [item async for item in clerk.async_.count(500)] == list(range(500))
        await turns(lambda: not loop.watched)

    run(main)


def test_a_loop_that_waits_for_a_long_call_sleeps(clerk: Any, gate: Gate) -> None:
    async def main(loop: Loop) -> None:
        waiting = await parked(clerk, gate, loop)
        before, begun = loop.selector.selects, time.process_time()
        await asyncio.sleep(0.3)
        assert loop.selector.selects - before <= 3
        assert time.process_time() - begun < 0.1
        gate.open()
        await waiting

    run(main)


def test_an_await_that_looks_for_its_outcome_lets_all_else_in_the_loop_run(
    clerk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    SHORT_CALL.set(monkeypatch, 10.0)

    async def main(loop: Loop) -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticker = loop.create_task(tick())
        for _ in range(100):
            before = ticks
            await clerk.async_.write(1)
            assert ticks > before
        ticker.cancel()

    run(main)


def test_loops_that_can_watch_nothing_are_woken_by_a_thread(clerk: Any, gate: Gate) -> None:
    async def main(loop: Loop) -> None:
        waiting = loop.create_task(clerk.async_.wait_at(gate))
        await asyncio.to_thread(gate.wait_for_arrival)
        gate.open()
        assert await waiting == "waited"
        assert list(await asyncio.gather(*(clerk.async_.write(i) for i in range(100)))) == [
            *range(100)
        ]
        assert [item async for item in clerk.async_.count(100)] == list(range(100))
        assert loop.log == []

    run(main, LoopWithoutReaders)


def test_where_no_descriptor_is_free_a_thread_wakes_the_loop(
    clerk: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dup(_: int) -> int:
        raise OSError("no descriptor is free")

    async def main(loop: Loop) -> None:
        waiting = loop.create_task(clerk.async_.wait_at(gate))
        await asyncio.to_thread(gate.wait_for_arrival)
        gate.open()
        assert await waiting == "waited"
        assert loop.log == []

    monkeypatch.setattr(os, "dup", dup)
    run(main)


# ------------------------------------------------------------------ cancelling


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_an_await_can_be_cancelled_while_it_looks_and_while_the_loop_reads(
    clerk: Any, gate: Gate, steps: int
) -> None:
    async def main(loop: Loop) -> None:
        waiting = loop.create_task(clerk.async_.wait_at(gate))
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        await turns(lambda: not loop.watched)
        gate.open()  # it may have begun
        assert await clerk.async_.write("on") == "on"

    run(main)
    until(lambda: not open_calls(clerk))


def test_an_await_that_is_cancelled_when_its_outcome_is_just_here_is_cancelled(
    clerk: Any, gate: Gate
) -> None:
    async def main(loop: Loop) -> None:
        waiting = await parked(clerk, gate, loop)
        gate.open()
        assert clerk.write("after it") == "after it"  # this thread takes both outcomes in
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        await turns(lambda: not loop.watched)
        assert await clerk.async_.write("on") == "on"

    run(main)


# ------------------------------------------------------------------ loops that do not read


def test_a_future_of_another_thread_is_settled_while_the_loop_is_blocked(
    clerk: Any, gate: Gate
) -> None:
    async def main(loop: Loop) -> None:
        waiting = await parked(clerk, gate, loop)
        settled = threading.Event()

        def submit() -> None:
            clerk.future_.write(1).add_done_callback(lambda _: settled.set())

        Call(submit).result()
        gate.open()
        assert settled.wait(10)  # in the loop's own thread, which runs nothing else meanwhile
        assert await waiting == "waited"

    run(main)


def test_a_thread_that_waits_is_not_held_up_by_a_blocked_loop(clerk: Any, gate: Gate) -> None:
    async def main(loop: Loop) -> None:
        waiting = await parked(clerk, gate, loop)
        call = Call(clerk.write, 1)
        gate.open()
        assert call.result() == 1
        assert await waiting == "waited"

    run(main)


def test_a_blocked_loop_does_not_hold_up_the_calls_of_other_processes(
    clerk: Any, gate: Gate
) -> None:
    """The outcomes that it does not take in are more than what is on its way can be."""

    async def main(loop: Loop) -> None:
        waiting = await parked(clerk, gate, loop)
        tasks = [loop.create_task(clerk.async_.make(BIG)) for _ in range(100)]
        await turns(lambda: open_calls(clerk) == 101)
        gate.open()
        child = in_child(lambda: clerk.with_(timeout=10).write("child") == "child")
        assert code_of(child) == 0
        assert await asyncio.gather(waiting, *tasks) == ["waited"] + ["x" * BIG] * 100

    run(main)


def test_a_loop_that_stops_and_runs_on_loses_no_outcome(clerk: Any, gate: Gate) -> None:
    loop = Loop()
    with contextlib.closing(loop):
        waiting = loop.run_until_complete(parked(clerk, gate, loop))
        gate.open()
        assert clerk.write(1) == 1
        assert loop.run_until_complete(asyncio.wait_for(waiting, 10)) == "waited"
        loop.run_until_complete(turns(lambda: not loop.watched))


def test_a_loop_that_is_closed_with_awaits_open_leaves_nothing(clerk: Any, gate: Gate) -> None:
    loop = Loop()
    waiting = loop.run_until_complete(parked(clerk, gate, loop))
    futures = [clerk.future_.write(i) for i in range(10)]
    loop.set_exception_handler(lambda *_: None)  # which would hear of the task that never ends
    loop.close()
    gate.open()
    assert [future.result(10) for future in futures] == list(range(10))
    assert clerk.write("on") == "on"
    until(lambda: not open_calls(clerk))
    del waiting, loop
    gc.collect()


def test_a_connection_that_ends_after_its_loop_was_closed_disturbs_nobody(gate: Gate) -> None:
    clerk = Clerk.options(start_method="fork").spawn()
    loop = Loop()
    waiting = loop.run_until_complete(parked(clerk, gate, loop))
    loop.set_exception_handler(lambda *_: None)  # which would hear of the task that never ends
    loop.close()
    close_connection(clerk)
    until(lambda: not any("reactor" in thread.name for thread in threading.enumerate()))
    gate.open()
    clerk.stop_()
    assert not waiting.done()


def test_another_loop_reads_for_one_that_is_blocked(clerk: Any, gate: Gate) -> None:
    async def other(_: Loop) -> Any:
        return await clerk.async_.write("other")

    async def main(loop: Loop) -> None:
        waiting = await parked(clerk, gate, loop)
        call = Call(lambda: run(other))
        until(lambda: open_calls(clerk) == 2)
        gate.open()
        assert call.result() == "other"  # in the loop's own thread
        assert await waiting == "waited"

    run(main)


# ------------------------------------------------------------------ other readers


def test_a_thread_that_reads_wakes_the_loop_for_its_outcomes(clerk: Any, gate: Gate) -> None:
    async def main(loop: Loop) -> None:
        call = Call(clerk.wait_at, gate)
        await asyncio.to_thread(gate.wait_for_arrival)
        waiting = loop.create_task(clerk.async_.write(1))
        await turns(lambda: loop.watched > 0)
        gate.open()
        assert await waiting == 1
        assert call.result() == "waited"

    run(main)


def test_a_loop_does_not_spin_while_another_thread_takes_its_time_to_read(
    clerk: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking, go_on = threading.Event(), threading.Event()

    def dawdle() -> None:
        taking.set()
        go_on.wait(10)

    async def main(loop: Loop) -> None:
        call = Call(clerk.wait_at, gate)
        await asyncio.to_thread(gate.wait_for_arrival)
        waiting = loop.create_task(clerk.async_.write(1))
        await turns(lambda: loop.watched > 0)
        at_next_take_of(clerk, dawdle, monkeypatch)
        gate.open()
        await asyncio.to_thread(taking.wait, 10)
        await turns(lambda: "removed" in loop.log)  # it takes a nap
        naps, reads = loop.log.count("removed"), loop.reads
        await turns(lambda: loop.log.count("removed") == naps + 3)
        assert loop.reads - reads == 3 * 16
        go_on.set()
        assert await waiting == 1
        assert call.result() == "waited"
        await turns(lambda: not loop.watched)

    run(main)


# ------------------------------------------------------------------ the end of the actor, forks


def test_an_await_ends_when_the_actor_is_killed(gate: Gate) -> None:
    clerk = Clerk.options(start_method="fork").spawn()

    async def main(loop: Loop) -> None:
        waiting = await parked(clerk, gate, loop)
        os.kill(clerk.pid_, signal.SIGKILL)
        with pytest.raises(ActorDiedError):
            await asyncio.wait_for(waiting, 1)
        await turns(lambda: not loop.watched)

    run(main)
    clerk.stop_()


@pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="every other sign of the end can be held back"
)
def test_an_await_ends_when_only_the_end_of_the_process_tells_of_it(gate: Gate) -> None:
    clerk = Clerk.options(start_method="fork").spawn()
    fork = clerk.leave_a_fork()

    async def main(loop: Loop) -> None:
        waiting = await parked(clerk, gate, loop)
        os.kill(clerk.pid_, signal.SIGKILL)
        with pytest.raises(ActorDiedError):
            await asyncio.wait_for(waiting, 1)

    try:
        run(main)
    finally:
        os.kill(fork, signal.SIGKILL)
    clerk.stop_()


def test_a_fork_with_awaits_open_leaves_those_to_the_parent(clerk: Any, gate: Gate) -> None:
    async def in_the_child(_: Loop) -> Any:
        return await clerk.async_.write("child")

    async def main(loop: Loop) -> None:
        waiting = await parked(clerk, gate, loop)
        child = in_child(lambda: run(in_the_child) == "child")
        gate.open()
        assert await waiting == "waited"
        assert await asyncio.to_thread(code_of, child) == 0
        assert await clerk.async_.write("on") == "on"
        await turns(lambda: not loop.watched)

    run(main)
    assert clerk.lines.get_() == ["child", "on"]


def test_a_connection_that_is_closed_by_another_thread_leaves_its_number_to_others(
    clerk: Any, gate: Gate
) -> None:
    async def main(loop: Loop) -> None:
        waiting = await parked(clerk, gate, loop)
        Call(close_connection, clerk).result()  # before the loop can do anything about it
        with contextlib.ExitStack() as stack:
            readable = set[socket.socket]()
            pairs = [socket.socketpair() for _ in range(10)]  # on the numbers that are free now
            ends = [stack.enter_context(end) for pair in pairs for end in pair]
            for end in ends:
                end.send(b"!")
                loop.add_reader(end, readable.add, end)
            with pytest.raises(ActorDiedError):
                await waiting
            await turns(lambda: len(readable) == len(ends))
            assert all(loop.remove_reader(end) for end in ends)
        await turns(lambda: not loop.watched)
        gate.open()

    run(main)
