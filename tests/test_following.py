"""What an object publishes, and those who follow it: `publish_` and `follow_`."""

import asyncio
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import remoteobj
from remoteobj import (
    ActorDiedError,
    CallTimeoutError,
    DeadlockError,
    NotListeningError,
    Proxy,
    RemoteError,
    UnsendableError,
    remote,
)
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.tools import Call, ended, process, run, until

BIG = 1 << 21
"""So many bytes go by shared memory."""


class Counted:
    """Says how often it was pickled, in the process that publishes it."""

    pickled = 0

    def __reduce__(self) -> Any:
        Counted.pickled += 1
        return Counted, ()


class Slow:
    """Takes its time to be pickled."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def __reduce__(self) -> Any:
        self.gate.park()
        return str, ("whole",)


@remote
class Source:
    """Publishes what it is told to."""

    def __init__(self) -> None:
        self.buffer = bytearray(BIG)

    def publish(self, *items: Any) -> None:
        for item in items:
            self.remote.publish_(item)

    def publish_buffer(self, *values: int) -> None:
        """One and the same buffer, with other content each time, and zero in the end."""
        for value in values:
            self.buffer[:] = bytes([value]) * BIG
            self.remote.publish_(self.buffer)
        self.buffer[:] = bytes(BIG)

    def publish_counted(self) -> int:
        Counted.pickled = 0
        self.remote.publish_(Counted())
        return Counted.pickled

    def publish_unsendable(self) -> None:
        self.remote.publish_(threading.Lock())

    def publish_slowly(self, gate: Gate) -> None:
        self.remote.publish_(Slow(gate))

    def publish_in_a_thread(self, item: object) -> None:
        call = Call(self.remote.publish_, item)
        call.wait()
        call.result()

    def train(self, begun: Gate, goes_on: Gate) -> None:
        """A long request, which publishes how far it is."""
        begun.park()
        self.remote.publish_("half")
        goes_on.park()

    def descriptors(self) -> int:
        return len(os.listdir("/dev/fd"))

    def publish_in_a_child(self) -> int:
        """The exit code of a child that tries; 7: it is told that it can't."""
        if (pid := os.fork()) == 0:
            try:
                self.remote.publish_("from a child")
            except NotListeningError:
                os._exit(7)
            finally:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@remote
class Loop:
    """Publishes in its loop, beside which requests run in another thread."""

    def __init__(self, fails: Gate | None = None) -> None:
        self.fails = fails
        self.item = 0

    @remote.work
    def run(self) -> None:
        while self.remote.listening_:
            self.item += 1
            self.remote.publish_(self.item)
            if self.fails is not None and self.item == 1:
                self.fails.park()
                raise OSError("no camera")
            threading.Event().wait(0.001)

    def hold(self, gate: Gate) -> None:
        gate.park()


@remote
class Stage:
    """Follows another actor, and publishes what it makes of each item."""

    def __init__(self, before: Any) -> None:
        self.before = before

    @remote.work(requests="thread")
    def run(self) -> None:
        for item in self.before.follow_(latest=False):
            self.remote.publish_([item])


@remote
class StageThatServes(Stage):
    @remote.work(requests="loop")
    def run(self) -> None:
        super().run()


@pytest.fixture
def source() -> Iterator[Any]:
    with Source.spawn() as source:
        yield source


# ------------------------------------------------------------------ items


def test_each_new_item_comes_once_and_the_newest_to_who_is_slow(launch: Launch) -> None:
    with Source.options(**launch).spawn() as source:
        source.publish("before anybody follows")
        newest = source.follow_()
        every = source.follow_(latest=False)
        source.publish(1)
        assert (next(newest), next(every)) == (1, 1)
        source.publish(2, 3, [4], {"five": 5})
        assert next(newest) == {"five": 5}
        assert (newest.dropped, every.dropped) == (3, 0)
        assert [next(every) for _ in range(4)] == [2, 3, [4], {"five": 5}]
        source.publish_buffer(1, 2)
        assert [bytes(next(one)[:2]) for one in (every, every, newest)] == [
            b"\1\1",
            b"\2\2",
            b"\2\2",
        ]
    assert list(newest) == list(every) == []
    assert newest.dropped == 4


@pytest.mark.engines(only=["inline"], reason="others wait")
def test_who_would_wait_for_ever_for_an_inline_actor_is_told(launch: Launch) -> None:
    with Source.options(**launch).spawn() as source:
        follower = source.follow_()
        with pytest.raises(DeadlockError, match="inline"):
            next(follower)
        source.publish(1)
        assert next(follower) == 1


