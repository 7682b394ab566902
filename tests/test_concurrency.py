"""Many threads and processes on one actor: order, replies, slow readers, interruptions."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, NotListeningError, current, remote
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.internals import address_of, sleeping_readers, until_sent
from tests.strangers import RawClient
from tests.tools import Call, Script, Scripts, processes, until

NO_THREAD = {"inline": "is for one thread: the caller's own"}


# ------------------------------------------------------------------ tools


@remote
class Ledger:
    """Writes down who said what, in the order in which it heard them."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, int]] = []
        self.inside = 0
        self.most = 0

    def write(self, who: Any, number: int) -> tuple[Any, int]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.entries.append((who, number))
        self.inside -= 1
        return who, number

    def big(self, size: int) -> str:
        return "x" * size  # text, which does not travel in shared memory, however big

    def wait_at(self, gate: Gate, word: object = None) -> object:
        gate.park()
        return word

    def add_to(self, other: Any, number: int) -> Any:
        return other.write("from an actor", number)


def _say_in_order(ledger: Any, who: Any, count: int, sent: Any) -> None:
    sent.put((who, [ledger.write(who, i) == (who, i) for i in range(count)]))


# ------------------------------------------------------------------ many at once


@pytest.mark.engines(skip=NO_THREAD)
def test_sixteen_threads_each_get_their_own_replies_and_keep_their_order(launch: Launch) -> None:
    with Ledger.options(**launch).spawn() as ledger:
        barrier = threading.Barrier(16)

        def talk(who: int) -> list[Any]:
            barrier.wait()
            return [ledger.write(who, i) for i in range(50)]

        calls = [Call(talk, who) for who in range(16)]
        for who, call in enumerate(calls):
            assert call.result() == [(who, i) for i in range(50)]
        entries = ledger.entries.get_()
        for who in range(16):
            assert [i for each, i in entries if each == who] == list(range(50))
        assert len(entries) == 16 * 50
        assert ledger.most.get_() == 1


def test_eight_processes_each_get_their_own_replies_and_keep_their_order(
    start_method: str,
) -> None:
    context: Any = multiprocessing.get_context(start_method)
    sent = context.SimpleQueue()
    with Ledger.spawn() as ledger:
        args = [(ledger, who, 50, sent) for who in range(8)]
        with processes(start_method, _say_in_order, *args):
            answers = dict(sent.get() for _ in range(8))
            assert answers == {who: [True] * 50 for who in range(8)}
        entries = ledger.entries.get_()
        for who in range(8):
            assert [i for each, i in entries if each == who] == list(range(50))
        assert ledger.most.get_() == 1
    sent.close()


@pytest.mark.engines(skip=NO_THREAD)
def test_calls_and_a_change_through_several_parts_of_a_handle_keep_their_order(
    launch: Launch,
) -> None:
    with Ledger.options(**launch).spawn() as ledger:
        part = ledger.entries
        for i in range(20):
            part.append(("part", i))
            ledger.write("whole", i)
            ledger.passto(_append, i)
        assert [i for _, i in ledger.entries.get_()] == [i for i in range(20) for _ in range(3)]


def _append(ledger: Any, i: int) -> None:
    ledger.entries.append(("passto", i))


# ------------------------------------------------------------------ a client that does not read


@pytest.mark.engines(
    skip={
        "inline": "has no listener that a stranger could reach",
        "ray": "keeps what is not read, and nobody waits for room",
    }
)
def test_a_client_that_does_not_read_its_big_replies_does_not_hold_up_the_others(
    launch: Launch,
) -> None:
    with Ledger.options(**launch).spawn() as ledger:
        deaf = RawClient(address_of(ledger))
        for _ in range(3):
            deaf.call("big", 5_000_000)
        deaf.call("write", "deaf", 0)
        began = time.monotonic()
        for i in range(20):
            ledger.write("other", i)
        assert time.monotonic() - began < 1.0
        assert ("deaf", 0) not in ledger.entries.get_(), "it is not served before it has read"
        frames = deaf.read(4)
        assert [frame.call_id for frame in frames] == [1, 2, 3, 4]
        assert [len(frame.payload) > 5_000_000 for frame in frames] == [True] * 3 + [False]
        assert ("deaf", 0) in ledger.entries.get_()
        deaf.close()


def _fetch_big(ledger: Any, ready: Any) -> None:
    ledger.write("client", 0)
    ready.send(True)
    for _ in range(3):
        assert len(ledger.big(20_000_000)) == 20_000_000
    ready.send(True)


