"""Generators and iterators of an actor, item by item: order, flow, and every way to an end."""

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, NotListeningError, remote
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.internals import WINDOW, Stranger, address_of
from tests.tools import Scripts, until, until_gone

NO_THREAD = {"inline": "works only while its caller waits"}


class Unsendable:
    def __reduce__(self) -> str:
        raise TypeError("stays here")


@remote
class Source:
    def __init__(self) -> None:
        self.made = 0
        self.closed: list[str] = []
        self.items = [10, 20, 30]

    def __iter__(self) -> Iterator[int]:
        return iter(self.items)

    def count(self, n: int, name: str = "count") -> Generator[int, None, str]:
        try:
            for i in range(n):
                self.made += 1
                yield i
            return "all of it"
        finally:
            self.closed.append(name)

    def fork_inside(self, at: str) -> Iterator[int]:
        try:
            yield 0
            if at == "step":
                yield os.fork()
            yield 1
        finally:
            if at == "close":
                self.items.append(os.fork())

    def fail_after(self, n: int) -> Iterator[int]:
        yield from range(n)
        raise KeyError("after", n)

    def stop_inside(self) -> Iterator[int]:
        yield 1
        raise SystemExit(3)

    def unsendable_third(self) -> Iterator[object]:
        yield 1
        yield 2
        yield Unsendable()

    def fail_in_finally(self) -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            raise OSError("in finally")

    def wait_first(self, gate: Gate) -> Iterator[str]:
        gate.park()
        yield "after the gate"

    def then_wait(self, gate: Gate) -> Iterator[int]:
        yield from range(3)
        gate.park()
        yield 3

    def big(self, n: int, size: int) -> Iterator[str]:
        """Text, which does not travel in shared memory, however big."""
        for i in range(n):
            self.made += 1
            yield chr(i) * size

    def iterator(self) -> Iterator[str]:
        return map(str, self.items)

    def ping(self) -> str:
        return "pong"


def drained(stream: Iterator[Any]) -> tuple[list[Any], Any]:
    """The items of a generator, and what it returned."""
    items = []
    while True:
        try:
            items.append(next(stream))
        except StopIteration as stop:
            return items, stop.value


# ------------------------------------------------------------------ what comes


@pytest.mark.parametrize("n", [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 5 * WINDOW + 3])
def test_items_come_in_order_and_the_return_value_after_them(n: int) -> None:
    with Source.spawn() as source:
        assert drained(source.count(n)) == (list(range(n)), "all of it")


def test_every_engine_streams(launch: Launch) -> None:
    with Source.options(**launch).spawn() as source:
        assert drained(source.count(100)) == (list(range(100)), "all of it")
        assert list(source) == [10, 20, 30]
        assert list(source.iterator()) == ["10", "20", "30"]
        assert list(source.items) == [10, 20, 30]
        assert [a + b for a, b in zip(source, source, strict=True)] == [20, 40, 60]
        assert source.ping() == "pong"


def test_a_stream_is_delegated_to_with_its_value() -> None:
    def outer(source: Any) -> Generator[int, None, str]:
        value = yield from source.count(3)
        return f"{value}, and more"

    with Source.spawn() as source:
        assert drained(outer(source)) == ([0, 1, 2], "all of it, and more")


def test_a_stream_that_has_ended_stays_ended() -> None:
    with Source.spawn() as source:
        stream = source.count(2)
        assert drained(stream) == ([0, 1], "all of it")
        assert drained(stream) == ([], None)
        stream.close()
        failing = source.fail_after(0)
        with pytest.raises(KeyError):
            next(failing)
        assert drained(failing) == ([], None)


@pytest.mark.parametrize("n", [0, 3, 2 * WINDOW])
def test_an_exception_comes_after_the_items_before_it(launch: Launch, n: int) -> None:
    with Source.options(**launch).spawn() as source:
        stream = source.fail_after(n)
        assert [next(stream) for _ in range(n)] == list(range(n))
        with pytest.raises(KeyError) as caught:
            next(stream)
        assert caught.value.args == ("after", n)
        assert source.ping() == "pong"