def test_one_who_gets_all_loses_the_oldest_beyond_its_window(source: Any) -> None:
    follower = source.follow_(latest=False, window=3)
    source.publish(*range(8))
    assert [next(follower) for _ in range(3)] == [5, 6, 7]
    assert follower.dropped == 5
    source.publish(8)
    assert (next(follower), follower.dropped) == (8, 5)


def test_an_item_that_waits_is_what_it_was_when_it_was_published(source: Any) -> None:
    follower = source.follow_(latest=False)
    source.publish_buffer(7)
    item = next(follower)
    assert (len(item), set(item)) == (BIG, {7})


def test_an_item_is_pickled_once_for_all_and_not_at_all_for_nobody(source: Any) -> None:
    assert source.publish_counted() == 0
    with source.follow_() as one, source.follow_() as other, source.follow_(latest=False) as third:
        assert source.publish_counted() == 1
        assert [type(next(follower)) for follower in (one, other, third)] == [Counted] * 3
    until(lambda: source.publish_counted() == 0)  # they are forgotten


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="nothing tells what is mapped")
@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memory without a file is a copy here")
def test_a_big_buffer_comes_by_shared_memory(source: Any) -> None:
    follower = source.follow_()
    source.publish_buffer(3)
    item = next(follower)
    mapped = Path("/proc/self/maps").read_text("utf-8").count("memfd:")
    assert item[0] == 3
    assert mapped >= 1


def test_what_cant_be_pickled_is_an_error_of_who_publishes_if_anybody_follows(source: Any) -> None:
    source.publish_unsendable()
    with source.follow_() as follower:
        with pytest.raises(UnsendableError, match="item can't be sent"):
            source.publish_unsendable()
        source.publish("next")
        assert next(follower) == "next"


def test_any_thread_of_the_actor_can_publish(launch: Launch) -> None:
    with Source.options(**launch).spawn() as source:
        follower = source.follow_()
        source.publish_in_a_thread("from a thread")
        assert next(follower) == "from a thread"


def test_a_proxy_in_an_item_arrives_as_one(source: Any) -> None:
    with source.follow_() as follower:
        source.passto(lambda obj: obj.remote.publish_([obj]))
        assert next(follower)[0].descriptors() > 0


def test_an_interruption_leaves_no_item_half_published(source: Any, gate: Gate) -> None:
    with source.follow_() as follower:
        call = source.future_.publish_slowly(gate)
        gate.wait_for_arrival()
        assert source.interrupt_()
        gate.open()
        with pytest.raises(RemoteError, match="KeyboardInterrupt"):
            call.result()
        assert next(follower) == "whole"


# ------------------------------------------------------------------ waiting


def test_who_waits_is_given_the_item_when_it_is_published(source: Any) -> None:
    follower = source.follow_()
    waits = Call(next, follower)
    until(lambda: waits.is_in(type(follower).__next__))
    source.publish("news")
    assert waits.wait().result() == "news"


async def first_of(follower: Any, publish: Callable[[], Any]) -> Any:
    """What comes of an await that began before the item was published."""
    waits = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)
    await publish()
    return await waits


def test_it_is_awaited_as_well(source: Any) -> None:
    async def follow() -> list[Any]:
        found = []
        async with source.follow_(latest=False) as follower:
            found.append(await first_of(follower, lambda: source.async_.publish(1, 2)))
            async for item in follower:
                found.append(item)
                break
        with pytest.raises(StopAsyncIteration):
            await anext(follower)
        newest = source.async_.follow_()
        await source.async_.publish(3, 4)
        found.append(await anext(newest))
        await newest.aclose()
        return found

    assert asyncio.run(follow()) == [1, 2, 4]


def test_a_view_with_a_time_limit_limits_the_wait_for_each_item(source: Any) -> None:
    async def await_one(follower: Any) -> None:
        with pytest.raises(CallTimeoutError):
            await anext(follower)

    follower = source.with_(timeout=0.02).follow_()
    with pytest.raises(CallTimeoutError, match=r"published nothing within 0.02 s"):
        next(follower)
    assert list(follower) == []  # a follower that is late is over, as a stream is
    asyncio.run(await_one(source.with_(timeout=0.02).follow_()))


def test_one_that_is_closed_by_another_thread_ends_its_wait(source: Any) -> None:
    follower = source.follow_()
    waits = Call(list, follower)
    until(lambda: waits.is_in(type(follower).__next__))
    follower.close()
    assert waits.wait().result() == []
    assert "over" in repr(follower)


# ------------------------------------------------------------------ an actor that is busy