def test_a_client_process_that_is_stopped_does_not_hold_up_the_others() -> None:
    context: Any = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    with Ledger.spawn() as ledger, processes("fork", _fetch_big, (ledger, theirs)) as (client,):
        theirs.close()
        assert ours.recv()
        os.kill(client.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert [ledger.write("other", i) for i in range(20)] == [
                ("other", i) for i in range(20)
            ]
            assert time.monotonic() - began < 1.0
        finally:
            os.kill(client.pid, signal.SIGCONT)
        assert ours.recv(), "and it gets everything when it goes on"
    ours.close()


def test_an_actor_stops_although_a_client_does_not_read() -> None:
    ledger = Ledger.options(stop_timeout=20.0).spawn()
    deaf = RawClient(address_of(ledger))
    deaf.call("big", 5_000_000)
    assert deaf.wait(10)  # it has begun to answer
    ledger.stop_()
    assert ledger.exitcode_ == 0
    deaf.close()


# ------------------------------------------------------------------ who reads for whom


@pytest.mark.engines(skip=NO_THREAD)
def test_when_the_thread_that_reads_has_its_reply_another_one_reads_on(
    launch: Launch,
) -> None:
    """Of two threads that wait, one reads for both. Its own reply comes first, and it leaves."""
    one, two = Gate(), Gate()
    with Ledger.options(**launch).spawn() as ledger:
        first = Call(ledger.wait_at, one, "first")
        one.wait_for_arrival()  # 1. the first waits and, being alone, reads
        second = Call(ledger.wait_at, two, "second")
        until_sent(ledger, 2)
        until(
            lambda: sleeping_readers(ledger) == 1
        )  # 2. the second waits, and sleeps since the first reads
        one.open()
        assert first.result() == "first"  # 3. the first leaves; it must wake the second
        two.wait_for_arrival()
        assert second.running
        two.open()
        assert second.result() == "second"  # 4. which reads its reply itself


@pytest.mark.engines(skip=NO_THREAD)
def test_a_thread_that_sleeps_gets_the_reply_that_another_has_read(
    launch: Launch,
) -> None:
    one, two = Gate(), Gate()
    with Ledger.options(**launch).spawn() as ledger:
        stream = iter(ledger.passto(_two_items, one))  # no reply is awaited any more
        reader = Call(next, stream)
        one.wait_for_arrival()  # 1. this thread reads, and waits for an item
        sleepers = [Call(ledger.write, "sleeper", i) for i in range(5)]
        until_sent(ledger, 6)
        until(lambda: sleeping_readers(ledger) == 5)  # 2. five others sleep
        behind = Call(ledger.wait_at, two)
        until_sent(ledger, 7)
        one.open()
        assert reader.result() == "item"
        assert [each.result() for each in sleepers] == [("sleeper", i) for i in range(5)]
        two.wait_for_arrival()
        two.open()
        behind.result()
        stream.close()


def _two_items(ledger: Any, gate: Gate) -> Iterator[str]:
    gate.park()
    yield "item"
    yield "another"


@pytest.mark.engines(skip={"thread": "can't be killed", **NO_THREAD})
def test_threads_that_sleep_learn_of_the_death_that_another_has_read(
    launch: Launch, gate: Gate
) -> None:
    ledger = Ledger.options(**launch).spawn()
    calls = [Call(ledger.wait_at, gate)]
    gate.wait_for_arrival()
    calls += [Call(ledger.write, "x", i) for i in range(5)]
    until(lambda: sleeping_readers(ledger) == 5)
    began = time.monotonic()
    os.kill(ledger.pid_, signal.SIGKILL)
    for call in calls:
        with pytest.raises(ActorDiedError):
            call.result()
    assert time.monotonic() - began < 1.0
    ledger.stop_()


# ------------------------------------------------------------------ Ctrl-C


PRELUDE = """\
import os, signal, sys, threading, time
from remoteobj import remote
from remoteobj.testing import Gate
from tests.internals import at_next

@remote
class Actor:
    def __init__(self):
        self.count = 0
    def wait_at(self, directory):
        Gate(directory).park()
        return "late"
    def add(self):
        self.count += 1
        return self.count

def interrupt(moment, when):
    '''Ctrl-C arrives just after that, and if told to just before it as well.'''
    def press():
        signal.raise_signal(signal.SIGINT)
    at_next(moment, before=press if when == "before" else bool, after=press)
"""


@pytest.fixture
def script(script: Scripts) -> Scripts:
    """Programs begin with the prelude."""
    return partial(script, prelude=PRELUDE)


def output(program: Script) -> str:
    code, out, err = program.finish()
    assert (code, err) == (0, "")
    return out


def until_it_sleeps(pid: int) -> None:
    """Wait until the main thread of a process waits in the kernel."""
    stat = Path(f"/proc/{pid}/stat")
    until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")


def test_ctrl_c_in_a_waiting_caller_leaves_the_handle_usable_and_drops_the_late_reply(
    script: Scripts, gate: Gate
) -> None:
    started = script(
        """
        with Actor.spawn() as actor:
            try:
                actor.wait_at(sys.argv[1])
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            print([actor.add() for _ in range(3)])
        """,
        gate.directory,
    )
    gate.wait_for_arrival()
    until_it_sleeps(started.process.pid)
    started.process.send_signal(signal.SIGINT)
    assert started.line() == "interrupted"
    gate.open()
    assert output(started) == "[1, 2, 3]\n"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("method", "executed"), [("write", 0), ("take", 1)])