@pytest.mark.engines(skip={"thread": "is no process", "inline": "is no process"})
@pytest.mark.parametrize("at", ["step", "close"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_generator_that_forks_goes_on_in_the_actor_alone(launch: Launch, at: str) -> None:
    with Source.options(**launch).spawn() as source:
        stream = source.fork_inside(at)
        assert next(stream) == 0
        if at == "step":
            child = next(stream)
            assert list(stream) == [1]
        else:
            stream.close()
            child = until(lambda: source.items.get_()[3:])[0]
        assert until_gone(child, 10)


def test_system_exit_in_a_generator_ends_the_stream_alone(launch: Launch) -> None:
    with Source.options(**launch).spawn() as source:
        stream = source.stop_inside()
        assert next(stream) == 1
        with pytest.raises(Exception, match="SystemExit: 3"):
            next(stream)
        assert source.ping() == "pong"


def test_an_item_that_can_not_be_sent_is_the_end_of_its_stream() -> None:
    with Source.spawn() as source:
        stream = source.unsendable_third()
        assert [next(stream), next(stream)] == [1, 2]
        with pytest.raises(TypeError, match="stays here"):
            next(stream)
        assert source.ping() == "pong"


@pytest.mark.engines(skip=NO_THREAD)
def test_the_stream_is_there_before_its_first_item(launch: Launch, gate: Gate) -> None:
    with Source.options(**launch).spawn() as source:
        stream = iter(source.wait_first(gate))  # returns, though there is no item yet
        gate.wait_for_arrival()
        gate.open()
        assert next(stream) == "after the gate"


def test_big_items_come_whole() -> None:
    size = 1_000_000
    with Source.spawn() as source:
        for i, item in enumerate(source.big(40, size)):
            assert item == chr(i) * size


# ------------------------------------------------------------------ how fast it comes


@pytest.mark.engines(skip=NO_THREAD)
def test_the_producer_runs_a_window_ahead_and_no_further(launch: Launch) -> None:
    with Source.options(**launch).spawn() as source:
        stream = iter(source.count(10 * WINDOW))
        until(lambda: source.made.get_() >= WINDOW)
        for _ in range(20):  # each request gives the stream another chance to run on
            source.ping()
        assert source.made.get_() == WINDOW
        for taken in range(1, 4 * WINDOW):
            assert next(stream) == taken - 1
            source.ping()
            assert source.made.get_() <= taken + WINDOW
        assert drained(stream) == (list(range(4 * WINDOW - 1, 10 * WINDOW)), "all of it")
        assert source.made.get_() == 10 * WINDOW


def test_big_items_for_a_consumer_that_does_not_read_are_not_made_ahead() -> None:
    """The window counts items; what is written and not taken holds the stream back before that."""
    with Source.spawn() as source:
        stream = iter(source.big(WINDOW, 5_000_000))  # nobody reads on this connection from here on
        other = Stranger(address_of(source))
        until(lambda: other.get("made") > 0)
        for _ in range(20):
            other.get("made")
        assert other.get("made") == 1
        assert [len(item) for item in stream] == [5_000_000] * WINDOW
        other.close()


def test_calls_are_served_while_a_stream_runs(launch: Launch) -> None:
    with Source.options(**launch).spawn() as source:
        for i in source.count(3 * WINDOW):
            assert source.ping() == "pong"
            assert source.made.get_() > i


def test_many_streams_run_at_once_without_mixing(launch: Launch) -> None:
    with Source.options(**launch).spawn() as source:
        streams = [source.count(50 + i) for i in range(20)]
        items: list[list[int]] = [[] for _ in streams]
        for _ in range(50):
            for taken, stream in zip(items, streams, strict=True):
                taken.append(next(stream))
        assert items == [list(range(50))] * 20
        for i, stream in enumerate(streams):
            assert drained(stream) == (list(range(50, 50 + i)), "all of it")


@pytest.mark.engines(skip={"inline": "is for one thread: the caller's own"})
def test_threads_may_consume_streams_at_once(launch: Launch) -> None:
    with Source.options(**launch).spawn() as source:
        results: dict[int, Any] = {}

        def consume(i: int) -> None:
            results[i] = drained(source.count(100 + i))

        threads = [threading.Thread(target=consume, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert results == {i: (list(range(100 + i)), "all of it") for i in range(8)}


def test_threads_may_share_one_stream() -> None:
    with Source.spawn() as source:
        stream = source.count(400)
        taken: list[list[int]] = [[] for _ in range(4)]
        threads = [threading.Thread(target=lambda mine=mine: mine.extend(stream)) for mine in taken]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(item for mine in taken for item in mine) == list(range(400))
        assert all(mine == sorted(mine) for mine in taken)


# ------------------------------------------------------------------ left half-way


def close(stream: Any) -> None:
    stream.close()


def drop(stream: Any) -> None:
    """Nothing: the last reference goes with the caller's."""


@pytest.mark.parametrize("end", [close, drop])
@pytest.mark.parametrize("taken", [0, 1, WINDOW, 2 * WINDOW])
def test_the_generator_of_an_abandoned_stream_is_closed(
    end: Callable[[Any], None], taken: int
) -> None:
    with Source.spawn() as source:
        stream = iter(source.count(10_000))
        for i in range(taken):
            assert next(stream) == i
        # A generator that has not begun has nothing to clean up, here as elsewhere.
        until(lambda: source.made.get_() > 0)
        end(stream)
        del stream
        gc.collect()
        until(lambda: source.closed.get_() == ["count"])
        assert source.made.get_() <= taken + WINDOW
        assert source.ping() == "pong"


def test_leaving_a_loop_closes_the_generator(launch: Launch) -> None:
    with Source.options(**launch).spawn() as source:
        for i in source.count(10_000):
            if i == 5:
                break
        gc.collect()
        until(lambda: source.closed.get_() == ["count"])


def test_closing_twice_and_after_the_end_is_harmless() -> None:
    with Source.spawn() as source:
        stream = source.count(100)
        next(stream)
        stream.close()
        stream.close()
        assert drained(stream) == ([], None)
        other = source.count(1)
        assert drained(other) == ([0], "all of it")
        other.close()
        assert source.closed.get_() == ["count", "count"]


def test_what_is_raised_in_the_finally_of_an_abandoned_generator_is_a_lifecycle_error() -> None:
    """Its consumer is not there to be told, and it must not be lost."""
    source = Source.spawn()
    with pytest.raises(OSError, match="in finally"):
        with source:
            stream = source.fail_in_finally()
            next(stream)
            stream.close()
            assert source.ping() == "pong"
    assert [str(error) for error in source.exc_.group("work")] == ["in finally"]


def test_a_stream_keeps_the_actor_of_a_dropped_handle() -> None:
    stream = Source.spawn().count(100)
    gc.collect()
    assert drained(stream) == (list(range(100)), "all of it")
    del stream
    gc.collect()


def _take_five(source: Any, ready: Any) -> None:
    stream = source.count(10_000, "client")
    for _ in range(5):
        next(stream)
    ready.send(os.getpid())
    signal.pause()


def test_a_client_that_dies_in_mid_stream_closes_its_generator_alone() -> None:
    context: Any = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    with Source.spawn() as source:
        mine = source.count(200, "mine")
        assert next(mine) == 0
        client = context.Process(target=_take_five, args=(source, theirs))
        client.start()
        theirs.close()
        os.kill(ours.recv(), signal.SIGKILL)
        client.join(10)
        client.close()
        ours.close()
        until(lambda: source.closed.get_() == ["client"])
        assert drained(mine) == (list(range(1, 200)), "all of it")


# ------------------------------------------------------------------ the actor ends


def test_stopping_ends_a_stream_after_the_items_that_came(launch: Launch) -> None:
    if launch["engine"] == "inline":
        pytest.skip("has nothing on its way when it stops")
    source = Source.options(**launch).spawn()
    stream = iter(source.count(10 * WINDOW))
    assert next(stream) == 0
    until(lambda: source.made.get_() >= WINDOW)
    source.stop_()
    items: list[int] = []
    with pytest.raises(NotListeningError, match="stream ended early"):
        for item in stream:
            items.append(item)  # noqa: PERF402  (what came before the error is what counts)
    assert items == list(range(1, len(items) + 1))
    assert len(items) >= WINDOW - 1
    assert drained(stream) == ([], None)


def test_an_inline_stream_ends_with_its_actor() -> None:
    source = Source.options(engine="inline").spawn()
    stream = source.count(10 * WINDOW)
    assert next(stream) == 0
    source.stop_()
    with pytest.raises(NotListeningError):
        list(stream)


def test_a_stop_runs_the_finally_of_open_streams(tmp_path: Path) -> None:
    path = tmp_path / "closed"

    def stream_of(obj: object, path: str) -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            Path(path).write_text("closed")

    with Source.spawn() as source:
        stream = source.passto(stream_of, str(path))
        assert next(stream) == 0
    assert path.read_text() == "closed"
    stream.close()


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_program_that_ends_with_open_streams_says_nothing_of_them(
    script: Scripts, method: str
) -> None:
    ended = script(
        """
        import sys
        from remoteobj import remote
        @remote
        class Source:
            def count(self):
                yield from range(1000)
            @remote.work
            def run(self):
                for tick in self.remote.every_(0.001):
                    self.remote.publish_(tick.number)
        if __name__ == "__main__":
            lasting = Source.options(start_method=sys.argv[1]).spawn()
            with Source.options(start_method=sys.argv[1]).spawn() as source:
                streams = [lasting.count(), source.count(), source.count()]
                print(*map(next, streams))
                first, second, third = streams
                followers = lasting.follow_(), source.follow_(latest=False), source.follow_()
                for one in followers:
                    next(one)
                fourth, fifth, sixth = followers
        """,
        method,
    ).finish()
    assert ended == (0, "0 0 0\n", "")


@pytest.mark.engines(only=["process"], reason="what another had sent may be lost with it")
def test_a_kill_ends_a_stream_after_the_items_that_came(launch: Launch, gate: Gate) -> None:
    source = Source.options(**launch).spawn()
    stream = iter(source.then_wait(gate))
    gate.wait_for_arrival()
    os.kill(source.pid_, signal.SIGKILL)
    began = time.monotonic()
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ActorDiedError, match="SIGKILL") as caught:
        next(stream)
    assert caught.value.maybe_executed is True
    assert time.monotonic() - began < 1.0
    assert drained(stream) == ([], None)
    source.stop_()


@pytest.mark.engines(only=["process", "ray"], reason="only a process can be killed")
def test_a_consumer_that_waits_learns_of_the_death_at_once(launch: Launch, gate: Gate) -> None:
    source = Source.options(**launch).spawn()
    stream = iter(source.then_wait(gate))
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    errors: list[BaseException] = []

    def consume() -> None:
        try:
            next(stream)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=consume)
    thread.start()
    gate.wait_for_arrival()
    os.kill(source.pid_, signal.SIGKILL)
    thread.join(1.0)
    assert [type(error) for error in errors] == [ActorDiedError]
    source.stop_()