def test_one_can_begin_to_follow_and_ask_while_a_long_request_runs(gate: Gate) -> None:
    with Gate() as goes_on, Source.spawn() as source:
        training = source.future_.train(gate, goes_on)
        gate.wait_for_arrival()
        follower = source.follow_()
        gate.open()
        assert next(follower) == "half"
        assert not training.done()
        goes_on.open()
        training.result()


def test_a_loop_that_asks_for_no_requests_is_followed_while_a_request_runs(gate: Gate) -> None:
    with Loop.spawn() as loop:
        held = loop.future_.hold(gate)
        gate.wait_for_arrival()
        first, second = (next(one) for one in [loop.follow_()] for _ in range(2))
        assert second > first
        gate.open()
        held.result()


# ------------------------------------------------------------------ other processes


def follow_and_tell(source: Any, queue: Any) -> None:
    follower = source.follow_()
    queue.put("follows")
    for item in follower:
        queue.put(item if isinstance(item, str) else bytes(item[-1:]))
    queue.put("ended")


def test_a_process_that_has_the_proxy_follows_and_an_orderly_end_ends_it(start_method: str) -> None:
    queue: Any = multiprocessing.get_context(start_method).SimpleQueue()
    with Source.options(start_method=start_method).spawn() as source:
        with process(start_method, follow_and_tell, source, queue):
            assert queue.get() == "follows"
            source.publish("news")
            assert queue.get() == "news"
            source.publish_buffer(1)
            assert queue.get() == b"\1"
            source.stop_()
            assert queue.get() == "ended"
        queue.close()


@pytest.mark.parametrize("size", [1, BIG])
def test_a_stopped_or_killed_follower_holds_nobody_up(source: Any, size: int) -> None:
    queue: Any = multiprocessing.get_context("fork").SimpleQueue()
    before = source.descriptors()
    with process("fork", follow_and_tell, source, queue) as child:
        assert queue.get() == "follows"
        other = source.follow_()
        os.kill(child.pid, signal.SIGSTOP)
        for value in range(1, 40):  # so many would never fit into what the kernel keeps
            source.publish(bytes([value]) * size)
            assert next(other) == bytes([value]) * size
        os.kill(child.pid, signal.SIGCONT)
        told: list[bytes] = []
        while told[-1:] != [b"\x27"]:  # the newest
            told.append(queue.get())
        assert told in ([b"\x01", b"\x27"], [b"\x27"])  # as it had asked for one, or not yet
        os.kill(child.pid, signal.SIGSTOP)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        source.publish("after its death")
        assert next(other) == "after its death"
        other.close()
        if size == 1:  # else the calls have brought some too, which stay for a while
            until(lambda: source.descriptors() <= before)
    queue.close()


def test_those_who_leave_are_forgotten_however_they_leave(source: Any) -> None:
    before = source.descriptors()
    here = len(os.listdir("/dev/fd"))
    followers = [source.follow_() for _ in range(4)]
    source.publish(1)
    for _ in followers[0]:
        break  # and forgotten below
    followers[1].close()
    followers[1].close()
    with followers[2]:
        pass
    assert len(os.listdir("/dev/fd")) <= here + 2 * 4  # of the two that are open
    followers.clear()
    until(lambda: source.descriptors() <= before)
    assert source.publish_counted() == 0


def test_a_follower_belongs_to_the_process_that_made_it(source: Any) -> None:
    follower = source.follow_()

    def use() -> None:
        with pytest.raises(NotListeningError, match="process"):
            next(follower)
        follower.close()

    assert run("fork", use) == 0
    source.publish("still followed")
    assert next(follower) == "still followed"


def test_actors_that_follow_each_other_are_a_pipeline(source: Any) -> None:
    with Stage.spawn(source) as stage, stage.follow_() as follower:
        found = Call(next, follower)
        while found.running:
            source.publish(21)
        assert found.result() == [21]
        source.stop_()


@pytest.mark.parametrize("stage", [Stage, StageThatServes])
def test_a_loop_that_waits_for_items_of_another_actor_ends_when_its_own_is_to(
    source: Any, stage: Any
) -> None:
    with stage.spawn(source) as follows:
        until(lambda: source.publish_counted() == 1)  # somebody follows
    assert follows.exitcode_ == 0
    assert not len(follows.exc_)


# ------------------------------------------------------------------ the end of the actor


def tell_how_it_ends(source: Any, queue: Any) -> None:
    follower = source.follow_()
    queue.put("follows")
    try:
        next(follower)
    except ActorDiedError:
        queue.put("died")