def test_ctrl_c_in_the_midst_of_a_transfer_leaves_the_handle_usable(
    script: Scripts, method: str, when: str, executed: int
) -> None:
    started = script(
        """
        with Actor.spawn() as actor:
            interrupt(sys.argv[1], sys.argv[2])
            try:
                actor.add()
            except KeyboardInterrupt:
                print("interrupted")
            now = actor.count.get_()
            print(now in (0, 1), [actor.add() - now for _ in range(3)])
        """,
        method,
        when,
    )
    assert output(started) == "interrupted\nTrue [1, 2, 3]\n"


@pytest.mark.parametrize("where", ["write", "take"])
def test_what_the_handler_of_a_signal_raises_is_not_taken_for_an_error_of_the_connection(
    script: Scripts, where: str
) -> None:
    """It runs in the midst of the call, in the thread that makes it: here in a system call."""
    started = script(
        """
        import functools
        class Alarm:
            def ring(self, number, frame):
                raise self.error
            __call__ = ring
        def plain(number, frame):
            alarm.ring(number, frame)
        def ring(self, number, frame):
            self.ring(number, frame)
        def in_system_call(frame, event, called):
            code = frame.f_code
            if event == "c_return" and code.co_filename.endswith("_wire/channel.py"):
                if code.co_name == sys.argv[1] and called.__name__ in ("write", "read"):
                    sys.setprofile(None)
                    signal.raise_signal(signal.SIGALRM)

        alarm = Alarm()
        with Actor.spawn() as actor:
            actor.add()
            for handler in (plain, alarm, alarm.ring, functools.partial(ring, alarm)):
                signal.signal(signal.SIGALRM, handler)
                for alarm.error in (TimeoutError("enough"), ValueError("enough")):
                    sys.setprofile(in_system_call)
                    try:
                        print(actor.add())
                    except (TimeoutError, ValueError) as error:
                        print(error is alarm.error, end=" ")
            print(actor.add() > 8)
        """,
        where,
    )
    assert output(started) == "True " * 8 + "True\n"


# ------------------------------------------------------------------ actors that call actors


def test_a_function_passed_to_one_actor_may_call_another() -> None:
    with Ledger.spawn() as one, Ledger.spawn() as two:
        assert one.passto(lambda ledger: two.write("lambda", len(ledger.entries))) == ("lambda", 0)
        assert one.add_to(two, 5) == ("from an actor", 5)
        assert two.entries.get_() == [("lambda", 0), ("from an actor", 5)]
        assert one.entries.get_() == []


def test_an_actor_that_is_passed_its_own_handle_calls_itself_directly() -> None:
    with Ledger.spawn() as ledger:
        assert ledger.passto(lambda inner: ledger.write("itself", 1)) == ("itself", 1)
        assert ledger.add_to(ledger, 2) == ("from an actor", 2)
        assert ledger.passto(lambda inner: current().entries.get_() is inner.entries)


def test_a_ring_of_actors_that_call_in_turn_does_not_mix_replies() -> None:
    with contextlib.ExitStack() as stack:
        ring = [stack.enter_context(Ledger.spawn()) for _ in range(4)]
        pairs = [(ring[i], ring[(i + 1) % 4]) for i in range(4)]

        def lap(one: Any, two: Any) -> list[Any]:
            # One after another: A → B while B → C would be a circle that waits for itself.
            return [one.add_to(two, i) for i in range(10)]

        for one, two in pairs:
            assert lap(one, two) == [("from an actor", i) for i in range(10)]
        assert [len(each.entries) for each in ring] == [10] * 4


def test_a_stopped_actor_refuses_all_of_many_threads() -> None:
    ledger = Ledger.spawn()
    ledger.stop_()
    calls = [Call(ledger.write, "late", i) for i in range(8)]
    for call in calls:
        with pytest.raises(NotListeningError):
            call.result()