def test_a_death_ends_all_who_follow_with_its_error() -> None:
    queue: Any = multiprocessing.get_context("fork").SimpleQueue()
    with ended(Source.spawn()) as source, process("fork", tell_how_it_ends, source, queue):
        assert queue.get() == "follows"
        follower = source.follow_()
        waits = Call(next, follower)
        until(lambda: waits.is_in(type(follower).__next__))
        source.kill_()
        with pytest.raises(ActorDiedError, match="SIGKILL"):
            waits.result()
        assert queue.get() == "died"
        assert list(follower) == []
        with pytest.raises(ActorDiedError, match="SIGKILL"):
            source.follow_()
    queue.close()


def test_a_loop_that_fails_ends_its_followers_with_what_it_failed_by(gate: Gate) -> None:
    with ended(Loop.spawn(gate)) as loop:
        gate.wait_for_arrival()
        follower = loop.follow_()
        gate.open()
        with pytest.raises(ActorDiedError) as error:
            next(follower)
        assert repr(error.value.__cause__) == "OSError('no camera')"


def test_what_waits_at_an_orderly_end_still_comes(source: Any) -> None:
    every, newest = source.follow_(latest=False), source.follow_()
    source.publish(1, 2, 3)
    source.stop_()
    assert list(every) == [1, 2, 3]
    assert list(newest) == [3]
    with pytest.raises(NotListeningError):
        source.follow_()


def test_an_object_that_is_not_made_can_be_followed_once_it_is(gate: Gate) -> None:
    def make(gate: Gate) -> Source:
        gate.park()
        return Source()

    late = remoteobj.options(wait=False, start_method="spawn").spawn(make, gate)
    with ended(late):
        follower = late.follow_()
        gate.wait_for_arrival()
        gate.open()
        late.passto(lambda obj: remoteobj.current().publish_("born"))
        assert next(follower) == "born"


# ------------------------------------------------------------------ where a process serves


class Board:
    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.threads: set[int] = set()

    def show(self, item: Any) -> int:
        self.shown.append(item)
        self.threads.add(threading.get_ident())
        return len(self.shown)


def test_a_served_object_is_followed_too_and_nobody_follows_one_that_is_not() -> None:
    board = Proxy(Board())
    with pytest.raises(NotListeningError, match="only its own can publish_"):
        board.publish_(1)
    with board.listen_(bg=True):
        follower = board.follow_()
        board.publish_(1)
        assert next(follower) == 1
    assert list(follower) == []
    board.publish_(2)  # the loop that publishes may see the end of the serving later
    with pytest.raises(NotListeningError):
        board.follow_()


@remote
class Worker:
    """Calls back whoever it was given."""

    def work(self, board: Any) -> int:
        for step in range(3):
            board.cast_.show(step)  # it goes on at once
        return int(board.show("done"))  # it waits, and has the result

    def break_down(self, board: Any) -> None:
        board.show()


def test_an_actor_calls_its_owner_back_in_a_thread_that_serves_beside(launch: Launch) -> None:
    board = Board()
    served = Proxy(board)
    with served.listen_(bg=True), Worker.options(**launch).spawn() as worker:
        assert worker.work(served) == 4
        assert board.shown == [0, 1, 2, "done"]
        if launch["engine"] != "inline":  # which is at home here, where the object is as well
            assert board.threads.isdisjoint({threading.get_ident()})
        with pytest.raises(TypeError, match="show"):
            worker.break_down(served)


# ------------------------------------------------------------------ mistakes


def test_only_the_process_in_which_the_object_lives_publishes_for_it(source: Any) -> None:
    with pytest.raises(NotListeningError, match="call a method of it that does"):
        source.publish_(1)
    assert source.publish_in_a_child() == 7


def test_what_is_asked_for_must_make_sense(source: Any) -> None:
    with pytest.raises(ValueError, match="latest=False"):
        source.follow_(window=3)
    with pytest.raises(ValueError, match="at least 1"):
        source.follow_(latest=False, window=0)
    with pytest.raises(ValueError, match="at most"):
        source.follow_(latest=False, window=1 << 70)
    with pytest.raises(TypeError, match="integer"):
        source.follow_(latest=False, window=2.5)
    with pytest.raises(TypeError, match="follow_ is of the whole object"):
        source.buffer.follow_()
    with pytest.raises(TypeError, match="publish_ is of the whole object"):
        source.buffer.publish_(1)


def test_a_follower_and_a_stream_stay_in_their_process(source: Any) -> None:
    with source.follow_() as follower, pytest.raises(TypeError, match="call follow_ there"):
        pickle.dumps(follower)
    stream = source.passto(lambda _: (n for n in range(3)))
    with pytest.raises(TypeError, match="make the call there"):
        pickle.dumps(stream)
    stream.close()
